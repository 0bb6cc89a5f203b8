/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The anonymous object pager: get with the object locked, flush, the end of an object, and which
 * pages travel together. Get that reads: test_fault.c.
 */
#include "core.h"

#define NPAGES 512u

static struct uvm_object *uobj;
static struct uvm_getreq req;

static void setup(void)
{
    core_up(NPAGES);
    core_swap();
    uobj = core_object();
    memset(&req, 0, sizeof(req));
}

static void teardown(void)
{
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

static int get_locked(uint32_t pgno, uint32_t n, uint32_t centre, uint32_t *ret_got)
{
    req.uobj = uobj;
    req.pgno = pgno;
    req.npages = n;
    UVM_LOCK_SCOPE(&uobj->lock);
    return uobj->pgops->pgo_get(uobj, &req, ret_got, centre, PGO_LOCKED);
}

/* Give a BUSY|FAKE page its zeroes and let it go. */
static void zero_fill(struct vm_page *pg)
{
    ck_assert_int_eq(pmap_zero(pg->apage, 1, UVM_PROT_RW), 0);
    {
        UVM_LOCK_SCOPE(&uobj->lock);
        uvm_page_filled(pg, false);
    }
    core_letgo(pg);
}

START_TEST(test_locked_resident)
{
    uint32_t got;

    core_fill(uobj, 10, 4, 1);
    ck_assert_int_eq(get_locked(10, 4, 2, &got), VM_PAGER_OK);
    ck_assert_uint_eq(got, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_ptr_eq(req.pps[i], core_page(uobj, 10 + i));
        ck_assert_uint_eq(req.pps[i]->flags, PG_BUSY);
        core_letgo(req.pps[i]);
    }
}
END_TEST

START_TEST(test_locked_zero_fill)
{
    uint32_t got;

    ck_assert_int_eq(uvm_allocate(uobj, 10, 2), 0);
    ck_assert_int_eq(get_locked(10, 2, 0, &got), VM_PAGER_OK);
    ck_assert_uint_eq(got, 2);
    ck_assert_uint_eq(req.pps[0]->flags, PG_BUSY | PG_FAKE);
    ck_assert_uint_eq(req.pps[0]->swslot, 0);
    zero_fill(req.pps[0]);
    zero_fill(req.pps[1]);
    char zero[UVM_PAGE_SIZE] = {0}, seen[UVM_PAGE_SIZE];
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(10), seen, sizeof(seen), 0), 0);
    ck_assert_mem_eq(seen, zero, sizeof(zero));
}
END_TEST

/* What is on swap, busy, or never reserved needs more than a look: the neighbours come all the same. */
START_TEST(test_locked_needs_more)
{
    uint32_t got;

    core_fill(uobj, 10, 4, 1);
    core_pageout(uobj, 11, 1);
    struct vm_page *busy = core_busy(uobj, 12);
    for (uint32_t centre = 1; centre < 5; centre++) {
        memset(&req, 0, sizeof(req));
        int rc = get_locked(10, 5, centre, &got); /* 14 was never touched */
        ck_assert_int_eq(rc, centre == 3 ? VM_PAGER_OK : VM_PAGER_UNLOCK);
        ck_assert_uint_eq(got, 2);
        ck_assert_ptr_nonnull(req.pps[0]);
        ck_assert_ptr_null(req.pps[1]);
        ck_assert_ptr_null(req.pps[2]);
        ck_assert_ptr_nonnull(req.pps[3]);
        ck_assert_ptr_null(req.pps[4]);
        core_letgo(req.pps[0]);
        core_letgo(req.pps[3]);
    }
    core_letgo(busy);
}
END_TEST

/* Pages that the caller has are left alone. */
START_TEST(test_locked_has_some)
{
    uint32_t got;

    core_fill(uobj, 10, 2, 1);
    req.pps[0] = core_busy(uobj, 10);
    ck_assert_int_eq(get_locked(10, 2, 0, &got), VM_PAGER_OK);
    ck_assert_uint_eq(got, 1);
    core_letgo(req.pps[0]);
    core_letgo(req.pps[1]);
}
END_TEST

