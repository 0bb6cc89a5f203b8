/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pagedaemon's loop: when it runs, what it does with the victims that pdscan.c brings, and what
 * it does when that fails.
 *
 *      kick, the end of a cluster, a tick
 *        |
 *        v        short, and a cluster not in flight?
 *      run <--> gather --> clean ones freed, dirty ones in a cluster of slots --> put
 *        |                                        \_ no slot, no room: active again
 *        +-- somebody waits, nothing in flight: a tick before long
 *
 * Failures, from the small to the large: a page whose slot is bad becomes active again (pager.c). When
 * nothing of a few clusters in a row could be written, swap is left alone for a second and then tried
 * with a few pages. When nothing moves for hundreds of ticks, who waits for pages is told so.
 */
#include "pdaemon.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "log.h"
#include "loop.h"
#include "object.h"
#include "page.h"
#include "pager/vnode.h"
#include "pdscan.h"
#include "reserve.h"
#include "stats.h"

/* Clusters in flight: two can always have the pager map's reserve, more fill the device's queue. */
#define UVMPD_CLUSTERS 6

/* Look again after this long when nothing could be freed and somebody waits. */
#define UVMPD_RETRY_MS 10

/*
 * How many ticks in a row may go by without a page freed or a waiter served, while somebody waits. By
 * the reservations this cannot last: it takes a swap device whose slots have gone bad. Then those who
 * wait get an error rather than wait for ever; what is in memory stays.
 */
#define UVMPD_HOPELESS 500

/*
 * After this many clusters of which nothing could be written it is not the slots: leave the device
 * alone for a while, or it would eat them all, and then try it with a few pages.
 */
#define UVMPD_FAILURES   3
#define UVMPD_BACKOFF_NS 1000000000ull
#define UVMPD_PROBE      4 /* pages of the cluster that tries it again */

static struct {
    struct uvm_loop *loop;
    struct uvm_work work;
    _Atomic bool posted; /* the work is queued */
    bool retrying;
    bool ticked;        /* the timer has fired since the last look */
    unsigned fruitless; /* ticks in a row without progress while somebody waits */
    uint64_t progress;  /* pages freed and waiters served, at the last of them */
    unsigned failures;  /* clusters in a row of which nothing was written */
    uint64_t resume_ns; /* leave swap alone until then */
    bool mapfull;       /* the pager map had no room for the last cluster */
    struct uvm_cluster *clusters;
    uint32_t busy;                /* clusters in flight, a bit each */
    struct uvmpd_victims victims; /* of the scan under way */
} pd;

void uvmpd_tune(bool files)
{
    uint64_t npages = uvm_stat_get(npages);
    /* UVM's twentieth, but never less than a request's worth: requests take pages all at once. */
    uint64_t freemin = MAX(npages / 20, UVM_WINDOW_PAGES + UVM_PAGE_RESERVE);
    uint64_t freetarg = freemin + MAX(freemin / 3, UVM_WINDOW_PAGES);

    uvm_stat_set(freemin, freemin);
    uvm_stat_set(freetarg, freetarg);
    /* What paging needs to turn pages over is not promised to anyone: a page-in of a whole cluster
     * beyond the free target must find room even when all promises have been called in, those of
     * the emergency reserve included. */
    uint64_t keep = freetarg + UVM_CLUSTER_PAGES + UVM_WINDOW_PAGES + UVM_RESERVE_EMERGENCY;
    if (files)
        keep += uvn_dirty_limit();
    uvm_reserve_set_memory(npages > keep ? npages - keep : 0);
}

static void uvmpd_post(void)
{
    if (!atomic_exchange(&pd.posted, true))
        uvm_loop_post(pd.loop, &pd.work);
}

/* How many pages are short of the target, which is at least what the first waiter needs. */
static uint64_t shortage(void)
{
    uint64_t have = uvm_stat_get(free) + uvm_stat_get(paging), wanted = uvm_page_wanted();
    uint64_t want = MAX(uvm_stat_get(freetarg), wanted);
    return have < want ? want - have : 0;
}

static bool swap_full(void)
{
    return uvm_stat_get(swpginuse) + uvm_stat_get(swpgbad) >= uvm_stat_get(swpages);
}

