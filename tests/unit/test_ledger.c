/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ledger: what is written is found again, also by somebody who only has the descriptor.
 */
#include "daemon/ledger.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/util.h"

#define NPAGES   1000
#define NWINDOWS 300

static void setup(void)
{
    struct uvm_error err = {0};
    ck_assert_msg(uvm_ledger_init(NPAGES, NWINDOWS, &err) == 0, "%s", err.msg);
}

static void teardown(void)
{
    uvm_ledger_fini();
    ck_assert_int_eq(uvm_ledger_fd(), -1);
}

START_TEST(test_layout)
{
    const struct uvm_ledger_header *h = uvm_ledger_header();

    ck_assert_uint_eq(h->magic, UVM_LEDGER_MAGIC);
    ck_assert_uint_eq(h->version, UVM_LEDGER_VERSION);
    ck_assert_uint_eq(h->page_size, UVM_PAGE_SIZE);
    ck_assert_uint_eq(h->npages, NPAGES);
    ck_assert_uint_eq(h->nwindows, NWINDOWS);
    ck_assert_uint_eq(h->windows_off % UVM_PAGE_SIZE, 0);
    ck_assert_uint_eq(h->pages_off % UVM_PAGE_SIZE, 0);
    ck_assert_uint_eq(h->slots_off % UVM_PAGE_SIZE, 0);
    ck_assert_uint_ge(h->windows_off, sizeof(*h));
    ck_assert_uint_ge(h->pages_off, h->windows_off + NWINDOWS * sizeof(struct uvm_ledger_window));
    ck_assert_uint_ge(h->slots_off, h->pages_off + NPAGES * sizeof(struct uvm_ledger_page));
}
END_TEST

START_TEST(test_all_free_at_first)
{
    for (uint32_t i = 0; i < NWINDOWS; i++)
        ck_assert_uint_eq(uvm_ledger_window(i)->object, 0);
    for (uint32_t i = 0; i < NPAGES; i++)
        ck_assert_uint_eq(uvm_ledger_page(i)->object, 0);
    ck_assert_uint_eq(uvm_ledger_slot(1)->object, 0);
    ck_assert_uint_eq(uvm_ledger_slot(UVM_SLOT_MAX - 1)->object, 0);
}
END_TEST

START_TEST(test_round_trip)
{
    uvm_ledger_window_set(NWINDOWS - 1, 7, 8, 9);
    const struct uvm_ledger_window *w = uvm_ledger_window(NWINDOWS - 1);
    ck_assert_uint_eq(w->object, 7);
    ck_assert_uint_eq(w->index, 8);
    ck_assert_uint_eq(w->gen, 9);
    uvm_ledger_window_set(NWINDOWS - 1, 0, 8, 10); /* free, but it has changed hands */
    ck_assert_uint_eq(w->object, 0);
    ck_assert_uint_eq(w->gen, 10);

    uvm_ledger_page_set(NPAGES - 1, ~0ull, 2, 3, 4, UVM_LEDGER_DIRTY);
    const struct uvm_ledger_page *p = uvm_ledger_page(NPAGES - 1);
    ck_assert_uint_eq(p->object, ~0ull);
    ck_assert_uint_eq(p->pgno, 2);
    ck_assert_uint_eq(p->apage, 3);
    ck_assert_uint_eq(p->slot, 4);
    ck_assert_uint_eq(p->flags, UVM_LEDGER_DIRTY);
    ck_assert_uint_eq(uvm_ledger_page(NPAGES - 2)->object, 0);
    uvm_ledger_page_clear(NPAGES - 1);
    ck_assert_uint_eq(p->object, 0);

    uvm_ledger_slot_set(UVM_SLOT_MAX - 1, 11, 12, 0x1234567890abcdefull);
    const struct uvm_ledger_slot *s = uvm_ledger_slot(UVM_SLOT_MAX - 1);
    ck_assert_uint_eq(s->object, 11);
    ck_assert_uint_eq(s->pgno, 12);
    ck_assert_uint_eq(s->sum, 0x1234567890abcdefull);
}
END_TEST

