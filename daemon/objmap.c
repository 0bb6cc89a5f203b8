/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map of an object: a radix tree of 64-way nodes over leaves of 64 entries.
 *
 *      height 0   root is leaf 0                      up to 256 KiB of object
 *      height 1   root is a node of 64 leaves         up to 16 MiB
 *      height 5   five nodes on the way to a leaf     8 TiB and more
 *
 * The tree grows at the root when a page beyond its reach is touched; a leaf without entries is
 * freed with the nodes that only led to it.
 */
#include "objmap.h"

#include <assert.h>
#include <stdlib.h>

#include "object.h"
#include "stats.h"

#define NODE_BITS   6
#define NODE_FANOUT (1u << NODE_BITS)
#define NODE_MASK   (NODE_FANOUT - 1)
#define HEIGHT_MAX  5

struct node {
    void *child[NODE_FANOUT];
    uint32_t used;
};

_Static_assert(UVM_WINDOW_PAGES == 64, "leaf masks are 64 bits");

static unsigned child_at(uint32_t index, unsigned level)
{
    return (index >> (NODE_BITS * (level - 1))) & NODE_MASK;
}

static bool reaches(const struct uvm_object *uobj, uint32_t index)
{
    return uobj->root && ((uint64_t)index >> (NODE_BITS * uobj->height)) == 0;
}

struct uvm_leaf *uvm_leaf_lookup(struct uvm_object *uobj, uint32_t pgno)
{
    uint32_t index = pgno / UVM_WINDOW_PAGES;

    uvm_lock_assert_held(&uobj->lock);
    if (!reaches(uobj, index))
        return NULL;
    void *at = uobj->root;
    for (unsigned level = uobj->height; level > 0 && at; level--)
        at = ((struct node *)at)->child[child_at(index, level)];
    return at;
}

static struct uvm_leaf *leaf_new(uint32_t index)
{
    struct uvm_leaf *leaf = calloc(1, sizeof(*leaf));
    if (leaf) {
        leaf->index = index;
        leaf->window = UVM_NOWINDOW;
    }
    return leaf;
}

/* Raise the root until it reaches index. => false: no memory; the tree is as valid as before */
static bool map_grow(struct uvm_object *uobj, uint32_t index)
{
    if (!uobj->root) {
        uobj->height = 0;
        while ((uint64_t)index >> (NODE_BITS * uobj->height))
            uobj->height++;
        return true;
    }
    while (!reaches(uobj, index)) {
        struct node *node = calloc(1, sizeof(*node));
        if (!node)
            return false;
        node->child[0] = uobj->root;
        node->used = 1;
        uobj->root = node;
        uobj->height++;
        assert(uobj->height <= HEIGHT_MAX);
    }
    return true;
}

struct uvm_leaf *uvm_leaf_make(struct uvm_object *uobj, uint32_t pgno)
{
    uint32_t index = pgno / UVM_WINDOW_PAGES;

    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);
    if (leaf)
        return leaf;
    if (!map_grow(uobj, index))
        return NULL;

    void **at = &uobj->root;
    struct node *parent = NULL;
    for (unsigned level = uobj->height; level > 0; level--) {
        if (!*at) {
            *at = calloc(1, sizeof(struct node));
            if (!*at)
                return NULL;
            if (parent)
                parent->used++;
        }
        parent = *at;
        at = &parent->child[child_at(index, level)];
    }
    *at = leaf_new(index);
    if (*at && parent)
        parent->used++;
    return *at;
}

static struct uvm_leaf *next_below(void *at, unsigned level, uint32_t index)
{
    if (!at)
        return NULL;
    if (level == 0) {
        struct uvm_leaf *leaf = at;
        return leaf->index >= index ? leaf : NULL;
    }
    struct node *node = at;
    for (unsigned i = child_at(index, level); i < NODE_FANOUT; i++) {
        struct uvm_leaf *leaf = next_below(node->child[i], level - 1, index);
        if (leaf)
            return leaf;
        index = 0; /* any leaf of a later child is beyond the one asked for */
    }
    return NULL;
}

