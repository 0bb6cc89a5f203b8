/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The generic half of page-out: writing a cluster and disposing of it.
 *
 *      uvm_pager_put --> pgo_put (an object's cluster) or swap (a cluster of anonymous pages)
 *                             |
 *             uvm_pager_aiodone --ok--> dropcluster(PDFREECLUST)
 *                             |
 *                           error --> each page alone: ok    --> dropcluster(PDFREECLUST)
 *                                                      error --> slot bad, dropcluster(REALLOCSWAP)
 *
 * The bytes are copied into the pager map once, before the first attempt; a retry writes the same
 * copy, so nothing is mapped in or allocated again.
 *
 * An object's own cluster holds no reference to the object: its BUSY pages keep it. So the object is
 * not touched once they have been let go.
 */
#include "pager.h"

#include <assert.h>
#include <string.h>

#include "../page_md.h"
#include "../policy.h"
#include "../stats.h"
#include "../trace.h"
#include "device.h"

static const struct uvm_pagerops *const pagers[UVM_PAGER_KINDS] = {
    [UVM_PAGER_AOBJ] = &uvm_aobj_pagerops,
    [UVM_PAGER_DEVICE] = &uvm_device_pagerops,
    [UVM_PAGER_VNODE] = &uvm_vnode_pagerops,
};

void uvm_pager_init(void)
{
    for (unsigned i = 0; i < UVM_PAGER_KINDS; i++)
        if (pagers[i] && pagers[i]->pgo_init)
            pagers[i]->pgo_init();
}

const struct uvm_pagerops *uvm_pager(enum uvm_pager_kind kind)
{
    return pagers[kind];
}

bool uvm_page_letgo(struct vm_page *pg, enum uvm_pageq where)
{
    struct uvm_object *uobj = pg->uobject;
    uint32_t pgno = pg->pgno;

    if (pg->flags & PG_RELEASED)
        return uobj->pgops->pgo_releasepg(pg);
    if (uvm_page_unbusy(pg, where))
        uvm_object_wakeup(uobj, pgno, 1);
    return true;
}

/* Which pages of a cluster are to be freed? A mark that only their owner changes, but it shares a word
 * with others that those who wait for a page set. => no lock; bit i of ret: page i */
static void note_pageout(struct vm_page **pps, uint32_t npages, const struct vm_page *keep,
                         uint64_t ret[UVM_CLUSTER_PAGES / 64])
{
    struct uvm_object *locked = NULL;

    memset(ret, 0, UVM_CLUSTER_PAGES / 8);
    for (uint32_t i = 0; i < npages; i++) {
        if (pps[i] == keep)
            continue;
        if (pps[i]->uobject != locked) {
            if (locked)
                uvm_lock_release(&locked->lock);
            locked = pps[i]->uobject;
            uvm_lock_acquire(&locked->lock);
        }
        if (pps[i]->flags & PG_PAGEOUT)
            ret[i / 64] |= 1ull << i % 64;
    }
    if (locked)
        uvm_lock_release(&locked->lock);
}

/* Give back the memory of the PAGEOUT pages, one call a run of neighbours. */
static void remove_written(struct vm_page **pps, uint32_t npages, const struct vm_page *keep)
{
    uint64_t pageout[UVM_CLUSTER_PAGES / 64];

    note_pageout(pps, npages, keep, pageout);
    for (uint32_t i = 0, n; i < npages; i += n) {
        n = 1;
        if (!(pageout[i / 64] >> i % 64 & 1))
            continue;
        while (i + n < npages && (pageout[(i + n) / 64] >> (i + n) % 64 & 1) &&
               pps[i + n]->apage == pps[i]->apage + n)
            n++;
        uvm_md->remove(pps[i]->apage, n);
    }
}

/* Let go of one page of a cluster. => its object locked; false: the object is gone */
static bool drop_page(struct vm_page *pg, int flags, struct vm_pagelist *freed)
{
    bool pageout = pg->flags & PG_PAGEOUT, dirty = !(pg->flags & PG_CLEAN);

    if (pageout)
        uvm_stat_sub(paging, 1);
    pg->flags &= (uint16_t)~PG_PAGEOUT;
    if (pg->flags & PG_RELEASED)
        return pg->uobject->pgops->pgo_releasepg(pg);
    if (flags & PGO_REALLOCSWAP) {
        uint32_t slot = uvm_page_dirty(pg);
        if (slot)
            uvm_swap_free(slot, 1);
        return uvm_page_letgo(pg, UVM_Q_ACTIVE);
    }
    if (!(flags & PGO_PDFREECLUST))
        return uvm_page_letgo(pg, UVM_Q_ACTIVE);
    uvm_page_cleaned(pg);
    if (dirty)
        atomic_fetch_add_explicit(&pg->uobject->pgswapout, 1, memory_order_relaxed);
    if (!pageout)
        return uvm_page_letgo(pg, UVM_Q_CLEANED);
    struct uvm_object *uobj = pg->uobject;
    uvm_page_evicted(pg);
    uvm_trace(uobj->id, pg->pgno, 1, UVM_TRACE_EVICT);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pg->pgno);
    uvm_object_subpage(pg, UVM_E_EMPTY);
    TAILQ_INSERT_TAIL(freed, pg, pageq);
    uvm_stat_inc(pdfreed);
    /* Of a file that is read once from end to end, nothing stays; but what clients hold is known. */
    if (uobj->backed && !leaf->delivered)
        uvm_leaf_prune(uobj, leaf);
    return true;
}

