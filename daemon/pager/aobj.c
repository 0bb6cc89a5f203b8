/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The anonymous object pager: memory that has no file, backed by swap.
 *
 *      get      resident | zero fill | swap-in, one read per run of neighbouring slots
 *      put      none: the pagedaemon gathers dirty pages of any objects into swap clusters
 *      flush    free, deactivate; there is nothing to clean to
 *
 * The pages that a get names are the ones wanted; which neighbours come along was decided by
 * whoever made them BUSY (fault.c), because only pages in the object can be filled.
 */
#include <assert.h>
#include <errno.h>

#include "../page_md.h"
#include "../reserve.h"
#include "../stats.h"
#include "getrun.h"
#include "pager.h"

struct uvm_object *uao_create(uint64_t id)
{
    return uvm_object_new(id, uvm_pager(UVM_PAGER_AOBJ));
}

static void uao_reference(struct uvm_object *uobj)
{
    atomic_fetch_add(&uobj->refs, 1);
}

/* What freeing a range gives back, handed over when the counting is done. */
struct uao_freed {
    struct vm_pagelist pages;
    uint64_t reserved;
    uint32_t slot, nslots; /* a run of slots not freed yet */
};

static void freed_slot(struct uao_freed *freed, uint32_t slot)
{
    if (freed->nslots && freed->slot + freed->nslots == slot) {
        freed->nslots++;
        return;
    }
    if (freed->nslots)
        uvm_swap_free(freed->slot, freed->nslots);
    freed->slot = slot;
    freed->nslots = 1;
}

static void freed_done(struct uao_freed *freed)
{
    if (freed->nslots)
        uvm_swap_free(freed->slot, freed->nslots);
    if (!TAILQ_EMPTY(&freed->pages))
        uvm_pageput(&freed->pages);
    if (freed->reserved)
        uvm_unreserve(freed->reserved);
}

/* Free one busy page whose arena memory is gone. => object locked; rest: EMPTY, or HOLE: fallocate has
 * promised the page since it was truncated, so it keeps its reservation */
static void uao_free_page(struct vm_page *pg, enum uvm_entry_tag rest, struct uao_freed *freed)
{
    if (pg->swslot)
        freed_slot(freed, pg->swslot);
    pg->swslot = 0;
    uvm_object_subpage(pg, rest);
    TAILQ_INSERT_TAIL(&freed->pages, pg, pageq);
    freed->reserved += rest == UVM_E_EMPTY;
}

/* Free the entries [first, last) of a leaf. => object locked */
static void uao_free_leaf(struct uvm_object *uobj, struct uvm_leaf *leaf, uint32_t first,
                          uint32_t last, struct uao_freed *freed)
{
    uint32_t base = leaf->index * UVM_WINDOW_PAGES, run = 0, window = leaf->window;

    /* First own what is resident, and give its memory back a run at a time. */
    for (uint32_t i = first; i <= last; i++) {
        struct vm_page *pg = i < last ? uvm_entry_page(leaf->entry[i]) : NULL;
        if (pg && (pg->flags & PG_BUSY)) {
            pg->flags |= PG_RELEASED;
            pg = NULL;
        }
        if (pg) {
            uvm_page_busy(pg, __func__);
            run++;
        } else if (run) {
            uvm_md->remove(window * UVM_WINDOW_PAGES + i - run, run);
            run = 0;
        }
    }
    for (uint32_t i = first; i < last; i++) {
        uvm_entry e = leaf->entry[i];
        struct vm_page *pg = uvm_entry_page(e);
        if (pg && (pg->flags & PG_RELEASED))
            continue;
        if (pg) {
            uao_free_page(pg, UVM_E_EMPTY, freed);
        } else if (uvm_entry_tag(e) != UVM_E_EMPTY) {
            if (uvm_entry_tag(e) == UVM_E_SLOT)
                freed_slot(freed, uvm_entry_value(e));
            uvm_entry_set(uobj, leaf, base + i, 0);
            freed->reserved++;
        }
    }
    uint64_t mask = (last - first == 64 ? ~0ull : ((1ull << (last - first)) - 1)) << first;
    uvm_delivered_clear(leaf, mask);
    leaf->revoking &= ~mask;
    leaf->allocated &= ~mask;
}

static bool uao_flush(struct uvm_object *uobj, uint32_t start, uint32_t stop, int flags)
{
    struct uao_freed freed = {.pages = TAILQ_HEAD_INITIALIZER(freed.pages)};
    struct uvm_leaf *leaf, *next;

    uvm_lock_assert_held(&uobj->lock);
    assert((flags & (PGO_FREE | PGO_DEACTIVATE)) != (PGO_FREE | PGO_DEACTIVATE));
    if (flags & PGO_ALLPAGES) {
        start = 0;
        stop = UVM_OBJECT_PAGES_MAX;
    }
    if (flags & PGO_DEACTIVATE)
        uvm_pager_deactivate(uobj, start, stop);
    if (!(flags & PGO_FREE))
        return true;
    for (leaf = uvm_leaf_next(uobj, start / UVM_WINDOW_PAGES); leaf; leaf = next) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= stop)
            break;
        uint32_t first = start > base ? start - base : 0;
        uint32_t last = MIN(stop - base, UVM_WINDOW_PAGES);
        next = uvm_leaf_next(uobj, leaf->index + 1);
        uao_free_leaf(uobj, leaf, first, last, &freed);
        uvm_leaf_prune(uobj, leaf);
    }
    freed_done(&freed);
    return true;
}

