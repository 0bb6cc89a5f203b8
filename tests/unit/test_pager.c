/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvm_pager_put and uvm_pager_dropcluster: what becomes of the pages and slots of a swap cluster
 * when it was written, when it failed, and when something happened to its pages meanwhile.
 *
 * The tests' objects are anonymous ones whose releasepg and put are counted.
 */
#include "core.h"

#include <errno.h>

#include "daemon/ledger.h"
#include "daemon/pager/pagermap.h"
#include "daemon/pager/swap.h"

#define NPAGES 256u
#define N      8u

static struct uvm_object *uobj;
static struct uvm_cluster cl;
static struct uvm_pagerops ops;
static unsigned nreleased, nput;
static uint64_t next_id = 50;

static bool count_releasepg(struct vm_page *pg)
{
    nreleased++;
    return uvm_aobj_pagerops.pgo_releasepg(pg);
}

static int count_put(struct uvm_object *o, struct uvm_cluster *c)
{
    ck_assert_ptr_eq(o, c->uobj);
    nput++;
    return VM_PAGER_AGAIN;
}

static struct uvm_object *counted_object(void)
{
    return uvm_object_new(next_id++, &ops);
}

static void setup(void)
{
    core_up(NPAGES);
    core_swap();
    ops = uvm_aobj_pagerops;
    ops.pgo_releasepg = count_releasepg;
    ops.pgo_put = count_put;
    uobj = counted_object();
    core_fill(uobj, 0, N, 1);
    memset(&cl, 0, sizeof(cl));
    nreleased = nput = 0;
}

static void teardown(void)
{
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

/* A waiter for pages of an object. */
struct waiter {
    struct uvm_objwait wait;
    unsigned calls;
};

static void woken(struct uvm_work *work)
{
    UVM_CONTAINER_OF(work, struct waiter, wait.work)->calls++;
}

static void wait_on(struct waiter *w, struct uvm_object *o, uint32_t pgno)
{
    *w = (struct waiter){.wait = {.work.fn = woken, .loop = &core_loop, .pgno = pgno, .npages = 1}};
    UVM_LOCK_SCOPE(&o->lock);
    uvm_object_wait(o, &w->wait);
}

/* The page is resident, nobody's, dirty, active, without a slot. */
static void check_dirty_active(uint32_t pgno)
{
    struct vm_page *pg = core_page(uobj, pgno);

    ck_assert_ptr_nonnull(pg);
    ck_assert_uint_eq(pg->flags, 0);
    ck_assert_uint_eq(pg->pqflags, PQ_ACTIVE);
    ck_assert_uint_eq(pg->swslot, 0);
}

START_TEST(test_put_success)
{
    core_cluster_add(&cl, uobj, 0, N);
    uint32_t first = cl.pps[0]->apage;
    ck_assert_uint_eq(uvm_stat_get(paging), N);
    ck_assert_uint_eq(core_cluster_put(&cl), N);
    for (uint32_t i = 0; i < N; i++) {
        const struct uvm_ledger_slot *r = uvm_ledger_slot(cl.swslot + i);
        ck_assert_uint_eq(core_tag(uobj, i), UVM_E_SLOT);
        ck_assert_uint_eq(core_slot(uobj, i), cl.swslot + i);
        ck_assert_int_eq(pmap_soft_state(first + i), PMAP_SOFT_ABSENT);
        ck_assert_uint_eq(r->object, uobj->id);
        ck_assert_uint_eq(r->pgno, i);
    }
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    ck_assert_uint_eq(uvm_stat_get(pageouts), 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapout), N);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(pdfreed), N);
    ck_assert_uint_eq(uobj->pgswapout, N);
    core_verify(uobj, 0, N, 1);
}
END_TEST

/* Pages of several objects, in any order, travel in one cluster. */
START_TEST(test_put_several_objects)
{
    struct uvm_object *other = counted_object();

    core_fill(other, 100, 2, 7);
    core_cluster_add(&cl, other, 101, 1);
    core_cluster_add(&cl, uobj, 4, 1);
    core_cluster_add(&cl, other, 100, 1);
    core_cluster_add(&cl, uobj, 0, 2);
    ck_assert_uint_eq(core_cluster_put(&cl), 5);
    ck_assert_uint_eq(uvm_stat_get(pageouts), 1);
    ck_assert_uint_eq(core_slot(other, 101), cl.swslot);
    ck_assert_uint_eq(core_slot(uobj, 4), cl.swslot + 1);
    ck_assert_uint_eq(core_slot(uobj, 1), cl.swslot + 4);
    core_verify(uobj, 0, N, 1);
    core_verify(other, 100, 2, 7);
    core_check_object(other);
    core_gone(other);
}
END_TEST

