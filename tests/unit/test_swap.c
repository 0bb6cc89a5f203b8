/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap over real files in a temporary directory, with transfers on the fake loop: the slot space
 * (priorities, turns, sizes), and transfers with and without the faults of the fault store.
 *
 * How devices are opened and refused: test_swap_dev.c.
 */
#include "daemon/pager/swap.h"
#include "fake_loop.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "daemon/ledger.h"
#include "daemon/reserve.h"
#include "daemon/stats.h"

#define DEV_PAGES 512u             /* of a test device */
#define DEV_SLOTS (DEV_PAGES - 1u) /* one is the label */
#define OBJECT    77u
#define BUF_PAGES 64u

static char dir[200];
static struct uvm_loop loop;
static uint8_t *wbuf, *rbuf; /* BUF_PAGES each */
static struct uvm_swapio io;
static struct uvm_slotowner owner[UVM_CLUSTER_PAGES];
static unsigned ndone;

static void setup(void)
{
    struct uvm_error err = {0};
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/uvm-swap-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_msg(uvm_ledger_init(1, 1, &err) == 0, "%s", err.msg);
    uvm_reserve_init();
    uvm_swap_init();
    FAKE_LOOP_INIT(&loop);
    ck_assert_int_eq(posix_memalign((void **)&wbuf, UVM_PAGE_SIZE, uvm_ptoa(BUF_PAGES)), 0);
    ck_assert_int_eq(posix_memalign((void **)&rbuf, UVM_PAGE_SIZE, uvm_ptoa(BUF_PAGES)), 0);
    ndone = 0;
}

static void teardown(void)
{
    char path[256];

    uvm_swap_fini();
    uvm_ledger_fini();
    free(wbuf);
    free(rbuf);
    for (char c = 'a'; c <= 'e'; c++) {
        snprintf(path, sizeof(path), "%s/%c", dir, c);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static void add(char name, int prio)
{
    struct uvm_error err = {0};
    struct uvm_swapspec spec = {.size = uvm_ptoa(DEV_PAGES), .prio = prio};

    snprintf(spec.path, sizeof(spec.path), "%s/%c", dir, name);
    ck_assert_msg(uvm_swap_add(&spec, &err) == 0, "%s", err.msg);
}

static uint32_t take(uint32_t n)
{
    uint32_t got = n;
    uint32_t slot = uvm_swap_alloc(&got, false);

    ck_assert(!slot || got == n);
    return slot;
}

/* Which device, in the order of adding, has the run. */
static int device_of(uint32_t slot, uint32_t n)
{
    int dev = (int)(slot / DEV_PAGES);

    ck_assert_uint_ne(slot, 0);
    ck_assert_uint_ne(slot % DEV_PAGES, 0);
    ck_assert_uint_eq((slot + n - 1) / DEV_PAGES, dev);
    return dev;
}

START_TEST(test_none)
{
    uint32_t n = 1;

    ck_assert_uint_eq(uvm_swap_alloc(&n, true), 0);
    ck_assert_uint_eq(uvm_swap_pages(), 0);
    ck_assert_uint_eq(uvm_swap_list(NULL, 0), 0);
}
END_TEST

START_TEST(test_alloc_free)
{
    add('a', 0);
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(swpages), DEV_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(nswapdev), 1);
    ck_assert_uint_eq(take(256), 1);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 256);
    ck_assert_uint_eq(take(256), 0);
    ck_assert_uint_eq(take(255), 257);
    ck_assert_uint_eq(take(1), 0);
    uvm_ledger_slot_set(5, OBJECT, 1, 1);
    uvm_swap_free(3, 10);
    ck_assert_uint_eq(uvm_ledger_slot(5)->object, 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), DEV_SLOTS - 10);
    ck_assert_uint_eq(take(10), 3);
    uvm_swap_free(1, DEV_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
}
END_TEST

