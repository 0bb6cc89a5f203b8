/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Emptying a swap device, on fake loops: two devices of CORE_SWAP_SLOTS slots, of which the first is the
 * one that leaves. Nothing moves between core_run() and the next, so a drain can be met in the middle.
 */
#include "core.h"

#include <errno.h>

#include "daemon/drain.h"
#include "daemon/pager/swap.h"
#include "daemon/pdaemon.h"

#define NPAGES 512u
#define DEV1   (CORE_SWAP_SLOTS + 2u) /* first slot of the second device */

static struct uvm_object *uobj;
static struct uvm_loop *loop;
static struct uvm_drain drain;
static struct uvm_swapleave leave;
static unsigned ndone;
static int result;
static char path[UVM_SWAP_PATH_MAX];

static void setup(void)
{
    struct uvm_error err = {0};
    struct uvm_swapinfo *info = calloc(1, sizeof(*info));

    core_up(NPAGES);
    core_swap();
    ck_assert_uint_eq(uvm_swap_list(info, 1), 1);
    memcpy(path, info->path, sizeof(path));
    free(info);
    uobj = core_object();
    ck_assert_int_eq(uvm_loop_new("drain", -1, &loop, &err), 0);
    ndone = 0;
}

static void teardown(void)
{
    core_check_object(uobj);
    core_gone(uobj);
    uvm_loop_free(loop);
    ck_assert_uint_eq(uvm_stat_get(swpgleaving), 0);
    core_down();
}

static void done(struct uvm_drain *d, int error)
{
    ck_assert_uint_eq(d->nflight, 0);
    ndone++;
    result = error;
}

static void begin(void)
{
    struct uvm_error err = {0};

    ck_assert_msg(uvm_swap_leave(path, &leave, &err) == 0, "%s", err.msg);
    memset(&drain, 0, sizeof(drain));
    drain.loop = loop;
    drain.slot0 = leave.slot0;
    drain.nslots = leave.nslots;
    drain.done = done;
    uvm_drain_start(&drain);
}

/* Tick until the drain has ended; it must end. */
static void until_done(int error)
{
    for (unsigned i = 0; i < 2000 && !ndone; i++) {
        core_tick();
        core_run();
    }
    ck_assert_uint_eq(ndone, 1);
    ck_assert_int_eq(result, error);
}

static void drained(void)
{
    until_done(0);
    ck_assert_uint_eq(uvm_swap_left(leave.slot0), 0);
    ck_assert(uvm_swap_gone(leave.slot0));
    ck_assert_uint_eq(uvm_stat_get(swpgleaving), 0);
}

/* The only device, and memory for everything: it is all resident and dirty afterwards. */
START_TEST(test_into_memory)
{
    core_fill(uobj, 0, 200, 1);
    core_pageout(uobj, 0, 200);
    begin();
    ck_assert_uint_eq(uvm_stat_get(swpages), 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(swpgleaving), 200);
    ck_assert_uint_eq(uvm_stat_get(reservemax), NPAGES);
    core_run();
    drained();
    ck_assert_uint_eq(uvm_stat_get(nswapdev), 0);
    for (uint32_t i = 0; i < 200; i++) {
        struct vm_page *pg = core_page(uobj, i);
        ck_assert_ptr_nonnull(pg);
        ck_assert_uint_eq(pg->flags, 0); /* not clean: nothing else has its bytes */
        ck_assert_uint_eq(pg->swslot, 0);
    }
    ck_assert_uint_eq(uobj->ndirty, 200);
    core_verify(uobj, 0, 200, 1);
}
END_TEST

/* What is in memory too is not read again. */
START_TEST(test_resident_is_not_read)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    core_verify(uobj, 0, 100, 1);
    uint64_t read = uvm_stat_get(pgswapin);
    begin();
    core_run();
    drained();
    ck_assert_uint_eq(uvm_stat_get(pgswapin), read);
    core_verify(uobj, 0, 100, 1);
}
END_TEST