/* Gather as many victims as are short, and as swap seems to be able to take. */
static void gather(void)
{
    bool nowhere = swap_full() || uvm_now_ns() < pd.resume_ns;
    uint32_t most = pd.failures < UVMPD_FAILURES ? UVM_CLUSTER_PAGES : UVMPD_PROBE;

    uvmpd_gather(&pd.victims, shortage(), most, nowhere);
}

static void free_clean(void)
{
    struct uvmpd_victims *v = &pd.victims;
    if (v->nclean)
        uvm_pager_dropcluster(v->clean, v->nclean, NULL, PGO_PDFREECLUST);
}

static void uvmpd_done(struct uvm_cluster *cl, uint32_t nok)
{
    pd.busy &= ~(1u << (cl - pd.clusters));
    if (!cl->uobj) { /* a file says nothing about swap, whether it can be written or not */
        pd.failures = nok ? 0 : pd.failures + 1;
        if (pd.failures >= UVMPD_FAILURES)
            pd.resume_ns = uvm_now_ns() + UVMPD_BACKOFF_NS;
    }
    uvmpd_post();
}

static struct uvm_cluster *free_cluster(void)
{
    for (unsigned i = 0; i < UVMPD_CLUSTERS; i++)
        if (!(pd.busy & 1u << i))
            return &pd.clusters[i];
    return NULL;
}

static void assign_slots(struct uvm_cluster *cl)
{
    struct uvm_object *locked = NULL;

    for (uint32_t i = 0; i < cl->npages; i++) {
        struct uvm_object *uobj = cl->pps[i]->uobject;
        if (uobj != locked) {
            if (locked)
                uvm_lock_release(&locked->lock);
            uvm_lock_acquire(&uobj->lock);
            locked = uobj;
        }
        uvm_page_assign(cl->pps[i], cl->swslot + i);
    }
    uvm_lock_release(&locked->lock);
}

/* Start writing gathered dirty pages from `at` on. => how many pages are on their way; 0: none can
 */
static uint32_t write_cluster(uint32_t at)
{
    struct uvm_cluster *cl = free_cluster();
    uint32_t n = pd.victims.ndirty - at;

    if (!cl)
        return 0;
    cl->swslot = uvm_swap_alloc(&n, true);
    if (!cl->swslot)
        return 0;
    cl->npages = n;
    cl->uobj = NULL;
    cl->flags = PGO_PDFREECLUST;
    cl->loop = pd.loop;
    cl->done = uvmpd_done;
    for (uint32_t i = 0; i < n; i++)
        cl->pps[i] = pd.victims.dirty[at + i];
    uvm_pager_protect(cl->pps, n);
    assign_slots(cl);
    if (uvm_pager_put(cl) != VM_PAGER_PEND) {
        /* The pager map is full: other clusters are in flight, and their end wakes us. */
        uvm_pager_dropcluster(cl->pps, n, NULL, PGO_REALLOCSWAP);
        pd.mapfull = true;
        return n;
    }
    pd.busy |= 1u << (cl - pd.clusters);
    uvm_stat_add(pdpending, n);
    return n;
}

static void write_dirty(void)
{
    struct uvmpd_victims *v = &pd.victims;
    uint32_t at = 0, n;

    while (at < v->ndirty && (n = write_cluster(at)) > 0)
        at += n;
    if (at < v->ndirty) /* no slot or no cluster left: active again, as they were */
        uvm_pager_dropcluster(v->dirty + at, v->ndirty - at, NULL, 0);
}

/* Write the dirty page of a file that the scan ended at, with what is dirty on both sides of it. */
static void write_around(struct vm_page *centre)
{
    struct uvm_cluster *cl = free_cluster();
    struct uvm_object *uobj = centre->uobject;
    uint32_t lo, hi;

    if (!cl) {
        uvm_pager_dropcluster(&centre, 1, NULL, 0);
        return;
    }
    uvm_lock_acquire(&uobj->lock);
    uvm_pager_protect(&centre, 1);
    uobj->pgops->pgo_cluster(uobj, centre->pgno, &lo, &hi);
    cl->npages = uobj->pgops->pgo_mk_pcluster(uobj, cl->pps, UVM_CLUSTER_PAGES, centre, 0, lo, hi);
    uvm_lock_release(&uobj->lock);
    cl->uobj = uobj;
    cl->flags = PGO_PDFREECLUST;
    cl->loop = pd.loop;
    cl->done = uvmpd_done;
    uint32_t n = cl->npages;
    int result = uvm_pager_put(cl);
    if (result != VM_PAGER_PEND) { /* not now: the map is full, or the file is being changed */
        uvm_pager_dropcluster(cl->pps, n, NULL, 0);
        pd.mapfull = result == VM_PAGER_AGAIN;
        return;
    }
    pd.busy |= 1u << (cl - pd.clusters);
    uvm_stat_add(pdpending, n);
}

