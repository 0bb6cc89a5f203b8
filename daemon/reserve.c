/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All promises are two sums under one lock: what is reserved, and what is lent. Who cannot have his
 * share parks in a line, and whatever gives room back serves the lines from their heads: first come,
 * first served. Only draws on the emergency reserve, which must not wait, get past those who are
 * parked. An answer is posted to the waiter's loop, never called from here.
 */
#include "reserve.h"

#include <assert.h>

#include "lock.h"
#include "stats.h"

TAILQ_HEAD(waitlist, uvm_reservewait);

static struct {
    struct uvm_lock lock;
    uint64_t memory;             /* (lock) */
    uint64_t used, lent;         /* (lock) */
    void (*reclaim)(void);       /* (lock) */
    struct waitlist parked;      /* (lock) for a reservation */
    struct waitlist borrowers;   /* (lock) for a loan; lent > 0 */
    unsigned nahead;             /* (lock) in both lines: READs of several pages */
    uint64_t seq;                /* (lock) of the one that parked last */
    uint64_t rv_object;          /* (lock) the range being revoked, npages 0: none */
    uint32_t rv_pgno, rv_npages; /* (lock) */
} rsv;

void uvm_reserve_init(void)
{
    uvm_lock_init(&rsv.lock, UVM_LR_RESERVE);
    TAILQ_INIT(&rsv.parked);
    TAILQ_INIT(&rsv.borrowers);
    rsv.memory = rsv.used = rsv.lent = 0;
    rsv.rv_npages = 0;
    rsv.nahead = 0;
    rsv.reclaim = NULL;
    uvm_stat_set(reserved, 0);
    uvm_stat_set(lent, 0);
}

void uvm_reserve_set_reclaim(void (*reclaim)(void))
{
    uvm_lock_acquire(&rsv.lock);
    rsv.reclaim = reclaim;
    uvm_lock_release(&rsv.lock);
    if (!reclaim)
        uvm_reserve_fail_parked(UINT64_MAX);
}

/* What can be promised: it grows and shrinks with swap. => reserve locked, or it is only read */
static uint64_t reserve_max(void)
{
    uint64_t swap = uvm_stat_get(swpages), bad = uvm_stat_get(swpgbad);
    uint64_t max = rsv.memory + (swap > bad ? swap - bad : 0);
    uvm_stat_set(reservemax, max);
    return max;
}

void uvm_reserve_set_memory(uint64_t npages)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    rsv.memory = npages;
    (void)reserve_max();
}

static bool overlaps(uint64_t obj_a, uint32_t a, uint32_t na, uint64_t obj_b, uint32_t b,
                     uint32_t nb)
{
    return obj_a == obj_b && a < (uint64_t)b + nb && b < (uint64_t)a + na;
}

/* Is this the range being revoked, or a part of it? => reserve locked */
static bool being_revoked(const struct uvm_reservewait *wait)
{
    return overlaps(wait->object, wait->pgno, wait->npages, rsv.rv_object, rsv.rv_pgno,
                    rsv.rv_npages);
}

/* => reserve locked */
static bool take(uint64_t n, uint64_t max)
{
    if (rsv.used + n > max)
        return false;
    rsv.used += n;
    uvm_stat_set(reserved, rsv.used);
    return true;
}

/* Draw on the emergency reserve, of which loans have a part. => reserve locked */
static bool take_emergency(uint64_t n, uint64_t max)
{
    uint64_t all = max + UVM_RESERVE_EMERGENCY;
    return all > rsv.lent && take(n, all - rsv.lent);
}

/* => reserve locked; limit: of the emergency reserve */
static bool lend(uint64_t n, uint64_t max, uint64_t limit)
{
    if (rsv.lent + n > limit || rsv.used + rsv.lent + n > max + limit)
        return false;
    rsv.lent += n;
    uvm_stat_set(lent, rsv.lent);
    return true;
}

/* => reserve locked */
static void unpark(struct waitlist *list, struct uvm_reservewait *wait)
{
    TAILQ_REMOVE(list, wait, link);
    rsv.nahead -= wait->ahead;
}

/* => reserve locked */
static void answer(struct waitlist *list, struct uvm_reservewait *wait, bool granted)
{
    unpark(list, wait);
    wait->granted = granted;
    if (!granted)
        uvm_stat_inc(reserve_fail);
    uvm_loop_post(wait->loop, &wait->work);
}

/* Are there too many of its kind that wait? => reserve locked */
static bool crowded(const struct uvm_reservewait *wait)
{
    return wait->ahead && rsv.nahead >= UVM_RESERVE_AHEAD_MAX;
}

/* => reserve locked */
static void park(struct waitlist *list, struct uvm_reservewait *wait, uint32_t n)
{
    wait->n = n;
    wait->seq = ++rsv.seq;
    wait->granted = false;
    rsv.nahead += wait->ahead;
    TAILQ_INSERT_TAIL(list, wait, link);
    uvm_stat_inc(flt_norsrv);
}

/* Grant what those who are parked want, in order, while there is enough. => reserve locked */
static void serve_parked(uint64_t max)
{
    struct uvm_reservewait *wait;

    while ((wait = TAILQ_FIRST(&rsv.parked)) && take(wait->n, max))
        answer(&rsv.parked, wait, true);
}

/* The same for those who wait for a loan, who wait in vain when none is out. => reserve locked */
static void serve_borrowers(uint64_t max)
{
    struct uvm_reservewait *wait;

    while ((wait = TAILQ_FIRST(&rsv.borrowers))) {
        bool granted = lend(wait->n, max, UVM_RESERVE_LENT_MAX);
        if (!granted && rsv.lent)
            break;
        answer(&rsv.borrowers, wait, granted);
    }
}

