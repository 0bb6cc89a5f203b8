/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations: what can be promised, who gets it when there is no more, and in which order.
 */
#include "core.h"

#define MEMORY 100u

static unsigned reclaims;

static void reclaim(void)
{
    reclaims++;
}

static void setup(void)
{
    core_up(64);
    uvm_reserve_set_memory(MEMORY);
    uvm_reserve_set_reclaim(reclaim);
    reclaims = 0;
}

static void teardown(void)
{
    core_down();
}

struct parked {
    struct uvm_reservewait wait;
    unsigned calls;
    bool granted;
};

static void answered(struct uvm_work *work)
{
    struct parked *p = UVM_CONTAINER_OF(work, struct parked, wait.work);
    p->calls++;
    p->granted = p->wait.granted;
}

static void prepare(struct parked *p, uint32_t n, uint64_t object, uint32_t pgno)
{
    *p = (struct parked){
        .wait = {
            .work.fn = answered, .loop = &core_loop, .object = object, .pgno = pgno, .npages = n}};
}

static enum uvm_reserve_result ask(struct parked *p, uint32_t n, uint64_t object, uint32_t pgno)
{
    prepare(p, n, object, pgno);
    return uvm_reserve(n, &p->wait);
}

static enum uvm_reserve_result borrow(struct parked *p, uint32_t n, uint64_t object, uint32_t pgno)
{
    prepare(p, n, object, pgno);
    p->wait.borrows = true;
    return uvm_reserve_lend(n, &p->wait);
}

static void check_answer(const struct parked *p, unsigned calls, bool granted)
{
    core_run();
    ck_assert_uint_eq(p->calls, calls);
    ck_assert_int_eq(p->granted, granted);
}

START_TEST(test_all_or_none)
{
    ck_assert_int_eq(uvm_reserve(MEMORY - 1, NULL), UVM_RESERVED);
    ck_assert_uint_eq(uvm_stat_get(reserved), MEMORY - 1);
    ck_assert_int_eq(uvm_reserve(2, NULL), UVM_RESERVE_FULL);
    ck_assert_uint_eq(uvm_stat_get(reserved), MEMORY - 1);
    ck_assert_uint_eq(uvm_stat_get(reserve_fail), 1);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVED);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    uvm_unreserve(MEMORY);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

/* Memory and swap are promised together; a bad slot is no room. */
START_TEST(test_swap_counts)
{
    uint64_t total, avail;

    core_swap();
    uvm_reserve_space(&total, &avail);
    ck_assert_uint_eq(total, MEMORY + CORE_SWAP_SLOTS);
    ck_assert_uint_eq(avail, total);
    ck_assert_int_eq(uvm_reserve(MEMORY + CORE_SWAP_SLOTS, NULL), UVM_RESERVED);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    uvm_unreserve(1);
    uint32_t n = 2, slot = uvm_swap_alloc(&n, false);
    uvm_swap_markbad(slot, n);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    uvm_reserve_space(&total, &avail);
    ck_assert_uint_eq(total, MEMORY + CORE_SWAP_SLOTS - 2);
    ck_assert_uint_eq(avail, 0); /* more is promised than there is now: not less than nothing */
    ck_assert_uint_eq(uvm_stat_get(reservemax), total);
    uvm_unreserve(MEMORY + CORE_SWAP_SLOTS - 1);
}
END_TEST

START_TEST(test_park_and_grant)
{
    struct parked p;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&p, 3, 1, 0), UVM_RESERVE_PARKED);
    ck_assert_uint_eq(reclaims, 1);
    ck_assert(uvm_reserve_parked());
    ck_assert_uint_eq(uvm_stat_get(flt_norsrv), 1);
    uvm_unreserve(2);
    check_answer(&p, 0, false);
    uvm_unreserve(1);
    ck_assert_uint_eq(p.calls, 0); /* on its loop, not in here */
    check_answer(&p, 1, true);
    ck_assert_uint_eq(uvm_stat_get(reserved), MEMORY); /* they are the waiter's */
    ck_assert(!uvm_reserve_parked());
    uvm_unreserve(MEMORY);
}
END_TEST

