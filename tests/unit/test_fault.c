/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-in: a fault, and under it the anonymous pager's get that reads. Which pages come, in how many
 * transfers, what is left when one fails, and what is waited for.
 */
#include "core.h"

#include <errno.h>

#include "daemon/pager/pagermap.h"
#include "daemon/pager/swap.h"

#define NPAGES 512u

static struct uvm_object *uobj;

static void setup(void)
{
    core_up(NPAGES);
    core_swap();
    uobj = core_object();
}

static void teardown(void)
{
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

/* A fault, and how often its done was called. */
static struct fault_state {
    struct uvm_fault fault;
    unsigned ndone;
    int error;
} fs;

static void fault_done(struct uvm_fault *fault, int error)
{
    fs.ndone++;
    fs.error = error;
}

static void start_fault(uint32_t pgno, uint32_t n, int pgaflags)
{
    memset(&fs, 0, sizeof(fs));
    fs.fault.uobj = uobj;
    fs.fault.loop = &core_loop;
    fs.fault.pgno = pgno;
    fs.fault.npages = n;
    fs.fault.pgaflags = pgaflags;
    fs.fault.done = fault_done;
    uvm_fault_start(&fs.fault);
}

static int run_fault(uint32_t pgno, uint32_t n)
{
    start_fault(pgno, n, 0);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    return fs.error;
}

/* Written together, read together: one transfer. The page is clean and keeps its slot. */
START_TEST(test_swapin_run)
{
    core_fill(uobj, 0, 20, 1);
    core_pageout(uobj, 0, 20);
    uint32_t slot = core_slot(uobj, 0);
    ck_assert_int_eq(run_fault(0, 20), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), 20);
    ck_assert_uint_eq(uobj->pgswapin, 20);
    for (uint32_t i = 0; i < 20; i++) {
        struct vm_page *pg = core_page(uobj, i);
        ck_assert_uint_eq(pg->flags, PG_CLEAN);
        ck_assert_uint_eq(pg->swslot, slot + i);
        ck_assert_uint_eq(pg->pqflags, PQ_INACTIVE);
        ck_assert_int_eq(pmap_soft_state(pg->apage), PMAP_SOFT_RO);
        ck_assert(!pmap_is_modified(pg->apage));
    }
    core_verify(uobj, 0, 20, 1);
}
END_TEST

/* Slots that are not in a row are runs of their own; what is not on swap is left alone. */
START_TEST(test_swapin_runs)
{
    core_fill(uobj, 0, 12, 1);
    core_pageout(uobj, 0, 4);
    core_pageout(uobj, 8, 4); /* the slots behind those of 0 to 3 */
    core_pageout(uobj, 5, 1);
    ck_assert_int_eq(run_fault(0, 12), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 3);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), 9);
    core_verify(uobj, 0, 12, 1);
}
END_TEST

/* Page by page, backwards: more runs than a get has in flight at a time. */
START_TEST(test_swapin_many_runs)
{
    const uint32_t n = 4 * UVM_GET_RUNS;

    core_fill(uobj, 0, n, 1);
    for (uint32_t i = n; i-- > 0;)
        core_pageout(uobj, i, 1);
    ck_assert_uint_lt(core_slot(uobj, 1), core_slot(uobj, 0));
    ck_assert_int_eq(run_fault(0, n), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), n);
    core_verify(uobj, 0, n, 1);
}
END_TEST

/* The longest request there is: unaligned, of a cluster and a page. */
START_TEST(test_swapin_longest)
{
    const uint32_t n = UVM_CLUSTER_PAGES + 1;

    core_fill(uobj, 30, n, 1);
    core_pageout(uobj, 30, n);
    ck_assert_int_eq(run_fault(30, n), 0);
    core_verify(uobj, 30, n, 1);
}
END_TEST

START_TEST(test_swapin_nothing_to_do)
{
    core_fill(uobj, 0, 2, 1);
    start_fault(0, 3, 0);
    ck_assert_uint_eq(fs.ndone, 1); /* at once */
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_EMPTY);
}
END_TEST

