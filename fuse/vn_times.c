/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a file was written.
 *
 *      write ----------------- page-outs ------- clean: mtime set on the store, stamp taken
 *        |  written: ours are shown                |  shown: ours, while the store's are the stamp's
 *        v                                         v
 *      mtime, ctime = now                        somebody else writes: the store's are not the stamp's:
 *                                                theirs are shown, and what we hold is old
 *
 * The time of modification gets onto the store that way; that of change cannot be set there, and is
 * shown as we know it as long as the node is in core.
 */
#include "vn_op.h"

#include <sys/sysmacros.h>
#include <time.h>

static struct timespec ts_of(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

static bool same(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static struct timespec now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return ts;
}

/* => node locked */
static void stamp(struct vn_times *times, const struct statx *stx)
{
    times->stamped = true;
    times->stamp.mtime = ts_of(&stx->stx_mtime);
    times->stamp.ctime = ts_of(&stx->stx_ctime);
    times->stamp.size = stx->stx_size;
}

void vn_times_wrote(struct vn_node *node)
{
    UVM_LOCK_SCOPE(&node->lock);
    node->times.written = node->times.shown = true;
    node->times.gen++;
    node->times.mtime = node->times.ctime = now();
}

void vn_times_set(struct vn_node *node, const struct statx *stx)
{
    UVM_LOCK_SCOPE(&node->lock);
    node->times.mtime = ts_of(&stx->stx_mtime);
    node->times.ctime = ts_of(&stx->stx_ctime);
    node->times.gen++; /* a stamp that is being taken has the older mtime */
    if (!node->times.written)
        stamp(&node->times, stx);
}

void vn_times_touched(struct vn_node *node, const struct statx *stx)
{
    struct timespec mtime = ts_of(&stx->stx_mtime);
    UVM_LOCK_SCOPE(&node->lock);
    struct vn_times *times = &node->times;

    times->ctime = ts_of(&stx->stx_ctime);
    if (times->stamped && same(&mtime, &times->stamp.mtime) && stx->stx_size == times->stamp.size)
        times->stamp.ctime = times->ctime;
}

void vn_times_resized(struct vn_node *node, const struct statx *stx, bool dirty)
{
    UVM_LOCK_SCOPE(&node->lock);
    node->times.mtime = ts_of(&stx->stx_mtime);
    node->times.ctime = ts_of(&stx->stx_ctime);
    node->times.gen++;
    if (dirty)
        node->times.written = node->times.shown = true;
    else if (!node->times.written)
        stamp(&node->times, stx);
}

void vn_times_foreign_stamp(struct vn_node *node, const struct statx *stx)
{
    UVM_LOCK_SCOPE(&node->lock);
    stamp(&node->times, stx);
    node->times.shown = false;
}

bool vn_times_unset(struct vn_node *node, struct timespec *ret_mtime, uint64_t *ret_gen)
{
    UVM_LOCK_SCOPE(&node->lock);
    *ret_mtime = node->times.mtime;
    *ret_gen = node->times.gen;
    return node->times.written;
}

void vn_times_put(struct vn_node *node, uint64_t gen, const struct statx *stx)
{
    UVM_LOCK_SCOPE(&node->lock);
    if (node->times.gen != gen)
        return;
    node->times.written = false;
    stamp(&node->times, stx);
}

/* => node locked */
static bool as_stamped(const struct vn_times *times, const struct statx *stx)
{
    struct timespec mtime = ts_of(&stx->stx_mtime), ctime = ts_of(&stx->stx_ctime);
    return times->stamped && same(&mtime, &times->stamp.mtime) &&
           same(&ctime, &times->stamp.ctime) && stx->stx_size == times->stamp.size;
}

bool vn_times_foreign(struct vn_node *node, const struct statx *stx)
{
    UVM_LOCK_SCOPE(&node->lock);
    return !node->times.written && !as_stamped(&node->times, stx);
}

/* The times that count; true: ours. */
static bool times_now(struct vn_node *node, const struct statx *stx, struct stat *st)
{
    UVM_LOCK_SCOPE(&node->lock);
    struct vn_times *times = &node->times;

    if (!times->written && !(times->shown && as_stamped(times, stx)))
        return false;
    st->st_mtim = times->mtime;
    st->st_ctim = times->ctime;
    return true;
}

static struct {
    uint64_t dev, ino; /* (!) of the source */
} root;

void vn_root_is(const struct statx *stx)
{
    root.dev = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
    root.ino = stx->stx_ino;
}

/* Files of other file systems below the source have their device mixed into the upper half. */
uint64_t vn_show_ino(uint64_t dev, uint64_t ino)
{
    if (dev == root.dev)
        return ino == root.ino ? UVM_INO_VNODE_ROOT : ino | UVM_INO_VNODE_BIT;
    uint64_t mixed = (dev ^ root.dev) * 0x9e3779b97f4a7c15u;
    return ((ino ^ mixed << 32) & (UVM_INO_VNODE_BIT - 1)) | UVM_INO_VNODE_BIT;
}

/* => false: what the store said may be older than our last page-out: it was closed meanwhile */
static bool show_size(struct vn_node *node, struct stat *st)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);

    if (!uobj)
        return true;
    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_vnode *vnode = uvm_vnode(uobj);
    if (!vnode->backing)
        return (uint64_t)st->st_size == vnode->size;
    st->st_size = (off_t)vnode->size;
    /* What is dirty may have no blocks yet; a file without blocks is a hole to whoever copies it. */
    blkcnt_t most = (blkcnt_t)(uvm_round_page(vnode->size) / 512);
    blkcnt_t blocks = st->st_blocks + (blkcnt_t)(uobj->ndirty * (UVM_PAGE_SIZE / 512));
    st->st_blocks = MAX(st->st_blocks, MIN(blocks, most));
    return true;
}

/* => false: ask the store again */
static bool show(struct vn_node *node, const struct statx *stx, struct stat *ret)
{
    uint64_t dev = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;

    *ret = (struct stat){
        .st_ino = vn_show_ino(dev, stx->stx_ino),
        .st_mode = stx->stx_mode,
        .st_nlink = stx->stx_nlink,
        .st_uid = stx->stx_uid,
        .st_gid = stx->stx_gid,
        .st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
        .st_size = (off_t)stx->stx_size,
        .st_blksize = UVM_PAGE_SIZE,
        .st_blocks = (blkcnt_t)stx->stx_blocks,
        .st_atim = ts_of(&stx->stx_atime),
        .st_mtim = ts_of(&stx->stx_mtime),
        .st_ctim = ts_of(&stx->stx_ctime),
    };
    if (!S_ISREG(stx->stx_mode))
        return true;
    times_now(node, stx, ret);
    return show_size(node, ret);
}

void vn_show(struct vn_node *node, const struct statx *stx, struct stat *ret)
{
    struct statx again;

    if (show(node, stx, ret))
        return;
    VN_PIN(pin);
    if (!vn_pin(node, &pin) && !vn_statx(pin.fd, &again))
        show(node, &again, ret);
}

void vn_entry(struct vn_node *node, const struct statx *stx, struct fuse_entry_param *ret)
{
    *ret = (struct fuse_entry_param){
        .ino = node->id,
        .generation = 1, /* ids are never used twice */
        .attr_timeout = VN_TIMEOUT,
        .entry_timeout = VN_TIMEOUT,
    };
    vn_show(node, stx, &ret->attr);
}

void vn_touched(struct vn_node *node, int fd)
{
    struct statx stx;
    if (atomic_load(&node->uobj) && !vn_statx(fd, &stx))
        vn_times_touched(node, &stx);
}
