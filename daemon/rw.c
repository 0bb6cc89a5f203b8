/* SPDX-License-Identifier: BSD-2-Clause */
#include "rw.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "pmap/pmap.h"
#include "policy.h"
#include "stats.h"

/* A read touches at most this many windows: 257 pages, not aligned. */
#define READ_SPANS 6

/* The part of a read that lies in one window, as it was under the object's lock. */
struct span {
    uint32_t first, npages; /* page indices */
    uint64_t resident;      /* bit i: page first + i is in the arena */
    uint32_t window, gen;
};

void uvm_rw_finish(struct uvm_rw *rw, int error)
{
    uvm_pageput(&rw->hand);
    rw->nhand = 0;
    if (rw->granted)
        uvm_unreserve(rw->granted);
    rw->granted = 0;
    free(rw->fault);
    rw->fault = NULL;
    rw->done(rw, error);
}

static void busy_gone(struct uvm_work *work)
{
    struct uvm_rw *rw = UVM_CONTAINER_OF(work, struct uvm_rw, objwait.work);
    rw->run(rw);
}

/* => object locked, unlocked on return */
void uvm_rw_wait_busy(struct uvm_rw *rw, uint32_t pgno, uint32_t npages)
{
    rw->objwait.work.fn = busy_gone;
    rw->objwait.loop = rw->loop;
    rw->objwait.pgno = pgno;
    rw->objwait.npages = npages;
    uvm_object_wait(rw->uobj, &rw->objwait);
    uvm_lock_release(&rw->uobj->lock);
    uvm_pageput(&rw->hand);
    rw->nhand = 0;
}

static void fault_done(struct uvm_fault *fault, int error)
{
    struct uvm_rw *rw = fault->arg;
    if (error)
        uvm_rw_finish(rw, error == -ENOMEM ? -ENOMEM : -EIO);
    else
        rw->run(rw);
}

/* => no lock */
void uvm_rw_fault(struct uvm_rw *rw, uint32_t pgno, uint32_t npages)
{
    uvm_pageput(&rw->hand);
    rw->nhand = 0;
    if (!rw->fault)
        rw->fault = malloc(sizeof(*rw->fault));
    if (!rw->fault) {
        uvm_rw_finish(rw, -ENOMEM);
        return;
    }
    rw->faulted = true;
    rw->fault->uobj = rw->uobj;
    rw->fault->loop = rw->loop;
    rw->fault->pgno = pgno;
    rw->fault->npages = npages;
    rw->fault->pgaflags = 0;
    rw->fault->done = fault_done;
    rw->fault->arg = rw;
    uvm_fault_start(rw->fault);
}

static void reserve_answer(struct uvm_work *work)
{
    struct uvm_rw *rw = UVM_CONTAINER_OF(work, struct uvm_rw, reservewait.work);
    if (rw->reservewait.granted)
        rw->granted += rw->reservewait.n;
    else
        rw->refused = true;
    rw->run(rw);
}

/*
 * Have n reservations granted. => object locked; true: they are
 * => false, *ret_error 0: parked, the caller unlocks and returns; else refused
 */
bool uvm_rw_reserve(struct uvm_rw *rw, uint32_t n, uint32_t pgno, uint32_t npages, int *ret_error)
{
    *ret_error = 0;
    if (rw->granted >= n)
        return true;
    uint32_t more = n - rw->granted;
    if (rw->flags & UVM_RW_FORCE) {
        if (uvm_reserve_force(more)) {
            rw->granted = n;
            return true;
        }
        *ret_error = -ENOSPC;
        return false;
    }
    rw->reservewait.work.fn = reserve_answer;
    rw->reservewait.loop = rw->loop;
    rw->reservewait.object = rw->uobj->id;
    rw->reservewait.pgno = pgno;
    rw->reservewait.npages = npages;
    switch (rw->refused ? UVM_RESERVE_FULL : uvm_reserve(more, &rw->reservewait)) {
    case UVM_RESERVED:
        rw->granted = n;
        return true;
    case UVM_RESERVE_PARKED:
        return false;
    case UVM_RESERVE_FULL:
        break;
    }
    *ret_error = -ENOSPC;
    return false;
}

struct tally {
    uint32_t busy, slot, empty;
};

/* What is in the way of reading [first, first + n)? => object locked */
static struct tally tally_range(struct uvm_object *uobj, uint32_t first, uint32_t n)
{
    struct tally t = {0};

    for (uint32_t i = 0; i < n; i++) {
        uvm_entry e = uvm_entry_get(uobj, first + i);
        struct vm_page *pg = uvm_entry_page(e);
        t.busy += pg && (pg->flags & PG_BUSY);
        t.slot += uvm_entry_tag(e) == UVM_E_SLOT;
        t.empty += uvm_entry_tag(e) == UVM_E_EMPTY;
    }
    return t;
}

