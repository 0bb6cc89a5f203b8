/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of the payloads of waiting writes is kept: whole while there is room, then heads, then a
 * page each; cuts between pages; what is given back makes room again.
 */
#include <stdint.h>
#include <string.h>

#include "daemon/util.h"
#include "fuse/payload.h"
#include "unit.h"

#define LEN   (1u << 20)
#define NMANY 1000u
#define P     UVM_PAGE_SIZE
#define FRESH UVM_PAYLOAD_FRESH

static char data[LEN];
static struct uvm_payload *kept[NMANY];
static unsigned nkept;

static void setup(void)
{
    for (size_t i = 0; i < LEN; i++)
        data[i] = (char)(i >> 9 ^ i);
    nkept = 0;
}

static void teardown(void)
{
    while (nkept)
        uvm_payload_free(kept[--nkept]);
    ck_assert_uint_eq(uvm_payload_charged(), 0);
}

/* => how much was kept, and it is right */
static size_t aside(uint64_t off, size_t len, int flags)
{
    size_t size = 0;

    kept[nkept] = uvm_payload_aside(data, off, len, flags, &size);
    ck_assert_ptr_nonnull(kept[nkept]);
    ck_assert_uint_le(size, len);
    ck_assert_mem_eq(kept[nkept]->mem, data, size);
    nkept++;
    return size;
}

START_TEST(test_whole)
{
    for (unsigned i = 0; i < UVM_ASIDE_EASY / LEN; i++)
        ck_assert_uint_eq(aside(0, LEN, FRESH), LEN);
    ck_assert_uint_eq(uvm_payload_charged(), UVM_ASIDE_EASY);
    ck_assert_uint_eq(aside(0, LEN, FRESH), UVM_ASIDE_HEAD);
    uvm_payload_free(kept[--nkept]);
    uvm_payload_free(kept[--nkept]);
    ck_assert_uint_eq(aside(0, LEN, FRESH), LEN); /* there is room again */

    for (unsigned i = 0; i < (UVM_ASIDE_HARD - UVM_ASIDE_EASY) / LEN; i++)
        ck_assert_uint_eq(aside(0, LEN, 0), LEN);
    ck_assert_uint_eq(aside(0, LEN, 0), UVM_ASIDE_HEAD);
}
END_TEST

/* A thousand writers keep to the bound and a page each. */
START_TEST(test_bound)
{
    size_t heads = 0, pages = 0;

    for (unsigned i = 0; i < NMANY; i++) {
        size_t size = aside(0, LEN, i & 1 ? FRESH : 0);
        heads += size == UVM_ASIDE_HEAD;
        pages += size == P;
        ck_assert(size == LEN || size == UVM_ASIDE_HEAD || size == P);
        ck_assert_uint_le(uvm_payload_charged(), UVM_ASIDE_MAX + pages * P);
    }
    ck_assert_uint_ge(heads, 100);
    ck_assert_uint_ge(pages, 800);
}
END_TEST

START_TEST(test_between_pages)
{
    for (unsigned i = 0; i < UVM_ASIDE_EASY / LEN; i++)
        aside(0, LEN, FRESH);
    ck_assert_uint_eq(aside(100, LEN, FRESH), UVM_ASIDE_HEAD - 100);
    ck_assert_uint_eq(aside(100, UVM_ASIDE_HEAD - 50, FRESH), UVM_ASIDE_HEAD - 100);
    ck_assert_uint_eq(aside(0, P + 1, FRESH), P + 1); /* not more than a head */
    while (uvm_payload_charged() + UVM_ASIDE_HEAD <= UVM_ASIDE_MAX)
        aside(0, LEN, FRESH);
    ck_assert_uint_eq(aside(5 * P - 1, LEN, FRESH), 1);
    ck_assert_uint_eq(aside(5 * P, LEN, FRESH), P);
    ck_assert_uint_eq(aside(100, 200, FRESH), 200);
    ck_assert_uint_eq(aside(100, P, FRESH), P - 100);
}
END_TEST

static Suite *payload_suite(void)
{
    Suite *suite = suite_create("payload");
    TCase *tc = tcase_create("payload");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_whole);
    tcase_add_test(tc, test_bound);
    tcase_add_test(tc, test_between_pages);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(payload_suite)
