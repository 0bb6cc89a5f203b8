/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-in as a machine: fault_run looks at the object and is run again from the top after each wait.
 *
 *      look --> pages --> room --> look --> BUSY, get --> rundone per run --> aiodone --> finish
 *        |        \_ wait  \_ wait    \_ nothing left to do: finish
 *        \_ nothing on swap: finish
 */
#include "fault.h"

#include <assert.h>
#include <errno.h>

#include "pager/vnode.h"
#include "pmap/pmap.h"
#include "stats.h"

/* What is read ahead takes no more than this part of memory, and leaves this many pages free. */
#define AHEAD_SHARE 16
#define AHEAD_SPARE (UVM_PAGE_RESERVE + UVM_WINDOW_PAGES)

static void fault_run(struct uvm_fault *fault);

static void fault_finish(struct uvm_fault *fault)
{
    uvm_pageput(&fault->hand);
    fault->nhand = 0;
    if (fault->get.room)
        uvm_pagermapout(fault->get.room, fault->get.nroom);
    fault->get.room = NULL;
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
    bool stale = fault->uobj->backed && uvm_vnode(fault->uobj)->epoch != req->epoch;
    for (uint32_t i = 0; i < n; i++) {
        struct vm_page *pg = req->pps[first + i];
        assert(alive); /* the caller's reference keeps the object */
        if (stale)     /* the file has changed meanwhile: who wants the page looks again */
            pg->flags |= PG_RELEASED;
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
    uvm_hist_add(fault->uobj->backed ? UVM_HIST_VNODE : UVM_HIST_SWAP,
                 uvm_now_ns() - fault->start_ns);
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
    if (uobj->backed) /* files are read ahead by uvm_fault_ahead */
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
    if (!uvm_pagealloc(need, &fault->hand, fault->pgaflags, fault->ahead ? NULL : &fault->wait))
        return false;
    fault->nhand = need;
    return true;
}

static void fault_got_room(struct uvm_work *work)
{
    struct uvm_fault *fault = UVM_CONTAINER_OF(work, struct uvm_fault, mapwait.work);
    fault->get.room = fault->mapwait.kva;
    fault_run(fault);
}

/* Have room for a run of n pages in the pager map. => false: it comes later, through fault_got_room */
static bool fault_room(struct uvm_fault *fault, uint32_t n)
{
    fault->mapwait.work.fn = fault_got_room;
    fault->mapwait.loop = fault->loop;
    fault->get.nroom = n;
    int waitok = fault->ahead ? 0 : UVMPAGER_MAPIN_WAITOK;
    fault->get.room = uvm_pagermapin(n, waitok | fault->get.mapflags, &fault->mapwait);
    return fault->get.room != NULL;
}

/* What a look at the object finds to do. */
struct fault_look {
    uint32_t n;       /* pages looked at: the wanted ones and those that come along */
    uint32_t need;    /* of those, the ones on the backing store */
    uint32_t longest; /* pages of the longest run that lies together there */
};

/* => object locked */
static struct fault_look fault_look(struct uvm_fault *fault)
{
    struct fault_look look = {.n = fault->npages + fault_ahead(fault)};
    uint32_t run = 0;
    uvm_entry last = 0;

    for (uint32_t i = 0; i < look.n; i++) {
        uvm_entry e = uvm_entry_get(fault->uobj, fault->pgno + i);
        if (uvm_entry_paged_out(fault->uobj, e)) {
            bool next =
                run && (fault->uobj->backed || uvm_entry_value(e) == uvm_entry_value(last) + 1);
            run = next ? run + 1 : 1;
            look.need++;
            look.longest = MAX(look.longest, MIN(run, UVM_CLUSTER_PAGES));
        } else {
            run = 0;
        }
        last = e;
    }
    return look;
}

/* Put pages in hand into the object where pages are paged out, as far as they go. => object locked */
static void fault_addpages(struct uvm_fault *fault, uint32_t n)
{
    struct uvm_object *uobj = fault->uobj;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t pgno = fault->pgno + i;
        fault->get.pps[i] = NULL;
        if (!fault->nhand || !uvm_entry_paged_out(uobj, uvm_entry_get(uobj, pgno)))
            continue;
        struct uvm_leaf *leaf = uvm_leaf_make(uobj, pgno); /* of a backed object it may be new */
        if (!leaf) {
            fault->error = -ENOMEM;
            continue;
        }
        struct vm_page *pg = TAILQ_FIRST(&fault->hand);
        TAILQ_REMOVE(&fault->hand, pg, pageq);
        fault->nhand--;
        uvm_object_addpage(uobj, leaf, pgno, pg, __func__);
        fault->get.pps[i] = pg;
    }
}

static void fault_run(struct uvm_fault *fault)
{
    struct uvm_object *uobj = fault->uobj;
    struct fault_look look;

    for (;;) {
        uvm_lock_acquire(&uobj->lock);
        look = fault_look(fault);
        if (!look.need || fault->get.room)
            break;
        uvm_lock_release(&uobj->lock);
        if ((look.need > fault->nhand && !fault_take(fault, look.need)) ||
            !fault_room(fault, look.longest)) {
            if (fault->ahead) /* which does not wait */
                fault_finish(fault);
            return;
        }
    }
    uobj->lastpgno = fault->pgno + look.n;
    if (!look.need) {
        uvm_lock_release(&uobj->lock);
        fault_finish(fault);
        return;
    }
    fault_addpages(fault, look.n);
    fault->get.npages = look.n;
    uobj->pgops->pgo_get(uobj, &fault->get, NULL, 0, PGO_ALLPAGES); /* unlocks */
}

static void fault_start(struct uvm_fault *fault)
{
    uvm_lock_assert_none();
    assert(fault->npages > 0 && fault->npages <= UVM_CLUSTER_PAGES + 1);
    fault->error = 0;
    fault->nhand = 0;
    fault->start_ns = uvm_now_ns();
    TAILQ_INIT(&fault->hand);
    fault->get.uobj = fault->uobj;
    fault->get.loop = fault->loop;
    fault->get.pgno = fault->pgno;
    fault->get.mapflags = fault->pgaflags & UVM_PGA_USERESERVE ? UVMPAGER_MAPIN_RESERVE : 0;
    fault->get.room = NULL;
    fault->get.rundone = fault_rundone;
    fault->get.aiodone = fault_aiodone;
    for (unsigned i = 0; i < UVM_GET_RUNS; i++)
        fault->get.run[i].used = false;
    fault_run(fault);
}

void uvm_fault_start(struct uvm_fault *fault)
{
    fault->ahead = false;
    fault_start(fault);
}

static void ahead_done(struct uvm_fault *fault, int error)
{
    fault->uobj->pgops->pgo_detach(fault->uobj);
    free(fault);
}

void uvm_fault_ahead(struct uvm_object *uobj, struct uvm_loop *loop, uint32_t pgno, uint32_t npages)
{
    npages = MIN(npages, uvm_stat_get(npages) / AHEAD_SHARE);
    while (npages) {
        uint32_t n = MIN(npages, UVM_CLUSTER_PAGES);
        struct uvm_fault *fault = NULL;
        if (uvm_stat_get(free) >= n + AHEAD_SPARE)
            fault = malloc(sizeof(*fault));
        if (!fault)
            return;
        uobj->pgops->pgo_reference(uobj);
        fault->uobj = uobj;
        fault->loop = loop;
        fault->pgno = pgno;
        fault->npages = n;
        fault->pgaflags = 0;
        fault->ahead = true;
        fault->done = ahead_done;
        fault_start(fault);
        pgno += n;
        npages -= n;
    }
}
