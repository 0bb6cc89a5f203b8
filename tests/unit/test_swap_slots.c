/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run allocator, case by case, and against a model that is an array of states.
 */
#include "daemon/pager/swap_slots.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static struct uvm_slotmap map;

static void teardown(void)
{
    uvm_slotmap_fini(&map);
}

static void make(uint32_t nslots)
{
    ck_assert_int_eq(uvm_slotmap_init(&map, nslots), 0);
}

START_TEST(test_next_fit)
{
    make(1000);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 10), 0);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 20), 10);
    ck_assert_uint_eq(uvm_slotmap_free(&map, 0, 10), 0);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 5), 30); /* not the hole behind */
    ck_assert_uint_eq(map.inuse, 25);
    for (uint32_t at = 35; at + 193 <= 1000; at += 193)
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 193), at);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 10), 0); /* round to the hole */
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), UVM_SLOTS_NONE);
}
END_TEST

START_TEST(test_exhaust_and_reuse)
{
    make(777);
    for (uint32_t i = 0; i < 777; i++)
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), i);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), UVM_SLOTS_NONE);
    ck_assert_uint_eq(map.inuse, 777);
    uvm_slotmap_free(&map, 776, 1);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 2), UVM_SLOTS_NONE);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), 776);
    uvm_slotmap_free(&map, 300, 3);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 3), 300);
}
END_TEST

/* Two frees that make one run, over the border of a word and of a block. */
START_TEST(test_merge)
{
    static const uint32_t border[] = {64, 128, 4096, 8192};

    make(3 * 4096);
    for (uint32_t i = 0; i < 3 * 4096; i += 256)
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 256), i);
    for (unsigned i = 0; i < 4; i++) {
        uint32_t at = border[i] - 6;
        uvm_slotmap_free(&map, at, 6);
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 7), UVM_SLOTS_NONE);
        uvm_slotmap_free(&map, at + 6, 6);
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 13), UVM_SLOTS_NONE);
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 12), at);
        /* And the other way round. */
        uvm_slotmap_free(&map, at + 6, 6);
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 7), UVM_SLOTS_NONE);
        uvm_slotmap_free(&map, at, 6);
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 12), at);
    }
}
END_TEST

START_TEST(test_long_free)
{
    make(20000);
    for (uint32_t i = 0; i < 20000; i += 100)
        ck_assert_uint_eq(uvm_slotmap_alloc(&map, 100), i);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), UVM_SLOTS_NONE);
    uvm_slotmap_free(&map, 50, 19900); /* one call, longer than a block */
    ck_assert_uint_eq(map.inuse, 100);
    for (unsigned i = 0; i < 19900 / 256; i++)
        ck_assert_uint_ne(uvm_slotmap_alloc(&map, 256), UVM_SLOTS_NONE);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 256), UVM_SLOTS_NONE);
    ck_assert_uint_ne(uvm_slotmap_alloc(&map, 19900 % 256), UVM_SLOTS_NONE);
}
END_TEST

START_TEST(test_bad_and_suspect)
{
    make(300);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 256), 0);
    uvm_slotmap_bad(&map, 10, 2);
    ck_assert_uint_eq(map.bad, 2);
    ck_assert_uint_eq(map.inuse, 254);
    ck_assert(!uvm_slotmap_allocated(&map, 10, 1));
    uvm_slotmap_suspect(&map, 20);
    ck_assert(uvm_slotmap_allocated(&map, 20, 1));
    ck_assert_uint_eq(map.bad, 2);
    ck_assert_uint_eq(uvm_slotmap_free(&map, 0, 10), 0);
    ck_assert_uint_eq(uvm_slotmap_free(&map, 12, 244), 1);
    ck_assert_uint_eq(map.bad, 3);
    ck_assert_uint_eq(map.inuse, 0);
    /* All the rest can be had, the bad ones never. */
    for (unsigned i = 0; i < 297; i++) {
        uint32_t slot = uvm_slotmap_alloc(&map, 1);
        ck_assert(slot < 300 && slot != 10 && slot != 11 && slot != 20);
    }
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), UVM_SLOTS_NONE);
}
END_TEST

