/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flushes of a vnode, and changes of its file: what is in the file when they end, whoever else is at
 * it.
 */
#include "vnode_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/pager/pagermap.h"

#define PAGES 600u

static unsigned ncleaned;
static uint64_t cleaned_id;

static void cleaned(uint64_t id)
{
    ncleaned++;
    cleaned_id = id;
}

static void setup(void)
{
    rig_up(RIG_DIRECT, uvm_ptoa(PAGES));
    uvn_set_cleaned(cleaned);
    ncleaned = 0;
}

static void teardown(void)
{
    rig_down();
}

static void check_file(uint32_t pgno, uint32_t n, unsigned version)
{
    for (uint32_t i = pgno; i < pgno + n; i++)
        ck_assert_msg(rig_file_is(i, version, UVM_PAGE_SIZE), "page %u of the file", i);
}

START_TEST(test_all)
{
    rig_store(0, 500, 1);
    core_loop.ndone = 0;
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    ck_assert_uint_eq(core_loop.ndone, 2); /* two clusters */
    check_file(0, 500, 1);
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    ck_assert_uint_eq(rig_obj->nresident, 500); /* clean pages stay */
    ck_assert_uint_eq(rig_flags(3), PG_CLEAN);
    ck_assert_uint_eq(ncleaned, 1);
    ck_assert_uint_eq(cleaned_id, rig_obj->id);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    ck_assert_uint_eq(core_loop.ndone, 2);
    ck_assert_uint_eq(ncleaned, 1);
}
END_TEST

START_TEST(test_range)
{
    rig_store(0, 100, 1);
    ck_assert_int_eq(rig_flush(20, 30, UVN_FLUSH), 0);
    ck_assert_uint_eq(rig_obj->ndirty, 90);
    check_file(20, 10, 1);
    check_file(19, 1, 0);
    check_file(30, 1, 0);
    ck_assert_uint_eq(ncleaned, 0);
    ck_assert_int_eq(rig_flush(5, 5, UVN_FLUSH), 0);
    ck_assert_uint_eq(rig_obj->ndirty, 90);
}
END_TEST

/* Every other page: many small clusters, more than are in flight at a time. */
START_TEST(test_scattered)
{
    for (uint32_t i = 0; i < 100; i++)
        rig_store(2 * i, 1, 1);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    for (uint32_t i = 0; i < 200; i++)
        check_file(i, 1, i % 2 ? 0 : 1);
    ck_assert_uint_eq(uvm_stat_get(vnpageouts), 100);
}
END_TEST

START_TEST(test_sync)
{
    static const enum uvn_sync how[] = {UVN_FSYNC, UVN_FDATASYNC};
    struct uvn_fault rule = {.syncs = true, .error = EIO};
    uint32_t seq = uvn_error_seq(rig_obj);

    rig_store(0, 3, 1);
    core_loop.ndone = 0;
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, how[_i]), 0);
    ck_assert_uint_eq(core_loop.ndone, 2);
    ck_assert_int_eq(uvn_inject(&rule), 0);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, how[_i]), -EIO);
    ck_assert_int_eq(uvn_error_since(rig_obj, &seq), -EIO);
}
END_TEST

START_TEST(test_error)
{
    uint32_t seq = uvn_error_seq(rig_obj);

    rig_store(0, 100, 1);
    rig_inject(true, 40, 2, ENOSPC, 0);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FSYNC), -ENOSPC);
    ck_assert_uint_eq(rig_obj->ndirty, 2);
    check_file(0, 40, 1);
    check_file(40, 2, 0);
    check_file(42, 58, 1);
    ck_assert_int_eq(uvn_error_since(rig_obj, &seq), -ENOSPC);
    ck_assert_uint_eq(ncleaned, 0);
    core_verify(rig_obj, 40, 2, 1);
    /* It is tried again whenever somebody waits for it. */
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FSYNC), -ENOSPC);
    uvn_inject_clear();
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FSYNC), 0);
    check_file(40, 2, 1);
    ck_assert_uint_eq(ncleaned, 1);
}
END_TEST

