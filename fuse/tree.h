/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The anon tree on store: names, attributes, extended attributes and symbolic links, in LMDB.
 *
 *      inodes   ino                -> struct uvm_attr
 *      names    (parent, name)     -> (ino, cookie, type)       looked up by name
 *      order    (parent, cookie)   -> (ino, type, name)         read in order by readdir
 *      xattrs   (ino, name)        -> value
 *      links    ino                -> target of a symbolic link
 *      meta     "next_ino", ...    -> 64-bit numbers
 *
 * A name has a cookie that stays with it while other names come and go: it is the offset readdir
 * hands out. Inode numbers are 64-bit and never used twice; ino, FUSE nodeid and object id are one
 * number, so a restarted daemon and the kernel mean the same file by it.
 *
 * The store has to outlive the process, not the machine: nothing is ever synced. It is written with
 * pwrite and not through a writable map, so that a full disk is an error of the one transaction
 * (ENOSPC) rather than a SIGBUS in the daemon, and a stray store cannot reach the tree.
 *
 * Transactions and locks
 *  - Every operation that changes the tree is one transaction, from uvm_tree_begin() to
 *    uvm_tree_commit() and uvm_tree_end(). There is one at a time: begin takes the tree lock
 *    (UVM_LR_TREE, the lowest rank) and then LMDB's own writer mutex; commit drops the mutex, end
 *    the lock. So what was committed reaches the in-core inodes before the next transaction
 *    looks at them.
 *  - The order is: tree lock, LMDB's writer mutex, inode locks. A thread that holds an inode lock
 *    never begins a transaction; it lets go, and writes the newest attributes once it has the
 *    tree.
 *  - Readers take no lock: they see the last commit. A reader is short and never outlives a call
 *    of this header. Those that accept a transaction read what it has changed so far; with NULL
 *    they read the last commit.
 *
 * Results are 0 or -errno; a full store is -ENOSPC, a name or a record that is not there -ENOENT.
 */
#ifndef UVMD_FUSE_TREE_H
#define UVMD_FUSE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../daemon/error.h"
#include "../daemon/util.h"

#define UVM_INO_ROOT  1  /* the mount's own directory: holds the top directories, never changes */
#define UVM_INO_ANON  2  /* anon/ */
#define UVM_INO_FIRST 16 /* first number for files; those below are for top directories */

#define UVM_NAME_MAX     255
#define UVM_SYMLINK_MAX  4095
#define UVM_XATTR_MAX    65536 /* bytes of a value, and of a list of names */
#define UVM_NLINK_MAX    0x7fffffffu
#define UVM_COOKIE_FIRST 3  /* 1 and 2 are "." and ".." */
#define UVM_DIRENT_SIZE  20 /* what a name adds to its directory's st_size */

#define UVM_TREE_MAPSIZE (64ull << 30) /* address space; the file is as large as what it holds */

struct uvm_time {
    int64_t sec;
    uint32_t nsec;
    uint32_t unused;
};

/* The attributes of a file, as they are stored. */
struct uvm_attr {
    uint64_t ino;
    uint64_t size;
    uint64_t parent; /* where the file's name is: a key of `order`. Exact for directories; a hint */
    uint64_t cookie; /* for files with several names; 0: not known */
    uint64_t next_cookie; /* directories: for the next name */
    uint64_t rdev;
    struct uvm_time atime, mtime, ctime;
    uint32_t mode; /* with the type */
    uint32_t uid, gid;
    uint32_t nlink;
    uint32_t nxattr; /* how many extended attributes there are: 0 spares the look-up */
    uint32_t unused;
};

_Static_assert(sizeof(struct uvm_time) == 16, "fixed record");
_Static_assert(sizeof(struct uvm_attr) == 120, "fixed record");

/* A name of a directory. */
struct uvm_dirent {
    uint64_t ino;
    uint64_t cookie;
    uint8_t type; /* DT_* */
    char name[UVM_NAME_MAX + 1];
};

struct MDB_txn;

/* A transaction that changes the tree. */
struct uvm_txn {
    struct MDB_txn *mdb; /* NULL: not begun, or over */
    bool locked;
};

/*
 * uvm_tree_open: open the store in dir, making directory and store as needed.
 *
 * => fresh: whatever was there is wiped, and the tree holds nothing but the top directories
 * => mapsize: bytes of address space, the bound on the store; 0 means UVM_TREE_MAPSIZE
 * => dir is locked until the store is closed or the process ends
 * => 0, or -errno with err filled in: -EBUSY: another process has it open
 */
int uvm_tree_open(const char *dir, bool fresh, uint64_t mapsize, struct uvm_error *err);
void uvm_tree_close(void);

/* uvm_tree_top: have the root list the top directory of another tree, which has no record here. => the
 * store is open, the root not in core; listed already is fine; 0 or -errno */
