/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names: look-ups, and what makes, links, moves and removes files.
 *
 * Every call is relative to a descriptor of the directory, names one component and follows no link, so
 * nothing leads out of the source, whatever is renamed meanwhile. It is made as the caller.
 *
 * A file that loses its last name while the kernel knows it keeps a descriptor: a handle may not find
 * it any more.
 */
#include "vn_op.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define NAMED (O_PATH | O_NOFOLLOW | O_CLOEXEC)

/* Answer with the file of a descriptor, which gives the kernel a look-up; or with the error. */
static void reply_file(struct vn_op *op, int rc, int fd)
{
    struct fuse_entry_param entry;
    struct vn_node *node;
    struct statx stx;

    if (!rc)
        rc = vn_node_of(fd, &node, &stx);
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    vn_entry(node, &stx, &entry);
    if (fuse_reply_entry(op->req, &entry))
        vn_forget(entry.ino, 1);
    vn_op_free(op);
}

static int open_name(int dirfd, const char *name, int *ret)
{
    *ret = openat(dirfd, name, NAMED);
    return *ret < 0 ? -errno : 0;
}

static void run_lookup(struct vn_op *op)
{
    VN_PIN(dir);
    CLEANUP_CLOSE int fd = -1;
    int rc = vn_pin(op->node, &dir);

    if (!rc) {
        VN_AS_CALLER(me, op->req);
        rc = me ? me : open_name(dir.fd, op->name, &fd);
    }
    reply_file(op, rc, fd);
}

void vn_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct vn_op *op = vn_op_new(req, parent, name, NULL, run_lookup);
    if (op)
        vn_op_start(op);
}

static void run_root(struct vn_op *op)
{
    VN_PIN(root);
    int rc = vn_pin(op->node, &root);
    reply_file(op, rc, root.fd);
}

void vn_op_root(fuse_req_t req)
{
    struct vn_op *op = vn_op_new(req, UVM_INO_VNODE_ROOT, NULL, NULL, run_root);
    if (op)
        vn_op_start(op);
}

/* Make a file by its name, as the caller. */
static int make(struct vn_op *op, int dirfd)
{
    int rc;

    if (S_ISDIR(op->mode))
        rc = mkdirat(dirfd, op->name, op->mode & 07777);
    else if (S_ISLNK(op->mode))
        rc = symlinkat(op->name2, dirfd, op->name);
    else
        rc = mknodat(dirfd, op->name, op->mode, op->rdev);
    return rc ? -errno : 0;
}

static void run_make(struct vn_op *op)
{
    VN_PIN(dir);
    CLEANUP_CLOSE int fd = -1;
    int rc = vn_pin(op->node, &dir);

    if (!rc) {
        VN_AS_CALLER(me, op->req);
        rc = me ? me : make(op, dir.fd);
        if (!rc)
            rc = open_name(dir.fd, op->name, &fd);
    }
    reply_file(op, rc, fd);
}

static void start_make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct vn_op *op = vn_op_new(req, parent, name, NULL, run_make);
    if (!op)
        return;
    op->mode = mode;
    op->rdev = rdev;
    vn_op_start(op);
}

void vn_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    if (S_ISDIR(mode) || S_ISLNK(mode))
        fuse_reply_err(req, EINVAL);
    else
        start_make(req, parent, name, mode & S_IFMT ? mode : mode | S_IFREG, rdev);
}

void vn_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    start_make(req, parent, name, S_IFDIR | (mode & 07777), 0);
}

void vn_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct vn_op *op = vn_op_new(req, parent, name, NULL, run_make);
    if (!op)
        return;
    op->mode = S_IFLNK;
    op->name2 = strdup(target);
    if (op->name2)
        vn_op_start(op);
    else
        vn_op_end(op, -ENOMEM);
}

static void run_readlink(struct vn_op *op)
{
    char target[PATH_MAX + 1];
    VN_PIN(pin);
    int rc = vn_pin(op->node, &pin);
    ssize_t n = 0;

    if (!rc && (n = readlinkat(pin.fd, "", target, PATH_MAX)) < 0)
        rc = -errno;
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    target[n] = '\0';
    fuse_reply_readlink(op->req, target);
    vn_op_free(op);
}

void vn_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_readlink);
    if (op)
        vn_op_start(op);
}

static void run_link(struct vn_op *op)
{
    VN_PIN(file);
    VN_PIN(dir);
    int rc = vn_pin(op->node2, &file);

    if (!rc)
        rc = vn_pin(op->node, &dir);
    if (!rc) {
        VN_AS_CALLER(me, op->req);
        rc = me;
        if (!rc && linkat(AT_FDCWD, vn_proc(file.fd).path, dir.fd, op->name, AT_SYMLINK_FOLLOW))
            rc = -errno;
    }
    if (!rc)
        vn_touched(op->node2, file.fd);
    reply_file(op, rc, file.fd);
}

