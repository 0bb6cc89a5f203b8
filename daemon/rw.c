/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What reads and writes share: parking, each time with a continuation that runs the request from the
 * top again, and the start and the end of a request.
 */
#include "rw.h"

#include <assert.h>
#include <errno.h>

#include "stats.h"

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

bool uvm_rw_stop(struct uvm_rw *rw, uint32_t pgno, int error)
{
    if (rw->run != uvm_write_run || uvm_ptoa(pgno) <= rw->off + rw->at)
        return false;
    rw->stop = uvm_ptoa(pgno);
    rw->stop_error = error;
    return true;
}

static void fault_done(struct uvm_fault *fault, int error)
{
    struct uvm_rw *rw = fault->arg;
    if (error)
        error = error == -ENOMEM ? -ENOMEM : -EIO;
    if (error && !uvm_rw_stop(rw, fault->pgno, error))
        uvm_rw_finish(rw, error);
    else
        rw->run(rw);
}

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

bool uvm_rw_reserve(struct uvm_rw *rw, uint32_t n, int *ret_error)
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
    rw->reservewait.pgno = (uint32_t)uvm_atop(rw->off);
    rw->reservewait.npages = (uint32_t)(uvm_atop(rw->off + rw->len - 1) - uvm_atop(rw->off) + 1);
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

int uvm_rw_make_holes(struct uvm_rw *rw, uint32_t first, uint32_t n)
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

static void rw_start(struct uvm_rw *rw, void (*run)(struct uvm_rw *rw))
{
    uvm_lock_assert_none();
    assert(rw->len > 0 && rw->off + rw->len <= uvm_ptoa(UVM_OBJECT_PAGES_MAX));
    rw->run = run;
    rw->at = 0;
    rw->start_ns = uvm_now_ns();
    rw->faulted = rw->refused = rw->unreserved = false;
    rw->nhand = rw->granted = 0;
    rw->stop = UINT64_MAX;
    rw->stop_error = 0;
    rw->fault = NULL;
    TAILQ_INIT(&rw->hand);
    run(rw);
}

void uvm_read(struct uvm_rw *rw)
{
    uint64_t npages = uvm_atop(rw->off + rw->len - 1) - uvm_atop(rw->off) + 1;
    uvm_stat_add(faults, npages);
    atomic_fetch_add_explicit(&rw->uobj->faults, npages, memory_order_relaxed);
    rw_start(rw, uvm_read_run);
}

void uvm_write(struct uvm_rw *rw)
{
    rw_start(rw, uvm_write_run);
}