int uvm_tree_top(uint64_t ino, const char *name);

/* uvm_tree_remove: delete the store in dir, and dir. => closed; what is not there is no error;
 * -EBUSY: another process has opened it since, and it stays */
int uvm_tree_remove(const char *dir);

/* uvm_tree_usage: inodes in the tree and, roughly, how many more there is room for, in the store and
 * on its file system. */
int uvm_tree_usage(uint64_t *files, uint64_t *files_free);

/*
 * uvm_tree_room: may an operation add to the tree? A part of the store is kept for operations that
 * do not, because removing something takes room too. => asked before the transaction; 0 or -ENOSPC
 */
int uvm_tree_room(void);

/* uvm_tree_begin: start a transaction. => no lock held; on success and on failure the caller
 * ends it (UVM_TREE_TXN does) */
int uvm_tree_begin(struct uvm_txn *txn);
/* uvm_tree_commit: make the changes last. => on failure none of them is; the tree lock stays held
 */
int uvm_tree_commit(struct uvm_txn *txn);
/* uvm_tree_end: drop what has not been committed, and the tree lock. => may be called again */
void uvm_tree_end(struct uvm_txn *txn);

/* Declare a transaction that ends with the scope. */
#define UVM_TREE_TXN(name) struct uvm_txn name UVM_CLEANUP(uvm_tree_end) = {0}

/* Attributes. del removes the record with everything that is kept under the number: extended
 * attributes and target. */
int uvm_tree_ino_new(struct uvm_txn *txn, uint64_t *ret);
int uvm_tree_attr_get(struct uvm_txn *txn, uint64_t ino, struct uvm_attr *ret);
int uvm_tree_attr_put(struct uvm_txn *txn, const struct uvm_attr *attr);
int uvm_tree_attr_del(struct uvm_txn *txn, const struct uvm_attr *attr);

/* Targets of symbolic links. buf has room for UVM_SYMLINK_MAX + 1. */
int uvm_tree_link_put(struct uvm_txn *txn, uint64_t ino, const char *target);
int uvm_tree_link_get(uint64_t ino, char *buf);

/*
 * Names. add wants a cookie that is free in the directory and fails with -EEXIST when the name is
 * there; set gives an existing name another file; del removes it. name_at finds a name by its
 * cookie.
 *
 * => a name of more than UVM_NAME_MAX bytes is -ENAMETOOLONG, everywhere
 * => txn may be NULL for get, name_at and empty
 */
int uvm_tree_name_get(struct uvm_txn *txn, uint64_t parent, const char *name,
                      struct uvm_dirent *ret);
int uvm_tree_name_at(struct uvm_txn *txn, uint64_t parent, uint64_t cookie, struct uvm_dirent *ret);
int uvm_tree_name_add(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent);
int uvm_tree_name_set(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent);
int uvm_tree_name_del(struct uvm_txn *txn, uint64_t parent, const struct uvm_dirent *ent);
/* uvm_tree_empty: => 1 when the directory has no names, 0 when it has, or -errno */
int uvm_tree_empty(struct uvm_txn *txn, uint64_t dir);

/*
 * uvm_tree_list: names of a directory in the order of their cookies.
 *
 * => those with after < cookie < below, at most max
 * => how many, or -errno
 */
int uvm_tree_list(uint64_t dir, uint64_t after, uint64_t below, struct uvm_dirent *ents, int max);

/*
 * Extended attributes. A missing one is -ENODATA.
 *
 * => get, list: size 0 asks for the length; -ERANGE when size is too small; the length otherwise
 * => list: names, each with its NUL; privileged: trusted.* too
 * => set: flags as setxattr(2); *added says whether the name is new
 */
int uvm_tree_xattr_get(uint64_t ino, const char *name, void *buf, size_t size);
int uvm_tree_xattr_list(uint64_t ino, char *buf, size_t size, bool privileged);
int uvm_tree_xattr_set(struct uvm_txn *txn, uint64_t ino, const char *name, const void *value,
                       size_t size, int flags, bool *added);
int uvm_tree_xattr_del(struct uvm_txn *txn, uint64_t ino, const char *name);

/*
 * uvm_tree_path: a path of a file, from the mount on ("anon/a/b"; "" is the mount itself).
 *
 * => -ENOENT: it has no name (any more); -ENAMETOOLONG: len does not hold it
 * => a file that has lost the name its record points at is searched for: that takes a walk over
 *    all names, and is meant for people, not for the data path
 */
int uvm_tree_path(uint64_t ino, char *buf, size_t len);

/* uvm_tree_resolve: the file a path names. => leading, doubled and trailing slashes are allowed;
 * symbolic links are not followed; "." and ".." are not understood */
int uvm_tree_resolve(const char *path, uint64_t *ret);

#endif
