/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager's transfers: what a page-in brings, with the end of the file, errors and changes in
 * its way; what a page-out writes, and no more; what becomes of pages that cannot be written.
 */
#include "vnode_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/pager/pagermap.h"

#define PAGES 600u

static char zero[UVM_PAGE_SIZE];

static void setup(void)
{
    rig_up(RIG_DIRECT, uvm_ptoa(PAGES));
}

static void teardown(void)
{
    rig_down();
}

/* Page pgno of the object is the pattern of a version up to byte len, and zeroes behind it. */
static void check_page(uint32_t pgno, unsigned version, size_t len)
{
    char want[UVM_PAGE_SIZE], have[UVM_PAGE_SIZE];

    core_pattern(want, rig_obj->id, pgno, version);
    memset(want + len, 0, sizeof(want) - len);
    ck_assert_int_eq(core_read(rig_obj, uvm_ptoa(pgno), have, sizeof(have), 0), 0);
    ck_assert_msg(memcmp(want, have, sizeof(want)) == 0, "page %u", pgno);
}

/* A fault on exactly these pages. */
static int fault_error;

static void fault_done(struct uvm_fault *fault, int error)
{
    fault_error = error;
}

static int fault_in(uint32_t pgno, uint32_t n)
{
    CLEANUP_FREE struct uvm_fault *fault = calloc(1, sizeof(*fault));

    fault->uobj = rig_obj;
    fault->loop = &core_loop;
    fault->pgno = pgno;
    fault->npages = n;
    fault->done = fault_done;
    fault_error = 1;
    uvm_fault_start(fault);
    core_run();
    ck_assert_int_ne(fault_error, 1);
    return fault_error;
}

START_TEST(test_get)
{
    core_loop.ndone = 0;
    ck_assert_int_eq(fault_in(10, 200), 0);
    ck_assert_uint_eq(core_loop.ndone, 1); /* one read for the run */
    ck_assert_uint_eq(uvm_stat_get(vnpageins), 1);
    ck_assert_uint_eq(uvm_stat_get(vnpgin), 200);
    ck_assert_uint_eq(rig_flags(10), PG_CLEAN);
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    ck_assert_uint_eq(rig_obj->nresident, 200);
    core_verify(rig_obj, 10, 200, 0);
    core_verify(rig_obj, 0, PAGES, 0);
}
END_TEST

/* Resident pages in between: the runs around them, side by side. */
START_TEST(test_get_runs)
{
    for (uint32_t i = 0; i < 5; i++)
        rig_store(20 + 10 * i, 1, 1);
    core_loop.ndone = 0;
    ck_assert_int_eq(fault_in(10, 60), 0);
    ck_assert_uint_eq(core_loop.ndone, 6);
    ck_assert_uint_eq(rig_obj->nresident, 60);
    core_verify(rig_obj, 10, 10, 0);
    core_verify(rig_obj, 20, 1, 1);
    core_verify(rig_obj, 21, 9, 0);
}
END_TEST

/* The file ends within a page, at any byte of a block: what is behind it is zeroes. */
START_TEST(test_get_end)
{
    static const uint32_t lens[] = {1, 511, 512, 513, 4095};
    uint32_t len = lens[_i % 5];

    rig_down();
    rig_up(_i / 5 ? RIG_BUFFERED : RIG_DIRECT, uvm_ptoa(9) + len);
    ck_assert_int_eq(fault_in(0, 12), 0);
    core_verify(rig_obj, 0, 9, 0);
    check_page(9, 0, len);
    check_page(10, 0, 0);
}
END_TEST

/* Beyond the end of the file but within the object's size: zeroes, without a look at the file. */
START_TEST(test_get_beyond)
{
    rig_store(PAGES + 50, 1, 1);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 51));
    uint64_t before = uvm_stat_get(vnpageins);
    ck_assert_int_eq(fault_in(PAGES, 50), 0);
    ck_assert_uint_eq(uvm_stat_get(vnpageins), before);
    for (uint32_t i = 0; i < 50; i++)
        check_page(PAGES + i, 0, 0);
    check_page(PAGES + 50, 1, UVM_PAGE_SIZE);
}
END_TEST

