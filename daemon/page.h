/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Physical pages. There is one struct vm_page for every page that memory= allows.
 *
 * A page has one of these identities:
 *
 *      free       on the free list
 *      in hand    taken from the free list by a request, not yet part of an object
 *      busy       part of an object and owned by one thread or one transfer (PG_BUSY), on no queue
 *      resident   part of an object, valid, on a queue (or wired), owned by nobody
 *
 * and these are all its transitions, each with the one function that makes it:
 *
 *      free     -> in hand    uvm_pagealloc
 *      in hand  -> free       uvm_pageput
 *      in hand  -> busy       uvm_page_insert     (FAKE: no valid data yet)
 *      busy     -> busy       uvm_page_filled     (FAKE goes)
 *      busy     -> resident   uvm_page_unbusy     (never FAKE, never RELEASED)
 *      resident -> busy       uvm_page_busy
 *      busy     -> in hand    uvm_page_remove     (leaves its object; then uvm_pageput)
 *
 * Field locks:  (!) fixed  (O) the object's lock  (Q) the page queue lock  (F) the free list lock
 *               (a) atomic hint. While a page is busy, (O) fields that only its owner changes may
 * be read by the owner without the lock: apage, pgno, uobject, swslot.
 */
#ifndef UVMD_PAGE_H
#define UVMD_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "error.h"
#include "lock.h"
#include "loop.h"
#include "page_md.h"
#include "util.h"

struct uvm_object;

enum {                     /* flags (O) */
       PG_BUSY = 0x01,     /* one owner: I/O or a transition */
       PG_WANTED = 0x02,   /* somebody waits for the page to stop being busy */
       PG_RELEASED = 0x04, /* free it as soon as it is not busy: the object has no use for it */
       PG_CLEAN = 0x08,    /* the backing store (swslot) holds the same bytes */
       PG_FAKE = 0x10,     /* no valid data yet */
       PG_PAGEOUT = 0x20,  /* being written; free it when the write succeeds */
};

enum { /* pqflags (Q) */
       PQ_FREE = 1,
       PQ_ACTIVE = 2,
       PQ_INACTIVE = 4,
};

/* Where a page goes when it stops being busy. */
enum uvm_pageq {
    UVM_Q_ACTIVE,   /* in use */
    UVM_Q_INACTIVE, /* behind the other inactive pages */
    UVM_Q_FIRST,    /* first in line to be freed: clean, and the client cache has it */
    UVM_Q_CLEANED,  /* inactive, too, where a policy knows no better: written out, used by nobody */
};

struct vm_page {
    TAILQ_ENTRY(vm_page) pageq; /* (Q), or (F) while free, or the holder's while in hand */
    struct uvm_object *uobject; /* (O) NULL: free or in hand */
    uint32_t pgno;              /* (O) page index within the object */
    uint32_t apage;             /* (O) where it is in the arena */
    uint32_t swslot;            /* (O) slot with the same (CLEAN) or with older bytes, 0 none */
    uint16_t flags;             /* (O) PG_* */
    uint16_t wire_count;        /* (O) > 0: on no queue even when resident */
    uint8_t pqflags;            /* (Q) PQ_* */
    _Atomic uint8_t referenced; /* (a) used since the policy last looked */
    uint8_t pqstate;            /* (Q) the policy's own; 0: it has not met the page yet */
    uint32_t pqstamp;           /* (Q) the policy's own */
    const char *owner;          /* (O) function that made it busy, for debuggers */
};

TAILQ_HEAD(vm_pagelist, vm_page);

/* Pages that only the fault thread may take: it resolves faults that others sleep on (P9). */
#define UVM_PAGE_RESERVE 32u

#define UVM_PGA_USERESERVE 1

/* A request for pages that may have to wait. */
struct uvm_pagewait {
    struct uvm_work work; /* called on loop when the pages are in list */
    struct uvm_loop *loop;
    uint32_t npages;
    struct vm_pagelist list; /* out: the pages, in hand of the waiter */
    bool failed;             /* out: there are none, and none will come */
    bool reserve;            /* the free list's own: asked with USERESERVE */
    TAILQ_ENTRY(uvm_pagewait) link;
};

/* uvm_page_init: npages free pages. => 0, or -errno with err filled in */
int uvm_page_init(uint32_t npages, struct uvm_error *err);
void uvm_page_fini(void);

uint32_t uvm_page_count(void);
uint32_t uvm_page_number(const struct vm_page *pg);
struct vm_page *uvm_page_at(uint32_t number);

/* uvm_page_kick: what to call when free pages run short (the pagedaemon). => set once at start */
void uvm_page_set_kick(void (*kick)(void));