/* A file of which nothing can be written: no need to try every page. */
START_TEST(test_fruitless)
{
    for (uint32_t i = 0; i < 100; i++)
        rig_store(2 * i, 1, 1);
    rig_inject(true, 0, PAGES, EIO, 0);
    core_loop.ndone = 0;
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FSYNC), -EIO);
    ck_assert_uint_eq(rig_obj->ndirty, 100);
    ck_assert_uint_lt(core_loop.ndone, 40);
}
END_TEST

/* A flush in the middle. */
struct flushing {
    struct uvn_flush flush;
    unsigned ndone;
    int error;
};

static void flushing_done(struct uvn_flush *flush, int error)
{
    struct flushing *f = flush->arg;
    f->ndone++;
    f->error = error;
}

static void start_flush(struct flushing *f)
{
    *f = (struct flushing){.flush = {.uobj = rig_obj,
                                     .loop = &core_loop,
                                     .stop = UINT32_MAX,
                                     .done = flushing_done,
                                     .arg = f}};
    uvn_flush_start(&f->flush);
}

/* Two at a time: each ends when all is in the file. */
START_TEST(test_two)
{
    struct flushing a, b;

    rig_store(0, 300, 1);
    start_flush(&a);
    start_flush(&b);
    ck_assert_uint_eq(a.ndone + b.ndone, 0);
    core_run();
    ck_assert_uint_eq(a.ndone, 1);
    ck_assert_uint_eq(b.ndone, 1);
    ck_assert_int_eq(a.error | b.error, 0);
    check_file(0, 300, 1);
    ck_assert_uint_eq(uvm_stat_get(vnpgout), 300); /* once */
}
END_TEST

/* A page that somebody else is writing is waited for, and written again if that fails. */
START_TEST(test_busy)
{
    struct flushing f;

    rig_store(0, 3, 1);
    struct vm_page *pg = core_busy(rig_obj, 1);
    start_flush(&f);
    core_run();
    ck_assert_uint_eq(f.ndone, 0);
    check_file(0, 1, 1);
    core_letgo(pg);
    core_run();
    ck_assert_uint_eq(f.ndone, 1);
    check_file(1, 2, 1);
    /* One that is being brought in is not. */
    uint32_t n = 1;
    struct vm_pagelist one = TAILQ_HEAD_INITIALIZER(one);
    ck_assert(uvm_pagealloc(n, &one, 0, NULL));
    uvm_lock_acquire(&rig_obj->lock);
    struct uvm_leaf *leaf = uvm_leaf_make(rig_obj, 50);
    pg = TAILQ_FIRST(&one);
    uvm_object_addpage(rig_obj, leaf, 50, pg, __func__);
    uvm_lock_release(&rig_obj->lock);
    rig_store(60, 1, 1);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    check_file(60, 1, 1);
    uvm_lock_acquire(&rig_obj->lock);
    uvm_object_subpage(pg, UVM_E_EMPTY);
    uvm_lock_release(&rig_obj->lock);
    uvm_pageput_one(pg);
}
END_TEST

/* Somebody stores into the file all the time, before and behind where the flush is: it ends, with all
 * that was dirty when it began in the file. */
static unsigned nstored;

static void store_next(struct core_req *req)
{
    static char page[UVM_PAGE_SIZE];
    uint32_t pgno = nstored * 37 % 200;

    core_pattern(page, rig_obj->id, pgno, 2);
    core_start_write(req, rig_obj, uvm_ptoa(pgno), page, sizeof(page), 0);
}

static struct work_req {
    struct uvm_work work;
    struct core_req req;
    bool stop;
} storer;

static void store_work(struct uvm_work *work)
{
    if (storer.stop || nstored > 100000)
        return;
    store_next(&storer.req);
    nstored++;
    uvm_loop_post(&core_loop, &storer.work);
}