/* Pages of an object have been let go. => object locked, unlocked on return */
static void drop_done(struct uvm_object *uobj)
{
    if (uobj->pgops->pgo_putdone)
        uobj->pgops->pgo_putdone(uobj);
    else
        uvm_lock_release(&uobj->lock);
}

void uvm_pager_dropcluster(struct vm_page **pps, uint32_t npages, struct vm_page *keep, int flags)
{
    struct vm_pagelist freed = TAILQ_HEAD_INITIALIZER(freed);
    struct uvm_object *locked = NULL;

    if (flags & PGO_PDFREECLUST)
        remove_written(pps, npages, keep);
    for (uint32_t i = 0; i < npages; i++) {
        struct vm_page *pg = pps[i];
        if (pg == keep)
            continue;
        if (pg->uobject != locked) {
            if (locked)
                drop_done(locked);
            locked = pg->uobject;
            uvm_lock_acquire(&locked->lock);
        }
        if (!drop_page(pg, flags, &freed))
            locked = NULL;
    }
    if (locked)
        drop_done(locked);
    uvm_pageput(&freed);
}

/* The flags with which pages that have been written are dropped. */
static int put_dropflags(const struct uvm_cluster *cl)
{
    return cl->uobj ? PGO_PDFREECLUST : cl->flags & PGO_PDFREECLUST;
}

static void put_finish(struct uvm_cluster *cl)
{
    if (!cl->room)
        uvm_pagermapout(cl->kva, cl->npages);
    cl->kva = NULL;
    cl->done(cl, cl->nok);
}

static void put_swap_done(struct uvm_swapio *sio)
{
    uvm_pager_aiodone(sio->arg, sio->error);
}

/* Start the transfer of n pages from at on. => VM_PAGER_PEND, or what pgo_put has against it */
static int put_start(struct uvm_cluster *cl, uint32_t at, uint32_t n)
{
    cl->at = at;
    cl->len = n;
    if (cl->uobj)
        return cl->uobj->pgops->pgo_put(cl->uobj, cl);
    cl->sio = (struct uvm_swapio){
        .done = put_swap_done,
        .arg = cl,
        .buf = (char *)cl->kva + uvm_ptoa(at),
        .slot = cl->swslot + at,
        .nslots = n,
        .write = true,
    };
    uvm_swap_put(&cl->sio, cl->loop, &cl->owner[at]);
    return VM_PAGER_PEND;
}

