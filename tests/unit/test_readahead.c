/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead's decisions, for readers of several shapes.
 */
#include "daemon/pager/readahead.h"
#include "unit.h"

#define LIMIT 100000u

static struct uvm_readahead ra;
static uint32_t start;

static void setup(void)
{
    uvm_readahead_reset(&ra);
    start = UINT32_MAX;
}

static uint32_t note(uint32_t pgno, uint32_t npages)
{
    return uvm_readahead_note(&ra, pgno, npages, LIMIT, &start);
}

/* A reader in sequence: what is read ahead covers the file without gaps or twice, in windows that
 * double up to the bound, and is always there before the reader. */
static void check_sequential(uint32_t step)
{
    uint32_t have = 0, window = 0, nwindows = 0;

    for (uint32_t pgno = 0; pgno + step <= 20000; pgno += step) {
        if (pgno > step)
            ck_assert_msg(pgno + step <= have || window < step,
                          "page %u comes before it is read ahead", pgno);
        uint32_t n = note(pgno, step);
        if (!n)
            continue;
        ck_assert_uint_ge(start, have);
        ck_assert_uint_eq(start, have > pgno + step ? have : pgno + step);
        ck_assert_uint_eq(n, window ? (2 * window < 1024 ? 2 * window : 1024) : UVM_READAHEAD_MIN);
        window = n;
        have = start + n;
        nwindows++;
    }
    ck_assert_uint_eq(window, UVM_READAHEAD_MAX);
    ck_assert_uint_gt(nwindows, 15);
}

START_TEST(test_sequential)
{
    static const uint32_t steps[] = {1, 3, 32, 64, 256};
    check_sequential(steps[_i]);
}
END_TEST

/* One request, at the beginning or elsewhere, says nothing. */
START_TEST(test_single)
{
    ck_assert_uint_eq(note(0, 32), 0);
    setup();
    ck_assert_uint_eq(note(500, 32), 0);
    ck_assert_uint_eq(note(532, 32), UVM_READAHEAD_MIN);
    ck_assert_uint_eq(start, 564);
}
END_TEST

START_TEST(test_random)
{
    uint64_t x = 88172645463325252ull;

    for (int i = 0; i < 10000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ck_assert_uint_eq(note((uint32_t)(x % LIMIT), 1), 0);
    }
}
END_TEST

START_TEST(test_strided)
{
    static const uint32_t strides[] = {2, 8, 100, 5000};

    for (uint32_t pgno = 0; pgno < LIMIT; pgno += strides[_i])
        ck_assert_uint_eq(note(pgno, 1), 0);
}
END_TEST

/* A reader who goes over to random reads: the window is halved with each, until it is off. */
START_TEST(test_turns_random)
{
    uint32_t pgno = 0;

    for (; pgno < 10000; pgno += 32)
        note(pgno, 32);
    ck_assert_uint_eq(ra.window, UVM_READAHEAD_MAX);
    for (uint32_t window = UVM_READAHEAD_MAX / 2; window >= UVM_READAHEAD_MIN; window /= 2) {
        pgno = pgno > 50000 ? 20000 - window : 60000 + window;
        ck_assert_uint_eq(note(pgno, 1), 0);
        ck_assert_uint_eq(ra.window, window);
    }
    ck_assert_uint_eq(note(3, 1), 0);
    ck_assert_uint_eq(ra.window, 0);
    ck_assert_uint_eq(note(4, 1), UVM_READAHEAD_MIN); /* and begins small */
    ck_assert_uint_eq(start, 5);
}
END_TEST

/* One seek: the window shrinks, and goes on from the new place. */
START_TEST(test_seek)
{
    uint32_t pgno = 0;

    for (; pgno < 10000; pgno += 32)
        note(pgno, 32);
    ck_assert_uint_eq(note(40000, 32), 0);
    ck_assert_uint_eq(note(40032, 32), UVM_READAHEAD_MAX);
    ck_assert_uint_eq(start, 40064);
}
END_TEST

/* Requests of a sequential reader that overtake each other do not turn it off. */
START_TEST(test_out_of_order)
{
    uint32_t have = 0;

    note(0, 32);
    note(32, 32);
    for (uint32_t pgno = 64; pgno + 64 <= 20000; pgno += 64) {
        uint32_t n = note(pgno + 32, 32);
        if (n)
            have = start + n;
        n = note(pgno, 32);
        if (n)
            have = start + n;
        n = note(pgno + 64, 32);
        if (n)
            have = start + n;
        pgno += 32;
    }
    ck_assert_uint_gt(have, 20000);
}
END_TEST

START_TEST(test_limit)
{
    uint32_t n;

    note(0, 8);
    ck_assert_uint_eq(uvm_readahead_note(&ra, 8, 8, 20, &start), 4);
    ck_assert_uint_eq(start, 16);
    ck_assert_uint_eq(uvm_readahead_note(&ra, 16, 4, 20, &start), 0);
    setup();
    note(0, 8);
    ck_assert_uint_eq(uvm_readahead_note(&ra, 8, 8, 16, &start), 0);
    /* The file has become shorter behind the reader. */
    setup();
    note(100, 8);
    ck_assert_uint_eq(uvm_readahead_note(&ra, 108, 8, 50, &start), 0);
    /* Again and again to its end. */
    for (int i = 0; i < 3; i++) {
        uint32_t have = 0;
        for (uint32_t pgno = 0; pgno < 200; pgno += 10) {
            n = uvm_readahead_note(&ra, pgno, 10, 200, &start);
            ck_assert_uint_le(n ? start + n : 0, 200);
            have = n ? start + n : have;
        }
        ck_assert_uint_eq(have, 200);
    }
}
END_TEST

/* The last pages that there can be: sums do not wrap. */
START_TEST(test_wrap)
{
    ck_assert_uint_eq(uvm_readahead_note(&ra, UINT32_MAX - 16, 8, UINT32_MAX, &start), 0);
    ck_assert_uint_eq(uvm_readahead_note(&ra, UINT32_MAX - 8, 4, UINT32_MAX, &start), 4);
    ck_assert_uint_eq(start, UINT32_MAX - 4);
    ck_assert_uint_eq(uvm_readahead_note(&ra, UINT32_MAX - 4, 4, UINT32_MAX, &start), 0);
    ck_assert_uint_eq(uvm_readahead_note(&ra, UINT32_MAX - 1, 10, UINT32_MAX, &start), 0);
    ck_assert_uint_eq(ra.next, UINT32_MAX);
}
END_TEST

static Suite *suite_readahead(void)
{
    Suite *suite = suite_create("readahead");
    TCase *tc = tcase_create("readahead");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, test_sequential, 0, 5);
    tcase_add_test(tc, test_single);
    tcase_add_test(tc, test_random);
    tcase_add_loop_test(tc, test_strided, 0, 4);
    tcase_add_test(tc, test_turns_random);
    tcase_add_test(tc, test_seek);
    tcase_add_test(tc, test_out_of_order);
    tcase_add_test(tc, test_limit);
    tcase_add_test(tc, test_wrap);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_readahead)
