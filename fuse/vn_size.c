/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations that change a file's size or blocks.
 *
 *      turn --> [worker] permission, descriptor
 *                  |  not open: change the file, forget its pages
 *                  v
 *               the pager's change begins: no transfer starts
 *                  |
 *               [worker] ftruncate, fallocate  --> the change ends: whole pages are gone
 *                  |
 *               [loop] zero the partial pages at the edges, where they are in memory
 *                  |
 *               [worker] times, reply
 */
#include <errno.h>
#include <linux/falloc.h>

#include "../daemon/loop.h"
#include "../daemon/rw.h"
#include "ops_file.h"
#include "vn_op.h"

struct resize {
    struct vn_op *op;
    struct vn_job job;
    int (*act)(struct resize *rz, int fd); /* the system call. => 0 or -errno */
    void (*finish)(struct resize *rz);     /* replies, frees the op; the turn is over */
    struct uvn_backing *backing;           /* referenced; NULL: the file is not open */
    int fd;                                /* to write to, when it is not the backing's; or -1 */
    bool lengthen;                         /* the file gets its size first */
    int error;
    struct uvm_loop *loop;
    struct uvn_change change;
    struct uvm_work post;
    struct uvm_rw rw;
    struct {
        uint64_t from, to;
    } zero[2]; /* bytes, within one page each; empty: nothing */
    unsigned nzero;
};

static struct uvm_object *object_of(const struct resize *rz)
{
    return atomic_load(&rz->op->node->uobj);
}

static void resize_free(struct resize *rz)
{
    uvn_backing_unref(rz->backing);
    if (rz->fd >= 0)
        close(rz->fd);
    free(rz);
}

/* The turn's end, and the reply. => worker */
static void resize_end(struct resize *rz)
{
    struct vn_node *node = rz->op->node;
    int fd = rz->backing ? rz->backing->fd : rz->fd;
    struct statx stx;

    if (!rz->error && object_of(rz) && !vn_statx(fd, &stx)) {
        vn_times_resized(node, &stx, uvn_ndirty(object_of(rz)) > 0);
        vn_backing_clean(node);
    }
    vn_turn_end(node);
    rz->finish(rz);
    resize_free(rz);
}

static void run_end(struct vn_job *job)
{
    resize_end(UVM_CONTAINER_OF(job, struct resize, job));
}

static void zero_next(struct resize *rz)
{
    while (rz->nzero < 2 && rz->zero[rz->nzero].from >= rz->zero[rz->nzero].to)
        rz->nzero++;
    if (rz->error || rz->nzero == 2) {
        rz->job.fn = run_end;
        vn_work_submit(&rz->job);
        return;
    }
    rz->rw.off = rz->zero[rz->nzero].from;
    rz->rw.len = rz->zero[rz->nzero].to - rz->rw.off;
    rz->nzero++;
    uvm_write(&rz->rw);
}

static void zeroed(struct uvm_rw *rw, int error)
{
    struct resize *rz = UVM_CONTAINER_OF(rw, struct resize, rw);
    rz->error = error;
    zero_next(rz);
}

static void zero_edges(struct uvm_work *work)
{
    struct resize *rz = UVM_CONTAINER_OF(work, struct resize, post);
    rz->rw.uobj = object_of(rz);
    rz->rw.loop = rz->loop;
    rz->rw.src = NULL;
    rz->rw.done = zeroed;
    zero_next(rz);
}

static void run_act(struct vn_job *job)
{
    struct resize *rz = UVM_CONTAINER_OF(job, struct resize, job);

    rz->error = rz->act(rz, rz->fd >= 0 ? rz->fd : rz->backing->tail_fd);
    uvn_change_end(&rz->change, !rz->error);
    rz->post.fn = zero_edges;
    uvm_loop_post(rz->loop, &rz->post);
}

static void begun(struct uvn_change *change)
{
    struct resize *rz = UVM_CONTAINER_OF(change, struct resize, change);
    rz->job.fn = run_act;
    vn_work_submit(&rz->job);
}

/* => in the turn, on a worker; the ranges of change and zero are filled in */
static void resize_go(struct resize *rz)
{
    rz->change.uobj = object_of(rz);
    rz->change.loop = rz->loop;
    rz->change.begun = begun;
    uvn_change_begin(&rz->change);
}

/*
 * Bytes [from, to) become zeroes: their partial pages.
 *
 * What the change has done to the file there may have been undone since, by a page-out of the page as it was
 * before. So with fallocate also a page that is on the file only is zeroed; a truncate has no need,
 * because nothing is written beyond the size.
 */
static void set_edges(struct resize *rz, uint64_t from, uint64_t to)
{
    uint64_t head = MIN(uvm_round_page(from), to), tail = to & ~(uint64_t)UVM_PAGE_MASK;

    rz->zero[0].from = from;
    rz->zero[0].to = head;
    rz->zero[1].from = MAX(tail, head);
    rz->zero[1].to = to;
}

static void resize_fail(struct resize *rz, int rc)
{
    rz->error = rc;
    resize_end(rz);
}

/* => on a loop; NULL: replied with an error */
static struct resize *resize_new(struct vn_op *op, void (*start)(struct vn_job *job))
{
    struct resize *rz = calloc(1, sizeof(*rz));

    if (!rz) {
        vn_op_end(op, -ENOMEM);
        return NULL;
    }
    rz->op = op;
    rz->fd = -1;
    rz->loop = uvm_loop_self();
    rz->job.fn = start;
    return rz;
}

/* Take the node's own descriptors, if there are any. => in the turn */
static void take_backing(struct resize *rz)
{
    struct vn_node *node = rz->op->node;

    if (node->backing)
        rz->backing = uvn_backing_ref(node->backing);
}

