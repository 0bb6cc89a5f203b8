/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SEEK_DATA and SEEK_HOLE: the file system of the source knows, once it has all the bytes.
 *
 *      what clients have stored through mappings --> WRITEs --> dirty pages --> the file --> lseek(2)
 *
 * So where somebody has the file open to write, the kernel gives up what it holds first; and what is
 * dirty is written out.
 */
#include <errno.h>

#include "session.h"
#include "vn_op.h"

/* => in the node's turn */
static int seek(struct vn_op *op, off_t *ret)
{
    struct uvm_object *uobj = atomic_load(&op->node->uobj);
    struct uvn_backing *backing = op->node->backing;

    if (!backing || !uobj)
        return -EBADF;
    if ((uint64_t)op->off >= uvn_size(uobj))
        return -ENXIO;
    int fd = backing->tail_fd >= 0 ? backing->tail_fd : backing->fd;
    *ret = lseek(fd, op->off, op->flags);
    if (*ret < 0 && errno == ENXIO && op->flags == SEEK_HOLE)
        *ret = op->off; /* beyond the file's end, and still in the size: nothing was stored there */
    return *ret < 0 ? -errno : 0;
}

static void run_seek(struct vn_op *op)
{
    off_t found = 0;
    int rc = seek(op, &found);

    vn_turn_end(op->node);
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    fuse_reply_lseek(op->req, found);
    vn_op_free(op);
}

/* => on a waiter */
static void run_gather(struct vn_op *op)
{
    struct uvm_object *uobj = atomic_load(&op->node->uobj);

    uvm_lock_acquire(&op->node->lock);
    bool writers = op->node->nwrite;
    uvm_lock_release(&op->node->lock);
    if (writers)
        uvm_session_revoke(op->node->id, (uint64_t)op->off, 0);
    /* What cannot be written is there all the same, and no hole. */
    int rc = uobj && uvn_ndirty(uobj) ? uvn_flush_wait(uobj, UVN_FLUSH) : 0;
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    op->run = run_seek;
    vn_op_start_turn(op);
}

void vn_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    if (off < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(req, off < 0 ? ENXIO : EINVAL);
        return;
    }
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_gather);
    if (!op)
        return;
    op->off = off;
    op->flags = whence;
    vn_work_submit_waiter(&op->job);
}
