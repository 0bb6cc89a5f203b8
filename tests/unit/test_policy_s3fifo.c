/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S3-FIFO: what a use is, who goes to main and who leaves it, what is remembered of pages that have gone;
 * and that the daemon's paths tell the policy what it wants to know.
 */
#include "core.h"

#include "daemon/policy.h"

#define NPAGES 160u /* small: 16 pages, the youngest 2 of them */
#define N      40u

static struct vm_page *page[N];

static void setup(void)
{
    struct vm_pagelist all = TAILQ_HEAD_INITIALIZER(all);

    uvm_policy = &uvm_policy_s3fifo;
    core_up(NPAGES);
    ck_assert(uvm_pagealloc(N, &all, 0, NULL));
    for (unsigned i = 0; i < N; i++) {
        page[i] = TAILQ_FIRST(&all);
        TAILQ_REMOVE(&all, page[i], pageq);
        page[i]->pgno = i;
    }
    uvm_lock_acquire(uvm_page_queue_lock());
}

static void teardown(void)
{
    for (unsigned i = 0; i < N; i++)
        uvm_policy->dequeue(page[i]);
    uvm_lock_release(uvm_page_queue_lock());
    for (unsigned i = 0; i < N; i++) {
        page[i]->pqstate = 0;
        page[i]->referenced = 0;
        uvm_pageput_one(page[i]);
    }
    core_down();
}

static void enter(unsigned first, unsigned n, enum uvm_pageq where)
{
    for (unsigned i = first; i < first + n; i++) {
        uvm_policy->entered(page[i], 1);
        uvm_policy->enqueue(page[i], where);
    }
}

static void again(unsigned i, enum uvm_pageq where)
{
    uvm_policy->dequeue(page[i]);
    uvm_policy->enqueue(page[i], where);
}

/* Take the next victim, as the pagedaemon does. => its number; -1: none */
static int victim(void)
{
    uvm_policy->balance();
    uvm_policy->scan_begin();
    struct vm_page *pg = uvm_policy->scan_next();
    if (!pg)
        return -1;
    uvm_policy->dequeue(pg);
    return (int)pg->pgno;
}

static void gone(unsigned i, uint64_t object)
{
    uvm_policy->evicted(page[i], object);
    page[i]->pqstate = 0;
}

static void check_queues(unsigned nmain, unsigned nsmall)
{
    ck_assert_uint_eq(uvm_stat_get(active), nmain);
    ck_assert_uint_eq(uvm_stat_get(inactive), nsmall);
}

START_TEST(test_new_in_order)
{
    enter(0, 20, UVM_Q_INACTIVE);
    enter(20, 20, UVM_Q_ACTIVE); /* stored to for the first time: new all the same */
    check_queues(0, 40);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(victim(), i);
    ck_assert_int_eq(victim(), -1);
}
END_TEST

/* The client cache has it: it goes first; when it is asked for again, that has lost it: it stays. */
START_TEST(test_delivered)
{
    enter(0, 20, UVM_Q_INACTIVE);
    again(7, UVM_Q_FIRST);
    again(8, UVM_Q_FIRST);
    again(8, UVM_Q_FIRST);
    ck_assert_int_eq(victim(), 7);
    for (int i = 0; i < 19; i++)
        if (i != 7 && i != 8)
            ck_assert_int_eq(victim(), i);
    ck_assert_int_eq(victim(), 19);
    ck_assert_int_eq(victim(), 8);
}
END_TEST

/* What is used while in small goes to main, and stays while there is enough in small. */
START_TEST(test_promotion)
{
    static const int first[] = {0, 1, 2, 5};

    enter(0, 24, UVM_Q_INACTIVE);
    again(3, UVM_Q_ACTIVE);
    uvm_page_reference(page[4]);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(victim(), first[i]);
    check_queues(1, 19); /* 4 is in main, 3 behind 23 */
    enter(24, 16, UVM_Q_INACTIVE);
    for (int i = 6; i < 24; i++)
        ck_assert_int_eq(victim(), i);
    ck_assert_int_eq(page[4]->pqflags, PQ_ACTIVE);
    ck_assert_int_eq(victim(), 4); /* 3 came to main, and small is a tenth of memory */
    ck_assert_int_eq(page[3]->pqflags, PQ_ACTIVE);
    check_queues(1, 16);
    ck_assert_int_eq(victim(), 3);
    ck_assert_int_eq(victim(), 24); /* main is empty */
}
END_TEST

/* The pieces of one store are one use. */
START_TEST(test_young)
{
    for (unsigned i = 0; i < 20; i++) {
        enter(i, 1, UVM_Q_ACTIVE);
        again(i, UVM_Q_ACTIVE);
        again(i, UVM_Q_ACTIVE);
    }
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(victim(), i);
        ck_assert_uint_eq(uvm_stat_get(active), 0);
    }
}
END_TEST

static void put_in_main(unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++) {
        page[i]->pqstate = 0;
        uvm_policy->evicted(page[i], 1);
        uvm_policy->entered(page[i], 1);
        uvm_policy->enqueue(page[i], UVM_Q_INACTIVE);
        ck_assert_int_eq(page[i]->pqflags, PQ_ACTIVE);
    }
}

/* A use in main is a round more, up to three; when all are used, one goes all the same. */
START_TEST(test_main_rounds)
{
    put_in_main(0, 3);
    again(0, UVM_Q_ACTIVE);
    for (unsigned k = 0; k < 9; k++)
        again(1, UVM_Q_ACTIVE);
    uvm_page_reference(page[2]);
    ck_assert_int_eq(victim(), 2);
    ck_assert_int_eq(victim(), 0);
    ck_assert_int_eq(page[1]->pqflags, PQ_ACTIVE);
    put_in_main(2, 20);
    for (unsigned i = 1; i < 22; i++)
        for (unsigned k = 0; k < 9; k++)
            again(i, UVM_Q_ACTIVE);
    ck_assert_int_eq(victim(), 1);
}
END_TEST