START_TEST(test_fall_back_sizes)
{
    uint32_t n = 256;

    add('a', 0);
    ck_assert_uint_ne(uvm_swap_alloc(&n, true), 0);
    ck_assert_uint_eq(n, 256);
    n = 256;
    ck_assert_uint_ne(uvm_swap_alloc(&n, true), 0); /* 255 are left */
    ck_assert_uint_eq(n, 128);
    n = 100;
    ck_assert_uint_ne(uvm_swap_alloc(&n, true), 0); /* 127 were left */
    ck_assert_uint_eq(n, 100);
    n = 100;
    ck_assert_uint_ne(uvm_swap_alloc(&n, true), 0); /* 27 were left: not 100, not 50 */
    ck_assert_uint_eq(n, 25);
    n = 8;
    ck_assert_uint_ne(uvm_swap_alloc(&n, true), 0); /* 2 were left */
    ck_assert_uint_eq(n, 2);
    n = 8;
    ck_assert_uint_eq(uvm_swap_alloc(&n, true), 0);
    ck_assert_uint_eq(n, 8);
}
END_TEST

START_TEST(test_interleave)
{
    add('a', 3);
    add('b', 3);
    add('c', 3);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(device_of(take(16), 16), i % 3);
    /* One that has no such run is passed over. */
    while (take(16))
        continue;
    uvm_swap_free(1, 16);
    uvm_swap_free(2 * DEV_PAGES + 1, 32);
    int count[3] = {0};
    for (int i = 0; i < 3; i++)
        count[device_of(take(16), 16)]++;
    ck_assert_int_eq(count[0], 1);
    ck_assert_int_eq(count[2], 2);
}
END_TEST

START_TEST(test_priorities)
{
    add('a', 7);
    add('b', 0);
    add('c', 7);
    add('d', 1);
    /* b alone until it has no more, then d, then a and c in turn. */
    ck_assert_int_eq(device_of(take(256), 256), 1);
    ck_assert_int_eq(device_of(take(128), 128), 1);
    ck_assert_int_eq(device_of(take(128), 128), 3);
    ck_assert_int_eq(device_of(take(127), 127), 1); /* b still has this one */
    ck_assert_int_eq(device_of(take(256), 256), 3);
    ck_assert_int_eq(device_of(take(127), 127), 3);
    int turn = device_of(take(1), 1);
    for (int i = 0; i < 5; i++) {
        int dev = device_of(take(1), 1);
        ck_assert(dev == 0 || dev == 2);
        ck_assert_int_ne(dev, turn);
        turn = dev;
    }
    /* Freed slots of a higher priority are taken at once. */
    uvm_swap_free(DEV_PAGES + 9, 1);
    ck_assert_uint_eq(take(1), DEV_PAGES + 9);
}
END_TEST

/* The full size on a lower priority goes before half the size on a higher one. */
START_TEST(test_size_before_priority)
{
    uint32_t n = 256;

    add('a', 0);
    add('b', 1);
    ck_assert_int_eq(device_of(take(256), 256), 0);
    ck_assert_int_eq(device_of(uvm_swap_alloc(&n, true), 256), 1);
    ck_assert_uint_eq(n, 256);
    ck_assert_int_eq(device_of(uvm_swap_alloc(&n, true), 128), 0);
    ck_assert_uint_eq(n, 128);
}
END_TEST

START_TEST(test_bad)
{
    struct uvm_swapinfo info;

    add('a', 0);
    ck_assert_uint_eq(take(8), 1);
    uvm_ledger_slot_set(3, OBJECT, 1, 1);
    uvm_swap_markbad(3, 2);
    ck_assert_uint_eq(uvm_ledger_slot(3)->object, 0);
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS - 2);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 2);
    ck_assert_uint_eq(uvm_stat_get(swpages), DEV_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 6);
    uvm_swap_free(1, 2);
    uvm_swap_free(5, 4);
    for (uint32_t i = 0; i < DEV_SLOTS - 2; i++) {
        uint32_t slot = take(1);
        ck_assert(slot && slot != 3 && slot != 4);
    }
    ck_assert_uint_eq(take(1), 0);
    ck_assert_uint_eq(uvm_swap_list(&info, 1), 1);
    ck_assert_uint_eq(info.bad, 2);
    ck_assert_uint_eq(info.inuse, DEV_SLOTS - 2);
    ck_assert_uint_eq(info.npages, DEV_SLOTS);
    ck_assert(!info.block);
}
END_TEST

#define THREADS 4

static unsigned clashes[THREADS];

