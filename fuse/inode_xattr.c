/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extended attributes of an inode. The kernel asks for security.capability before every write(2),
 * so the count in the attributes answers for the many files that have none. system.* belongs to
 * features (access control lists) that the mount does not offer.
 */
#include "inode.h"

#include <errno.h>
#include <string.h>

static bool xattr_offered(const char *name)
{
    return strncmp(name, "system.", strlen("system.")) != 0;
}

int uvm_inode_xattr_get(struct uvm_inode *inode, const char *name, void *buf, size_t size)
{
    struct uvm_attr attr;

    if (!xattr_offered(name))
        return -EOPNOTSUPP;
    uvm_inode_attr(inode, &attr);
    return attr.nxattr ? uvm_tree_xattr_get(attr.ino, name, buf, size) : -ENODATA;
}

int uvm_inode_xattr_list(struct uvm_inode *inode, char *buf, size_t size, bool privileged)
{
    struct uvm_attr attr;
    uvm_inode_attr(inode, &attr);
    return attr.nxattr ? uvm_tree_xattr_list(attr.ino, buf, size, privileged) : 0;
}

int uvm_inode_xattr_set(struct uvm_inode *inode, const char *name, const void *value, size_t size,
                        int flags)
{
    UVM_TREE_TXN(txn);
    struct uvm_time now = uvm_time_now();
    bool added = false;

    if (!xattr_offered(name))
        return -EOPNOTSUPP;
    if (uvm_inode_ino(inode) == UVM_INO_ROOT)
        return -EPERM;
    int error = uvm_tree_room();
    if (!error)
        error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_tree_xattr_set(&txn, uvm_inode_ino(inode), name, value, size, flags, &added);
    struct uvm_edit edit = {.inode = inode, .nxattr = added};
    if (!error)
        error = uvm_edit_put(&txn, &edit, &now);
    if (!error)
        error = uvm_tree_commit(&txn);
    if (!error)
        uvm_edit_done(&edit, &now);
    return error;
}

int uvm_inode_xattr_del(struct uvm_inode *inode, const char *name)
{
    UVM_TREE_TXN(txn);
    struct uvm_time now = uvm_time_now();
    struct uvm_edit edit = {.inode = inode, .nxattr = -1};

    if (!xattr_offered(name))
        return -EOPNOTSUPP;
    if (uvm_inode_ino(inode) == UVM_INO_ROOT)
        return -EPERM;
    int error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_tree_xattr_del(&txn, uvm_inode_ino(inode), name);
    if (!error)
        error = uvm_edit_put(&txn, &edit, &now);
    if (!error)
        error = uvm_tree_commit(&txn);
    if (!error)
        uvm_edit_done(&edit, &now);
    return error;
}
