/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations that change which pages a file has: truncate, fallocate; and lseek, which asks.
 *
 *              from                                      to
 *      ---------|======|===================|=============|--------
 *               | head |    whole pages    |    tail     |
 *                 zero       freed at once      zero
 *
 * The partial pages at the edges are zeroed where they exist, which may need a page-in; so the
 * request carries on from step to step.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "../daemon/rw.h"
#include "ops_file.h"

struct size_op {
    struct uvm_rw rw;
    fuse_req_t req;
    struct uvm_inode *inode;
    struct uvm_object *uobj;
    uint64_t from, to; /* bytes: what becomes zeroes or goes */
    enum { ZERO_HEAD, ZERO_TAIL, FREE_WHOLE } step;
    void (*finish)(struct size_op *op, int error); /* replies; frees the op */
    /* setattr */
    struct stat attr;
    int to_set;
    /* fallocate */
    int mode;
};

static void size_op_step(struct size_op *op);

static void zeroed(struct uvm_rw *rw, int error)
{
    struct size_op *op = UVM_CONTAINER_OF(rw, struct size_op, rw);
    if (error)
        op->finish(op, error);
    else
        size_op_step(op);
}

/* Zero [from, to), which lies in one page, where there is something. */
static void zero_part(struct size_op *op, uint64_t from, uint64_t to)
{
    op->rw.uobj = op->uobj;
    op->rw.loop = uvm_loop_self();
    op->rw.off = from;
    op->rw.len = to - from;
    op->rw.src = NULL;
    op->rw.flags = 0;
    op->rw.done = zeroed;
    uvm_write(&op->rw);
}

static void size_op_step(struct size_op *op)
{
    uint64_t head = MIN(uvm_round_page(op->from), op->to); /* first whole page, or the end */
    uint64_t tail = op->to & ~(uint64_t)UVM_PAGE_MASK;     /* end of the last whole page */

    switch (op->step) {
    case ZERO_HEAD:
        op->step = ZERO_TAIL;
        if (head > op->from) {
            zero_part(op, op->from, head);
            return;
        }
        /* fallthrough */
    case ZERO_TAIL:
        op->step = FREE_WHOLE;
        if (op->to > tail && tail >= head) {
            zero_part(op, tail, op->to);
            return;
        }
        /* fallthrough */
    case FREE_WHOLE:
        if (tail > head) {
            UVM_LOCK_SCOPE(&op->uobj->lock);
            op->uobj->pgops->pgo_flush(op->uobj, (uint32_t)uvm_atop(head), (uint32_t)uvm_atop(tail),
                                       PGO_FREE);
        }
        break;
    }
    op->finish(op, 0);
}

static void size_op_free(struct size_op *op)
{
    uvm_file_requests--;
    free(op);
}

/* => NULL: replied with an error */
static struct size_op *size_op_new(fuse_req_t req, fuse_ino_t ino)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    struct uvm_object *uobj = inode ? uvm_inode_object(inode) : NULL;
    struct size_op *op = uobj ? calloc(1, sizeof(*op)) : NULL;

    if (!op) {
        fuse_reply_err(req, !inode ? ENOENT : ENOMEM);
        return NULL;
    }
    uvm_file_requests++;
    op->req = req;
    op->inode = inode;
    op->uobj = uobj;
    return op;
}

static void reply_setattr(fuse_req_t req, struct uvm_inode *inode, const struct stat *attr,
                          int to_set)
{
    struct stat st;
    int rc = uvm_inode_setattr(inode, attr, to_set, &st);
    if (rc)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_attr(req, &st, UVM_ATTR_TIMEOUT);
}

static void truncated(struct size_op *op, int error)
{
    if (error) {
        fuse_reply_err(op->req, -error);
    } else {
        uvm_inode_set_size(op->inode, (uint64_t)op->attr.st_size);
        reply_setattr(op->req, op->inode, &op->attr, op->to_set);
    }
    size_op_free(op);
}

void uvm_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                    struct fuse_file_info *fi)
{
    if (!(to_set & FUSE_SET_ATTR_SIZE)) {
        struct uvm_inode *inode = uvm_inode_find(ino);
        if (inode)
            reply_setattr(req, inode, attr, to_set);
        else
            fuse_reply_err(req, ENOENT);
        return;
    }
    if (attr->st_size < 0 || (uint64_t)attr->st_size > UVM_FILE_SIZE_MAX) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    struct size_op *op = size_op_new(req, ino);
    if (!op)
        return;
    op->attr = *attr;
    op->to_set = to_set & ~FUSE_SET_ATTR_SIZE;
    op->from = (uint64_t)attr->st_size;
    op->to = UVM_FILE_SIZE_MAX; /* also what fallocate put beyond the size */
    op->finish = truncated;
    size_op_step(op);
}

static void punched(struct size_op *op, int error)
{
    uint64_t end = op->to;

    if (!error && (op->mode & FALLOC_FL_ZERO_RANGE)) {
        uint32_t first = (uint32_t)uvm_atop(op->from);
        error = uvm_allocate(op->uobj, first, (uint32_t)uvm_atop(uvm_round_page(end)) - first);
    }
    if (!error)
        uvm_inode_wrote(op->inode, (op->mode & FALLOC_FL_KEEP_SIZE) ? 0 : end, false);
    fuse_reply_err(op->req, -error);
    size_op_free(op);
}

void uvm_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                      struct fuse_file_info *fi)
{
    const int keep = FALLOC_FL_KEEP_SIZE;

    if (mode != 0 && mode != keep && mode != (FALLOC_FL_PUNCH_HOLE | keep) &&
        (mode & ~keep) != FALLOC_FL_ZERO_RANGE) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    if (off < 0 || len <= 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    if ((uint64_t)off + (uint64_t)len > UVM_FILE_SIZE_MAX) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    struct size_op *op = size_op_new(req, ino);
    if (!op)
        return;
    op->mode = mode;
    op->from = (uint64_t)off;
    op->to = (uint64_t)off + (uint64_t)len;
    op->finish = punched;
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        size_op_step(op);
        return;
    }
    uint32_t first = (uint32_t)uvm_atop(op->from);
    punched(op, uvm_allocate(op->uobj, first, (uint32_t)uvm_atop(uvm_round_page(op->to)) - first));
}

void uvm_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    struct uvm_object *uobj = inode ? uvm_inode_object(inode) : NULL;

    if (!uobj || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(req, inode ? EINVAL : ENOENT);
        return;
    }
    uint64_t size = uvm_inode_size(inode), at = (uint64_t)off;
    if (off < 0 || at >= size) {
        fuse_reply_err(req, ENXIO);
        return;
    }
    uint32_t end = (uint32_t)uvm_atop(uvm_round_page(size));
    uint32_t found = uvm_find(uobj, (uint32_t)uvm_atop(at), end, whence == SEEK_DATA);
    if (found == end && whence == SEEK_DATA)
        fuse_reply_err(req, ENXIO);
    else
        fuse_reply_lseek(req, (off_t)MIN(MAX(uvm_ptoa(found), at), size));
}
