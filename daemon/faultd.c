/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a stray fault finds, and what it gets:
 *
 *      the window is free, or the page was given back,    zeroes that belong to nobody (pmap_stray);
 *      or its object is dying                             the copy that faulted is thrown away
 *      the page is busy                                   waits for that page alone
 *      it is being brought in from a file                 the same zeroes: see below
 *      the page is on swap                                paged in, like any other
 *      the page is there                                  whoever sleeps may try again
 *      a store to a write-protected page                  writable and dirty
 *      a store to a page that nobody has                  the same zeroes, writable, and an error in
 *                                                         the log
 *
 * A page-in from a file may have to wait with its page BUSY: for a change of the file, and that waits for
 * the page-ins under way, which may belong to the very loop that sleeps on the fault. So nobody sleeps on
 * such a page: the copy is void, and the reader waits for the page like any request, awake.
 *
 * The daemon stores only into pages it holds BUSY, which have an owner and do not go away; no stray
 * fault should be a store, and one where nobody has the page is a mistake of the daemon's own. Nothing
 * that a client was promised can be in it, so it is better said and gone on from than died of: what
 * is in memory would go with the daemon. It must not be answered with zeroes that are write-protected:
 * the store would fault for ever.
 */
#include "faultd.h"

#include <errno.h>
#include <stdlib.h>

#include "fault.h"
#include "log.h"
#include "pager/pagermap.h"
#include "pmap/pmap.h"
#include "stats.h"

#define FAULTD_BATCH 16 /* messages of one read */

static struct {
    struct uvm_loop *loop;
    struct uvm_watch watch;
    bool store_said; /* a store to nobody's page is in the log */
} faultd;

/* One fault that could not be resolved at once. */
struct stray {
    struct pmap_fault pf;
    struct uvm_object *uobj; /* referenced */
    bool failed;             /* its page could not be had */
    struct uvm_objwait wait;
    struct uvm_fault fault;
};

static void resolve(const struct pmap_fault *pf, struct stray *stray);

static void stray_again(struct stray *stray)
{
    struct pmap_fault pf = stray->pf;
    stray->uobj->pgops->pgo_detach(stray->uobj);
    stray->uobj = NULL;
    resolve(&pf, stray);
}

static void stray_busy_gone(struct uvm_work *work)
{
    stray_again(UVM_CONTAINER_OF(work, struct stray, wait.work));
}

static void stray_faulted(struct uvm_fault *fault, int error)
{
    struct stray *stray = fault->arg;

    stray->failed = error != 0;
    stray_again(stray);
}

/* A store to a write-protected page that nobody owns. => object locked */
static void store_to(struct vm_page *pg)
{
    uvm_page_busy(pg, __func__);
    uint32_t slot = uvm_page_dirty(pg);
    if (slot)
        uvm_swap_free(slot, 1);
    pmap_page_protect(pg->apage, 1, UVM_PROT_RW); /* wakes */
    (void)uvm_page_letgo(pg, UVM_Q_ACTIVE);
}

/* A page that nobody has, in a window of object id's, or a free one (0). */
static void lend_zeroes(const struct pmap_fault *pf, uint64_t id)
{
    if (pf->write && !faultd.store_said) {
        log_error("a store to page %u of the arena, which nobody has, goes nowhere: a bug in uvmd; "
                  "the next ones are not reported",
                  pf->apage);
        faultd.store_said = true;
    }
    pmap_stray(pf->apage, id, pf->write);
}

/* Must the fault wait for the page? => object locked */
static bool must_wait(const struct uvm_object *uobj, const struct vm_page *pg,
                      const struct pmap_fault *pf)
{
    return pg && (pg->flags & PG_BUSY) && !(uobj->backed && (pg->flags & PG_FAKE) && !pf->write);
}

/* Resolve what can be without waiting. => object locked; false: must wait or page in */
static bool resolve_locked(struct uvm_object *uobj, uint32_t pgno, const struct pmap_fault *pf,
                           bool failed)
{
    uvm_entry e = uvm_entry_get(uobj, pgno);
    struct vm_page *pg = uvm_entry_page(e);

    if (must_wait(uobj, pg, pf))
        return false;
    if (pg && (pg->flags & PG_BUSY))
        lend_zeroes(pf, uobj->id);
    else if (pg && pf->kind == PMAP_FAULT_WP)
        store_to(pg);
    else if (pg)
        pmap_wake(pf->apage, 1);
    else if (uvm_entry_tag(e) == UVM_E_SLOT && !failed)
        return false;
    else /* the copy is void with this; after a failure the reader meets the error itself */
        lend_zeroes(pf, uobj->id);
    return true;
}

