/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Choosing victims: what the policy offers, taken as far as it can be had at once.
 *
 *      queues locked --> the policy's next page --> its object, try-locked --> BUSY|PAGEOUT
 *                           ^                          \_ not to be had: tried a few times, skipped
 *                           +--- until there are enough ---+
 *
 * The scan holds the queues all along and one object at a time, that of the last victim: neighbours
 * tend to come one after another.
 */
#include "pdscan.h"

#include <sched.h>

#include "object.h"
#include "pager/swap.h"
#include "pager/vnode.h"
#include "policy.h"
#include "stats.h"

/* How often an object is tried before its page is skipped: its holders are quick. */
#define UVMPD_TRIES 8

/*
 * Take one victim, if it can be had now. => queues and its object locked
 *
 * A clean page goes to clean[], a dirty one to dirty[] or, if it is a file's, becomes the centre; all
 * PAGEOUT: to be freed. A dirty page with nowhere to go becomes active again.
 */
static void take_victim(struct uvmpd_victims *v, struct vm_page *pg, bool nowhere)
{
    bool clean = (pg->flags & PG_CLEAN) && !uvm_md->is_modified(pg->apage);
    bool backed = pg->uobject->backed;

    if (!clean && (backed ? uvn_failing(pg->uobject) : nowhere)) {
        uvm_policy->scan_react(pg);
        return;
    }
    uvm_page_busy_queued(pg, __func__);
    pg->flags |= PG_PAGEOUT;
    uvm_stat_inc(paging);
    if (clean) {
        v->clean[v->nclean++] = pg;
        return;
    }
    /* What the pmap knows of stores is the mark's from now on: the protection takes it from the pmap. */
    uint32_t slot = uvm_page_dirty(pg);
    if (slot)
        uvm_swap_free(slot, 1);
    if (backed)
        v->centre = pg;
    else
        v->dirty[v->ndirty++] = pg;
}

/*
 * Lock a victim's object, if it is not locked already. => queues locked; false: not to be had
 *
 * Try-lock is all that the lock order allows. Who holds the object may be waiting for the queues,
 * so a second try is worth the while only after letting go of those.
 */
static bool lock_owner(struct uvm_object *uobj, struct uvm_object **locked)
{
    if (uobj == *locked)
        return true;
    if (*locked)
        uvm_lock_release(&(*locked)->lock);
    *locked = uvm_lock_try(&uobj->lock) ? uobj : NULL;
    return *locked != NULL;
}

static bool is_behind(const struct vm_page *x, const struct vm_page *y)
{
    if (x->uobject->id != y->uobject->id)
        return x->uobject->id > y->uobject->id;
    return x->pgno > y->pgno;
}

/* Sort pages by object and index. An insertion sort on what is mostly sorted; qsort may allocate. */
static void sort_pages(struct vm_page **pages, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        struct vm_page *pg = pages[i];
        uint32_t k = i;
        while (k > 0 && is_behind(pages[k - 1], pg)) {
            pages[k] = pages[k - 1];
            k--;
        }
        pages[k] = pg;
    }
}

void uvmpd_gather(struct uvmpd_victims *v, uint64_t need, uint32_t most, bool nowhere)
{
    unsigned tries = 0;
    struct uvm_object *locked = NULL;
    struct vm_page *pg;

    v->ndirty = v->nclean = 0;
    v->centre = NULL;
    uvm_lock_acquire(uvm_page_queue_lock());
    uvm_policy->balance();
    uvm_policy->scan_begin();
    while (!v->centre && v->ndirty < most && v->nclean < UVM_CLUSTER_PAGES &&
           (v->ndirty > 0 || v->nclean < need) && (pg = uvm_policy->scan_next())) {
        if (lock_owner(pg->uobject, &locked)) {
            take_victim(v, pg, nowhere);
            tries = 0;
        } else if (++tries < UVMPD_TRIES) {
            uvm_lock_release(uvm_page_queue_lock());
            sched_yield();
            uvm_lock_acquire(uvm_page_queue_lock()); /* the scan goes on with whoever is next now */
        } else {
            uvm_stat_inc(pdbusy);
            uvm_policy->scan_skip(pg);
            tries = 0;
        }
    }
    if (locked)
        uvm_lock_release(&locked->lock);
    uvm_lock_release(uvm_page_queue_lock());
    sort_pages(v->clean, v->nclean);
    sort_pages(v->dirty, v->ndirty);
}
