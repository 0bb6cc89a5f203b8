/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager map: runs, waiting in turn, the reserve, and threads that hammer it.
 *
 * Waiters are called on a loop; a barrier posted behind them tells that they have been.
 */
#include "daemon/pager/pagermap.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "daemon/util.h"

#define DEADLINE_S 30
#define ORDINARY   (UVM_PAGERMAP_PAGES - UVM_PAGERMAP_RESERVE)
#define WAITOK     UVMPAGER_MAPIN_WAITOK
#define RESERVE    UVMPAGER_MAPIN_RESERVE

static struct uvm_loop *loop;
static char *base;

static void setup(void)
{
    struct uvm_error err = {0};
    ck_assert_msg(uvm_pagermap_init(&err) == 0, "%s", err.msg);
    ck_assert_msg(uvm_loop_new("test", -1, &loop, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    base = uvm_pagermap_base();
}

static void teardown(void)
{
    uvm_loop_stop(loop);
    uvm_loop_join(loop);
    uvm_loop_free(loop);
    ck_assert_uint_eq(uvm_pagermap_free_pages(), UVM_PAGERMAP_PAGES);
    uvm_pagermap_fini();
}

static void sem_wait_deadline(sem_t *sem)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    int error;
    while ((error = sem_timedwait(sem, &until)) && errno == EINTR)
        continue;
    ck_assert_msg(!error, "deadline");
}

/* Everything posted to the loop before has run. */
struct barrier {
    struct uvm_work work;
    sem_t sem;
};

static void barrier_run(struct uvm_work *work)
{
    sem_post(&UVM_CONTAINER_OF(work, struct barrier, work)->sem);
}

static void barrier(void)
{
    struct barrier barrier = {.work.fn = barrier_run};
    sem_init(&barrier.sem, 0, 0);
    uvm_loop_post(loop, &barrier.work);
    sem_wait_deadline(&barrier.sem);
    sem_destroy(&barrier.sem);
}

/* A waiter that notes when it was called; the loop's thread writes, barrier() orders the reading.
 */
struct waiter {
    struct uvm_pagermap_wait wait;
    unsigned turn; /* 1 for the first that was called, 0: not called */
};

static unsigned turns;

static void waiter_run(struct uvm_work *work)
{
    UVM_CONTAINER_OF(work, struct waiter, wait.work)->turn = ++turns;
}

static void *waiter_mapin(struct waiter *waiter, uint32_t npages, int flags)
{
    *waiter = (struct waiter){.wait = {.work.fn = waiter_run, .loop = loop}};
    return uvm_pagermapin(npages, flags | WAITOK, &waiter->wait);
}

static uint32_t page_of(void *kva)
{
    ck_assert_ptr_nonnull(kva);
    return (uint32_t)uvm_atop((char *)kva - base);
}

static void mapout(uint32_t page, uint32_t npages)
{
    for (uint32_t n; npages; page += n, npages -= n) {
        n = MIN(npages, UVM_CLUSTER_PAGES);
        uvm_pagermapout(base + uvm_ptoa(page), n);
    }
}

/* Map in everything that a caller with these flags can get, in clusters. */
static void fill(int flags)
{
    while (uvm_pagermapin(UVM_CLUSTER_PAGES, flags, NULL))
        continue;
    while (uvm_pagermapin(1, flags, NULL))
        continue;
}

START_TEST(test_full)
{
    ck_assert_uint_eq(uvm_pagermap_size(), uvm_ptoa(UVM_PAGERMAP_PAGES));
    ck_assert_uint_eq((uintptr_t)base & UVM_PAGE_MASK, 0);
    for (uint32_t at = 0; at < ORDINARY; at += UVM_CLUSTER_PAGES) {
        void *kva = uvm_pagermapin(UVM_CLUSTER_PAGES, 0, NULL);
        ck_assert_uint_eq(page_of(kva), at);
        memset(kva, 0xa5, uvm_ptoa(UVM_CLUSTER_PAGES));
    }
    ck_assert_uint_eq(uvm_pagermap_free_pages(), UVM_PAGERMAP_RESERVE);
    ck_assert_ptr_null(uvm_pagermapin(1, 0, NULL));
    ck_assert_ptr_null(uvm_pagermapin(UVM_CLUSTER_PAGES, 0, NULL));
    mapout(0, ORDINARY);
}
END_TEST

START_TEST(test_reserve)
{
    /* The ordinary part is tried first. */
    ck_assert_uint_eq(page_of(uvm_pagermapin(7, RESERVE, NULL)), 0);
    mapout(0, 7);

    fill(0);
    ck_assert_uint_eq(page_of(uvm_pagermapin(UVM_CLUSTER_PAGES, RESERVE, NULL)), ORDINARY);
    ck_assert_uint_eq(page_of(uvm_pagermapin(UVM_CLUSTER_PAGES, RESERVE, NULL)),
                      ORDINARY + UVM_CLUSTER_PAGES);
    ck_assert_uint_eq(uvm_pagermap_free_pages(), 0);
    ck_assert_ptr_null(uvm_pagermapin(1, RESERVE, NULL));

    /* What returns to the reserve is nobody else's. */
    struct waiter waiter;
    ck_assert_ptr_null(waiter_mapin(&waiter, 1, 0));
    mapout(ORDINARY, UVM_PAGERMAP_RESERVE);
    barrier();
    ck_assert_uint_eq(waiter.turn, 0);
    mapout(5, 1);
    barrier();
    ck_assert_uint_eq(waiter.turn, 1);
    ck_assert_uint_eq(page_of(waiter.wait.kva), 5);
    mapout(0, ORDINARY);
}
END_TEST

START_TEST(test_fragmentation)
{
    fill(0);
    for (uint32_t page = 0; page < ORDINARY; page += 2)
        mapout(page, 1);
    ck_assert_ptr_null(uvm_pagermapin(2, 0, NULL));

    /* Runs at, across and between the words of the bitmap. */
    mapout(61, 1);
    ck_assert_ptr_null(uvm_pagermapin(4, 0, NULL));
    ck_assert_uint_eq(page_of(uvm_pagermapin(3, 0, NULL)), 60);
    mapout(63, 1);
    mapout(65, 1);
    ck_assert_ptr_null(uvm_pagermapin(5, 0, NULL));
    ck_assert_uint_eq(page_of(uvm_pagermapin(4, 0, NULL)), 63);
    for (uint32_t page = 129; page < 129 + UVM_CLUSTER_PAGES - 2; page += 2)
        mapout(page, 1);
    ck_assert_ptr_null(uvm_pagermapin(UVM_CLUSTER_PAGES, 0, NULL));
    mapout(129 + UVM_CLUSTER_PAGES - 2, 1);
    ck_assert_uint_eq(page_of(uvm_pagermapin(UVM_CLUSTER_PAGES, 0, NULL)), 128);
    ck_assert_uint_eq(page_of(uvm_pagermapin(1, 0, NULL)), 0);
    fill(0);
    mapout(0, ORDINARY);
}
END_TEST

START_TEST(test_fifo)
{
    struct waiter waiter[6];

    turns = 0;
    fill(0);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_ptr_null(waiter_mapin(&waiter[i], 2, 0));
    mapout(10, 1);
    barrier();
    ck_assert_uint_eq(waiter[0].turn, 0);
    mapout(11, 1); /* one run, one waiter */
    barrier();
    ck_assert_uint_eq(waiter[0].turn, 1);
    ck_assert_uint_eq(page_of(waiter[0].wait.kva), 10);
    ck_assert_uint_eq(waiter[1].turn, 0);
    mapout(100, 10); /* five runs at once */
    barrier();
    for (unsigned i = 1; i < 6; i++) {
        ck_assert_uint_eq(waiter[i].turn, i + 1);
        ck_assert_uint_eq(page_of(waiter[i].wait.kva), 100 + 2 * (i - 1));
    }
    mapout(0, ORDINARY);
}
END_TEST

START_TEST(test_large_waiter)
{
    struct waiter large, small;

    turns = 0;
    fill(0);
    ck_assert_ptr_null(waiter_mapin(&large, UVM_CLUSTER_PAGES, 0));
    mapout(0, 1);
    ck_assert_ptr_null(uvm_pagermapin(1, 0, NULL)); /* free, but somebody waits */
    ck_assert_ptr_null(waiter_mapin(&small, 1, 0));
    for (uint32_t page = 1; page < UVM_CLUSTER_PAGES; page++) {
        /* The pagedaemon may overtake, but not with the pages that gather for the waiter. */
        void *kva = uvm_pagermapin(UVM_CLUSTER_PAGES, RESERVE, NULL);
        ck_assert_uint_ge(page_of(kva), ORDINARY);
        mapout(page, 1);
        uvm_pagermapout(kva, UVM_CLUSTER_PAGES);
    }
    barrier();
    ck_assert_uint_eq(large.turn, 1);
    ck_assert_uint_eq(page_of(large.wait.kva), 0);
    ck_assert_uint_eq(small.turn, 0);
    mapout(ORDINARY - 1, 1);
    barrier();
    ck_assert_uint_eq(small.turn, 2);
    ck_assert_uint_eq(page_of(small.wait.kva), ORDINARY - 1);
    mapout(0, ORDINARY);
}
END_TEST

START_TEST(test_reserve_waits)
{
    struct waiter ordinary, daemon[2];

    turns = 0;
    fill(RESERVE);
    ck_assert_uint_eq(uvm_pagermap_free_pages(), 0);
    ck_assert_ptr_null(waiter_mapin(&ordinary, 1, 0));
    ck_assert_ptr_null(waiter_mapin(&daemon[0], 4, RESERVE));
    ck_assert_ptr_null(waiter_mapin(&daemon[1], 1, RESERVE));
    mapout(3, 1); /* the pagedaemon goes first, in its own order */
    ck_assert_ptr_null(uvm_pagermapin(1, RESERVE, NULL));
    barrier();
    ck_assert_uint_eq(ordinary.turn + daemon[0].turn + daemon[1].turn, 0);
    mapout(ORDINARY + 8, 4);
    barrier();
    ck_assert_uint_eq(daemon[0].turn, 1);
    ck_assert_uint_eq(page_of(daemon[0].wait.kva), ORDINARY + 8);
    ck_assert_uint_eq(daemon[1].turn, 2);
    ck_assert_uint_eq(page_of(daemon[1].wait.kva), 3);
    ck_assert_uint_eq(ordinary.turn, 0);
    mapout(4, 1);
    barrier();
    ck_assert_uint_eq(ordinary.turn, 3);
    mapout(0, UVM_PAGERMAP_PAGES);
}
END_TEST

static void no_core(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

START_TEST(test_double_mapout)
{
    no_core();
    void *kva = uvm_pagermapin(3, 0, NULL);
    uvm_pagermapout(kva, 3);
    uvm_pagermapout(kva, 3);
}
END_TEST

START_TEST(test_partial_mapout)
{
    no_core();
    void *kva = uvm_pagermapin(3, 0, NULL);
    uvm_pagermapout(kva, 4);
}
END_TEST

/* Threads that map in, own their pages for a while and map out; a lost wake-up is a deadline. */
#define HAMMERS 4
#define ROUNDS  3000

struct hammer {
    pthread_t thread;
    unsigned id, waits, stolen;
    struct uvm_pagermap_wait wait;
    sem_t sem;
};

static void hammer_wake(struct uvm_work *work)
{
    sem_post(&UVM_CONTAINER_OF(work, struct hammer, wait.work)->sem);
}

static void *hammer_mapin(struct hammer *hammer, uint32_t npages)
{
    int flags = WAITOK | (hammer->id == 0 ? RESERVE : 0);
    void *kva = uvm_pagermapin(npages, flags, &hammer->wait);
    if (!kva) {
        hammer->waits++;
        sem_wait_deadline(&hammer->sem);
        kva = hammer->wait.kva;
    }
    return kva;
}

static void hammer_stamp(struct hammer *hammer, uint32_t *kva, uint32_t npages, uint32_t stamp)
{
    for (uint32_t i = 0; i < npages; i++)
        kva[i * (UVM_PAGE_SIZE / sizeof(*kva))] = stamp;
    for (uint32_t i = 0; i < npages; i++)
        hammer->stolen += kva[i * (UVM_PAGE_SIZE / sizeof(*kva))] != stamp;
}

static void *hammer_main(void *arg)
{
    struct hammer *hammer = arg;
    unsigned seed = hammer->id + 1;

    hammer->wait.work.fn = hammer_wake;
    hammer->wait.loop = loop;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t npages = 1 + (uint32_t)rand_r(&seed) % UVM_CLUSTER_PAGES;
        uint32_t *kva = hammer_mapin(hammer, npages);
        hammer_stamp(hammer, kva, npages, hammer->id << 24 | round);
        uvm_pagermapout(kva, npages);
    }
    return NULL;
}

START_TEST(test_hammer)
{
    struct hammer hammer[HAMMERS];
    unsigned waits = 0;

    /* Leave room for little more than a cluster, so that they wait. */
    fill(RESERVE);
    mapout(100, 320);
    mapout(ORDINARY, 64);
    for (unsigned i = 0; i < HAMMERS; i++) {
        hammer[i] = (struct hammer){.id = i};
        sem_init(&hammer[i].sem, 0, 0);
    }
    for (unsigned i = 0; i < HAMMERS; i++)
        ck_assert_int_eq(pthread_create(&hammer[i].thread, NULL, hammer_main, &hammer[i]), 0);
    for (unsigned i = 0; i < HAMMERS; i++) {
        pthread_join(hammer[i].thread, NULL);
        sem_destroy(&hammer[i].sem);
        ck_assert_uint_eq(hammer[i].stolen, 0);
        waits += hammer[i].waits;
    }
    ck_assert_uint_gt(waits, 0);
    mapout(0, 100);
    mapout(420, ORDINARY - 420);
    mapout(ORDINARY + 64, UVM_PAGERMAP_RESERVE - 64);
}
END_TEST

static Suite *suite_pagermap(void)
{
    struct uvm_error err = {0};
    if (uvm_loop_new("probe", -1, &loop, &err))
        unit_skip(err.msg);
    uvm_loop_free(loop);

    Suite *suite = suite_create("pagermap");
    TCase *tc = tcase_create("pagermap");
    tcase_set_timeout(tc, 2 * DEADLINE_S);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_full);
    tcase_add_test(tc, test_reserve);
    tcase_add_test(tc, test_fragmentation);
    tcase_add_test(tc, test_fifo);
    tcase_add_test(tc, test_large_waiter);
    tcase_add_test(tc, test_reserve_waits);
    tcase_add_test_raise_signal(tc, test_double_mapout, SIGABRT);
    tcase_add_test_raise_signal(tc, test_partial_mapout, SIGABRT);
    tcase_add_test(tc, test_hammer);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_pagermap)