struct uvm_leaf *uvm_leaf_next(struct uvm_object *uobj, uint32_t index)
{
    uvm_lock_assert_held(&uobj->lock);
    if (!reaches(uobj, index))
        return NULL;
    return next_below(uobj->root, uobj->height, index);
}

void uvm_leaf_prune(struct uvm_object *uobj, struct uvm_leaf *leaf)
{
    void **path[HEIGHT_MAX + 1];
    uint32_t index = leaf->index;

    uvm_lock_assert_held(&uobj->lock);
    if (leaf->nused)
        return;
    assert(leaf->window == UVM_NOWINDOW);
    uvm_delivered_clear(leaf, ~0ull);

    path[uobj->height] = &uobj->root;
    for (unsigned level = uobj->height; level > 0; level--)
        path[level - 1] = &((struct node *)*path[level])->child[child_at(index, level)];
    free(*path[0]);
    *path[0] = NULL;
    for (unsigned level = 1; level <= uobj->height; level++) {
        struct node *node = *path[level];
        if (--node->used)
            return;
        free(node);
        *path[level] = NULL;
    }
    uobj->height = 0;
}

static void free_below(void *at, unsigned level)
{
    if (!at)
        return;
    if (level == 0) {
        struct uvm_leaf *leaf = at;
        assert(!leaf->nused && leaf->window == UVM_NOWINDOW);
        uvm_delivered_clear(leaf, ~0ull);
    } else {
        for (unsigned i = 0; i < NODE_FANOUT; i++)
            free_below(((struct node *)at)->child[i], level - 1);
    }
    free(at);
}

void uvm_objmap_clear(struct uvm_object *uobj)
{
    free_below(uobj->root, uobj->height);
    uobj->root = NULL;
    uobj->height = 0;
}

uvm_entry uvm_entry_get(struct uvm_object *uobj, uint32_t pgno)
{
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);
    return leaf ? leaf->entry[pgno % UVM_WINDOW_PAGES] : 0;
}

void uvm_entry_set(struct uvm_object *uobj, struct uvm_leaf *leaf, uint32_t pgno, uvm_entry e)
{
    uvm_lock_assert_held(&uobj->lock);
    uvm_entry *at = &leaf->entry[pgno % UVM_WINDOW_PAGES];
    enum uvm_entry_tag was = uvm_entry_tag(*at), is = uvm_entry_tag(e);
    int used = (is != UVM_E_EMPTY) - (was != UVM_E_EMPTY);
    int resident = (is == UVM_E_PAGE) - (was == UVM_E_PAGE);
    int swapped = (is == UVM_E_SLOT) - (was == UVM_E_SLOT);

    *at = e;
    leaf->nused = (uint8_t)(leaf->nused + used);
    leaf->nresident = (uint8_t)(leaf->nresident + resident);
    uobj->nreserved += (uint64_t)(int64_t)used;
    uobj->nresident += (uint64_t)(int64_t)resident;
    uobj->nswapped += (uint64_t)(int64_t)swapped;
    uvm_stat_add(swpgonly, (int64_t)swapped);
    if (resident < 0 && leaf->nresident == 0) {
        uvm_md->window_free(leaf->window);
        leaf->window = UVM_NOWINDOW;
    }
}

void uvm_delivered_set(struct uvm_leaf *leaf, uint64_t mask)
{
    uvm_stat_add(delivered, __builtin_popcountll(mask & ~leaf->delivered));
    leaf->delivered |= mask;
}

void uvm_delivered_clear(struct uvm_leaf *leaf, uint64_t mask)
{
    uvm_stat_sub(delivered, __builtin_popcountll(mask & leaf->delivered));
    leaf->delivered &= ~mask;
}