void vn_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    struct vn_op *op = vn_op_new(req, parent, name, NULL, run_link);
    if (!op)
        return;
    op->node2 = vn_find(ino);
    if (op->node2)
        vn_op_start(op);
    else
        vn_op_end(op, -ENOENT);
}

/* A file under a name that is about to become another's or nobody's. */
struct victim {
    int fd;
    struct vn_node *node; /* referenced, or NULL: the kernel does not know it */
};

static void victim_find(struct victim *victim, int dirfd, const char *name)
{
    victim->fd = openat(dirfd, name, NAMED);
    if (victim->fd >= 0)
        victim->node = vn_known(victim->fd);
}

/* It has lost that name (or moved to another). */
static void victim_lost(struct victim *victim)
{
    struct statx stx;

    if (!victim->node || vn_statx(victim->fd, &stx))
        return;
    if (!stx.stx_nlink || S_ISDIR(stx.stx_mode))
        vn_keep(victim->node, victim->fd);
    if (atomic_load(&victim->node->uobj))
        vn_times_touched(victim->node, &stx);
}

static void victim_done(struct victim *victim)
{
    if (victim->node)
        vn_unref(victim->node);
    if (victim->fd >= 0)
        close(victim->fd);
}

#define VICTIM(name) struct victim name UVM_CLEANUP(victim_done) = {.fd = -1}

static void run_remove(struct vn_op *op)
{
    VN_PIN(dir);
    VICTIM(victim);
    int rc = vn_pin(op->node, &dir);

    if (!rc) {
        victim_find(&victim, dir.fd, op->name);
        VN_AS_CALLER(me, op->req);
        rc = me;
        if (!rc && unlinkat(dir.fd, op->name, op->flags))
            rc = -errno;
    }
    if (!rc)
        victim_lost(&victim);
    vn_op_end(op, rc);
}

static void start_remove(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
    struct vn_op *op = vn_op_new(req, parent, name, NULL, run_remove);
    if (!op)
        return;
    op->flags = flags;
    vn_op_start(op);
}

void vn_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    start_remove(req, parent, name, 0);
}

void vn_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    start_remove(req, parent, name, AT_REMOVEDIR);
}

/* Who replaces a file by another wants the old bytes or the new ones, not a file without any; have the new
 * ones written soon. */
static void write_soon(struct vn_node *node)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);

    UVM_LOCK_SCOPE(&uobj->lock);
    if (uobj->ndirty)
        uobj->pgops->pgo_flush(uobj, 0, 0, PGO_CLEANIT | PGO_ALLPAGES);
}

/* What moves has a new time of change; what it replaces may have lost its last name. */
static void after_rename(const struct vn_op *op, struct victim *moved, struct victim *replaced)
{
    struct statx stx;

    if (moved->node && atomic_load(&moved->node->uobj) && !vn_statx(moved->fd, &stx)) {
        vn_times_touched(moved->node, &stx);
        if (replaced->fd >= 0)
            write_soon(moved->node);
    }
    if (!(op->flags & RENAME_EXCHANGE))
        victim_lost(replaced);
    else if (replaced->node && !vn_statx(replaced->fd, &stx))
        vn_times_touched(replaced->node, &stx);
}

static void run_rename(struct vn_op *op)
{
    VN_PIN(dir);
    VN_PIN(dir2);
    VICTIM(moved);
    VICTIM(replaced);
    int rc = vn_pin(op->node, &dir);

    if (!rc)
        rc = vn_pin(op->node2, &dir2);
    if (!rc) {
        victim_find(&moved, dir.fd, op->name);
        victim_find(&replaced, dir2.fd, op->name2);
        VN_AS_CALLER(me, op->req);
        rc = me;
        if (!rc && renameat2(dir.fd, op->name, dir2.fd, op->name2, (unsigned)op->flags))
            rc = -errno;
    }
    if (!rc)
        after_rename(op, &moved, &replaced);
    vn_op_end(op, rc);
}

void vn_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                  const char *newname, unsigned int flags)
{
    struct vn_op *op = vn_op_new(req, parent, name, newname, run_rename);
    if (!op)
        return;
    op->flags = (int)flags;
    op->node2 = vn_find(newparent);
    if (op->node2)
        vn_op_start(op);
    else
        vn_op_end(op, -ENOENT);
}
