/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attribute records and the targets of symbolic links: fixed records and strings by inode number.
 * LMDB does not align what it stores, so records are copied in and out.
 */
#include "tree_db.h"

#include <sys/stat.h>

static MDB_val key_ino(uint64_t *ino)
{
    return (MDB_val){sizeof(*ino), ino};
}

int uvm_tree_attr_get(struct uvm_txn *txn, uint64_t ino, struct uvm_attr *ret)
{
    TREE_READER(reader);
    MDB_val key = key_ino(&ino), val;

    int error = tree_read_begin(&reader, txn);
    if (!error)
        error = tree_errno(mdb_get(reader.mdb, tree_db.inodes, &key, &val));
    if (!error && val.mv_size != sizeof(*ret))
        error = -EIO;
    if (!error)
        memcpy(ret, val.mv_data, sizeof(*ret));
    return error;
}

int uvm_tree_attr_put(struct uvm_txn *txn, const struct uvm_attr *attr)
{
    uint64_t ino = attr->ino;
    MDB_val key = key_ino(&ino), val = {sizeof(*attr), (void *)attr};
    return tree_errno(mdb_put(txn->mdb, tree_db.inodes, &key, &val, 0));
}

int uvm_tree_attr_del(struct uvm_txn *txn, const struct uvm_attr *attr)
{
    uint64_t ino = attr->ino;
    MDB_val key = key_ino(&ino);
    int error = 0;

    if (attr->nxattr)
        error = tree_xattr_purge(txn, ino);
    if (!error && S_ISLNK(attr->mode))
        error = tree_errno(mdb_del(txn->mdb, tree_db.links, &key, NULL));
    if (!error || error == -ENOENT)
        error = tree_errno(mdb_del(txn->mdb, tree_db.inodes, &key, NULL));
    return error;
}

int uvm_tree_link_put(struct uvm_txn *txn, uint64_t ino, const char *target)
{
    MDB_val key = key_ino(&ino), val = {strlen(target), (void *)target};
    if (val.mv_size > UVM_SYMLINK_MAX)
        return -ENAMETOOLONG;
    return tree_errno(mdb_put(txn->mdb, tree_db.links, &key, &val, 0));
}

int uvm_tree_link_get(uint64_t ino, char *buf)
{
    TREE_READER(reader);
    MDB_val key = key_ino(&ino), val;

    int error = tree_read_begin(&reader, NULL);
    if (!error)
        error = tree_errno(mdb_get(reader.mdb, tree_db.links, &key, &val));
    if (!error && val.mv_size > UVM_SYMLINK_MAX)
        error = -EIO;
    if (error)
        return error;
    memcpy(buf, val.mv_data, val.mv_size);
    buf[val.mv_size] = '\0';
    return 0;
}
