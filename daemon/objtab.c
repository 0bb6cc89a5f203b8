/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The object table: every object that somebody refers to, in the order of their ids, because the
 * revoker goes round it. Objects come in any order: their ids are inode numbers, but an inode has no
 * object until it has bytes.
 *
 *              id 40, highest           a treap: by id from left to right, by priority from top to
 *              /          \             bottom. The priority is the id's hash, so the shape depends
 *          id 17         id 90          on which objects there are and on nothing else, and a path is
 *          /   \            \           about twice log2 of their number, whatever ids were chosen.
 *       id 3   id 21       id 91
 *
 * It costs an object two pointers. It is touched by faults in the arena, by revocation and by the
 * control socket, and when an object begins and ends; a client's request has its object already.
 */
#include "objtab.h"

#include <assert.h>

#include "stats.h"

static struct {
    struct uvm_lock lock;
    struct uvm_object *root; /* (T) */
} objtab;

void uvm_object_module_init(void)
{
    uvm_lock_init(&objtab.lock, UVM_LR_OBJTAB);
    objtab.root = NULL;
}

/* No two ids have the same. (The finalizer of splitmix64, which is one-to-one.) */
static uint64_t priority(uint64_t id)
{
    id = (id ^ id >> 30) * 0xbf58476d1ce4e5b9ull;
    id = (id ^ id >> 27) * 0x94d049bb133111ebull;
    return id ^ id >> 31;
}

void uvm_objtab_insert(struct uvm_object *uobj)
{
    struct uvm_object **at = &objtab.root, **left = &uobj->left, **right = &uobj->right;
    uint64_t prio = priority(uobj->id);

    UVM_LOCK_SCOPE(&objtab.lock);
    while (*at && priority((*at)->id) > prio)
        at = uobj->id < (*at)->id ? &(*at)->left : &(*at)->right;
    /* What was here is cut along the id: what is smaller goes to the left, the rest to the right. */
    struct uvm_object *o = *at;
    *at = uobj;
    while (o) {
        assert(o->id != uobj->id);
        if (o->id < uobj->id) {
            *left = o;
            left = &o->right;
            o = o->right;
        } else {
            *right = o;
            right = &o->left;
            o = o->left;
        }
    }
    *left = *right = NULL;
    uvm_stat_inc(objects);
}

/* Take an object out: its two sides are woven together in its place. => table locked */
static void objtab_remove(struct uvm_object *uobj)
{
    struct uvm_object **at = &objtab.root, *left = uobj->left, *right = uobj->right;

    while (*at != uobj)
        at = uobj->id < (*at)->id ? &(*at)->left : &(*at)->right;
    while (left && right) {
        if (priority(left->id) > priority(right->id)) {
            *at = left;
            at = &left->right;
            left = left->right;
        } else {
            *at = right;
            at = &right->left;
            right = right->left;
        }
    }
    *at = left ? left : right;
    uvm_stat_sub(objects, 1);
}

/* => table locked; an object in the table has refs > 0, because unref takes the last one under the
 * table's lock */
static struct uvm_object *objtab_ref(struct uvm_object *uobj)
{
    if (uobj)
        atomic_fetch_add(&uobj->refs, 1);
    return uobj;
}

struct uvm_object *uvm_object_lookup(uint64_t id)
{
    UVM_LOCK_SCOPE(&objtab.lock);
    struct uvm_object *o = objtab.root;
    while (o && o->id != id)
        o = id < o->id ? o->left : o->right;
    return objtab_ref(o);
}

struct uvm_object *uvm_object_next(uint64_t id)
{
    struct uvm_object *best = NULL;

    UVM_LOCK_SCOPE(&objtab.lock);
    for (struct uvm_object *o = objtab.root; o;) {
        if (o->id > id) {
            best = o;
            o = o->left;
        } else {
            o = o->right;
        }
    }
    return objtab_ref(best);
}

bool uvm_object_unref(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&objtab.lock);
    if (atomic_fetch_sub(&uobj->refs, 1) > 1)
        return false;
    objtab_remove(uobj);
    return true;
}
