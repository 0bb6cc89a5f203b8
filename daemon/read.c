/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The read half of rw.h.
 *
 *      under the lock    every page is PAGE or HOLE; note windows, generations, what is resident
 *      without it        copy; a page that goes meanwhile faults and comes back (faultd.c)
 *      after it          the same generations? reply : again
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "pmap/pmap.h"
#include "policy.h"
#include "rw.h"
#include "stats.h"

/* A read touches at most this many windows: 257 pages, not aligned. */
#define READ_SPANS 6

/* The part of a read that lies in one window, as it was under the object's lock. */
struct span {
    uint32_t first, npages; /* page indices */
    uint64_t resident;      /* bit i: page first + i is in the arena */
    uint64_t clean;         /* of those, the ones whose bytes are on the backing store too */
    uint32_t window, gen;
};

struct tally {
    uint32_t busy, slot, empty;
};

/* What is in the way of reading [first, first + n)? => object locked */
static struct tally tally_range(struct uvm_object *uobj, uint32_t first, uint32_t n)
{
    struct tally t = {0};
    const struct uvm_leaf *leaf = NULL;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (first + i) % UVM_WINDOW_PAGES;
        if (i == 0 || at == 0)
            leaf = uvm_leaf_lookup(uobj, first + i);
        uvm_entry e = leaf ? leaf->entry[at] : 0;
        struct vm_page *pg = uvm_entry_page(e);
        t.busy += pg && (pg->flags & PG_BUSY);
        t.slot += uvm_entry_paged_out(uobj, e);
        t.empty += uvm_entry_unreserved(uobj, e);
    }
    return t;
}

/* Note that the resident pages of a span are used. => object locked; returns those that are clean */
static uint64_t note_use(const struct uvm_leaf *leaf, const struct span *s)
{
    uint64_t clean = 0;

    for (uint32_t i = 0; i < s->npages; i++) {
        struct vm_page *pg = uvm_entry_page(leaf->entry[(s->first + i) % UVM_WINDOW_PAGES]);
        if (pg && (pg->flags & PG_CLEAN))
            clean |= 1ull << i;
        else if (pg)
            uvm_page_reference(pg);
    }
    return clean;
}

/*
 * A clean page that the client cache is about to hold is not worth keeping here as well: it is first
 * in line to be freed. But not before it has been copied: then it would go under the copy.
 * => no lock
 */
static void note_copied(struct uvm_object *uobj, const struct span *spans, unsigned nspans)
{
    for (unsigned k = 0; k < nspans; k++) {
        if (!spans[k].clean)
            continue;
        UVM_LOCK_SCOPE(&uobj->lock);
        const struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, spans[k].first);
        if (!leaf)
            continue;
        UVM_LOCK_SCOPE(uvm_page_queue_lock());
        for (uint64_t rest = spans[k].clean; rest; rest &= rest - 1) {
            uint32_t pgno = spans[k].first + (uint32_t)__builtin_ctzll(rest);
            struct vm_page *pg = uvm_entry_page(leaf->entry[pgno % UVM_WINDOW_PAGES]);
            if (!pg || !(pg->flags & PG_CLEAN) || !(pg->pqflags & (PQ_ACTIVE | PQ_INACTIVE)))
                continue;
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
        s->resident = s->clean = 0;
        s->window = UVM_NOWINDOW;
        done += s->npages;
        struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, s->first);
        if (!leaf)
            continue;
        uint64_t held =
            0; /* zeroes of an EMPTY page are on loan, and their range is revoked anyway */
        for (uint32_t i = 0; i < s->npages; i++) {
            enum uvm_entry_tag tag = uvm_entry_tag(leaf->entry[at + i]);
            s->resident |= (uint64_t)(tag == UVM_E_PAGE) << i;
            held |= (uint64_t)(tag != UVM_E_EMPTY) << i;
        }
        uvm_delivered_set(leaf, held << at);
        leaf->revoking &= ~(held << at);
        if (s->resident) {
            s->window = leaf->window;
            s->gen = pmap_window_gen(leaf->window);
            s->clean = note_use(leaf, s);
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

/*
 * Zeroes about to be served from EMPTY pages: the pages become HOLEs with a reservation, or a reader
 * who cannot store has them on loan.
 *
 * => object locked; false, *ret_error 0: parked, the caller unlocks and returns; else refused
 */
static bool make_room(struct uvm_rw *rw, uint32_t first, uint32_t n, uint32_t empty, int *ret_error)
{
    *ret_error = 0;
    if (rw->lent >= empty)
        return true;
    if (uvm_rw_reserve(rw, empty, ret_error)) {
        *ret_error = uvm_rw_make_holes(rw, first, n);
        return !*ret_error;
    }
    if (*ret_error != -ENOSPC || !(rw->flags & UVM_RW_READONLY))
        return false;
    return uvm_rw_lend(rw, empty, ret_error);
}

void uvm_read_run(struct uvm_rw *rw)
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
        if (t.empty && !make_room(rw, first, n, t.empty, &error)) {
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
            note_copied(rw->uobj, spans, nspans);
            read_done(rw, spans, nspans);
            return;
        }
        uvm_stat_inc(flt_regen);
    }
}
