/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode's object: its life, its descriptors, what its pager answers at once.
 *
 *      uvn_new --> pages come and go --> last reference --> pages freed --> last busy page let go
 *                                                             (dying)          --> gone
 *
 * Who drops the last reference has seen to it that nothing is dirty that counts: a flush holds one.
 */
#include "vnode.h"

#include <assert.h>
#include <errno.h>

#include "../page_md.h"
#include "vnode_impl.h"

struct uvn_backing *uvn_backing_new(int fd, int tail_fd, uint32_t align)
{
    struct uvn_backing *backing = malloc(sizeof(*backing));

    assert(align && align <= UVM_PAGE_SIZE && !(align & (align - 1)));
    if (!backing) {
        if (tail_fd >= 0 && tail_fd != fd)
            close(tail_fd);
        close(fd);
        return NULL;
    }
    atomic_init(&backing->refs, 1);
    backing->fd = fd;
    backing->tail_fd = tail_fd;
    backing->align = align;
    return backing;
}

struct uvn_backing *uvn_backing_ref(struct uvn_backing *backing)
{
    atomic_fetch_add(&backing->refs, 1);
    return backing;
}

void uvn_backing_unref(struct uvn_backing *backing)
{
    if (!backing || atomic_fetch_sub(&backing->refs, 1) > 1)
        return;
    if (backing->tail_fd >= 0 && backing->tail_fd != backing->fd)
        close(backing->tail_fd);
    close(backing->fd);
    free(backing);
}

void uvn_init(void)
{
    uvn_dirty_init();
}

struct uvm_object *uvn_new(uint64_t id, uint64_t size)
{
    struct uvm_vnode *vn = calloc(1, sizeof(*vn));

    if (!vn)
        return NULL;
    vn->size = vn->eof = size;
    TAILQ_INIT(&vn->changes);
    TAILQ_INIT(&vn->parked);
    TAILQ_INIT(&vn->waits);
    uvm_object_init(&vn->uobj, id, &uvm_vnode_pagerops, true);
    return &vn->uobj;
}

bool uvn_set_backing(struct uvm_object *uobj, struct uvn_backing *backing)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);

    uvm_lock_acquire(&uobj->lock);
    bool idle = !uobj->ndirty && !vn->nputs && !vn->ngets && TAILQ_EMPTY(&vn->parked);
    struct uvn_backing *old = NULL;
    if (backing || idle) {
        old = vn->backing;
        vn->backing = backing;
    }
    uvm_lock_release(&uobj->lock);
    uvn_backing_unref(old);
    return backing || idle;
}

uint64_t uvn_size(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uvm_vnode(uobj)->size;
}

uint64_t uvn_ndirty(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uobj->ndirty;
}

int uvn_error_since(struct uvm_object *uobj, uint32_t *seq)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    if (*seq == uvm_vnode(uobj)->error_seq)
        return 0;
    *seq = uvm_vnode(uobj)->error_seq;
    return uvm_vnode(uobj)->error;
}

uint32_t uvn_error_seq(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uvm_vnode(uobj)->error_seq;
}

static void uvn_reference(struct uvm_object *uobj)
{
    atomic_fetch_add(&uobj->refs, 1);
}

/* Free one busy page whose arena memory is gone. => object locked */
static void free_page(struct vm_page *pg, struct vm_pagelist *freed)
{
    uvm_object_subpage(pg, UVM_E_EMPTY);
    TAILQ_INSERT_TAIL(freed, pg, pageq);
}

/* Is the page one to be freed now? => object locked */
static bool goes(struct vm_page *pg, bool dirty)
{
    if (!pg)
        return false;
    if (pg->flags & PG_BUSY) {
        if (dirty)
            pg->flags |= PG_RELEASED;
        return false;
    }
    return dirty || ((pg->flags & PG_CLEAN) && !uvm_md->is_modified(pg->apage));
}

/* Free the entries [first, last) of a leaf. => object locked */
static void free_leaf(struct uvm_leaf *leaf, uint32_t first, uint32_t last, bool dirty,
                      struct vm_pagelist *freed)
{
    uint64_t freeing = 0;

    /* First own what goes, and give its memory back a run at a time. */
    for (uint32_t i = first, run = 0; i <= last; i++) {
        struct vm_page *pg = i < last ? uvm_entry_page(leaf->entry[i]) : NULL;
        if (goes(pg, dirty)) {
            uvm_page_busy(pg, __func__);
            freeing |= 1ull << i;
            run++;
        } else if (run) {
            uvm_md->remove(leaf->window * UVM_WINDOW_PAGES + i - run, run);
            run = 0;
        }
    }
    for (uint32_t i = first; i < last; i++)
        if (freeing >> i & 1)
            free_page(uvm_entry_page(leaf->entry[i]), freed);
    uint64_t mask = (last - first == 64 ? ~0ull : ((1ull << (last - first)) - 1)) << first;
    for (uint32_t i = first; i < last && !dirty; i++)
        if (uvm_entry_page(leaf->entry[i])) /* clients may hold what stays */
            mask &= ~(1ull << i);
    uvm_delivered_clear(leaf, mask);
}

void uvn_free_pages(struct uvm_vnode *vn, uint32_t start, uint32_t stop, bool dirty)
{
    struct vm_pagelist freed = TAILQ_HEAD_INITIALIZER(freed);
    struct uvm_object *uobj = &vn->uobj;
    struct uvm_leaf *leaf, *next;

    for (leaf = uvm_leaf_next(uobj, start / UVM_WINDOW_PAGES); leaf; leaf = next) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= stop)
            break;
        next = uvm_leaf_next(uobj, leaf->index + 1);
        free_leaf(leaf, start > base ? start - base : 0, MIN(stop - base, UVM_WINDOW_PAGES), dirty,
                  &freed);
        uvm_leaf_prune(uobj, leaf);
    }
    uvm_pageput(&freed);
    uvn_dirty_wake();
}

