/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots of pages that are in memory too, given back when swap is nearly full.
 *
 *      free slots   0 ......... low ......... high ..............
 *                   |- begin ---|---- until here                    (only when pages are short, too)
 *
 * A page that has been read from swap keeps its slot: as long as it is clean it can be freed without a
 * write. With swap full that turns round: cold dirty pages cannot leave, because slots are spent on
 * pages that are in memory anyway, and what is in use has to turn over in what little room is left. So the
 * slots of active pages go: those are the ones that will not be freed soon. Inactive clean pages are
 * left alone: freeing them costs nothing, and is about to happen.
 *
 * Begun late, because each slot costs a write if its page does go out after all; and a stretch at a
 * time, so that page-out has runs of slots again and not single ones.
 */
#include "pdscan.h"

#include "object.h"
#include "pager/swap.h"
#include "stats.h"

#define SLOTS_LOW   (2 * UVM_CLUSTER_PAGES) /* but no more than a sixteenth of swap */
#define SLOTS_LOOKS 1024u                   /* pages looked at before the queues are let go */
#define SLOTS_ROUND (64 * SLOTS_LOOKS)      /* pages looked at in one call */
#define SLOTS_PAUSE 1000000000ull           /* ns, after a whole round that found nothing */

/* The pagedaemon's. */
static struct {
    bool on;            /* between low and high: giving back */
    uint32_t hand;      /* number of the page that is looked at next */
    uint64_t looked;    /* since a slot was found */
    uint64_t resume_ns; /* no more before then */
} ps;

void uvmpd_slots_init(void)
{
    ps.on = false;
    ps.hand = 0;
    ps.looked = 0;
    ps.resume_ns = 0;
}

/* How many slots are to be given back; keeps the hysteresis. */
static uint64_t wanted(void)
{
    uint64_t all = uvm_stat_get(swpages), used = uvm_stat_get(swpginuse) + uvm_stat_get(swpgbad);
    uint64_t low = MIN(all / 16, SLOTS_LOW), left = all > used ? all - used : 0;

    if (left < low)
        ps.on = true;
    else if (left >= 2 * low)
        ps.on = false;
    return ps.on ? 2 * low - left : 0;
}

/* Take the slot of a page, if it has one that it can do without. => queues locked; 0: none */
static uint32_t take_slot(struct vm_page *pg)
{
    /* A page on a queue stays in its object as long as the queues are locked. */
    if (!(pg->pqflags & PQ_ACTIVE) || pg->uobject->backed)
        return 0;
    struct uvm_object *uobj = pg->uobject;
    if (!uvm_lock_try(&uobj->lock)) /* against the order, so no more than a try */
        return 0;
    uint32_t slot = pg->swslot ? uvm_page_dropslot(pg) : 0;
    uvm_lock_release(&uobj->lock);
    return slot;
}

/* Look at the next pages, up to n of them, for as many as `want` slots. => how many went back */
static uint64_t look(uint32_t n, uint64_t want)
{
    uint64_t got = 0;

    UVM_LOCK_SCOPE(uvm_page_queue_lock());
    for (uint32_t i = 0; i < n && got < want; i++) {
        uint32_t slot = take_slot(uvm_page_at(ps.hand));
        ps.hand = ps.hand + 1 < uvm_page_count() ? ps.hand + 1 : 0;
        ps.looked++;
        if (!slot)
            continue;
        uvm_swap_free(slot, 1);
        got++;
        ps.looked = 0;
    }
    return got;
}

void uvmpd_reclaim_slots(void)
{
    uint64_t want = wanted();

    if (!want || uvm_now_ns() < ps.resume_ns)
        return;
    for (uint32_t at = 0; at < MIN(SLOTS_ROUND, uvm_page_count()) && want; at += SLOTS_LOOKS) {
        uint64_t got = look(SLOTS_LOOKS, want);
        uvm_stat_add(pdslots, got);
        want -= got;
        if (ps.looked >= uvm_page_count()) {
            ps.looked = 0;
            ps.resume_ns = uvm_now_ns() + SLOTS_PAUSE;
            return;
        }
    }
}