/* Between the start of a put and its end the pages are busy, and their bytes are on their way. */
START_TEST(test_put_in_flight)
{
    uint32_t nok = UINT32_MAX;
    struct core_req req;
    char byte = 'x', seen;

    core_cluster_add(&cl, uobj, 0, N);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_int_eq(pmap_soft_state(cl.pps[i]->apage), PMAP_SOFT_RO);
    core_start_write(&req, uobj, 10, &byte, 1, 0); /* waits */
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert(cl.pps[0]->flags & PG_WANTED);
    ck_assert(!(cl.pps[1]->flags & PG_WANTED));
    nok = core_cluster_put(&cl);
    ck_assert_uint_eq(nok, N);
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
    ck_assert_int_eq(core_read(uobj, 10, &seen, 1, 0), 0);
    ck_assert_int_eq(seen, 'x');
    core_verify(uobj, 1, N - 1, 1);
}
END_TEST

/* The error does not come back when the pages are written one by one: nothing has happened. */
START_TEST(test_put_transient_error)
{
    core_cluster_add(&cl, uobj, 0, N);
    core_inject(true, 0, 0, EIO, 1);
    ck_assert_uint_eq(core_cluster_put(&cl), N);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 0);
    ck_assert_uint_eq(uvm_stat_get(ioerrors), 1);
    ck_assert_uint_eq(uvm_stat_get(pageouts), N);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_uint_eq(core_slot(uobj, i), cl.swslot + i);
    core_verify(uobj, 0, N, 1);
}
END_TEST

/* One slot is bad: its page stays, dirty and active; the others are written where they belong. */
START_TEST(test_put_bad_slot)
{
    uint32_t n = 1, slot;

    core_cluster_add(&cl, uobj, 0, N);
    core_inject(true, 1 + 3, 1, EIO, 0); /* the first run of the device begins at slot 1 */
    ck_assert_uint_eq(core_cluster_put(&cl), N - 1);
    ck_assert_uint_eq(cl.swslot, 1);
    for (uint32_t i = 0; i < N; i++) {
        if (i == 3)
            check_dirty_active(i);
        else
            ck_assert_uint_eq(core_slot(uobj, i), cl.swslot + i);
    }
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 1);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), N - 1);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    ck_assert_uint_eq(uvm_ledger_slot(4)->object, 0);
    ck_assert_uint_eq(uvm_swap_pages(), CORE_SWAP_SLOTS - 1);
    core_verify(uobj, 0, N, 1);
    /* It is never handed out again. */
    core_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
    for (uint32_t i = 1; i < CORE_SWAP_SLOTS; i++) {
        ck_assert_uint_ne(slot = uvm_swap_alloc(&n, true), 0);
        ck_assert_uint_ne(slot, 4);
    }
    ck_assert_uint_eq(uvm_swap_alloc(&n, true), 0);
    uvm_swap_free(1, 3);
    uvm_swap_free(5, CORE_SWAP_SLOTS - 4);
}
END_TEST

/* A page that failed is written to another slot next time. */
START_TEST(test_put_again_elsewhere)
{
    core_cluster_add(&cl, uobj, 0, 1);
    core_inject(true, 1, 1, EIO, 0);
    ck_assert_uint_eq(core_cluster_put(&cl), 0);
    check_dirty_active(0);
    memset(&cl, 0, sizeof(cl));
    core_cluster_add(&cl, uobj, 0, 1);
    ck_assert_uint_eq(core_cluster_put(&cl), 1);
    ck_assert_uint_eq(core_slot(uobj, 0), 2);
    core_verify(uobj, 0, 1, 1);
}
END_TEST

