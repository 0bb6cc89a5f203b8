/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads and writes with something happening in their middle: the page goes to swap or to somebody
 * else, the file is truncated, the host has no memory, the client gives up.
 *
 * The middle is reached through the linker (--wrap): the next pmap_kva() of the code under test is
 * where a read is about to copy from the arena and a write to it, the next pmap_enter() where bytes
 * are installed. No lock is held there, so a hook may do what another thread could.
 */
#include <errno.h>

#include "daemon/pager/swap.h"
#include "daemon/protect.h"
#include "vnode_rig.h"

#define NPAGES 512u
#define P      UVM_PAGE_SIZE

void *__real_pmap_kva(uint32_t apage);
void *__wrap_pmap_kva(uint32_t apage);
int __real_pmap_enter(uint32_t apage, uint32_t n, const void *src, int prot);
int __wrap_pmap_enter(uint32_t apage, uint32_t n, const void *src, int prot);

static void (*on_kva)(void), (*on_enter)(void);
static int enter_error;

static void run_hook(void (**at)(void))
{
    void (*hook)(void) = *at;

    *at = NULL;
    if (hook) {
        uvm_lock_assert_none();
        hook();
    }
}

void *__wrap_pmap_kva(uint32_t apage)
{
    run_hook(&on_kva);
    return __real_pmap_kva(apage);
}

int __wrap_pmap_enter(uint32_t apage, uint32_t n, const void *src, int prot)
{
    run_hook(&on_enter);
    return enter_error ? enter_error : __real_pmap_enter(apage, n, src, prot);
}

static struct uvm_object *uobj;
static char page[P], zero[P];

static void setup(void)
{
    core_up(NPAGES);
    core_swap();
    uobj = core_object();
}

static void teardown(void)
{
    ck_assert(!on_kva && !on_enter); /* every hook has run */
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

/* The page's bytes are the pattern of core_fill but for [from, to), which is `with`. */
static void check_patched(uint32_t pgno, uint32_t from, uint32_t to, char with)
{
    char want[P];

    core_pattern(want, uobj->id, pgno, 1);
    memset(want + from, with, to - from);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(pgno), page, P, 0), 0);
    ck_assert_mem_eq(page, want, P);
}

static void check_zero(uint32_t pgno)
{
    memset(page, 0xff, P);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(pgno), page, P, 0), 0);
    ck_assert_mem_eq(page, zero, P);
}

/* Promise everything that is left. => how many pages that was */
static uint64_t use_up(void)
{
    uint64_t total, avail;

    uvm_reserve_space(&total, &avail);
    ck_assert_int_eq(uvm_reserve((uint32_t)avail, NULL), UVM_RESERVED);
    return avail;
}

static void reclaim(void)
{
}

/* --- the arena moves --- */

static char other_page[P];

/* The object's page goes, and another object's takes its place in the arena. */
static void change_hands(void)
{
    struct uvm_object *other = core_object();
    uint32_t window = core_page(uobj, 0)->apage / UVM_WINDOW_PAGES, index;
    uint64_t id;

    core_flush(uobj, 0, 1, PGO_FREE);
    ck_assert_int_eq(core_write(other, 0, other_page, P, 0), 0);
    ck_assert_ptr_eq(pmap_window_owner(window, &id, &index), other);
}

/* P8: the copy of a window that has changed hands is thrown away. */
START_TEST(test_read_window_changed_hands)
{
    memset(other_page, 's', P);
    core_fill(uobj, 0, 1, 1);
    struct uvm_object *o;
    on_kva = change_hands;
    check_zero(0);
    ck_assert_uint_eq(uvm_stat_get(flt_regen), 1);
    ck_assert_ptr_nonnull(o = uvm_object_next(uobj->id));
    core_gone(o);
    core_gone(o);
}
END_TEST

static void evict(void)
{
    core_pageout(uobj, 0, 1);
}

/* The page goes to swap under the copy: the bytes are right all the same. */
START_TEST(test_read_page_evicted)
{
    core_fill(uobj, 0, 1, 1);
    on_kva = evict;
    core_verify(uobj, 0, 1, 1);
    ck_assert_uint_eq(uvm_stat_get(flt_regen), 1);
    ck_assert_uint_eq(uvm_stat_get(pageins), 1);
}
END_TEST

