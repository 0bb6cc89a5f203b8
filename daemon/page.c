/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page array, the free list and the transitions of page.h.
 *
 * Free pages are handed to waiters in the order they came, and whole requests at a time: a waiter
 * that has its pages needs nothing more to make progress.
 */
#include "page.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ledger.h"
#include "object.h"
#include "policy.h"
#include "stats.h"

static struct {
    struct vm_page *pages; /* (!) */
    uint32_t npages;       /* (!) */
    void (*kick)(void);    /* (!) */
    struct uvm_lock queue_lock;
    struct uvm_lock free_lock;
    struct vm_pagelist free;            /* (F) */
    uint64_t nfree;                     /* (F) */
    TAILQ_HEAD(, uvm_pagewait) waiters; /* (F) */
    uint64_t ngranted;                  /* (F) */
} pm;

int uvm_page_init(uint32_t npages, struct uvm_error *err)
{
    size_t len = npages * sizeof(struct vm_page);
    void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        return uvm_fail(err, -errno, "no memory for %u page structures: %s", npages,
                        strerror(errno));
    pm.pages = mem;
    pm.npages = npages;
    pm.kick = NULL;
    uvm_lock_init(&pm.queue_lock, UVM_LR_PAGEQ);
    uvm_lock_init(&pm.free_lock, UVM_LR_FREEQ);
    TAILQ_INIT(&pm.free);
    TAILQ_INIT(&pm.waiters);
    for (uint32_t i = 0; i < npages; i++) {
        pm.pages[i].pqflags = PQ_FREE;
        TAILQ_INSERT_TAIL(&pm.free, &pm.pages[i], pageq);
    }
    pm.nfree = npages;
    pm.ngranted = 0;
    uvm_stat_set(npages, npages);
    uvm_stat_set(free, npages);
    if (uvm_policy->init(npages)) {
        uvm_page_fini();
        return uvm_fail(err, -ENOMEM, "no memory for the policy %s", uvm_policy->name);
    }
    return 0;
}

void uvm_page_fini(void)
{
    if (!pm.pages)
        return;
    if (uvm_policy->fini)
        uvm_policy->fini();
    munmap(pm.pages, pm.npages * sizeof(struct vm_page));
    uvm_lock_destroy(&pm.queue_lock);
    uvm_lock_destroy(&pm.free_lock);
    pm.pages = NULL;
}

uint32_t uvm_page_count(void)
{
    return pm.npages;
}

uint32_t uvm_page_number(const struct vm_page *pg)
{
    return (uint32_t)(pg - pm.pages);
}

struct vm_page *uvm_page_at(uint32_t number)
{
    assert(number < pm.npages);
    return &pm.pages[number];
}

void uvm_page_set_kick(void (*kick)(void))
{
    pm.kick = kick;
}

struct uvm_lock *uvm_page_queue_lock(void)
{
    return &pm.queue_lock;
}

/* Move n pages from the free list to a hand. => free list locked, n <= nfree */
static void page_grab(uint32_t n, struct vm_pagelist *list)
{
    for (uint32_t i = 0; i < n; i++) {
        struct vm_page *pg = TAILQ_FIRST(&pm.free);
        assert(pg && pg->pqflags == PQ_FREE && !pg->uobject);
        TAILQ_REMOVE(&pm.free, pg, pageq);
        pg->pqflags = 0;
        TAILQ_INSERT_TAIL(list, pg, pageq);
    }
    pm.nfree -= n;
    uvm_stat_set(free, pm.nfree);
}

/* How many pages must be free for the waiter to get its own? */
static uint32_t waiter_needs(const struct uvm_pagewait *wait)
{
    return wait->npages + (wait->reserve ? 0 : UVM_PAGE_RESERVE);
}

/* Give pages to those who wait, in order, while there are enough. => free list locked */
static void serve_waiters(void)
{
    struct uvm_pagewait *wait;

    while ((wait = TAILQ_FIRST(&pm.waiters)) && waiter_needs(wait) <= pm.nfree) {
        TAILQ_REMOVE(&pm.waiters, wait, link);
        page_grab(wait->npages, &wait->list);
        pm.ngranted++;
        uvm_loop_post(wait->loop, &wait->work);
    }
}

/* Queue a waiter: behind its like, those with USERESERVE first. => free list locked */
static void queue_waiter(struct uvm_pagewait *wait)
{
    struct uvm_pagewait *w = wait->reserve ? TAILQ_FIRST(&pm.waiters) : NULL;

    while (w && w->reserve)
        w = TAILQ_NEXT(w, link);
    if (w)
        TAILQ_INSERT_BEFORE(w, wait, link);
    else
        TAILQ_INSERT_TAIL(&pm.waiters, wait, link);
}

