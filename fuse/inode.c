/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The inode table: finding, counting, letting go.
 *
 * An inode is loaded under the table lock, by a reader that begins after the lock was taken.
 * Whoever changes the record of a file has it in core from before the change until after the
 * commit, so a load sees either the inode in core or the newest record.
 *
 * Letting go: the last count to fall decides under the table lock. If the record is up to date and
 * the file has names, the inode simply goes. Otherwise something must be written first, and for
 * that the tree lock is needed, which ranks below: so the table lock is dropped, the inode is
 * looked for again under both, pinned while it is written, and freed only if it is still idle then.
 */
#include "inode_md.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "../daemon/log.h"

static struct {
    const struct uvm_inode_hooks *hooks;
    struct uvm_lock lock;    /* the table lock, UVM_LR_INODE */
    struct uvm_inode *table; /* lock */
} inodes;

void uvm_inode_init(const struct uvm_inode_hooks *hooks)
{
    inodes.hooks = hooks;
    inodes.table = NULL;
    uvm_lock_init(&inodes.lock, UVM_LR_INODE);
}

const struct uvm_inode_hooks *uvm_inode_hooks(void)
{
    return inodes.hooks;
}

static struct uvm_inode *inode_alloc(const struct uvm_attr *attr)
{
    struct uvm_inode *inode = calloc(1, sizeof(*inode));
    if (!inode)
        return NULL;
    inode->ino = attr->ino;
    inode->attr = *attr;
    uvm_lock_init(&inode->lock, UVM_LR_INODE);
    return inode;
}

/* Free an inode that is not in the table, with its object. => no lock of the object's rank held */
static void inode_free(struct uvm_inode *inode)
{
    if (!inode)
        return;
    struct uvm_object *object = atomic_load(&inode->object);
    if (object)
        inodes.hooks->object_free(object);
    uvm_lock_destroy(&inode->lock);
    free(inode);
}

void uvm_inode_fini(void)
{
    struct uvm_inode *inode, *next;

    HASH_ITER (hh, inodes.table, inode, next) {
        HASH_DEL(inodes.table, inode);
        inode_free(inode);
    }
    uvm_lock_destroy(&inodes.lock);
}

static struct uvm_inode *table_find(uint64_t ino)
{
    struct uvm_inode *inode;
    HASH_FIND(hh, inodes.table, &ino, sizeof(ino), inode);
    return inode;
}

static int table_add(struct uvm_inode *inode)
{
    HASH_ADD(hh, inodes.table, ino, sizeof(inode->ino), inode);
    return inode->hh.tbl ? 0 : -ENOMEM;
}

/* Find an inode or load it. => table lock held */
static int table_load(struct uvm_txn *txn, uint64_t ino, struct uvm_inode **ret)
{
    struct uvm_attr attr;

    *ret = table_find(ino);
    if (*ret)
        return 0;
    int error = uvm_tree_attr_get(txn, ino, &attr);
    if (error)
        return error;
    struct uvm_inode *inode = inode_alloc(&attr);
    if (!inode)
        return -ENOMEM;
    error = table_add(inode);
    if (error)
        inode_free(inode);
    else
        *ret = inode;
    return error;
}

struct uvm_inode *uvm_inode_find(uint64_t ino)
{
    UVM_LOCK_SCOPE(&inodes.lock);
    struct uvm_inode *inode;

    int error = table_load(NULL, ino, &inode);
    if (error) {
        if (error != -ENOENT)
            log_error("inode %llu: %s", (unsigned long long)ino, strerror(-error));
        return NULL;
    }
    if (!inode->nlookup)
        inode->inherited = true;
    return inode;
}

int uvm_inode_get(struct uvm_txn *txn, uint64_t ino, struct uvm_inode **ret)
{
    UVM_LOCK_SCOPE(&inodes.lock);
    struct uvm_inode *inode;

    int error = table_load(txn, ino, &inode);
    if (error)
        return error;
    inode->refs++;
    *ret = inode;
    return 0;
}

int uvm_inode_new(const struct uvm_attr *attr, struct uvm_inode **ret)
{
    struct uvm_inode *inode = inode_alloc(attr);
    if (!inode)
        return -ENOMEM;
    inode->refs = 1;
    uvm_lock_acquire(&inodes.lock);
    int error = table_add(inode);
    uvm_lock_release(&inodes.lock);
    if (error)
        inode_free(inode);
    else
        *ret = inode;
    return error;
}

void uvm_inode_discard(struct uvm_inode *inode)
{
    uvm_lock_acquire(&inodes.lock);
    assert(inode->refs == 1 && !inode->nlookup);
    HASH_DEL(inodes.table, inode);
    uvm_lock_release(&inodes.lock);
    inode_free(inode);
}

void uvm_inode_remember(struct uvm_inode *inode, uint64_t nlookup)
{
    UVM_LOCK_SCOPE(&inodes.lock);
    inode->nlookup += nlookup;
}

/* => table lock held */
static bool inode_idle(const struct uvm_inode *inode)
{
    return !inode->refs && !inode->nlookup && !inode->inherited;
}

/* Write what an idle inode leaves behind, and take it out of the table if it is idle still. One that
 * has no names goes even when its record cannot be deleted: nobody would ask for it again, and its
 * object holds memory. => returns it for inode_free, or NULL */
static struct uvm_inode *inode_reap(uint64_t ino)
{
    UVM_TREE_TXN(txn);
    struct uvm_attr attr;