START_TEST(test_grant_in_order)
{
    struct parked large, small;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&large, 10, 1, 0), UVM_RESERVE_PARKED);
    ck_assert_int_eq(ask(&small, 1, 2, 0), UVM_RESERVE_PARKED);
    uvm_unreserve(9);
    check_answer(&large, 0, false);
    check_answer(&small, 0, false);                           /* there would be enough for it */
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL); /* and for a newcomer */
    uvm_unreserve(2);
    check_answer(&large, 1, true);
    check_answer(&small, 1, true);
    ck_assert_uint_eq(uvm_stat_get(reserved), MEMORY);
    uvm_unreserve(MEMORY);
}
END_TEST

/* Nothing is left to take back: everyone is told, and later room is not lost on them. */
START_TEST(test_fail_parked)
{
    struct parked p[3];

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(ask(&p[i], 1 + i, 1, i * 10), UVM_RESERVE_PARKED);
    ck_assert_uint_eq(uvm_reserve_fail_parked(UINT64_MAX), 3);
    for (unsigned i = 0; i < 3; i++)
        check_answer(&p[i], 1, false);
    ck_assert_uint_eq(uvm_stat_get(reserve_fail), 3);
    ck_assert_uint_eq(uvm_reserve_fail_parked(UINT64_MAX), 0);
    uvm_unreserve(MEMORY);
    check_answer(&p[0], 1, false);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

/* Who parked after the mark was taken has not been served by what was done before it. */
START_TEST(test_fail_parked_mark)
{
    struct parked before, after;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&before, 1, 1, 0), UVM_RESERVE_PARKED);
    uint64_t mark = uvm_reserve_mark();
    ck_assert_int_eq(ask(&after, 1, 1, 5), UVM_RESERVE_PARKED);
    ck_assert_uint_eq(uvm_reserve_fail_parked(mark), 1);
    check_answer(&before, 1, false);
    check_answer(&after, 0, false);
    uvm_unreserve(1);
    check_answer(&after, 1, true);
    uvm_unreserve(MEMORY);
}
END_TEST

/* Without a revoker there is nothing to wait for. */
START_TEST(test_no_reclaim)
{
    struct parked p;

    uvm_reserve_set_reclaim(NULL);
    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&p, 1, 1, 0), UVM_RESERVE_PARKED);
    check_answer(&p, 1, false);
    uvm_unreserve(MEMORY);
}
END_TEST

/* What can never be granted is refused, not parked. */
START_TEST(test_too_much)
{
    struct parked p;

    ck_assert_int_eq(ask(&p, MEMORY + 1, 1, 0), UVM_RESERVE_FULL);
    ck_assert_uint_eq(reclaims, 0);
    ck_assert_int_eq(ask(&p, MEMORY, 1, 0), UVM_RESERVED);
    uvm_unreserve(MEMORY);
}
END_TEST

START_TEST(test_emergency)
{
    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert(uvm_reserve_force(UVM_RESERVE_EMERGENCY - 1));
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    ck_assert(!uvm_reserve_force(2));
    ck_assert(uvm_reserve_force(1));
    ck_assert(!uvm_reserve_force(1));
    uint64_t total, avail;
    uvm_reserve_space(&total, &avail);
    ck_assert_uint_eq(avail, 0);
    /* What was borrowed is paid back before anyone gets more. */
    uvm_unreserve(UVM_RESERVE_EMERGENCY);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    uvm_unreserve(1);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVED);
    uvm_unreserve(MEMORY);
}
END_TEST

START_TEST(test_cancel)
{
    struct parked a, b;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&a, 2, 1, 0), UVM_RESERVE_PARKED);
    ck_assert_int_eq(ask(&b, 1, 2, 0), UVM_RESERVE_PARKED);
    ck_assert(uvm_reserve_cancel(&a.wait));
    ck_assert(!uvm_reserve_cancel(&a.wait));
    uvm_unreserve(1);
    ck_assert(!uvm_reserve_cancel(&b.wait)); /* its answer is on its way */
    check_answer(&a, 0, false);
    check_answer(&b, 1, true);
    uvm_unreserve(MEMORY);
}
END_TEST

/* Who stops waiting was perhaps all that stood in the way of the next. */
START_TEST(test_cancel_lets_next)
{
    struct parked large, small;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&large, 9, 1, 0), UVM_RESERVE_PARKED);
    ck_assert_int_eq(ask(&small, 1, 2, 0), UVM_RESERVE_PARKED);
    uvm_unreserve(1);
    check_answer(&small, 0, false);
    ck_assert(uvm_reserve_cancel(&large.wait));
    check_answer(&small, 1, true);
    uvm_unreserve(MEMORY);
}
END_TEST

