/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads and writes of an object's bytes, from every state its pages can be in: what is read and
 * written, installed, promised and freed. What happens in the middle: test_rw_races.c.
 */
#include "core.h"

#include <errno.h>

#include "daemon/pager/swap.h"

#define NPAGES 512u
#define P      UVM_PAGE_SIZE

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

/* Promise everything that is left. => how many pages that was */
static uint64_t use_up(void)
{
    uint64_t total, avail;

    uvm_reserve_space(&total, &avail);
    ck_assert_int_eq(uvm_reserve((uint32_t)avail, NULL), UVM_RESERVED);
    return avail;
}

/* --- writes --- */

START_TEST(test_write_whole_empty)
{
    core_fill(uobj, 7, 1, 1);
    struct vm_page *pg = core_page(uobj, 7);
    ck_assert_uint_eq(pg->flags, 0);
    ck_assert_uint_eq(pg->pqflags, PQ_ACTIVE);
    ck_assert_int_eq(pmap_soft_state(pg->apage), PMAP_SOFT_RW);
    ck_assert(pmap_is_modified(pg->apage));
    ck_assert_uint_eq(uvm_stat_get(reserved), 1);
    ck_assert_uint_eq(uvm_stat_get(delivered), 1);
    core_verify(uobj, 7, 1, 1);
}
END_TEST

/* The rest of a page that was never there is zeroes, whatever its memory held before (P8). */
START_TEST(test_write_part_hole)
{
    ck_assert_int_eq(uvm_allocate(uobj, 1, 1), 0);
    for (uint32_t pgno = 0; pgno < 2; pgno++) { /* EMPTY, HOLE */
        memset(page, 'a', P);
        ck_assert_int_eq(core_write(uobj, uvm_ptoa(pgno) + 100, page, 50, 0), 0);
        ck_assert_int_eq(core_read(uobj, uvm_ptoa(pgno), page, P, 0), 0);
        ck_assert_mem_eq(page, zero, 100);
        ck_assert_int_eq(page[100], 'a');
        ck_assert_int_eq(page[149], 'a');
        ck_assert_mem_eq(page + 150, zero, P - 150);
    }
    ck_assert_uint_eq(uvm_stat_get(reserved), 2);
}
END_TEST

START_TEST(test_write_part_resident)
{
    core_fill(uobj, 0, 1, 1);
    ck_assert_int_eq(core_write(uobj, 5, "xxx", 3, 0), 0);
    check_patched(0, 5, 8, 'x');
}
END_TEST

/* A part of a paged-out page: it is paged in, and its slot, now of older bytes, is freed. */
START_TEST(test_write_part_slot)
{
    core_fill(uobj, 0, 1, 1);
    core_pageout(uobj, 0, 1);
    ck_assert_int_eq(core_write(uobj, P - 3, "xxx", 3, 0), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 1);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(core_page(uobj, 0)->flags, 0);
    check_patched(0, P - 3, P, 'x');
}
END_TEST

/* All of it: nothing is read. */
START_TEST(test_write_whole_slot)
{
    core_fill(uobj, 0, 4, 1);
    core_pageout(uobj, 0, 4);
    core_fill(uobj, 1, 2, 2);
    ck_assert_uint_eq(uvm_stat_get(pageins), 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 2);
    ck_assert_uint_eq(uvm_stat_get(reserved), 4);
    ck_assert_uint_eq(core_slot(uobj, 1), 0);
    core_verify(uobj, 1, 2, 2);
    core_verify(uobj, 0, 1, 1);
    core_verify(uobj, 3, 1, 1);
}
END_TEST