START_TEST(test_tiny)
{
    make(1);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 2), UVM_SLOTS_NONE);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), 0);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), UVM_SLOTS_NONE);
    uvm_slotmap_free(&map, 0, 1);
    ck_assert_uint_eq(uvm_slotmap_alloc(&map, 1), 0);
    ck_assert(!uvm_slotmap_allocated(&map, 0, 2));
    ck_assert(!uvm_slotmap_allocated(&map, 1, 1));
}
END_TEST

/* Well under a byte a slot. */
START_TEST(test_memory)
{
    make(1u << 20);
    uint64_t bytes = 2 * map.nwords * sizeof(uint64_t) + map.nblocks * sizeof(uint16_t);
    ck_assert_uint_le(bytes * 3, 1u << 20);
}
END_TEST

enum { FREE, USED, SUSPECT, BAD };

#define MODEL_SLOTS 13001u

static uint8_t model[MODEL_SLOTS];
static uint64_t rng;

static uint32_t draw(uint32_t n)
{
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rng >> 33) % n;
}

static bool model_has_run(uint32_t n)
{
    uint32_t run = 0;

    for (uint32_t i = 0; i < MODEL_SLOTS; i++) {
        run = model[i] == FREE ? run + 1 : 0;
        if (run == n)
            return true;
    }
    return false;
}

static void model_alloc(uint32_t n)
{
    uint32_t slot = uvm_slotmap_alloc(&map, n);

    if (slot == UVM_SLOTS_NONE) {
        ck_assert_msg(!model_has_run(n), "a run of %u was overlooked", n);
        return;
    }
    ck_assert_uint_le(slot + n, MODEL_SLOTS);
    for (uint32_t i = slot; i < slot + n; i++) {
        ck_assert_int_eq(model[i], FREE);
        model[i] = USED;
    }
}

/* Give back, or break, what is allocated from a random place on, up to max slots of it. */
static void model_release(uint32_t max, bool bad)
{
    uint32_t at = draw(MODEL_SLOTS), n = 0, nbad = 0;

    while (at < MODEL_SLOTS && model[at] != USED && model[at] != SUSPECT)
        at++;
    for (; at + n < MODEL_SLOTS && n < max; n++) {
        uint8_t *state = &model[at + n];
        if (*state != USED && *state != SUSPECT)
            break;
        nbad += *state == SUSPECT;
        *state = bad || *state == SUSPECT ? BAD : FREE;
    }
    if (n && bad)
        uvm_slotmap_bad(&map, at, n);
    else if (n)
        ck_assert_uint_eq(uvm_slotmap_free(&map, at, n), nbad);
}

static void model_check(void)
{
    uint32_t used = 0, bad = 0;

    for (uint32_t i = 0; i < MODEL_SLOTS; i++) {
        used += model[i] == USED || model[i] == SUSPECT;
        bad += model[i] == BAD;
    }
    ck_assert_uint_eq(map.inuse, used);
    ck_assert_uint_eq(map.bad, bad);
}

START_TEST(test_model)
{
    rng = (uint64_t)_i + 1;
    memset(model, FREE, sizeof(model));
    make(MODEL_SLOTS);
    for (unsigned step = 0; step < 20000; step++) {
        uint32_t what = draw(100), at;
        /* Fill for a while, drain for a while, so that all densities are met. */
        uint32_t fill = step / 2000 % 2 ? 30 : 65;
        if (what < fill)
            model_alloc(draw(2) ? 1 + draw(UVM_CLUSTER_PAGES) : 1 + draw(9));
        else if (what < 98)
            model_release(draw(3) ? 1 + draw(12) : 1 + draw(600), false);
        else if (what < 99 && draw(4) == 0)
            model_release(1 + draw(3), true);
        else if (model[at = draw(MODEL_SLOTS)] == USED) {
            model[at] = SUSPECT;
            uvm_slotmap_suspect(&map, at);
        }
        if (step % 500 == 0)
            model_check();
    }
    model_check();
}
END_TEST

static Suite *slots_suite(void)
{
    Suite *s = suite_create("swap_slots");
    TCase *tc = tcase_create("swap_slots");

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_next_fit);
    tcase_add_test(tc, test_exhaust_and_reuse);
    tcase_add_test(tc, test_merge);
    tcase_add_test(tc, test_long_free);
    tcase_add_test(tc, test_bad_and_suspect);
    tcase_add_test(tc, test_tiny);
    tcase_add_test(tc, test_memory);
    tcase_add_loop_test(tc, test_model, 0, 4);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(slots_suite)