static void stray_zeroes(void)
{
    uint32_t apage = core_page(uobj, 5)->apage;

    core_flush(uobj, 5, 6, PGO_FREE);
    pmap_stray(apage, uobj->id, false);
}

/* A stray fault's zeroes void every copy of their window. */
START_TEST(test_read_stray)
{
    core_fill(uobj, 0, 6, 1);
    on_kva = stray_zeroes;
    ck_assert_int_eq(core_read(uobj, 0, page, P, 0), 0);
    ck_assert(core_is_pattern(page, uobj->id, 0, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_regen), 1);
    core_fill(uobj, 5, 1, 2); /* the zeroes give way */
    core_verify(uobj, 5, 1, 2);
}
END_TEST

/* No memory in the host: what was there stays there. */
START_TEST(test_enter_fails)
{
    core_fill(uobj, 1, 2, 1);
    core_pageout(uobj, 1, 2);
    uint32_t slot = core_slot(uobj, 1);
    enter_error = -ENOMEM;
    memset(page, 'z', P);
    ck_assert_int_eq(core_write(uobj, 0, page, P, 0), -ENOMEM);
    ck_assert_int_eq(core_write(uobj, uvm_ptoa(1), page, P, 0), -ENOMEM);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(1), page, P, 0), -ENOMEM);
    enter_error = 0;
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_HOLE);
    ck_assert_uint_eq(core_slot(uobj, 1), slot);
    ck_assert_uint_eq(uvm_stat_get(reserved), 3);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    check_zero(0);
    core_verify(uobj, 1, 2, 1);
}
END_TEST

/* --- waiting --- */

START_TEST(test_waits_for_busy_page)
{
    struct core_req rd, wr;

    core_fill(uobj, 0, 3, 1);
    struct vm_page *busy = core_busy(uobj, 1);
    core_start_read(&rd, uobj, uvm_ptoa(1), page, P, 0);
    core_start_write(&wr, uobj, 0, zero, P, 0); /* not that page */
    core_run();
    ck_assert_uint_eq(rd.ndone, 0);
    ck_assert_uint_eq(wr.ndone, 1);
    core_start_write(&wr, uobj, uvm_ptoa(1) + 9, "x", 1, 0);
    core_run();
    ck_assert_uint_eq(wr.ndone, 0);
    core_letgo(busy);
    core_run();
    ck_assert_uint_eq(rd.ndone, 1);
    ck_assert_uint_eq(wr.ndone, 1);
    check_patched(1, 9, 10, 'x');
}
END_TEST

START_TEST(test_write_waits_for_pages)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct core_req req;

    memset(page, 'p', P);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    core_start_write(&req, uobj, 0, page, P, 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
}
END_TEST

/* No page will come: what needs none is written all the same. */
START_TEST(test_write_gets_no_pages)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    static char two[2 * P];
    struct core_req req;

    core_fill(uobj, 0, 1, 1);
    memset(two, 'p', sizeof(two));
    ck_assert(uvm_pagealloc(NPAGES - 1 - UVM_PAGE_RESERVE, &list, 0, NULL));
    core_start_write(&req, uobj, 0, two, sizeof(two), 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    uvm_pagewait_fail();
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -EIO);
    ck_assert_uint_eq(req.rw.at, P);
    uvm_pageput(&list);
    check_patched(0, 0, P, 'p');
    ck_assert_uint_eq(core_tag(uobj, 1), UVM_E_EMPTY);
}
END_TEST

static int fake_revoke(uint64_t object, uint64_t off, uint64_t len)
{
    return 0;
}

/* The object is frozen while a write waits. _i: a write(2), or the kernel's: that was stored before */
START_TEST(test_frozen_while_waiting)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct core_req req;

    memset(page, 'p', P);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    core_start_write(&req, uobj, 0, page, P, _i ? UVM_RW_FORCE : 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert_int_eq(uvm_protect_set(uobj, UVM_PROT_READ, fake_revoke), 0);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, _i ? 0 : -EROFS);
    ck_assert_uint_eq(uobj->nresident, _i);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES - (uint64_t)_i);
}
END_TEST