START_TEST(test_write_clean)
{
    core_fill(uobj, 0, 1, 1);
    core_pageout(uobj, 0, 1);
    core_verify(uobj, 0, 1, 1);
    ck_assert_uint_eq(core_page(uobj, 0)->flags, PG_CLEAN);
    ck_assert_int_eq(core_write(uobj, 0, "x", 1, 0), 0);
    ck_assert_uint_eq(core_page(uobj, 0)->flags, 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    check_patched(0, 0, 1, 'x');
}
END_TEST

/* Part, wholes over every state, part; across windows. */
START_TEST(test_write_mixed)
{
    CLEANUP_FREE char *buf = malloc(P * 100);

    core_fill(uobj, 10, 100, 1);
    core_pageout(uobj, 10, 1);
    core_pageout(uobj, 20, 5);
    core_pageout(uobj, 109, 1);
    core_flush(uobj, 30, 40, PGO_FREE);
    memset(buf, 'y', P * 100);
    ck_assert_int_eq(core_write(uobj, uvm_ptoa(10) + 1, buf, P * 100 - 2, 0), 0);
    ck_assert_uint_eq(uvm_stat_get(pageins), 2); /* the two of which only a part was written */
    check_patched(10, 1, P, 'y');
    check_patched(24, 0, P, 'y');
    check_patched(35, 0, P, 'y');
    check_patched(63, 0, P, 'y');
    check_patched(64, 0, P, 'y');
    check_patched(109, 0, P - 1, 'y');
    ck_assert_uint_eq(uvm_stat_get(reserved), 100);
}
END_TEST

/* Zeroing a part makes nothing where there is nothing. */
START_TEST(test_zero_part)
{
    core_fill(uobj, 0, 2, 1);
    core_pageout(uobj, 1, 1);
    ck_assert_int_eq(uvm_allocate(uobj, 2, 1), 0);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_int_eq(core_write(uobj, uvm_ptoa(i) + 10, NULL, 20, 0), 0);
    check_patched(0, 10, 30, 0);
    check_patched(1, 10, 30, 0);
    ck_assert_uint_eq(core_tag(uobj, 2), UVM_E_HOLE);
    ck_assert_uint_eq(core_tag(uobj, 3), UVM_E_EMPTY);
}
END_TEST

/* --- reads --- */

/* A hole installs nothing: it is promised room, and zeroes are delivered. */
START_TEST(test_read_hole)
{
    memset(page, 0xff, P);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(100), page, P, 0), 0);
    ck_assert_mem_eq(page, zero, P);
    ck_assert_uint_eq(core_tag(uobj, 100), UVM_E_HOLE);
    ck_assert_uint_eq(uobj->nresident, 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 1);
    ck_assert_uint_eq(uvm_stat_get(delivered), 1);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(100), page, P, 0), 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 1); /* once */
}
END_TEST

/* The longest read there is, and not aligned; over holes, pages and slots. */
START_TEST(test_read_longest)
{
    const size_t len = uvm_ptoa(UVM_CLUSTER_PAGES);
    CLEANUP_FREE char *buf = malloc(len);

    core_fill(uobj, 50, 100, 1);
    core_fill(uobj, 200, 50, 1);
    core_pageout(uobj, 210, 20);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(20) + 1, buf, len, 0), 0);
    for (uint32_t pgno = 21; pgno < 20 + UVM_CLUSTER_PAGES; pgno++) {
        const char *at = buf + uvm_ptoa(pgno - 20) - 1;
        if ((pgno >= 50 && pgno < 150) || (pgno >= 200 && pgno < 250))
            ck_assert(core_is_pattern(at, uobj->id, pgno, 1));
        else
            ck_assert_mem_eq(at, zero, P);
    }
    ck_assert_uint_eq(uvm_stat_get(faults), UVM_CLUSTER_PAGES + 1);
}
END_TEST

/* A clean page that was delivered is first in line to go; a dirty one is merely used. */
START_TEST(test_read_notes_use)
{
    core_fill(uobj, 0, 3, 1);
    core_pageout(uobj, 1, 1);
    core_verify(uobj, 1, 1, 1); /* resident and clean */
    core_flush(uobj, 0, 3, PGO_DEACTIVATE);
    core_verify(uobj, 0, 3, 1);
    ck_assert_uint_eq(core_page(uobj, 0)->referenced, 1);
    ck_assert_uint_eq(core_page(uobj, 1)->referenced, 0);
    ck_assert_uint_eq(core_page(uobj, 1)->pqflags, PQ_INACTIVE);
}
END_TEST