/* Somebody has made the file shorter behind our back: zeroes, no error; longer: what is there. */
START_TEST(test_get_truncated)
{
    static const uint64_t sizes[] = {0, 100, 4096 + 512, 8 * 4096, 20 * 4096 + 77};
    uint64_t size = sizes[_i];

    ck_assert_int_eq(ftruncate(rig_fd, (off_t)size), 0);
    ck_assert_int_eq(fault_in(0, 32), 0);
    for (uint32_t i = 0; i < 32; i++)
        check_page(i, 0, uvm_ptoa(i) >= size ? 0 : MIN(size - uvm_ptoa(i), UVM_PAGE_SIZE));
}
END_TEST

START_TEST(test_get_error)
{
    rig_inject(false, 17, 1, EIO, 0);
    rig_inject(false, 25, 2, ENOMEM, 0);
    ck_assert_int_ne(fault_in(10, 30), 0);
    ck_assert_uint_eq(rig_obj->nresident, 27); /* only the bad ones fail */
    ck_assert_uint_eq(uvm_stat_get(ioerrors), 3);
    core_verify(rig_obj, 10, 7, 0);
    ck_assert_int_eq(core_read(rig_obj, uvm_ptoa(17), zero, UVM_PAGE_SIZE, 0), -EIO);
    uvn_inject_clear();
    core_verify(rig_obj, 10, 30, 0); /* nothing is given up */
}
END_TEST

/* An error that passes costs nothing. */
START_TEST(test_get_retry)
{
    rig_inject(false, 0, PAGES, EIO, 1);
    ck_assert_int_eq(fault_in(10, 30), 0);
    core_verify(rig_obj, 10, 30, 0);
    ck_assert_uint_eq(uvm_stat_get(ioerrors), 0);
}
END_TEST

START_TEST(test_get_no_backing)
{
    ck_assert(uvn_set_backing(rig_obj, NULL));
    ck_assert_int_ne(fault_in(0, 4), 0);
    ck_assert_uint_eq(rig_obj->nresident, 0);
}
END_TEST

/* A read under way when the file is found to have changed brings what is there now. */
START_TEST(test_get_invalidated)
{
    CLEANUP_FREE struct uvm_fault *fault = calloc(1, sizeof(*fault));
    char page[UVM_PAGE_SIZE];

    fault->uobj = rig_obj;
    fault->loop = &core_loop;
    fault->npages = 4;
    fault->done = fault_done;
    uvm_fault_start(fault);
    uvn_invalidate(rig_obj, uvm_ptoa(PAGES));
    core_loop.ndone = 0;
    core_run();
    ck_assert_uint_eq(core_loop.ndone, 2);
    core_verify(rig_obj, 0, 4, 0);

    /* Clean pages are forgotten, dirty ones stay, and keep the size. */
    rig_store(1, 1, 1);
    rig_store(PAGES, 1, 1);
    core_pattern(page, rig_obj->id, 2, 7);
    ck_assert_int_eq(pwrite(rig_fd, page, sizeof(page), 2 * UVM_PAGE_SIZE), sizeof(page));
    uvn_invalidate(rig_obj, uvm_ptoa(3));
    ck_assert_uint_eq(rig_obj->nresident, 2);
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 1));
    check_page(0, 0, UVM_PAGE_SIZE);
    check_page(1, 1, UVM_PAGE_SIZE);
    check_page(2, 7, UVM_PAGE_SIZE);
    check_page(3, 0, 0);
}
END_TEST