START_TEST(test_put_all_bad)
{
    core_cluster_add(&cl, uobj, 0, N);
    core_inject(true, 0, 0, EIO, 0);
    ck_assert_uint_eq(core_cluster_put(&cl), 0);
    for (uint32_t i = 0; i < N; i++)
        check_dirty_active(i);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), N);
    ck_assert_uint_eq(uvm_stat_get(pageouts), 0);
    ck_assert_uint_eq(uvm_stat_get(pgswapout), 0);
    core_verify(uobj, 0, N, 1);
}
END_TEST

/* Truncated under the transfer, and the transfer fails: neither page nor slot is left. */
START_TEST(test_put_error_released)
{
    core_cluster_add(&cl, uobj, 0, N);
    core_flush(uobj, 2, 4, PGO_FREE);
    core_inject(true, 3, 1, EIO, 0);
    ck_assert_uint_eq(core_cluster_put(&cl), N - 1);
    ck_assert_uint_eq(nreleased, 2);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_EMPTY);
    ck_assert_uint_eq(core_tag(uobj, 3), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 1);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), N - 2);
    core_verify(uobj, 4, 4, 1);
}
END_TEST

/* No room in the pager map: it says so at once, and the cluster is still the caller's. */
START_TEST(test_put_map_full)
{
    void *kva[UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES];
    const unsigned n = UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES;

    for (unsigned i = 0; i < n; i++) {
        kva[i] = uvm_pagermapin(UVM_CLUSTER_PAGES, UVMPAGER_MAPIN_RESERVE, NULL);
        ck_assert_ptr_nonnull(kva[i]);
    }
    core_cluster_add(&cl, uobj, 0, N);
    core_cluster_slots(&cl);
    cl.loop = &core_loop;
    cl.flags = PGO_PDFREECLUST;
    ck_assert_int_eq(uvm_pager_put(&cl), VM_PAGER_AGAIN);
    core_run();
    for (uint32_t i = 0; i < N; i++) {
        ck_assert_uint_eq(cl.pps[i]->flags, PG_BUSY | PG_PAGEOUT);
        ck_assert_uint_eq(cl.pps[i]->swslot, cl.swslot + i);
    }
    ck_assert_uint_eq(uvm_stat_get(pgswapout), 0);
    for (unsigned i = 0; i < n; i++)
        uvm_pagermapout(kva[i], UVM_CLUSTER_PAGES);
    uvm_pager_dropcluster(cl.pps, N, NULL, PGO_REALLOCSWAP);
    for (uint32_t i = 0; i < N; i++)
        check_dirty_active(i);
    core_verify(uobj, 0, N, 1);
}
END_TEST

/* Page-ins have taken all that they may: page-out has room. */
START_TEST(test_put_map_reserve)
{
    void *kva[UVM_PAGERMAP_PAGES];
    unsigned n = 0;

    while ((kva[n] = uvm_pagermapin(UVM_CLUSTER_PAGES, 0, NULL)))
        n++;
    ck_assert_uint_eq(n, (UVM_PAGERMAP_PAGES - UVM_PAGERMAP_RESERVE) / UVM_CLUSTER_PAGES);
    core_cluster_add(&cl, uobj, 0, N);
    ck_assert_uint_eq(core_cluster_put(&cl), N);
    while (n-- > 0)
        uvm_pagermapout(kva[n], UVM_CLUSTER_PAGES);
}
END_TEST

/* An object's own cluster is its pager's business. */
START_TEST(test_put_object)
{
    cl.npages = 1;
    cl.pps[0] = core_busy(uobj, 0);
    cl.uobj = uobj;
    ck_assert_int_eq(uvm_pager_put(&cl), VM_PAGER_AGAIN);
    ck_assert_uint_eq(nput, 1);
    core_letgo(cl.pps[0]);
}
END_TEST

START_TEST(test_drop_wanted)
{
    struct waiter w[2];

    core_cluster_add(&cl, uobj, 0, 4);
    wait_on(&w[0], uobj, 1);
    struct vm_page *busy = core_busy(uobj, 6);
    wait_on(&w[1], uobj, 6);
    uvm_pager_dropcluster(cl.pps, 4, NULL, 0);
    core_run();
    ck_assert_uint_eq(w[0].calls, 1);
    ck_assert_uint_eq(w[1].calls, 0); /* not of this cluster */
    core_letgo(busy);
    core_run();
    ck_assert_uint_eq(w[1].calls, 1);
}
END_TEST