/* Take and give runs; what one has nobody else has. */
static void *hammer(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    uint64_t id = me + 1;

    for (unsigned i = 0; i < 3000; i++) {
        uint32_t n = 1 + (i * 37 + me * 11) % 200;
        uint32_t slot = uvm_swap_alloc(&n, true);
        if (!slot)
            continue;
        for (uint32_t s = slot; s < slot + n; s++) {
            clashes[me] += uvm_ledger_slot(s)->object != 0;
            uvm_ledger_slot_set(s, id, i, 0);
        }
        for (uint32_t s = slot; s < slot + n; s++)
            clashes[me] += uvm_ledger_slot(s)->object != id;
        uvm_swap_free(slot, n / 2 ? n / 2 : 1);
        if (n > 1)
            uvm_swap_free(slot + n / 2, n - n / 2);
    }
    return NULL;
}

START_TEST(test_threads)
{
    pthread_t thread[THREADS];

    add('a', 0);
    add('b', 0);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, hammer, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_uint_eq(clashes[i], 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
}
END_TEST

static void io_done(struct uvm_swapio *sio)
{
    ck_assert_ptr_eq(sio, &io);
    ndone++;
}

static void fill(uint32_t n, uint32_t seed)
{
    for (uint32_t i = 0; i < n; i++) {
        owner[i] = (struct uvm_slotowner){.object = OBJECT, .pgno = seed + i};
        for (uint32_t at = 0; at < UVM_PAGE_SIZE / sizeof(uint32_t); at++)
            ((uint32_t *)(wbuf + uvm_ptoa(i)))[at] = (seed + i) * 2654435761u + at;
    }
}

static int transfer(bool write, uint32_t slot, uint32_t n)
{
    unsigned before = ndone;

    io = (struct uvm_swapio){.done = io_done, .slot = slot, .nslots = n};
    if (write) {
        io.buf = wbuf;
        uvm_swap_put(&io, &loop, owner);
        memset(owner, 0, sizeof(owner)); /* it has been read */
    } else {
        memset(rbuf, 0xee, uvm_ptoa(BUF_PAGES));
        io.buf = rbuf;
        uvm_swap_get(&io, &loop);
    }
    ck_assert_uint_eq(ndone, before); /* never before the call returns */
    fake_loop_run(&loop);
    ck_assert_uint_eq(ndone, before + 1);
    return io.error;
}

static bool page_right(uint32_t i)
{
    return memcmp(rbuf + uvm_ptoa(i), wbuf + uvm_ptoa(i), UVM_PAGE_SIZE) == 0;
}

START_TEST(test_round_trip)
{
    struct uvm_swapinfo info;

    add('a', 0);
    uint64_t pageouts = uvm_stat_get(pageouts), out = uvm_stat_get(pgswapout);
    uint64_t pageins = uvm_stat_get(pageins), in = uvm_stat_get(pgswapin);
    uint32_t slot = take(40);
    fill(40, 1000);
    ck_assert_int_eq(transfer(true, slot, 40), 0);
    for (uint32_t i = 0; i < 40; i++) {
        ck_assert_uint_eq(uvm_ledger_slot(slot + i)->object, OBJECT);
        ck_assert_uint_eq(uvm_ledger_slot(slot + i)->pgno, 1000 + i);
    }
    ck_assert_int_eq(transfer(false, slot, 40), 0);
    for (uint32_t i = 0; i < 40; i++)
        ck_assert(io.page_error[i] == 0 && page_right(i));
    /* A part of it, and the last slots of the device. */
    ck_assert_int_eq(transfer(false, slot + 39, 1), 0);
    ck_assert_int_eq(memcmp(rbuf, wbuf + uvm_ptoa(39), UVM_PAGE_SIZE), 0);
    ck_assert_uint_eq(uvm_stat_get(pageouts) - pageouts, 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapout) - out, 40);
    ck_assert_uint_eq(uvm_stat_get(pageins) - pageins, 2);
    ck_assert_uint_eq(uvm_stat_get(pgswapin) - in, 41);
    uvm_swap_list(&info, 1);
    ck_assert_uint_eq(info.writes, 1);
    ck_assert_uint_eq(info.reads, 2);
    ck_assert_uint_eq(info.errors, 0);
}
END_TEST

