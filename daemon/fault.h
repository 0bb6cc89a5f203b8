/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-in: bring what is paged out of a range back into the arena.
 *
 *      SLOT entries --> pages in hand --> room in the --> BUSY|FAKE --> pgo_get --> pmap_enter
 *           ^                             pager map                        |            |
 *           +------------------- error: the slot keeps the bytes ----------+      unbusy, wake
 *
 * All the pages of one fault are taken at once, before any of them is made busy, so faults never
 * wait for each other's pages.
 *
 * What a fault may have to wait for comes in one order: free pages, then room in the pager map, and
 * BUSY last. What it waits for can then not depend on what it holds: a page that waited for room
 * BUSY would keep a loop asleep that copies from it, and with that loop the room of all its page-ins.
 * When it has its room it looks once more at what is on swap, and does not wait again: it takes what
 * it has pages for.
 */
#ifndef UVMD_FAULT_H
#define UVMD_FAULT_H

#include "pager/pager.h"

struct uvm_fault {
    /* the caller's */
    struct uvm_object *uobj; /* referenced by the caller until done */
    struct uvm_loop *loop;   /* this thread's */
    uint32_t pgno, npages;   /* the pages wanted, npages <= UVM_CLUSTER_PAGES + 1 */
    int pgaflags;            /* UVM_PGA_* */

    /* done: 0, or -errno when a wanted page could not be had. => loop's thread, no lock; may run
     * before uvm_fault_start returns; the fault is the caller's again
     * => 0 says that the caller should look again, not that every page is there: some may have gone
     *    meanwhile */
    void (*done)(struct uvm_fault *fault, int error);
    void *arg;

    /* the fault's own */
    bool ahead; /* for nobody: it gives up rather than wait */
    int error;
    uint64_t start_ns;
    uint32_t nhand;
    struct vm_pagelist hand;
    struct uvm_pagewait wait;
    struct uvm_pagermap_wait mapwait;
    struct uvm_getreq get; /* get.room: NULL until there is room; nothing is waited for after it */
};

/* uvm_fault_start: => no lock held */
void uvm_fault_start(struct uvm_fault *fault);

/*
 * uvm_fault_ahead: bring pages of a backed object in for nobody, as far as there is room for them now.
 *
 * => no lock held; loop: this thread's; the object is referenced by the caller, and by each page-in
 *    under way
 */
void uvm_fault_ahead(struct uvm_object *uobj, struct uvm_loop *loop, uint32_t pgno,
                     uint32_t npages);

#endif
