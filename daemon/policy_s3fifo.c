/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S3-FIFO replacement, with refault distances, behind a client cache: a scan passes through without
 * taking what is in use with it.
 *
 *                    first READ of it
 *      new --> [ cold | ....... small ....... ] --unused--> gone, remembered: when, in evictions
 *               `next            |                              |
 *                                | used again                   | back before memory has turned
 *                                v                              | over once
 *               [ .......... main .......... ] <----------------+
 *                 `next: unused --> gone; else once more round, one use less
 *
 * New pages go to the tail of small. It is a tenth of memory; as long as it is longer, its head goes
 * next, so what is used once goes soon, whatever there is of it, and main stays. A page that is used
 * again while it is there moves to main when it reaches the head.
 *
 * A clean page that has just been READ for the first time goes to the head of small: the client cache
 * has it, and the copy here is the last to be missed. If the client cache loses it soon, the page
 * comes back, and its refault distance tells: the number of pages evicted meanwhile. With that many
 * pages more it would still be here. If they are no more than there are pages, it goes to main at once.
 *
 * Uses are counted up to 3, and not while the page has just come: the pieces of one sequential store are
 * one use (S3_YOUNG). What a use is: policy.h.
 *
 * The ghosts, what is remembered of pages that have gone, are a table of buckets without chains, of a
 * hash and a time each; the oldest of a bucket makes room. 12 bytes for each page of memory, all of them
 * there from the start. Two pages with one hash, or an eviction 2^32 ago, are taken for what they are
 * not: then a page is in main that should not be, for one round.
 */
#include "policy.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "stats.h"

/* Parts of memory that small, and of small that the youngest are: chosen with tests/sim. */
#define S3_SMALL 10
#define S3_YOUNG 8

/* pqstate */
enum {
    S3_USES = 0x03,      /* how often it was used, as far as is counted */
    S3_MAIN = 0x10,      /* it belongs to main */
    S3_DELIVERED = 0x20, /* the client cache has, or had it */
    S3_QUEUED = 0x40,    /* it has been on a queue: pqstamp is set */
    S3_MET = 0x80,       /* never 0 any more */
};

#define GHOST_WAYS 8 /* a bucket is a cache line */

struct ghost {
    uint32_t tag;  /* of the page */
    uint32_t when; /* s3.evictions at its own; 0: none */
};

static struct {
    struct vm_pagelist small, main; /* (Q) next victim first */
    uint64_t nsmall, nmain;         /* (Q) */
    uint32_t npages;                /* (!) */
    uint32_t arrivals;              /* (Q) pages that have come, wrapping */
    uint32_t evictions;             /* (Q) pages that have gone, wrapping, never 0 */
    uint64_t offers, steps;         /* (Q) what this scan may still return, and pass over */
    struct ghost *ghosts;           /* (!) their contents (Q) */
    uint32_t nbuckets;              /* (!) */
} s3;

static void s3_count(void)
{
    uvm_stat_set(active, s3.nmain);
    uvm_stat_set(inactive, s3.nsmall);
}

static uint32_t small_target(void)
{
    return s3.npages / S3_SMALL;
}

static size_t ghosts_size(void)
{
    return (size_t)s3.nbuckets * GHOST_WAYS * sizeof(struct ghost);
}

static void s3_fini(void)
{
    if (s3.ghosts)
        munmap(s3.ghosts, ghosts_size());
    s3.ghosts = NULL;
}

static int s3_init(uint32_t npages)
{
    s3_fini();
    TAILQ_INIT(&s3.small);
    TAILQ_INIT(&s3.main);
    s3.nsmall = s3.nmain = 0;
    s3.npages = npages;
    s3.arrivals = 0;
    s3.evictions = 1;
    s3.offers = s3.steps = 0;
    s3_count();
    /* Half as many again as are of use: buckets fill unevenly. All of it is touched here, for no page
     * fault may come on the page-out path. */
    s3.nbuckets = (uint32_t)((uint64_t)npages * 3 / 2 / GHOST_WAYS) + 1;
    void *mem = mmap(NULL, ghosts_size(), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mem == MAP_FAILED)
        return -ENOMEM;
    s3.ghosts = mem;
    return 0;
}

