/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What reads and writes share: parking, each time with a continuation that runs the request from the
 * top again, and the start and the end of a request.
 */
#include "rw.h"

#include <assert.h>
#include <errno.h>

#include "stats.h"
#include "trace.h"

void uvm_rw_came(struct uvm_rw *rw)
{
    if (rw->admitted)
        uvn_dirty_came(rw->admitted);
    rw->admitted = 0;
}

void uvm_rw_finish(struct uvm_rw *rw, int error)
{
    uvm_rw_came(rw);
    uvm_pageput(&rw->hand);
    rw->nhand = 0;
    if (rw->granted)
        uvm_unreserve(rw->granted);
    rw->granted = 0;
    if (error && rw->lent) { /* they were not served */
        uvm_reserve_return(rw->lent);
        rw->lent = 0;
    }
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
    if (uvm_ptoa(pgno) < rw->stop) {
        rw->stop = uvm_ptoa(pgno);
        rw->stop_error = error;
    }
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

/* What a request may park with: the range is the whole request's. */
static void prepare_wait(struct uvm_rw *rw, void (*answer)(struct uvm_work *work))
{
    rw->reservewait.work.fn = answer;
    rw->reservewait.loop = rw->loop;
    rw->reservewait.object = rw->uobj->id;
    rw->reservewait.pgno = (uint32_t)uvm_atop(rw->off);
    rw->reservewait.npages = (uint32_t)(uvm_atop(rw->off + rw->len - 1) - uvm_atop(rw->off) + 1);
    rw->reservewait.borrows = rw->flags & UVM_RW_READONLY;
    rw->reservewait.ahead = rw->flags & UVM_RW_AHEAD;
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
    prepare_wait(rw, reserve_answer);
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

static void loan_answer(struct uvm_work *work)
{
    struct uvm_rw *rw = UVM_CONTAINER_OF(work, struct uvm_rw, reservewait.work);
    if (!rw->reservewait.granted) {
        uvm_rw_finish(rw, -ENOSPC);
        return;
    }
    rw->lent = rw->reservewait.n;
    rw->run(rw);
}

bool uvm_rw_lend(struct uvm_rw *rw, uint32_t n, int *ret_error)
{
    *ret_error = 0;
    if (rw->lent >= n)
        return true;
    if (rw->lent) { /* who waits for a loan holds none */
        uvm_reserve_return(rw->lent);
        rw->lent = 0;
    }
    prepare_wait(rw, loan_answer);
    switch (uvm_reserve_lend(n, &rw->reservewait)) {
    case UVM_RESERVED:
        rw->lent = n;
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
    rw->admitted = 0;
    rw->faulted = rw->refused = false;
    rw->nhand = rw->granted = rw->lent = 0;
    rw->stop = UINT64_MAX;
    rw->stop_error = 0;
    rw->fault = NULL;
    TAILQ_INIT(&rw->hand);
    run(rw);
}

/* Read a file's object, and what the shape of the requests says will be wanted next. */
static void read_backed(struct uvm_rw *rw, uint64_t npages)
{
    struct uvm_object *uobj = rw->uobj; /* the request may end, and with it what keeps the object */
    struct uvm_loop *loop = rw->loop;
    uint32_t start, n;

    uobj->pgops->pgo_reference(uobj);
    {
        UVM_LOCK_SCOPE(&uobj->lock);
        n = uobj->pgops->pgo_asyncget(uobj, (uint32_t)uvm_atop(rw->off), (uint32_t)npages, &start);
    }
    rw_start(rw, uvm_read_run);
    if (n)
        uvm_fault_ahead(uobj, loop, start, n);
    uobj->pgops->pgo_detach(uobj);
}

void uvm_read(struct uvm_rw *rw)
{
    uint64_t npages = uvm_atop(rw->off + rw->len - 1) - uvm_atop(rw->off) + 1;
    uvm_stat_add(faults, npages);
    uvm_trace(rw->uobj->id, uvm_atop(rw->off), npages, UVM_TRACE_READ);
    atomic_fetch_add_explicit(&rw->uobj->faults, npages, memory_order_relaxed);
    if (rw->uobj->backed)
        read_backed(rw, npages);
    else
        rw_start(rw, uvm_read_run);
}

void uvm_write(struct uvm_rw *rw)
{
    uint64_t first = uvm_atop(rw->off);
    uvm_trace(rw->uobj->id, first, uvm_atop(rw->off + rw->len - 1) - first + 1, UVM_TRACE_WRITE);
    rw_start(rw, uvm_write_run);
}
