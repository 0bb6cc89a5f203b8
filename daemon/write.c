/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The write half of rw.h, one window at a time:
 *
 *      whole page, absent       installed with the request's own bytes, never zeroed or read first
 *      part of a page, HOLE     installed as zeroes and the request's bytes
 *      part of a page, SLOT     paged in first, then as resident
 *      resident                 made writable (announced to the pmap), copied into
 *
 * The pages are BUSY while they are filled, so nothing can take them, and the copy cannot fault.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "pager/vnode.h"
#include "pmap/pmap.h"
#include "protect.h"
#include "rw.h"
#include "stats.h"

/* How long a write that the kernel drives waits for pages of files to be written: while it does, the
 * kernel cannot let go of memory or locks. */
#define FORCED_WAIT_NS 10000000000ull

/* The part of a write that lies in one window. */
struct chunk {
    uint64_t from, to;      /* bytes */
    uint32_t first, npages; /* page indices */
    struct uvm_leaf *leaf;
    uint64_t fresh;  /* bit i: page first + i was absent and is FAKE */
    uint64_t failed; /* bit i: could not be filled */
    struct vm_page *pages[UVM_WINDOW_PAGES];
};

enum need { NEED_NOTHING, NEED_WAIT, NEED_ERROR };

static bool is_whole(const struct chunk *c, uint32_t pgno)
{
    return uvm_ptoa(pgno) >= c->from && uvm_ptoa(pgno) + UVM_PAGE_SIZE <= c->to;
}

/* Does the chunk have every byte of the page that counts: to its end, or to that of the file?
 * => object locked */
static bool covers(const struct chunk *c, struct uvm_object *uobj, uint32_t pgno)
{
    return is_whole(c, pgno) ||
           (uobj->backed && uvm_ptoa(pgno) >= c->from && c->to >= uvm_vnode(uobj)->size);
}

static void chunk_init(struct chunk *c, const struct uvm_rw *rw)
{
    c->from = rw->off + rw->at;
    c->first = (uint32_t)uvm_atop(c->from);
    uint32_t end = (c->first / UVM_WINDOW_PAGES + 1) * UVM_WINDOW_PAGES;
    c->to = MIN(MIN(rw->off + rw->len, rw->stop), uvm_ptoa(end));
    c->npages = (uint32_t)uvm_atop(c->to - 1) - c->first + 1;
    c->fresh = c->failed = 0;
}

/*
 * See that nothing is in the way of the chunk.
 *
 * => object locked; NEED_NOTHING: still locked, pages in hand, reservations granted
 * => NEED_WAIT, NEED_ERROR: unlocked; the request is parked, or *ret_error says why not
 */
static enum need chunk_ready(struct uvm_rw *rw, struct chunk *c, int *ret_error)
{
    struct uvm_object *uobj = rw->uobj;
    uint32_t absent = 0, empty = 0, slot_pgno = 0, empty_pgno = 0;
    bool busy = false, page_in = false;