/* --- errors of the backing store --- */

START_TEST(test_checksum_error)
{
    core_fill(uobj, 0, 3, 1);
    core_pageout(uobj, 0, 3);
    core_inject(false, core_slot(uobj, 1), 1, 0, 0);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(1), page, P, 0), -EIO);
    ck_assert_int_eq(core_write(uobj, uvm_ptoa(1), "x", 1, 0), -EIO);
    ck_assert_uint_ge(uvm_stat_get(cksumerrors), 2);
    core_verify(uobj, 0, 1, 1);
    core_verify(uobj, 2, 1, 1);
    core_fill(uobj, 1, 1, 2); /* all of it written anew: good again */
    core_verify(uobj, 1, 1, 2);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 1); /* the slot is not used again */
}
END_TEST

START_TEST(test_read_error)
{
    core_fill(uobj, 0, 3, 1);
    core_pageout(uobj, 0, 3);
    core_inject(false, core_slot(uobj, 1), 1, EIO, 0);
    CLEANUP_FREE char *buf = malloc(3 * P);
    ck_assert_int_eq(core_read(uobj, 0, buf, 3 * P, 0), -EIO);
    core_verify(uobj, 0, 1, 1);
    core_verify(uobj, 2, 1, 1);
    uvm_swap_inject_clear();
    core_verify(uobj, 0, 3, 1);
}
END_TEST

/* --- reservations --- */

START_TEST(test_enospc)
{
    core_fill(uobj, 0, 1, 1);
    uint64_t n = use_up();
    memset(page, 'n', P);
    ck_assert_int_eq(core_write(uobj, uvm_ptoa(1), page, P, 0), -ENOSPC);
    ck_assert_int_eq(core_read(uobj, uvm_ptoa(1), page, P, 0), -ENOSPC);
    ck_assert_uint_eq(core_tag(uobj, 1), UVM_E_EMPTY);
    core_fill(uobj, 0, 1, 2); /* what has its promise goes on as ever */
    core_verify(uobj, 0, 1, 2);
    uvm_unreserve(n);
    ck_assert_int_eq(core_write(uobj, uvm_ptoa(1), page, P, 0), 0);
}
END_TEST

/* A write-back is refused only when the emergency reserve is gone too. */
START_TEST(test_force)
{
    uint64_t n = use_up();

    memset(page, 'f', P);
    ck_assert_int_eq(core_write(uobj, 0, page, P, UVM_RW_FORCE), 0);
    ck_assert(uvm_reserve_force(UVM_RESERVE_EMERGENCY - 1));
    ck_assert_int_eq(core_write(uobj, P, page, P, UVM_RW_FORCE), -ENOSPC);
    ck_assert_int_eq(core_write(uobj, 0, page, P, UVM_RW_FORCE), 0);
    uvm_unreserve(n + UVM_RESERVE_EMERGENCY - 1);
}
END_TEST

/* Who cannot store gets zeroes without a promise: they are lent, and it is told. */
START_TEST(test_readonly_without_reservation)
{
    struct core_req req;

    core_start_read(&req, uobj, 0, page, P, UVM_RW_READONLY);
    core_run();
    ck_assert_uint_eq(req.rw.lent, 0); /* there is room: as for everybody */
    ck_assert_uint_eq(uvm_stat_get(reserved), 1);
    uint64_t n = use_up();
    memset(page, 0xff, P);
    core_start_read(&req, uobj, uvm_ptoa(1), page, P, UVM_RW_READONLY);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
    ck_assert_uint_eq(req.rw.lent, 1);
    ck_assert_uint_eq(uvm_stat_get(lent), 1);
    ck_assert_mem_eq(page, zero, P);
    ck_assert_uint_eq(core_tag(uobj, 1), UVM_E_EMPTY);
    ck_assert_uint_eq(uvm_stat_get(reserved), n + 1);
    uvm_reserve_return(1);
    uvm_unreserve(n);
}
END_TEST

