/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The anonymous object pager: get with the object locked and get that reads, flush, the end of an
 * object, and which pages travel together.
 */
#include "core.h"

#include <errno.h>

#include "daemon/pager/pagermap.h"
#include "daemon/pager/swap.h"

#define NPAGES 512u

static struct uvm_object *uobj;
static struct uvm_getreq req;

static void setup(void)
{
    core_up(NPAGES);
    core_swap();
    uobj = core_object();
    memset(&req, 0, sizeof(req));
}

static void teardown(void)
{
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

static int get_locked(uint32_t pgno, uint32_t n, uint32_t centre, uint32_t *ret_got)
{
    req.uobj = uobj;
    req.pgno = pgno;
    req.npages = n;
    UVM_LOCK_SCOPE(&uobj->lock);
    return uobj->pgops->pgo_get(uobj, &req, ret_got, centre, PGO_LOCKED);
}

/* Give a BUSY|FAKE page its zeroes and let it go. */
static void zero_fill(struct vm_page *pg)
{
    ck_assert_int_eq(pmap_zero(pg->apage, 1, UVM_PROT_RW), 0);
    {
        UVM_LOCK_SCOPE(&uobj->lock);
        uvm_page_filled(pg, false);
    }
    core_letgo(pg);
}

START_TEST(test_locked_resident)
{
    uint32_t got;

    core_fill(uobj, 10, 4, 1);
    ck_assert_int_eq(get_locked(10, 4, 2, &got), VM_PAGER_OK);
    ck_assert_uint_eq(got, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_ptr_eq(req.pps[i], core_page(uobj, 10 + i));
        ck_assert_uint_eq(req.pps[i]->flags, PG_BUSY);
        core_letgo(req.pps[i]);
    }
}
END_TEST

START_TEST(test_locked_zero_fill)
{
    uint32_t got;

    ck_assert_int_eq(uvm_allocate(uobj, 10, 2), 0);
    ck_assert_int_eq(get_locked(10, 2, 0, &got), VM_PAGER_OK);
    ck_assert_uint_eq(got, 2);
    ck_assert_uint_eq(req.pps[0]->flags, PG_BUSY | PG_FAKE);
    ck_assert_uint_eq(req.pps[0]->swslot, 0);
    zero_fill(req.pps[0]);
    zero_fill(req.pps[1]);
    char zero[UVM_PAGE_SIZE] = {0}, seen[UVM_PAGE_SIZE];
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(10), seen, sizeof(seen), 0), 0);
    ck_assert_mem_eq(seen, zero, sizeof(zero));
}
END_TEST

/* What is on swap, busy, or never reserved needs more than a look: the neighbours come all the same. */
START_TEST(test_locked_needs_more)
{
    uint32_t got;

    core_fill(uobj, 10, 4, 1);
    core_pageout(uobj, 11, 1);
    struct vm_page *busy = core_busy(uobj, 12);
    for (uint32_t centre = 1; centre < 5; centre++) {
        memset(&req, 0, sizeof(req));
        int rc = get_locked(10, 5, centre, &got); /* 14 was never touched */
        ck_assert_int_eq(rc, centre == 3 ? VM_PAGER_OK : VM_PAGER_UNLOCK);
        ck_assert_uint_eq(got, 2);
        ck_assert_ptr_nonnull(req.pps[0]);
        ck_assert_ptr_null(req.pps[1]);
        ck_assert_ptr_null(req.pps[2]);
        ck_assert_ptr_nonnull(req.pps[3]);
        ck_assert_ptr_null(req.pps[4]);
        core_letgo(req.pps[0]);
        core_letgo(req.pps[3]);
    }
    core_letgo(busy);
}
END_TEST

/* Pages that the caller has are left alone. */
START_TEST(test_locked_has_some)
{
    uint32_t got;

    core_fill(uobj, 10, 2, 1);
    req.pps[0] = core_busy(uobj, 10);
    ck_assert_int_eq(get_locked(10, 2, 0, &got), VM_PAGER_OK);
    ck_assert_uint_eq(got, 1);
    core_letgo(req.pps[0]);
    core_letgo(req.pps[1]);
}
END_TEST

START_TEST(test_locked_no_memory)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    uint32_t got;

    ck_assert_int_eq(uvm_allocate(uobj, 0, 1), 0);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    ck_assert_int_eq(get_locked(0, 1, 0, &got), VM_PAGER_UNLOCK);
    ck_assert_uint_eq(got, 0);
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_HOLE);
    uvm_pageput(&list);
}
END_TEST

