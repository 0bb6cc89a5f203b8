/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on names. What they mean is in namei.c; here a request is taken apart and answered.
 */
#include "ops.h"

#include <errno.h>
#include <string.h>

#include "namei.h"

static void reply(fuse_req_t req, int error)
{
    fuse_reply_err(req, -error);
}

/* Answer with an inode, which gives the kernel a look-up on it; or with the error. */
static void reply_entry(fuse_req_t req, int error, struct uvm_inode *inode)
{
    struct fuse_entry_param entry;

    if (error) {
        reply(req, error);
        return;
    }
    uvm_entry_fill(inode, &entry);
    uvm_inode_remember(inode, 1);
    if (fuse_reply_entry(req, &entry))
        uvm_inode_forget(entry.ino, 1);
}

void uvm_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    UVM_INODE_REF(inode);

    int error = uvm_namei_lookup(parent, name, &inode);
    if (error == -ENOENT) {
        /* "There is none", for the kernel to keep. */
        struct fuse_entry_param none = {.entry_timeout = UVM_ENTRY_TIMEOUT};
        fuse_reply_entry(req, &none);
        return;
    }
    reply_entry(req, error, inode);
}

/* The umask may have been left to us (uvm_fs_acl), and does no harm twice; links have none. */
static struct uvm_new new_file(fuse_req_t req, uint32_t mode)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    uint32_t mask = S_ISLNK(mode) ? 0 : ctx->umask & 0777;
    return (struct uvm_new){.mode = mode & ~mask, .uid = ctx->uid, .gid = ctx->gid};
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, const struct uvm_new *what)
{
    UVM_INODE_REF(inode);
    int error = uvm_namei_make(parent, name, what, &inode);
    reply_entry(req, error, inode);
}

void uvm_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct uvm_new what = new_file(req, S_IFDIR | (mode & 07777));
    make(req, parent, name, &what);
}

void uvm_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct uvm_new what = new_file(req, mode & S_IFMT ? mode : mode | S_IFREG);
    what.rdev = rdev;
    if (S_ISDIR(mode) || S_ISLNK(mode))
        reply(req, -EINVAL);
    else
        make(req, parent, name, &what);
}

void uvm_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct uvm_new what = new_file(req, S_IFLNK | 0777);
    what.target = target;
    make(req, parent, name, &what);
}

void uvm_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *fi)
{
    UVM_INODE_REF(inode);
    struct fuse_entry_param entry;
    struct uvm_new what = new_file(req, S_IFREG | (mode & 07777));

    int error = uvm_namei_make(parent, name, &what, &inode);
    if (error) {
        reply(req, error);
        return;
    }
    uvm_entry_fill(inode, &entry);
    uvm_open_flags(fi);
    uvm_inode_remember(inode, 1);
    if (fuse_reply_create(req, &entry, fi))
        uvm_inode_forget(entry.ino, 1);
}

void uvm_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    char target[UVM_SYMLINK_MAX + 1];

    int error = inode ? uvm_tree_link_get(ino, target) : -ENOENT;
    if (error) {
        reply(req, error);
        return;
    }
    uvm_inode_accessed(inode);
    fuse_reply_readlink(req, target);
}

void uvm_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    UVM_INODE_REF(inode);
    int error = uvm_namei_link(ino, parent, name, &inode);
    reply_entry(req, error, inode);
}

void uvm_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    reply(req, uvm_namei_remove(parent, name, false));
}

void uvm_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    reply(req, uvm_namei_remove(parent, name, true));
}

void uvm_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                   const char *newname, unsigned int flags)
{
    struct uvm_new who = new_file(req, 0);
    reply(req, uvm_namei_rename(parent, name, newparent, newname, flags, &who));
}