static void park(struct stray *stray, struct uvm_object *uobj, uint32_t pgno)
{
    stray->uobj = uobj;
    if (uvm_entry_page(uvm_entry_get(uobj, pgno))) {
        stray->wait.work.fn = stray_busy_gone;
        stray->wait.loop = faultd.loop;
        stray->wait.pgno = pgno;
        stray->wait.npages = 1;
        uvm_object_wait(uobj, &stray->wait);
        uvm_lock_release(&uobj->lock);
        return;
    }
    uvm_lock_release(&uobj->lock);
    stray->fault = (struct uvm_fault){
        .uobj = uobj,
        .loop = faultd.loop,
        .pgno = pgno,
        .npages = 1,
        .pgaflags = UVM_PGA_USERESERVE,
        .done = stray_faulted,
        .arg = stray,
    };
    uvm_fault_start(&stray->fault);
}

/* => stray: memory to park in, or NULL if there is none yet */
static void resolve(const struct pmap_fault *pf, struct stray *stray)
{
    uint32_t window = pf->apage / UVM_WINDOW_PAGES, index;
    uint64_t id;

    struct uvm_object *uobj = pmap_window_owner(window, &id, &index) ? uvm_object_lookup(id) : NULL;
    if (!uobj) {
        lend_zeroes(pf, id); /* free, or of an object that is dying: nobody else can find it */
        free(stray);
        return;
    }
    uint32_t pgno = index * UVM_WINDOW_PAGES + pf->apage % UVM_WINDOW_PAGES;
    uvm_lock_acquire(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);
    bool ours = leaf && leaf->window == window, resolved = true;
    if (ours)
        resolved = resolve_locked(uobj, pgno, pf, stray && stray->failed);
    else
        pmap_wake(pf->apage, 1); /* it has just changed hands: ask again */
    if (!resolved) {
        if (!stray)
            stray = malloc(sizeof(*stray));
        if (stray) {
            stray->pf = *pf;
            stray->failed = false;
            park(stray, uobj, pgno);
            return;
        }
        /* No memory to remember the fault with: it is not lost, the thread faults again. */
        pmap_wake(pf->apage, 1);
    }
    uvm_lock_release(&uobj->lock);
    uobj->pgops->pgo_detach(uobj);
    free(stray);
}

static void faults_ready(struct uvm_watch *watch)
{
    struct pmap_fault faults[FAULTD_BATCH];
    int n;

    while ((n = pmap_next_fault(faults, FAULTD_BATCH)) > 0) {
        for (int i = 0; i < n; i++) {
            if (faults[i].kind == PMAP_FAULT_WP)
                uvm_stat_inc(flt_uffd_wp);
            else if (faults[i].kind == PMAP_FAULT_MINOR)
                uvm_stat_inc(flt_uffd_minor);
            else
                uvm_stat_inc(flt_uffd_missing);
            resolve(&faults[i], NULL);
        }
    }
    if (n < 0) {
        log_error("userfaultfd: the descriptor is broken (%d); stray faults cannot be served", n);
        abort(); /* threads would sleep for ever; a restart is the only way on */
    }
    uvm_loop_rearm(faultd.loop, watch);
}

int uvm_faultd_start(struct uvm_error *err)
{
    int rc = uvm_loop_new("uvm-fault", -1, &faultd.loop, err);
    if (rc)
        return rc;
    uvm_loop_register(faultd.loop, uvm_pagermap_base(), uvm_pagermap_size());
    faultd.watch.ready = faults_ready;
    faultd.watch.fd = pmap_fault_fd();
    if (faultd.watch.fd >= 0)
        uvm_loop_watch(faultd.loop, &faultd.watch);
    rc = uvm_loop_start(faultd.loop);
    return rc ? uvm_fail(err, rc, "cannot start the fault thread") : 0;
}

void uvm_faultd_stop(void)
{
    if (!faultd.loop)
        return;
    uvm_loop_stop(faultd.loop);
    uvm_loop_join(faultd.loop);
    uvm_loop_free(faultd.loop);
    faultd.loop = NULL;
}