/*
 * uvm_pagealloc: take n free pages, all or none.
 *
 * => into *list, in hand; true
 * => false: not enough. With wait, it is queued (work.fn, loop filled in by the caller) and the
 *    pages come with work.fn; nobody without USERESERVE overtakes a waiter, and a waiter with
 *    USERESERVE goes before those without: they may sleep on what it resolves
 * => a caller that waits holds no busy page and no other page in hand: then waiting cannot deadlock
 * => wakes the pagedaemon when free pages fall below freemin; locks: free list, taken inside
 */
bool uvm_pagealloc(uint32_t n, struct vm_pagelist *list, int flags, struct uvm_pagewait *wait);

/* uvm_pagewait_fail: tell everyone who waits that no pages will come: swap is broken. */
void uvm_pagewait_fail(void);

/* uvm_pagewait_cancel: stop waiting. => true: work.fn will not run; false: the pages are on their
 * way */
bool uvm_pagewait_cancel(struct uvm_pagewait *wait);

/* uvm_pageput: pages in hand become free; hands them to waiters. => locks: free list, inside */
void uvm_pageput(struct vm_pagelist *list);
void uvm_pageput_one(struct vm_page *pg);

/* uvm_page_granted: how many waiters have got their pages, ever. */
uint64_t uvm_page_granted(void);

/* uvm_page_wanted: how many pages must be free before the first waiter gets its own; 0: nobody
 * waits. */
uint32_t uvm_page_wanted(void);

/*
 * uvm_page_insert: a page in hand becomes a BUSY|FAKE page of an object.
 *
 * => object locked; the entry of the object's map is the caller's business (object.h)
 * => swslot: the slot that holds the page's bytes until the page is filled, or 0
 */
void uvm_page_insert(struct vm_page *pg, struct uvm_object *uobj, uint32_t pgno, uint32_t apage,
                     uint32_t swslot, const char *owner);

/* uvm_page_filled: the busy page now has valid data. => object locked */
void uvm_page_filled(struct vm_page *pg, bool clean);

/* uvm_page_dirty: the busy page's bytes are newer than its slot, which is no longer its own.
 * => object locked; returns the old slot (0 none) for the caller to free */
uint32_t uvm_page_dirty(struct vm_page *pg);

/* uvm_page_dropslot: a resident page, nobody's, does without its slot: it is dirty, and stays on its
 * queue. => object locked; returns the slot (0 none) for the caller to free */
uint32_t uvm_page_dropslot(struct vm_page *pg);

/* uvm_page_assign: the busy dirty page, which has no slot, will be written to slot. => object
 * locked */
void uvm_page_assign(struct vm_page *pg, uint32_t slot);

/* uvm_page_cleaned: the busy page's bytes are now on the backing store too. => object locked */
void uvm_page_cleaned(struct vm_page *pg);

/* uvm_page_busy: own a resident page; takes it off its queue. => object locked, queues not */
void uvm_page_busy(struct vm_page *pg, const char *owner);

/* uvm_page_busy_queued: the same for who already holds the queue lock (the pagedaemon). */
void uvm_page_busy_queued(struct vm_page *pg, const char *owner);

/*
 * uvm_page_unbusy: the owner lets go.
 *
 * => object locked; the page is not RELEASED (then it must be freed: pgo_releasepg) and not FAKE
 * => does not wake: returns true when the page was WANTED, then call uvm_object_wakeup
 */
bool uvm_page_unbusy(struct vm_page *pg, enum uvm_pageq where);

/* uvm_page_evicted: the busy page is about to leave its object, and its bytes are on the backing store:
 * the policy may remember it. => object locked, queues not */
void uvm_page_evicted(struct vm_page *pg);

/* uvm_page_remove: the busy page leaves its object and is in hand. => object locked */
void uvm_page_remove(struct vm_page *pg);

/* Wiring: a wired page is on no queue, so it is never paged out. => object locked, page resident */
void uvm_page_wire(struct vm_page *pg);
void uvm_page_unwire(struct vm_page *pg);

/* uvm_page_reference: the page was used; a hint for the policy. => no lock needed */
static inline void uvm_page_reference(struct vm_page *pg)
{
    __atomic_store_n(&pg->referenced, 1, __ATOMIC_RELAXED);
}

/* uvm_page_queue_lock: the page queue lock, for the pagedaemon. */
struct uvm_lock *uvm_page_queue_lock(void);

/* page_assert: the page's fields are consistent with exactly one identity. => object locked, if any
 */
void page_assert(const struct vm_page *pg);

#endif
