/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The replacement policy: which pages are active, which inactive, and which page goes next.
 *
 *      unbusy --> [ active ] --balance--> [ inactive ] --victim--> pagedaemon --> evicted
 *         ^           ^                        |                                     |
 *      entered        +----- referenced -------+                                     v
 *         ^                                                              (object, page), if it
 *         +------------------- page-in, or written again ---------------  cares to remember it
 *
 * A policy owns the queues, its fields of struct vm_page, and what it remembers of pages that have
 * gone; it sees pages only through these calls, so the same file runs in a simulator (tests/sim). All
 * calls but init and fini are made with the page queue lock held; none allocates.
 *
 * What a policy sees of the clients is what their cache lets through. The kernel caches the files'
 * pages, and a hit there is heard of by nobody here: a page that comes in and is not asked for again
 * may be the hottest of all, or never be used again. So references are of two kinds:
 *
 *   - a WRITE (write(2), or the kernel writing back what was stored to a mapping) is enqueue(ACTIVE);
 *     the client cache still has the page then;
 *   - a READ of a clean page is enqueue(FIRST), also the one that it was paged in for: the client cache
 *     has it from now on, and as long as it does, the copy here is of no use. When a READ of the page
 *     comes once more, the client cache has lost it: only that is a hit, as a second-level cache knows
 *     them. A READ of a dirty page only sets its mark: it cannot be freed for nothing.
 */
#ifndef UVMD_POLICY_H
#define UVMD_POLICY_H

#include "page.h"

struct uvm_pdpolicy {
    const char *name;

    /* init: forget all pages; npages is how many there can be. => 0 or -ENOMEM */
    int (*init)(uint32_t npages);
    /* fini: give back what init has allocated; NULL: nothing. => may be called again, and before init */
    void (*fini)(void);

    /* entered: a page that was absent is there, and enqueue follows; its pqstate is 0. It may have been
     * evicted before. NULL: the policy does not want to know */
    void (*entered)(struct vm_page *pg, uint64_t object);

    /* evicted: a page is about to leave memory, and could come back; it is on no queue. Pages that are
     * freed because nobody can want them again are not. NULL: as above */
    void (*evicted)(struct vm_page *pg, uint64_t object);

    /* enqueue: a page that is on no queue becomes active or inactive. */
    void (*enqueue)(struct vm_page *pg, enum uvm_pageq where);

    /* dequeue: take a page off whatever queue it is on. */
    void (*dequeue)(struct vm_page *pg);

    /* balance: before a scan: see that there are inactive pages enough. */
    void (*balance)(void);

    /* scan_begin / scan_next: walk the victims in order; NULL ends the scan. A page returned is
     * still queued: the caller makes it busy, or says with scan_skip / scan_react why not. */
    void (*scan_begin)(void);
    struct vm_page *(*scan_next)(void);
    void (*scan_skip)(struct vm_page *pg);  /* could not be had now: behind the others */
    void (*scan_react)(struct vm_page *pg); /* cannot be written: active again */
};

extern const struct uvm_pdpolicy uvm_policy_clock;
extern const struct uvm_pdpolicy uvm_policy_s3fifo;

/* uvm_policies: all of them, the default one first; NULL ends the list. */
extern const struct uvm_pdpolicy *const uvm_policies[];

/* uvm_policy_find: => NULL: there is no such policy */
const struct uvm_pdpolicy *uvm_policy_find(const char *name);

/* uvm_policy: the policy in use. => set before uvm_page_init, and not while there are pages */
extern const struct uvm_pdpolicy *uvm_policy;

#endif
