/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pagedaemon, with its loop a fake one: it runs inside core_run(), after whoever has kicked it.
 * Requests for more memory than there is drive it; what it has done is in the counters, and whether
 * it was right is in the bytes.
 */
#include <errno.h>

#include "daemon/pager/pagermap.h"
#include "daemon/pager/swap.h"
#include "daemon/pdaemon.h"
#include "vnode_rig.h"

#define NPAGES 512u

static struct uvm_object *uobj;

/* The clock can be put forward. */
static uint64_t ahead_ns;
int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = __real_clock_gettime(id, ts);
    uint64_t ns = (uint64_t)ts->tv_nsec + ahead_ns;

    ts->tv_sec += (time_t)(ns / 1000000000u);
    ts->tv_nsec = (long)(ns % 1000000000u);
    return rc;
}

static void setup(void)
{
    struct uvm_error err = {0};

    core_up(NPAGES);
    core_swap();
    uvmpd_tune(false);
    ck_assert_msg(uvmpd_start(&err) == 0, "%s", err.msg);
    uobj = core_object();
}

static void teardown(void)
{
    core_check_object(uobj);
    core_gone(uobj);
    uvmpd_stop();
    core_down();
}

/* Fill pages a window at a time, so that a request never wants more than there can be. */
static void fill(struct uvm_object *o, uint32_t pgno, uint32_t npages, unsigned version)
{
    for (uint32_t at = 0; at < npages; at += 64)
        core_fill(o, pgno + at, MIN(64, npages - at), version);
}

static void verify(struct uvm_object *o, uint32_t pgno, uint32_t npages, unsigned version)
{
    for (uint32_t at = 0; at < npages; at += 32)
        core_verify(o, pgno + at, MIN(32, npages - at), version);
}

START_TEST(test_tune)
{
    uint64_t total, avail;

    uvm_reserve_space(&total, &avail);
    ck_assert_uint_gt(uvm_stat_get(freemin), UVM_PAGE_RESERVE);
    ck_assert_uint_gt(uvm_stat_get(freetarg), uvm_stat_get(freemin));
    ck_assert_uint_lt(total, NPAGES + CORE_SWAP_SLOTS); /* some is kept to turn pages over */
    ck_assert_uint_ge(total, CORE_SWAP_SLOTS);
}
END_TEST

START_TEST(test_no_shortage)
{
    fill(uobj, 0, 128, 1);
    ck_assert_uint_eq(uvm_stat_get(pdwoke), 0);
    ck_assert_uint_eq(uvm_stat_get(pageouts), 0);
}
END_TEST

/* More than memory: it goes out in large clusters, and all of it comes back. */
START_TEST(test_more_than_memory)
{
    fill(uobj, 0, 500, 1);
    ck_assert_uint_ge(uvm_stat_get(free), uvm_stat_get(freemin));
    ck_assert_uint_gt(uvm_stat_get(pageouts), 0);
    ck_assert_uint_ge(uvm_stat_get(pgswapout) / uvm_stat_get(pageouts), 32);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    verify(uobj, 0, 500, 1);
    verify(uobj, 0, 500, 1);
    ck_assert_uint_gt(uvm_stat_get(pgswapin), 0);
}
END_TEST

/* Dirtied in any order, of many objects: the clusters are as large. */
START_TEST(test_many_objects_random)
{
    enum { OBJECTS = 8, PAGES = 60 };
    struct uvm_object *o[OBJECTS];
    uint32_t order[OBJECTS * PAGES];
    uint64_t x = 88172645463325252ull;

    for (uint32_t i = 0; i < OBJECTS; i++)
        o[i] = core_object();
    for (uint32_t i = 0; i < OBJECTS * PAGES; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t k = (uint32_t)(x >> 33) % (i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (uint32_t i = 0; i < OBJECTS * PAGES; i++)
        core_fill(o[order[i] % OBJECTS], order[i] / OBJECTS, 1, 1);
    ck_assert_uint_ge(uvm_stat_get(pgswapout) / uvm_stat_get(pageouts), 32);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        verify(o[i], 0, PAGES, 1);
        core_check_object(o[i]);
        core_gone(o[i]);
    }
}
END_TEST

/* A clean page is freed without a write; the slot has its bytes. */
START_TEST(test_clean_is_free)
{
    fill(uobj, 0, 300, 1);
    core_pageout(uobj, 0, 300);
    verify(uobj, 0, 300, 1);
    uint64_t written = uvm_stat_get(pgswapout), freed = uvm_stat_get(pdfreed);
    fill(uobj, 300, 128, 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapout), written);
    ck_assert_uint_gt(uvm_stat_get(pdfreed), freed);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    verify(uobj, 0, 428, 1);
}
END_TEST

