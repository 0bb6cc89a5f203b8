/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file's descriptors for the pager, and what becomes of them.
 *
 *      first open ----> backing ----> last close, clean: dropped at once
 *      first writer --> replaced by     |   dirty: the pager reports when it is clean (vn_cleaned):
 *                       one to write    |          time set, stamp taken, dropped
 *                                       +-- and without a name or a look-up left: dropped, and
 *                                           the dirty pages with it
 *
 * Pages stay in memory without a backing as long as they are clean; the next open finds them if nobody
 * else has changed the file since. The descriptors are root's: whoever may open the file has been
 * asked before, as the caller.
 */
#include <errno.h>
#include <string.h>

#include "../daemon/log.h"
#include "vn_op.h"

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x00002000U
#define NO_DIOALIGN    1
#endif

/* The block of direct transfers on a descriptor with O_DIRECT. => 0: there are none with pages */
static uint32_t direct_align(int fd)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx))
        return 0;
#ifndef NO_DIOALIGN
    if (stx.stx_mask & STATX_DIOALIGN) {
        bool fits = stx.stx_dio_offset_align && stx.stx_dio_offset_align <= UVM_PAGE_SIZE &&
                    stx.stx_dio_mem_align <= UVM_PAGE_SIZE;
        return fits ? stx.stx_dio_offset_align : 0;
    }
#endif
    return UVM_PAGE_SIZE; /* a kernel that does not say: no disk has larger blocks */
}

static int open_again(int fd, int flags)
{
    int again = open(vn_proc(fd).path, flags | O_CLOEXEC);
    return again < 0 ? vn_errno(-errno) : again;
}

/* => 0 or -errno; fd: O_PATH */
static int backing_new(int fd, bool writable, struct uvn_backing **ret)
{
    int mode = writable ? O_RDWR : O_RDONLY;
    CLEANUP_CLOSE int direct = open_again(fd, mode | O_DIRECT);
    CLEANUP_CLOSE int tail = -1;
    uint32_t align = direct < 0 ? 0 : direct_align(direct);

    if (direct < 0 && direct != -EINVAL)
        return direct;
    if (!align) {
        if (direct >= 0)
            close(direct);
        direct = open_again(fd, mode);
        if (direct < 0)
            return direct;
        align = 1;
    } else if (writable) {
        tail = open_again(fd, mode);
        if (tail < 0)
            return tail;
    }
    int data = UVM_TAKE_FD(direct);
    if (align == 1 && writable)
        tail = data;
    *ret = uvn_backing_new(data, UVM_TAKE_FD(tail), align);
    return *ret ? 0 : -ENOMEM;
}

/* The node and the object have a reference each. */
static int backing_set(struct vn_node *node, struct uvm_object *uobj, int fd, bool writable)
{
    struct uvn_backing *backing = NULL;
    int rc = backing_new(fd, writable, &backing);

    if (rc)
        return rc;
    uvn_set_backing(uobj, uvn_backing_ref(backing));
    if (node->backing)
        uvn_backing_unref(node->backing);
    else
        vn_ref(node);
    node->backing = backing;
    node->writable = writable;
    return 0;
}

/*
 * Set the time of modification on a file whose pages are clean.
 *
 * What somebody else has done to it while ours were dirty cannot be told from our own page-outs; but of its
 * size we know what it has to be.
 */
static void put_times(struct vn_node *node, struct uvm_object *uobj)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    struct statx stx;
    uint64_t gen, size = uvn_size(uobj);

    if (!node->backing || uvn_ndirty(uobj) || !vn_times_unset(node, &times[1], &gen))
        return;
    if (futimens(node->backing->fd, times))
        log_debug("vnode %llu: time of modification: %s", (unsigned long long)node->id,
                  strerror(errno));
    if (vn_statx(node->backing->fd, &stx))
        return;
    if (stx.stx_size != size && uvn_size(uobj) == size && !uvn_ndirty(uobj))
        uvn_invalidate(uobj, stx.stx_size);
    vn_times_put(node, gen, &stx);
}

bool vn_revalidate(struct vn_node *node, int fd, struct statx *stx)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);
    uint64_t size = uobj ? uvn_size(uobj) : 0;
    bool dirty = uobj && uvn_ndirty(uobj); /* then its times, and its end, may be our page-outs' */

    if (!uobj || vn_statx(fd, stx) || dirty || !vn_times_foreign(node, stx))
        return false;
    if (!uvn_invalidate_seen(uobj, size, stx->stx_size))
        return false;
    vn_times_foreign_stamp(node, stx);
    atomic_store(&node->nocaps, false);
    return true;
}