/* Only the pages that have no reservation are lent; when nothing can be, the read is refused. */
START_TEST(test_readonly_without_loan)
{
    CLEANUP_FREE char *buf = calloc(8, P);
    struct core_req req;

    core_fill(uobj, 3, 2, 1);
    uint64_t n = use_up();
    ck_assert(uvm_reserve_force(UVM_RESERVE_LENT_MAX - 6));
    core_start_read(&req, uobj, 0, buf, 8 * P, UVM_RW_READONLY);
    core_run();
    ck_assert_int_eq(req.error, 0);
    ck_assert_uint_eq(req.rw.lent, 6);
    ck_assert(core_is_pattern(buf + 3 * P, uobj->id, 3, 1));
    uvm_reserve_return(6);
    ck_assert(uvm_reserve_force(1));
    core_start_read(&req, uobj, 0, buf, 8 * P, UVM_RW_READONLY);
    core_run();
    ck_assert_int_eq(req.error, -ENOSPC);
    ck_assert_uint_eq(req.rw.lent, 0);
    uvm_unreserve(n + UVM_RESERVE_LENT_MAX - 5);
}
END_TEST

/* While others have loans, who wants one waits, and is served or refused when they are back. */
START_TEST(test_readonly_waits_for_loan)
{
    struct core_req first, second, third;
    CLEANUP_FREE char *buf = malloc(uvm_ptoa(257));
    uint64_t n = use_up();

    core_start_read(&first, uobj, 1, buf, uvm_ptoa(256), UVM_RW_READONLY);
    core_start_read(&second, uobj, uvm_ptoa(300) + 1, buf, uvm_ptoa(256), UVM_RW_READONLY);
    core_run();
    ck_assert_uint_eq(first.rw.lent, 257); /* the largest READ there is; and another one */
    ck_assert_uint_eq(second.rw.lent, 257);
    core_start_read(&third, uobj, uvm_ptoa(600), page, P, UVM_RW_READONLY);
    core_run();
    ck_assert_uint_eq(third.ndone, 0);
    uvm_reserve_return(257);
    core_run();
    ck_assert_uint_eq(third.ndone, 1);
    ck_assert_int_eq(third.error, 0);
    ck_assert_uint_eq(third.rw.lent, 1);
    ck_assert(uvm_reserve_force(257)); /* what was lent is stored */
    uvm_reserve_return(1);
    core_start_read(&third, uobj, uvm_ptoa(600), page, P, UVM_RW_READONLY);
    core_run();
    ck_assert_uint_eq(third.ndone, 0);
    ck_assert(uvm_reserve_force(257));
    uvm_reserve_return(257);
    core_run();
    ck_assert_uint_eq(third.ndone, 1);
    ck_assert_int_eq(third.error, -ENOSPC);
    uvm_unreserve(n + 514);
}
END_TEST

static void reclaim(void)
{
}

/* Parked with nothing in hand until somebody gives back. */
START_TEST(test_write_waits_for_reservation)
{
    struct core_req req;

    uvm_reserve_set_reclaim(reclaim);
    uint64_t n = use_up();
    memset(page, 'w', P);
    core_start_write(&req, uobj, 0, page, P, 0);
    core_run();
    ck_assert_uint_eq(req.ndone, 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    uvm_unreserve(1);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    ck_assert_int_eq(req.error, 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), n);
    uvm_unreserve(n - 1);
}
END_TEST

/* A write that ends early gives back what it was granted and did not use. */
START_TEST(test_enospc_in_the_middle)
{
    CLEANUP_FREE char *buf = calloc(128, P);
    uint64_t n = use_up();

    uvm_unreserve(64);
    ck_assert_int_eq(core_write(uobj, 0, buf, 128 * P, 0), -ENOSPC);
    ck_assert_uint_eq(uobj->nresident, 64); /* the first window */
    ck_assert_uint_eq(uvm_stat_get(reserved), n);
    uvm_unreserve(n - 64);
}
END_TEST

