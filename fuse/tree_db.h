/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the tree: what its parts share of LMDB. No one else includes this.
 */
#ifndef UVMD_FUSE_TREE_DB_H
#define UVMD_FUSE_TREE_DB_H

#include <endian.h>
#include <errno.h>
#include <lmdb.h>
#include <string.h>

#include "tree.h"

struct tree_dbs {
    MDB_env *env;     /* NULL: not open */
    uint64_t mapsize; /* bytes */
    int dir;          /* the directory, locked; valid while the store is open */
    MDB_dbi meta, inodes, names, order, xattrs, links;
};

extern struct tree_dbs tree_db;

/* tree_errno: LMDB's result as 0 or -errno, the one place where they are mapped. */
int tree_errno(int rc);

/* A reader: the caller's transaction, or one of its own that ends with the scope. */
struct tree_reader {
    MDB_txn *mdb;
    bool own;
};

int tree_read_begin(struct tree_reader *reader, struct uvm_txn *txn);
void tree_read_end(struct tree_reader *reader);

#define TREE_READER(name) struct tree_reader name UVM_CLEANUP(tree_read_end) = {0}

static inline void tree_cursor_end(MDB_cursor **cursor)
{
    if (*cursor)
        mdb_cursor_close(*cursor);
}

#define TREE_CURSOR(name) MDB_cursor *name UVM_CLEANUP(tree_cursor_end) = NULL

/* A key of two parts: a big-endian number, so that keys of one file or directory are neighbours in
 * order, then a name or another number. */
struct tree_key {
    uint64_t ino; /* big-endian */
    char name[UVM_NAME_MAX];
} __attribute__((packed));

/* => -ENAMETOOLONG */
static inline int tree_key_name(struct tree_key *key, MDB_val *val, uint64_t ino, const char *name)
{
    size_t len = strlen(name);
    if (len > UVM_NAME_MAX)
        return -ENAMETOOLONG;
    key->ino = htobe64(ino);
    memcpy(key->name, name, len);
    *val = (MDB_val){sizeof(key->ino) + len, key};
    return 0;
}

static inline void tree_key_number(struct tree_key *key, MDB_val *val, uint64_t ino, uint64_t n)
{
    n = htobe64(n);
    key->ino = htobe64(ino);
    memcpy(key->name, &n, sizeof(n));
    *val = (MDB_val){sizeof(key->ino) + sizeof(n), key};
}

/* tree_key_of: the key belongs to this file or directory. */
static inline bool tree_key_of(const MDB_val *key, uint64_t ino)
{
    ino = htobe64(ino);
    return key->mv_size >= sizeof(ino) && memcmp(key->mv_data, &ino, sizeof(ino)) == 0;
}

/* tree_dir_open: make the store's directory as needed, and lock it. => a descriptor that holds the
 * lock, or -errno with err filled in: -EBUSY: another uvmd has it */
int tree_dir_open(const char *dir, struct uvm_error *err);

/* tree_dir_wipe: remove the store from its directory. => locked; 0 or -errno */
int tree_dir_wipe(int fd);

/* tree_dir_room: bytes by which files there can grow. */
uint64_t tree_dir_room(int fd);

/* tree_xattr_purge: drop every extended attribute of a file. */
int tree_xattr_purge(struct uvm_txn *txn, uint64_t ino);

#endif