static void stop_storing(struct uvn_flush *flush, int error)
{
    flushing_done(flush, error);
    storer.stop = true;
}

START_TEST(test_stores)
{
    struct flushing f = {.flush = {.uobj = rig_obj,
                                   .loop = &core_loop,
                                   .stop = UINT32_MAX,
                                   .done = stop_storing,
                                   .arg = &f}};

    rig_store(0, 200, 1);
    storer.stop = false;
    storer.work.fn = store_work;
    uvm_loop_post(&core_loop, &storer.work);
    uvn_flush_start(&f.flush);
    core_run();
    ck_assert_uint_eq(f.ndone, 1);
    ck_assert_uint_lt(nstored, 2000);
    for (uint32_t i = 0; i < 200; i++)
        ck_assert(rig_file_is(i, 1, UVM_PAGE_SIZE) || rig_file_is(i, 2, UVM_PAGE_SIZE));
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
}
END_TEST

/* No room in the pager map: the flush waits for it, with nothing busy. */
START_TEST(test_no_room)
{
    void *kva[UVM_PAGERMAP_PAGES];
    uint32_t n = 0;
    struct flushing f;

    rig_store(0, 300, 1);
    while ((kva[n] = uvm_pagermapin(1, 0, NULL)))
        n++;
    start_flush(&f);
    core_run();
    ck_assert_uint_eq(f.ndone, 0);
    for (uint32_t i = 0; i < 300; i++)
        ck_assert_uint_eq(rig_flags(i) & PG_BUSY, 0);
    while (n > 0)
        uvm_pagermapout(kva[--n], 1);
    core_run();
    ck_assert_uint_eq(f.ndone, 1);
    check_file(0, 300, 1);
}
END_TEST

START_TEST(test_own_state)
{
    int error = 1;
    struct uvn_flush_state *state = uvn_flush_state_new();
    struct flushing f = {.flush = {.uobj = rig_obj,
                                   .loop = &core_loop,
                                   .stop = UINT32_MAX,
                                   .done = flushing_done,
                                   .arg = &f,
                                   .state = state}};

    for (error = 0; error < 3; error++) {
        rig_store(0, 3, 1);
        uvn_flush_start(&f.flush);
        core_run();
    }
    ck_assert_uint_eq(f.ndone, 3);
    ck_assert_ptr_eq(f.flush.state, state);
    uvn_flush_state_free(state);
}
END_TEST

/* A change in the middle. */
struct changing {
    struct uvn_change change;
    unsigned nbegun;
};

static void changing_begun(struct uvn_change *change)
{
    ((struct changing *)change->arg)->nbegun++;
}

static void start_change(struct changing *c, uint64_t from, uint64_t to, uint64_t size)
{
    *c = (struct changing){.change = {.uobj = rig_obj,
                                      .loop = &core_loop,
                                      .from = from,
                                      .to = to,
                                      .size = size,
                                      .begun = changing_begun,
                                      .arg = c}};
    uvn_change_begin(&c->change);
    ck_assert_uint_eq(c->nbegun, 0);
}

static void truncate_to(uint64_t size)
{
    struct changing c;

    start_change(&c, MIN(size, uvn_size(rig_obj)), UINT64_MAX, size);
    core_run();
    ck_assert_uint_eq(c.nbegun, 1);
    ck_assert_int_eq(ftruncate(rig_fd, (off_t)size), 0);
    uvn_change_end(&c.change, true);
    ck_assert_uint_eq(uvn_size(rig_obj), size);
}

