/* SPDX-License-Identifier: BSD-2-Clause */
#include "fault.h"

#include <assert.h>
#include <errno.h>

#include "pmap/pmap.h"
#include "stats.h"

static void fault_run(struct uvm_fault *fault);

static void fault_finish(struct uvm_fault *fault)
{
    uvm_pageput(&fault->hand);
    fault->nhand = 0;
    fault->done(fault, fault->error);
}

/* A page whose bytes did not come: they stay where they are. => object locked */
static bool fault_fail(struct vm_page *pg, struct vm_pagelist *freed)
{
    if (pg->flags & PG_RELEASED)
        return pg->uobject->pgops->pgo_releasepg(pg);
    uvm_object_subpage(pg, UVM_E_HOLE);
    TAILQ_INSERT_TAIL(freed, pg, pageq);
    return true;
}

/* Install the good pages of a run, one call for neighbours in the arena. */
static void fault_enter(struct uvm_getreq *req, uint32_t first, uint32_t n, const char *kva,
                        int *errors)
{
    for (uint32_t i = 0, len; i < n; i += len) {
        struct vm_page **pg = &req->pps[first + i];
        len = 1;
        if (errors[i])
            continue;
        while (i + len < n && !errors[i + len] && pg[len]->apage == pg[0]->apage + len)
            len++;
        int rc = pmap_enter(pg[0]->apage, len, kva + uvm_ptoa(i), UVM_PROT_READ);
        for (uint32_t k = 0; rc && k < len; k++)
            errors[i + k] = rc;
    }
}

static void fault_rundone(struct uvm_getreq *req, uint32_t first, uint32_t n, const void *kva,
                          const int *io_errors)
{
    struct uvm_fault *fault = UVM_CONTAINER_OF(req, struct uvm_fault, get);
    struct vm_pagelist freed = TAILQ_HEAD_INITIALIZER(freed);
    int errors[UVM_CLUSTER_PAGES];

    for (uint32_t i = 0; i < n; i++)
        errors[i] = io_errors[i];
    fault_enter(req, first, n, kva, errors);

    bool alive = true;
    uvm_lock_acquire(&fault->uobj->lock);
    for (uint32_t i = 0; i < n; i++) {
        struct vm_page *pg = req->pps[first + i];
        assert(alive); /* the caller's reference keeps the object */
        if (errors[i]) {
            if (pg->pgno - fault->pgno < fault->npages)
                fault->error = errors[i];
            alive = fault_fail(pg, &freed);
        } else {
            uvm_page_filled(pg, true);
            alive = uvm_page_letgo(pg, UVM_Q_INACTIVE);
        }
    }
    uvm_lock_release(&fault->uobj->lock);
    uvm_pageput(&freed);
}

static void fault_aiodone(struct uvm_getreq *req)
{
    struct uvm_fault *fault = UVM_CONTAINER_OF(req, struct uvm_fault, get);
    uvm_hist_add(UVM_HIST_SWAP, uvm_now_ns() - fault->start_ns);
    fault_finish(fault);
}

/*
 * How many pages beyond the wanted ones come along: those that were written together with the last
 * one, when the object is being read in sequence and memory is not short. => object locked
 */
static uint32_t fault_ahead(struct uvm_fault *fault)
{
    struct uvm_object *uobj = fault->uobj;
    uint32_t end = fault->pgno + fault->npages, lo, hi;
    uint64_t spare = uvm_stat_get(free), keep = uvm_stat_get(freetarg) + UVM_CLUSTER_PAGES;

    if (fault->pgaflags & UVM_PGA_USERESERVE) /* the reserves are for the page that is wanted */
        return 0;
    if (fault->pgno != uobj->lastpgno || spare < keep || !uobj->pgops->pgo_cluster)
        return 0;
    uobj->pgops->pgo_cluster(uobj, end - 1, &lo, &hi);
    return MIN(hi - end, UVM_GET_PAGES - fault->npages);
}

static void fault_got_pages(struct uvm_work *work)
{
    struct uvm_fault *fault = UVM_CONTAINER_OF(work, struct uvm_fault, wait.work);
    if (fault->wait.failed) {
        fault->error = -EIO;
        fault_finish(fault);
        return;
    }
    TAILQ_CONCAT(&fault->hand, &fault->wait.list, pageq);
    fault->nhand = fault->wait.npages;
    fault_run(fault);
}

/* Have need pages in hand. => false: they come later, through fault_got_pages */
static bool fault_take(struct uvm_fault *fault, uint32_t need)
{
    uvm_pageput(&fault->hand); /* never wait with pages in hand */
    fault->nhand = 0;
    fault->wait.work.fn = fault_got_pages;
    fault->wait.loop = fault->loop;
    if (!uvm_pagealloc(need, &fault->hand, fault->pgaflags, &fault->wait))
        return false;
    fault->nhand = need;
    return true;
}

static void fault_run(struct uvm_fault *fault)
{
    struct uvm_object *uobj = fault->uobj;
    struct uvm_getreq *req = &fault->get;
    uint32_t n, need;

    for (;;) {
        uvm_lock_acquire(&uobj->lock);
        n = fault->npages + fault_ahead(fault);
        need = 0;
        for (uint32_t i = 0; i < n; i++)
            need += uvm_entry_tag(uvm_entry_get(uobj, fault->pgno + i)) == UVM_E_SLOT;
        if (!need || need <= fault->nhand)
            break;
        uvm_lock_release(&uobj->lock);
        if (!fault_take(fault, need))
            return;
    }
    uobj->lastpgno = fault->pgno + n;
    if (!need) {
        uvm_lock_release(&uobj->lock);
        fault_finish(fault);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        req->pps[i] = NULL;
        struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, fault->pgno + i);
        if (!leaf || uvm_entry_tag(leaf->entry[(fault->pgno + i) % UVM_WINDOW_PAGES]) != UVM_E_SLOT)
            continue;
        struct vm_page *pg = TAILQ_FIRST(&fault->hand);
        TAILQ_REMOVE(&fault->hand, pg, pageq);
        fault->nhand--;
        uvm_object_addpage(uobj, leaf, fault->pgno + i, pg, __func__);
        req->pps[i] = pg;
    }
    req->uobj = uobj;
    req->loop = fault->loop;
    req->pgno = fault->pgno;
    req->npages = n;
    req->mapflags = fault->pgaflags & UVM_PGA_USERESERVE ? UVMPAGER_MAPIN_RESERVE : 0;
    req->rundone = fault_rundone;
    req->aiodone = fault_aiodone;
    uobj->pgops->pgo_get(uobj, req, NULL, 0, PGO_ALLPAGES); /* unlocks */
}

void uvm_fault_start(struct uvm_fault *fault)
{
    uvm_lock_assert_none();
    assert(fault->npages > 0 && fault->npages <= UVM_CLUSTER_PAGES + 1);
    fault->error = 0;
    fault->nhand = 0;
    fault->start_ns = uvm_now_ns();
    TAILQ_INIT(&fault->hand);
    for (unsigned i = 0; i < UVM_GET_RUNS; i++)
        fault->get.run[i].used = false;
    fault_run(fault);
}