/* A fault, and how often its done was called. */
static struct fault_state {
    struct uvm_fault fault;
    unsigned ndone;
    int error;
} fs;

static void fault_done(struct uvm_fault *fault, int error)
{
    fs.ndone++;
    fs.error = error;
}

static void start_fault(uint32_t pgno, uint32_t n, int pgaflags)
{
    memset(&fs, 0, sizeof(fs));
    fs.fault.uobj = uobj;
    fs.fault.loop = &core_loop;
    fs.fault.pgno = pgno;
    fs.fault.npages = n;
    fs.fault.pgaflags = pgaflags;
    fs.fault.done = fault_done;
    uvm_fault_start(&fs.fault);
}

static int run_fault(uint32_t pgno, uint32_t n)
{
    start_fault(pgno, n, 0);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    return fs.error;
}

/* Written together, read together: one transfer. The page is clean and keeps its slot. */
START_TEST(test_swapin_run)
{
    core_fill(uobj, 0, 20, 1);
    core_pageout(uobj, 0, 20);
    uint32_t slot = core_slot(uobj, 0);
    ck_assert_int_eq(run_fault(0, 20), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), 20);
    ck_assert_uint_eq(uobj->pgswapin, 20);
    for (uint32_t i = 0; i < 20; i++) {
        struct vm_page *pg = core_page(uobj, i);
        ck_assert_uint_eq(pg->flags, PG_CLEAN);
        ck_assert_uint_eq(pg->swslot, slot + i);
        ck_assert_uint_eq(pg->pqflags, PQ_INACTIVE);
        ck_assert_int_eq(pmap_soft_state(pg->apage), PMAP_SOFT_RO);
        ck_assert(!pmap_is_modified(pg->apage));
    }
    core_verify(uobj, 0, 20, 1);
}
END_TEST

/* Slots that are not in a row are runs of their own; what is not on swap is left alone. */
START_TEST(test_swapin_runs)
{
    core_fill(uobj, 0, 12, 1);
    core_pageout(uobj, 0, 4);
    core_pageout(uobj, 8, 4); /* the slots behind those of 0 to 3 */
    core_pageout(uobj, 5, 1);
    ck_assert_int_eq(run_fault(0, 12), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 3);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), 9);
    core_verify(uobj, 0, 12, 1);
}
END_TEST

/* Page by page, backwards: more runs than a get has in flight at a time. */
START_TEST(test_swapin_many_runs)
{
    const uint32_t n = 4 * UVM_GET_RUNS;

    core_fill(uobj, 0, n, 1);
    for (uint32_t i = n; i-- > 0;)
        core_pageout(uobj, i, 1);
    ck_assert_uint_lt(core_slot(uobj, 1), core_slot(uobj, 0));
    ck_assert_int_eq(run_fault(0, n), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), n);
    core_verify(uobj, 0, n, 1);
}
END_TEST

/* The longest request there is: unaligned, of a cluster and a page. */
START_TEST(test_swapin_longest)
{
    const uint32_t n = UVM_CLUSTER_PAGES + 1;

    core_fill(uobj, 30, n, 1);
    core_pageout(uobj, 30, n);
    ck_assert_int_eq(run_fault(30, n), 0);
    core_verify(uobj, 30, n, 1);
}
END_TEST

START_TEST(test_swapin_nothing_to_do)
{
    core_fill(uobj, 0, 2, 1);
    start_fault(0, 3, 0);
    ck_assert_uint_eq(fs.ndone, 1); /* at once */
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_EMPTY);
}
END_TEST

/* In the middle of a page-in the pages are BUSY and FAKE, and a second fault takes none of them. */
START_TEST(test_swapin_in_flight)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    start_fault(0, 4, 0);
    ck_assert_uint_eq(fs.ndone, 0);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(core_page(uobj, i)->flags, PG_BUSY | PG_FAKE);
    core_check_object(uobj);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    core_verify(uobj, 0, 4, 1);
}
END_TEST

/* The device cannot read one page: that page stays on swap, and the others come. */
START_TEST(test_read_error)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    uint32_t slot = core_slot(uobj, 5);
    core_inject(false, slot, 1, EIO, 0);
    ck_assert_int_eq(run_fault(0, 8), -EIO);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), i == 5 ? UVM_E_SLOT : UVM_E_PAGE);
    ck_assert_uint_eq(core_slot(uobj, 5), slot);
    core_verify(uobj, 0, 5, 1);
    core_verify(uobj, 6, 2, 1);
    /* It can be read again later: the bytes were never given up. */
    uvm_swap_inject_clear();
    core_verify(uobj, 0, 8, 1);
}
END_TEST