/* Every slot of two devices has a place of its own. */
START_TEST(test_no_overlap)
{
    uint32_t n = 16;

    add('a', 0);
    add('b', 0);
    for (uint32_t slot; n == 16 && (slot = uvm_swap_alloc(&n, true));) {
        fill(n, slot);
        ck_assert_int_eq(transfer(true, slot, n), 0);
    }
    ck_assert_uint_lt(n, 16);
    for (uint32_t i = 0; i < 2 * DEV_PAGES; i++) {
        if (i % DEV_PAGES == 0 || uvm_ledger_slot(i)->object == 0)
            continue;
        fill(1, uvm_ledger_slot(i)->pgno);
        ck_assert_int_eq(transfer(false, i, 1), 0);
        ck_assert_uint_eq(uvm_ledger_slot(i)->pgno, i);
        ck_assert(page_right(0));
    }
}
END_TEST

/* Somebody writes to the swap file behind our back. */
START_TEST(test_corruption_on_disk)
{
    char path[256];
    uint64_t sums = uvm_stat_get(cksumerrors), errors = uvm_stat_get(ioerrors);

    add('a', 0);
    uint32_t slot = take(8);
    fill(8, 5);
    ck_assert_int_eq(transfer(true, slot, 8), 0);
    snprintf(path, sizeof(path), "%s/a", dir);
    CLEANUP_CLOSE int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)uvm_ptoa(slot + 3) + 100), 1);
    ck_assert_int_eq(fsync(fd), 0);
    ck_assert_int_eq(transfer(false, slot, 8), -EILSEQ);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_int_eq(io.page_error[i], i == 3 ? -EILSEQ : 0);
        ck_assert_int_eq(page_right(i), i != 3);
    }
    ck_assert_uint_eq(uvm_stat_get(cksumerrors) - sums, 1);
    ck_assert_uint_eq(uvm_stat_get(ioerrors) - errors, 1);
    /* The slot is kept as long as its page may be wanted, then never used again. */
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS);
    uvm_swap_free(slot, 8);
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS - 1);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 1);
}
END_TEST

/* A swap file that was cut short: an error like any other. */
START_TEST(test_short_read)
{
    char path[256];

    add('a', 0);
    uint32_t slot = take(8);
    fill(8, 5);
    ck_assert_int_eq(transfer(true, slot, 8), 0);
    snprintf(path, sizeof(path), "%s/a", dir);
    ck_assert_int_eq(truncate(path, (off_t)uvm_ptoa(slot + 6)), 0);
    ck_assert_int_eq(transfer(false, slot, 8), -EIO);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_int_eq(io.page_error[i], i < 6 ? 0 : -EIO);
        ck_assert_int_eq(page_right(i), i < 6);
    }
}
END_TEST

START_TEST(test_inject_refused)
{
    struct uvm_swapfault rule = {.reads = true, .error = EIO};

    ck_assert_int_eq(uvm_swap_inject(&rule), -ENOTSUP);
    uvm_swap_faults(true);
    ck_assert_int_eq(uvm_swap_inject(&(struct uvm_swapfault){.reads = true}), -EINVAL);
    ck_assert_int_eq(uvm_swap_inject(&(struct uvm_swapfault){.error = EIO}), -EINVAL);
    int rc = 0;
    for (unsigned i = 0; i < 10000 && !rc; i++)
        rc = uvm_swap_inject(&rule);
    ck_assert_int_eq(rc, -ENOSPC);
    uvm_swap_inject_clear();
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
}
END_TEST

static uint32_t faulty_run(uint32_t n)
{
    uvm_swap_faults(true);
    add('a', 0);
    uint32_t slot = take(n);
    fill(n, 9);
    ck_assert_int_eq(transfer(true, slot, n), 0);
    return slot;
}

