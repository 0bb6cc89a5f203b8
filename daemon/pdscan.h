/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to pdaemon.c: the pages that go next.
 */
#ifndef UVMD_PDSCAN_H
#define UVMD_PDSCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "page.h"

/* What one scan brings: all BUSY and PAGEOUT (so counted as paging), of any objects. */
struct uvmpd_victims {
    struct vm_page *dirty[UVM_CLUSTER_PAGES]; /* to be written; without a slot */
    struct vm_page *clean[UVM_CLUSTER_PAGES]; /* only to be freed */
    struct vm_page *centre; /* dirty, of a backed object: to be written with what is around it */
    uint32_t ndirty, nclean;
};

/*
 * uvmpd_gather: balance the queues, and take victims until there are enough or no more.
 *
 * => need: how many pages are short: clean ones beyond that are not taken
 * => most: how many dirty ones, at most UVM_CLUSTER_PAGES; when there is one, the scan goes on for the
 *    rest of its cluster
 * => nowhere: there is no swap to write to: dirty anonymous pages become active again
 * => a dirty page of a backed object ends the scan, so that its neighbours are still free to join it
 * => both kinds are in the order of objects and pages: neighbours in the arena, and later on swap,
 *    come together
 * => locks: page queues, taken inside; objects, only tried: a page of one that is held is skipped.
 *    Allocates nothing (P6)
 */
void uvmpd_gather(struct uvmpd_victims *v, uint64_t need, uint32_t most, bool nowhere);

/* uvmpd_reclaim_slots: when swap is nearly full, give back slots of pages that are in memory too.
 * => on the pagedaemon's thread; no lock held; a bounded piece of the work */
void uvmpd_reclaim_slots(void);
void uvmpd_slots_init(void);

#endif