/* In the middle of a page-in the pages are BUSY and FAKE, and a second fault takes none of them. */
START_TEST(test_swapin_in_flight)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    start_fault(0, 4, 0);
    ck_assert_uint_eq(fs.ndone, 0);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(core_page(uobj, i)->flags, PG_BUSY | PG_FAKE);
    core_check_object(uobj);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    core_verify(uobj, 0, 4, 1);
}
END_TEST

/* The device cannot read one page: that page stays on swap, and the others come. */
START_TEST(test_read_error)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    uint32_t slot = core_slot(uobj, 5);
    core_inject(false, slot, 1, EIO, 0);
    ck_assert_int_eq(run_fault(0, 8), -EIO);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), i == 5 ? UVM_E_SLOT : UVM_E_PAGE);
    ck_assert_uint_eq(core_slot(uobj, 5), slot);
    core_verify(uobj, 0, 5, 1);
    core_verify(uobj, 6, 2, 1);
    /* It can be read again later: the bytes were never given up. */
    uvm_swap_inject_clear();
    core_verify(uobj, 0, 8, 1);
}
END_TEST

/* The error of a page that only came along is nobody's error. */
START_TEST(test_read_error_of_neighbour)
{
    core_fill(uobj, 0, 64, 1);
    core_pageout(uobj, 0, 64);
    core_inject(false, core_slot(uobj, 20), 1, EIO, 0);
    ck_assert_int_eq(run_fault(0, 8), 0); /* in sequence: the rest comes along */
    ck_assert_uint_eq(core_tag(uobj, 19), UVM_E_PAGE);
    ck_assert_uint_eq(core_tag(uobj, 20), UVM_E_SLOT);
    ck_assert_uint_eq(core_tag(uobj, 21), UVM_E_PAGE);
    ck_assert_int_eq(run_fault(20, 1), -EIO);
}
END_TEST

START_TEST(test_read_error_transient)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    core_inject(false, core_slot(uobj, 0), 8, EIO, 1);
    ck_assert_int_eq(run_fault(0, 8), 0);
    core_verify(uobj, 0, 8, 1);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 0);
}
END_TEST

/* Wrong bytes are an error, never data; the slot turns bad with its page's end. */
START_TEST(test_read_corrupt)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    core_inject(false, core_slot(uobj, 2), 1, 0, 0);
    ck_assert_int_eq(run_fault(0, 4), -EILSEQ);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_SLOT);
    ck_assert_uint_eq(uvm_stat_get(cksumerrors), 1);
    core_flush(uobj, 2, 3, PGO_FREE);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 1);
}
END_TEST

/* Read-ahead: in sequence and with memory to spare, what was written together comes along. */
START_TEST(test_ahead)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    ck_assert_int_eq(run_fault(0, 10), 0);
    ck_assert_uint_eq(uobj->nresident, 100);
    core_pageout(uobj, 0, 100);
    ck_assert_int_eq(run_fault(50, 10), 0); /* not where the last one ended */
    ck_assert_uint_eq(uobj->nresident, 10);
    ck_assert_int_eq(run_fault(60, 1), 0); /* here it is */
    ck_assert_uint_eq(uobj->nresident, 50);
    core_verify(uobj, 0, 100, 1);
}
END_TEST

START_TEST(test_no_ahead_when_short)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    uvm_stat_set(freetarg, NPAGES);
    ck_assert_int_eq(run_fault(0, 10), 0);
    ck_assert_uint_eq(uobj->nresident, 10);
}
END_TEST

/* No free page: the fault waits with nothing in hand, and goes on when there are some. */
START_TEST(test_fault_waits_for_pages)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    start_fault(0, 4, 0);
    core_run();
    ck_assert_uint_eq(fs.ndone, 0);
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_SLOT); /* nobody is kept from it */
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    core_verify(uobj, 0, 4, 1);
}
END_TEST