/* A waiter that wants more than the target gets its pages. (Clean ones: of those the pagedaemon
 * frees no more than it needs to.) */
START_TEST(test_waiter_beyond_target)
{
    struct core_req req;
    const uint32_t n = 200;

    ck_assert_uint_gt(n + UVM_PAGE_RESERVE, uvm_stat_get(freetarg));
    fill(uobj, 0, n, 1);
    core_pageout(uobj, 0, n);
    fill(uobj, n, 300, 1);
    core_pageout(uobj, n, 300);
    verify(uobj, n, 300, 1);
    ck_assert_uint_lt(uvm_stat_get(free), n + UVM_PAGE_RESERVE);
    ck_assert_uint_gt(uvm_stat_get(free), uvm_stat_get(freetarg));
    CLEANUP_FREE char *buf = malloc(uvm_ptoa(n));
    core_start_read(&req, uobj, 0, buf, uvm_ptoa(n), 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
    for (uint32_t i = 0; i < n; i++)
        ck_assert(core_is_pattern(buf + uvm_ptoa(i), uobj->id, i, 1));
}
END_TEST

/* The mark says clean, but it was stored to since: it is written again, to another slot. */
START_TEST(test_clean_but_modified)
{
    fill(uobj, 0, 300, 1);
    core_pageout(uobj, 0, 300);
    verify(uobj, 0, 300, 1);
    for (uint32_t i = 0; i < 300; i++) {
        struct vm_page *pg = core_page(uobj, i);
        ck_assert_uint_eq(pg->flags, PG_CLEAN);
        pmap_page_protect(pg->apage, 1, UVM_PROT_RW);
        core_pattern(pmap_kva(pg->apage), uobj->id, i, 2);
    }
    fill(uobj, 300, 128, 2);
    ck_assert_uint_gt(uvm_stat_get(pgswapout), 300);
    verify(uobj, 0, 428, 2);
    core_check_object(uobj); /* teardown sees to the slots */
}
END_TEST

/* What is wired or busy stays where it is. */
START_TEST(test_wired_and_busy_stay)
{
    fill(uobj, 0, 2, 1);
    struct vm_page *wired = core_page(uobj, 0), *busy = core_busy(uobj, 1);
    uvm_lock_acquire(&uobj->lock);
    uvm_page_wire(wired);
    uvm_lock_release(&uobj->lock);
    fill(uobj, 64, 448, 1);
    fill(uobj, 64, 448, 2);
    ck_assert_ptr_eq(core_page(uobj, 0), wired);
    ck_assert_ptr_eq(core_page(uobj, 1), busy);
    ck_assert_uint_eq(busy->flags, PG_BUSY);
    uvm_lock_acquire(&uobj->lock);
    uvm_page_unwire(wired);
    uvm_lock_release(&uobj->lock);
    core_letgo(busy);
    verify(uobj, 64, 448, 2);
    verify(uobj, 0, 2, 1);
}
END_TEST

/* Somebody has the object locked: its pages are passed over, and nobody waits for them. */
START_TEST(test_object_locked)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    fill(uobj, 0, 256, 1);
    {
        UVM_LOCK_SCOPE(&uobj->lock);
        uint32_t n = (uint32_t)uvm_stat_get(free) - UVM_PAGE_RESERVE;
        ck_assert(uvm_pagealloc(n, &list, 0, NULL));
        core_run();
    }
    ck_assert_uint_gt(uvm_stat_get(pdwoke), 0);
    ck_assert_uint_gt(uvm_stat_get(pdbusy), 0);
    ck_assert_uint_eq(uobj->nresident, 256);
    struct vm_pagelist more = TAILQ_HEAD_INITIALIZER(more);
    ck_assert(!uvm_pagealloc(1, &more, 0, NULL)); /* a kick: now they can be had */
    core_run();
    ck_assert_uint_lt(uobj->nresident, 256);
    uvm_pageput(&list);
    verify(uobj, 0, 256, 1);
}
END_TEST