START_TEST(test_allocate)
{
    core_fill(uobj, 10, 2, 1);
    ck_assert_int_eq(uvm_allocate(uobj, 5, 100), 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 100);
    ck_assert_uint_eq(core_tag(uobj, 5), UVM_E_HOLE);
    ck_assert_uint_eq(core_tag(uobj, 10), UVM_E_PAGE);
    ck_assert_uint_eq(core_tag(uobj, 104), UVM_E_HOLE);
    ck_assert_uint_eq(core_tag(uobj, 105), UVM_E_EMPTY);
    ck_assert_int_eq(uvm_allocate(uobj, 5, 100), 0); /* it has them all */
    ck_assert_uint_eq(uvm_stat_get(reserved), 100);
    uint64_t n = use_up();
    ck_assert_int_eq(uvm_allocate(uobj, 100, 10), -ENOSPC);
    ck_assert_uint_eq(core_tag(uobj, 105), UVM_E_EMPTY); /* all or none */
    core_fill(uobj, 5, 100, 2);                          /* and what was allocated can be written */
    core_verify(uobj, 5, 100, 2);
    uvm_unreserve(n);
}
END_TEST

static struct uvm_leaf marks(uint32_t pgno)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);
    ck_assert_ptr_nonnull(leaf);
    return *leaf;
}

static void mark_revoking(uint32_t pgno, uint64_t mask)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    uvm_leaf_lookup(uobj, pgno)->revoking |= mask;
}

/* What fallocate promised is remembered until it is punched. */
START_TEST(test_allocated_marks)
{
    ck_assert_int_eq(uvm_allocate(uobj, 60, 10), 0);
    ck_assert_uint_eq(marks(60).allocated, 0xfull << 60);
    ck_assert_uint_eq(marks(64).allocated, 0x3full);
    core_flush(uobj, 62, 66, PGO_FREE);
    ck_assert_uint_eq(marks(60).allocated, 0x3ull << 60);
    ck_assert_uint_eq(marks(64).allocated, 0x3cull);
    ck_assert_int_eq(uvm_allocate(uobj, 128, 64), 0);
    ck_assert_uint_eq(marks(128).allocated, ~0ull);
}
END_TEST

/* A hole that is being revoked is somebody's again as soon as it is read or written; a hole that was
 * punched is nobody's. */
START_TEST(test_revoking_marks)
{
    CLEANUP_FREE char *buf = calloc(8, P);

    ck_assert_int_eq(core_read(uobj, 0, buf, 8 * P, 0), 0);
    mark_revoking(0, 0xff);
    ck_assert_int_eq(core_read(uobj, P, buf, 2 * P, 0), 0);
    ck_assert_uint_eq(marks(0).revoking, 0xf9);
    core_fill(uobj, 5, 1, 1);
    ck_assert_uint_eq(marks(0).revoking, 0xd9);
    core_flush(uobj, 6, 8, PGO_FREE);
    ck_assert_uint_eq(marks(0).revoking, 0x19);
    ck_assert_uint_eq(marks(0).delivered, 0x3f);
}
END_TEST

/* --- lseek --- */

START_TEST(test_find)
{
    const uint32_t end = 1000;

    core_fill(uobj, 100, 10, 1);
    core_pageout(uobj, 105, 5);
    ck_assert_int_eq(uvm_allocate(uobj, 50, 10), 0); /* reserved, but no data */
    core_fill(uobj, 500, 1, 1);
    ck_assert_uint_eq(uvm_find(uobj, 0, end, true), 100);
    ck_assert_uint_eq(uvm_find(uobj, 103, end, true), 103);
    ck_assert_uint_eq(uvm_find(uobj, 110, end, true), 500);
    ck_assert_uint_eq(uvm_find(uobj, 501, end, true), end);
    ck_assert_uint_eq(uvm_find(uobj, 110, 400, true), 400);
    ck_assert_uint_eq(uvm_find(uobj, 0, end, false), 0);
    ck_assert_uint_eq(uvm_find(uobj, 55, end, false), 55);
    ck_assert_uint_eq(uvm_find(uobj, 100, end, false), 110);
    ck_assert_uint_eq(uvm_find(uobj, 500, 501, false), 501);
}
END_TEST

