/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening files and closing them.
 *
 * A file is opened as the caller and in the mode that is asked for, only to hear what the host says;
 * the pager's descriptors are others (vn_backing.c). The kernel truncates by a request of its own.
 *
 * What is open is no promise that the kernel holds the right bytes: somebody else may have changed the file
 * since. So each open asks for the times, and the kernel drops its pages if they are not ours.
 */
#include "vn_op.h"

#include <errno.h>

#include "session.h"

/* A file being executed is opened with this in the flags; it need not be readable. */
#define OPEN_EXEC 040

static bool writes(const struct fuse_file_info *fi)
{
    return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* May the caller open it like this? */
static int check_open(struct vn_op *op, int fd)
{
    VN_AS_CALLER(me, op->req);

    if (me)
        return me;
    if (op->fi.flags & OPEN_EXEC)
        return faccessat(fd, "", X_OK, AT_EACCESS | AT_EMPTY_PATH) ? -errno : 0;
    CLEANUP_CLOSE int tried =
        open(vn_proc(fd).path, (op->fi.flags & O_ACCMODE) | O_CLOEXEC | O_NOCTTY);
    return tried < 0 ? -errno : 0;
}

/* => in the node's turn; 0 or -errno; fills in op->fi */
static int open_file(struct vn_op *op, int fd)
{
    bool keep;
    int rc = vn_backing_open(op->node, fd, writes(&op->fi), &keep);

    if (rc)
        return rc;
    /* Its size too: without this the kernel would trust for a while the one it knows. Attributes only,
     * which waits for nobody. */
    if (!keep)
        uvm_session_revoke(op->node->id, (uint64_t)-1, 0);
    struct vn_handle *handle = vn_handle_new(op->node, -1, writes(&op->fi));
    if (!handle) {
        vn_backing_close(op->node, writes(&op->fi));
        return -ENOMEM;
    }
    op->fi.fh = handle->fh;
    op->fi.keep_cache = keep;
    op->fi.noflush = 0; /* close tells of errors */
    return 0;
}

/* => in the node's turn */
static void close_file(struct vn_node *node, uint64_t fh)
{
    struct vn_handle *handle = vn_handle_find(fh);

    if (handle)
        vn_backing_close(node, handle->writer);
    vn_turn_end(node);
    if (handle)
        vn_handle_close(handle);
}

static void run_unopen(struct vn_op *op)
{
    close_file(op->node, op->fi.fh);
    vn_op_free(op);
}

static void run_open(struct vn_op *op)
{
    VN_PIN(pin);
    int rc = vn_pin(op->node, &pin);

    if (!rc && !S_ISREG(op->node->type))
        rc = S_ISDIR(op->node->type) ? -EISDIR : -ENXIO;
    if (!rc)
        rc = check_open(op, pin.fd);
    if (!rc)
        rc = open_file(op, pin.fd);
    vn_turn_end(op->node);
    if (rc) {
        vn_op_end(op, rc);
    } else if (fuse_reply_open(op->req, &op->fi)) {
        op->run = run_unopen; /* nobody has it, so nobody will release it */
        vn_op_start_turn(op);
    } else {
        vn_op_free(op);
    }
}

void vn_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_open);
    if (!op)
        return;
    op->fi = *fi;
    vn_op_start_turn(op);
}

static void run_release(struct vn_op *op)
{
    close_file(op->node, op->fi.fh);
    vn_op_end(op, 0);
}

void vn_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_release);
    if (!op)
        return;
    op->fi = *fi;
    vn_op_start_turn(op);
}

/* The look-up that came with a file which could not be given to the kernel. */
static void run_uncreate(struct vn_op *op)
{
    uint64_t id = op->node->id;

    close_file(op->node, op->fi.fh);
    vn_op_free(op);
    vn_forget(id, 1);
}

/* => in the turn of the new file's node */
static void run_created(struct vn_op *op)
{
    struct fuse_entry_param entry;
    struct statx stx;
    uint64_t id = op->node->id;
    int rc = open_file(op, op->fd);

    if (!rc && (rc = vn_statx(op->fd, &stx)))
        vn_backing_close(op->node, writes(&op->fi));
    if (!rc)
        vn_entry(op->node, &stx, &entry);
    vn_turn_end(op->node);
    if (rc) {
        vn_op_end(op, rc);
        vn_forget(id, 1);
    } else if (fuse_reply_create(op->req, &entry, &op->fi)) {
        op->run = run_uncreate;
        vn_op_start_turn(op);
    } else {
        vn_op_free(op);
    }
}

static int create_name(struct vn_op *op, int dirfd)
{
    VN_AS_CALLER(me, op->req);

    if (me)
        return me;
    op->fd =
        openat(dirfd, op->name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDONLY | O_CLOEXEC | O_NOCTTY,
               op->mode & 07777);
    return op->fd < 0 ? -errno : 0;
}

static void run_create(struct vn_op *op)
{
    VN_PIN(dir);
    struct statx stx;
    int rc = vn_pin(op->node, &dir);

    if (!rc)
        rc = create_name(op, dir.fd);
    /* Made by somebody else since the kernel looked: have it look again. */
    if (rc == -EEXIST && !(op->fi.flags & O_EXCL))
        rc = -ESTALE;
    if (!rc)
        rc = vn_node_of(op->fd, &op->node, &stx);
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    op->run = run_created;
    vn_op_start_turn(op);
}

void vn_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_file_info *fi)
{
    struct vn_op *op = vn_op_new(req, parent, name, NULL, run_create);
    if (!op)
        return;
    op->mode = mode;
    op->fi = *fi;
    vn_op_start(op);
}
