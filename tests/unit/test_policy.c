/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clock replacement: in which order pages become victims, who gets a second chance, how many are
 * deactivated. Pages come straight from the page array: a policy sees nothing but its queues.
 */
#include "core.h"

#include "daemon/policy.h"

#define NPAGES 128u

static struct vm_pagelist all;
static struct vm_page *page[16];

static void setup(void)
{
    core_up(NPAGES);
    TAILQ_INIT(&all);
    ck_assert(uvm_pagealloc(16, &all, 0, NULL));
    for (unsigned i = 0; i < 16; i++) {
        page[i] = TAILQ_FIRST(&all);
        TAILQ_REMOVE(&all, page[i], pageq);
    }
    uvm_stat_set(freetarg, 0);
    uvm_lock_acquire(uvm_page_queue_lock());
}

static void teardown(void)
{
    for (unsigned i = 0; i < 16; i++)
        uvm_policy->dequeue(page[i]);
    uvm_lock_release(uvm_page_queue_lock());
    for (unsigned i = 0; i < 16; i++) {
        page[i]->referenced = 0;
        uvm_pageput_one(page[i]);
    }
    core_down();
}

static void enqueue(unsigned first, unsigned n, enum uvm_pageq where)
{
    for (unsigned i = first; i < first + n; i++)
        uvm_policy->enqueue(page[i], where);
}

/* Take the next victim off its queue. => its number; -1: none */
static int victim(void)
{
    struct vm_page *pg = uvm_policy->scan_next();

    if (!pg)
        return -1;
    ck_assert_uint_eq(pg->pqflags, PQ_INACTIVE);
    uvm_policy->dequeue(pg);
    for (int i = 0; i < 16; i++)
        if (page[i] == pg)
            return i;
    ck_abort_msg("a victim that nobody has queued");
}

static void check_queues(unsigned nactive, unsigned ninactive)
{
    ck_assert_uint_eq(uvm_stat_get(active), nactive);
    ck_assert_uint_eq(uvm_stat_get(inactive), ninactive);
}

START_TEST(test_order)
{
    enqueue(0, 4, UVM_Q_INACTIVE);
    check_queues(0, 4);
    uvm_policy->scan_begin();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(victim(), i);
    ck_assert_int_eq(victim(), -1);
    check_queues(0, 0);
}
END_TEST

/* Written out, and used by nobody: as inactive. */
START_TEST(test_cleaned)
{
    enqueue(0, 1, UVM_Q_INACTIVE);
    enqueue(1, 1, UVM_Q_CLEANED);
    enqueue(2, 1, UVM_Q_INACTIVE);
    check_queues(0, 3);
    uvm_policy->scan_begin();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(victim(), i);
}
END_TEST

START_TEST(test_names)
{
    ck_assert_ptr_eq(uvm_policy_find("clock"), &uvm_policy_clock);
    ck_assert_ptr_eq(uvm_policy_find("s3fifo"), &uvm_policy_s3fifo);
    ck_assert_ptr_null(uvm_policy_find("lru"));
    ck_assert_ptr_eq(uvm_policies[0], &uvm_policy_clock);
}
END_TEST

/* FIRST goes before those who have waited, the last FIRST before the others. */
START_TEST(test_first)
{
    enqueue(0, 2, UVM_Q_INACTIVE);
    enqueue(2, 2, UVM_Q_FIRST);
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), 3);
    ck_assert_int_eq(victim(), 2);
    ck_assert_int_eq(victim(), 0);
    ck_assert_int_eq(victim(), 1);
}
END_TEST

START_TEST(test_active_is_no_victim)
{
    enqueue(0, 3, UVM_Q_ACTIVE);
    check_queues(3, 0);
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), -1);
    check_queues(3, 0);
}
END_TEST

START_TEST(test_dequeue)
{
    enqueue(0, 2, UVM_Q_ACTIVE);
    enqueue(2, 2, UVM_Q_INACTIVE);
    uvm_policy->dequeue(page[0]);
    uvm_policy->dequeue(page[2]);
    uvm_policy->dequeue(page[5]); /* on no queue: nothing happens */
    check_queues(1, 1);
    ck_assert_uint_eq(page[0]->pqflags, 0);
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), 3);
    ck_assert_int_eq(victim(), -1);
}
END_TEST

