/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Taking holes back: a sweep over all objects, leaf by leaf, like a clock: the hand (object, leaf)
 * stays where the last sweep had enough. What is taken back of a leaf are the holes that were
 * delivered, that fallocate has not promised, and whose mark nobody has taken away while the kernel
 * let go of them (revoker.h).
 */
#include <errno.h>

#include "object.h"
#include "pager/pager.h"
#include "reserve.h"
#include "revoker_impl.h"

static struct {
    uint64_t object; /* where the sweep goes on; the revoker's thread only */
    uint32_t leaf;
} hand;

void uvm_revoker_sweep_init(void)
{
    hand.object = 0;
    hand.leaf = 0;
}

/* The holes of a leaf that clients may hold. => object locked */
static uint64_t delivered_holes(const struct uvm_leaf *leaf)
{
    uint64_t holes = 0;
    for (unsigned i = 0; i < UVM_WINDOW_PAGES; i++)
        holes |= (uint64_t)(uvm_entry_tag(leaf->entry[i]) == UVM_E_HOLE) << i;
    return holes & leaf->delivered & ~leaf->allocated;
}

/* The holes whose mark survived are nobody's: make them EMPTY. => how many */
static uint32_t take_back(struct uvm_object *uobj, uint32_t base, uint64_t marked)
{
    uint32_t n = 0;

    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, base);
    if (!leaf)
        return 0;
    marked &= leaf->revoking;
    leaf->revoking &= ~marked;
    uvm_delivered_clear(leaf, marked);
    for (unsigned i = 0; i < UVM_WINDOW_PAGES; i++) {
        if (!(marked >> i & 1) || uvm_entry_tag(leaf->entry[i]) != UVM_E_HOLE)
            continue;
        uvm_entry_set(uobj, leaf, base + i, 0);
        n++;
    }
    uvm_leaf_prune(uobj, leaf);
    return n;
}

/* Revoke the delivered holes of one leaf. => how many reservations came back */
static uint32_t reclaim_leaf(struct uvm_object *uobj, uint32_t index, uint64_t holes)
{
    uint32_t base = index * UVM_WINDOW_PAGES;
    unsigned first = (unsigned)__builtin_ctzll(holes);
    unsigned last = 63 - (unsigned)__builtin_clzll(holes);

    int rc = uvm_revoker_revoke(uobj->id, base + first, last - first + 1);
    if (rc && rc != -ENOENT)
        return 0;
    uint32_t n = take_back(uobj, base, holes);
    if (n)
        uvm_unreserve(n);
    return n;
}

/* Find the next leaf with delivered holes from the hand on, and mark them. => object referenced, or
 * NULL: the end of the table was reached */
static struct uvm_object *next_victim(uint32_t *ret_index, uint64_t *ret_holes)
{
    struct uvm_object *uobj;

    while ((uobj = hand.leaf ? uvm_object_lookup(hand.object) : uvm_object_next(hand.object))) {
        hand.object = uobj->id;
        uvm_lock_acquire(&uobj->lock);
        struct uvm_leaf *leaf = uvm_leaf_next(uobj, hand.leaf);
        while (leaf && !(*ret_holes = delivered_holes(leaf)))
            leaf = uvm_leaf_next(uobj, leaf->index + 1);
        if (leaf) {
            leaf->revoking |= *ret_holes;
            *ret_index = leaf->index;
            hand.leaf = leaf->index + 1;
        }
        uvm_lock_release(&uobj->lock);
        if (leaf)
            return uobj;
        hand.leaf = 0;
        uobj->pgops->pgo_detach(uobj);
    }
    if (hand.leaf) { /* the object under the hand has gone: go on with the next */
        hand.leaf = 0;
        return next_victim(ret_index, ret_holes);
    }
    return NULL;
}

uint32_t uvm_revoker_sweep(uint32_t want)
{
    uint32_t got = 0, index = 0;
    uint64_t holes = 0;
    unsigned ends = 0;

    while (got < want && !uvm_revoker_stopping()) {
        struct uvm_object *uobj = next_victim(&index, &holes);
        if (!uobj) {
            hand.object = 0;
            hand.leaf = 0;
            if (++ends == 2) /* the second end has seen everything once */
                break;
            continue;
        }
        got += reclaim_leaf(uobj, index, holes);
        uobj->pgops->pgo_detach(uobj);
    }
    return got;
}