    const struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, c->first);
    for (uint32_t i = 0; i < c->npages; i++) {
        uvm_entry e = leaf ? leaf->entry[(c->first + i) % UVM_WINDOW_PAGES] : 0;
        struct vm_page *pg = uvm_entry_page(e);
        busy |= pg && (pg->flags & PG_BUSY);
        if (!pg && absent++ == 0)
            rw->absent = c->first + i;
        if (uvm_entry_unreserved(uobj, e) && empty++ == 0)
            empty_pgno = c->first + i;
        if (uvm_entry_paged_out(uobj, e) && !covers(c, uobj, c->first + i)) {
            page_in = true;
            slot_pgno = c->first + i;
        }
    }
    if (busy) {
        uvm_rw_wait_busy(rw, c->first, c->npages);
        return NEED_WAIT;
    }
    if (page_in) {
        uvm_lock_release(&uobj->lock);
        uvm_rw_fault(rw, slot_pgno, 1);
        return NEED_WAIT;
    }
    if (empty && !uvm_rw_reserve(rw, empty, ret_error)) {
        uvm_lock_release(&uobj->lock);
        uvm_pageput(&rw->hand);
        rw->nhand = 0;
        if (*ret_error && uvm_rw_stop(rw, empty_pgno, *ret_error))
            *ret_error = -EAGAIN; /* as far as it goes */
        return *ret_error ? NEED_ERROR : NEED_WAIT;
    }
    if (absent <= rw->nhand)
        return NEED_NOTHING;

    uvm_lock_release(&uobj->lock);
    uvm_pageput(&rw->hand); /* never wait with pages in hand */
    rw->nhand = 0;
    if (!uvm_pagealloc(absent, &rw->hand, 0, &rw->pagewait))
        return NEED_WAIT;
    rw->nhand = absent;
    *ret_error = -EAGAIN; /* have a fresh look: the lock was let go */
    return NEED_ERROR;
}

/* Make every page of the chunk busy and the request's. => object locked; 0 or -ENOMEM */
static int chunk_claim(struct uvm_rw *rw, struct chunk *c)
{
    struct uvm_object *uobj = rw->uobj;

    c->leaf = uvm_leaf_make(uobj, c->first);
    if (!c->leaf)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->npages; i++) {
        uint32_t pgno = c->first + i;
        uvm_entry e = c->leaf->entry[pgno % UVM_WINDOW_PAGES];
        struct vm_page *pg = uvm_entry_page(e);
        if (pg) {
            uvm_page_busy(pg, __func__);
        } else {
            if (uvm_entry_unreserved(uobj, e)) {
                uvm_entry_set(uobj, c->leaf, pgno, uvm_entry_make(UVM_E_HOLE, 0));
                rw->granted--;
            }
            pg = TAILQ_FIRST(&rw->hand);
            TAILQ_REMOVE(&rw->hand, pg, pageq);
            rw->nhand--;
            uvm_object_addpage(uobj, c->leaf, pgno, pg, __func__);
            c->fresh |= 1ull << i;
        }
        c->pages[i] = pg;
    }
    return 0;
}

static void copy_part(const struct uvm_rw *rw, const struct chunk *c, uint32_t pgno,
                      uint32_t npages, char *page)
{
    uint64_t base = uvm_ptoa(pgno);
    uint64_t from = MAX(base, c->from), to = MIN(base + uvm_ptoa(npages), c->to);

    if (rw->src)
        memcpy(page + (from - base), rw->src + (from - rw->off), to - from);
    else
        memset(page + (from - base), 0, to - from);
}

/* Install one page of which the request has only a part. */
static int fill_part(const struct uvm_rw *rw, const struct chunk *c, uint32_t i)
{
    char page[UVM_PAGE_SIZE] = {0};
    copy_part(rw, c, c->first + i, 1, page);
    return pmap_enter(c->pages[i]->apage, 1, page, UVM_PROT_RW);
}

/* Put the bytes into the claimed pages, one call for neighbours. => no lock; returns the error */
static int chunk_fill(const struct uvm_rw *rw, struct chunk *c)
{
    int error = 0;

    for (uint32_t i = 0, run; i < c->npages; i += run) {
        bool fresh = c->fresh >> i & 1;
        bool whole = is_whole(c, c->first + i);
        int rc = 0;
        run = 1;
        if (fresh && !whole) {
            rc = fill_part(rw, c, i);
        } else {
            while (i + run < c->npages && (c->fresh >> (i + run) & 1) == fresh &&
                   (!fresh || is_whole(c, c->first + i + run)))
                run++;
            uint32_t apage = c->pages[i]->apage;
            if (fresh) {
                const char *src = rw->src ? rw->src + (uvm_ptoa(c->first + i) - rw->off) : NULL;
                rc = src ? pmap_enter(apage, run, src, UVM_PROT_RW)
                         : pmap_zero(apage, run, UVM_PROT_RW);
            } else {
                pmap_page_protect(apage, run, UVM_PROT_RW);
                copy_part(rw, c, c->first + i, run, pmap_kva(apage));
            }
        }
        if (rc) {
            error = rc;
            for (uint32_t k = 0; k < run; k++)
                c->failed |= 1ull << (i + k);
        }
    }
    return error;
}

