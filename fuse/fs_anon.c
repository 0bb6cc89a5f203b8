/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The anon tree as one of the trees: its table of operations, and its files.
 */
#include <errno.h>

#include "anon.h"
#include "fs.h"
#include "ops_file.h"

static const struct fuse_lowlevel_ops anon_ops = {
    .lookup = uvm_op_lookup,
    .getattr = uvm_op_getattr,
    .setattr = uvm_op_setattr,
    .readlink = uvm_op_readlink,
    .mknod = uvm_op_mknod,
    .mkdir = uvm_op_mkdir,
    .unlink = uvm_op_unlink,
    .rmdir = uvm_op_rmdir,
    .symlink = uvm_op_symlink,
    .rename = uvm_op_rename,
    .link = uvm_op_link,
    .open = uvm_op_open,
    .read = uvm_op_read,
    .write = uvm_op_write,
    .release = uvm_op_release,
    .fsync = uvm_op_fsync,
    .opendir = uvm_op_opendir,
    .readdir = uvm_op_readdir,
    .readdirplus = uvm_op_readdirplus,
    .releasedir = uvm_op_releasedir,
    .fsyncdir = uvm_op_fsync,
    .statfs = uvm_op_statfs,
    .setxattr = uvm_op_setxattr,
    .getxattr = uvm_op_getxattr,
    .listxattr = uvm_op_listxattr,
    .removexattr = uvm_op_removexattr,
    .create = uvm_op_create,
    .fallocate = uvm_op_fallocate,
    .lseek = uvm_op_lseek,
};

static uint64_t anon_size(void *node)
{
    return uvm_inode_size(node);
}

static void anon_wrote(void *node, uint64_t end, bool killpriv)
{
    uvm_inode_wrote(node, end, killpriv);
}

static void anon_accessed(void *node)
{
    uvm_inode_accessed(node);
}

static const struct uvm_file_ops anon_file_ops = {
    .size = anon_size,
    .wrote = anon_wrote,
    .accessed = anon_accessed,
};

static int anon_file(uint64_t ino, struct uvm_file *ret)
{
    struct uvm_inode *inode = uvm_inode_find(ino);

    if (!inode)
        return -ENOENT;
    *ret = (struct uvm_file){.ops = &anon_file_ops, .node = inode, .uobj = uvm_inode_object(inode)};
    if (ret->uobj)
        return 0;
    return S_ISREG(uvm_inode_mode(inode)) ? -ENOMEM : -EINVAL;
}

const struct uvm_fs uvm_fs_anon = {
    .name = "anon",
    .top = UVM_INO_ANON,
    .ops = &anon_ops,
    .missing = EOPNOTSUPP,
    .forget = uvm_inode_forget,
    .file = anon_file,
    .objects = uvm_anon_objects,
    .find = uvm_anon_find,
    .object = uvm_anon_object,
};