/* Page-out, truncate: the write under way is waited for, so it cannot lengthen the file again. */
START_TEST(test_truncate_put)
{
    struct flushing f;
    struct changing c;

    rig_store(PAGES, 300, 1);
    start_flush(&f);
    start_change(&c, 100, UINT64_MAX, 100);
    ck_assert(!c.change.running);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 300));
    core_run();
    ck_assert_uint_eq(c.nbegun, 1);
    ck_assert_uint_eq(uvn_size(rig_obj), 100);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(PAGES + 300)); /* all of it, before the change began */
    ck_assert_int_eq(ftruncate(rig_fd, 100), 0);
    uvn_change_end(&c.change, true);
    core_run();
    ck_assert_uint_eq(f.ndone, 1);
    ck_assert_uint_eq(rig_size(), 100);
    ck_assert_uint_eq(rig_obj->ndirty, 0);
}
END_TEST

/* Truncate, page-out: nothing is written of what is going, not even by a flush that is under way, and
 * the rest up to the new size. */
START_TEST(test_truncate_flush)
{
    struct flushing f;
    struct changing c;
    char page[UVM_PAGE_SIZE];

    rig_store(PAGES, 300, 1);
    start_change(&c, uvm_ptoa(PAGES + 2) + 100, UINT64_MAX, uvm_ptoa(PAGES + 2) + 100);
    core_run();
    start_flush(&f);
    core_run();
    ck_assert_uint_eq(f.ndone, 0);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(PAGES)); /* its cluster waits as well */
    ck_assert_int_eq(ftruncate(rig_fd, (off_t)c.change.size), 0);
    uvn_change_end(&c.change, true);
    core_run();
    ck_assert_uint_eq(f.ndone, 1);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(PAGES + 2) + 100);
    check_file(PAGES, 2, 1);
    ck_assert(rig_file_is(PAGES + 2, 1, 100));
    ck_assert_ptr_null(core_page(rig_obj, PAGES + 3));
    /* Longer again: nothing of the old bytes. */
    truncate_to(uvm_ptoa(PAGES + 10));
    memset(page, 0, sizeof(page));
    char have[UVM_PAGE_SIZE];
    ck_assert_int_eq(core_read(rig_obj, uvm_ptoa(PAGES + 3), have, sizeof(have), 0), 0);
    ck_assert_mem_eq(page, have, sizeof(page));
}
END_TEST

/* The file could not be changed: everything is as it was. */
START_TEST(test_truncate_fails)
{
    struct changing c;

    rig_store(PAGES, 10, 1);
    start_change(&c, 0, UINT64_MAX, 0);
    core_run();
    ck_assert_uint_eq(uvn_size(rig_obj), 0);
    uvn_change_end(&c.change, false);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 10));
    core_verify(rig_obj, PAGES, 10, 1);
    core_verify(rig_obj, 0, 10, 0);
    start_change(&c, uvm_ptoa(PAGES + 10), UINT64_MAX, uvm_ptoa(PAGES + 20));
    core_run();
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 10));
    uvn_change_end(&c.change, false);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 10));
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(PAGES + 10));
}
END_TEST

/* The dirty pages go with a truncate, and nothing is left to clean. */
START_TEST(test_truncate_cleaned)
{
    rig_store(10, 10, 1);
    truncate_to(uvm_ptoa(10));
    ck_assert_uint_eq(ncleaned, 1);
    rig_store(10, 10, 1);
    struct vm_page *busy = core_busy(rig_obj, 15);
    truncate_to(uvm_ptoa(5));
    ck_assert_uint_eq(rig_obj->nresident, 1);
    ck_assert_uint_eq(rig_obj->ndirty, 1);
    core_letgo(busy);
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    rig_store(1, 1, 1);
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    ck_assert_uint_eq(ncleaned, 2);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(5));
}
END_TEST