/* The revoker leaves a range alone in which somebody is parked. */
START_TEST(test_revoking_avoids_parked)
{
    struct parked p;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&p, 5, 1, 100), UVM_RESERVE_PARKED); /* pages 100 to 104 */
    ck_assert(!uvm_reserve_revoking(1, 104, 10));
    ck_assert(!uvm_reserve_revoking(1, 90, 11));
    ck_assert(!uvm_reserve_revoking(1, 0, 1000));
    ck_assert(uvm_reserve_revoking(1, 105, 10));
    ck_assert(uvm_reserve_revoking(1, 90, 10));
    ck_assert(uvm_reserve_revoking(2, 100, 5));
    ck_assert(uvm_reserve_revoking(0, 0, 0));
    uvm_reserve_fail_parked(UINT64_MAX);
    check_answer(&p, 1, false);
    uvm_unreserve(MEMORY);
}
END_TEST

/* Nobody parks in the range that is being revoked: the emergency reserve serves, or it is refused. */
START_TEST(test_no_parking_while_revoking)
{
    struct parked p;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert(uvm_reserve_revoking(1, 100, 64));
    ck_assert_int_eq(ask(&p, 5, 1, 96), UVM_RESERVED);
    ck_assert_uint_eq(uvm_stat_get(reserved), MEMORY + 5);
    ck_assert(uvm_reserve_force(UVM_RESERVE_EMERGENCY - 5));
    ck_assert_int_eq(ask(&p, 1, 1, 163), UVM_RESERVE_FULL);
    ck_assert(!uvm_reserve_parked());
    ck_assert_int_eq(ask(&p, 1, 1, 164), UVM_RESERVE_PARKED); /* just behind it */
    uvm_reserve_fail_parked(UINT64_MAX);
    check_answer(&p, 1, false);
    ck_assert(uvm_reserve_revoking(0, 0, 0));
    ck_assert_int_eq(ask(&p, 1, 1, 100), UVM_RESERVE_PARKED); /* it is over */
    uvm_unreserve(MEMORY + UVM_RESERVE_EMERGENCY);
    check_answer(&p, 1, true);
    uvm_unreserve(1);
}
END_TEST

/* --- loans --- */

/* Whatever is lent can be stored to and written back, whoever else reserves or borrows. */
START_TEST(test_loan_is_covered)
{
    const uint32_t rest = UVM_RESERVE_EMERGENCY - UVM_RESERVE_LENT_MAX;
    struct parked p;

    uvm_reserve_set_memory(2 * UVM_RESERVE_EMERGENCY);
    ck_assert_int_eq(uvm_reserve(2 * UVM_RESERVE_EMERGENCY, NULL), UVM_RESERVED);
    ck_assert_int_eq(borrow(&p, UVM_RESERVE_LENT_MAX, 1, 0), UVM_RESERVED);
    ck_assert_uint_eq(uvm_stat_get(lent), UVM_RESERVE_LENT_MAX);
    ck_assert_uint_eq(uvm_stat_get(reserved), 2 * UVM_RESERVE_EMERGENCY);
    /* Those in the range being revoked draw on what is neither used nor lent. */
    ck_assert(uvm_reserve_revoking(1, 1000, 1000));
    ck_assert_int_eq(ask(&p, rest + 1, 1, 1000), UVM_RESERVE_FULL);
    ck_assert_int_eq(ask(&p, rest - 1, 1, 1000), UVM_RESERVED);
    ck_assert_int_eq(borrow(&p, 1, 1, 1000), UVM_RESERVED);
    ck_assert_int_eq(ask(&p, 1, 1, 1000), UVM_RESERVE_FULL);
    ck_assert_int_eq(borrow(&p, 1, 1, 1000), UVM_RESERVE_FULL);
    ck_assert(uvm_reserve_force(UVM_RESERVE_LENT_MAX + 1)); /* all loans are stored to */
    ck_assert(!uvm_reserve_force(1));
    uvm_reserve_return(UVM_RESERVE_LENT_MAX + 1);
    ck_assert_uint_eq(uvm_stat_get(lent), 0);
    ck_assert_int_eq(borrow(&p, 1, 1, 0), UVM_RESERVE_FULL);
    uvm_unreserve(3 * UVM_RESERVE_EMERGENCY);
}
END_TEST