bool uvm_pagealloc(uint32_t n, struct vm_pagelist *list, int flags, struct uvm_pagewait *wait)
{
    bool reserve = flags & UVM_PGA_USERESERVE, got = false, low;

    uvm_lock_acquire(&pm.free_lock);
    if (n + (reserve ? 0 : UVM_PAGE_RESERVE) <= pm.nfree && (reserve || TAILQ_EMPTY(&pm.waiters))) {
        page_grab(n, list);
        got = true;
    } else if (wait) {
        wait->npages = n;
        wait->failed = false;
        wait->reserve = reserve;
        TAILQ_INIT(&wait->list);
        queue_waiter(wait);
        uvm_stat_inc(flt_noram);
    }
    low = !got || pm.nfree < uvm_stat_get(freemin);
    uvm_lock_release(&pm.free_lock);
    if (low && pm.kick)
        pm.kick();
    return got;
}

void uvm_pagewait_fail(void)
{
    struct uvm_pagewait *wait;

    UVM_LOCK_SCOPE(&pm.free_lock);
    while ((wait = TAILQ_FIRST(&pm.waiters))) {
        TAILQ_REMOVE(&pm.waiters, wait, link);
        wait->failed = true;
        uvm_loop_post(wait->loop, &wait->work);
    }
}

bool uvm_pagewait_cancel(struct uvm_pagewait *wait)
{
    struct uvm_pagewait *w;

    UVM_LOCK_SCOPE(&pm.free_lock);
    TAILQ_FOREACH (w, &pm.waiters, link) {
        if (w == wait) {
            TAILQ_REMOVE(&pm.waiters, wait, link);
            serve_waiters(); /* those behind may want less */
            return true;
        }
    }
    return false;
}

void uvm_pageput(struct vm_pagelist *list)
{
    struct vm_page *pg;

    UVM_LOCK_SCOPE(&pm.free_lock);
    while ((pg = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, pg, pageq);
        assert(!pg->uobject && !pg->pqflags);
        pg->pqflags = PQ_FREE;
        TAILQ_INSERT_HEAD(&pm.free, pg, pageq);
        pm.nfree++;
    }
    serve_waiters();
    uvm_stat_set(free, pm.nfree);
}

void uvm_pageput_one(struct vm_page *pg)
{
    struct vm_pagelist one = TAILQ_HEAD_INITIALIZER(one);
    TAILQ_INSERT_TAIL(&one, pg, pageq);
    uvm_pageput(&one);
}

uint64_t uvm_page_granted(void)
{
    UVM_LOCK_SCOPE(&pm.free_lock);
    return pm.ngranted;
}

uint32_t uvm_page_wanted(void)
{
    UVM_LOCK_SCOPE(&pm.free_lock);
    struct uvm_pagewait *wait = TAILQ_FIRST(&pm.waiters);
    return wait ? waiter_needs(wait) : 0;
}

void page_assert(const struct vm_page *pg)
{
    if (!pg->uobject) { /* free or in hand */
        assert(!(pg->flags & (PG_BUSY | PG_WANTED | PG_RELEASED | PG_PAGEOUT)));
        assert(!(pg->pqflags & (PQ_ACTIVE | PQ_INACTIVE)));
        assert(!pg->wire_count && !pg->swslot);
        return;
    }
    assert(!(pg->pqflags & PQ_FREE));
    if (pg->flags & PG_BUSY) {
        assert(!pg->pqflags);
        assert(!((pg->flags & PG_FAKE) && (pg->flags & (PG_CLEAN | PG_PAGEOUT))));
    } else {
        assert(!(pg->flags & (PG_FAKE | PG_RELEASED | PG_PAGEOUT | PG_WANTED)));
    }
    assert(!((pg->pqflags & PQ_ACTIVE) && (pg->pqflags & PQ_INACTIVE)));
}

void uvm_page_insert(struct vm_page *pg, struct uvm_object *uobj, uint32_t pgno, uint32_t apage,
                     uint32_t swslot, const char *owner)
{
    uvm_lock_assert_held(&uobj->lock);
    assert(!pg->uobject && !pg->pqflags);
    pg->uobject = uobj;
    pg->pgno = pgno;
    pg->apage = apage;
    pg->swslot = swslot;
    pg->flags = PG_BUSY | PG_FAKE;
    pg->wire_count = 0;
    pg->owner = owner;
    page_assert(pg);
}

/* Tell the ledger where the page's bytes are. => page busy and not FAKE */
static void page_record(const struct vm_page *pg)
{
    uvm_ledger_page_set(uvm_page_number(pg), pg->uobject->id, pg->pgno, pg->apage, pg->swslot,
                        (pg->flags & PG_CLEAN) ? 0 : UVM_LEDGER_DIRTY);
}

/* A page has become dirty (n 1), or is so no more (n -1). => object locked */
static void count_dirty(struct uvm_object *uobj, int n)
{
    uobj->ndirty += (uint64_t)(int64_t)n;
    if (uobj->backed)
        uvm_stat_add(vndirty, (int64_t)n);
}

void uvm_page_filled(struct vm_page *pg, bool clean)
{
    assert((pg->flags & (PG_BUSY | PG_FAKE)) == (PG_BUSY | PG_FAKE));
    pg->flags &= (uint16_t)~PG_FAKE;
    if (clean)
        pg->flags |= PG_CLEAN;
    else
        count_dirty(pg->uobject, 1);
    page_record(pg);
    page_assert(pg);
}

