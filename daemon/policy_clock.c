/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clock replacement, as UVM's pagedaemon has it: two queues and a reference mark.
 *
 * A page that is used goes to the tail of the active queue. The balance moves pages from the active
 * head to the inactive tail and clears their mark; a page that was used again before it reaches the
 * inactive head goes back to the active tail (a reactivation), any other is the victim.
 */
#include "policy.h"

#include <assert.h>

#include "stats.h"

static struct {
    struct vm_pagelist active;   /* (Q) oldest first */
    struct vm_pagelist inactive; /* (Q) next victim first */
    uint64_t nactive, ninactive; /* (Q) */
    uint64_t left;               /* (Q) victims this scan may still look at */
} clk;

static void clock_count(void)
{
    uvm_stat_set(active, clk.nactive);
    uvm_stat_set(inactive, clk.ninactive);
}

static int clock_init(uint32_t npages)
{
    TAILQ_INIT(&clk.active);
    TAILQ_INIT(&clk.inactive);
    clk.nactive = clk.ninactive = clk.left = 0;
    clock_count();
    return 0;
}

static void clock_enqueue(struct vm_page *pg, enum uvm_pageq where)
{
    assert(!pg->pqflags);
    if (where == UVM_Q_ACTIVE) {
        pg->pqflags = PQ_ACTIVE;
        TAILQ_INSERT_TAIL(&clk.active, pg, pageq);
        clk.nactive++;
    } else {
        __atomic_store_n(&pg->referenced, 0, __ATOMIC_RELAXED);
        pg->pqflags = PQ_INACTIVE;
        if (where == UVM_Q_FIRST)
            TAILQ_INSERT_HEAD(&clk.inactive, pg, pageq);
        else
            TAILQ_INSERT_TAIL(&clk.inactive, pg, pageq);
        clk.ninactive++;
    }
    clock_count();
}

static void clock_dequeue(struct vm_page *pg)
{
    if (pg->pqflags & PQ_ACTIVE) {
        TAILQ_REMOVE(&clk.active, pg, pageq);
        clk.nactive--;
    } else if (pg->pqflags & PQ_INACTIVE) {
        TAILQ_REMOVE(&clk.inactive, pg, pageq);
        clk.ninactive--;
    }
    pg->pqflags = 0;
    clock_count();
}

static void clock_balance(void)
{
    uint64_t target = (clk.nactive + clk.ninactive) / 3;
    if (target <= uvm_stat_get(freetarg))
        target = uvm_stat_get(freetarg) + 1;
    uvm_stat_set(inactarg, target);

    uint64_t look = clk.nactive;
    while (clk.ninactive < target && look-- > 0) {
        struct vm_page *pg = TAILQ_FIRST(&clk.active);
        clock_dequeue(pg);
        clock_enqueue(pg, UVM_Q_INACTIVE);
        uvm_stat_inc(pddeact);
    }
}

static void clock_scan_begin(void)
{
    clk.left = clk.ninactive;
}

static struct vm_page *clock_scan_next(void)
{
    while (clk.left > 0) {
        struct vm_page *pg = TAILQ_FIRST(&clk.inactive);
        if (!pg)
            break;
        clk.left--;
        uvm_stat_inc(pdscans);
        if (!__atomic_load_n(&pg->referenced, __ATOMIC_RELAXED))
            return pg;
        __atomic_store_n(&pg->referenced, 0, __ATOMIC_RELAXED);
        clock_dequeue(pg);
        clock_enqueue(pg, UVM_Q_ACTIVE);
        uvm_stat_inc(pdreact);
    }
    return NULL;
}

static void clock_scan_skip(struct vm_page *pg)
{
    clock_dequeue(pg);
    clock_enqueue(pg, UVM_Q_INACTIVE);
}

static void clock_scan_react(struct vm_page *pg)
{
    clock_dequeue(pg);
    clock_enqueue(pg, UVM_Q_ACTIVE);
    uvm_stat_inc(pdreact);
}

const struct uvm_pdpolicy uvm_policy_clock = {
    .name = "clock",
    .init = clock_init,
    .enqueue = clock_enqueue,
    .dequeue = clock_dequeue,
    .balance = clock_balance,
    .scan_begin = clock_scan_begin,
    .scan_next = clock_scan_next,
    .scan_skip = clock_scan_skip,
    .scan_react = clock_scan_react,
};
