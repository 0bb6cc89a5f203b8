/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvm_mk_pcluster and uvm_shareprot: which neighbours of a dirty page join its cluster, and how few
 * calls to the pmap it takes to protect them.
 *
 *      page   0  1  2  3  4  5  6 [7] 8  9 10 11 12 13 14 15      all dirty and inactive,
 *                                  centre                          but for what a test changes
 */
#include "core.h"

#define NPAGES 128u
#define N      16u
#define CENTRE 7u

static struct uvm_object *uobj;
static struct vm_page *pps[NPAGES];
static struct uvm_md_ops md;

/* What page_protect and clear_modify were called with. */
static struct call {
    uint32_t apage, n;
    int prot;
} calls[64];
static unsigned ncalls;

static void record_protect(uint32_t apage, uint32_t n, int prot)
{
    ck_assert_uint_lt(ncalls, 64);
    calls[ncalls++] = (struct call){apage, n, prot};
    pmap_page_protect(apage, n, prot);
}

/* Which protects as well. */
static void record_clear(uint32_t apage, uint32_t n)
{
    ck_assert_uint_lt(ncalls, 64);
    calls[ncalls++] = (struct call){apage, n, UVM_PROT_READ};
    pmap_clear_modify(apage, n);
}

static void inactivate(uint32_t pgno, uint32_t n)
{
    core_flush(uobj, pgno, pgno + n, PGO_DEACTIVATE);
}

static void setup(void)
{
    core_up(NPAGES);
    md = *uvm_md;
    md.page_protect = record_protect;
    md.clear_modify = record_clear;
    uvm_md = &md;
    uobj = core_object();
    core_fill(uobj, 0, N, 1);
    inactivate(0, N);
    ncalls = 0;
}

static void letgo(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        core_letgo(pps[i]);
}

static void teardown(void)
{
    core_gone(uobj);
    core_down();
}

/* Gather around a centre. => how many pages */
static uint32_t gather(uint32_t centre, uint32_t npps, int flags, uint32_t lo, uint32_t hi)
{
    struct vm_page *pg = core_busy(uobj, centre);

    pmap_clear_modify(pg->apage, 1);
    UVM_LOCK_SCOPE(&uobj->lock);
    return uvm_mk_pcluster(uobj, pps, npps, pg, flags, lo, hi);
}

/* The cluster is exactly the pages [lo, hi), in order, all busy and protected; nobody else is. */
static void check_cluster(uint32_t n, uint32_t lo, uint32_t hi)
{
    ck_assert_uint_eq(n, hi - lo);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_eq(pps[i]->pgno, lo + i);
        ck_assert_ptr_eq(pps[i], core_page(uobj, lo + i));
        ck_assert_uint_eq(pps[i]->flags & PG_BUSY, PG_BUSY);
        ck_assert_uint_eq(pps[i]->pqflags, 0);
        ck_assert_int_eq(pmap_soft_state(pps[i]->apage), PMAP_SOFT_RO);
        ck_assert(!pmap_is_modified(pps[i]->apage)); /* what is stored from now on is news */
        ck_assert_uint_eq(pps[i]->flags & PG_CLEAN, 0);
        page_assert(pps[i]);
    }
    for (uint32_t i = 0; i < N; i++) {
        struct vm_page *pg = core_page(uobj, i);
        if (pg && (i < lo || i >= hi) && !(pg->flags & PG_BUSY))
            ck_assert(pg->wire_count || pg->pqflags);
    }
}

static void check_around(int flags, uint32_t lo, uint32_t hi)
{
    uint32_t n = gather(CENTRE, N, flags, 0, N);
    check_cluster(n, lo, hi);
    letgo(n);
}

/* The pages are on the backing store and were not stored to since. */
static void make_clean(uint32_t pgno)
{
    struct vm_page *pg = core_busy(uobj, pgno);

    UVM_LOCK_SCOPE(&uobj->lock);
    pmap_clear_modify(pg->apage, 1);
    uvm_page_cleaned(pg);
    ck_assert(uvm_page_letgo(pg, UVM_Q_INACTIVE));
}

