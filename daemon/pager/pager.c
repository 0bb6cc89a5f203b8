/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The generic half of page-out: writing a cluster and disposing of it.
 *
 *      uvm_pager_put --> pgo_put (an object's cluster) or swap (a cluster of anonymous pages)
 *                             |
 *                        completion --ok--> dropcluster(PDFREECLUST)
 *                             |
 *                           error --> each page alone: ok    --> dropcluster(PDFREECLUST)
 *                                                      error --> slot bad, dropcluster(REALLOCSWAP)
 *
 * The bytes are copied into the pager map once, before the first attempt; a retry writes the same
 * copy, so nothing is mapped in or allocated again.
 */
#include "pager.h"

#include <assert.h>
#include <string.h>

#include "../page_md.h"
#include "../stats.h"

static const struct uvm_pagerops *const pagers[UVM_PAGER_KINDS] = {
    [UVM_PAGER_AOBJ] = &uvm_aobj_pagerops,
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

/* Give back the memory of the PAGEOUT pages, one call a run of neighbours. */
static void remove_written(struct vm_page **pps, uint32_t npages, const struct vm_page *keep)
{
    uint32_t i = 0;
    while (i < npages) {
        if (pps[i] == keep || !(pps[i]->flags & PG_PAGEOUT)) {
            i++;
            continue;
        }
        uint32_t n = 1;
        while (i + n < npages && pps[i + n] != keep && (pps[i + n]->flags & PG_PAGEOUT) &&
               pps[i + n]->apage == pps[i]->apage + n)
            n++;
        uvm_md->remove(pps[i]->apage, n);
        i += n;
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
        return uvm_page_letgo(pg, UVM_Q_INACTIVE);
    uvm_object_subpage(pg, UVM_E_EMPTY);
    TAILQ_INSERT_TAIL(freed, pg, pageq);
    uvm_stat_inc(pdfreed);
    return true;
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
                uvm_lock_release(&locked->lock);
            locked = pg->uobject;
            uvm_lock_acquire(&locked->lock);
        }
        if (!drop_page(pg, flags, &freed))
            locked = NULL;
    }
    if (locked)
        uvm_lock_release(&locked->lock);
    uvm_pageput(&freed);
}

static void put_finish(struct uvm_cluster *cl)
{
    uvm_pagermapout(cl->kva, cl->npages);
    cl->kva = NULL;
    cl->done(cl, cl->nok);
}

static void put_one(struct uvm_cluster *cl);

static void put_one_done(struct uvm_swapio *sio)
{
    struct uvm_cluster *cl = sio->arg;
    struct vm_page **pg = &cl->pps[cl->at];

    if (sio->error) {
        struct uvm_object *uobj = (*pg)->uobject;
        uvm_lock_acquire(&uobj->lock);
        uint32_t slot = uvm_page_dirty(*pg);
        uvm_lock_release(&uobj->lock);
        if (slot)
            uvm_swap_markbad(slot, 1);
        uvm_pager_dropcluster(pg, 1, NULL, PGO_REALLOCSWAP);
    } else {
        cl->nok++;
        uvm_pager_dropcluster(pg, 1, NULL, cl->flags & PGO_PDFREECLUST);
    }
    cl->at++;
    put_one(cl);
}

/* The retry: page `at` alone, in its own slot. */
static void put_one(struct uvm_cluster *cl)
{
    if (cl->at == cl->npages) {
        put_finish(cl);
        return;
    }
    cl->sio.buf = (char *)cl->kva + uvm_ptoa(cl->at);
    cl->sio.slot = cl->swslot + cl->at;
    cl->sio.nslots = 1;
    cl->sio.done = put_one_done;
    uvm_swap_put(&cl->sio, cl->loop, &cl->owner[cl->at]);
}

static void put_done(struct uvm_swapio *sio)
{
    struct uvm_cluster *cl = sio->arg;

    if (sio->error) {
        cl->at = 0;
        put_one(cl);
        return;
    }
    cl->nok = cl->npages;
    uvm_pager_dropcluster(cl->pps, cl->npages, NULL, cl->flags & PGO_PDFREECLUST);
    put_finish(cl);
}

int uvm_pager_put(struct uvm_cluster *cl)
{
    uvm_lock_assert_none();
    assert(cl->npages > 0 && cl->npages <= UVM_CLUSTER_PAGES);
    cl->nok = 0;
    cl->at = 0;
    if (cl->uobj)
        return cl->uobj->pgops->pgo_put(cl->uobj, cl);

    cl->kva = uvm_pagermapin(cl->npages, UVMPAGER_MAPIN_RESERVE, NULL);
    if (!cl->kva)
        return VM_PAGER_AGAIN;
    for (uint32_t i = 0; i < cl->npages; i++) {
        struct vm_page *pg = cl->pps[i];
        memcpy((char *)cl->kva + uvm_ptoa(i), uvm_md->kva(pg->apage), UVM_PAGE_SIZE);
        cl->owner[i] = (struct uvm_slotowner){.object = pg->uobject->id, .pgno = pg->pgno};
    }
    cl->sio = (struct uvm_swapio){
        .done = put_done,
        .arg = cl,
        .buf = cl->kva,
        .slot = cl->swslot,
        .nslots = cl->npages,
        .write = true,
    };
    uvm_swap_put(&cl->sio, cl->loop, cl->owner);
    return VM_PAGER_PEND;
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