/* The file is asked for its size, and then it is our own page-out that makes it longer. */
START_TEST(test_invalidated_late)
{
    uint64_t seen = uvn_size(rig_obj), size = rig_size();

    rig_store(PAGES, 1, 1);
    ck_assert_int_eq(rig_flush(0, PAGES + 1, UVN_FLUSH), 0);
    ck_assert_uint_eq(uvn_ndirty(rig_obj), 0);
    ck_assert(!uvn_invalidate_seen(rig_obj, seen, size));
    ck_assert_uint_eq(uvn_size(rig_obj), uvm_ptoa(PAGES + 1));
    ck_assert_uint_eq(rig_obj->nresident, 1);
    core_verify(rig_obj, PAGES, 1, 1);
    ck_assert(uvn_invalidate_seen(rig_obj, uvn_size(rig_obj), rig_size()));
    ck_assert_uint_eq(rig_obj->nresident, 0);
    core_verify(rig_obj, PAGES, 1, 1);
}
END_TEST

START_TEST(test_get_locked)
{
    CLEANUP_FREE struct uvm_getreq *req = calloc(1, sizeof(*req));
    uint32_t got;

    rig_store(10, 2, 1);
    req->uobj = rig_obj;
    req->pgno = 10;
    req->npages = 3;
    uvm_lock_acquire(&rig_obj->lock);
    ck_assert_int_eq(rig_obj->pgops->pgo_get(rig_obj, req, &got, 2, PGO_LOCKED), VM_PAGER_UNLOCK);
    uvm_lock_release(&rig_obj->lock);
    ck_assert_uint_eq(got, 2);
    ck_assert_ptr_null(req->pps[2]);
    core_letgo(req->pps[0]);
    core_letgo(req->pps[1]);
}
END_TEST

/* A page-out of the pagedaemon's: pages [pgno, pgno + n), of which the centre is to be freed. */
static struct uvm_cluster cl;
static uint32_t nok;

static void put_done(struct uvm_cluster *c, uint32_t n)
{
    ck_assert_uint_eq(nok, UINT32_MAX);
    nok = n;
}

static int start_put(uint32_t centre, int flags, int clflags)
{
    struct vm_page *pg = core_busy(rig_obj, centre);
    uint32_t lo, hi;

    memset(&cl, 0, sizeof(cl));
    pg->flags |= PG_PAGEOUT;
    uvm_stat_inc(paging);
    uvm_md->clear_modify(pg->apage, 1);
    uvm_lock_acquire(&rig_obj->lock);
    rig_obj->pgops->pgo_cluster(rig_obj, centre, &lo, &hi);
    cl.npages =
        rig_obj->pgops->pgo_mk_pcluster(rig_obj, cl.pps, UVM_CLUSTER_PAGES, pg, flags, lo, hi);
    uvm_lock_release(&rig_obj->lock);
    cl.uobj = rig_obj;
    cl.flags = clflags;
    cl.loop = &core_loop;
    cl.done = put_done;
    nok = UINT32_MAX;
    return uvm_pager_put(&cl);
}

static void put(uint32_t centre, uint32_t npages)
{
    ck_assert_int_eq(start_put(centre, PGO_DOACTCLUST, PGO_PDFREECLUST), VM_PAGER_PEND);
    core_run();
    ck_assert_uint_eq(nok, npages);
}

START_TEST(test_put)
{
    rig_store(100, 20, 1);
    ck_assert_uint_eq(rig_obj->ndirty, 20);
    ck_assert_uint_eq(uvm_stat_get(vndirty), 20);
    put(107, 20); /* both sides */
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    ck_assert_uint_eq(uvm_stat_get(vnpageouts), 1);
    ck_assert_uint_eq(uvm_stat_get(vnpgout), 20);
    ck_assert_ptr_null(core_page(rig_obj, 107)); /* the centre is free */
    ck_assert_uint_eq(rig_flags(106), PG_CLEAN);
    for (uint32_t i = 100; i < 120; i++)
        ck_assert(rig_file_is(i, 1, UVM_PAGE_SIZE));
    ck_assert(rig_file_is(99, 0, UVM_PAGE_SIZE));
    ck_assert(rig_file_is(120, 0, UVM_PAGE_SIZE));
    core_verify(rig_obj, 100, 20, 1);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(PAGES));
}
END_TEST