/* The error of a page that only came along is nobody's error. */
START_TEST(test_read_error_of_neighbour)
{
    core_fill(uobj, 0, 64, 1);
    core_pageout(uobj, 0, 64);
    core_inject(false, core_slot(uobj, 20), 1, EIO, 0);
    ck_assert_int_eq(run_fault(0, 8), 0); /* in sequence: the rest comes along */
    ck_assert_uint_eq(core_tag(uobj, 19), UVM_E_PAGE);
    ck_assert_uint_eq(core_tag(uobj, 20), UVM_E_SLOT);
    ck_assert_uint_eq(core_tag(uobj, 21), UVM_E_PAGE);
    ck_assert_int_eq(run_fault(20, 1), -EIO);
}
END_TEST

START_TEST(test_read_error_transient)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    core_inject(false, core_slot(uobj, 0), 8, EIO, 1);
    ck_assert_int_eq(run_fault(0, 8), 0);
    core_verify(uobj, 0, 8, 1);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 0);
}
END_TEST

/* Wrong bytes are an error, never data; the slot turns bad with its page's end. */
START_TEST(test_read_corrupt)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    core_inject(false, core_slot(uobj, 2), 1, 0, 0);
    ck_assert_int_eq(run_fault(0, 4), -EILSEQ);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_SLOT);
    ck_assert_uint_eq(uvm_stat_get(cksumerrors), 1);
    core_flush(uobj, 2, 3, PGO_FREE);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 1);
}
END_TEST

/* Read-ahead: in sequence and with memory to spare, what was written together comes along. */
START_TEST(test_ahead)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    ck_assert_int_eq(run_fault(0, 10), 0);
    ck_assert_uint_eq(uobj->nresident, 100);
    core_pageout(uobj, 0, 100);
    ck_assert_int_eq(run_fault(50, 10), 0); /* not where the last one ended */
    ck_assert_uint_eq(uobj->nresident, 10);
    ck_assert_int_eq(run_fault(60, 1), 0); /* here it is */
    ck_assert_uint_eq(uobj->nresident, 50);
    core_verify(uobj, 0, 100, 1);
}
END_TEST

START_TEST(test_no_ahead_when_short)
{
    core_fill(uobj, 0, 100, 1);
    core_pageout(uobj, 0, 100);
    uvm_stat_set(freetarg, NPAGES);
    ck_assert_int_eq(run_fault(0, 10), 0);
    ck_assert_uint_eq(uobj->nresident, 10);
}
END_TEST

/* No free page: the fault waits with nothing in hand, and goes on when there are some. */
START_TEST(test_fault_waits_for_pages)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    start_fault(0, 4, 0);
    core_run();
    ck_assert_uint_eq(fs.ndone, 0);
    ck_assert_uint_eq(core_tag(uobj, 0), UVM_E_SLOT); /* nobody is kept from it */
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    core_verify(uobj, 0, 4, 1);
}
END_TEST

/* It may find when its pages come that there is nothing left to do. */
START_TEST(test_fault_waits_in_vain)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    start_fault(0, 4, 0);
    core_flush(uobj, 0, 4, PGO_FREE);
    uvm_pageput(&list);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
}
END_TEST

START_TEST(test_fault_uses_reserve)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    start_fault(0, 4, UVM_PGA_USERESERVE);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_uint_eq(uobj->nresident, 4);
    uvm_pageput(&list);
}
END_TEST

/* The pager map is full: the page-in waits its turn. */
START_TEST(test_get_waits_for_map)
{
    void *kva[UVM_PAGERMAP_PAGES];
    unsigned n = 0;

    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    while ((kva[n] = uvm_pagermapin(UVM_CLUSTER_PAGES, 0, NULL)))
        n++;
    start_fault(0, 8, 0);
    core_run();
    ck_assert_uint_eq(fs.ndone, 0);
    uvm_pagermapout(kva[--n], UVM_CLUSTER_PAGES);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    core_verify(uobj, 0, 8, 1);
    while (n-- > 0)
        uvm_pagermapout(kva[n], UVM_CLUSTER_PAGES);
}
END_TEST

/* Truncated while the bytes are on their way: they go nowhere, and the slots are free. */
START_TEST(test_truncate_in_flight)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    start_fault(0, 8, 0);
    core_flush(uobj, 4, 8, PGO_FREE);
    ck_assert(core_page(uobj, 4)->flags & PG_RELEASED);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, 0);
    for (uint32_t i = 4; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 4);
    ck_assert_uint_eq(uvm_stat_get(reserved), 4);
    core_verify(uobj, 0, 4, 1);
}
END_TEST