static void tick(void *arg)
{
    pd.ticked = true;
    uvmpd_post();
}

static void set_retry(bool on)
{
    if (on != pd.retrying)
        uvm_loop_every(pd.loop, on ? UVMPD_RETRY_MS : 0, tick, NULL);
    pd.retrying = on;
}

/* Is no page in somebody's hands, who may be about to free it? */
static bool all_settled(void)
{
    return uvm_stat_get(free) + uvm_stat_get(active) + uvm_stat_get(inactive) +
               uvm_stat_get(wired) ==
           uvm_stat_get(npages);
}

/* One more tick at which somebody waits: have pages been freed or granted since the last such one? */
static void count_fruitless(void)
{
    uint64_t progress = uvm_stat_get(pdfreed) + uvm_page_granted();

    pd.fruitless = progress == pd.progress ? pd.fruitless + 1 : 0;
    pd.progress = progress;
    if (pd.fruitless <= UVMPD_HOPELESS)
        return;
    log_error("no page can be freed: swap is broken; requests fail");
    uvm_pagewait_fail();
    pd.fruitless = 0;
}

/* Is there a cluster to gather for? While swap fails, one at a time: each page of it may cost a slot. */
static bool may_gather(void)
{
    return free_cluster() && (pd.failures < UVMPD_FAILURES || !pd.busy);
}

static void uvmpd_run(struct uvm_work *work)
{
    bool progress = true;

    atomic_store(&pd.posted, false);
    uvm_stat_inc(pdwoke);
    while (shortage() && progress && may_gather()) {
        uvm_stat_inc(pdrevs);
        uvmpd_reclaim_slots();
        gather();
        pd.mapfull = false;
        free_clean();
        write_dirty();
        if (pd.victims.centre)
            write_around(pd.victims.centre);
        progress = (pd.victims.nclean + pd.victims.ndirty > 0 || pd.victims.centre) && !pd.mapfull;
    }
    /* The end of a cluster in flight wakes us; when there is none, the timer has to. */
    bool waiting = shortage() && uvm_page_wanted();
    if (pd.ticked && !pd.busy && waiting && all_settled())
        count_fruitless();
    pd.ticked = false;
    set_retry(waiting && !pd.busy);
}

int uvmpd_start(struct uvm_error *err)
{
    pd.clusters = calloc(UVMPD_CLUSTERS, sizeof(*pd.clusters));
    if (!pd.clusters)
        return uvm_fail(err, -ENOMEM, "no memory for the pagedaemon's clusters");
    int rc = uvm_loop_new("uvm-pagedaemon", -1, &pd.loop, err);
    if (rc)
        return rc;
    uvm_loop_register(pd.loop, uvm_pagermap_base(), uvm_pagermap_size());
    uvmpd_slots_init();
    pd.work.fn = uvmpd_run;
    pd.posted = false;
    pd.retrying = pd.mapfull = false;
    pd.ticked = false;
    pd.fruitless = pd.failures = 0;
    pd.resume_ns = 0;
    pd.busy = 0;
    uvm_page_set_kick(uvmpd_post);
    rc = uvm_loop_start(pd.loop);
    return rc ? uvm_fail(err, rc, "cannot start the pagedaemon") : 0;
}

void uvmpd_stop(void)
{
    if (!pd.loop)
        return;
    uvm_page_set_kick(NULL);
    uvm_loop_stop(pd.loop);
    uvm_loop_join(pd.loop);
    uvm_loop_free(pd.loop);
    pd.loop = NULL;
    free(pd.clusters);
    pd.clusters = NULL;
}