/* Room that has become free since the READ was refused is no licence to lend it all. */
START_TEST(test_loans_are_bounded)
{
    struct parked p;

    uvm_reserve_set_memory(10 * UVM_RESERVE_EMERGENCY);
    ck_assert_int_eq(borrow(&p, UVM_RESERVE_LENT_MAX, 1, 0), UVM_RESERVED);
    ck_assert_int_eq(borrow(&p, 1, 1, 2000), UVM_RESERVE_PARKED);
    ck_assert_int_eq(uvm_reserve(10 * UVM_RESERVE_EMERGENCY, NULL), UVM_RESERVED);
    uvm_reserve_return(UVM_RESERVE_LENT_MAX);
    check_answer(&p, 1, true);
    uvm_reserve_return(1);
    uvm_unreserve(10 * UVM_RESERVE_EMERGENCY);
}
END_TEST

/* Who waits for a loan has a line of its own: neither line holds up the other. */
START_TEST(test_loan_line)
{
    struct parked large, small, store;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&store, MEMORY, 9, 0), UVM_RESERVE_PARKED);
    ck_assert_int_eq(borrow(&small, 300, 1, 0), UVM_RESERVED);
    ck_assert_int_eq(borrow(&large, 257, 1, 300), UVM_RESERVE_PARKED);
    ck_assert_int_eq(borrow(&small, 1, 1, 600), UVM_RESERVE_PARKED); /* in order */
    ck_assert(uvm_reserve_parked());
    ck_assert_uint_eq(uvm_reserve_fail_parked(UINT64_MAX), 1);
    check_answer(&store, 1, false);
    check_answer(&large, 0, false);
    ck_assert(!uvm_reserve_parked());
    uvm_reserve_return(43);
    check_answer(&large, 1, true);
    check_answer(&small, 0, false);
    uvm_unreserve(1); /* this makes room, too */
    check_answer(&small, 0, false);
    uvm_reserve_return(1);
    check_answer(&small, 1, true);
    uvm_reserve_return(300 - 44 + 257 + 1);
    uvm_unreserve(MEMORY - 1);
}
END_TEST

/* The last loan came back, and there is still no room: who waits is refused, one may be served. */
START_TEST(test_last_loan)
{
    struct parked large, small;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(borrow(&small, 500, 1, 0), UVM_RESERVED);
    ck_assert_int_eq(borrow(&large, 257, 1, 500), UVM_RESERVE_PARKED);
    ck_assert_int_eq(borrow(&small, 1, 1, 800), UVM_RESERVE_PARKED);
    ck_assert(uvm_reserve_force(500));
    uvm_reserve_return(500);
    check_answer(&large, 1, false);
    check_answer(&small, 1, true);
    uvm_reserve_return(1);
    uvm_unreserve(MEMORY + 500);
}
END_TEST

/* In the range being revoked nobody parks for a loan, and who is to have one gets no reservation of
 * the emergency reserve; a range in which somebody is parked for one is not revoked. */
START_TEST(test_loan_and_revoking)
{
    struct parked p, q;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(borrow(&p, UVM_RESERVE_LENT_MAX, 1, 0), UVM_RESERVED);
    ck_assert_int_eq(borrow(&p, 1, 2, 7), UVM_RESERVE_PARKED);
    ck_assert(!uvm_reserve_revoking(2, 0, 64));
    ck_assert(uvm_reserve_revoking(2, 8, 64));
    ck_assert_int_eq(borrow(&q, 257, 2, 8), UVM_RESERVE_FULL);
    ck_assert_int_eq(borrow(&q, 1, 2, 8), UVM_RESERVED); /* past the one that is parked */
    prepare(&q, 1, 2, 8);
    q.wait.borrows = true;
    ck_assert_int_eq(uvm_reserve(1, &q.wait), UVM_RESERVE_FULL);
    ck_assert(uvm_reserve_revoking(0, 0, 0));
    check_answer(&p, 0, false);
    uvm_reserve_return(UVM_RESERVE_LENT_MAX + 1);
    check_answer(&p, 1, true);
    uvm_reserve_return(1);
    uvm_unreserve(MEMORY);
}
END_TEST