/* It may find when its pages come that there is nothing left to do. */
START_TEST(test_fault_waits_in_vain)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    start_fault(0, 4, 0);
    core_flush(uobj, 0, 4, PGO_FREE);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
}
END_TEST

START_TEST(test_fault_uses_reserve)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    start_fault(0, 4, UVM_PGA_USERESERVE);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_uint_eq(uobj->nresident, 4);
    uvm_pageput(&list);
}
END_TEST

/* Take all of the pager map that ordinary transfers may have. */
static void *map_kva[UVM_PAGERMAP_PAGES];
static unsigned map_runs;

static void fill_map(void)
{
    map_runs = 0;
    while ((map_kva[map_runs] = uvm_pagermapin(1, 0, NULL)))
        map_runs++;
}

/* Give n pages of it back, and see what that sets going. */
static void give_map(unsigned n)
{
    for (; n-- > 0; core_run())
        uvm_pagermapout(map_kva[--map_runs], 1);
}

/* The pager map is full: the fault waits its turn, and keeps nobody from the pages. */
START_TEST(test_fault_waits_for_map)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    fill_map();
    start_fault(0, 8, 0);
    core_run();
    give_map(7); /* not all of the run */
    ck_assert_uint_eq(fs.ndone, 0);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), UVM_E_SLOT);
    give_map(1);
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 1);
    ck_assert_uint_eq(uobj->nresident, 8);
    core_verify(uobj, 0, 8, 1);
    give_map(map_runs);
}
END_TEST

/* Room for one run, and never for a second: one follows in the other's footsteps. */
START_TEST(test_fault_with_little_map)
{
    const uint32_t n = 3 * UVM_GET_RUNS;

    core_fill(uobj, 0, n, 1);
    for (uint32_t i = n; i-- > 0;)
        core_pageout(uobj, i, 1);
    fill_map();
    give_map(1);
    start_fault(0, n, 0);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), n);
    ck_assert_uint_eq(uobj->nresident, n);
    core_verify(uobj, 0, n, 1);
    give_map(map_runs);
}
END_TEST

/* Two faults, of many runs each, and room for one run: each has its turn, in order. */
START_TEST(test_faults_share_little_map)
{
    struct core_req first, second;
    static char buf[2][uvm_ptoa(8)];

    core_fill(uobj, 0, 16, 1);
    for (uint32_t i = 16; i-- > 0;)
        core_pageout(uobj, i, 1);
    fill_map();
    core_start_read(&first, uobj, 0, buf[0], uvm_ptoa(8), 0);
    core_start_read(&second, uobj, uvm_ptoa(8), buf[1], uvm_ptoa(8), 0);
    core_run();
    ck_assert_uint_eq(uobj->nresident, 0);
    give_map(1);
    ck_assert_uint_eq(first.ndone, 1);
    ck_assert_uint_eq(second.ndone, 1);
    ck_assert_uint_eq(uvm_stat_get(pageins), 16);
    for (uint32_t i = 0; i < 16; i++)
        ck_assert(core_is_pattern(buf[i / 8] + uvm_ptoa(i % 8), uobj->id, i, 1));
    give_map(map_runs);
}
END_TEST

/* While the fault waited for room for its longest run, that was cut short by a truncation. */
START_TEST(test_map_wait_run_shorter)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    fill_map();
    start_fault(0, 8, 0);
    core_run();
    core_flush(uobj, 5, 8, PGO_FREE);
    give_map(8);
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uobj->nresident, 5);
    give_map(map_runs);
    core_verify(uobj, 0, 5, 1);
}
END_TEST

/* Or it grew, and does not fit any more: it is read in pieces. */
START_TEST(test_map_wait_run_longer)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 7, 1);
    core_pageout(uobj, 6, 1);
    core_pageout(uobj, 0, 3);
    fill_map();
    start_fault(0, 8, 0); /* five pages, and three in a row */
    core_run();
    core_flush(uobj, 6, 8, PGO_FREE);
    core_pageout(uobj, 3, 2);
    ck_assert_uint_eq(core_slot(uobj, 3), core_slot(uobj, 2) + 1);
    give_map(3);
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 2);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), 5);
    give_map(map_runs);
    core_verify(uobj, 0, 6, 1);
}
END_TEST