/*
 * Whoever has the file open to write may; else it is asked for, as the caller, by its name.
 *
 * Somebody else may have it open only to read, and its last page in memory becomes dirty: that needs
 * descriptors to write it with.
 */
static int truncate_right(struct resize *rz, int pinned)
{
    struct vn_op *op = rz->op;
    struct vn_handle *handle = op->has_fi ? vn_handle_find(op->fi.fh) : NULL;

    if (!handle || !handle->writer) {
        VN_AS_CALLER(me, op->req);
        if (me)
            return me;
        rz->fd = open(vn_proc(pinned).path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (rz->fd < 0)
            return -errno;
    }
    int rc = vn_backing_upgrade(op->node, pinned);
    if (!rc)
        take_backing(rz);
    return rc;
}

static int act_truncate(struct resize *rz, int fd)
{
    return ftruncate(fd, rz->op->attr.st_size) ? -errno : 0;
}

static void finish_truncate(struct resize *rz)
{
    struct vn_op *op = rz->op;
    VN_PIN(pin);
    int rc = rz->error ? rz->error : vn_pin(op->node, &pin);

    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    op->flags &= ~FUSE_SET_ATTR_SIZE;
    vn_setattr_rest(op, pin.fd);
}

static void run_truncate(struct vn_job *job)
{
    struct resize *rz = UVM_CONTAINER_OF(job, struct resize, job);
    uint64_t size = (uint64_t)rz->op->attr.st_size;
    VN_PIN(pin);
    int rc = vn_pin(rz->op->node, &pin);

    if (!rc && !S_ISREG(rz->op->node->type))
        rc = S_ISDIR(rz->op->node->type) ? -EISDIR : -EINVAL;
    if (!rc)
        rc = truncate_right(rz, pin.fd);
    if (!rc && !rz->backing) {
        rc = act_truncate(rz, rz->fd);
        if (!rc && object_of(rz))
            uvn_invalidate(object_of(rz), size);
        resize_fail(rz, rc);
        return;
    }
    if (rc) {
        resize_fail(rz, rc);
        return;
    }
    rz->change.from = MIN(size, uvn_size(object_of(rz)));
    rz->change.to = UINT64_MAX;
    rz->change.size = size;
    set_edges(rz, size, uvm_round_page(size));
    resize_go(rz);
}

void vn_truncate(struct vn_op *op)
{
    if (op->attr.st_size < 0 || (uint64_t)op->attr.st_size > UVM_FILE_SIZE_MAX) {
        vn_op_end(op, -EFBIG);
        return;
    }
    struct resize *rz = resize_new(op, run_truncate);
    if (!rz)
        return;
    rz->act = act_truncate;
    rz->finish = finish_truncate;
    vn_turn(op->node, &rz->job);
}

/* Does the range reach beyond the end that the file has so far? Then the pages that were to make it longer
 * may be dropped: it has to get its size here. */
static bool drops_end(struct uvm_object *uobj, uint64_t to)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    const struct uvm_vnode *vnode = uvm_vnode(uobj);
    return vnode->eof < vnode->size && vnode->eof < to;
}

static int act_fallocate(struct resize *rz, int fd)
{
    const struct vn_op *op = rz->op;

    if (rz->lengthen && ftruncate(fd, (off_t)rz->change.size))
        return -errno;
    return fallocate(fd, op->flags, op->off, (off_t)op->size) ? -errno : 0;
}

static void finish_fallocate(struct resize *rz)
{
    vn_op_end(rz->op, rz->error);
}

static void run_fallocate(struct vn_job *job)
{
    struct resize *rz = UVM_CONTAINER_OF(job, struct resize, job);
    const struct vn_op *op = rz->op;
    struct vn_handle *handle = vn_handle_find(op->fi.fh);
    uint64_t from = (uint64_t)op->off, to = from + op->size;

    if (!handle || !handle->writer) {
        resize_fail(rz, -EBADF);
        return;
    }
    take_backing(rz);
    uint64_t size = uvn_size(object_of(rz));
    bool grows = !(op->flags & FALLOC_FL_KEEP_SIZE) && to > size;
    rz->change.size = grows ? to : UVN_SAME_SIZE;
    rz->change.from = rz->change.to = size;
    if (op->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        rz->change.from = from;
        rz->change.to = to;
        set_edges(rz, from, grows ? to : MIN(to, size));
        rz->rw.flags = UVM_RW_ABSENT;
        rz->lengthen = !grows && drops_end(object_of(rz), to);
        if (rz->lengthen)
            rz->change.size = size;
    }
    resize_go(rz);
}

void vn_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                     struct fuse_file_info *fi)
{
    const int keep = FALLOC_FL_KEEP_SIZE;
    int error = 0;

    if (mode != 0 && mode != keep && mode != (FALLOC_FL_PUNCH_HOLE | keep) &&
        (mode & ~keep) != FALLOC_FL_ZERO_RANGE)
        error = EOPNOTSUPP;
    else if (off < 0 || len <= 0)
        error = EINVAL;
    else if ((uint64_t)off + (uint64_t)len > UVM_FILE_SIZE_MAX)
        error = EFBIG;
    if (error) {
        fuse_reply_err(req, error);
        return;
    }
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, NULL);
    struct resize *rz = op ? resize_new(op, run_fallocate) : NULL;
    if (!rz)
        return;
    op->flags = mode;
    op->off = off;
    op->size = (size_t)len;
    op->fi = *fi;
    rz->act = act_fallocate;
    rz->finish = finish_fallocate;
    vn_turn(op->node, &rz->job);
}
