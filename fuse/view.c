/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One mutex stands between the control thread and the end: a look at the trees holds it, and whoever
 * takes them down waits for it first. The path says which tree is asked.
 */
#include "view.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "../daemon/pager/pager.h"
#include "../daemon/protect.h"
#include "fs.h"
#include "session.h"

/* Held while the provider looks, so that no tree is taken down under it. */
static pthread_mutex_t view_lock = PTHREAD_MUTEX_INITIALIZER;
static bool view_enabled; /* (view_lock) */

void uvm_view_enable(bool on)
{
    pthread_mutex_lock(&view_lock);
    view_enabled = on;
    pthread_mutex_unlock(&view_lock);
}

static uint64_t count_delivered(struct uvm_object *uobj)
{
    uint64_t n = 0;
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, 0);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1))
        n += (uint64_t)__builtin_popcountll(leaf->delivered);
    return n;
}

void uvm_view_describe(struct uvm_object *uobj, struct uvm_control_object *ret)
{
    ret->id = uobj->id;
    ret->faults = atomic_load(&uobj->faults);
    ret->pgswapin = atomic_load(&uobj->pgswapin);
    ret->pgswapout = atomic_load(&uobj->pgswapout);
    ret->prot = uvm_protect_get(uobj);
    UVM_LOCK_SCOPE(&uobj->lock);
    ret->npages = uobj->nresident;
    ret->swapped = uobj->nswapped;
    ret->reserved = uobj->backed ? 0 : uobj->nreserved;
    ret->delivered = count_delivered(uobj);
}

struct walk {
    int (*fn)(const struct uvm_control_object *object, void *arg);
    void *arg;
};

static int walk_tree(const struct uvm_fs *fs, void *arg)
{
    struct walk *walk = arg;
    return fs->objects ? fs->objects(walk->fn, walk->arg) : 0;
}

static int view_foreach(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg)
{
    struct walk walk = {.fn = fn, .arg = arg};
    pthread_mutex_lock(&view_lock);
    int rc = view_enabled ? uvm_fs_foreach(walk_tree, &walk) : -EAGAIN;
    pthread_mutex_unlock(&view_lock);
    return rc;
}

struct search {
    const char *path;
    size_t len;                     /* of its first component */
    struct uvm_control_object *ret; /* find */
    int prot;                       /* protect */
    int rc;
};

static bool search_is(const struct search *search, const struct uvm_fs *fs)
{
    return strlen(fs->name) == search->len && strncmp(fs->name, search->path, search->len) == 0;
}

static int search_tree(const struct uvm_fs *fs, void *arg)
{
    struct search *search = arg;

    if (!search_is(search, fs))
        return 0;
    search->rc = fs->find ? fs->find(search->path, search->ret) : -ENOENT;
    return 1;
}

static int search_run(int (*fn)(const struct uvm_fs *fs, void *arg), const char *path,
                      struct search *search)
{
    search->path = path + strspn(path, "/");
    search->len = strcspn(search->path, "/");
    search->rc = -ENOENT;
    pthread_mutex_lock(&view_lock);
    if (view_enabled)
        uvm_fs_foreach(fn, search);
    else
        search->rc = -EAGAIN;
    pthread_mutex_unlock(&view_lock);
    return search->rc;
}

static int view_find(const char *path, struct uvm_control_object *ret)
{
    return search_run(search_tree, path, &(struct search){.ret = ret});
}

static int object_of(const struct uvm_fs *fs, struct search *search)
{
    struct uvm_object *uobj = NULL;
    int error = fs->object ? fs->object(search->path, &uobj) : -ENOENT;

    if (error)
        return error;
    error = uvm_protect_set(uobj, search->prot, uvm_session_revoke);
    uobj->pgops->pgo_detach(uobj);
    return error;
}

static int protect_tree(const struct uvm_fs *fs, void *arg)
{
    struct search *search = arg;

    if (!search_is(search, fs))
        return 0;
    search->rc = object_of(fs, search);
    return 1;
}

/* The trees stay while this waits for the kernel: it waits for requests, which are still served. */
static int view_protect(const char *path, int prot)
{
    return search_run(protect_tree, path, &(struct search){.prot = prot});
}

const struct uvm_control_provider uvm_view_provider = {
    .foreach = view_foreach,
    .find = view_find,
    .protect = view_protect,
};
