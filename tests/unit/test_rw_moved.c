/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A write that waits while its bytes move elsewhere, all of them or only the first: it goes on from
 * the new place and never looks at the old one, or behind what was kept.
 */
#include "core.h"

#include <errno.h>

#include "daemon/pager/swap.h"
#include "daemon/util.h"

#define NPAGES 512u
#define LONG   128u /* pages of the write: two windows */
#define P      UVM_PAGE_SIZE

static struct uvm_object *uobj;
static struct core_req req;
static char *request, *moved; /* where the bytes are at first, and then */
static uint64_t promised;

static void reclaim(void)
{
}

static void setup(void)
{
    uint64_t total;

    core_up(NPAGES);
    core_swap();
    uobj = core_object();
    uvm_reserve_set_reclaim(reclaim);
    uvm_reserve_space(&total, &promised);
    request = malloc(LONG * P);
    for (uint32_t i = 0; i < LONG; i++)
        core_pattern(request + i * P, uobj->id, i, 1);
}

static void teardown(void)
{
    free(request);
    free(moved);
    moved = NULL;
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

/* Start the long write when only some of its pages can have their promise. */
static void start_waiting(uint32_t npages)
{
    ck_assert_int_eq(uvm_reserve((uint32_t)promised - npages, NULL), UVM_RESERVED);
    promised -= npages;
    core_start_write(&req, uobj, 0, request, LONG * P, 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert_uint_eq(req.rw.at, npages * P);
}

/* What is left of the request moves, to no more memory than that; the old place is another's. */
static void move(size_t kept)
{
    moved = malloc(kept ? kept : 1);
    memcpy(moved, request + req.rw.at, kept);
    memset(request, 'x', LONG * P);
    uvm_write_moved(&req.rw, kept ? moved : NULL, kept);
}

static void let_go_on(void)
{
    uvm_unreserve(promised);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
}

START_TEST(test_whole)
{
    start_waiting(64);
    move((LONG - 64) * P);
    let_go_on();
    ck_assert_int_eq(req.error, 0);
    core_verify(uobj, 0, LONG, 1);
}
END_TEST

START_TEST(test_cut)
{
    start_waiting(64);
    move(2 * P);
    let_go_on();
    ck_assert_int_eq(req.error, -ENOMEM);
    ck_assert_uint_eq(req.rw.at, 66 * P);
    core_verify(uobj, 0, 66, 1);
    ck_assert_uint_eq(core_tag(uobj, 66), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(reserved), 66); /* what it was granted and did not use is back */
}
END_TEST

START_TEST(test_nothing_kept)
{
    start_waiting(0);
    move(0);
    let_go_on();
    ck_assert_int_eq(req.error, -ENOMEM);
    ck_assert_uint_eq(req.rw.at, 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

/* A page behind the cut cannot be had: that is no reason to go beyond the cut. */
START_TEST(test_error_behind)
{
    core_fill(uobj, 0, 4, 2);
    core_pageout(uobj, 3, 1);
    core_inject(false, core_slot(uobj, 3), 1, EIO, 0);
    core_start_write(&req, uobj, 0, request, 3 * P + 100, 0);
    ck_assert_uint_eq(req.ndone, 0); /* it waits for the rest of page 3 */
    move(P);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -ENOMEM);
    ck_assert_uint_eq(req.rw.at, P);
    core_verify(uobj, 0, 1, 1);
    core_verify(uobj, 1, 2, 2);
    uvm_swap_inject_clear();
    core_verify(uobj, 3, 1, 2);
}
END_TEST

static Suite *moved_suite(void)
{
    Suite *suite = suite_create("rw_moved");
    TCase *tc = tcase_create("moved");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_whole);
    tcase_add_test(tc, test_cut);
    tcase_add_test(tc, test_nothing_kept);
    tcase_add_test(tc, test_error_behind);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(moved_suite)