/* The pages are filled: they are dirty, their old slots of no use. => no lock on entry and exit */
static void chunk_settle(struct uvm_rw *rw, struct chunk *c)
{
    struct vm_pagelist freed = TAILQ_HEAD_INITIALIZER(freed);
    uint64_t kept = 0;

    uvm_lock_acquire(&rw->uobj->lock);
    for (uint32_t i = 0; i < c->npages; i++)
        if (!(c->pages[i]->flags & PG_RELEASED))
            kept |= 1ull << (c->first % UVM_WINDOW_PAGES + i);
    /* Whoever wrote through the client cache still has the bytes there. */
    uvm_delivered_set(c->leaf, kept);
    c->leaf->revoking &= ~kept;
    /* The kernel writes back no more than it had the size for: it makes no file longer. */
    if (rw->uobj->pgops->pgo_dirtied)
        rw->uobj->pgops->pgo_dirtied(rw->uobj, rw->src && !(rw->flags & UVM_RW_FORCE) ? c->to : 0);
    for (uint32_t i = 0; i < c->npages; i++) {
        struct vm_page *pg = c->pages[i];
        if (c->failed >> i & 1 && !(pg->flags & PG_RELEASED)) {
            uvm_object_subpage(pg, UVM_E_HOLE);
            TAILQ_INSERT_TAIL(&freed, pg, pageq);
            continue;
        }
        if (!(c->failed >> i & 1)) {
            if (c->fresh >> i & 1)
                uvm_page_filled(pg, false);
            uint32_t slot = uvm_page_dirty(pg);
            if (slot)
                uvm_swap_free(slot, 1);
        }
        bool alive = uvm_page_letgo(pg, UVM_Q_ACTIVE);
        assert(alive); /* the caller's reference keeps the object */
        (void)alive;
    }
    uvm_lock_release(&rw->uobj->lock);
    uvm_pageput(&freed);
}

static void got_pages(struct uvm_work *work)
{
    struct uvm_rw *rw = UVM_CONTAINER_OF(work, struct uvm_rw, pagewait.work);
    if (rw->pagewait.failed) {
        if (uvm_rw_stop(rw, rw->absent, -EIO))
            rw->run(rw);
        else
            uvm_rw_finish(rw, -EIO);
        return;
    }
    TAILQ_CONCAT(&rw->hand, &rw->pagewait.list, pageq);
    rw->nhand = rw->pagewait.npages;
    rw->run(rw);
}

static void dirty_answer(struct uvm_work *work)
{
    struct uvm_rw *rw = UVM_CONTAINER_OF(work, struct uvm_rw, dirtywait.work);

    if (rw->dirtywait.error) {
        uvm_rw_finish(rw, rw->dirtywait.error);
        return;
    }
    rw->admitted = rw->dirtywait.npages;
    rw->run(rw);
}

/* May the next chunk make pages of a file dirty? => false: parked until there are fewer */
static bool admitted(struct uvm_rw *rw, uint32_t npages)
{
    if (rw->admitted)
        return true;
    rw->dirtywait.npages = npages;
    rw->dirtywait.work.fn = dirty_answer;
    rw->dirtywait.loop = rw->loop;
    rw->dirtywait.uobj = rw->uobj;
    rw->dirtywait.deadline_ns = rw->flags & UVM_RW_FORCE ? uvm_now_ns() + FORCED_WAIT_NS : 0;
    uvm_pageput(&rw->hand); /* never wait with pages in hand */
    rw->nhand = 0;
    if (uvn_dirty_wait(&rw->dirtywait))
        return false;
    rw->admitted = npages;
    return true;
}