/* Clusters are aligned: they never straddle. */
START_TEST(test_put_aligned)
{
    rig_store(200, 100, 1);
    put(210, 56);
    put(280, 44);
}
END_TEST

/* The last block: not one byte more than the object has. */
START_TEST(test_put_tail)
{
    static const uint32_t lens[] = {1, 511, 512, 513, 1024, 4095, 4096};
    uint32_t len = lens[_i % 7];
    char page[UVM_PAGE_SIZE];

    rig_down();
    rig_up(_i / 7 ? RIG_BUFFERED : RIG_DIRECT, 0);
    core_pattern(page, rig_obj->id, 3, 1);
    ck_assert_int_eq(core_write(rig_obj, uvm_ptoa(3), page, len, 0), 0);
    put(3, 1);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(3) + len);
    ck_assert(rig_file_is(3, 1, len));
    check_page(3, 1, len);
    check_page(2, 0, 0);

    /* It grows, and is written again: the block that was the last is whole now. */
    rig_store(3, 2, 2);
    ck_assert_int_eq(core_write(rig_obj, uvm_ptoa(5), "x", 1, 0), 0);
    put(4, 3);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(5) + 1);
    ck_assert(rig_file_is(3, 2, UVM_PAGE_SIZE));
    ck_assert(rig_file_is(4, 2, UVM_PAGE_SIZE));
}
END_TEST

/* A page in the middle cannot be written: it alone stays, dirty and active. */
START_TEST(test_put_error)
{
    uint32_t seq = uvn_error_seq(rig_obj), other = seq;

    rig_store(100, 9, 1);
    rig_inject(true, 104, 1, ENOSPC, 0);
    put(107, 8);
    ck_assert_uint_eq(rig_obj->ndirty, 1);
    ck_assert_uint_eq(rig_flags(104), 0);
    ck_assert_uint_eq(core_page(rig_obj, 104)->pqflags, PQ_ACTIVE);
    ck_assert_ptr_null(core_page(rig_obj, 107));
    ck_assert(rig_file_is(103, 1, UVM_PAGE_SIZE));
    ck_assert(rig_file_is(104, 0, UVM_PAGE_SIZE));
    ck_assert_int_eq(cl.error, -ENOSPC);
    ck_assert_uint_eq(uvm_stat_get(ioerrors), 1);

    /* Everybody is told once. */
    ck_assert_int_eq(uvn_error_since(rig_obj, &seq), -ENOSPC);
    ck_assert_int_eq(uvn_error_since(rig_obj, &seq), 0);
    ck_assert_int_eq(uvn_error_since(rig_obj, &other), -ENOSPC);
    ck_assert_int_eq(uvn_error_since(rig_obj, &other), 0);

    /* It is left alone for a while, but not by those who wait for it. */
    ck_assert(uvn_failing(rig_obj));
    ck_assert_int_eq(start_put(104, PGO_DOACTCLUST, PGO_PDFREECLUST), VM_PAGER_ERROR);
    uvm_pager_dropcluster(cl.pps, cl.npages, NULL, 0);
    uvn_inject_clear();
    ck_assert_int_eq(start_put(104, PGO_DOACTCLUST, PGO_SYNCIO), VM_PAGER_PEND);
    core_run();
    ck_assert_uint_eq(nok, 1);
    ck_assert(rig_file_is(104, 1, UVM_PAGE_SIZE));
    ck_assert_int_eq(uvn_error_since(rig_obj, &seq), 0);
}
END_TEST