/* The same with an error on top. */
START_TEST(test_truncate_and_error)
{
    core_fill(uobj, 0, 8, 1);
    core_pageout(uobj, 0, 8);
    core_inject(false, 0, 0, EIO, 0);
    start_fault(0, 8, 0);
    core_flush(uobj, 4, 8, PGO_FREE);
    core_run();
    ck_assert_uint_eq(fs.ndone, 1);
    ck_assert_int_eq(fs.error, -EIO);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_uint_eq(core_tag(uobj, i), i < 4 ? UVM_E_SLOT : UVM_E_EMPTY);
    uvm_swap_inject_clear();
    core_verify(uobj, 0, 4, 1);
}
END_TEST

START_TEST(test_flush_free)
{
    core_fill(uobj, 0, 200, 1);
    core_pageout(uobj, 60, 20);
    ck_assert_int_eq(uvm_allocate(uobj, 200, 10), 0);
    struct vm_page *pg = core_page(uobj, 30);
    uint32_t apage = pg->apage;
    core_flush(uobj, 30, 205, PGO_FREE);
    for (uint32_t i = 0; i < 210; i++)
        ck_assert_int_eq(core_tag(uobj, i), i < 30    ? UVM_E_PAGE
                                            : i < 205 ? UVM_E_EMPTY
                                                      : UVM_E_HOLE);
    ck_assert_int_eq(pmap_soft_state(apage), PMAP_SOFT_ABSENT);
    ck_assert_uint_eq(uvm_stat_get(reserved), 35);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES - 30);
    core_check_object(uobj);
    core_verify(uobj, 0, 30, 1);
}
END_TEST