/* Has the object been frozen while a write(2) waited? What the kernel writes back, and has been let in, was
 * stored before. => object locked */
static bool frozen(const struct uvm_rw *rw, int *ret_error)
{
    if (rw->src && !(rw->flags & UVM_RW_FORCE))
        *ret_error = uvm_protect_check(rw->uobj, true);
    return *ret_error != 0;
}

void uvm_write_run(struct uvm_rw *rw)
{
    struct chunk c;

    rw->pagewait.work.fn = got_pages;
    rw->pagewait.loop = rw->loop;
    while (rw->at < rw->len) {
        int error = 0;
        if (rw->off + rw->at == rw->stop) {
            uvm_rw_finish(rw, rw->stop_error);
            return;
        }
        chunk_init(&c, rw);
        if (rw->uobj->backed && rw->src && !admitted(rw, c.npages))
            return;
        uvm_lock_acquire(&rw->uobj->lock);
        if (frozen(rw, &error)) {
            uvm_lock_release(&rw->uobj->lock);
            uvm_rw_finish(rw, error);
            return;
        }
        if (!rw->src) { /* only zero what exists */
            uvm_entry e = uvm_entry_get(rw->uobj, c.first);
            bool there = uvm_entry_tag(e) == UVM_E_PAGE || uvm_entry_tag(e) == UVM_E_SLOT;
            assert(c.npages == 1);
            there |= (rw->flags & UVM_RW_ABSENT) && uvm_entry_paged_out(rw->uobj, e);
            if (!there) {
                uvm_lock_release(&rw->uobj->lock);
                break;
            }
        }
        enum need need = chunk_ready(rw, &c, &error);
        if (need == NEED_WAIT)
            return;
        if (need == NEED_ERROR && error == -EAGAIN)
            continue;
        if (need == NEED_NOTHING) {
            error = chunk_claim(rw, &c);
            uvm_lock_release(&rw->uobj->lock);
        }
        if (!error) {
            error = chunk_fill(rw, &c);
            chunk_settle(rw, &c);
        }
        if (error) {
            uvm_rw_finish(rw, error);
            return;
        }
        rw->at += c.to - c.from;
        uvm_rw_came(rw);
    }
    uvm_rw_finish(rw, 0);
}

void uvm_write_moved(struct uvm_rw *rw, const char *data, size_t kept)
{
    uint64_t end = rw->off + rw->at + kept;

    /* src is where the request's first byte would be. */
    if (kept)
        rw->src = (const char *)((uintptr_t)data - rw->at);
    if (end < rw->off + rw->len && end < rw->stop) {
        rw->stop = end;
        rw->stop_error = -ENOMEM;
    }
}

bool uvm_write_cached(struct uvm_rw *rw, uint32_t pgno)
{
    uint32_t end = (uint32_t)uvm_atop(rw->off + rw->len - 1) + 1;

    if (uvm_stat_get(lent)) /* zeroes on loan are in the client cache without a mark */
        return true;
    if (rw->uobj->backed) /* the mark goes with a leaf whose pages have all been paged out */
        return true;
    UVM_LOCK_SCOPE(&rw->uobj->lock);
    for (; pgno < end; pgno++) {
        const struct uvm_leaf *leaf = uvm_leaf_lookup(rw->uobj, pgno);
        if (leaf && (leaf->delivered >> pgno % UVM_WINDOW_PAGES & 1))
            return true;
    }
    return false;
}

void uvm_write_cancel(struct uvm_rw *rw)
{
    if (uvm_write_cached(rw, (uint32_t)uvm_atop(rw->off + rw->at)))
        return;
    if (uvm_pagewait_cancel(&rw->pagewait) || uvm_reserve_cancel(&rw->reservewait))
        uvm_rw_finish(rw, -EINTR);
}