/* The pager map has no room, not even the reserve: the pages stay, dirty and active. */
START_TEST(test_map_full)
{
    void *kva[UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES];
    const unsigned n = UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES;
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    fill(uobj, 0, 300, 1);
    for (unsigned i = 0; i < n; i++)
        kva[i] = uvm_pagermapin(UVM_CLUSTER_PAGES, UVMPAGER_MAPIN_RESERVE, NULL);
    ck_assert(uvm_pagealloc((uint32_t)uvm_stat_get(free) - UVM_PAGE_RESERVE, &list, 0, NULL));
    core_run();
    ck_assert_uint_eq(uobj->nresident, 300);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    core_check_object(uobj);
    for (unsigned i = 0; i < n; i++)
        uvm_pagermapout(kva[i], UVM_CLUSTER_PAGES);
    uvm_pageput(&list);
    verify(uobj, 0, 300, 1);
}
END_TEST

/* Bad slots: the pages go elsewhere, nothing is lost. */
START_TEST(test_write_errors)
{
    core_inject(true, 10, 3, EIO, 0);
    core_inject(true, 200, 1, EIO, 0);
    core_inject(true, 0, 0, EIO, 2);
    fill(uobj, 0, 450, 1);
    fill(uobj, 0, 450, 2);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    ck_assert_uint_ge(uvm_stat_get(swpgbad), 3);
    verify(uobj, 0, 450, 2);
}
END_TEST

/* Swap has no room for what is dirty: who needs pages waits, looks are taken from time to time, and
 * room that comes is found. */
START_TEST(test_swap_full)
{
    struct core_req req;
    CLEANUP_FREE char *buf = calloc(64, UVM_PAGE_SIZE);
    uint32_t slot = 0;

    for (uint32_t at = 0, n; at < CORE_SWAP_SLOTS; at += n) {
        n = MIN(CORE_SWAP_SLOTS - at, UVM_CLUSTER_PAGES);
        slot = uvm_swap_alloc(&n, false);
    }
    ck_assert_uint_ne(slot, 0);
    uvm_reserve_set_memory(2 * NPAGES); /* a promise too many */
    fill(uobj, 0, 448, 1);
    core_start_write(&req, uobj, uvm_ptoa(448), buf, uvm_ptoa(64), 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert_uint_eq(uobj->nresident, 448);
    ck_assert_uint_eq(core_tick(), 1); /* it will look again */
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    uvm_swap_free(1, CORE_SWAP_SLOTS);
    core_tick();
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
    ck_assert_uint_eq(core_tick(), 0); /* nobody waits any more */
    verify(uobj, 0, 448, 1);
}
END_TEST

/* => false: the pagedaemon has not taken page pgno out, however often it looked */
static bool until_gone(struct uvm_object *o, uint32_t pgno)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    for (unsigned i = 0; i < 50 && core_page(o, pgno); i++) {
        if (uvm_pagealloc(1, &list, 0, NULL))
            uvm_pageput(&list);
        core_run();
    }
    return !core_page(o, pgno);
}

/* Swap that failed is tried again before long, also while files are being paged out. */
START_TEST(test_swap_recovers_beside_files)
{
    int fd;

    core_inject(true, 0, 0, EIO, 0);
    uvm_reserve_set_memory(2 * NPAGES);
    fill(uobj, 0, 440, 1);
    struct uvm_object *file = rig_vnode(RIG_DIRECT, uvm_ptoa(16), &fd);
    core_fill(file, 0, 1, 1);
    ck_assert(until_gone(file, 0));
    uvm_swap_inject_clear();
    for (uint32_t i = 1; i < 6 && !uvm_stat_get(pageouts); i++) {
        ahead_ns += 400000000;
        core_fill(file, i, 1, 1);
        until_gone(file, i);
        if (i == 1)
            ck_assert_uint_eq(uvm_stat_get(pageouts), 0);
    }
    ck_assert_uint_gt(uvm_stat_get(pageouts), 0);
    verify(uobj, 0, 440, 1);
    core_gone(file);
    close(fd);
}
END_TEST