START_TEST(test_locked_no_memory)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    uint32_t got;

    ck_assert_int_eq(uvm_allocate(uobj, 0, 1), 0);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    ck_assert_int_eq(get_locked(0, 1, 0, &got), VM_PAGER_UNLOCK);
    ck_assert_uint_eq(got, 0);
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_HOLE);
    uvm_pageput(&list);
}
END_TEST

START_TEST(test_flush_free)
{
    core_fill(uobj, 0, 200, 1);
    core_pageout(uobj, 60, 20);
    ck_assert_int_eq(uvm_allocate(uobj, 200, 10), 0);
    struct vm_page *pg = core_page(uobj, 30);
    uint32_t apage = pg->apage;
    core_flush(uobj, 30, 205, PGO_FREE);
    for (uint32_t i = 0; i < 210; i++)
        ck_assert_int_eq(core_tag(uobj, i), i < 30    ? UVM_E_PAGE
                                            : i < 205 ? UVM_E_EMPTY
                                                      : UVM_E_HOLE);
    ck_assert_int_eq(pmap_soft_state(apage), PMAP_SOFT_ABSENT);
    ck_assert_uint_eq(uvm_stat_get(reserved), 35);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES - 30);
    core_check_object(uobj);
    core_verify(uobj, 0, 30, 1);
}
END_TEST