/* The revoker is stuck: those inside its range are refused, unless a loan is on its way to it. */
START_TEST(test_refuse)
{
    struct parked in, out;

    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(borrow(&in, 500, 1, 0), UVM_RESERVED);
    ck_assert_int_eq(borrow(&in, 257, 1, 100), UVM_RESERVE_PARKED);
    ck_assert_int_eq(borrow(&out, 10, 1, 500), UVM_RESERVE_PARKED);
    ck_assert_uint_eq(uvm_reserve_refuse(1, 0, 500, 499), 0);
    ck_assert_uint_eq(uvm_reserve_refuse(1, 600, 10, 500), 0);
    check_answer(&in, 0, false);
    ck_assert_uint_eq(uvm_reserve_refuse(1, 0, 500, 500), 1);
    check_answer(&in, 1, false);
    check_answer(&out, 1, true); /* it was only behind that one */
    uvm_reserve_return(510);
    uvm_unreserve(MEMORY);
}
END_TEST

/* Swap that comes goes to those who wait; swap that is promised does not go. */
START_TEST(test_swap_comes_and_goes)
{
    struct parked p;
    uint64_t missing = 99;

    uvm_reserve_grow(60, 10);
    ck_assert_uint_eq(uvm_stat_get(reservemax), MEMORY + 50);
    ck_assert_int_eq(uvm_reserve(MEMORY + 50, NULL), UVM_RESERVED);
    ck_assert_int_eq(ask(&p, 20, 1, 0), UVM_RESERVE_PARKED);
    check_answer(&p, 0, false);
    uvm_reserve_grow(20, 0);
    check_answer(&p, 1, true);
    ck_assert(!uvm_reserve_shrink(20, 0, &missing));
    ck_assert_uint_eq(missing, 20);
    ck_assert_uint_eq(uvm_stat_get(swpages), 80);
    uvm_unreserve(19);
    ck_assert(!uvm_reserve_shrink(60, 10, &missing));
    ck_assert_uint_eq(missing, 31);
    uvm_unreserve(1);
    ck_assert(uvm_reserve_shrink(20, 0, &missing));
    ck_assert_uint_eq(uvm_stat_get(reservemax), MEMORY + 50);
    ck_assert_int_eq(uvm_reserve(1, NULL), UVM_RESERVE_FULL);
    uvm_unreserve(MEMORY + 50);
    ck_assert(uvm_reserve_shrink(60, 10, &missing));
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 0);
    ck_assert_uint_eq(uvm_stat_get(reservemax), MEMORY);
}
END_TEST

/* What is lent is promised, too. */
START_TEST(test_shrink_and_loans)
{
    struct parked p;
    uint64_t missing;

    uvm_reserve_grow(10, 0);
    ck_assert_int_eq(uvm_reserve(MEMORY, NULL), UVM_RESERVED);
    ck_assert_int_eq(borrow(&p, 4, 1, 0), UVM_RESERVED);
    ck_assert(!uvm_reserve_shrink(10, 0, &missing));
    ck_assert_uint_eq(missing, 4);
    uvm_reserve_return(4);
    ck_assert(uvm_reserve_shrink(10, 0, &missing));
    uvm_unreserve(MEMORY);
}
END_TEST

static Suite *reserve_suite(void)
{
    Suite *s = suite_create("reserve");
    TCase *tc = tcase_create("reserve");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_all_or_none);
    tcase_add_test(tc, test_swap_counts);
    tcase_add_test(tc, test_park_and_grant);
    tcase_add_test(tc, test_grant_in_order);
    tcase_add_test(tc, test_fail_parked);
    tcase_add_test(tc, test_fail_parked_mark);
    tcase_add_test(tc, test_no_reclaim);
    tcase_add_test(tc, test_too_much);
    tcase_add_test(tc, test_emergency);
    tcase_add_test(tc, test_cancel);
    tcase_add_test(tc, test_cancel_lets_next);
    tcase_add_test(tc, test_revoking_avoids_parked);
    tcase_add_test(tc, test_no_parking_while_revoking);
    tcase_add_test(tc, test_swap_comes_and_goes);
    tcase_add_test(tc, test_shrink_and_loans);
    suite_add_tcase(s, tc);

    tc = tcase_create("loans");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_loan_is_covered);
    tcase_add_test(tc, test_loans_are_bounded);
    tcase_add_test(tc, test_loan_line);
    tcase_add_test(tc, test_last_loan);
    tcase_add_test(tc, test_loan_and_revoking);
    tcase_add_test(tc, test_refuse);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(reserve_suite)
