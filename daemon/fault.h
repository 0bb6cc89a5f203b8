/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-in: bring what is paged out of a range back into the arena.
 *
 *      SLOT entries --> pages in hand --> BUSY|FAKE --> pgo_get --> pager map --> pmap_enter
 *           ^                                                                        |
 *           +------------------ error: the slot keeps the bytes --------+      unbusy, wake
 *
 * All the pages of one fault are taken at once, before any of them is made busy, so faults never
 * wait for each other's pages.
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
     * before uvm_fault_start returns; the fault is the caller's again */
    void (*done)(struct uvm_fault *fault, int error);
    void *arg;

    /* the fault's own */
    int error;
    uint64_t start_ns;
    uint32_t nhand;
    struct vm_pagelist hand;
    struct uvm_pagewait wait;
    struct uvm_getreq get;
};

/* uvm_fault_start: => no lock held */
void uvm_fault_start(struct uvm_fault *fault);

#endif