static uint64_t s3_hash(uint64_t object, uint32_t pgno)
{
    uint64_t x = (object + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)pgno << 17;

    x = (x ^ x >> 31) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

/* The bucket by the low half of the hash; the high one is the tag. */
static struct ghost *bucket_of(uint64_t hash)
{
    return &s3.ghosts[((hash & UINT32_MAX) * s3.nbuckets >> 32) * GHOST_WAYS];
}

static void s3_entered(struct vm_page *pg, uint64_t object)
{
    uint64_t hash = s3_hash(object, pg->pgno);
    struct ghost *ghost = bucket_of(hash);

    pg->pqstate = S3_MET;
    for (unsigned i = 0; i < GHOST_WAYS; i++, ghost++) {
        if (!ghost->when || ghost->tag != hash >> 32)
            continue;
        if (s3.evictions - ghost->when <= s3.npages) {
            pg->pqstate |= S3_MAIN;
            uvm_stat_inc(pdrefault);
        }
        ghost->when = 0;
        return;
    }
}

static void s3_evicted(struct vm_page *pg, uint64_t object)
{
    uint64_t hash = s3_hash(object, pg->pgno);
    struct ghost *bucket = bucket_of(hash), *oldest = bucket;

    if (pg->pqstate & S3_MAIN) /* it has had its time */
        return;
    for (unsigned i = 0; i < GHOST_WAYS && oldest->when; i++)
        if (!bucket[i].when || s3.evictions - bucket[i].when > s3.evictions - oldest->when)
            oldest = &bucket[i];
    oldest->tag = (uint32_t)(hash >> 32);
    oldest->when = s3.evictions;
    if (++s3.evictions == 0)
        s3.evictions = 1;
}

static void s3_use(struct vm_page *pg)
{
    bool young =
        !(pg->pqstate & S3_MAIN) && s3.arrivals - pg->pqstamp < s3.npages / S3_SMALL / S3_YOUNG;

    if (!young && (pg->pqstate & S3_USES) < S3_USES)
        pg->pqstate++;
}

/* Put a page on the queue where it belongs; first: at the head. */
static void s3_insert(struct vm_page *pg, bool first)
{
    bool in_main = pg->pqstate & S3_MAIN;
    struct vm_pagelist *list = in_main ? &s3.main : &s3.small;

    pg->pqflags = in_main ? PQ_ACTIVE : PQ_INACTIVE;
    *(in_main ? &s3.nmain : &s3.nsmall) += 1;
    if (first)
        TAILQ_INSERT_HEAD(list, pg, pageq);
    else
        TAILQ_INSERT_TAIL(list, pg, pageq);
    s3_count();
}

static void s3_enqueue(struct vm_page *pg, enum uvm_pageq where)
{
    bool again = pg->pqstate & S3_QUEUED, delivered = pg->pqstate & S3_DELIVERED, first = false;

    assert(!pg->pqflags);
    if (!again)
        pg->pqstamp = s3.arrivals++;
    pg->pqstate |= S3_MET | S3_QUEUED;
    switch (where) {
    case UVM_Q_ACTIVE:
        if (again)
            s3_use(pg);
        pg->pqstate |= S3_DELIVERED;
        break;
    case UVM_Q_FIRST:
        if (delivered)
            s3_use(pg);
        pg->pqstate |= S3_DELIVERED;
        first = !(pg->pqstate & (S3_MAIN | S3_USES));
        break;
    case UVM_Q_INACTIVE:
        if (again) /* somebody says that it is not wanted */
            pg->pqstate &= (uint8_t) ~(S3_MAIN | S3_USES);
        break;
    case UVM_Q_CLEANED:
        break;
    }
    s3_insert(pg, first);
}

static void s3_dequeue(struct vm_page *pg)
{
    if (pg->pqflags & PQ_ACTIVE) {
        TAILQ_REMOVE(&s3.main, pg, pageq);
        s3.nmain--;
    } else if (pg->pqflags & PQ_INACTIVE) {
        TAILQ_REMOVE(&s3.small, pg, pageq);
        s3.nsmall--;
    }
    pg->pqflags = 0;
    s3_count();
}

/* The queues are kept in proportion by choosing from which one the victim comes. */
static void s3_balance(void)
{
    uvm_stat_set(inactarg, small_target());
}

static void s3_scan_begin(void)
{
    s3.offers = s3.nsmall + s3.nmain;
    s3.steps = s3.offers * (S3_USES + 2); /* every page is unused by then */
}

/* A page was used, and is passed over this time. */
static void s3_pass(struct vm_page *pg)
{
    s3_dequeue(pg);
    if (pg->pqstate & S3_MAIN)
        pg->pqstate--;
    else
        pg->pqstate = (uint8_t)((pg->pqstate & ~S3_USES) | S3_MAIN);
    s3_insert(pg, false);
    uvm_stat_inc(pdreact);
}

static struct vm_page *s3_scan_next(void)
{
    while (s3.offers > 0 && s3.steps-- > 0) {
        bool small = s3.nsmall > small_target() || !s3.nmain;
        struct vm_page *pg = TAILQ_FIRST(small ? &s3.small : &s3.main);
        if (!pg)
            break;
        uvm_stat_inc(pdscans);
        if (__atomic_load_n(&pg->referenced, __ATOMIC_RELAXED)) {
            __atomic_store_n(&pg->referenced, 0, __ATOMIC_RELAXED);
            s3_use(pg);
        }
        if (!(pg->pqstate & S3_USES)) {
            s3.offers--;
            return pg;
        }
        s3_pass(pg);
    }
    return NULL;
}

static void s3_scan_skip(struct vm_page *pg)
{
    s3_dequeue(pg);
    s3_insert(pg, false);
}

static void s3_scan_react(struct vm_page *pg)
{
    s3_dequeue(pg);
    pg->pqstate |= S3_MAIN;
    s3_insert(pg, false);
    uvm_stat_inc(pdreact);
}

const struct uvm_pdpolicy uvm_policy_s3fifo = {
    .name = "s3fifo",
    .init = s3_init,
    .fini = s3_fini,
    .entered = s3_entered,
    .evicted = s3_evicted,
    .enqueue = s3_enqueue,
    .dequeue = s3_dequeue,
    .balance = s3_balance,
    .scan_begin = s3_scan_begin,
    .scan_next = s3_scan_next,
    .scan_skip = s3_scan_skip,
    .scan_react = s3_scan_react,
};
