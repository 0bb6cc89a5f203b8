/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on extended attributes. A size of 0 asks how large the answer is.
 */
#include "ops.h"

#include <errno.h>
#include <stdlib.h>

/* Answer a question with n bytes of buf, with their number, or with the error n. */
static void reply_value(fuse_req_t req, const char *buf, size_t size, int n)
{
    if (n < 0)
        fuse_reply_err(req, -n);
    else if (!size)
        fuse_reply_xattr(req, (size_t)n);
    else
        fuse_reply_buf(req, buf, (size_t)n);
}

void uvm_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    size_t room = MIN(size, UVM_XATTR_MAX);
    CLEANUP_FREE char *buf = room ? malloc(room) : NULL;

    if (!inode || (room && !buf)) {
        fuse_reply_err(req, inode ? ENOMEM : ENOENT);
        return;
    }
    reply_value(req, buf, room, uvm_inode_xattr_get(inode, name, buf, room));
}

void uvm_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    size_t room = MIN(size, UVM_XATTR_MAX);
    CLEANUP_FREE char *buf = room ? malloc(room) : NULL;

    if (!inode || (room && !buf)) {
        fuse_reply_err(req, inode ? ENOMEM : ENOENT);
        return;
    }
    bool privileged = fuse_req_ctx(req)->uid == 0;
    reply_value(req, buf, room, uvm_inode_xattr_list(inode, buf, room, privileged));
}

void uvm_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                     size_t size, int flags)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    int error = inode ? uvm_inode_xattr_set(inode, name, value, size, flags) : -ENOENT;
    fuse_reply_err(req, -error);
}

void uvm_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    int error = inode ? uvm_inode_xattr_del(inode, name) : -ENOENT;
    fuse_reply_err(req, -error);
}