/* A page that could not be written on its own: it stays, and stays dirty. */
static void put_failed(struct uvm_cluster *cl, struct vm_page **pg)
{
    if (!cl->uobj) {
        struct uvm_object *uobj = (*pg)->uobject;
        uvm_lock_acquire(&uobj->lock);
        uint32_t slot = uvm_page_dirty(*pg);
        uvm_lock_release(&uobj->lock);
        if (slot)
            uvm_swap_markbad(slot, 1);
    }
    uvm_pager_dropcluster(pg, 1, NULL, PGO_REALLOCSWAP);
}

/* The retry, page by page, from `at` on. */
static void put_retry(struct uvm_cluster *cl, uint32_t at)
{
    cl->retrying = true;
    for (; at < cl->npages; at++) {
        if (put_start(cl, at, 1) == VM_PAGER_PEND)
            return;
        put_failed(cl, &cl->pps[at]);
    }
    put_finish(cl);
}

void uvm_pager_aiodone(struct uvm_cluster *cl, int error)
{
    if (error)
        cl->error = error;
    if (error && !cl->retrying) {
        put_retry(cl, 0);
        return;
    }
    if (error) {
        put_failed(cl, &cl->pps[cl->at]);
    } else {
        cl->nok += cl->len;
        uvm_pager_dropcluster(&cl->pps[cl->at], cl->len, NULL, put_dropflags(cl));
    }
    if (cl->retrying)
        put_retry(cl, cl->at + 1);
    else
        put_finish(cl);
}

int uvm_pager_put(struct uvm_cluster *cl)
{
    uvm_lock_assert_none();
    assert(cl->npages > 0 && cl->npages <= UVM_CLUSTER_PAGES);
    cl->nok = 0;
    cl->error = 0;
    cl->retrying = false;
    cl->kva = cl->room ? cl->room : uvm_pagermapin(cl->npages, UVMPAGER_MAPIN_RESERVE, NULL);
    if (!cl->kva)
        return VM_PAGER_AGAIN;
    for (uint32_t i = 0; i < cl->npages; i++) {
        struct vm_page *pg = cl->pps[i];
        assert(!cl->uobj || (pg->uobject == cl->uobj && pg->pgno == cl->pps[0]->pgno + i));
        memcpy((char *)cl->kva + uvm_ptoa(i), uvm_md->kva(pg->apage), UVM_PAGE_SIZE);
        cl->owner[i] = (struct uvm_slotowner){.object = pg->uobject->id, .pgno = pg->pgno};
    }
    int rc = put_start(cl, 0, cl->npages);
    if (rc != VM_PAGER_PEND && !cl->room)
        uvm_pagermapout(cl->kva, cl->npages);
    return rc;
}

void uvm_pager_deactivate(struct uvm_object *uobj, uint32_t start, uint32_t stop)
{
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, start / UVM_WINDOW_PAGES);

    UVM_LOCK_SCOPE(uvm_page_queue_lock());
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= stop)
            return;
        uint32_t last = MIN(stop - base, UVM_WINDOW_PAGES);
        for (uint32_t i = start > base ? start - base : 0; i < last; i++) {
            struct vm_page *pg = uvm_entry_page(leaf->entry[i]);
            if (pg && (pg->pqflags & PQ_ACTIVE)) {
                uvm_policy->dequeue(pg);
                uvm_policy->enqueue(pg, UVM_Q_INACTIVE);
                uvm_stat_inc(pddeact);
            }
        }
    }
}

void uvm_shareprot(struct uvm_object *uobj, uint32_t start, uint32_t stop, int prot)
{
    uvm_lock_assert_held(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, start / UVM_WINDOW_PAGES);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= stop)
            return;
        uint32_t run = 0;
        for (uint32_t i = 0; i <= UVM_WINDOW_PAGES; i++) {
            struct vm_page *pg = i < UVM_WINDOW_PAGES ? uvm_entry_page(leaf->entry[i]) : NULL;
            if (pg && !(pg->flags & PG_BUSY) && base + i >= start && base + i < stop) {
                run++;
            } else if (run) {
                uvm_md->page_protect(leaf->window * UVM_WINDOW_PAGES + i - run, run, prot);
                run = 0;
            }
        }
    }
}