/* Used again while inactive: back to the active ones instead, at their end, and the mark is gone. */
START_TEST(test_second_chance)
{
    enqueue(0, 1, UVM_Q_ACTIVE);
    enqueue(1, 4, UVM_Q_INACTIVE);
    uvm_page_reference(page[1]);
    uvm_page_reference(page[3]);
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), 2);
    ck_assert_int_eq(victim(), 4);
    ck_assert_int_eq(victim(), -1);
    check_queues(3, 0);
    ck_assert_uint_eq(uvm_stat_get(pdreact), 2);
    ck_assert_uint_eq(uvm_stat_get(pdscans), 4);
    ck_assert_uint_eq(page[1]->referenced, 0);
    ck_assert_uint_eq(page[1]->pqflags, PQ_ACTIVE);
    /* Deactivated in the order in which they became active. */
    uvm_stat_set(freetarg, 2);
    uvm_policy->balance();
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), 0);
    ck_assert_int_eq(victim(), 1);
    ck_assert_int_eq(victim(), 3);
}
END_TEST

/* What was used while active says nothing: deactivation clears the mark. */
START_TEST(test_deactivation_clears_mark)
{
    enqueue(0, 1, UVM_Q_ACTIVE);
    uvm_page_reference(page[0]);
    uvm_policy->balance();
    check_queues(0, 1);
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), 0);
}
END_TEST

/* A third of the pages are to be inactive ... */
START_TEST(test_balance_third)
{
    enqueue(0, 12, UVM_Q_ACTIVE);
    uvm_policy->balance();
    ck_assert_uint_eq(uvm_stat_get(inactarg), 4);
    check_queues(8, 4);
    ck_assert_uint_eq(uvm_stat_get(pddeact), 4);
    for (unsigned i = 0; i < 12; i++) /* the oldest ones */
        ck_assert_uint_eq(page[i]->pqflags, i < 4 ? PQ_INACTIVE : PQ_ACTIVE);
    uvm_policy->balance(); /* it is so already */
    check_queues(8, 4);
}
END_TEST

/* ... but more than are to be freed, so that a scan finds enough. */
START_TEST(test_balance_freetarg)
{
    enqueue(0, 12, UVM_Q_ACTIVE);
    uvm_stat_set(freetarg, 6);
    uvm_policy->balance();
    ck_assert_uint_eq(uvm_stat_get(inactarg), 7);
    check_queues(5, 7);
    uvm_stat_set(freetarg, 1000); /* all there are, and an end of it */
    uvm_policy->balance();
    check_queues(0, 12);
}
END_TEST

/* A skipped page goes behind the others, and a scan looks at nothing twice. */
START_TEST(test_skip)
{
    enqueue(0, 3, UVM_Q_INACTIVE);
    uvm_policy->scan_begin();
    struct vm_page *pg = uvm_policy->scan_next();
    ck_assert_ptr_eq(pg, page[0]);
    uvm_policy->scan_skip(pg);
    ck_assert_uint_eq(pg->pqflags, PQ_INACTIVE);
    ck_assert_int_eq(victim(), 1);
    ck_assert_int_eq(victim(), 2);
    ck_assert_int_eq(victim(), -1); /* page 0 has had its turn */
    check_queues(0, 1);
    uvm_policy->scan_begin();
    ck_assert_int_eq(victim(), 0);
}
END_TEST

START_TEST(test_react)
{
    enqueue(0, 2, UVM_Q_INACTIVE);
    uvm_policy->scan_begin();
    struct vm_page *pg = uvm_policy->scan_next();
    uvm_policy->scan_react(pg);
    ck_assert_uint_eq(pg->pqflags, PQ_ACTIVE);
    ck_assert_uint_eq(uvm_stat_get(pdreact), 1);
    check_queues(1, 1);
    ck_assert_int_eq(victim(), 1);
    ck_assert_int_eq(victim(), -1);
}
END_TEST

/* A scan with everything skipped ends. */
START_TEST(test_all_skipped)
{
    enqueue(0, 16, UVM_Q_INACTIVE);
    uvm_policy->scan_begin();
    unsigned n = 0;
    struct vm_page *pg;
    while ((pg = uvm_policy->scan_next())) {
        uvm_policy->scan_skip(pg);
        n++;
    }
    ck_assert_uint_eq(n, 16);
    check_queues(0, 16);
}
END_TEST

static Suite *policy_suite(void)
{
    Suite *s = suite_create("policy");
    TCase *tc = tcase_create("clock");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_cleaned);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_first);
    tcase_add_test(tc, test_active_is_no_victim);
    tcase_add_test(tc, test_dequeue);
    tcase_add_test(tc, test_second_chance);
    tcase_add_test(tc, test_deactivation_clears_mark);
    tcase_add_test(tc, test_balance_third);
    tcase_add_test(tc, test_balance_freetarg);
    tcase_add_test(tc, test_skip);
    tcase_add_test(tc, test_react);
    tcase_add_test(tc, test_all_skipped);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(policy_suite)