/* More is on swap than there were pages taken for: the fault takes those, and its caller looks
 * again. */
START_TEST(test_map_wait_needs_more)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 2);
    fill_map();
    start_fault(0, 8, 0);
    core_run();
    core_pageout(uobj, 2, 6);
    give_map(2);
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uobj->nresident, 2);
    give_map(map_runs);
    core_verify(uobj, 0, 8, 1);
}
END_TEST

/* When the room comes there is nothing left to do. */
START_TEST(test_map_wait_in_vain)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    fill_map();
    start_fault(0, 4, 0);
    core_run();
    core_flush(uobj, 0, 4, PGO_FREE);
    give_map(4);
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(pageins), 0);
    give_map(map_runs);
}
END_TEST

/* The fault thread has its own part of the map, and its one page is no matter who else waits. */
START_TEST(test_fault_uses_map_reserve)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    fill_map();
    start_fault(0, 1, UVM_PGA_USERESERVE);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_uint_eq(uobj->nresident, 1);
    give_map(map_runs);
}
END_TEST

/* Truncated while the bytes are on their way: they go nowhere, and the slots are free. */
START_TEST(test_truncate_in_flight)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    start_fault(0, 8, 0);
    core_flush(uobj, 4, 8, PGO_FREE);
    ck_assert(core_page(uobj, 4)->flags & PG_RELEASED);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    for (uint32_t i = 4; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 4);
    ck_assert_uint_eq(uvm_stat_get(reserved), 4);
    core_verify(uobj, 0, 4, 1);
}
END_TEST

/* The same with an error on top. */
START_TEST(test_truncate_and_error)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    core_inject(false, 0, 0, EIO, 0);
    start_fault(0, 8, 0);
    core_flush(uobj, 4, 8, PGO_FREE);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, -EIO);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), i < 4 ? UVM_E_SLOT : UVM_E_EMPTY);
    uvm_swap_inject_clear();
    core_verify(uobj, 0, 4, 1);
}
END_TEST

static Suite *fault_suite(void)
{
    Suite *s = suite_create("fault");
    TCase *tc = tcase_create("page-in");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_swapin_run);
    tcase_add_test(tc, test_swapin_runs);
    tcase_add_test(tc, test_swapin_many_runs);
    tcase_add_test(tc, test_swapin_longest);
    tcase_add_test(tc, test_swapin_nothing_to_do);
    tcase_add_test(tc, test_swapin_in_flight);
    tcase_add_test(tc, test_read_error);
    tcase_add_test(tc, test_read_error_of_neighbour);
    tcase_add_test(tc, test_read_error_transient);
    tcase_add_test(tc, test_read_corrupt);
    tcase_add_test(tc, test_ahead);
    tcase_add_test(tc, test_no_ahead_when_short);
    tcase_add_test(tc, test_fault_waits_for_pages);
    tcase_add_test(tc, test_fault_waits_in_vain);
    tcase_add_test(tc, test_fault_uses_reserve);
    tcase_add_test(tc, test_fault_waits_for_map);
    tcase_add_test(tc, test_fault_with_little_map);
    tcase_add_test(tc, test_faults_share_little_map);
    tcase_add_test(tc, test_map_wait_run_shorter);
    tcase_add_test(tc, test_map_wait_run_longer);
    tcase_add_test(tc, test_map_wait_needs_more);
    tcase_add_test(tc, test_map_wait_in_vain);
    tcase_add_test(tc, test_fault_uses_map_reserve);
    tcase_add_test(tc, test_truncate_in_flight);
    tcase_add_test(tc, test_truncate_and_error);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(fault_suite)