START_TEST(test_transient_read_error)
{
    uint64_t errors = uvm_stat_get(ioerrors), in = uvm_stat_get(pgswapin);
    struct uvm_swapfault rule = {.reads = true, .count = 1};
    struct uvm_swapinfo info;
    uint32_t slot = faulty_run(16);

    rule.error = _i == 0 ? EIO : _i == 1 ? ENODATA : 0;
    rule.corrupt = !rule.error;
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
    ck_assert_int_eq(transfer(false, slot, 16), 0);
    for (uint32_t i = 0; i < 16; i++)
        ck_assert(io.page_error[i] == 0 && page_right(i));
    ck_assert_uint_eq(uvm_stat_get(ioerrors), errors);
    ck_assert_uint_eq(uvm_stat_get(pgswapin) - in, 16);
    uvm_swap_list(&info, 1);
    ck_assert_uint_eq(info.errors, 1);
    uvm_swap_free(slot, 16);
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS);
    /* A run of one page has a second try too. */
    slot = take(1);
    fill(1, 2);
    ck_assert_int_eq(transfer(true, slot, 1), 0);
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
    ck_assert_int_eq(transfer(false, slot, 1), 0);
    ck_assert(page_right(0));
}
END_TEST

START_TEST(test_permanent_read_error)
{
    uint64_t errors = uvm_stat_get(ioerrors), in = uvm_stat_get(pgswapin);
    struct uvm_swapfault rule = {.reads = true, .nslots = 2};
    uint32_t slot = faulty_run(16);
    int expect = _i ? -EILSEQ : -EIO;

    rule.slot = slot + 4;
    rule.error = _i ? 0 : EIO;
    rule.corrupt = _i;
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
    ck_assert_int_eq(transfer(false, slot, 16), expect);
    for (uint32_t i = 0; i < 16; i++) {
        bool hit = i == 4 || i == 5;
        ck_assert_int_eq(io.page_error[i], hit ? expect : 0);
        ck_assert_int_eq(page_right(i), !hit);
    }
    ck_assert_uint_eq(uvm_stat_get(ioerrors) - errors, 2);
    ck_assert_uint_eq(uvm_stat_get(pgswapin) - in, 14);
    /* What is still on the disk is not given up: when the fault goes, so does the error. */
    uvm_swap_inject_clear();
    ck_assert_int_eq(transfer(false, slot, 16), 0);
    uvm_swap_free(slot, 16);
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS - 2);
    for (uint32_t i = 0; i < DEV_SLOTS - 2; i++) {
        uint32_t s = take(1);
        ck_assert(s && s != slot + 4 && s != slot + 5);
    }
    ck_assert_uint_eq(take(1), 0);
}
END_TEST

START_TEST(test_write_error)
{
    uint64_t errors = uvm_stat_get(ioerrors), outs = uvm_stat_get(pageouts);
    struct uvm_swapfault rule = {.writes = true, .error = EIO, .nslots = 1};

    uvm_swap_faults(true);
    add('a', 0);
    uint32_t slot = take(4);
    rule.slot = slot + 2;
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
    fill(4, 1);
    ck_assert_int_eq(transfer(true, slot, 4), -EIO);
    ck_assert_uint_eq(uvm_stat_get(ioerrors) - errors, 1);
    ck_assert_uint_eq(uvm_stat_get(pageouts), outs);
    /* One by one, as the pager does it. */
    for (uint32_t i = 0; i < 4; i++) {
        fill(1, 50 + i);
        ck_assert_int_eq(transfer(true, slot + i, 1), i == 2 ? -EIO : 0);
    }
    uvm_swap_markbad(slot + 2, 1);
    ck_assert_int_eq(transfer(false, slot + 3, 1), 0);
    fill(1, 53);
    ck_assert(page_right(0));
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS - 1);
}
END_TEST

/* Chance is seeded: some of many transfers fail, and a count ends it. */
START_TEST(test_percent_and_count)
{
    struct uvm_swapfault rule = {.writes = true, .error = ENOSPC, .percent = 30, .count = 20};
    unsigned failed = 0, first = 0;

    uvm_swap_faults(true);
    add('a', 0);
    uint32_t slot = take(1);
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
    for (unsigned i = 0; i < 400; i++) {
        fill(1, i);
        int rc = transfer(true, slot, 1);
        ck_assert(rc == 0 || rc == -ENOSPC);
        failed += rc != 0;
        if (i == 39)
            first = failed;
    }
    ck_assert_uint_eq(failed, 20);
    ck_assert(first > 3 && first < 20);
}
END_TEST

static int leaves(char name, struct uvm_swapleave *leave)
{
    struct uvm_error err = {0};
    char path[256];

    snprintf(path, sizeof(path), "%s/%c", dir, name);
    return uvm_swap_leave(path, leave, &err);
}

