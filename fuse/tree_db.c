/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree's environment: opening and wiping the store, transactions, the mapping of errors.
 *
 * A fresh store gets its fixed part in one transaction: the root, and the top directories of the
 * table below with the inode numbers they always have. The numbers up to UVM_INO_FIRST are for that
 * table to grow.
 */
#include "tree_db.h"

#include <assert.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../daemon/lock.h"
#include "../daemon/log.h"
#include "../daemon/stats.h"

#define TREE_FORMAT      1
#define TREE_READERS_MAX 256
#define WARN_NS          60000000000u /* between two warnings */

static const struct {
    uint64_t ino;
    const char *name;
    uint32_t mode;
} tree_top[] = {
    {UVM_INO_ANON, "anon", S_IFDIR | 01777},
};

struct tree_dbs tree_db;

static struct {
    struct uvm_lock lock;       /* UVM_LR_TREE: held from begin to end of a transaction */
    _Atomic uint64_t warned_ns; /* when the full disk was last told of; 0: never */
} tree;

/* The map is far larger than any store: when the system says so, the disk is full, and the users
 * who get ENOSPC cannot see whose. */
static void warn_full(void)
{
    uint64_t now = uvm_now_ns(), last = atomic_load(&tree.warned_ns);

    if ((last && now - last < WARN_NS) ||
        !atomic_compare_exchange_strong(&tree.warned_ns, &last, now))
        return;
    log_warning("the file system of the state directory is full: no file can be made or renamed, "
                "nor change its attributes, until it has room");
}

int tree_errno(int rc)
{
    if (rc == 0)
        return 0;
    if (rc == ENOSPC)
        warn_full();
    if (rc > 0)
        return -rc;
    switch (rc) {
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_KEYEXIST:
        return -EEXIST;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return -ENOSPC;
    case MDB_READERS_FULL:
        return -ENFILE;
    case MDB_BAD_VALSIZE:
        return -EINVAL;
    default:
        log_error("tree: %s", mdb_strerror(rc));
        return -EIO;
    }
}

int tree_read_begin(struct tree_reader *reader, struct uvm_txn *txn)
{
    if (txn) {
        assert(txn->mdb);
        reader->mdb = txn->mdb;
        return 0;
    }
    int rc = mdb_txn_begin(tree_db.env, NULL, MDB_RDONLY, &reader->mdb);
    reader->own = rc == 0;
    return tree_errno(rc);
}

void tree_read_end(struct tree_reader *reader)
{
    if (reader->own)
        mdb_txn_abort(reader->mdb);
    reader->own = false;
}

int uvm_tree_begin(struct uvm_txn *txn)
{
    uvm_lock_acquire(&tree.lock);
    txn->locked = true;
    int rc = mdb_txn_begin(tree_db.env, NULL, 0, &txn->mdb);
    if (rc)
        txn->mdb = NULL;
    return tree_errno(rc);
}

int uvm_tree_commit(struct uvm_txn *txn)
{
    MDB_txn *mdb = UVM_TAKE_PTR(txn->mdb);
    int rc = mdb_txn_commit(mdb);
    /* The write that fills a disk is short, and LMDB calls that EIO. */
    if (rc == EIO && tree_dir_room(tree_db.dir) < UVM_PAGE_SIZE)
        rc = ENOSPC;
    return tree_errno(rc);
}

void uvm_tree_end(struct uvm_txn *txn)
{
    if (txn->mdb)
        mdb_txn_abort(txn->mdb);
    txn->mdb = NULL;
    if (txn->locked)
        uvm_lock_release(&tree.lock);
    txn->locked = false;
}

static int meta_get(MDB_txn *mdb, const char *name, uint64_t *ret)
{
    MDB_val key = {strlen(name), (void *)name}, val;
    int error = tree_errno(mdb_get(mdb, tree_db.meta, &key, &val));
    if (!error && val.mv_size != sizeof(*ret))
        error = -EIO;
    if (!error)
        memcpy(ret, val.mv_data, sizeof(*ret));
    return error;
}

static int meta_put(MDB_txn *mdb, const char *name, uint64_t n)
{
    MDB_val key = {strlen(name), (void *)name}, val = {sizeof(n), &n};
    return tree_errno(mdb_put(mdb, tree_db.meta, &key, &val, 0));
}

int uvm_tree_ino_new(struct uvm_txn *txn, uint64_t *ret)
{
    int error = meta_get(txn->mdb, "next_ino", ret);
    return error ? error : meta_put(txn->mdb, "next_ino", *ret + 1);
}

