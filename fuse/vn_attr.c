/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attributes: asking for them, changing them, and the room on the source.
 *
 * A file that is open is shown with the size that the pager knows. If the store says that somebody else has
 * changed it, what we hold of it is thrown away first, in the file's turn, and what the kernel
 * holds after the reply.
 *
 * Changes are made as the caller, with one exception: before somebody writes to a file that has set-id
 * bits, the kernel takes these away in the writer's name, who need not own the file. Taking away
 * nothing else is done for anybody.
 */
#include "vn_op.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "ops_file.h"
#include "session.h"

static void reply_attr(struct vn_op *op, const struct statx *stx)
{
    struct stat st;

    vn_show(op->node, stx, &st);
    fuse_reply_attr(op->req, &st, VN_TIMEOUT);
    vn_op_free(op);
}

/* The kernel's pages of a file that somebody else has changed. => on a waiter */
struct revocation {
    struct vn_job job;
    uint64_t id;
};

static void run_revocation(struct vn_job *job)
{
    struct revocation *rev = UVM_CONTAINER_OF(job, struct revocation, job);
    uvm_session_revoke(rev->id, 0, 0);
    free(rev);
    uvm_file_requests--;
}

static void revoke_later(uint64_t id)
{
    struct revocation *rev = malloc(sizeof(*rev));

    if (!rev)
        return; /* the next open does it */
    uvm_file_requests++;
    rev->job.fn = run_revocation;
    rev->id = id;
    vn_work_submit_waiter(&rev->job);
}

static void run_revalidate(struct vn_op *op)
{
    struct vn_node *node = op->node;
    uint64_t id = node->id;
    VN_PIN(pin);
    struct statx stx;
    bool stale = false;
    int rc = vn_pin(node, &pin);

    if (!rc)
        rc = vn_statx(pin.fd, &stx);
    if (!rc)
        stale = vn_revalidate(node, pin.fd, &stx);
    vn_turn_end(node);
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    reply_attr(op, &stx);
    if (stale)
        revoke_later(id);
}

static void run_getattr(struct vn_op *op)
{
    VN_PIN(pin);
    struct statx stx;
    int rc = vn_pin(op->node, &pin);

    if (!rc)
        rc = vn_statx(pin.fd, &stx);
    if (rc) {
        vn_op_end(op, rc);
    } else if (vn_is_open(op->node) && vn_times_foreign(op->node, &stx)) {
        op->run = run_revalidate;
        vn_op_start_turn(op);
    } else {
        reply_attr(op, &stx);
    }
}

void vn_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_getattr);
    if (op)
        vn_op_start(op);
}

static int set_owner(const struct vn_op *op, int fd)
{
    uid_t uid = op->flags & FUSE_SET_ATTR_UID ? op->attr.st_uid : (uid_t)-1;
    gid_t gid = op->flags & FUSE_SET_ATTR_GID ? op->attr.st_gid : (gid_t)-1;
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int set_mode(const struct vn_op *op, int fd)
{
    return fchmodat(AT_FDCWD, vn_proc(fd).path, op->attr.st_mode & 07777, 0) ? -errno : 0;
}

/* => as root: the mode that is asked for is the file's with set-id bits less */
static bool only_drops_privs(const struct vn_op *op, int fd)
{
    const mode_t privs = S_ISUID | S_ISGID;
    struct statx stx;

    if (!(op->flags & FUSE_SET_ATTR_MODE) || vn_statx(fd, &stx))
        return false;
    mode_t old = stx.stx_mode & 07777, new = op->attr.st_mode & 07777;
    return (old & ~privs) == (new & ~privs) && !(new & ~old);
}

static int set_times(const struct vn_op *op, int fd)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

    if (op->flags & FUSE_SET_ATTR_ATIME_NOW)
        times[0].tv_nsec = UTIME_NOW;
    else if (op->flags & FUSE_SET_ATTR_ATIME)
        times[0] = op->attr.st_atim;
    if (op->flags & FUSE_SET_ATTR_MTIME_NOW)
        times[1].tv_nsec = UTIME_NOW;
    else if (op->flags & FUSE_SET_ATTR_MTIME)
        times[1] = op->attr.st_mtim;
    return utimensat(AT_FDCWD, vn_proc(fd).path, times, 0) ? -errno : 0;
}

#define SET_OWNER (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)
#define SET_MTIME (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)
#define SET_TIMES (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | SET_MTIME)

/* The owner first: a change of it may drop set-id bits that the mode then brings back, or not. */
static int set_all(const struct vn_op *op, int fd, bool drops)
{
    int rc = 0;

    {
        VN_AS_CALLER(me, op->req);
        rc = me;
        if (!rc && (op->flags & SET_OWNER))
            rc = set_owner(op, fd);
        if (!rc && (op->flags & FUSE_SET_ATTR_MODE) && !drops)
            rc = set_mode(op, fd);
    }
    if (!rc && drops)
        rc = set_mode(op, fd);
    if (rc || !(op->flags & SET_TIMES))
        return rc;
    VN_AS_CALLER(me, op->req);
    return me ? me : set_times(op, fd);
}

void vn_setattr_rest(struct vn_op *op, int fd)
{
    struct vn_node *node = op->node;
    struct statx stx;
    int rc = set_all(op, fd, only_drops_privs(op, fd));

    if (!rc)
        rc = vn_statx(fd, &stx);
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    if (atomic_load(&node->uobj)) {
        if (op->flags & SET_MTIME)
            vn_times_set(node, &stx);
        else
            vn_times_touched(node, &stx);
    }
    reply_attr(op, &stx);
}

static void run_setattr(struct vn_op *op)
{
    VN_PIN(pin);
    int rc = vn_pin(op->node, &pin);

    if (rc)
        vn_op_end(op, rc);
    else
        vn_setattr_rest(op, pin.fd);
}

void vn_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                   struct fuse_file_info *fi)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_setattr);

    if (!op)
        return;
    op->attr = *attr;
    op->flags = to_set;
    if (fi) {
        op->has_fi = true;
        op->fi = *fi;
    }
    if (to_set & FUSE_SET_ATTR_SIZE)
        vn_truncate(op);
    else
        vn_op_start(op);
}

static void run_statfs(struct vn_op *op)
{
    VN_PIN(pin);
    struct statvfs st;
    int rc = vn_pin(op->node, &pin);

    if (!rc && fstatvfs(pin.fd, &st))
        rc = -errno;
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    fuse_reply_statfs(op->req, &st);
    vn_op_free(op);
}

void vn_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_statfs);
    if (op)
        vn_op_start(op);
}