/* --- everything together --- */

START_TEST(test_round_trip)
{
    core_fill(uobj, 0, 400, 1);
    core_pageout(uobj, 0, 400);
    ck_assert_uint_eq(uobj->nresident, 0);
    ck_assert_uint_eq(uobj->nswapped, 400);
    core_verify(uobj, 0, 400, 1);
    core_pageout(uobj, 0, 400);
    core_verify(uobj, 0, 400, 1);
}
END_TEST

static uint64_t rng = 88172645463325252ull;

static uint32_t roll(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 24) % n;
}

static void random_pageout(uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++)
        if (core_page(uobj, i) && roll(3) == 0)
            core_pageout(uobj, i, 1);
}

/* Random writes, reads, punches and page-outs against a model that is an array. */
START_TEST(test_model)
{
    enum { PAGES = 150, STEPS = 800 };
    CLEANUP_FREE char *model = calloc(PAGES, P);
    CLEANUP_FREE char *buf = malloc(PAGES * (size_t)P);

    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t off = roll(PAGES * P - 1), most = roll(2) ? 3 * P : 100 * P;
        uint32_t len = 1 + roll(MIN(PAGES * P - off, most));
        switch (roll(8)) {
        case 0:
            random_pageout(PAGES);
            core_check_object(uobj);
            break;
        case 1: {
            uint32_t pgno = roll(PAGES), n = 1 + roll(MIN(PAGES - pgno, 20));
            core_flush(uobj, pgno, pgno + n, PGO_FREE);
            memset(model + uvm_ptoa(pgno), 0, uvm_ptoa(n));
            break;
        }
        case 2:
        case 3:
        case 4:
            for (uint32_t i = 0; i < len; i++)
                buf[i] = (char)(step + i % 251);
            memcpy(model + off, buf, len);
            ck_assert_int_eq(core_write(uobj, off, buf, len, 0), 0);
            break;
        default:
            ck_assert_int_eq(core_read(uobj, off, buf, len, 0), 0);
            ck_assert_msg(memcmp(buf, model + off, len) == 0, "step %u: wrong bytes", step);
            break;
        }
    }
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static Suite *rw_suite(void)
{
    Suite *s = suite_create("rw");

    TCase *tc = add_case(s, "write");
    tcase_add_test(tc, test_write_whole_empty);
    tcase_add_test(tc, test_write_part_hole);
    tcase_add_test(tc, test_write_part_resident);
    tcase_add_test(tc, test_write_part_slot);
    tcase_add_test(tc, test_write_whole_slot);
    tcase_add_test(tc, test_write_clean);
    tcase_add_test(tc, test_write_mixed);
    tcase_add_test(tc, test_zero_part);

    tc = add_case(s, "read");
    tcase_add_test(tc, test_read_hole);
    tcase_add_test(tc, test_read_longest);
    tcase_add_test(tc, test_read_notes_use);

    tc = add_case(s, "errors");
    tcase_add_test(tc, test_checksum_error);
    tcase_add_test(tc, test_read_error);

    tc = add_case(s, "reservations");
    tcase_add_test(tc, test_enospc);
    tcase_add_test(tc, test_force);
    tcase_add_test(tc, test_readonly_without_reservation);
    tcase_add_test(tc, test_readonly_without_loan);
    tcase_add_test(tc, test_readonly_waits_for_loan);
    tcase_add_test(tc, test_write_waits_for_reservation);
    tcase_add_test(tc, test_enospc_in_the_middle);
    tcase_add_test(tc, test_allocate);
    tcase_add_test(tc, test_allocated_marks);
    tcase_add_test(tc, test_revoking_marks);

    tc = add_case(s, "all");
    tcase_add_test(tc, test_find);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_model);
    return s;
}

UNIT_MAIN(rw_suite)