START_TEST(test_refault)
{
    enter(0, 20, UVM_Q_INACTIVE);
    ck_assert_int_eq(victim(), 0);
    gone(0, 1);
    ck_assert_int_eq(victim(), 1);
    gone(1, 1);
    uint64_t before = uvm_stat_get(pdrefault);
    uvm_policy->entered(page[0], 2); /* of another object */
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before);
    page[0]->pqstate = 0;
    uvm_policy->entered(page[0], 1);
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before + 1);
    uvm_policy->enqueue(page[0], UVM_Q_INACTIVE);
    again(0, UVM_Q_FIRST); /* what it came for */
    ck_assert_int_eq(page[0]->pqflags, PQ_ACTIVE);
    check_queues(1, 18);
    uvm_policy->dequeue(page[0]);
    page[0]->pqstate = 0;
    uvm_policy->entered(page[0], 1); /* it is remembered once */
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before + 1);
}
END_TEST

/* Too far back: memory has turned over since. And the ghosts of many more pages leave no trouble. */
START_TEST(test_refault_distance)
{
    uint64_t before = uvm_stat_get(pdrefault);

    uvm_policy->evicted(page[0], 1);
    for (uint32_t i = 0; i < NPAGES; i++) {
        page[1]->pgno = 1000 + i;
        uvm_policy->evicted(page[1], 1);
    }
    uvm_policy->entered(page[0], 1);
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before);
    unsigned known = 0;
    for (uint32_t i = 0; i < NPAGES; i++) {
        uint64_t was = uvm_stat_get(pdrefault);
        page[1]->pqstate = 0;
        page[1]->pgno = 1000 + i;
        uvm_policy->entered(page[1], 1);
        known += uvm_stat_get(pdrefault) > was;
    }
    ck_assert_uint_ge(known, NPAGES * 8 / 10);
    page[1]->pqstate = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        page[1]->pgno = i;
        uvm_policy->evicted(page[1], i % 7);
    }
    page[1]->pgno = 1;
}
END_TEST

/* What somebody says is not wanted leaves main; what has only been written out stays. */
START_TEST(test_deactivate)
{
    put_in_main(0, 2);
    again(0, UVM_Q_CLEANED);
    again(1, UVM_Q_INACTIVE);
    ck_assert_int_eq(page[0]->pqflags, PQ_ACTIVE);
    ck_assert_int_eq(page[1]->pqflags, PQ_INACTIVE);
    check_queues(1, 1);
}
END_TEST

/* A scan of pages that cannot be had, or not be written, ends. */
START_TEST(test_scan_ends)
{
    struct vm_page *pg;
    unsigned n = 0;

    enter(0, 30, UVM_Q_INACTIVE);
    put_in_main(30, 10);
    uvm_policy->scan_begin();
    while ((pg = uvm_policy->scan_next())) {
        uvm_policy->scan_skip(pg);
        n++;
    }
    ck_assert_uint_eq(n, 40);
    check_queues(10, 30);
    uvm_policy->scan_begin();
    for (n = 0; (pg = uvm_policy->scan_next()); n++)
        uvm_policy->scan_react(pg);
    ck_assert_uint_eq(n, 40);
    ck_assert_uint_eq(uvm_stat_get(active) + uvm_stat_get(inactive), 40);
    uvm_policy->scan_begin();
    ck_assert_ptr_nonnull(uvm_policy->scan_next());
}
END_TEST

static void core_setup(void)
{
    uvm_policy = &uvm_policy_s3fifo;
    core_up(NPAGES);
    core_swap();
}

/* Pages that have been paged out are known when they are read, and when they are written anew; pages
 * that were freed are not. */
START_TEST(test_told)
{
    struct uvm_object *uobj = core_object();

    core_fill(uobj, 0, 8, 1);
    uint64_t before = uvm_stat_get(pdrefault);
    ck_assert_int_eq(core_page(uobj, 0)->pqflags, PQ_INACTIVE);
    core_pageout(uobj, 0, 8);
    core_verify(uobj, 0, 4, 1);
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before + 4);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_int_eq(core_page(uobj, i)->pqflags, PQ_ACTIVE);
    core_fill(uobj, 4, 4, 2);
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before + 8);
    ck_assert_int_eq(core_page(uobj, 7)->pqflags, PQ_ACTIVE);
    core_flush(uobj, 0, 8, PGO_FREE);
    core_fill(uobj, 0, 8, 3);
    ck_assert_uint_eq(uvm_stat_get(pdrefault), before + 8);
    ck_assert_int_eq(core_page(uobj, 7)->pqflags, PQ_INACTIVE);
    core_gone(uobj);
}
END_TEST

static Suite *s3fifo_suite(void)
{
    Suite *s = suite_create("policy_s3fifo");
    TCase *tc = tcase_create("s3fifo"), *core = tcase_create("core");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_new_in_order);
    tcase_add_test(tc, test_delivered);
    tcase_add_test(tc, test_promotion);
    tcase_add_test(tc, test_young);
    tcase_add_test(tc, test_main_rounds);
    tcase_add_test(tc, test_refault);
    tcase_add_test(tc, test_refault_distance);
    tcase_add_test(tc, test_deactivate);
    tcase_add_test(tc, test_scan_ends);
    suite_add_tcase(s, tc);
    tcase_add_checked_fixture(core, core_setup, core_down);
    tcase_add_test(core, test_told);
    suite_add_tcase(s, core);
    return s;
}

UNIT_MAIN(s3fifo_suite)