static int tree_make_top(struct uvm_txn *txn)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    struct uvm_time now = {.sec = ts.tv_sec, .nsec = (uint32_t)ts.tv_nsec};
    struct uvm_attr attr = {
        .parent = UVM_INO_ROOT, .nlink = 2, .atime = now, .mtime = now, .ctime = now};
    struct uvm_attr root = attr;
    root.ino = UVM_INO_ROOT;
    root.mode = S_IFDIR | 0755;
    root.next_cookie = UVM_COOKIE_FIRST;
    int error = 0;

    for (size_t i = 0; i < sizeof(tree_top) / sizeof(tree_top[0]) && !error; i++) {
        struct uvm_dirent ent = {
            .ino = tree_top[i].ino, .cookie = root.next_cookie++, .type = DT_DIR};
        snprintf(ent.name, sizeof(ent.name), "%s", tree_top[i].name);
        attr.ino = ent.ino;
        attr.mode = tree_top[i].mode;
        attr.cookie = ent.cookie;
        attr.next_cookie = UVM_COOKIE_FIRST;
        root.nlink++;
        root.size += UVM_DIRENT_SIZE;
        error = uvm_tree_attr_put(txn, &attr);
        if (!error)
            error = uvm_tree_name_add(txn, root.ino, &ent);
    }
    if (!error)
        error = uvm_tree_attr_put(txn, &root);
    if (!error)
        error = meta_put(txn->mdb, "next_ino", UVM_INO_FIRST);
    return error ? error : meta_put(txn->mdb, "format", TREE_FORMAT);
}

int uvm_tree_top(uint64_t ino, const char *name)
{
    UVM_TREE_TXN(txn);
    struct uvm_dirent ent = {.ino = ino, .type = DT_DIR}, old;
    struct uvm_attr root;

    int error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_tree_attr_get(&txn, UVM_INO_ROOT, &root);
    if (error || !uvm_tree_name_get(&txn, UVM_INO_ROOT, name, &old))
        return error;
    snprintf(ent.name, sizeof(ent.name), "%s", name);
    ent.cookie = root.next_cookie++;
    root.nlink++;
    root.size += UVM_DIRENT_SIZE;
    error = uvm_tree_name_add(&txn, UVM_INO_ROOT, &ent);
    if (!error)
        error = uvm_tree_attr_put(&txn, &root);
    return error ? error : uvm_tree_commit(&txn);
}

/* Open the databases; give a store that has none its fixed part. */
static int tree_open_dbs(struct uvm_error *err)
{
    static const struct {
        const char *name;
        MDB_dbi *dbi;
        unsigned flags;
    } dbs[] = {
        {"meta", &tree_db.meta, 0},     {"inodes", &tree_db.inodes, MDB_INTEGERKEY},
        {"names", &tree_db.names, 0},   {"order", &tree_db.order, 0},
        {"xattrs", &tree_db.xattrs, 0}, {"links", &tree_db.links, MDB_INTEGERKEY},
    };
    UVM_TREE_TXN(txn);
    int error = uvm_tree_begin(&txn);

    for (size_t i = 0; i < sizeof(dbs) / sizeof(dbs[0]) && !error; i++)
        error =
            tree_errno(mdb_dbi_open(txn.mdb, dbs[i].name, dbs[i].flags | MDB_CREATE, dbs[i].dbi));
    uint64_t format = 0;
    if (!error)
        error = meta_get(txn.mdb, "format", &format);
    if (error == -ENOENT) {
        format = TREE_FORMAT;
        error = tree_make_top(&txn);
    }
    if (!error && format != TREE_FORMAT)
        return uvm_fail(err, -EPROTO, "tree: the store has format %llu, this program has %d",
                        (unsigned long long)format, TREE_FORMAT);
    if (!error)
        error = uvm_tree_commit(&txn);
    return error ? uvm_fail(err, error, "tree: %s", strerror(-error)) : 0;
}

int uvm_tree_open(const char *dir, bool fresh, uint64_t mapsize, struct uvm_error *err)
{
    assert(!tree_db.env);
    CLEANUP_CLOSE int fd = tree_dir_open(dir, err);
    if (fd < 0)
        return fd;
    int error = fresh ? tree_dir_wipe(fd) : 0;
    if (error)
        return uvm_fail(err, error, "tree: cannot wipe %s: %s", dir, strerror(-error));

    tree_db.mapsize = mapsize ? mapsize : UVM_TREE_MAPSIZE;
    uvm_lock_init(&tree.lock, UVM_LR_TREE);
    int rc = mdb_env_create(&tree_db.env);
    if (!rc) {
        tree_db.dir = UVM_TAKE_FD(fd);
        rc = mdb_env_set_mapsize(tree_db.env, tree_db.mapsize);
    }
    if (!rc)
        rc = mdb_env_set_maxreaders(tree_db.env, TREE_READERS_MAX);
    if (!rc)
        rc = mdb_env_set_maxdbs(tree_db.env, 6);
    if (!rc)
        rc = mdb_env_open(tree_db.env, dir, MDB_NOSYNC | MDB_NORDAHEAD, 0600);
    if (!rc)
        rc = mdb_reader_check(tree_db.env, NULL); /* a dead process's readers would pin old pages */
    error = rc ? uvm_fail(err, tree_errno(rc), "tree: cannot open the store in %s: %s", dir,
                          mdb_strerror(rc))
               : tree_open_dbs(err);
    if (error) {
        uvm_tree_close();
        if (fresh)
            uvm_tree_remove(dir);
    }
    return error;
}

void uvm_tree_close(void)
{
    if (!tree_db.env)
        return;
    mdb_env_close(tree_db.env);
    tree_db.env = NULL;
    close(tree_db.dir); /* and with it the lock on it */
    uvm_lock_destroy(&tree.lock);
}