int vn_backing_open(struct vn_node *node, int fd, bool writer, bool *ret_keep)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);
    struct statx stx;
    bool first = !uobj; /* what a look-up said of it may be older */
    int rc = vn_statx(fd, &stx);

    if (rc)
        return rc;
    if (first) {
        uobj = uvn_new(node->id, stx.stx_size);
        if (!uobj)
            return -ENOMEM;
        vn_times_foreign_stamp(node, &stx);
        atomic_store(&node->uobj, uobj);
    }
    if (!node->backing || (writer && !node->writable)) {
        rc = backing_set(node, uobj, fd, writer || (node->backing && node->writable));
        if (rc)
            return rc;
    }
    put_times(node, uobj);
    *ret_keep = !vn_revalidate(node, fd, &stx) && !first;
    UVM_LOCK_SCOPE(&node->lock);
    node->nopen++;
    node->nwrite += writer;
    return 0;
}

int vn_backing_upgrade(struct vn_node *node, int fd)
{
    if (!node->backing || node->writable)
        return 0;
    return backing_set(node, atomic_load(&node->uobj), fd, true);
}

static void backing_drop(struct vn_node *node)
{
    struct uvn_backing *backing = UVM_TAKE_PTR(node->backing);

    node->writable = false;
    uvn_backing_unref(backing);
    vn_unref(node);
}

/*
 * A page-in that nobody waits for (read-ahead) may still use the descriptors of a file that is closed. What
 * waits for it is a change that changes nothing.
 */
struct lull {
    struct uvn_change change;
    struct vn_job job;
    struct vn_node *node; /* referenced */
};

static void lull_over(struct vn_job *job)
{
    struct lull *lull = UVM_CONTAINER_OF(job, struct lull, job);
    struct vn_node *node = lull->node;

    uvn_change_end(&lull->change, false);
    free(lull);
    vn_settle(node);
    vn_unref(node);
}

static void lull_begun(struct uvn_change *change)
{
    struct lull *lull = UVM_CONTAINER_OF(change, struct lull, change);
    lull->job.fn = lull_over;
    vn_work_submit(&lull->job);
}

static void settle_later(struct vn_node *node, struct uvm_object *uobj)
{
    struct lull *lull = calloc(1, sizeof(*lull));

    if (!lull)
        return; /* its next open and close will do it */
    vn_ref(node);
    lull->node = node;
    lull->change = (struct uvn_change){
        .uobj = uobj, .loop = vn_loop(), .size = UVN_SAME_SIZE, .begun = lull_begun};
    uvn_change_begin(&lull->change);
}

/* It has no handle: does it still need its descriptors? => in the node's turn; the caller has a
 * reference */
static void settle_closed(struct vn_node *node, struct uvm_object *uobj)
{
    struct statx stx;

    if (uvn_set_backing(uobj, NULL)) {
        backing_drop(node);
        return;
    }
    if (!uvn_ndirty(uobj))
        settle_later(node, uobj);
    else if (!vn_statx(node->backing->fd, &stx) && !stx.stx_nlink && vn_drop(node))
        backing_drop(node);
}

bool vn_is_open(struct vn_node *node)
{
    UVM_LOCK_SCOPE(&node->lock);
    return node->nopen;
}

static void settle(struct vn_node *node)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);

    if (!uobj || !node->backing)
        return;
    put_times(node, uobj);
    if (!vn_is_open(node))
        settle_closed(node, uobj);
}

static void run_settle(struct vn_job *job)
{
    struct vn_node *node = UVM_CONTAINER_OF(job, struct vn_node, settle);

    uvm_lock_acquire(&node->lock);
    node->settling = false;
    uvm_lock_release(&node->lock);
    settle(node);
    vn_turn_end(node);
    vn_unref(node);
}

void vn_settle(struct vn_node *node)
{
    {
        UVM_LOCK_SCOPE(&node->lock);
        if (node->settling)
            return;
        node->settling = true;
    }
    vn_ref(node);
    node->settle.fn = run_settle;
    vn_turn(node, &node->settle);
}

void vn_cleaned(uint64_t id)
{
    struct vn_node *node = vn_get(id);

    if (!node)
        return;
    vn_settle(node);
    vn_unref(node);
}

void vn_backing_close(struct vn_node *node, bool writer)
{
    {
        UVM_LOCK_SCOPE(&node->lock);
        node->nopen--;
        node->nwrite -= writer;
    }
    settle(node);
}

void vn_backing_clean(struct vn_node *node)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);
    if (uobj)
        put_times(node, uobj);
}
