/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager map: a fixed, registered pool of I/O buffers, the only memory that transfers use.
 *
 *      [ run | run |      free      | run | ... | the pagedaemon's reserve ]
 *
 * A transfer maps in a run of contiguous pages of the pool and maps it out when it is done. When no
 * run is long enough the caller fails at once or waits its turn; waiters are served first come,
 * first served, and a wait cannot be missed: the decision to wait and the queueing are one step
 * under the lock. The last UVM_PAGERMAP_RESERVE pages can be had only by the pagedaemon, because page-out
 * is what ends every other shortage, and by the fault thread, which wants one page at a time: the
 * transfers that hold the rest may belong to a loop that sleeps on the very fault it resolves.
 *
 * The pool is populated and locked in memory at start: nothing here allocates or faults (P6).
 */
#ifndef UVMD_PAGER_PAGERMAP_H
#define UVMD_PAGER_PAGERMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../error.h"
#include "../loop.h"
#include "../util.h"

#define UVM_PAGERMAP_PAGES   2048u                    /* 8 MiB: eight full clusters */
#define UVM_PAGERMAP_RESERVE (2u * UVM_CLUSTER_PAGES) /* two clusters being written, always */

enum {
    UVMPAGER_MAPIN_WAITOK = 1,  /* queue the waiter when the map is full */
    UVMPAGER_MAPIN_RESERVE = 2, /* may dip into the reserve */
};

/* A request for a run that may have to wait. */
struct uvm_pagermap_wait {
    struct uvm_work work; /* work.fn is called on loop with kva set */
    struct uvm_loop *loop;
    uint32_t npages;
    void *kva; /* out: the run; the waiter owns it */
    TAILQ_ENTRY(uvm_pagermap_wait) link;
};

/* uvm_pagermap_init: => 0, or -errno with err filled in */
int uvm_pagermap_init(struct uvm_error *err);
void uvm_pagermap_fini(void);

/* The whole pool, for registration with a loop. */
void *uvm_pagermap_base(void);
size_t uvm_pagermap_size(void);

/*
 * uvm_pagermapin: get a run of npages contiguous pages of the pool.
 *
 * => npages: 1 .. UVM_CLUSTER_PAGES
 * => without WAITOK: the run, or NULL at once
 * => with WAITOK: the run, or NULL and wait (its work.fn and loop filled in by the caller) is
 *    queued; the run then comes with work.fn. Nobody overtakes a waiter, except with RESERVE
 * => locks: pager map, taken inside
 */
void *uvm_pagermapin(uint32_t npages, int flags, struct uvm_pagermap_wait *wait);

/* uvm_pagermapout: give a run back, and runs to waiters. */
void uvm_pagermapout(void *kva, uint32_t npages);

/* uvm_pagermap_free_pages: pages not mapped in (for tests and status). */
uint32_t uvm_pagermap_free_pages(void);

#endif