/* A device that leaves gives nothing, is not counted, and takes back what it gave; its numbers are the
 * next one's. */
START_TEST(test_leave)
{
    struct uvm_swapleave leave;
    bool suspect;

    add('a', 0);
    add('b', 1);
    ck_assert_uint_eq(take(100), 1);
    ck_assert_int_eq(leaves('a', &leave), 0);
    ck_assert_uint_eq(leave.slot0, 1);
    ck_assert_uint_eq(leave.nslots, DEV_SLOTS);
    ck_assert_uint_eq(leave.inuse, 100);
    ck_assert_int_eq(leaves('a', &leave), -EBUSY);
    ck_assert_int_eq(leaves('x', &leave), -ENOENT);
    ck_assert_uint_eq(uvm_swap_pages(), DEV_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(swpages), DEV_SLOTS);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(swpgleaving), 100);
    ck_assert_int_eq(device_of(take(10), 10), 1);
    ck_assert(!uvm_swap_gone(1));
    uvm_swap_free(1, 40);
    uvm_swap_markbad(41, 2);
    ck_assert_uint_eq(uvm_swap_next(1, &suspect), 43);
    ck_assert(!suspect);
    ck_assert_uint_eq(uvm_swap_next(101, &suspect), 0);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 0);
    ck_assert_uint_eq(uvm_swap_left(1), 58);
    uvm_swap_stay(1);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 2);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 68);
    ck_assert_uint_eq(uvm_stat_get(swpgleaving), 0);
    ck_assert_uint_eq(uvm_stat_get(swpages), 2 * DEV_SLOTS);
    ck_assert_int_eq(leaves('a', &leave), 0);
    uvm_swap_free(43, 58);
    ck_assert(uvm_swap_gone(1));
    ck_assert_uint_eq(uvm_stat_get(nswapdev), 1);
    ck_assert_uint_eq(uvm_stat_get(swpgbad), 0);
    add('a', 0); /* its file is there, and nobody's */
    ck_assert_int_eq(device_of(take(10), 10), 0);
    ck_assert_int_eq(leaves('b', &leave), 0);
    uvm_swap_free(DEV_PAGES + 1, 10);
    ck_assert(uvm_swap_gone(DEV_PAGES + 1));
    ck_assert_uint_eq(uvm_swap_next(DEV_PAGES + 1, &suspect), 0);
}
END_TEST

/* Numbers that have come free are used, by what fits into them; order and turns do not depend on it. */
START_TEST(test_numbers_again)
{
    struct uvm_swapleave leave;

    for (unsigned round = 0; round < 3 * UVM_SWAP_DEV_MAX; round++) {
        char name = (char)('a' + round % 3);
        add(name, 0);
        if (round < 2)
            continue;
        ck_assert_int_eq(leaves((char)('a' + (round + 1) % 3), &leave), 0);
        ck_assert_uint_lt(leave.slot0, 3 * DEV_PAGES);
        ck_assert(uvm_swap_gone(leave.slot0));
    }
    ck_assert_uint_eq(uvm_stat_get(nswapdev), 2);
    ck_assert_uint_eq(uvm_stat_get(swpages), 2 * DEV_SLOTS);
}
END_TEST

static Suite *swap_suite(void)
{
    Suite *s = suite_create("swap");
    TCase *tc = tcase_create("swap");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_none);
    tcase_add_test(tc, test_alloc_free);
    tcase_add_test(tc, test_fall_back_sizes);
    tcase_add_test(tc, test_interleave);
    tcase_add_test(tc, test_priorities);
    tcase_add_test(tc, test_size_before_priority);
    tcase_add_test(tc, test_bad);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_no_overlap);
    tcase_add_test(tc, test_corruption_on_disk);
    tcase_add_test(tc, test_short_read);
    tcase_add_test(tc, test_inject_refused);
    tcase_add_loop_test(tc, test_transient_read_error, 0, 3);
    tcase_add_loop_test(tc, test_permanent_read_error, 0, 2);
    tcase_add_test(tc, test_write_error);
    tcase_add_test(tc, test_percent_and_count);
    tcase_add_test(tc, test_leave);
    tcase_add_test(tc, test_numbers_again);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(swap_suite)
