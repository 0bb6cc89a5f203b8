/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extended attributes: names and values as they come, whatever their name space. Who may see and
 * change which is the kernel's to decide, except that a list for an unprivileged reader leaves
 * trusted.* out.
 */
#include "tree_db.h"

#include <sys/xattr.h>

int uvm_tree_xattr_get(uint64_t ino, const char *name, void *buf, size_t size)
{
    TREE_READER(reader);
    struct tree_key keybuf;
    MDB_val key, val;

    int error = tree_key_name(&keybuf, &key, ino, name);
    if (!error)
        error = tree_read_begin(&reader, NULL);
    if (!error)
        error = tree_errno(mdb_get(reader.mdb, tree_db.xattrs, &key, &val));
    if (error)
        return error == -ENOENT ? -ENODATA : error;
    if (size && size < val.mv_size)
        return -ERANGE;
    if (size && val.mv_size)
        memcpy(buf, val.mv_data, val.mv_size);
    return (int)val.mv_size;
}

int uvm_tree_xattr_list(uint64_t ino, char *buf, size_t size, bool privileged)
{
    static const char trusted[] = "trusted.";
    TREE_READER(reader);
    TREE_CURSOR(cursor); /* declared after the reader, so it ends before it */
    struct tree_key keybuf;
    MDB_val key, val;
    size_t used = 0;

    int error = tree_key_name(&keybuf, &key, ino, "");
    if (!error)
        error = tree_read_begin(&reader, NULL);
    if (!error)
        error = tree_errno(mdb_cursor_open(reader.mdb, tree_db.xattrs, &cursor));
    if (error)
        return error;
    for (int rc = mdb_cursor_get(cursor, &key, &val, MDB_SET_RANGE);;
         rc = mdb_cursor_get(cursor, &key, &val, MDB_NEXT)) {
        if (rc == MDB_NOTFOUND || (!rc && !tree_key_of(&key, ino)))
            break;
        if (rc)
            return tree_errno(rc);
        const char *name = (const char *)key.mv_data + sizeof(uint64_t);
        size_t len = key.mv_size - sizeof(uint64_t);
        if (!privileged && len >= strlen(trusted) && !memcmp(name, trusted, strlen(trusted)))
            continue;
        if (size) {
            if (used + len + 1 > size)
                return -ERANGE;
            memcpy(buf + used, name, len);
            buf[used + len] = '\0';
        }
        used += len + 1;
    }
    return used > UVM_XATTR_MAX ? -E2BIG : (int)used;
}

int uvm_tree_xattr_set(struct uvm_txn *txn, uint64_t ino, const char *name, const void *value,
                       size_t size, int flags, bool *added)
{
    struct tree_key keybuf;
    MDB_val key, old, val = {size, (void *)value};

    if (size > UVM_XATTR_MAX)
        return -E2BIG;
    int error = tree_key_name(&keybuf, &key, ino, name);
    if (error)
        return error == -ENAMETOOLONG ? -ERANGE : error;
    error = tree_errno(mdb_get(txn->mdb, tree_db.xattrs, &key, &old));
    if (error && error != -ENOENT)
        return error;
    *added = error == -ENOENT;
    if (*added && (flags & XATTR_REPLACE))
        return -ENODATA;
    if (!*added && (flags & XATTR_CREATE))
        return -EEXIST;
    return tree_errno(mdb_put(txn->mdb, tree_db.xattrs, &key, &val, 0));
}

int uvm_tree_xattr_del(struct uvm_txn *txn, uint64_t ino, const char *name)
{
    struct tree_key keybuf;
    MDB_val key;

    int error = tree_key_name(&keybuf, &key, ino, name);
    if (!error)
        error = tree_errno(mdb_del(txn->mdb, tree_db.xattrs, &key, NULL));
    return error == -ENOENT || error == -ENAMETOOLONG ? -ENODATA : error;
}

int tree_xattr_purge(struct uvm_txn *txn, uint64_t ino)
{
    TREE_CURSOR(cursor);
    struct tree_key keybuf;
    MDB_val key, val;

    int rc = mdb_cursor_open(txn->mdb, tree_db.xattrs, &cursor);
    while (!rc) {
        tree_key_name(&keybuf, &key, ino, "");
        rc = mdb_cursor_get(cursor, &key, &val, MDB_SET_RANGE);
        if (rc || !tree_key_of(&key, ino))
            break;
        rc = mdb_cursor_del(cursor, 0);
    }
    return rc == MDB_NOTFOUND ? 0 : tree_errno(rc);
}