/* Turn the EMPTY pages of a range into HOLEs. => object locked, reservations granted; 0 or -ENOMEM
 */
static int make_holes(struct uvm_rw *rw, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct uvm_leaf *leaf = uvm_leaf_make(rw->uobj, first + i);
        if (!leaf)
            return -ENOMEM;
        if (uvm_entry_tag(leaf->entry[(first + i) % UVM_WINDOW_PAGES]) != UVM_E_EMPTY)
            continue;
        uvm_entry_set(rw->uobj, leaf, first + i, uvm_entry_make(UVM_E_HOLE, 0));
        assert(rw->granted);
        rw->granted--;
    }
    return 0;
}

/*
 * Note that the pages of a span are used. A clean page that the client cache is about to hold is
 * not worth keeping here as well: it is first in line to be freed. => object locked
 */
static void note_use(struct uvm_leaf *leaf, uint32_t at, uint32_t n)
{
    UVM_LOCK_SCOPE(uvm_page_queue_lock());
    for (uint32_t i = at; i < at + n; i++) {
        struct vm_page *pg = uvm_entry_page(leaf->entry[i]);
        if (!pg)
            continue;
        if (!(pg->flags & PG_CLEAN)) {
            uvm_page_reference(pg);
        } else if (pg->pqflags & (PQ_ACTIVE | PQ_INACTIVE)) {
            uvm_policy->dequeue(pg);
            uvm_policy->enqueue(pg, UVM_Q_FIRST);
        }
    }
}

/* Cut a range into spans. => object locked, no page of it busy or on swap; returns how many */
static unsigned make_spans(struct uvm_object *uobj, uint32_t first, uint32_t n, struct span *spans)
{
    unsigned count = 0;

    for (uint32_t done = 0; done < n; count++) {
        assert(count < READ_SPANS);
        struct span *s = &spans[count];
        uint32_t at = (first + done) % UVM_WINDOW_PAGES;
        s->first = first + done;
        s->npages = MIN(n - done, UVM_WINDOW_PAGES - at);
        s->resident = 0;
        s->window = UVM_NOWINDOW;
        done += s->npages;
        struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, s->first);
        if (!leaf)
            continue;
        for (uint32_t i = 0; i < s->npages; i++)
            if (uvm_entry_tag(leaf->entry[at + i]) == UVM_E_PAGE)
                s->resident |= 1ull << i;
        uint64_t mask = s->npages == 64 ? ~0ull : (1ull << s->npages) - 1;
        uvm_delivered_set(leaf, mask << at);
        leaf->revoking &= ~(mask << at);
        if (s->resident) {
            s->window = leaf->window;
            s->gen = pmap_window_gen(leaf->window);
            note_use(leaf, at, s->npages);
        }
    }
    return count;
}

/* Copy a span's bytes that fall into [off, off + len). => no lock: pages may go meanwhile */
static void copy_span(const struct span *s, uint64_t off, size_t len, char *dst)
{
    for (uint32_t i = 0, run; i < s->npages; i += run) {
        bool present = s->resident >> i & 1;
        run = 1;
        while (i + run < s->npages && (s->resident >> (i + run) & 1) == present)
            run++;
        uint64_t from = MAX(uvm_ptoa(s->first + i), off);
        uint64_t to = MIN(uvm_ptoa(s->first + i + run), off + len);
        if (present) {
            const char *window = pmap_kva(s->window * UVM_WINDOW_PAGES);
            memcpy(dst + (from - off), window + (from & (uvm_ptoa(UVM_WINDOW_PAGES) - 1)),
                   to - from);
        } else {
            memset(dst + (from - off), 0, to - from);
        }
    }
}

static void read_done(struct uvm_rw *rw, const struct span *spans, unsigned nspans)
{
    bool any = false;

    for (unsigned i = 0; i < nspans; i++)
        any |= spans[i].resident != 0;
    if (!rw->faulted)
        uvm_hist_add(any ? UVM_HIST_HIT : UVM_HIST_ZERO, uvm_now_ns() - rw->start_ns);
    uvm_rw_finish(rw, 0);
}