/* Cancelled: one answer, and nothing is kept. */
START_TEST(test_cancel)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct core_req req;

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    core_start_write(&req, uobj, 0, page, P, 0);
    uvm_write_cancel(&req.rw);
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -EINTR);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    uvm_pageput(&list);

    uvm_reserve_set_reclaim(reclaim);
    uint64_t n = use_up();
    core_start_write(&req, uobj, 0, page, P, 0);
    uvm_write_cancel(&req.rw);
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -EINTR);
    uvm_unreserve(n);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_EMPTY);
}
END_TEST

/* Parked with some of it written: it ends there, unless it would have gone on over a page that the
 * client cache may hold. */
START_TEST(test_cancel_in_the_middle)
{
    CLEANUP_FREE char *buf = calloc(130, P);
    struct core_req req;

    uvm_reserve_set_reclaim(reclaim);
    uint64_t n = use_up();
    uvm_unreserve(64);
    core_start_write(&req, uobj, 0, buf, 130 * P, 0);
    core_run();
    uvm_write_cancel(&req.rw);
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -EINTR);
    ck_assert_uint_eq(req.rw.at, 64 * P); /* the first window */

    uvm_unreserve(1);
    core_fill(uobj, 129, 1, 1); /* the last page of what is to be written */
    core_start_write(&req, uobj, 0, buf, 130 * P, 0);
    core_run();
    uvm_write_cancel(&req.rw);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert_uint_eq(uvm_reserve_fail_parked(UINT64_MAX), 1);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -ENOSPC);
    uvm_unreserve(n - 65);
}
END_TEST

/* The kernel forgets the pages of a write that fails: one that may be in its cache must not be there. */
START_TEST(test_cancel_delivered)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct core_req req;

    core_fill(uobj, 0, 1, 1);
    core_pageout(uobj, 0, 1);
    uint32_t n = (uint32_t)uvm_stat_get(free) - UVM_PAGE_RESERVE;
    ck_assert(uvm_pagealloc(n, &list, 0, NULL));
    core_start_write(&req, uobj, 0, zero, P, 0);
    uvm_write_cancel(&req.rw);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
    check_zero(0);
}
END_TEST

/* Zeroes on loan may be anywhere in the client cache. */
START_TEST(test_cancel_lent)
{
    struct core_req req, rd;

    uvm_reserve_set_reclaim(reclaim);
    uint64_t n = use_up();
    core_start_read(&rd, uobj, 0, page, P, UVM_RW_READONLY);
    ck_assert_uint_eq(uvm_reserve_fail_parked(UINT64_MAX), 1);
    core_run();
    ck_assert_uint_eq(rd.rw.lent, 1);
    core_start_write(&req, uobj, 0, page, P, 0);
    uvm_write_cancel(&req.rw);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    uvm_reserve_return(1);
    uvm_write_cancel(&req.rw);
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, -EINTR);
    uvm_unreserve(n);
}
END_TEST

/* A busy page comes free by itself, and so does an answer that is on its way: no cancelling. */
START_TEST(test_cancel_too_late)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct core_req req;

    core_fill(uobj, 0, 1, 1);
    struct vm_page *busy = core_busy(uobj, 0);
    core_start_write(&req, uobj, 0, "x", 1, 0);
    uvm_write_cancel(&req.rw);
    ck_assert_uint_eq(req.ndone, 0);
    core_letgo(busy);
    uvm_write_cancel(&req.rw);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);

    uint32_t n = (uint32_t)uvm_stat_get(free) - UVM_PAGE_RESERVE;
    ck_assert(uvm_pagealloc(n, &list, 0, NULL));
    core_start_write(&req, uobj, P, page, P, 0);
    uvm_pageput(&list);
    uvm_write_cancel(&req.rw);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
}
END_TEST

/* --- truncation in the middle --- */

static void truncate_all(void)
{
    core_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
}