/* The whole cluster fails once: it is no error. */
START_TEST(test_put_retry)
{
    uint32_t seq = uvn_error_seq(rig_obj);

    rig_store(100, 9, 1);
    rig_inject(true, 100, 1, EIO, 1);
    put(104, 9);
    ck_assert_int_eq(uvn_error_since(rig_obj, &seq), 0);
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    for (uint32_t i = 100; i < 109; i++)
        ck_assert(rig_file_is(i, 1, UVM_PAGE_SIZE));
}
END_TEST

/* Nothing has happened when the pager map is full. */
START_TEST(test_put_full)
{
    void *kva[UVM_PAGERMAP_PAGES / UVM_CLUSTER_PAGES];

    rig_store(100, 9, 1);
    for (unsigned i = 0; i < sizeof(kva) / sizeof(kva[0]); i++)
        kva[i] = uvm_pagermapin(UVM_CLUSTER_PAGES, UVMPAGER_MAPIN_RESERVE, NULL);
    ck_assert_int_eq(start_put(104, PGO_DOACTCLUST, PGO_PDFREECLUST), VM_PAGER_AGAIN);
    uvm_pager_dropcluster(cl.pps, cl.npages, NULL, 0);
    ck_assert_uint_eq(rig_obj->ndirty, 9);
    for (unsigned i = 0; i < sizeof(kva) / sizeof(kva[0]); i++)
        uvm_pagermapout(kva[i], UVM_CLUSTER_PAGES);
}
END_TEST

/* The object's last reference goes while a cluster is being written: its pages are let go, and then
 * it is gone. */
START_TEST(test_put_dying)
{
    int fd;
    struct uvm_object *keep = rig_obj;

    rig_obj = rig_vnode(RIG_DIRECT, 0, &fd);
    rig_store(0, 9, 1);
    ck_assert_int_eq(start_put(4, PGO_DOACTCLUST, PGO_PDFREECLUST), VM_PAGER_PEND);
    core_gone(rig_obj);
    ck_assert_uint_eq(uvm_stat_get(objects), 1);
    core_run();
    ck_assert_uint_eq(uvm_stat_get(vndirty), 0);
    close(fd);
    rig_obj = keep;
}
END_TEST