static uint32_t page_make_dirty(struct vm_page *pg)
{
    if (!(pg->flags & PG_CLEAN) && !pg->swslot)
        return 0; /* the ledger has it so already */
    uint32_t slot = pg->swslot;
    if (pg->flags & PG_CLEAN)
        count_dirty(pg->uobject, 1);
    pg->flags &= (uint16_t)~PG_CLEAN;
    pg->swslot = 0;
    page_record(pg);
    return slot;
}

uint32_t uvm_page_dirty(struct vm_page *pg)
{
    assert((pg->flags & PG_BUSY) && !(pg->flags & PG_FAKE));
    return page_make_dirty(pg);
}

uint32_t uvm_page_dropslot(struct vm_page *pg)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert(!(pg->flags & (PG_BUSY | PG_FAKE)) && !pg->uobject->backed);
    return page_make_dirty(pg);
}

void uvm_page_assign(struct vm_page *pg, uint32_t slot)
{
    assert((pg->flags & PG_BUSY) && !(pg->flags & (PG_FAKE | PG_CLEAN)) && !pg->swslot);
    pg->swslot = slot;
    page_record(pg);
}

void uvm_page_cleaned(struct vm_page *pg)
{
    assert((pg->flags & PG_BUSY) && !(pg->flags & PG_FAKE));
    if (!(pg->flags & PG_CLEAN))
        count_dirty(pg->uobject, -1);
    pg->flags |= PG_CLEAN;
    page_record(pg);
}

static void page_make_busy(struct vm_page *pg, const char *owner)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert(!(pg->flags & PG_BUSY));
    uvm_policy->dequeue(pg);
    pg->flags |= PG_BUSY;
    pg->owner = owner;
    page_assert(pg);
}

void uvm_page_busy(struct vm_page *pg, const char *owner)
{
    UVM_LOCK_SCOPE(&pm.queue_lock);
    page_make_busy(pg, owner);
}

void uvm_page_busy_queued(struct vm_page *pg, const char *owner)
{
    uvm_lock_assert_held(&pm.queue_lock);
    page_make_busy(pg, owner);
}

/* Queue a page, which the policy may not have met yet. => object and queues locked */
static void page_enqueue(struct vm_page *pg, enum uvm_pageq where)
{
    if (uvm_policy->entered && !pg->pqstate)
        uvm_policy->entered(pg, pg->uobject->id);
    uvm_policy->enqueue(pg, where);
}

bool uvm_page_unbusy(struct vm_page *pg, enum uvm_pageq where)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert((pg->flags & PG_BUSY) && !(pg->flags & (PG_FAKE | PG_RELEASED)));
    bool wanted = pg->flags & PG_WANTED;
    pg->flags &= (uint16_t) ~(PG_BUSY | PG_WANTED | PG_PAGEOUT);
    pg->owner = NULL;
    if (!pg->wire_count) {
        UVM_LOCK_SCOPE(&pm.queue_lock);
        page_enqueue(pg, where);
    }
    page_assert(pg);
    return wanted;
}

void uvm_page_evicted(struct vm_page *pg)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert((pg->flags & PG_BUSY) && !(pg->flags & PG_FAKE));
    if (!uvm_policy->evicted)
        return;
    UVM_LOCK_SCOPE(&pm.queue_lock);
    uvm_policy->evicted(pg, pg->uobject->id);
}

void uvm_page_remove(struct vm_page *pg)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert((pg->flags & PG_BUSY) && !pg->pqflags);
    if (pg->wire_count)
        uvm_stat_sub(wired, 1);
    if (!(pg->flags & (PG_FAKE | PG_CLEAN)))
        count_dirty(pg->uobject, -1);
    uvm_ledger_page_clear(uvm_page_number(pg));
    pg->uobject = NULL;
    pg->flags = 0;
    pg->swslot = 0;
    pg->wire_count = 0;
    pg->pqstate = 0; /* it is on no queue, and its owner's */
    pg->owner = NULL;
    __atomic_store_n(&pg->referenced, 0, __ATOMIC_RELAXED);
    page_assert(pg);
}

void uvm_page_wire(struct vm_page *pg)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert(!(pg->flags & PG_BUSY));
    if (pg->wire_count++ == 0) {
        UVM_LOCK_SCOPE(&pm.queue_lock);
        uvm_policy->dequeue(pg);
        uvm_stat_inc(wired);
    }
}

void uvm_page_unwire(struct vm_page *pg)
{
    uvm_lock_assert_held(&pg->uobject->lock);
    assert(pg->wire_count && !(pg->flags & PG_BUSY));
    if (--pg->wire_count == 0) {
        UVM_LOCK_SCOPE(&pm.queue_lock);
        page_enqueue(pg, UVM_Q_ACTIVE);
        uvm_stat_sub(wired, 1);
    }
}