START_TEST(test_flush_all)
{
    core_fill(uobj, 0, 10, 1);
    core_fill(uobj, UVM_OBJECT_PAGES_MAX - 1, 1, 1);
    core_flush(uobj, 5, 5, PGO_FREE); /* an empty range */
    ck_assert_uint_eq(uobj->nresident, 11);
    core_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
    ck_assert_uint_eq(uobj->nresident, 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_uint_eq(uvm_stat_get(delivered), 0);
    ck_assert_ptr_null(uobj->root);
}
END_TEST

/* A busy page goes when its owner lets go, and only then. */
START_TEST(test_flush_busy)
{
    core_fill(uobj, 0, 4, 1);
    struct vm_page *pg = core_busy(uobj, 2);
    core_flush(uobj, 0, 4, PGO_FREE);
    ck_assert_uint_eq(pg->flags, PG_BUSY | PG_RELEASED);
    ck_assert_ptr_eq(core_page(uobj, 2), pg);
    ck_assert_int_eq(pmap_soft_state(pg->apage), PMAP_SOFT_RW); /* its memory is its owner's */
    ck_assert_uint_eq(uobj->nreserved, 1);
    ck_assert_uint_eq(uvm_stat_get(reserved), 1);
    ck_assert(core_letgo(pg));
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_ptr_null(uobj->root);
}
END_TEST

/* fallocate finds a page that goes when its owner lets go: its promise outlives the page. _i: the page
 * has a slot as well */
START_TEST(test_flush_busy_promised)
{
    core_fill(uobj, 2, 1, 1);
    if (_i) {
        core_pageout(uobj, 2, 1);
        core_verify(uobj, 2, 1, 1);
    }
    struct vm_page *pg = core_busy(uobj, 2);
    core_flush(uobj, 0, 4, PGO_FREE);
    ck_assert_int_eq(uvm_allocate(uobj, 0, 4), 0);
    ck_assert(core_letgo(pg));
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(core_tag(uobj, i), UVM_E_HOLE);
    ck_assert_uint_eq(uobj->nreserved, 4);
    ck_assert_uint_eq(uvm_stat_get(reserved), 4);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    core_flush(uobj, 0, 4, PGO_FREE);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

START_TEST(test_flush_deactivate)
{
    core_fill(uobj, 0, 10, 1);
    struct vm_page *busy = core_busy(uobj, 4);
    ck_assert_uint_eq(uvm_stat_get(active), 9);
    core_flush(uobj, 2, 8, PGO_DEACTIVATE);
    for (uint32_t i = 0; i < 10; i++) {
        unsigned want = i == 4 ? 0 : i >= 2 && i < 8 ? PQ_INACTIVE : PQ_ACTIVE;
        ck_assert_uint_eq(core_page(uobj, i)->pqflags, want);
    }
    core_letgo(busy);
    core_verify(uobj, 0, 10, 1);
}
END_TEST

START_TEST(test_detach)
{
    struct uvm_object *o = core_object();
    uint64_t id = o->id;

    core_fill(o, 0, 10, 1);
    core_pageout(o, 0, 5);
    o->pgops->pgo_reference(o);
    core_gone(o);
    ck_assert_uint_eq(o->nresident, 5); /* somebody still has it */
    core_gone(o);
    ck_assert_ptr_null(uvm_object_lookup(id));
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

/* The last reference goes while pages are busy: the object goes with the last of those. */
START_TEST(test_detach_busy)
{
    struct uvm_object *o = core_object();

    core_fill(o, 0, 4, 1);
    struct vm_page *a = core_busy(o, 1), *b = core_busy(o, 3);
    core_gone(o);
    ck_assert_uint_eq(uvm_stat_get(objects), 1);
    ck_assert_uint_eq(o->nresident, 2);
    ck_assert(o->dying);
    ck_assert(core_letgo(a));
    ck_assert_uint_eq(o->nresident, 1);
    ck_assert(!core_letgo(b));
    uvm_lock_assert_none();
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

static void check_travel(uint32_t pgno, uint32_t lo, uint32_t hi)
{
    uint32_t got_lo, got_hi;
    UVM_LOCK_SCOPE(&uobj->lock);
    uobj->pgops->pgo_cluster(uobj, pgno, &got_lo, &got_hi);
    ck_assert_uint_eq(got_lo, lo);
    ck_assert_uint_eq(got_hi, hi);
}

/* Pages travel together when their slots are in a row as they are. */
START_TEST(test_cluster)
{
    core_fill(uobj, 0, 30, 1);
    core_pageout(uobj, 20, 1); /* slot 1 */
    core_pageout(uobj, 0, 10); /* slots 2 to 11 */
    core_pageout(uobj, 11, 5); /* 12 to 16: in a row, but page 10 is not among them */
    core_pageout(uobj, 10, 1); /* 17 */
    check_travel(0, 0, 10);
    check_travel(4, 0, 10);
    check_travel(9, 0, 10);
    check_travel(10, 10, 11);
    check_travel(13, 11, 16);
    check_travel(20, 20, 21);
    check_travel(25, 25, 26); /* resident */
    check_travel(100, 100, 101);
    core_verify(uobj, 4, 1, 1);
    check_travel(3, 0, 4); /* one in the middle has come back */
    check_travel(5, 5, 10);
}
END_TEST

/* Never more than a cluster. */
START_TEST(test_cluster_limit)
{
    uint32_t lo, hi;

    core_fill(uobj, 0, 300, 1);
    core_pageout(uobj, 0, 300); /* two clusters, in slots in a row */
    ck_assert_uint_eq(core_slot(uobj, 299), core_slot(uobj, 0) + 299);
    for (uint32_t at = 0; at < 300; at += 23) {
        UVM_LOCK_SCOPE(&uobj->lock);
        uobj->pgops->pgo_cluster(uobj, at, &lo, &hi);
        ck_assert_uint_le(hi - lo, UVM_CLUSTER_PAGES);
        ck_assert(lo <= at && at < hi && hi <= 300);
    }
}
END_TEST

static Suite *aobj_suite(void)
{
    Suite *s = suite_create("aobj");

    TCase *tc = tcase_create("get locked");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_locked_resident);
    tcase_add_test(tc, test_locked_zero_fill);
    tcase_add_test(tc, test_locked_needs_more);
    tcase_add_test(tc, test_locked_has_some);
    tcase_add_test(tc, test_locked_no_memory);
    suite_add_tcase(s, tc);

    tc = tcase_create("flush, detach, cluster");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_flush_free);
    tcase_add_test(tc, test_flush_all);
    tcase_add_test(tc, test_flush_busy);
    tcase_add_loop_test(tc, test_flush_busy_promised, 0, 2);
    tcase_add_test(tc, test_flush_deactivate);
    tcase_add_test(tc, test_detach);
    tcase_add_test(tc, test_detach_busy);
    tcase_add_test(tc, test_cluster);
    tcase_add_test(tc, test_cluster_limit);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(aobj_suite)