/* Pages that lie anywhere come too, a few page-ins at a time. */
START_TEST(test_scattered)
{
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t pgno = i * 37 % 200;
        core_fill(uobj, pgno * 3, 1, 1);
        core_pageout(uobj, pgno * 3, 1);
    }
    begin();
    core_run();
    drained();
    for (uint32_t i = 0; i < 200; i++)
        core_verify(uobj, i * 3, 1, 1);
}
END_TEST

/* Memory is far too small: the pagedaemon moves to the second device what comes in from the first. */
START_TEST(test_to_another_device)
{
    struct uvm_error err = {0};

    uvmpd_tune(false);
    ck_assert_int_eq(uvmpd_start(&err), 0);
    for (uint32_t at = 0; at < 448; at += 64)
        core_fill(uobj, at, 64, 1);
    ck_assert_uint_gt(uvm_stat_get(swpginuse), 64);
    core_swap();
    begin();
    core_run();
    for (uint32_t at = 448; at < 496; at += 16) { /* others want memory meanwhile */
        core_fill(uobj, at, 16, 1);
        core_tick();
        core_run();
    }
    drained();
    ck_assert_uint_eq(uvm_stat_get(nswapdev), 1);
    for (uint32_t at = 0; at < 496; at += 16)
        core_verify(uobj, at, 16, 1);
    for (uint32_t i = 0; i < 496; i++)
        ck_assert(!core_slot(uobj, i) || core_slot(uobj, i) >= DEV1);
    core_gone(uobj);
    uvmpd_stop();
    uobj = core_object();
}
END_TEST

/* A page in somebody's hands is left to him, and found again. */
START_TEST(test_busy)
{
    core_fill(uobj, 0, 10, 1);
    core_pageout(uobj, 0, 10);
    core_verify(uobj, 0, 10, 1);
    struct vm_page *busy = core_busy(uobj, 4);
    begin();
    core_run();
    for (unsigned i = 0; i < 5; i++) {
        core_tick();
        core_run();
    }
    ck_assert_uint_eq(ndone, 0);
    ck_assert_uint_eq(uvm_swap_left(leave.slot0), 1);
    core_letgo(busy);
    drained();
}
END_TEST

/* Slots that are allocated and not written yet are somebody's cluster about to be. */
START_TEST(test_being_written)
{
    static struct uvm_cluster cl;

    memset(&cl, 0, sizeof(cl));
    core_fill(uobj, 0, 8, 1);
    core_cluster_add(&cl, uobj, 0, 8);
    core_cluster_slots(&cl);
    begin();
    core_run();
    core_tick();
    core_run();
    ck_assert_uint_eq(ndone, 0);
    ck_assert_uint_eq(uvm_swap_left(leave.slot0), 8);
    uvm_pager_dropcluster(cl.pps, 8, NULL, PGO_REALLOCSWAP); /* it is not written after all */
    drained();
    core_verify(uobj, 0, 8, 1);
}
END_TEST

/* Slots that cannot be read keep their bytes: the removal fails, and says of how many pages. */
START_TEST(test_unreadable)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    core_inject(false, leave.slot0 + 10, 3, EIO, 0);
    begin();
    core_run();
    until_done(-EIO);
    ck_assert_uint_eq(drain.unreadable, 3);
    ck_assert_uint_eq(uvm_swap_left(leave.slot0), 3);
    uvm_swap_stay(leave.slot0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 3);
    ck_assert_uint_eq(uvm_stat_get(swpages), CORE_SWAP_SLOTS);
    uvm_swap_inject_clear();
    core_verify(uobj, 0, 100, 1); /* nothing was given up */
}
END_TEST

/* A wrong checksum is the same. An error that passes costs nothing, and the next try has all. */
START_TEST(test_unreadable_for_a_while)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    core_inject(false, leave.slot0 + 50, 1, 0, 0);
    begin();
    core_run();
    until_done(-EIO);
    ck_assert_uint_eq(drain.unreadable, 1);
    uvm_swap_stay(leave.slot0);
    uvm_swap_inject_clear();
    ndone = 0;
    begin();
    core_run();
    drained();
    core_verify(uobj, 0, 100, 1);
}
END_TEST