/* A page of a file that has been stored to and nobody has said so: there is no room to write it now, and
 * it is still known to be dirty. */
START_TEST(test_file_modified_map_full)
{
    void *kva[UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES];
    const unsigned n = UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES;
    int fd;

    struct uvm_object *file = rig_vnode(RIG_DIRECT, uvm_ptoa(16), &fd);
    core_verify(file, 3, 1, 0);
    struct vm_page *pg = core_page(file, 3);
    ck_assert_ptr_nonnull(pg);
    pmap_page_protect(pg->apage, 1, UVM_PROT_RW);
    core_pattern(pmap_kva(pg->apage), file->id, 3, 7);
    for (unsigned i = 0; i < n; i++)
        kva[i] = uvm_pagermapin(UVM_CLUSTER_PAGES, UVMPAGER_MAPIN_RESERVE, NULL);
    fill(uobj, 0, 440, 1);
    until_gone(file, 3);
    ck_assert_ptr_eq(core_page(file, 3), pg);
    ck_assert_uint_eq(pg->flags, 0);
    ck_assert_uint_eq(file->ndirty, 1);
    for (unsigned i = 0; i < n; i++)
        uvm_pagermapout(kva[i], UVM_CLUSTER_PAGES);
    ck_assert(until_gone(file, 3));
    ck_assert_uint_eq(file->ndirty, 0);
    core_verify(file, 3, 1, 7);
    core_gone(file);
    close(fd);
}
END_TEST

/* Every slot has gone bad, and nobody will give pages back: who waits is told in the end, and what
 * is in memory stays readable. */
START_TEST(test_hopeless)
{
    struct core_req req;
    CLEANUP_FREE char *buf = calloc(64, UVM_PAGE_SIZE);

    core_inject(true, 0, 0, EIO, 0);
    uvm_reserve_set_memory(2 * NPAGES);
    fill(uobj, 0, 448, 1);
    core_start_write(&req, uobj, uvm_ptoa(448), buf, uvm_ptoa(64), 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    for (unsigned i = 0; i < 1000 && !req.ndone; i++) {
        ck_assert_uint_eq(core_tick(), 1);
        core_run();
    }
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -EIO);
    ck_assert_uint_gt(uvm_stat_get(swpgbad), 0);
    verify(uobj, 0, 448, 1);
}
END_TEST

/* All pages are in somebody's hands who will give them back: however many wait, they wait. */
START_TEST(test_many_waiters_are_not_hopeless)
{
    enum { WAITERS = 400 };
    static struct core_req req[WAITERS];
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    static char byte;

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    for (unsigned i = 0; i < WAITERS; i++) {
        core_start_write(&req[i], uobj, uvm_ptoa(i), &byte, 1, 0);
        core_run();
        ck_assert_uint_eq(req[i].ndone, 0);
    }
    uvm_pageput(&list);
    core_run();
    for (unsigned i = 0; i < WAITERS; i++) {
        ck_assert_uint_eq(req[i].ndone, 1);
        ck_assert_int_eq(req[i].error, 0);
    }
}
END_TEST

/* A page that was used while it was inactive stays. */
START_TEST(test_used_pages_stay)
{
    fill(uobj, 0, 64, 1);
    for (uint32_t at = 64; at < 64 + 8 * 64; at += 64) {
        fill(uobj, 64 + (at % 256), 64, 1);
        for (uint32_t i = 0; i < 64; i++)
            if (core_page(uobj, i))
                uvm_page_reference(core_page(uobj, i));
    }
    for (uint32_t i = 0; i < 64; i++)
        ck_assert_ptr_nonnull(core_page(uobj, i));
}
END_TEST

/* P9: clients' requests leave the reserve alone, however short memory is. */
START_TEST(test_reserve_untouched)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    fill(uobj, 0, 448, 1);
    while (uvm_pagealloc(1, &list, 0, NULL))
        continue;
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    uvm_pageput(&list);
    core_run();
}
END_TEST