START_TEST(test_both_sides)
{
    uint32_t n = gather(CENTRE, N, 0, 0, N);

    check_cluster(n, 0, N);
    /* One call a side: the centre was protected before it came. */
    ck_assert_uint_eq(ncalls, 2);
    ck_assert_uint_eq(calls[0].apage, pps[0]->apage);
    ck_assert_uint_eq(calls[0].n, CENTRE);
    ck_assert_uint_eq(calls[1].apage, pps[CENTRE + 1]->apage);
    ck_assert_uint_eq(calls[1].n, N - CENTRE - 1);
    ck_assert_int_eq(calls[0].prot, UVM_PROT_READ);
    ck_assert_int_eq(calls[1].prot, UVM_PROT_READ);
    letgo(n);
}
END_TEST

START_TEST(test_absent_neighbour)
{
    core_flush(uobj, 3, 4, PGO_FREE);
    core_flush(uobj, 12, 13, PGO_FREE);
    check_around(0, 4, 12);
}
END_TEST

START_TEST(test_busy_neighbour)
{
    struct vm_page *back = core_busy(uobj, 4), *front = core_busy(uobj, 8);

    check_around(0, 5, 8);
    ck_assert(back->flags & PG_BUSY);
    core_letgo(back);
    core_letgo(front);
}
END_TEST

START_TEST(test_clean_neighbour)
{
    make_clean(5);
    make_clean(10);
    check_around(0, 6, 10);
}
END_TEST

/* The mark says clean, but it has been stored to since: it is dirty. */
START_TEST(test_clean_but_modified_neighbour)
{
    make_clean(5);
    make_clean(10);
    pmap_page_protect(core_page(uobj, 5)->apage, 1, UVM_PROT_RW);
    check_around(0, 0, 10);
}
END_TEST

START_TEST(test_active_neighbour)
{
    core_letgo(core_busy(uobj, 6)); /* becomes active */
    core_letgo(core_busy(uobj, 14));
    check_around(0, 7, 14);
}
END_TEST

START_TEST(test_active_neighbour_doactclust)
{
    core_letgo(core_busy(uobj, 6));
    core_letgo(core_busy(uobj, 14));
    check_around(PGO_DOACTCLUST, 0, N);
}
END_TEST

START_TEST(test_wired_neighbour)
{
    struct vm_page *pg = core_page(uobj, 9);

    uvm_lock_acquire(&uobj->lock);
    uvm_page_wire(pg);
    uvm_lock_release(&uobj->lock);
    check_around(PGO_DOACTCLUST, 0, 9);
    uvm_lock_acquire(&uobj->lock);
    uvm_page_unwire(pg);
    uvm_lock_release(&uobj->lock);
}
END_TEST

START_TEST(test_nobody_joins)
{
    make_clean(CENTRE - 1);
    make_clean(CENTRE + 1);
    check_around(0, CENTRE, CENTRE + 1);
    ck_assert_uint_eq(ncalls, 0);
}
END_TEST

START_TEST(test_first_page)
{
    uint32_t n = gather(0, N, 0, 0, N);
    check_cluster(n, 0, N);
    ck_assert_uint_eq(ncalls, 1);
    letgo(n);
}
END_TEST

START_TEST(test_last_page)
{
    uint32_t n = gather(N - 1, N, 0, 0, N);
    check_cluster(n, 0, N);
    ck_assert_uint_eq(ncalls, 1);
    letgo(n);
}
END_TEST

/* The very last page that an object can have. */
START_TEST(test_last_possible_page)
{
    uint32_t last = UVM_OBJECT_PAGES_MAX - 1;

    core_fill(uobj, last - 1, 2, 1);
    inactivate(last - 1, 2);
    uint32_t n = gather(last, N, 0, last - 3, last + 1);
    check_cluster(n, last - 1, last + 1);
    letgo(n);
}
END_TEST

/* Beyond what pgo_cluster allows nobody is asked. */
START_TEST(test_limits)
{
    uint32_t n = gather(CENTRE, N, 0, 5, 10);
    check_cluster(n, 5, 10);
    letgo(n);
}
END_TEST

START_TEST(test_room_too_small)
{
    uint32_t n = gather(CENTRE, N - 1, 0, 0, N);
    check_cluster(n, CENTRE, CENTRE + 1);
    ck_assert_uint_eq(uvm_stat_get(inactive), N - 1);
    ck_assert_uint_eq(ncalls, 0);
    letgo(n);
}
END_TEST

