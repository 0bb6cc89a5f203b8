/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The drain as a machine: drain_run does a bounded piece of the walk and is posted again, by itself, by
 * the end of a page-in, or by a tick when nothing else would.
 *
 *      run --> next slot --> look at its owner --> a run of neighbours: page-in --> done: drop slots --.
 *       ^                        |  \_ resident: drop its slot                                         |
 *       |                        \_ busy, or nobody's yet: the next walk                               |
 *       `---------------------------------------------------------------------------------------------'
 *
 * The ledger is written by others at any time, so what it says is a hint; the object, under its lock, says
 * whether a page has the slot. No lock is held while a page-in is under way, only a reference.
 */
#include "drain.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "ledger.h"
#include "object.h"
#include "pager/swap.h"
#include "stats.h"

#define DRAIN_LOOKS   1024u /* slots a run looks at before others have a turn */
#define DRAIN_TICK_MS 10
#define DRAIN_SHORT   32u /* pages of a page-in while others wait for memory */
#define DRAIN_STARVED 3u

enum look {
    LOOK_MOVED, /* the slot is free, or a page-in has begun */
    LOOK_WAIT,  /* a page-in is due, and may not begin now */
    LOOK_STUCK, /* not to be had now */
    LOOK_BAD,   /* cannot be read */
};

static void drain_post(struct uvm_drain *drain)
{
    if (drain->posted)
        return;
    drain->posted = true;
    uvm_loop_post(drain->loop, &drain->work);
}

static void drain_tick(void *arg)
{
    struct uvm_drain *drain = arg;
    drain->ticked = true;
    drain_post(drain);
}

static bool on_device(const struct uvm_drain *drain, uint32_t slot)
{
    return slot - drain->slot0 < drain->nslots;
}

/* Give back the slot of a resident page, if it is on the device. => object locked; false: it is busy */
static bool drop_slot(const struct uvm_drain *drain, struct vm_page *pg)
{
    if (pg->flags & PG_BUSY)
        return false;
    if (on_device(drain, pg->swslot))
        uvm_swap_free(uvm_page_dropslot(pg), 1);
    return true;
}

/* The pages have come, or some of them: they are dirty from here on, and their slots free. */
static void fault_done(struct uvm_fault *fault, int error)
{
    struct drain_fault *df = UVM_CONTAINER_OF(fault, struct drain_fault, fault);
    struct uvm_drain *drain = df->drain;
    struct uvm_object *uobj = fault->uobj;
    bool suspect = false, came = false;

    uvm_lock_acquire(&uobj->lock);
    for (uint32_t i = 0; i < fault->npages; i++) {
        struct vm_page *pg = uvm_entry_page(uvm_entry_get(uobj, fault->pgno + i));
        came |= pg != NULL;
        if (pg && !drop_slot(drain, pg))
            drain->stuck = true;
    }
    uvm_lock_release(&uobj->lock);
    uobj->pgops->pgo_detach(uobj);
    /* An error that is not a slot's is want of memory. */
    bool kept = uvm_swap_next(df->slot, &suspect) == df->slot && !suspect;
    drain->starved = error && !came && kept ? drain->starved + 1 : 0;
    df->used = false;
    drain->nflight--;
    drain_post(drain);
}

static struct drain_fault *free_fault(struct uvm_drain *drain)
{
    for (unsigned i = 0; i < UVM_DRAIN_FAULTS; i++)
        if (!drain->faults[i].used)
            return &drain->faults[i];
    return NULL;
}

/* How many pages the next page-in may have; 0: none now. Who waits for memory goes first. */
static uint32_t allowance(struct uvm_drain *drain)
{
    if (!free_fault(drain))
        return 0;
    if (!uvm_page_wanted())
        return UVM_DRAIN_PAGES;
    if (drain->nflight || !drain->ticked)
        return 0;
    drain->ticked = false;
    return DRAIN_SHORT;
}

/* A slot that failed a transfer is tried by the first walk only. => a later walk leaves it */
static bool leaves(const struct uvm_drain *drain, uint32_t slot)
{
    bool suspect = false;
    return drain->walks > 0 && uvm_swap_next(slot, &suspect) == slot && suspect;
}

/* How many pages from pgno on are in the slots from `slot` on, and worth a read? => object locked */
static uint32_t run_length(const struct uvm_drain *drain, struct uvm_object *uobj, uint32_t pgno,
                           uint32_t slot, uint32_t most)
{
    uint32_t n = 0;

    while (n < most && on_device(drain, slot + n) && pgno + n < UVM_OBJECT_PAGES_MAX &&
           uvm_entry_get(uobj, pgno + n) == uvm_entry_make(UVM_E_SLOT, slot + n) &&
           !leaves(drain, slot + n))
        n++;
    return n;
}

/* Begin to page a run in. => takes the caller's reference */
static void start_fault(struct uvm_drain *drain, struct uvm_object *uobj, uint32_t pgno,
                        uint32_t slot, uint32_t n)
{
    struct drain_fault *df = free_fault(drain);

    df->used = true;
    df->drain = drain;
    df->slot = slot;
    df->fault = (struct uvm_fault){
        .uobj = uobj, .loop = drain->loop, .pgno = pgno, .npages = n, .done = fault_done};
    drain->nflight++;
    uvm_fault_start(&df->fault);
}

/* See to an allocated slot of the device. => *n: how many slots that was */
static enum look look_at(struct uvm_drain *drain, uint32_t slot, uint32_t *n)
{
    enum look look = LOOK_STUCK;
    uint32_t pgno, run = 0;
    uint64_t id;

    *n = 1;
    struct uvm_object *uobj =
        uvm_ledger_slot_owner(slot, &id, &pgno) ? uvm_object_lookup(id) : NULL;
    if (!uobj) /* about to be written, or its object is about to free it */
        return LOOK_STUCK;
    uvm_lock_acquire(&uobj->lock);
    uvm_entry e = uvm_entry_get(uobj, pgno);
    struct vm_page *pg = uvm_entry_page(e);
    if (pg && pg->swslot == slot && drop_slot(drain, pg)) {
        look = LOOK_MOVED;
    } else if (e == uvm_entry_make(UVM_E_SLOT, slot)) {
        look = leaves(drain, slot) ? LOOK_BAD : LOOK_WAIT;
        if (look == LOOK_WAIT)
            run = run_length(drain, uobj, pgno, slot, allowance(drain));
    }
    uvm_lock_release(&uobj->lock);
    if (!run) {
        uobj->pgops->pgo_detach(uobj);
        return look;
    }
    *n = run;
    start_fault(drain, uobj, pgno, slot, run);
    return LOOK_MOVED;
}

/* Walk on, as far as there is room for page-ins. => false: the walk is at its end */
static bool walk(struct uvm_drain *drain)
{
    for (unsigned i = 0; i < DRAIN_LOOKS; i++) {
        bool suspect;
        uint32_t n;
        uint32_t slot = on_device(drain, drain->next) ? uvm_swap_next(drain->next, &suspect) : 0;
        if (!slot)
            return false;
        drain->next = slot;
        enum look look = look_at(drain, slot, &n);
        if (look == LOOK_WAIT)
            return true; /* the end of a page-in, or the tick, goes on */
        drain->moved |= look == LOOK_MOVED;
        drain->stuck |= look == LOOK_STUCK;
        drain->bad += look == LOOK_BAD;
        drain->next = slot + n;
    }
    drain_post(drain);
    return true;
}

static void finish(struct uvm_drain *drain, int error)
{
    drain->finished = true;
    uvm_loop_every(drain->loop, 0, NULL, NULL);
    drain->done(drain, error);
}

/* A walk has ended and nothing is in flight: is that all? */
static void walked(struct uvm_drain *drain)
{
    drain->walks++;
    if (!uvm_swap_left(drain->slot0)) {
        finish(drain, 0);
        return;
    }
    if (!drain->moved && !drain->stuck && drain->bad) {
        drain->unreadable = drain->bad;
        finish(drain, -EIO);
        return;
    }
    if (drain->moved) /* otherwise the tick begins the next one */
        drain_post(drain);
    drain->next = drain->slot0;
    drain->moved = drain->stuck = false;
    drain->bad = 0;
}

static void drain_run(struct uvm_work *work)
{
    struct uvm_drain *drain = UVM_CONTAINER_OF(work, struct uvm_drain, work);
    bool cancelled = atomic_load(&drain->cancelled);

    drain->posted = false;
    if (drain->finished)
        return;
    bool end = cancelled || drain->starved >= DRAIN_STARVED;
    if (end && drain->nflight)
        return;
    if (end)
        finish(drain, cancelled ? -ECANCELED : -ENOMEM);
    else if (!walk(drain) && !drain->nflight && !drain->posted)
        walked(drain);
}

void uvm_drain_start(struct uvm_drain *drain)
{
    drain->work.fn = drain_run;
    drain->next = drain->slot0;
    drain->ticked = true;
    uvm_loop_every(drain->loop, DRAIN_TICK_MS, drain_tick, drain);
    drain_post(drain);
}

void uvm_drain_cancel(struct uvm_drain *drain)
{
    atomic_store(&drain->cancelled, true); /* the tick sees it */
}