/* A hole: who reads in it meanwhile waits, and sees the zeroes; what is beside it is not stopped. */
START_TEST(test_hole)
{
    static char buf[UVM_PAGE_SIZE], zero[UVM_PAGE_SIZE];
    struct changing c;
    struct core_req in, out;

    rig_store(21, 1, 1);
    start_change(&c, uvm_ptoa(20), uvm_ptoa(30), UVN_SAME_SIZE);
    core_run();
    core_start_read(&in, rig_obj, uvm_ptoa(25), buf, sizeof(buf), 0);
    core_start_read(&out, rig_obj, uvm_ptoa(30), buf, sizeof(buf), 0);
    core_run();
    ck_assert_uint_eq(in.ndone, 0);
    ck_assert_uint_eq(out.ndone, 1);
    ck_assert(core_is_pattern(buf, rig_obj->id, 30, 0));
    ck_assert_int_eq(fallocate(rig_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               (off_t)uvm_ptoa(20), (off_t)uvm_ptoa(10)),
                     0);
    uvn_change_end(&c.change, true);
    core_run();
    ck_assert_uint_eq(in.ndone, 1);
    ck_assert_int_eq(in.error, 0);
    ck_assert_mem_eq(buf, zero, sizeof(zero));
    ck_assert_int_eq(core_read(rig_obj, uvm_ptoa(21), buf, sizeof(buf), 0), 0);
    ck_assert_mem_eq(buf, zero, sizeof(zero));
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    core_verify(rig_obj, 0, 20, 0);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES));
}
END_TEST

/* A read under way when a change is asked for is waited for. */
START_TEST(test_change_get)
{
    static char buf[UVM_PAGE_SIZE];
    struct changing c;
    struct core_req in;

    core_start_read(&in, rig_obj, uvm_ptoa(25), buf, sizeof(buf), 0);
    start_change(&c, uvm_ptoa(20), uvm_ptoa(30), UVN_SAME_SIZE);
    ck_assert(!c.change.running);
    core_run();
    ck_assert_uint_eq(in.ndone, 1);
    ck_assert_uint_eq(c.nbegun, 1);
    uvn_change_end(&c.change, false);
}
END_TEST

/* Changes take turns. */
START_TEST(test_changes)
{
    struct changing a, b, d;
    struct flushing f;

    rig_store(0, 10, 1);
    start_change(&a, 0, UINT64_MAX, uvm_ptoa(8));
    start_change(&b, 0, UINT64_MAX, uvm_ptoa(6));
    start_change(&d, 0, UINT64_MAX, uvm_ptoa(7));
    start_flush(&f);
    core_run();
    ck_assert_uint_eq(a.nbegun, 1);
    ck_assert_uint_eq(b.nbegun, 0);
    uvn_change_end(&a.change, false);
    core_run();
    ck_assert_uint_eq(b.nbegun, 1);
    ck_assert_uint_eq(d.nbegun, 0);
    uvn_change_end(&b.change, false);
    core_run();
    ck_assert_uint_eq(d.nbegun, 1);
    ck_assert_uint_eq(f.ndone, 0);
    uvn_change_end(&d.change, false);
    core_run();
    ck_assert_uint_eq(f.ndone, 1);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES));
    check_file(0, 10, 1);
}
END_TEST

static Suite *suite_vnode_flush(void)
{
    Suite *suite = suite_create("vnode_flush");
    TCase *tc = tcase_create("flush");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_all);
    tcase_add_test(tc, test_range);
    tcase_add_test(tc, test_scattered);
    tcase_add_loop_test(tc, test_sync, 0, 2);
    tcase_add_test(tc, test_error);
    tcase_add_test(tc, test_fruitless);
    tcase_add_test(tc, test_two);
    tcase_add_test(tc, test_busy);
    tcase_add_test(tc, test_stores);
    tcase_add_test(tc, test_no_room);
    tcase_add_test(tc, test_own_state);
    suite_add_tcase(suite, tc);
    tc = tcase_create("change");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_truncate_put);
    tcase_add_test(tc, test_truncate_flush);
    tcase_add_test(tc, test_truncate_fails);
    tcase_add_test(tc, test_truncate_cleaned);
    tcase_add_test(tc, test_hole);
    tcase_add_test(tc, test_change_get);
    tcase_add_test(tc, test_changes);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_vnode_flush)
