/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager map: a bitmap over the pool, first fit, and two queues of waiters.
 *
 *      page 0                       ORDINARY                PAGES
 *      | ordinary runs, first fit   | the reserve            |
 *
 *      mapin --> nobody to overtake and a run found --> the caller
 *            \-> queue: reserve waiters, then ordinary waiters
 *      mapout -> the waiters in this order, as long as the first one's run fits
 *
 * A waiter that does not fit yet holds back those behind it: free pages gather until it does.
 * While ordinary waiters exist the pagedaemon is served from the reserve first, so that it does not
 * take what gathers for them.
 *
 * Invariants, under the lock
 *  - after every call the first waiter does not fit: a run that fits is never left lying
 *  - a bit is set exactly while somebody owns the page; nfree counts the clear ones
 */
#include "pagermap.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../lock.h"
#include "../log.h"

#define ORDINARY  (UVM_PAGERMAP_PAGES - UVM_PAGERMAP_RESERVE)
#define NO_PAGE   UINT32_MAX
#define WORD_BITS 64u

_Static_assert(UVM_PAGERMAP_PAGES % WORD_BITS == 0, "whole words");
_Static_assert(ORDINARY >= UVM_CLUSTER_PAGES, "every run that can be asked for must be possible");

TAILQ_HEAD(pagermap_queue, uvm_pagermap_wait);

static struct {
    char *base; /* constant between init and fini */
    struct uvm_lock lock;
    uint64_t used[UVM_PAGERMAP_PAGES / WORD_BITS]; /* lock */
    uint32_t nfree;                                /* lock; pages */
    struct pagermap_queue ordinary;                /* lock */
    struct pagermap_queue reserve;                 /* lock; waiters that may use the reserve */
} pagermap;

