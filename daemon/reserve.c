/* SPDX-License-Identifier: BSD-2-Clause */
#include "reserve.h"

#include "lock.h"
#include "stats.h"

static struct {
    struct uvm_lock lock;
    uint64_t memory;                      /* (!) */
    uint64_t used;                        /* (lock) */
    void (*reclaim)(void);                /* (!) */
    TAILQ_HEAD(, uvm_reservewait) parked; /* (lock) */
    uint64_t seq;                         /* (lock) of the one that parked last */
    uint64_t rv_object;                   /* (lock) the range being revoked, npages 0: none */
    uint32_t rv_pgno, rv_npages;          /* (lock) */
} rsv;

void uvm_reserve_init(void)
{
    uvm_lock_init(&rsv.lock, UVM_LR_RESERVE);
    TAILQ_INIT(&rsv.parked);
    rsv.memory = rsv.used = 0;
    rsv.rv_npages = 0;
    rsv.reclaim = NULL;
    uvm_stat_set(reserved, 0);
}

void uvm_reserve_set_reclaim(void (*reclaim)(void))
{
    rsv.reclaim = reclaim;
}

/* What can be promised: it grows and shrinks with swap. => any lock */
static uint64_t reserve_max(void)
{
    uint64_t swap = uvm_stat_get(swpages), bad = uvm_stat_get(swpgbad);
    uint64_t max = rsv.memory + (swap > bad ? swap - bad : 0);
    uvm_stat_set(reservemax, max);
    return max;
}

void uvm_reserve_set_memory(uint64_t npages)
{
    rsv.memory = npages;
    (void)reserve_max();
}

static bool overlaps(uint64_t obj_a, uint32_t a, uint32_t na, uint64_t obj_b, uint32_t b,
                     uint32_t nb)
{
    return obj_a == obj_b && a < (uint64_t)b + nb && b < (uint64_t)a + na;
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

/* Grant what those who are parked want, in order, while there is enough. => reserve locked */
static void serve_parked(uint64_t max)
{
    struct uvm_reservewait *wait;

    while ((wait = TAILQ_FIRST(&rsv.parked)) && take(wait->n, max)) {
        TAILQ_REMOVE(&rsv.parked, wait, link);
        wait->granted = true;
        uvm_loop_post(wait->loop, &wait->work);
    }
}

enum uvm_reserve_result uvm_reserve(uint32_t n, struct uvm_reservewait *wait)
{
    uint64_t max = reserve_max();
    {
        UVM_LOCK_SCOPE(&rsv.lock);
        if (TAILQ_EMPTY(&rsv.parked) && take(n, max))
            return UVM_RESERVED;
        if (!wait || n > max) {
            uvm_stat_inc(reserve_fail);
            return UVM_RESERVE_FULL;
        }
        if (overlaps(wait->object, wait->pgno, wait->npages, rsv.rv_object, rsv.rv_pgno,
                     rsv.rv_npages)) {
            if (take(n, max + UVM_RESERVE_EMERGENCY))
                return UVM_RESERVED;
            uvm_stat_inc(reserve_fail);
            return UVM_RESERVE_FULL;
        }
        wait->n = n;
        wait->seq = ++rsv.seq;
        wait->granted = false;
        TAILQ_INSERT_TAIL(&rsv.parked, wait, link);
        uvm_stat_inc(flt_norsrv);
    }
    if (rsv.reclaim)
        rsv.reclaim();
    else
        uvm_reserve_fail_parked(UINT64_MAX);
    return UVM_RESERVE_PARKED;
}

bool uvm_reserve_cancel(struct uvm_reservewait *wait)
{
    uint64_t max = reserve_max();
    struct uvm_reservewait *w;

    UVM_LOCK_SCOPE(&rsv.lock);
    TAILQ_FOREACH (w, &rsv.parked, link) {
        if (w == wait) {
            TAILQ_REMOVE(&rsv.parked, wait, link);
            serve_parked(max); /* those behind may want less */
            return true;
        }
    }
    return false;
}

bool uvm_reserve_force(uint32_t n)
{
    uint64_t max = reserve_max();
    UVM_LOCK_SCOPE(&rsv.lock);
    if (take(n, max + UVM_RESERVE_EMERGENCY))
        return true;
    uvm_stat_inc(reserve_fail);
    return false;
}

void uvm_unreserve(uint64_t n)
{
    uint64_t max = reserve_max();

    UVM_LOCK_SCOPE(&rsv.lock);
    rsv.used -= n;
    uvm_stat_set(reserved, rsv.used);
    serve_parked(max);
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
        TAILQ_REMOVE(&rsv.parked, wait, link);
        wait->granted = false;
        uvm_stat_inc(reserve_fail);
        uvm_loop_post(wait->loop, &wait->work);
        n++;
    }
    return n;
}

bool uvm_reserve_parked(void)
{
    UVM_LOCK_SCOPE(&rsv.lock);
    return !TAILQ_EMPTY(&rsv.parked);
}

bool uvm_reserve_revoking(uint64_t object, uint32_t pgno, uint32_t npages)
{
    struct uvm_reservewait *wait;

    UVM_LOCK_SCOPE(&rsv.lock);
    rsv.rv_npages = 0;
    if (!npages)
        return true;
    TAILQ_FOREACH (wait, &rsv.parked, link)
        if (overlaps(wait->object, wait->pgno, wait->npages, object, pgno, npages))
            return false;
    rsv.rv_object = object;
    rsv.rv_pgno = pgno;
    rsv.rv_npages = npages;
    return true;
}

void uvm_reserve_space(uint64_t *ret_total, uint64_t *ret_free)
{
    uint64_t max = reserve_max();
    UVM_LOCK_SCOPE(&rsv.lock);
    *ret_total = max;
    *ret_free = max > rsv.used ? max - rsv.used : 0;
}
