/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations that show attributes: of files, and of the mount as a whole.
 */
#include "ops.h"

#include <errno.h>
#include <sys/statvfs.h>

void uvm_entry_fill(struct uvm_inode *inode, struct fuse_entry_param *ret)
{
    *ret = (struct fuse_entry_param){
        .ino = uvm_inode_ino(inode),
        .generation = 1, /* numbers are never used twice */
        .attr_timeout = UVM_ATTR_TIMEOUT,
        .entry_timeout = UVM_ENTRY_TIMEOUT,
    };
    uvm_inode_stat(inode, &ret->attr);
}

void uvm_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    struct stat st;

    if (!inode) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    uvm_inode_stat(inode, &st);
    fuse_reply_attr(req, &st, UVM_ATTR_TIMEOUT);
}

void uvm_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    uint64_t total, free, files, files_free;

    int error = uvm_tree_usage(&files, &files_free);
    if (error) {
        fuse_reply_err(req, -error);
        return;
    }
    uvm_inode_hooks()->space(&total, &free);
    struct statvfs st = {
        .f_bsize = UVM_PAGE_SIZE,
        .f_frsize = UVM_PAGE_SIZE,
        .f_blocks = total,
        .f_bfree = free,
        .f_bavail = free,
        .f_files = files + files_free,
        .f_ffree = files_free,
        .f_favail = files_free,
        .f_namemax = UVM_NAME_MAX,
    };
    fuse_reply_statfs(req, &st);
}