START_TEST(test_cancel)
{
    core_fill(uobj, 0, 200, 1);
    core_pageout(uobj, 0, 200);
    begin();
    uvm_drain_cancel(&drain);
    until_done(-ECANCELED);
    ck_assert_uint_eq(uvm_swap_left(leave.slot0), 200);
    uvm_swap_stay(leave.slot0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 200);
    ck_assert_uint_eq(uvm_stat_get(reservemax), NPAGES + CORE_SWAP_SLOTS);
    core_verify(uobj, 0, 200, 1);
    uint32_t n = 1;
    uint32_t slot = uvm_swap_alloc(&n, false); /* it gives slots again */
    ck_assert_uint_ne(slot, 0);
    uvm_swap_free(slot, 1);
}
END_TEST

/* Nobody has memory for it: it waits like others, and gives up when those are told that none comes. */
START_TEST(test_no_memory)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 50, 1);
    core_pageout(uobj, 0, 50);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    begin();
    core_run();
    for (unsigned i = 0; i < 10 && !ndone; i++) {
        ck_assert_uint_gt(uvm_page_wanted(), 0);
        ck_assert_uint_le(drain.nflight, 1); /* a guest */
        uvm_pagewait_fail();
        core_run();
        core_tick();
        core_run();
    }
    until_done(-ENOMEM);
    uvm_swap_stay(leave.slot0);
    uvm_pageput(&list);
    core_verify(uobj, 0, 50, 1);
}
END_TEST

/* The object goes, or is cut, while its pages are on their way. */
START_TEST(test_gone_meanwhile)
{
    struct uvm_object *other = core_object();
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 64, 1);
    core_fill(other, 0, 64, 1);
    core_pageout(uobj, 0, 64);
    core_pageout(other, 0, 64);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    begin();
    core_run(); /* the page-in of uobj waits for memory */
    ck_assert_uint_eq(drain.nflight, 1);
    core_flush(uobj, 10, 30, PGO_FREE);
    core_gone(other);
    uvm_pageput(&list);
    core_run();
    drained();
    core_verify(uobj, 0, 10, 1);
    core_verify(uobj, 30, 34, 1);
}
END_TEST

/* A refusal says how much is missing, and changes nothing. */
START_TEST(test_does_not_fit)
{
    struct uvm_error err = {0};
    uint64_t max = uvm_stat_get(reservemax);

    ck_assert_int_eq(uvm_reserve(NPAGES + 256, NULL), UVM_RESERVED);
    ck_assert_int_eq(uvm_swap_leave(path, &leave, &err), -ENOSPC);
    ck_assert_msg(strstr(err.msg, "1.0M") || strstr(err.msg, "1M"), "%s", err.msg);
    ck_assert_uint_eq(uvm_stat_get(reservemax), max);
    ck_assert_uint_eq(uvm_stat_get(swpages), CORE_SWAP_SLOTS);
    uvm_unreserve(256);
    ck_assert_int_eq(uvm_swap_leave(path, &leave, &err), 0);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    ck_assert_int_eq(uvm_swap_leave(path, &leave, &err), -EBUSY);
    uvm_swap_stay(leave.slot0);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVED);
    ck_assert_int_eq(uvm_swap_leave("/no/such", &leave, &err), -ENOENT);
    uvm_unreserve(NPAGES + 1);
}
END_TEST

static Suite *drain_suite(void)
{
    Suite *s = suite_create("drain");
    TCase *tc = tcase_create("drain");

    leave.slot0 = 1; /* what it will be */
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_into_memory);
    tcase_add_test(tc, test_resident_is_not_read);
    tcase_add_test(tc, test_scattered);
    tcase_add_test(tc, test_to_another_device);
    tcase_add_test(tc, test_busy);
    tcase_add_test(tc, test_being_written);
    tcase_add_test(tc, test_unreadable);
    tcase_add_test(tc, test_unreadable_for_a_while);
    tcase_add_test(tc, test_cancel);
    tcase_add_test(tc, test_no_memory);
    tcase_add_test(tc, test_gone_meanwhile);
    tcase_add_test(tc, test_does_not_fit);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(drain_suite)
