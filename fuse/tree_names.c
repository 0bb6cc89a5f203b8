/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names: every name is in two databases, by name for look-ups and by cookie for readdir.
 *
 *      names   (dir, "b") -> ino 18, cookie 4        order   (dir, 3) -> ino 17 "a"
 *      names   (dir, "a") -> ino 17, cookie 3                (dir, 4) -> ino 18 "b"
 *
 * Both are changed together or not at all, in the caller's transaction.
 */
#include "tree_db.h"

#include <stddef.h>

struct name_rec { /* value in `names` */
    uint64_t ino;
    uint64_t cookie;
    uint8_t type;
} __attribute__((packed));

struct order_rec { /* value in `order` */
    uint64_t ino;
    uint8_t type;
    char name[UVM_NAME_MAX]; /* as long as the value is */
} __attribute__((packed));

#define ORDER_HEAD offsetof(struct order_rec, name)

static int order_put(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent)
{
    struct tree_key keybuf;
    MDB_val key;
    struct order_rec rec = {.ino = ent->ino, .type = ent->type};
    size_t len = strlen(ent->name);

    memcpy(rec.name, ent->name, len);
    MDB_val val = {ORDER_HEAD + len, &rec};
    tree_key_number(&keybuf, &key, parent, ent->cookie);
    return tree_errno(mdb_put(txn->mdb, tree_db.order, &key, &val, 0));
}

/* Take an entry of `order` apart. => -EIO when it is none */
static int order_read(const MDB_val *key, const MDB_val *val, struct uvm_dirent *ret)
{
    struct order_rec rec;
    uint64_t cookie;

    if (key->mv_size != 2 * sizeof(uint64_t) || val->mv_size <= ORDER_HEAD ||
        val->mv_size > sizeof(rec))
        return -EIO;
    memcpy(&cookie, (const char *)key->mv_data + sizeof(uint64_t), sizeof(cookie));
    memcpy(&rec, val->mv_data, val->mv_size);
    ret->ino = rec.ino;
    ret->cookie = be64toh(cookie);
    ret->type = rec.type;
    memcpy(ret->name, rec.name, val->mv_size - ORDER_HEAD);
    ret->name[val->mv_size - ORDER_HEAD] = '\0';
    return 0;
}

int uvm_tree_name_get(struct uvm_txn *txn, uint64_t parent, const char *name,
                      struct uvm_dirent *ret)
{
    TREE_READER(reader);
    struct tree_key keybuf;
    struct name_rec rec;
    MDB_val key, val;

    int error = tree_key_name(&keybuf, &key, parent, name);
    if (!error)
        error = tree_read_begin(&reader, txn);
    if (!error)
        error = tree_errno(mdb_get(reader.mdb, tree_db.names, &key, &val));
    if (!error && val.mv_size != sizeof(rec))
        error = -EIO;
    if (error)
        return error;
    memcpy(&rec, val.mv_data, sizeof(rec));
    *ret = (struct uvm_dirent){.ino = rec.ino, .cookie = rec.cookie, .type = rec.type};
    memcpy(ret->name, name, strlen(name) + 1);
    return 0;
}

int uvm_tree_name_at(struct uvm_txn *txn, uint64_t parent, uint64_t cookie, struct uvm_dirent *ret)
{
    TREE_READER(reader);
    struct tree_key keybuf;
    MDB_val key, val;

    tree_key_number(&keybuf, &key, parent, cookie);
    int error = tree_read_begin(&reader, txn);
    if (!error)
        error = tree_errno(mdb_get(reader.mdb, tree_db.order, &key, &val));
    return error ? error : order_read(&key, &val, ret);
}

static int name_put(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent,
                    unsigned flags)
{
    struct tree_key keybuf;
    struct name_rec rec = {.ino = ent->ino, .cookie = ent->cookie, .type = ent->type};
    MDB_val key, val = {sizeof(rec), &rec};

    int error = tree_key_name(&keybuf, &key, parent, ent->name);
    if (!error)
        error = tree_errno(mdb_put(txn->mdb, tree_db.names, &key, &val, flags));
    return error ? error : order_put(txn, parent, ent);
}

int uvm_tree_name_add(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent)
{
    return name_put(txn, parent, ent, MDB_NOOVERWRITE);
}

int uvm_tree_name_set(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent)
{
    return name_put(txn, parent, ent, 0);
}

int uvm_tree_name_del(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent)
{
    struct tree_key keybuf;
    MDB_val key;

    int error = tree_key_name(&keybuf, &key, parent, ent->name);
    if (!error)
        error = tree_errno(mdb_del(txn->mdb, tree_db.names, &key, NULL));
    if (error)
        return error;
    tree_key_number(&keybuf, &key, parent, ent->cookie);
    return tree_errno(mdb_del(txn->mdb, tree_db.order, &key, NULL));
}

static int list(struct uvm_txn *txn, uint64_t dir, uint64_t after, uint64_t below,
                struct uvm_dirent *ents, int max)
{
    TREE_READER(reader);
    TREE_CURSOR(cursor); /* declared after the reader, so it ends before it */
    struct tree_key keybuf;
    MDB_val key, val;
    int n = 0;

    int error = tree_read_begin(&reader, txn);
    if (!error)
        error = tree_errno(mdb_cursor_open(reader.mdb, tree_db.order, &cursor));
    if (error)
        return error;
    if (after == UINT64_MAX)
        return 0;
    tree_key_number(&keybuf, &key, dir, after + 1);
    for (int rc = mdb_cursor_get(cursor, &key, &val, MDB_SET_RANGE); n < max;
         rc = mdb_cursor_get(cursor, &key, &val, MDB_NEXT)) {
        if (rc == MDB_NOTFOUND || (!rc && !tree_key_of(&key, dir)))
            break;
        error = rc ? tree_errno(rc) : order_read(&key, &val, &ents[n]);
        if (error)
            return error;
        if (ents[n].cookie >= below)
            break;
        n++;
    }
    return n;
}

int uvm_tree_list(uint64_t dir, uint64_t after, uint64_t below, struct uvm_dirent *ents, int max)
{
    return list(NULL, dir, after, below, ents, max);
}

int uvm_tree_empty(struct uvm_txn *txn, uint64_t dir)
{
    struct uvm_dirent ent;
    int n = list(txn, dir, 0, UINT64_MAX, &ent, 1);
    return n < 0 ? n : n == 0;
}
