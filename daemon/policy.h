/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The replacement policy: which pages are active, which inactive, and which inactive page goes
 * next.
 *
 *      unbusy --> [ active ] --balance--> [ inactive ] --victim--> pagedaemon
 *                     ^                        |
 *                     +----- referenced -------+
 *
 * A policy owns the queues and nothing else; it sees pages only through these calls, so the same
 * file can run in a simulator. All calls are made with the page queue lock held.
 */
#ifndef UVMD_POLICY_H
#define UVMD_POLICY_H

#include "page.h"

struct uvm_pdpolicy {
    const char *name;

    /* init: forget all pages; npages is how many there can be. */
    void (*init)(uint32_t npages);

    /* enqueue: a page that is on no queue becomes active or inactive. */
    void (*enqueue)(struct vm_page *pg, enum uvm_pageq where);

    /* dequeue: take a page off whatever queue it is on. */
    void (*dequeue)(struct vm_page *pg);

    /* balance: deactivate active pages until there are inactarg inactive ones, or no more to take.
     */
    void (*balance)(void);

    /* scan_begin / scan_next: walk the victims in order; NULL ends the scan. A page returned is
     * still queued: the caller makes it busy, or says with scan_skip / scan_react why not. */
    void (*scan_begin)(void);
    struct vm_page *(*scan_next)(void);
    void (*scan_skip)(struct vm_page *pg);  /* could not be had now: behind the others */
    void (*scan_react)(struct vm_page *pg); /* cannot be written: active again */
};

extern const struct uvm_pdpolicy uvm_policy_clock;

/* uvm_policy: the policy in use. */
extern const struct uvm_pdpolicy *uvm_policy;

#endif