static void check_gone(void)
{
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(core_tag(uobj, i), UVM_E_EMPTY);
    ck_assert_uint_eq(uobj->nresident, 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    check_zero(0);
}

START_TEST(test_truncate_during_write_resident)
{
    core_fill(uobj, 0, 3, 1);
    on_kva = truncate_all;
    memset(page, 't', P);
    ck_assert_int_eq(core_write(uobj, P, page, P, 0), 0);
    check_gone();
}
END_TEST

START_TEST(test_truncate_during_write_fresh)
{
    on_enter = truncate_all;
    memset(page, 't', P);
    ck_assert_int_eq(core_write(uobj, P, page, P, 0), 0);
    check_gone();
}
END_TEST

START_TEST(test_truncate_during_write_slot)
{
    core_fill(uobj, 0, 3, 1);
    core_pageout(uobj, 0, 3);
    on_enter = truncate_all;
    memset(page, 't', P);
    ck_assert_int_eq(core_write(uobj, P, page, P, 0), 0);
    check_gone();
}
END_TEST

/* Nothing can be installed, and what could not be installed is truncated. */
START_TEST(test_truncate_during_failing_write)
{
    core_fill(uobj, 1, 1, 1);
    core_pageout(uobj, 1, 1);
    on_enter = truncate_all;
    enter_error = -ENOMEM;
    ck_assert_int_eq(core_write(uobj, P, page, P, 0), -ENOMEM);
    enter_error = 0;
    check_gone();
}
END_TEST

/* A page-in on a read's behalf is overtaken by truncation: the read finds a hole. */
START_TEST(test_truncate_during_page_in)
{
    core_fill(uobj, 0, 3, 1);
    core_pageout(uobj, 0, 3);
    on_enter = truncate_all;
    memset(page, 0xff, P);
    ck_assert_int_eq(core_read(uobj, P, page, P, 0), 0);
    ck_assert_mem_eq(page, zero, P);
    ck_assert_uint_eq(core_tag(uobj, 1), UVM_E_HOLE);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
}
END_TEST

/* A part is zeroed of a page that goes away while it is paged in for that. */
START_TEST(test_truncate_during_zero_part)
{
    core_fill(uobj, 0, 1, 1);
    core_pageout(uobj, 0, 1);
    on_enter = truncate_all;
    ck_assert_int_eq(core_write(uobj, 10, NULL, 20, 0), 0);
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

/* --- the file changes --- */

static struct uvm_object *file;
static int file_fd;

static void change_file(void)
{
    core_pattern(page, file->id, 3, 9);
    ck_assert_int_eq(pwrite(file_fd, page, P, (off_t)uvm_ptoa(3)), P);
    uvn_invalidate(file, uvm_ptoa(8));
}

/* Somebody else changes the file when its bytes have been read and are being installed: they are not
 * kept, and the reader has the new ones. */
START_TEST(test_file_changes_during_page_in)
{
    file = rig_vnode(RIG_DIRECT, uvm_ptoa(8), &file_fd);
    on_enter = change_file;
    core_verify(file, 3, 1, 9);
    core_verify(file, 3, 1, 9);
    core_check_object(file);
    core_gone(file);
    close(file_fd);
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static Suite *races_suite(void)
{
    Suite *s = suite_create("rw races");

    TCase *tc = add_case(s, "the arena moves");
    tcase_add_test(tc, test_read_window_changed_hands);
    tcase_add_test(tc, test_read_page_evicted);
    tcase_add_test(tc, test_read_stray);
    tcase_add_test(tc, test_enter_fails);

    tc = add_case(s, "waiting");
    tcase_add_test(tc, test_waits_for_busy_page);
    tcase_add_test(tc, test_write_waits_for_pages);
    tcase_add_test(tc, test_write_gets_no_pages);
    tcase_add_loop_test(tc, test_frozen_while_waiting, 0, 2);
    tcase_add_test(tc, test_cancel);
    tcase_add_test(tc, test_cancel_in_the_middle);
    tcase_add_test(tc, test_cancel_delivered);
    tcase_add_test(tc, test_cancel_lent);
    tcase_add_test(tc, test_cancel_too_late);

    tc = add_case(s, "truncation in the middle");
    tcase_add_test(tc, test_truncate_during_write_resident);
    tcase_add_test(tc, test_truncate_during_write_fresh);
    tcase_add_test(tc, test_truncate_during_write_slot);
    tcase_add_test(tc, test_truncate_during_failing_write);
    tcase_add_test(tc, test_truncate_during_page_in);
    tcase_add_test(tc, test_truncate_during_zero_part);

    tc = add_case(s, "the file changes");
    tcase_add_test(tc, test_file_changes_during_page_in);
    return s;
}

UNIT_MAIN(races_suite)