    int error = uvm_tree_begin(&txn);
    uvm_lock_acquire(&inodes.lock);
    struct uvm_inode *inode = table_find(ino);
    if (!inode || !inode_idle(inode)) {
        uvm_lock_release(&inodes.lock);
        return NULL;
    }
    inode->refs++;
    uvm_lock_release(&inodes.lock);

    uvm_lock_acquire(&inode->lock);
    attr = inode->attr;
    atomic_store(&inode->dirty, false);
    uvm_lock_release(&inode->lock);
    if (!error)
        error = attr.nlink ? uvm_tree_attr_put(&txn, &attr) : uvm_tree_attr_del(&txn, &attr);
    if (!error)
        error = uvm_tree_commit(&txn);
    if (error && error != -ENOENT) {
        log_warning("inode %llu: %s", (unsigned long long)ino, strerror(-error));
        atomic_store(&inode->dirty, true);
    }

    UVM_LOCK_SCOPE(&inodes.lock);
    inode->refs--;
    bool keep = attr.nlink && (atomic_load(&inode->dirty) || atomic_load(&inode->object));
    if (keep || !inode_idle(inode))
        return NULL;
    HASH_DEL(inodes.table, inode);
    return inode;
}

/* Let an inode go whose count has just fallen. => table lock held, dropped inside */
static void inode_released(struct uvm_inode *inode)
{
    uint64_t ino = inode->ino;
    bool idle = inode_idle(inode);
    bool clean = idle && inode->attr.nlink && !atomic_load(&inode->dirty);
    struct uvm_inode *gone = NULL;

    if (clean && !atomic_load(&inode->object)) {
        HASH_DEL(inodes.table, inode);
        gone = inode;
    }
    uvm_lock_release(&inodes.lock);
    if (idle && !clean)
        gone = inode_reap(ino);
    inode_free(gone);
}

void uvm_inode_put(struct uvm_inode *inode)
{
    if (!inode)
        return;
    uvm_lock_acquire(&inodes.lock);
    assert(inode->refs);
    inode->refs--;
    inode_released(inode);
}

void uvm_inode_forget(uint64_t ino, uint64_t nlookup)
{
    uvm_lock_acquire(&inodes.lock);
    struct uvm_inode *inode;
    /* One that is not in core was looked up before a restart: it may have lost its names since. */
    if (ino == UVM_INO_ROOT || table_load(NULL, ino, &inode)) {
        uvm_lock_release(&inodes.lock);
        return;
    }
    if (nlookup > inode->nlookup)
        inode->inherited = false;
    inode->nlookup -= MIN(nlookup, inode->nlookup);
    inode_released(inode);
}

/* Collect references on the inodes that want() names. => an array to free, *n of them; or NULL */
static struct uvm_inode **collect(bool (*want)(const struct uvm_inode *), unsigned *n)
{
    UVM_LOCK_SCOPE(&inodes.lock);
    struct uvm_inode *inode, *next;
    struct uvm_inode **list = malloc((HASH_COUNT(inodes.table) + 1) * sizeof(*list));

    *n = 0;
    if (!list)
        return NULL;
    HASH_ITER (hh, inodes.table, inode, next) {
        if (!want(inode))
            continue;
        inode->refs++;
        list[(*n)++] = inode;
    }
    return list;
}

static bool want_object(const struct uvm_inode *inode)
{
    return atomic_load(&inode->object) != NULL;
}

static bool want_dirty(const struct uvm_inode *inode)
{
    return atomic_load(&inode->dirty);
}

int uvm_inode_foreach_object(void (*fn)(struct uvm_inode *inode, struct uvm_object *object,
                                        void *arg),
                             void *arg)
{
    unsigned n;
    CLEANUP_FREE struct uvm_inode **list = collect(want_object, &n);

    if (!list)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        fn(list[i], atomic_load(&list[i]->object), arg);
        uvm_inode_put(list[i]);
    }
    return 0;
}

/* Put the records of dirty inodes into one transaction. */
static int flush_list(struct uvm_inode **list, unsigned n)
{
    UVM_TREE_TXN(txn);
    int error = uvm_tree_begin(&txn);

    for (unsigned i = 0; i < n && !error; i++) {
        struct uvm_attr attr;
        uvm_lock_acquire(&list[i]->lock);
        attr = list[i]->attr;
        atomic_store(&list[i]->dirty, false);
        uvm_lock_release(&list[i]->lock);
        error = uvm_tree_attr_put(&txn, &attr);
    }
    if (!error)
        error = uvm_tree_commit(&txn);
    for (unsigned i = 0; i < n && error; i++)
        atomic_store(&list[i]->dirty, true);
    return error;
}

int uvm_inode_flush(struct uvm_inode *inode)
{
    return atomic_load(&inode->dirty) ? flush_list(&inode, 1) : 0;
}

int uvm_inode_flush_all(void)
{
    unsigned n;
    CLEANUP_FREE struct uvm_inode **list = collect(want_dirty, &n);

    if (!list)
        return -ENOMEM;
    int error = n ? flush_list(list, n) : 0;
    for (unsigned i = 0; i < n; i++)
        uvm_inode_put(list[i]);
    return error;
}

int uvm_inode_path(uint64_t ino, char *buf, size_t len)
{
    return uvm_tree_path(ino, buf, len);
}

int uvm_inode_by_path(const char *path, struct uvm_inode **ret)
{
    uint64_t ino;
    int error = uvm_tree_resolve(path, &ino);
    return error ? error : uvm_inode_get(NULL, ino, ret);
}
