/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvm_mk_pcluster: the neighbours of a dirty page that may as well be written with it.
 *
 *      lo            back <---- centre ----> forward            hi
 *      |  . . clean | d  d  d  d   C   d  d  d | busy . . . .   |
 *                     `-------- cluster -------'
 */
#include "pager.h"

#include <assert.h>
#include <string.h>

#include "../page_md.h"
#include "../policy.h"

/* May the page at pgno join? => object and queues locked */
static struct vm_page *joins(struct uvm_object *uobj, uint32_t pgno, int flags)
{
    struct vm_page *pg = uvm_entry_page(uvm_entry_get(uobj, pgno));

    if (!pg || (pg->flags & PG_BUSY) || pg->wire_count)
        return NULL;
    if (!(flags & PGO_DOACTCLUST) && !(pg->pqflags & PQ_INACTIVE))
        return NULL;
    /* The mark says what the pager knows, the pmap what has been stored since. */
    if ((pg->flags & PG_CLEAN) && !uvm_md->is_modified(pg->apage))
        return NULL;
    return pg;
}

/* The page joins. What the pmap knows of stores to it is from now on the mark's: the protection takes
 * it from the pmap. => object and queues locked */
static void join(struct vm_page *pg)
{
    uvm_page_busy_queued(pg, __func__);
    uint32_t slot = uvm_page_dirty(pg);
    if (slot)
        uvm_swap_free(slot, 1);
}

void uvm_pager_protect(struct vm_page **pps, uint32_t n)
{
    for (uint32_t i = 0, run; i < n; i += run) {
        run = 1;
        while (i + run < n && pps[i + run]->apage == pps[i]->apage + run)
            run++;
        uvm_md->clear_modify(pps[i]->apage, run);
    }
}

uint32_t uvm_mk_pcluster(struct uvm_object *uobj, struct vm_page **pps, uint32_t npps,
                         struct vm_page *centre, int flags, uint32_t lo, uint32_t hi)
{
    struct vm_page *pg;
    uint32_t n = 0, nback;

    uvm_lock_assert_held(&uobj->lock);
    assert(centre->flags & PG_BUSY);
    assert(lo <= centre->pgno && centre->pgno < hi && npps > 0);
    if (hi - lo > npps) {
        pps[0] = centre;
        return 1;
    }
    {
        UVM_LOCK_SCOPE(uvm_page_queue_lock());
        for (uint32_t at = centre->pgno; at > lo; at--) {
            pg = joins(uobj, at - 1, flags);
            if (!pg)
                break;
            join(pg);
            pps[n++] = pg;
        }
        for (uint32_t i = 0; i < n / 2; i++) { /* the back was gathered nearest first */
            pg = pps[i];
            pps[i] = pps[n - 1 - i];
            pps[n - 1 - i] = pg;
        }
        nback = n;
        pps[n++] = centre;
        for (uint32_t at = centre->pgno + 1; at < hi; at++) {
            pg = joins(uobj, at, flags);
            if (!pg)
                break;
            join(pg);
            pps[n++] = pg;
        }
    }
    uvm_pager_protect(pps, nback);
    uvm_pager_protect(pps + nback + 1, n - nback - 1);
    return n;
}