/* The object has no reference left: free it, or leave that to the last busy page. => unlocked */
static void uao_detach(struct uvm_object *uobj)
{
    if (!uvm_object_unref(uobj))
        return;
    uvm_lock_acquire(&uobj->lock);
    uao_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
    uobj->dying = true;
    bool gone = uobj->nresident == 0;
    uvm_lock_release(&uobj->lock);
    if (gone)
        uvm_object_free(uobj);
}

static bool uao_releasepg(struct vm_page *pg)
{
    struct uao_freed freed = {.pages = TAILQ_HEAD_INITIALIZER(freed.pages)};
    struct uvm_object *uobj = pg->uobject;

    uvm_lock_assert_held(&uobj->lock);
    assert((pg->flags & (PG_BUSY | PG_RELEASED)) == (PG_BUSY | PG_RELEASED));
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pg->pgno);
    bool promised = leaf->allocated >> pg->pgno % UVM_WINDOW_PAGES & 1;
    uvm_md->remove(pg->apage, 1);
    uao_free_page(pg, promised ? UVM_E_HOLE : UVM_E_EMPTY, &freed);
    uvm_leaf_prune(uobj, leaf);
    bool gone = uobj->dying && uobj->nresident == 0;
    if (gone)
        uvm_lock_release(&uobj->lock);
    freed_done(&freed);
    if (gone)
        uvm_object_free(uobj);
    return !gone;
}

/* LOCKED: what is here, or can be made from nothing. => object locked */
static int uao_get_locked(struct uvm_object *uobj, struct uvm_getreq *req, uint32_t *npages,
                          uint32_t centre)
{
    uint32_t got = 0;

    for (uint32_t i = 0; i < req->npages; i++) {
        if (req->pps[i])
            continue;
        struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, req->pgno + i);
        if (!leaf)
            continue;
        uvm_entry e = leaf->entry[(req->pgno + i) % UVM_WINDOW_PAGES];
        struct vm_page *pg = uvm_entry_page(e);
        if (pg && !(pg->flags & PG_BUSY)) {
            uvm_page_busy(pg, __func__);
        } else if (uvm_entry_tag(e) == UVM_E_HOLE) {
            struct vm_pagelist one = TAILQ_HEAD_INITIALIZER(one);
            if (!uvm_pagealloc(1, &one, 0, NULL))
                continue;
            pg = TAILQ_FIRST(&one);
            uvm_object_addpage(uobj, leaf, req->pgno + i, pg, __func__);
        } else {
            continue;
        }
        req->pps[i] = pg;
        got++;
    }
    *npages = got;
    return req->pps[centre] ? VM_PAGER_OK : VM_PAGER_UNLOCK;
}

static void get_run_done(struct uvm_swapio *sio)
{
    uvm_getrun_done(sio->arg, sio->page_error);
}

static void get_run_start(struct uvm_getrun *run)
{
    struct uvm_getreq *req = run->req;

    run->sio.done = get_run_done;
    run->sio.arg = run;
    run->sio.buf = run->kva;
    run->sio.slot = req->pps[run->first]->swslot;
    run->sio.nslots = run->npages;
    run->sio.write = false;
    atomic_fetch_add_explicit(&req->uobj->pageins, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&req->uobj->pgswapin, run->npages, memory_order_relaxed);
    uvm_swap_get(&run->sio, req->loop);
}

/* How many pages from i on have slots in a row? */
static uint32_t get_run_length(const struct uvm_getreq *req, uint32_t i)
{
    uint32_t n = 1;
    while (n < UVM_CLUSTER_PAGES && i + n < req->npages && req->pps[i + n] &&
           req->pps[i + n]->swslot == req->pps[i]->swslot + n)
        n++;
    return n;
}

static const struct uvm_getrun_ops get_run_ops = {
    .length = get_run_length,
    .start = get_run_start,
};

static int uao_get(struct uvm_object *uobj, struct uvm_getreq *req, uint32_t *npages,
                   uint32_t centre, int flags)
{
    uvm_lock_assert_held(&uobj->lock);
    if (flags & PGO_LOCKED)
        return uao_get_locked(uobj, req, npages, centre);
    uvm_lock_release(&uobj->lock);
    uvm_getrun_begin(req, &get_run_ops);
    return VM_PAGER_PEND;
}

/* Neighbours that were written together: those whose slots are in a row with pgno's. */
static void uao_cluster(struct uvm_object *uobj, uint32_t pgno, uint32_t *ret_lo, uint32_t *ret_hi)
{
    uvm_entry e = uvm_entry_get(uobj, pgno);

    *ret_lo = pgno;
    *ret_hi = pgno + 1;
    if (uvm_entry_tag(e) != UVM_E_SLOT)
        return;
    while (*ret_hi - pgno < UVM_CLUSTER_PAGES && *ret_hi < UVM_OBJECT_PAGES_MAX &&
           uvm_entry_get(uobj, *ret_hi) ==
               uvm_entry_make(UVM_E_SLOT, uvm_entry_value(e) + (*ret_hi - pgno)))
        (*ret_hi)++;
    while (*ret_lo > 0 && *ret_hi - *ret_lo < UVM_CLUSTER_PAGES &&
           uvm_entry_value(e) > pgno - *ret_lo + 1 &&
           uvm_entry_get(uobj, *ret_lo - 1) ==
               uvm_entry_make(UVM_E_SLOT, uvm_entry_value(e) - (pgno - *ret_lo + 1)))
        (*ret_lo)--;
}

const struct uvm_pagerops uvm_aobj_pagerops = {
    .name = "aobj",
    .pgo_reference = uao_reference,
    .pgo_detach = uao_detach,
    .pgo_flush = uao_flush,
    .pgo_get = uao_get,
    .pgo_cluster = uao_cluster,
    .pgo_shareprot = uvm_shareprot,
    .pgo_releasepg = uao_releasepg,
};
