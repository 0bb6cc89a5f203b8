/* SPDX-License-Identifier: BSD-2-Clause */
#include "anon.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../daemon/pager/pager.h"
#include "../daemon/reserve.h"

static void anon_object_free(struct uvm_object *uobj)
{
    uobj->pgops->pgo_detach(uobj);
}

static uint64_t anon_object_pages(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uobj->nreserved;
}

const struct uvm_inode_hooks uvm_anon_hooks = {
    .object_new = uao_create,
    .object_free = anon_object_free,
    .object_pages = anon_object_pages,
    .space = uvm_reserve_space,
};

static uint64_t count_delivered(struct uvm_object *uobj)
{
    uint64_t n = 0;
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, 0);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1))
        n += (uint64_t)__builtin_popcountll(leaf->delivered);
    return n;
}

static void describe(struct uvm_inode *inode, struct uvm_object *uobj,
                     struct uvm_control_object *ret)
{
    if (uvm_inode_path(uvm_inode_ino(inode), ret->path, sizeof(ret->path)))
        ret->path[0] = '\0'; /* unlinked, and still in use */
    ret->id = uobj->id;
    ret->size = uvm_inode_size(inode);
    ret->faults = atomic_load(&uobj->faults);
    ret->pgswapin = atomic_load(&uobj->pgswapin);
    ret->pgswapout = atomic_load(&uobj->pgswapout);
    UVM_LOCK_SCOPE(&uobj->lock);
    ret->npages = uobj->nresident;
    ret->swapped = uobj->nswapped;
    ret->reserved = uobj->nreserved;
    ret->delivered = count_delivered(uobj);
}

/* Held while the provider looks, so that the tree is not taken down under it. */
static pthread_mutex_t anon_lock = PTHREAD_MUTEX_INITIALIZER;
static bool anon_enabled; /* (anon_lock) */

void uvm_anon_enable(bool on)
{
    pthread_mutex_lock(&anon_lock);
    anon_enabled = on;
    pthread_mutex_unlock(&anon_lock);
}

struct walk {
    int (*fn)(const struct uvm_control_object *object, void *arg);
    void *arg;
    int rc;
};

static void walk_one(struct uvm_inode *inode, struct uvm_object *uobj, void *arg)
{
    struct walk *walk = arg;
    struct uvm_control_object object;

    if (walk->rc)
        return;
    describe(inode, uobj, &object);
    walk->rc = walk->fn(&object, walk->arg);
}

static int anon_foreach(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg)
{
    struct walk walk = {.fn = fn, .arg = arg};
    pthread_mutex_lock(&anon_lock);
    int rc = anon_enabled ? uvm_inode_foreach_object(walk_one, &walk) : -EAGAIN;
    pthread_mutex_unlock(&anon_lock);
    return rc ? rc : walk.rc;
}

static int find_inode(const char *path, struct uvm_control_object *ret)
{
    UVM_INODE_REF(inode);
    int rc = uvm_inode_by_path(path, &inode);
    if (rc)
        return rc;
    struct uvm_object *uobj = uvm_inode_object(inode);
    if (!uobj)
        return -ENOENT;
    describe(inode, uobj, ret);
    return 0;
}

static int anon_find(const char *path, struct uvm_control_object *ret)
{
    pthread_mutex_lock(&anon_lock);
    int rc = anon_enabled ? find_inode(path, ret) : -EAGAIN;
    pthread_mutex_unlock(&anon_lock);
    return rc;
}

const struct uvm_control_provider uvm_anon_provider = {
    .foreach = anon_foreach,
    .find = anon_find,
};