/* Waiters are woken whichever way the page goes. */
START_TEST(test_drop_wanted_freed)
{
    struct waiter w[2];

    core_cluster_add(&cl, uobj, 0, 2);
    core_cluster_slots(&cl);
    wait_on(&w[0], uobj, 0);
    wait_on(&w[1], uobj, 1);
    core_flush(uobj, 1, 2, PGO_FREE);
    uvm_pager_dropcluster(cl.pps, 2, NULL, PGO_PDFREECLUST);
    core_run();
    ck_assert_uint_eq(w[0].calls, 1); /* freed, its bytes are in the slot */
    ck_assert_uint_eq(w[1].calls, 1); /* released */
    core_flush(uobj, 0, 1, PGO_FREE); /* nothing was written to that slot */
}
END_TEST

START_TEST(test_drop_released)
{
    core_cluster_add(&cl, uobj, 0, 4);
    core_cluster_slots(&cl);
    core_flush(uobj, 1, 3, PGO_FREE);
    ck_assert_uint_eq(uobj->nresident, N); /* busy pages are not gone yet */
    ck_assert(cl.pps[1]->flags & PG_RELEASED);
    uvm_pager_dropcluster(cl.pps, 4, NULL, 0);
    ck_assert_uint_eq(nreleased, 2);
    ck_assert_uint_eq(uobj->nresident, N - 2);
    ck_assert_uint_eq(core_tag(uobj, 1), UVM_E_EMPTY);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(reserved), N - 2);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 2);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
}
END_TEST

/* The object has no reference left and these were its last pages: it dies in the middle of the
 * cluster and is not touched again (the address sanitizer would tell); the others are dropped. */
START_TEST(test_drop_object_dies)
{
    struct uvm_object *dead = counted_object();

    core_fill(dead, 0, 3, 1);
    core_cluster_add(&cl, uobj, 0, 1);
    core_cluster_add(&cl, dead, 0, 3);
    core_cluster_add(&cl, uobj, 1, 1);
    core_cluster_slots(&cl);
    ck_assert_uint_eq(uvm_stat_get(objects), 2);
    core_gone(dead);
    ck_assert_uint_eq(uvm_stat_get(objects), 1);
    ck_assert_ptr_null(uvm_object_lookup(dead->id));
    uvm_pager_dropcluster(cl.pps, 5, NULL, PGO_REALLOCSWAP);
    ck_assert_uint_eq(nreleased, 3);
    uvm_lock_assert_none();
    check_dirty_active(0);
    check_dirty_active(1);
    ck_assert_uint_eq(uvm_stat_get(reserved), N);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
}
END_TEST

/* The same through a put: the last pages of the cluster are the dying object's. */
START_TEST(test_put_object_dies)
{
    struct uvm_object *dead = counted_object();

    core_fill(dead, 0, 2, 1);
    core_cluster_add(&cl, uobj, 0, 1);
    core_cluster_add(&cl, dead, 0, 2);
    core_gone(dead);
    ck_assert_uint_eq(core_cluster_put(&cl), 3);
    ck_assert_uint_eq(nreleased, 2);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 1);
    ck_assert_uint_eq(uvm_stat_get(reserved), N);
}
END_TEST

START_TEST(test_drop_reallocswap)
{
    core_cluster_add(&cl, uobj, 0, N);
    core_cluster_slots(&cl);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), N);
    uvm_pager_dropcluster(cl.pps, N, NULL, PGO_REALLOCSWAP);
    for (uint32_t i = 0; i < N; i++)
        check_dirty_active(i);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
}
END_TEST

/* What was only to be cleaned stays: clean, with its slot, inactive. */
START_TEST(test_drop_pdfreeclust)
{
    core_cluster_add(&cl, uobj, 0, 4);
    for (uint32_t i = 0; i < 4; i += 2) {
        cl.pps[i]->flags &= (uint16_t)~PG_PAGEOUT;
        uvm_stat_sub(paging, 1);
    }
    ck_assert_uint_eq(core_cluster_put(&cl), 4);
    for (uint32_t i = 0; i < 4; i++) {
        struct vm_page *pg = core_page(uobj, i);
        ck_assert_uint_eq(core_slot(uobj, i), cl.swslot + i);
        ck_assert_int_eq(pg != NULL, i % 2 == 0);
        if (pg) {
            ck_assert_uint_eq(pg->flags, PG_CLEAN);
            ck_assert_uint_eq(pg->pqflags, PQ_INACTIVE);
        }
    }
    core_verify(uobj, 0, N, 1);
}
END_TEST