/* Have pages [pgno, pgno + n) in memory, clean, with slots, and active. */
static void clean_active(uint32_t pgno, uint32_t n)
{
    fill(uobj, pgno, n, 1);
    core_pageout(uobj, pgno, n);
    verify(uobj, pgno, n, 1);
    for (uint32_t i = 0; i < n; i++) {
        struct vm_page *pg = core_busy(uobj, pgno + i);
        ck_assert_uint_ne(pg->swslot, 0);
        core_letgo(pg); /* active */
    }
}

/* Swap is full of pages that are in memory, too, and in use: they give their slots, and what is dirty and
 * not in use goes out; a stretch at a time, and no more when there is enough. */
START_TEST(test_slots_of_active_pages)
{
    uint32_t n = CORE_SWAP_SLOTS - 200, got = 200;
    uint32_t hold = uvm_swap_alloc(&got, false); /* somebody else's */

    ck_assert_uint_ne(hold, 0);
    uvm_reserve_set_memory(2 * NPAGES);
    for (uint32_t at = 0; at < n;
         at += 64) /* one after another, so that none goes before it is used */
        clean_active(at, MIN(64, n - at));
    ck_assert_uint_eq(uvm_stat_get(swpginuse), CORE_SWAP_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(pdslots), 0); /* no shortage yet */
    uint64_t written = uvm_stat_get(pgswapout);
    fill(uobj, 400, 100, 1);
    for (uint32_t i = 0; i < n; i++) /* in use all the time */
        if (core_page(uobj, i))
            uvm_page_reference(core_page(uobj, i));
    fill(uobj, 500, 60, 1);
    ck_assert_uint_gt(uvm_stat_get(pgswapout), written); /* what is not in use goes out */
    uint64_t given = uvm_stat_get(pdslots), low = CORE_SWAP_SLOTS / 16;
    ck_assert_uint_ge(given, 2 * low); /* up to the higher mark at least */
    ck_assert_uint_lt(given, n);       /* and not all there are */
    ck_assert_uint_le(uvm_stat_get(swpginuse), CORE_SWAP_SLOTS);
    core_check_object(uobj);
    verify(uobj, 0, n, 1);
    verify(uobj, 400, 160, 1);
    uvm_swap_free(hold, 200);
}
END_TEST

/* There is room: nobody gives anything. */
START_TEST(test_slots_stay)
{
    clean_active(0, 64);
    clean_active(64, 64);
    fill(uobj, 200, 300, 1);
    ck_assert_uint_gt(uvm_stat_get(pdrevs), 0);
    ck_assert_uint_lt(uvm_stat_get(swpginuse), CORE_SWAP_SLOTS * 15 / 16);
    ck_assert_uint_eq(uvm_stat_get(pdslots), 0);
}
END_TEST

static Suite *pdaemon_suite(void)
{
    Suite *s = suite_create("pdaemon");
    TCase *tc = tcase_create("pagedaemon");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_tune);
    tcase_add_test(tc, test_no_shortage);
    tcase_add_test(tc, test_more_than_memory);
    tcase_add_test(tc, test_many_objects_random);
    tcase_add_test(tc, test_clean_is_free);
    tcase_add_test(tc, test_waiter_beyond_target);
    tcase_add_test(tc, test_clean_but_modified);
    tcase_add_test(tc, test_wired_and_busy_stay);
    tcase_add_test(tc, test_object_locked);
    tcase_add_test(tc, test_map_full);
    tcase_add_test(tc, test_write_errors);
    tcase_add_test(tc, test_swap_full);
    tcase_add_test(tc, test_swap_recovers_beside_files);
    tcase_add_test(tc, test_file_modified_map_full);
    tcase_add_test(tc, test_hopeless);
    tcase_add_test(tc, test_many_waiters_are_not_hopeless);
    tcase_add_test(tc, test_used_pages_stay);
    tcase_add_test(tc, test_reserve_untouched);
    tcase_add_test(tc, test_slots_of_active_pages);
    tcase_add_test(tc, test_slots_stay);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(pdaemon_suite)