/* A page that is stored to waits for the write; the newer bytes are written later. */
START_TEST(test_put_store)
{
    struct core_req req;
    char page[UVM_PAGE_SIZE];

    rig_store(5, 1, 1);
    ck_assert_int_eq(start_put(5, PGO_DOACTCLUST, PGO_PDFREECLUST), VM_PAGER_PEND);
    core_pattern(page, rig_obj->id, 5, 2);
    core_start_write(&req, rig_obj, uvm_ptoa(5), page, sizeof(page), 0);
    ck_assert_uint_eq(req.ndone, 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert(rig_file_is(5, 1, UVM_PAGE_SIZE));
    ck_assert_uint_eq(rig_obj->ndirty, 1);
    check_page(5, 2, UVM_PAGE_SIZE);
}
END_TEST

/* Zeroes for part of a page that is on the file only: it is paged in, and newer than the file then. Without
 * the flag it is left alone, and so is what lies behind the end. */
START_TEST(test_zero_absent)
{
    char want[UVM_PAGE_SIZE], have[UVM_PAGE_SIZE];

    core_pattern(want, rig_obj->id, 7, 0);
    ck_assert_int_eq(core_write(rig_obj, uvm_ptoa(7) + 100, NULL, 900, 0), 0);
    ck_assert_uint_eq(rig_obj->nresident, 0);
    ck_assert_int_eq(core_write(rig_obj, uvm_ptoa(7) + 100, NULL, 900, UVM_RW_ABSENT), 0);
    ck_assert_uint_eq(rig_obj->ndirty, 1);
    memset(want + 100, 0, 900);
    ck_assert_int_eq(core_read(rig_obj, uvm_ptoa(7), have, sizeof(have), 0), 0);
    ck_assert_int_eq(memcmp(want, have, sizeof(want)), 0);
    ck_assert_int_eq(rig_flush(0, PAGES, UVN_FLUSH), 0);
    ck_assert_int_eq(pread(rig_fd, have, sizeof(have), (off_t)uvm_ptoa(7)), sizeof(have));
    ck_assert_int_eq(memcmp(want, have, sizeof(want)), 0);
    ck_assert_uint_eq(rig_size(), uvm_ptoa(PAGES));
}
END_TEST

START_TEST(test_flags)
{
    rig_store(0, 3, 1);
    core_verify(rig_obj, 10, 3, 0);
    uint32_t n = (uint32_t)rig_obj->nresident;
    core_flush(rig_obj, 0, 2, PGO_DEACTIVATE);
    ck_assert_uint_eq(core_page(rig_obj, 1)->pqflags, PQ_INACTIVE);
    ck_assert_uint_eq(core_page(rig_obj, 2)->pqflags, PQ_ACTIVE);
    /* CLEANIT spares what is dirty. */
    core_flush(rig_obj, 0, 0, PGO_ALLPAGES | PGO_FREE | PGO_CLEANIT);
    ck_assert_uint_gt(n, 3);
    ck_assert_uint_eq(rig_obj->nresident, 3);
    struct uvm_object *due = uvn_dirty_next(0);
    ck_assert_ptr_eq(due, rig_obj);
    uvn_dirty_done(due, uvm_now_ns(), 0);
    struct vm_page *busy = core_busy(rig_obj, 1);
    core_flush(rig_obj, 1, 3, PGO_FREE);
    ck_assert_uint_eq(rig_obj->nresident, 2);
    core_letgo(busy);
    ck_assert_uint_eq(rig_obj->nresident, 1);
    ck_assert_uint_eq(rig_obj->ndirty, 1);
    check_page(2, 0, UVM_PAGE_SIZE); /* what the file has */
}
END_TEST

START_TEST(test_backing)
{
    int fd = dup(rig_fd);

    rig_store(0, 1, 1);
    ck_assert(!uvn_set_backing(rig_obj, NULL)); /* dirty */
    /* Better ones, while the old ones are in use. */
    ck_assert_int_eq(start_put(0, PGO_DOACTCLUST, PGO_PDFREECLUST), VM_PAGER_PEND);
    ck_assert(uvn_set_backing(rig_obj, uvn_backing_new(fd, fd, 1)));
    ck_assert(!uvn_set_backing(rig_obj, NULL));
    core_run();
    ck_assert_uint_eq(nok, 1);
    ck_assert(rig_file_is(0, 1, UVM_PAGE_SIZE));
    ck_assert(uvn_set_backing(rig_obj, NULL));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1); /* closed */
}
END_TEST

static Suite *suite_vnode(void)
{
    Suite *suite = suite_create("vnode");
    TCase *tc = tcase_create("transfers");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_get);
    tcase_add_test(tc, test_get_runs);
    tcase_add_loop_test(tc, test_get_end, 0, 10);
    tcase_add_test(tc, test_get_beyond);
    tcase_add_loop_test(tc, test_get_truncated, 0, 5);
    tcase_add_test(tc, test_get_error);
    tcase_add_test(tc, test_get_retry);
    tcase_add_test(tc, test_get_no_backing);
    tcase_add_test(tc, test_get_invalidated);
    tcase_add_test(tc, test_invalidated_late);
    tcase_add_test(tc, test_get_locked);
    tcase_add_test(tc, test_put);
    tcase_add_test(tc, test_put_aligned);
    tcase_add_loop_test(tc, test_put_tail, 0, 14);
    tcase_add_test(tc, test_put_error);
    tcase_add_test(tc, test_put_retry);
    tcase_add_test(tc, test_put_full);
    tcase_add_test(tc, test_put_dying);
    tcase_add_test(tc, test_put_store);
    tcase_add_test(tc, test_zero_absent);
    tcase_add_test(tc, test_flags);
    tcase_add_test(tc, test_backing);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_vnode)