/* Neighbours in the object that are none in the arena: a call each. */
START_TEST(test_across_windows)
{
    core_fill(uobj, 4 * 64, 4, 1); /* this window is the lower one */
    core_fill(uobj, 4 * 64 - 4, 4, 1);
    inactivate(4 * 64 - 4, 8);
    uint32_t n = gather(4 * 64 - 2, N, 0, 4 * 64 - 4, 4 * 64 + 4);
    ck_assert_uint_ne(pps[4]->apage, pps[3]->apage + 1);
    check_cluster(n, 4 * 64 - 4, 4 * 64 + 4);
    ck_assert_uint_eq(ncalls, 3);
    ck_assert_uint_eq(calls[0].n + calls[1].n + calls[2].n, 7);
    letgo(n);
}
END_TEST

static enum pmap_soft_state state(uint32_t pgno)
{
    return pmap_soft_state(core_page(uobj, pgno)->apage);
}

static void shareprot(uint32_t start, uint32_t stop, int prot)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    uobj->pgops->pgo_shareprot(uobj, start, stop, prot);
}

START_TEST(test_shareprot)
{
    shareprot(3, 9, UVM_PROT_READ);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_int_eq(state(i), i >= 3 && i < 9 ? PMAP_SOFT_RO : PMAP_SOFT_RW);
    ck_assert_uint_eq(ncalls, 1);
    shareprot(0, N, UVM_PROT_RW);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_int_eq(state(i), PMAP_SOFT_RW);
}
END_TEST

/* Holes are not there to be protected; a busy page is its owner's. */
START_TEST(test_shareprot_skips)
{
    struct vm_page *busy = core_busy(uobj, 5);

    core_flush(uobj, 9, 11, PGO_FREE);
    shareprot(0, UVM_OBJECT_PAGES_MAX, UVM_PROT_READ);
    ck_assert_int_eq(state(4), PMAP_SOFT_RO);
    ck_assert_int_eq(state(5), PMAP_SOFT_RW);
    ck_assert_int_eq(state(6), PMAP_SOFT_RO);
    ck_assert_int_eq(state(11), PMAP_SOFT_RO);
    ck_assert_uint_eq(ncalls, 3); /* 0-4, 6-8, 11-15 */
    core_letgo(busy);
}
END_TEST

START_TEST(test_shareprot_windows)
{
    core_fill(uobj, 60, 8, 1);
    core_fill(uobj, 640, 1, 1);
    ncalls = 0;
    shareprot(62, 66, UVM_PROT_READ);
    for (uint32_t i = 60; i < 68; i++)
        ck_assert_int_eq(state(i), i >= 62 && i < 66 ? PMAP_SOFT_RO : PMAP_SOFT_RW);
    ck_assert_int_eq(state(0), PMAP_SOFT_RW);
    ck_assert_int_eq(state(640), PMAP_SOFT_RW);
    ck_assert_uint_eq(ncalls, 2);
}
END_TEST

static Suite *cluster_suite(void)
{
    Suite *s = suite_create("cluster");

    TCase *tc = tcase_create("mk_pcluster");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_both_sides);
    tcase_add_test(tc, test_absent_neighbour);
    tcase_add_test(tc, test_busy_neighbour);
    tcase_add_test(tc, test_clean_neighbour);
    tcase_add_test(tc, test_clean_but_modified_neighbour);
    tcase_add_test(tc, test_active_neighbour);
    tcase_add_test(tc, test_active_neighbour_doactclust);
    tcase_add_test(tc, test_wired_neighbour);
    tcase_add_test(tc, test_nobody_joins);
    tcase_add_test(tc, test_first_page);
    tcase_add_test(tc, test_last_page);
    tcase_add_test(tc, test_last_possible_page);
    tcase_add_test(tc, test_limits);
    tcase_add_test(tc, test_room_too_small);
    tcase_add_test(tc, test_across_windows);
    suite_add_tcase(s, tc);

    tc = tcase_create("shareprot");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_shareprot);
    tcase_add_test(tc, test_shareprot_skips);
    tcase_add_test(tc, test_shareprot_windows);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(cluster_suite)