static void read_run(struct uvm_rw *rw)
{
    uint32_t first = (uint32_t)uvm_atop(rw->off);
    uint32_t n = (uint32_t)(uvm_atop(rw->off + rw->len - 1) - first + 1);
    struct span spans[READ_SPANS];
    int error = 0;

    for (;;) {
        uvm_lock_acquire(&rw->uobj->lock);
        struct tally t = tally_range(rw->uobj, first, n);
        if (t.busy) {
            uvm_rw_wait_busy(rw, first, n);
            return;
        }
        if (t.slot) {
            uvm_lock_release(&rw->uobj->lock);
            uvm_rw_fault(rw, first, n);
            return;
        }
        bool reserved = !t.empty || uvm_rw_reserve(rw, t.empty, first, n, &error);
        if (t.empty && reserved)
            error = make_holes(rw, first, n);
        if (!reserved && error == -ENOSPC && (rw->flags & UVM_RW_READONLY)) {
            rw->unreserved = true;
            reserved = true;
            error = 0;
        }
        if (!reserved || error) {
            uvm_lock_release(&rw->uobj->lock);
            if (error)
                uvm_rw_finish(rw, error);
            return;
        }
        unsigned nspans = make_spans(rw->uobj, first, n, spans);
        uvm_lock_release(&rw->uobj->lock);

        bool stale = false;
        for (unsigned i = 0; i < nspans; i++)
            copy_span(&spans[i], rw->off, rw->len, rw->dst);
        atomic_thread_fence(memory_order_acquire);
        for (unsigned i = 0; i < nspans; i++)
            stale |= spans[i].resident && pmap_window_gen(spans[i].window) != spans[i].gen;
        if (!stale) {
            read_done(rw, spans, nspans);
            return;
        }
        uvm_stat_inc(flt_regen);
    }
}

static void rw_start(struct uvm_rw *rw, void (*run)(struct uvm_rw *rw))
{
    uvm_lock_assert_none();
    assert(rw->len > 0 && rw->off + rw->len <= uvm_ptoa(UVM_OBJECT_PAGES_MAX));
    rw->run = run;
    rw->at = 0;
    rw->start_ns = uvm_now_ns();
    rw->faulted = rw->refused = rw->unreserved = false;
    rw->nhand = rw->granted = 0;
    rw->fault = NULL;
    TAILQ_INIT(&rw->hand);
    run(rw);
}

void uvm_read(struct uvm_rw *rw)
{
    uint64_t npages = uvm_atop(rw->off + rw->len - 1) - uvm_atop(rw->off) + 1;
    uvm_stat_add(faults, npages);
    atomic_fetch_add_explicit(&rw->uobj->faults, npages, memory_order_relaxed);
    rw_start(rw, read_run);
}

void uvm_write(struct uvm_rw *rw)
{
    rw_start(rw, uvm_write_run);
}

/* How many pages of [pgno, pgno + npages) are EMPTY? => object locked; costs the leaves there are
 */
static uint32_t count_empty(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    uint32_t empty = npages;

    struct uvm_leaf *leaf = uvm_leaf_next(uobj, pgno / UVM_WINDOW_PAGES);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= pgno + npages)
            break;
        for (uint32_t i = 0; i < UVM_WINDOW_PAGES; i++)
            if (base + i >= pgno && base + i < pgno + npages)
                empty -= uvm_entry_tag(leaf->entry[i]) != UVM_E_EMPTY;
    }
    return empty;
}

/* => object locked */
static void mark_allocated(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, pgno / UVM_WINDOW_PAGES);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= pgno + npages)
            break;
        uint64_t mask = ~0ull;
        if (base < pgno)
            mask &= ~0ull << (pgno - base);
        if (base + UVM_WINDOW_PAGES > pgno + npages)
            mask &= ~0ull >> (base + UVM_WINDOW_PAGES - pgno - npages);
        leaf->allocated |= mask;
    }
}

int uvm_allocate(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    struct uvm_rw rw = {.uobj = uobj};
    int error = 0;

    UVM_LOCK_SCOPE(&uobj->lock);
    uint32_t empty = count_empty(uobj, pgno, npages);
    if (empty && uvm_reserve(empty, NULL) != UVM_RESERVED)
        return -ENOSPC;
    rw.granted = empty;
    error = make_holes(&rw, pgno, npages);
    mark_allocated(uobj, pgno, npages);
    if (rw.granted)
        uvm_unreserve(rw.granted);
    return error;
}

uint32_t uvm_find(struct uvm_object *uobj, uint32_t pgno, uint32_t end, bool data)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    while (pgno < end) {
        struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);
        if (!leaf) {
            if (!data)
                return pgno;
            leaf = uvm_leaf_next(uobj, pgno / UVM_WINDOW_PAGES);
            if (!leaf)
                return end;
            pgno = leaf->index * UVM_WINDOW_PAGES;
            continue;
        }
        enum uvm_entry_tag tag = uvm_entry_tag(leaf->entry[pgno % UVM_WINDOW_PAGES]);
        if ((tag == UVM_E_PAGE || tag == UVM_E_SLOT) == data)
            return pgno;
        pgno++;
    }
    return end;
}