int uvm_pagermap_init(struct uvm_error *err)
{
    assert(!pagermap.base);
    void *base = mmap(NULL, uvm_pagermap_size(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (base == MAP_FAILED)
        return uvm_fail(err, -errno, "pager map: no memory for %zu bytes: %s", uvm_pagermap_size(),
                        strerror(errno));
    if (mlock(base, uvm_pagermap_size()))
        log_warning("pager map: not locked in memory: %s; raise the limit of locked memory "
                    "(LimitMEMLOCK= of the service, ulimit -l) to %zu bytes",
                    strerror(errno), uvm_pagermap_size());

    uvm_lock_init(&pagermap.lock, UVM_LR_PAGERMAP);
    memset(pagermap.used, 0, sizeof(pagermap.used));
    pagermap.nfree = UVM_PAGERMAP_PAGES;
    TAILQ_INIT(&pagermap.ordinary);
    TAILQ_INIT(&pagermap.reserve);
    pagermap.base = base;
    return 0;
}

void uvm_pagermap_fini(void)
{
    if (!pagermap.base)
        return;
    assert(pagermap.nfree == UVM_PAGERMAP_PAGES);
    assert(TAILQ_EMPTY(&pagermap.ordinary) && TAILQ_EMPTY(&pagermap.reserve));
    munmap(pagermap.base, uvm_pagermap_size());
    uvm_lock_destroy(&pagermap.lock);
    pagermap.base = NULL;
}

void *uvm_pagermap_base(void)
{
    return pagermap.base;
}

size_t uvm_pagermap_size(void)
{
    return uvm_ptoa(UVM_PAGERMAP_PAGES);
}

/* The first page of [from, to) that is used, or with used false free; to when there is none. */
static uint32_t pagermap_next(uint32_t from, uint32_t to, bool used)
{
    while (from < to) {
        uint64_t word = pagermap.used[from / WORD_BITS];
        word = (used ? word : ~word) >> (from % WORD_BITS);
        if (word)
            return MIN(from + (uint32_t)__builtin_ctzll(word), to);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return to;
}

static uint32_t pagermap_find(uint32_t from, uint32_t to, uint32_t npages)
{
    while (from + npages <= to) {
        uint32_t hit = pagermap_next(from, from + npages, true);
        if (hit == from + npages)
            return from;
        from = pagermap_next(hit + 1, to, false);
    }
    return NO_PAGE;
}

/* Set or clear the bits of a run, all of which must have been the other way. */
static void pagermap_mark(uint32_t page, uint32_t npages, bool used)
{
    assert(pagermap_next(page, page + npages, used) == page + npages);
    for (uint32_t end = page + npages; page < end;) {
        uint32_t bit = page % WORD_BITS;
        uint32_t n = MIN(WORD_BITS - bit, end - page);
        uint64_t mask = (~(uint64_t)0 >> (WORD_BITS - n)) << bit;
        pagermap.used[page / WORD_BITS] ^= mask;
        page += n;
    }
    pagermap.nfree += used ? -npages : npages;
}

/* Take a run out of the map. => pager map locked; NULL: no run is long enough */
static void *pagermap_take(uint32_t npages, bool reserve)
{
    uint32_t page = NO_PAGE;

    if (reserve && !TAILQ_EMPTY(&pagermap.ordinary))
        page = pagermap_find(ORDINARY, UVM_PAGERMAP_PAGES, npages);
    if (page == NO_PAGE)
        page = pagermap_find(0, reserve ? UVM_PAGERMAP_PAGES : ORDINARY, npages);
    if (page == NO_PAGE)
        return NULL;
    pagermap_mark(page, npages, true);
    return pagermap.base + uvm_ptoa(page);
}

void *uvm_pagermapin(uint32_t npages, int flags, struct uvm_pagermap_wait *wait)
{
    bool reserve = flags & UVMPAGER_MAPIN_RESERVE;
    struct pagermap_queue *queue = reserve ? &pagermap.reserve : &pagermap.ordinary;

    assert(npages >= 1 && npages <= UVM_CLUSTER_PAGES);
    UVM_LOCK_SCOPE(&pagermap.lock);
    bool turn = TAILQ_EMPTY(&pagermap.reserve) && (reserve || TAILQ_EMPTY(&pagermap.ordinary));
    void *kva = turn ? pagermap_take(npages, reserve) : NULL;
    if (!kva && (flags & UVMPAGER_MAPIN_WAITOK)) {
        assert(wait->loop && wait->work.fn);
        wait->npages = npages;
        wait->kva = NULL;
        TAILQ_INSERT_TAIL(queue, wait, link);
    }
    return kva;
}

/* Give runs to the heads of a queue and move them to served. => pager map locked */
static void pagermap_serve(struct pagermap_queue *queue, bool reserve,
                           struct pagermap_queue *served)
{
    struct uvm_pagermap_wait *wait;

    while ((wait = TAILQ_FIRST(queue)) && (wait->kva = pagermap_take(wait->npages, reserve))) {
        TAILQ_REMOVE(queue, wait, link);
        TAILQ_INSERT_TAIL(served, wait, link);
    }
}

void uvm_pagermapout(void *kva, uint32_t npages)
{
    struct pagermap_queue served = TAILQ_HEAD_INITIALIZER(served);
    struct uvm_pagermap_wait *wait;
    size_t at = (size_t)((char *)kva - pagermap.base);

    assert((char *)kva >= pagermap.base && at < uvm_pagermap_size() && !(at & UVM_PAGE_MASK));
    assert(npages >= 1 && npages <= UVM_CLUSTER_PAGES);
    assert(uvm_atop(at) + npages <= UVM_PAGERMAP_PAGES);

    uvm_lock_acquire(&pagermap.lock);
    pagermap_mark((uint32_t)uvm_atop(at), npages, false);
    pagermap_serve(&pagermap.reserve, true, &served);
    if (TAILQ_EMPTY(&pagermap.reserve))
        pagermap_serve(&pagermap.ordinary, false, &served);
    uvm_lock_release(&pagermap.lock);

    /* A waiter is its owner's again as soon as it is posted. */
    while ((wait = TAILQ_FIRST(&served))) {
        TAILQ_REMOVE(&served, wait, link);
        uvm_loop_post(wait->loop, &wait->work);
    }
}

uint32_t uvm_pagermap_free_pages(void)
{
    UVM_LOCK_SCOPE(&pagermap.lock);
    return pagermap.nfree;
}