START_TEST(test_flush_all)
{
    core_fill(uobj, 0, 10, 1);
    core_fill(uobj, UVM_OBJECT_PAGES_MAX - 1, 1, 1);
    core_flush(uobj, 5, 5, PGO_FREE); /* an empty range */
    ck_assert_uint_eq(uobj->nresident, 11);
    core_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
    ck_assert_uint_eq(uobj->nresident, 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_uint_eq(uvm_stat_get(delivered), 0);
    ck_assert_ptr_null(uobj->root);
}
END_TEST

/* A busy page goes when its owner lets go, and only then. */
START_TEST(test_flush_busy)
{
    core_fill(uobj, 0, 4, 1);
    struct vm_page *pg = core_busy(uobj, 2);
    core_flush(uobj, 0, 4, PGO_FREE);
    ck_assert_uint_eq(pg->flags, PG_BUSY | PG_RELEASED);
    ck_assert_ptr_eq(core_page(uobj, 2), pg);
    ck_assert_int_eq(pmap_soft_state(pg->apage), PMAP_SOFT_RW); /* its memory is its owner's */
    ck_assert_uint_eq(uobj->nreserved, 1);
    ck_assert_uint_eq(uvm_stat_get(reserved), 1);
    ck_assert(core_letgo(pg));
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_ptr_null(uobj->root);
}
END_TEST

START_TEST(test_flush_deactivate)
{
    core_fill(uobj, 0, 10, 1);
    struct vm_page *busy = core_busy(uobj, 4);
    ck_assert_uint_eq(uvm_stat_get(active), 9);
    core_flush(uobj, 2, 8, PGO_DEACTIVATE);
    for (uint32_t i = 0; i < 10; i++) {
        unsigned want = i == 4 ? 0 : i >= 2 && i < 8 ? PQ_INACTIVE : PQ_ACTIVE;
        ck_assert_uint_eq(core_page(uobj, i)->pqflags, want);
    }
    core_letgo(busy);
    core_verify(uobj, 0, 10, 1);
}
END_TEST

START_TEST(test_detach)
{
    struct uvm_object *o = core_object();
    uint64_t id = o->id;

    core_fill(o, 0, 10, 1);
    core_pageout(o, 0, 5);
    o->pgops->pgo_reference(o);
    core_gone(o);
    ck_assert_uint_eq(o->nresident, 5); /* somebody still has it */
    core_gone(o);
    ck_assert_ptr_null(uvm_object_lookup(id));
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

/* The last reference goes while pages are busy: the object goes with the last of those. */
START_TEST(test_detach_busy)
{
    struct uvm_object *o = core_object();

    core_fill(o, 0, 4, 1);
    struct vm_page *a = core_busy(o, 1), *b = core_busy(o, 3);
    core_gone(o);
    ck_assert_uint_eq(uvm_stat_get(objects), 1);
    ck_assert_uint_eq(o->nresident, 2);
    ck_assert(o->dying);
    ck_assert(core_letgo(a));
    ck_assert_uint_eq(o->nresident, 1);
    ck_assert(!core_letgo(b));
    uvm_lock_assert_none();
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
}
END_TEST

static void check_travel(uint32_t pgno, uint32_t lo, uint32_t hi)
{
    uint32_t got_lo, got_hi;
    UVM_LOCK_SCOPE(&uobj->lock);
    uobj->pgops->pgo_cluster(uobj, pgno, &got_lo, &got_hi);
    ck_assert_uint_eq(got_lo, lo);
    ck_assert_uint_eq(got_hi, hi);
}

/* Pages travel together when their slots are in a row as they are. */
START_TEST(test_cluster)
{
    core_fill(uobj, 0, 30, 1);
    core_pageout(uobj, 20, 1); /* slot 1 */
    core_pageout(uobj, 0, 10); /* slots 2 to 11 */
    core_pageout(uobj, 11, 5); /* 12 to 16: in a row, but page 10 is not among them */
    core_pageout(uobj, 10, 1); /* 17 */
    check_travel(0, 0, 10);
    check_travel(4, 0, 10);
    check_travel(9, 0, 10);
    check_travel(10, 10, 11);
    check_travel(13, 11, 16);
    check_travel(20, 20, 21);
    check_travel(25, 25, 26); /* resident */
    check_travel(100, 100, 101);
    ck_assert_int_eq(run_fault(4, 1), 0);
    check_travel(3, 0, 4); /* one in the middle has come back */
    check_travel(5, 5, 10);
}
END_TEST

/* Never more than a cluster. */
START_TEST(test_cluster_limit)
{
    uint32_t lo, hi;

    core_fill(uobj, 0, 300, 1);
    core_pageout(uobj, 0, 300); /* two clusters, in slots in a row */
    ck_assert_uint_eq(core_slot(uobj, 299), core_slot(uobj, 0) + 299);
    for (uint32_t at = 0; at < 300; at += 23) {
        UVM_LOCK_SCOPE(&uobj->lock);
        uobj->pgops->pgo_cluster(uobj, at, &lo, &hi);
        ck_assert_uint_le(hi - lo, UVM_CLUSTER_PAGES);
        ck_assert(lo <= at && at < hi && hi <= 300);
    }
}
END_TEST

static Suite *aobj_suite(void)
{
    Suite *s = suite_create("aobj");

    TCase *tc = tcase_create("get locked");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_locked_resident);
    tcase_add_test(tc, test_locked_zero_fill);
    tcase_add_test(tc, test_locked_needs_more);
    tcase_add_test(tc, test_locked_has_some);
    tcase_add_test(tc, test_locked_no_memory);
    suite_add_tcase(s, tc);

    tc = tcase_create("page-in");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_swapin_run);
    tcase_add_test(tc, test_swapin_runs);
    tcase_add_test(tc, test_swapin_many_runs);
    tcase_add_test(tc, test_swapin_longest);
    tcase_add_test(tc, test_swapin_nothing_to_do);
    tcase_add_test(tc, test_swapin_in_flight);
    tcase_add_test(tc, test_read_error);
    tcase_add_test(tc, test_read_error_of_neighbour);
    tcase_add_test(tc, test_read_error_transient);
    tcase_add_test(tc, test_read_corrupt);
    tcase_add_test(tc, test_ahead);
    tcase_add_test(tc, test_no_ahead_when_short);
    tcase_add_test(tc, test_fault_waits_for_pages);
    tcase_add_test(tc, test_fault_waits_in_vain);
    tcase_add_test(tc, test_fault_uses_reserve);
    tcase_add_test(tc, test_get_waits_for_map);
    tcase_add_test(tc, test_truncate_in_flight);
    tcase_add_test(tc, test_truncate_and_error);
    suite_add_tcase(s, tc);

    tc = tcase_create("flush, detach, cluster");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_flush_free);
    tcase_add_test(tc, test_flush_all);
    tcase_add_test(tc, test_flush_busy);
    tcase_add_test(tc, test_flush_deactivate);
    tcase_add_test(tc, test_detach);
    tcase_add_test(tc, test_detach_busy);
    tcase_add_test(tc, test_cluster);
    tcase_add_test(tc, test_cluster_limit);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(aobj_suite)
