/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From files to paths and back, for people. A path is built from its end: the record of a file says
 * where its name is, and that directory's record says where the directory's name is, up to the
 * root.
 */
#include "tree_db.h"

#include <sys/stat.h>

/* Find any name of a file that has several and has lost the one its record points at. */
static int find_name(struct uvm_txn *txn, uint64_t ino, uint64_t *parent, struct uvm_dirent *ent)
{
    TREE_CURSOR(cursor);
    MDB_val key, val;

    int rc = mdb_cursor_open(txn->mdb, tree_db.order, &cursor);
    if (!rc)
        rc = mdb_cursor_get(cursor, &key, &val, MDB_FIRST);
    for (; !rc; rc = mdb_cursor_get(cursor, &key, &val, MDB_NEXT)) {
        uint64_t who, dir, cookie;
        if (key.mv_size != 2 * sizeof(uint64_t) || val.mv_size < sizeof(who))
            return -EIO;
        memcpy(&who, val.mv_data, sizeof(who));
        if (who != ino)
            continue;
        memcpy(&dir, key.mv_data, sizeof(dir));
        memcpy(&cookie, (const char *)key.mv_data + sizeof(dir), sizeof(cookie));
        *parent = be64toh(dir);
        return uvm_tree_name_at(txn, *parent, be64toh(cookie), ent);
    }
    return tree_errno(rc);
}

int uvm_tree_path(uint64_t ino, char *buf, size_t len)
{
    TREE_READER(reader);
    size_t at = len; /* the path so far is buf[at] .. buf[len] */

    if (!len)
        return -ENAMETOOLONG;
    int error = tree_read_begin(&reader, NULL);
    if (error)
        return error;
    struct uvm_txn snapshot = {.mdb = reader.mdb}; /* one moment for the whole walk */
    buf[--at] = '\0';
    while (ino != UVM_INO_ROOT) {
        struct uvm_attr attr;
        struct uvm_dirent ent = {0};
        error = uvm_tree_attr_get(&snapshot, ino, &attr);
        if (!error && !attr.nlink)
            error = -ENOENT;
        if (error)
            return error;
        error = attr.cookie ? uvm_tree_name_at(&snapshot, attr.parent, attr.cookie, &ent) : -ENOENT;
        if (error == -ENOENT || (!error && ent.ino != ino))
            error = find_name(&snapshot, ino, &attr.parent, &ent);
        if (error)
            return error;
        size_t n = strlen(ent.name), slash = buf[at] != '\0';
        if (at < n + slash)
            return -ENAMETOOLONG;
        if (slash)
            buf[--at] = '/';
        at -= n;
        memcpy(buf + at, ent.name, n);
        ino = attr.parent;
    }
    memmove(buf, buf + at, len - at);
    return 0;
}

int uvm_tree_resolve(const char *path, uint64_t *ret)
{
    TREE_READER(reader);
    int error = tree_read_begin(&reader, NULL);
    struct uvm_txn snapshot = {.mdb = reader.mdb};
    uint64_t ino = UVM_INO_ROOT;
    bool dir = true;

    while (!error) {
        char name[UVM_NAME_MAX + 1];
        struct uvm_dirent ent;
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (!n)
            break;
        if (!dir)
            return -ENOTDIR;
        if (n > UVM_NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, n);
        name[n] = '\0';
        path += n;
        error = uvm_tree_name_get(&snapshot, ino, name, &ent);
        ino = error ? 0 : ent.ino;
        dir = !error && ent.type == S_IFDIR >> 12;
    }
    if (!error)
        *ret = ino;
    return error;
}