enum uvm_reserve_result uvm_reserve(uint32_t n, struct uvm_reservewait *wait)
{
    void (*reclaim)(void);
    {
        UVM_LOCK_SCOPE(&rsv.lock);
        uint64_t max = reserve_max();
        if (TAILQ_EMPTY(&rsv.parked) && take(n, max))
            return UVM_RESERVED;
        bool inside = wait && being_revoked(wait);
        if (inside && !wait->borrows && n <= max && take_emergency(n, max))
            return UVM_RESERVED;
        if (!wait || n > max || inside || crowded(wait)) {
            uvm_stat_inc(reserve_fail);
            return UVM_RESERVE_FULL;
        }
        park(&rsv.parked, wait, n);
        reclaim = rsv.reclaim;
    }
    if (reclaim)
        reclaim();
    else
        uvm_reserve_fail_parked(UINT64_MAX);
    return UVM_RESERVE_PARKED;
}

enum uvm_reserve_result uvm_reserve_lend(uint32_t n, struct uvm_reservewait *wait)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    bool inside = being_revoked(wait);
    if (inside ? lend(n, max, UVM_RESERVE_EMERGENCY)
               : TAILQ_EMPTY(&rsv.borrowers) && lend(n, max, UVM_RESERVE_LENT_MAX))
        return UVM_RESERVED;
    if (inside || !rsv.lent || crowded(wait)) {
        uvm_stat_inc(reserve_fail);
        return UVM_RESERVE_FULL;
    }
    park(&rsv.borrowers, wait, n);
    return UVM_RESERVE_PARKED;
}

void uvm_reserve_return(uint32_t n)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    assert(n <= rsv.lent);
    rsv.lent -= n;
    uvm_stat_set(lent, rsv.lent);
    serve_borrowers(max);
}

unsigned uvm_reserve_refuse(uint64_t object, uint32_t pgno, uint32_t npages, uint64_t loans)
{
    struct uvm_reservewait *wait, *next;
    unsigned n = 0;

    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    if (rsv.lent > loans)
        return 0;
    for (wait = TAILQ_FIRST(&rsv.borrowers); wait; wait = next) {
        next = TAILQ_NEXT(wait, link);
        if (!overlaps(wait->object, wait->pgno, wait->npages, object, pgno, npages))
            continue;
        answer(&rsv.borrowers, wait, false);
        n++;
    }
    if (n)
        serve_borrowers(max); /* those behind may want less */
    return n;
}

bool uvm_reserve_cancel(struct uvm_reservewait *wait)
{
    struct uvm_reservewait *w;

    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    TAILQ_FOREACH (w, &rsv.parked, link) {
        if (w == wait) {
            unpark(&rsv.parked, wait);
            serve_parked(max); /* those behind may want less */
            return true;
        }
    }
    return false;
}

bool uvm_reserve_force(uint32_t n)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    if (take(n, max + UVM_RESERVE_EMERGENCY))
        return true;
    uvm_stat_inc(reserve_fail);
    return false;
}

void uvm_unreserve(uint64_t n)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    rsv.used -= n;
    uvm_stat_set(reserved, rsv.used);
    serve_parked(max);
    serve_borrowers(max);
}

void uvm_reserve_grow(uint64_t npages, uint64_t nbad)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uvm_stat_add(swpgbad, nbad);
    uvm_stat_add(swpages, npages);
    uint64_t max = reserve_max();
    serve_parked(max);
    serve_borrowers(max);
}

bool uvm_reserve_shrink(uint64_t npages, uint64_t nbad, uint64_t *missing)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max(), less = npages - nbad;
    uint64_t need = rsv.used + rsv.lent + less;

    *missing = need > max ? need - max : 0;
    if (*missing)
        return false;
    uvm_stat_sub(swpages, npages);
    uvm_stat_sub(swpgbad, nbad);
    (void)reserve_max();
    return true;
}

uint64_t uvm_reserve_mark(void)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    return rsv.seq;
}

unsigned uvm_reserve_fail_parked(uint64_t mark)
{
    struct uvm_reservewait *wait;
    unsigned n = 0;

    UVM_LOCK_SCOPE(&rsv.lock);
    while ((wait = TAILQ_FIRST(&rsv.parked)) && wait->seq <= mark) {
        answer(&rsv.parked, wait, false);
        n++;
    }
    return n;
}

bool uvm_reserve_parked(void)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    return !TAILQ_EMPTY(&rsv.parked);
}

/* => reserve locked */
static bool any_inside(const struct waitlist *list, uint64_t object, uint32_t pgno, uint32_t npages)
{
    const struct uvm_reservewait *wait;

    TAILQ_FOREACH (wait, list, link)
        if (overlaps(wait->object, wait->pgno, wait->npages, object, pgno, npages))
            return true;
    return false;
}

bool uvm_reserve_revoking(uint64_t object, uint32_t pgno, uint32_t npages)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    rsv.rv_npages = 0;
    if (!npages)
        return true;
    if (any_inside(&rsv.parked, object, pgno, npages) ||
        any_inside(&rsv.borrowers, object, pgno, npages))
        return false;
    rsv.rv_object = object;
    rsv.rv_pgno = pgno;
    rsv.rv_npages = npages;
    return true;
}

void uvm_reserve_space(uint64_t *ret_total, uint64_t *ret_free)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    uint64_t max = reserve_max();
    *ret_total = max;
    *ret_free = max > rsv.used ? max - rsv.used : 0;
}
