/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing out: fsync, the errors that close tells of, and the end of it all.
 *
 * On the loop, for nothing here touches the source but the pager. fsync of a directory is a worker's.
 */
#include <errno.h>
#include <string.h>

#include "../daemon/log.h"
#include "../daemon/loop.h"
#include "ops_file.h"
#include "vn_op.h"

struct sync_op {
    struct uvn_flush flush;
    fuse_req_t req;
    uint64_t fh;
};

/* An error that belongs to this handle; else the one of this flush. */
static void synced(struct uvn_flush *flush, int error)
{
    struct sync_op *op = UVM_CONTAINER_OF(flush, struct sync_op, flush);
    struct vn_handle *handle = vn_handle_find(op->fh);
    int kept = handle ? vn_handle_error(handle, true) : 0;

    fuse_reply_err(op->req, -vn_errno(kept ? kept : error));
    free(op);
    uvm_file_requests--;
}

void vn_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct vn_node *node = vn_find(ino);
    struct uvm_object *uobj = node ? atomic_load(&node->uobj) : NULL;
    struct sync_op *op = uobj ? calloc(1, sizeof(*op)) : NULL;

    if (!op) {
        fuse_reply_err(req, !uobj ? EBADF : ENOMEM);
        return;
    }
    uvm_file_requests++;
    op->req = req;
    op->fh = fi->fh;
    op->flush.uobj = uobj;
    op->flush.loop = uvm_loop_self();
    op->flush.start = 0;
    op->flush.stop = UVM_OBJECT_PAGES_MAX;
    op->flush.sync = datasync ? UVN_FDATASYNC : UVN_FSYNC;
    op->flush.done = synced;
    uvn_flush_start(&op->flush);
}

/* Every process that has inherited the descriptor closes it, most of them without a look at the answer: the
 * error stays for fsync. */
void vn_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct vn_handle *handle = vn_handle_find(fi->fh);
    fuse_reply_err(req, handle ? -vn_errno(vn_handle_error(handle, false)) : EBADF);
}

static void run_fsyncdir(struct vn_op *op)
{
    struct vn_handle *handle = vn_handle_find(op->fi.fh);
    int rc = handle ? 0 : -EBADF;

    if (!rc && (op->flags ? fdatasync(handle->fd) : fsync(handle->fd)))
        rc = -errno;
    vn_op_end(op, rc);
}

void vn_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_fsyncdir);
    if (!op)
        return;
    op->fi = *fi;
    op->flags = datasync;
    vn_op_start(op);
}
