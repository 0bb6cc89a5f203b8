/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One table for libfuse, which passes each operation on to the table of its node's tree.
 *
 *      request --> node id --> tree --> its operation    or, where it has none, an error
 *
 * What no tree has is left out of this table, so that libfuse answers ENOSYS for the mount as a whole:
 * the kernel then does it by itself (locks, poll, copy_file_range) or not at all.
 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "../daemon/protect.h"

#define FS_MAX 3

static struct {
    const struct uvm_fs *added[FS_MAX]; /* fixed when the mount is there */
    unsigned n;
} trees;

const struct uvm_fs *uvm_fs_of(uint64_t ino)
{
    for (unsigned i = 0; i < trees.n; i++)
        if (ino == trees.added[i]->top || (ino & trees.added[i]->bit))
            return trees.added[i];
    return &uvm_fs_anon;
}

int uvm_fs_add(const struct uvm_fs *fs)
{
    if (trees.n == FS_MAX)
        return -ENOSPC;
    int error = uvm_tree_top(fs->top, fs->name);
    if (!error)
        trees.added[trees.n++] = fs;
    return error;
}

bool uvm_fs_acl(void)
{
    return uvm_fs_of(UVM_INO_VNODE_ROOT) == &uvm_fs_vnode;
}

void uvm_fs_clear(void)
{
    trees.n = 0;
}

int uvm_fs_foreach(int (*fn)(const struct uvm_fs *fs, void *arg), void *arg)
{
    int rc = fn(&uvm_fs_anon, arg);
    for (unsigned i = 0; i < trees.n && !rc; i++)
        rc = fn(trees.added[i], arg);
    return rc;
}

/* Pass an operation on. */
#define PASS(op, ino, req, ...)                    \
    do {                                           \
        const struct uvm_fs *fs_ = uvm_fs_of(ino); \
        if (fs_->ops->op)                          \
            fs_->ops->op((req), __VA_ARGS__);      \
        else                                       \
            fuse_reply_err((req), fs_->missing);   \
    } while (0)

/* Between two trees nothing moves; and the root never changes. => true: replied */
static bool crosses(fuse_req_t req, fuse_ino_t a, fuse_ino_t b)
{
    if (uvm_fs_of(a) == uvm_fs_of(b))
        return false;
    fuse_reply_err(req, a == UVM_INO_ROOT || b == UVM_INO_ROOT ? EPERM : EXDEV);
    return true;
}

static void d_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    for (unsigned i = 0; i < trees.n && parent == UVM_INO_ROOT; i++) {
        if (strcmp(name, trees.added[i]->name) == 0) {
            trees.added[i]->root(req);
            return;
        }
    }
    PASS(lookup, parent, req, parent, name);
}

static void d_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    uvm_fs_of(ino)->forget(ino, nlookup);
    fuse_reply_none(req);
}

static void d_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        uvm_fs_of(forgets[i].ino)->forget(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void d_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                     const char *newname, unsigned int flags)
{
    if (!crosses(req, parent, newparent))
        PASS(rename, parent, req, parent, name, newparent, newname, flags);
}

static void d_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    if (!crosses(req, ino, newparent))
        PASS(link, ino, req, ino, newparent, newname);
}

static void d_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    PASS(symlink, parent, req, target, parent, name);
}

/* A frozen object (protect.h): for all trees, because node ids are object ids. => true: replied */
static bool frozen(fuse_req_t req, fuse_ino_t ino, bool write)
{
    int error = uvm_protect_check_id(ino, write);

    if (error)
        fuse_reply_err(req, -error);
    return error;
}

static void d_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (!frozen(req, ino, (fi->flags & O_ACCMODE) != O_RDONLY))
        PASS(open, ino, req, ino, fi);
}

static void d_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                      struct fuse_file_info *fi)
{
    if (!(to_set & FUSE_SET_ATTR_SIZE) || !frozen(req, ino, true))
        PASS(setattr, ino, req, ino, attr, to_set, fi);
}

static void d_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                        struct fuse_file_info *fi)
{
    if (!frozen(req, ino, true))
        PASS(fallocate, ino, req, ino, mode, off, len, fi);
}

/* Where a tree has nothing to say at close, close is fine. */
static void d_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct uvm_fs *fs = uvm_fs_of(ino);

    if (fs->ops->flush)
        fs->ops->flush(req, ino, fi);
    else
        fuse_reply_err(req, 0);
}

/* The operations on one node, whose arguments begin with its id: parameters, and their names. */
#define P(...) __VA_ARGS__
#define FI     struct fuse_file_info *fi
#define ONE_NODE(X)                                                                 \
    X(getattr, P(FI), P(fi))                                                        \
    X(mknod, P(const char *name, mode_t mode, dev_t rdev), P(name, mode, rdev))     \
    X(mkdir, P(const char *name, mode_t mode), P(name, mode))                       \
    X(unlink, P(const char *name), P(name))                                         \
    X(rmdir, P(const char *name), P(name))                                          \
    X(create, P(const char *name, mode_t mode, FI), P(name, mode, fi))              \
    X(read, P(size_t size, off_t off, FI), P(size, off, fi))                        \
    X(write, P(const char *buf, size_t size, off_t off, FI), P(buf, size, off, fi)) \
    X(release, P(FI), P(fi))                                                        \
    X(fsync, P(int datasync, FI), P(datasync, fi))                                  \
    X(opendir, P(FI), P(fi))                                                        \
    X(readdir, P(size_t size, off_t off, FI), P(size, off, fi))                     \
    X(readdirplus, P(size_t size, off_t off, FI), P(size, off, fi))                 \
    X(releasedir, P(FI), P(fi))                                                     \
    X(fsyncdir, P(int datasync, FI), P(datasync, fi))                               \
    X(setxattr, P(const char *name, const char *value, size_t size, int flags),     \
      P(name, value, size, flags))                                                  \
    X(listxattr, P(size_t size), P(size))                                           \
    X(removexattr, P(const char *name), P(name))                                    \
    X(lseek, P(off_t off, int whence, FI), P(off, whence, fi))

#define DEFINE(op, params, args)                               \
    static void d_##op(fuse_req_t req, fuse_ino_t ino, params) \
    {                                                          \
        PASS(op, ino, req, ino, args);                         \
    }
ONE_NODE(DEFINE)

/* The kernel has access control lists for the whole mount or not at all. Where a tree has none, that is
 * what it has to hear: it would take any other error for its answer to who asks for permission. */
static void d_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    static const char prefix[] = "system.posix_acl_";

    if (uvm_fs_acl() && uvm_fs_of(ino) != &uvm_fs_vnode &&
        strncmp(name, prefix, sizeof(prefix) - 1) == 0)
        fuse_reply_err(req, ENODATA);
    else
        PASS(getxattr, ino, req, ino, name, size);
}

static void d_readlink(fuse_req_t req, fuse_ino_t ino)
{
    PASS(readlink, ino, req, ino);
}

static void d_statfs(fuse_req_t req, fuse_ino_t ino)
{
    PASS(statfs, ino, req, ino);
}

const struct fuse_lowlevel_ops uvm_dispatch_ops = {
#define ENTRY(op, params, args) .op = d_##op,
    ONE_NODE(ENTRY).lookup = d_lookup,
    .forget = d_forget,
    .forget_multi = d_forget_multi,
    .rename = d_rename,
    .link = d_link,
    .symlink = d_symlink,
    .open = d_open,
    .setattr = d_setattr,
    .fallocate = d_fallocate,
    .flush = d_flush,
    .getxattr = d_getxattr,
    .readlink = d_readlink,
    .statfs = d_statfs,
};