static bool uvn_pgflush(struct uvm_object *uobj, uint32_t start, uint32_t stop, int flags)
{
    uvm_lock_assert_held(&uobj->lock);
    assert((flags & (PGO_FREE | PGO_DEACTIVATE)) != (PGO_FREE | PGO_DEACTIVATE));
    assert(!(flags & PGO_SYNCIO)); /* a struct uvn_flush waits */
    if (flags & PGO_ALLPAGES) {
        start = 0;
        stop = UVM_OBJECT_PAGES_MAX;
    }
    if (flags & PGO_CLEANIT)
        uvn_dirty_due(uvm_vnode(uobj));
    if (flags & PGO_FREE)
        uvn_free_pages(uvm_vnode(uobj), start, stop, !(flags & PGO_CLEANIT));
    else if (flags & PGO_DEACTIVATE)
        uvm_pager_deactivate(uobj, start, stop);
    return true;
}

/* No page, no reference, no transfer. => not locked */
static void uvn_gone(struct uvm_object *uobj)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);

    assert(!vn->ngets && !vn->nputs && !vn->change);
    assert(TAILQ_EMPTY(&vn->parked) && TAILQ_EMPTY(&vn->waits));
    uvn_unlist(vn);
    uvn_backing_unref(vn->backing);
    uvm_object_free(uobj);
}

static void uvn_detach(struct uvm_object *uobj)
{
    if (!uvm_object_unref(uobj))
        return;
    uvm_lock_acquire(&uobj->lock);
    uvn_free_pages(uvm_vnode(uobj), 0, UVM_OBJECT_PAGES_MAX, true);
    uobj->dying = true;
    bool gone = uobj->nresident == 0;
    uvm_lock_release(&uobj->lock);
    if (gone)
        uvn_gone(uobj);
}

static bool uvn_releasepg(struct vm_page *pg)
{
    struct vm_pagelist freed = TAILQ_HEAD_INITIALIZER(freed);
    struct uvm_object *uobj = pg->uobject;

    uvm_lock_assert_held(&uobj->lock);
    assert((pg->flags & (PG_BUSY | PG_RELEASED)) == (PG_BUSY | PG_RELEASED));
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pg->pgno);
    uvm_md->remove(pg->apage, 1);
    free_page(pg, &freed);
    uvm_leaf_prune(uobj, leaf);
    uvn_dirty_wake();
    bool gone = uobj->dying && uobj->nresident == 0;
    if (gone)
        uvm_lock_release(&uobj->lock);
    uvm_pageput(&freed);
    if (gone)
        uvn_gone(uobj);
    return !gone;
}

/* Aligned clusters, so that they meet without leaving remnants between them. */
static void uvn_cluster(struct uvm_object *uobj, uint32_t pgno, uint32_t *ret_lo, uint32_t *ret_hi)
{
    uint64_t end = uvm_atop(uvm_round_page(uvm_vnode(uobj)->size));

    *ret_lo = pgno - pgno % UVM_CLUSTER_PAGES;
    *ret_hi = (uint32_t)MAX(MIN((uint64_t)*ret_lo + UVM_CLUSTER_PAGES, end), (uint64_t)pgno + 1);
}

static uint32_t uvn_asyncget(struct uvm_object *uobj, uint32_t pgno, uint32_t npages,
                             uint32_t *ret_start)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);

    uvm_lock_assert_held(&uobj->lock);
    uint64_t limit = uvm_atop(uvm_round_page(MIN(vn->size, vn->eof)));
    return uvm_readahead_note(&vn->ra, pgno, npages, (uint32_t)MIN(limit, UVM_OBJECT_PAGES_MAX),
                              ret_start);
}

/* => object locked */
static void invalidate(struct uvm_vnode *vn, uint64_t size)
{
    uvn_free_pages(vn, 0, UVM_OBJECT_PAGES_MAX, false);
    vn->size = vn->uobj.ndirty ? MAX(vn->size, size) : size;
    vn->eof = size;
    vn->epoch++;
    uvm_readahead_reset(&vn->ra);
}

void uvn_invalidate(struct uvm_object *uobj, uint64_t size)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    invalidate(uvm_vnode(uobj), size);
}

bool uvn_invalidate_seen(struct uvm_object *uobj, uint64_t seen, uint64_t size)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    if (uvm_vnode(uobj)->size != seen)
        return false;
    invalidate(uvm_vnode(uobj), size);
    return true;
}

const struct uvm_pagerops uvm_vnode_pagerops = {
    .name = "vnode",
    .pgo_init = uvn_init,
    .pgo_reference = uvn_reference,
    .pgo_detach = uvn_detach,
    .pgo_flush = uvn_pgflush,
    .pgo_get = uvn_get,
    .pgo_asyncget = uvn_asyncget,
    .pgo_dirtied = uvn_dirtied,
    .pgo_put = uvn_put,
    .pgo_putdone = uvn_settle,
    .pgo_cluster = uvn_cluster,
    .pgo_mk_pcluster = uvm_mk_pcluster,
    .pgo_shareprot = uvm_shareprot,
    .pgo_aiodone = uvm_pager_aiodone,
    .pgo_releasepg = uvn_releasepg,
};