START_TEST(test_sequence)
{
    uvm_ledger_slot_set(5, 1, 1, 0);
    uvm_ledger_slot_set(3, 1, 1, 0);
    uint32_t older = uvm_ledger_slot(5)->seq;
    ck_assert_int_gt((int32_t)(uvm_ledger_slot(3)->seq - older), 0);
    uvm_ledger_slot_set(5, 1, 1, 0);
    ck_assert_int_gt((int32_t)(uvm_ledger_slot(5)->seq - uvm_ledger_slot(3)->seq), 0);
}
END_TEST

START_TEST(test_clear_run)
{
    for (uint32_t s = 10; s < 20; s++)
        uvm_ledger_slot_set(s, 1, s, s);
    uvm_ledger_slot_clear(12, 6);
    for (uint32_t s = 10; s < 20; s++)
        ck_assert_uint_eq(uvm_ledger_slot(s)->object, s < 12 || s >= 18 ? 1 : 0);
}
END_TEST

/* A process that has nothing but the descriptor. */
START_TEST(test_survives_in_the_descriptor)
{
    uvm_ledger_header()->arena_base = 0x7000;
    uvm_ledger_window_set(2, 21, 22, 23);
    uvm_ledger_page_set(3, 31, 32, 33, 34, 0);
    uvm_ledger_slot_set(1u << 20, 41, 42, 43);
    int fd = dup(uvm_ledger_fd());
    ck_assert_int_ge(fd, 0);
    uvm_ledger_fini();

    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    uint8_t *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    ck_assert_ptr_ne(base, MAP_FAILED);
    const struct uvm_ledger_header *h = (const void *)base;
    ck_assert_uint_eq(h->magic, UVM_LEDGER_MAGIC);
    ck_assert_uint_eq(h->arena_base, 0x7000);
    const struct uvm_ledger_window *w = (const void *)(base + h->windows_off);
    ck_assert_uint_eq(w[2].object, 21);
    ck_assert_uint_eq(w[2].index, 22);
    const struct uvm_ledger_page *p = (const void *)(base + h->pages_off);
    ck_assert_uint_eq(p[3].object, 31);
    ck_assert_uint_eq(p[3].slot, 34);
    const struct uvm_ledger_slot *s = (const void *)(base + h->slots_off);
    ck_assert_uint_eq(s[1u << 20].object, 41);
    ck_assert_uint_eq(s[1u << 20].sum, 43);
    ck_assert_uint_eq((uint64_t)st.st_size, h->slots_off + (uint64_t)UVM_SLOT_MAX * sizeof(*s));
    munmap(base, (size_t)st.st_size);
    close(fd);
    setup(); /* for teardown, and to see that it can be made again */
    ck_assert_uint_eq(uvm_ledger_window(2)->object, 0);
}
END_TEST

START_TEST(test_sparse_and_sealed)
{
    struct stat st;

    for (uint32_t s = 1; s < 1u << 30; s += 1u << 26)
        uvm_ledger_slot_set(s, 1, s, s);
    ck_assert_int_eq(fstat(uvm_ledger_fd(), &st), 0);
    /* 16 records far from each other, at most two pages each, and the header. */
    ck_assert_int_le(st.st_blocks * 512, (2 * 16 + 4) * (int)UVM_PAGE_SIZE);
    ck_assert_int_eq(ftruncate(uvm_ledger_fd(), 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_ne(fcntl(uvm_ledger_fd(), F_GETFD) & FD_CLOEXEC, 0);
}
END_TEST

START_TEST(test_out_of_range)
{
    struct uvm_error err = {0};

    uvm_ledger_fini();
    ck_assert_int_eq(uvm_ledger_init(1ull << 33, 1, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "4294967295"));
    setup();
}
END_TEST

static Suite *ledger_suite(void)
{
    Suite *s = suite_create("ledger");
    TCase *tc = tcase_create("ledger");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_layout);
    tcase_add_test(tc, test_all_free_at_first);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_sequence);
    tcase_add_test(tc, test_clear_run);
    tcase_add_test(tc, test_survives_in_the_descriptor);
    tcase_add_test(tc, test_sparse_and_sealed);
    tcase_add_test(tc, test_out_of_range);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(ledger_suite)