/* The page that the caller keeps is as it was, whatever the others become. */
START_TEST(test_drop_keep)
{
    static const int flags[] = {0, PGO_REALLOCSWAP, PGO_PDFREECLUST};

    for (unsigned i = 0; i < 3; i++) {
        uint32_t pgno = 2 * i; /* two pages, the second is kept */
        memset(&cl, 0, sizeof(cl));
        core_cluster_add(&cl, uobj, pgno, 2);
        core_cluster_slots(&cl);
        struct vm_page *keep = cl.pps[1];
        uvm_pager_dropcluster(cl.pps, 2, keep, flags[i]);
        ck_assert_uint_eq(keep->flags, PG_BUSY | PG_PAGEOUT);
        ck_assert_uint_eq(keep->swslot, cl.swslot + 1);
        ck_assert_int_eq(pmap_soft_state(keep->apage), PMAP_SOFT_RO);
        ck_assert_uint_eq(uvm_stat_get(paging), 1);
        uvm_pager_dropcluster(&keep, 1, NULL, PGO_REALLOCSWAP);
    }
    core_flush(uobj, 4, 5, PGO_FREE); /* nothing was written to that slot */
}
END_TEST

/* Neither flag: active, as they are. */
START_TEST(test_drop_plain)
{
    core_cluster_add(&cl, uobj, 0, 2);
    core_cluster_slots(&cl);
    uvm_lock_acquire(&uobj->lock);
    uvm_page_cleaned(cl.pps[1]);
    uvm_lock_release(&uobj->lock);
    uvm_pager_dropcluster(cl.pps, 2, NULL, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct vm_page *pg = core_page(uobj, i);
        ck_assert_uint_eq(pg->flags, i ? PG_CLEAN : 0);
        ck_assert_uint_eq(pg->pqflags, PQ_ACTIVE);
        ck_assert_uint_eq(pg->swslot, cl.swslot + i);
    }
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
}
END_TEST

static struct uvm_md_ops md;
static unsigned nremoves, removed;

static void count_remove(uint32_t apage, uint32_t n)
{
    nremoves++;
    removed += n;
    pmap_remove(apage, n);
}

/* The memory of neighbours goes in one call. */
START_TEST(test_drop_remove_runs)
{
    md = *uvm_md;
    md.remove = count_remove;
    uvm_md = &md;
    core_cluster_add(&cl, uobj, 0, 3);
    core_cluster_add(&cl, uobj, 5, 3);
    ck_assert_uint_eq(core_cluster_put(&cl), 6);
    ck_assert_uint_eq(nremoves, 2);
    ck_assert_uint_eq(removed, 6);
}
END_TEST

static Suite *pager_suite(void)
{
    Suite *s = suite_create("pager");

    TCase *tc = tcase_create("put");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_put_success);
    tcase_add_test(tc, test_put_several_objects);
    tcase_add_test(tc, test_put_in_flight);
    tcase_add_test(tc, test_put_transient_error);
    tcase_add_test(tc, test_put_bad_slot);
    tcase_add_test(tc, test_put_again_elsewhere);
    tcase_add_test(tc, test_put_all_bad);
    tcase_add_test(tc, test_put_error_released);
    tcase_add_test(tc, test_put_map_full);
    tcase_add_test(tc, test_put_map_reserve);
    tcase_add_test(tc, test_put_object);
    tcase_add_test(tc, test_put_object_dies);
    suite_add_tcase(s, tc);

    tc = tcase_create("dropcluster");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_drop_wanted);
    tcase_add_test(tc, test_drop_wanted_freed);
    tcase_add_test(tc, test_drop_released);
    tcase_add_test(tc, test_drop_object_dies);
    tcase_add_test(tc, test_drop_reallocswap);
    tcase_add_test(tc, test_drop_pdfreeclust);
    tcase_add_test(tc, test_drop_keep);
    tcase_add_test(tc, test_drop_plain);
    tcase_add_test(tc, test_drop_remove_runs);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(pager_suite)
