/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault thread, on the real userfaultfd, real loops and a real swap file.
 *
 *      toucher --touches the arena, sleeps--> userfaultfd --> fault thread --> page-in, zeroes, ...
 *         ^                                                        |
 *         +------------------- is let go --------------------------+
 *
 * A toucher is a thread that stands for an optimistic copy: it holds nothing and knows nothing of
 * pages. The test makes the state it meets, by hand where the state lasts only a moment in real
 * life, and every wait has a deadline.
 */
#include "faultd_rig.h"

/* ---- what a load finds ---- */

START_TEST(test_load_swapped)
{
    struct toucher t;
    uint32_t apage = swapped_page();
    uint32_t slot = uvm_entry_value(entry_of(uobj, 3));
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);
    uint64_t missing = uvm_stat_get(flt_uffd_missing), pageins = uvm_stat_get(pageins);

    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    ck_assert_uint_eq(uvm_stat_get(pageins), pageins + 1);
    /* The copy that faulted is good. */
    ck_assert_uint_eq(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);

    WAIT_FOR(!(flags_of(page_of(uobj, 3)) & PG_BUSY)); /* it was let go after the bytes came */
    struct vm_page *pg = page_of(uobj, 3);
    ck_assert_uint_eq(flags_of(pg), PG_CLEAN);
    ck_assert_uint_eq(pg->apage, apage);
    ck_assert_uint_eq(pg->swslot, slot);
    ck_assert(!pmap_is_modified(apage));
}
END_TEST

START_TEST(test_load_kernel)
{
    struct toucher t;
    char page[UVM_PAGE_SIZE];
    int fds[2];
    uint32_t apage = swapped_page();
    uint64_t missing = uvm_stat_get(flt_uffd_missing);

    ck_assert_int_eq(pipe(fds), 0);
    t.fd = fds[1];
    touch(&t, TOUCH_PIPE, apage);
    ck_assert_int_eq(t.wrote, UVM_PAGE_SIZE);
    ck_assert_int_eq(read(fds[0], page, sizeof(page)), sizeof(page));
    ck_assert(is_pattern(page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(test_load_free_window)
{
    struct toucher t;
    uint32_t apage = install(other, 0, 1, 1), window = apage / UVM_WINDOW_PAGES;

    free_pages(other, 0, 1);
    uint32_t gen = pmap_window_gen(window);
    touch(&t, TOUCH_LOAD, apage + 5);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(window), gen);

    /* Somebody else's window now: where the zeroes were there is a hole again. */
    ck_assert_uint_eq(install(uobj, 0, 1, 2), apage);
    gen = pmap_window_gen(window);
    uint64_t missing = uvm_stat_get(flt_uffd_missing);
    touch(&t, TOUCH_LOAD, apage + 5);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    ck_assert_uint_ne(pmap_window_gen(window), gen);
    check_page(uobj, 0, 2);
}
END_TEST

/* _i: the page was never touched, or only read */
START_TEST(test_load_hole)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 1, 1) + 7, window = apage / UVM_WINDOW_PAGES;

    if (_i)
        ck_assert_int_eq(read_pages(uobj, 7, 1, t.page), 0);
    ck_assert_int_eq(uvm_entry_tag(entry_of(uobj, 7)), _i ? UVM_E_HOLE : UVM_E_EMPTY);
    uint32_t gen = pmap_window_gen(window);
    uint64_t missing = uvm_stat_get(flt_uffd_missing);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(window), gen);
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    ck_assert_int_eq(uvm_entry_tag(entry_of(uobj, 7)), _i ? UVM_E_HOLE : UVM_E_EMPTY);

    /* Nobody keeps the zeroes: the page that comes there has its own bytes. */
    install(uobj, 7, 1, 2);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 7, 2));
    check_page(uobj, 0, 1);
}
END_TEST

START_TEST(test_load_busy)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 1, 1) + 3;
    struct vm_page *pg = add_busy(uobj, 3);
    uint64_t waits = uvm_stat_get(flt_pgwait);

    ck_assert_uint_eq(pg->apage, apage);
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);
    touch_start(&t, TOUCH_LOAD, apage);
    WAIT_FOR(uvm_stat_get(flt_pgwait) == waits + 1);
    ck_assert(flags_of(pg) & PG_WANTED);
    ck_assert(!t.ended);
    fill_busy(pg, 4);
    touch_end(&t);
    ck_assert(is_pattern(t.page, uobj, 3, 4));
    ck_assert_uint_eq(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
}
END_TEST

/* A page that is brought in from a file may wait for others of the toucher's loop: nobody sleeps on it, and
 * the zeroes are gone when its bytes come. */
START_TEST(test_load_busy_file)
{
    struct toucher t;
    struct uvm_object *file = uvn_new(1003, uvm_ptoa(8));
    struct vm_page *pg = add_busy(file, 3);
    uint32_t apage = pg->apage, gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);

    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
    ck_assert(!(flags_of(pg) & PG_WANTED));
    fill_busy(pg, 4);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, file, 3, 4));
    file->pgops->pgo_detach(file);
}
END_TEST

/* The page is truncated while its owner, who has not filled it, and a toucher are at it. */
START_TEST(test_load_busy_released)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 1, 1) + 3;
    struct vm_page *pg = add_busy(uobj, 3);
    uint64_t waits = uvm_stat_get(flt_pgwait);
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);

    touch_start(&t, TOUCH_LOAD, apage);
    WAIT_FOR(uvm_stat_get(flt_pgwait) == waits + 1);
    free_pages(uobj, 3, 1);
    ck_assert(!t.ended);
    let_go(pg);
    touch_end(&t);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
    ck_assert_int_eq(uvm_entry_tag(entry_of(uobj, 3)), UVM_E_EMPTY);
}
END_TEST

/* An object dies while a page of it is being written: nobody finds it any more, but the window is
 * its own until the write ends. Who touches another page of that does not wait for it. */
START_TEST(test_load_dying)
{
    struct toucher t;
    struct uvm_object *third = uao_create(1003);
    uint32_t apage = install(third, 0, 1, 1), window = apage / UVM_WINDOW_PAGES, index;
    struct vm_page *pg = claim(third, 0);
    uint64_t missing = uvm_stat_get(flt_uffd_missing), id;

    third->pgops->pgo_detach(third);
    ck_assert_ptr_eq(pmap_window_owner(window, &id, &index), third);
    ck_assert_ptr_null(uvm_object_lookup(id));
    uint32_t gen = pmap_window_gen(window);
    touch(&t, TOUCH_LOAD, apage + 3);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(window), gen);
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    pmap_stray(apage, id, false); /* an old fault, read late, on the page that is there by now */
    ck_assert(is_pattern(pmap_kva(apage), third, 0, 1)); /* P5: it stays as it is */
    uvm_pager_dropcluster(&pg, 1, NULL, PGO_PDFREECLUST);
    ck_assert_ptr_null(pmap_window_owner(window, &id, &index));

    /* Whoever has the window next finds nothing of all that. */
    ck_assert_uint_eq(install(uobj, 0, 1, 2), apage);
    touch(&t, TOUCH_LOAD, apage + 3);
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 2);
    check_page(uobj, 0, 2);
}
END_TEST

#define CROWD 24 /* more than the fault thread reads at once */

START_TEST(test_load_crowd)
{
    static struct toucher t[CROWD];
    uint32_t apage = swapped_page();
    uint64_t pageins = uvm_stat_get(pageins), pgswapin = uvm_stat_get(pgswapin);

    for (unsigned i = 0; i < CROWD; i++)
        touch_start(&t[i], TOUCH_LOAD, apage);
    for (unsigned i = 0; i < CROWD; i++)
        touch_end(&t[i]);
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert(is_pattern(t[i].page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(pageins), pageins + 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), pgswapin + 1);
}
END_TEST

/* ---- stores ---- */

START_TEST(test_store_clean)
{
    struct toucher t;
    uint32_t apage = swapped_page();

    check_page(uobj, 3, 1); /* pages it in */
    ck_assert_uint_eq(flags_of(page_of(uobj, 3)), PG_CLEAN);
    uint64_t wp = uvm_stat_get(flt_uffd_wp), inuse = uvm_stat_get(swpginuse);

    for (unsigned again = 0; again < 2; again++) {
        t.page[0] = STORED;
        touch(&t, TOUCH_STORE, apage);
        ck_assert_uint_eq(uvm_stat_get(flt_uffd_wp), wp + 1); /* only the first one faults */
    }
    WAIT_FOR(!(flags_of(page_of(uobj, 3)) & PG_BUSY));
    ck_assert_uint_eq(uvm_stat_get(swpginuse), inuse - 1);
    check_dirty(3);
    check_stored(3);
}
END_TEST

/* _i: the page is let go because it could not be written, or written and gone */
START_TEST(test_store_pageout)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 4, 1) + 3;
    uint64_t waits = uvm_stat_get(flt_pgwait), wp = uvm_stat_get(flt_uffd_wp);
    struct vm_page *pg = claim(uobj, 3);

    t.page[0] = STORED;
    touch_start(&t, TOUCH_STORE, apage);
    WAIT_FOR(uvm_stat_get(flt_pgwait) == waits + 1);
    ck_assert(!t.ended);
    ck_assert(!pmap_is_modified(apage));
    ck_assert(is_pattern(pmap_kva(apage), uobj, 3, 1)); /* P5 */
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_wp), wp + 1);
    if (_i)
        put_claimed(&pg, 1);
    else
        uvm_pager_dropcluster(&pg, 1, NULL, 0);
    touch_end(&t);
    WAIT_FOR(!(flags_of(page_of(uobj, 3)) & PG_BUSY));
    check_dirty(3);
    check_stored(3);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
}
END_TEST

/* A store where nobody has the page ends, and is seen by nobody. _i: the window is free, its owner has
 * no such page, the owner is dying; for each: there is nothing, or a load's zeroes */
START_TEST(test_store_nobody)
{
    struct toucher t;
    struct uvm_object *third = uao_create(1003);
    uint32_t apage = install(third, 0, 1, 1) + 3, index;
    uint64_t id;
    struct vm_page *pg = NULL;

    if (_i / 2 == 0)
        free_pages(third, 0, 1);
    if (_i / 2 == 2) {
        pg = claim(third, 0);
        third->pgops->pgo_detach(third);
    }
    if (_i % 2)
        touch(&t, TOUCH_LOAD, apage);
    t.page[0] = STORED;
    touch(&t, TOUCH_STORE, apage);
    if (pg)
        uvm_pager_dropcluster(&pg, 1, NULL, PGO_PDFREECLUST);
    else
        third->pgops->pgo_detach(third);
    /* The fault thread may have a reference still: it wakes the toucher first. */
    WAIT_FOR(!pmap_window_owner(apage / UVM_WINDOW_PAGES, &id, &index));

    ck_assert_uint_eq(install(uobj, 0, 1, 2), apage - 3);
    ck_assert(!pmap_is_modified(apage));
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_int_eq(read_pages(uobj, 3, 1, t.page), 0);
    ck_assert(is_zero((uint8_t *)t.page));
    check_page(uobj, 0, 2);
}
END_TEST

/* ---- shortages ---- */

/* All the memory that requests may have is taken: the fault thread has its own (P9). */
START_TEST(test_no_memory)
{
    struct vm_pagelist taken = TAILQ_HEAD_INITIALIZER(taken);
    struct toucher t;
    uint32_t apage = swapped_page();

    while (uvm_pagealloc(1, &taken, 0, NULL))
        continue;
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_noram), 0);
    uvm_pageput(&taken);
}
END_TEST

/* All of the pager map that requests may have is taken, by page-ins of the very loop that sleeps in
 * the toucher's place: they end when it wakes up, not before. */
START_TEST(test_no_pager_map)
{
    static void *runs[UVM_PAGERMAP_PAGES];
    struct toucher t;
    uint32_t apage = swapped_page(), nruns = 0;

    while ((runs[nruns] = uvm_pagermapin(1, 0, NULL)))
        nruns++;
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    while (nruns--)
        uvm_pagermapout(runs[nruns], 1);
}
END_TEST

static struct parked_read {
    struct uvm_work work, behind;
    struct uvm_rw rw;
    int error;
    char page[UVM_PAGE_SIZE];
    sem_t parked, ended;
} parked_read;

static void parked_read_start(struct uvm_work *work)
{
    uvm_read(&UVM_CONTAINER_OF(work, struct parked_read, work)->rw);
}

static void parked_read_behind(struct uvm_work *work)
{
    sem_post(&UVM_CONTAINER_OF(work, struct parked_read, behind)->parked);
}

static void parked_read_done(struct uvm_rw *rw, int error)
{
    struct parked_read *rd = rw->arg;
    rd->error = error;
    sem_post(&rd->ended);
}

/* Start reading a page on the loop. => the loop has done what it can, and does something else */
static void read_and_park(struct parked_read *rd, uint32_t pgno)
{
    memset(rd, 0, sizeof(*rd));
    rd->work.fn = parked_read_start;
    rd->behind.fn = parked_read_behind;
    rd->rw.uobj = uobj;
    rd->rw.loop = loop;
    rd->rw.off = uvm_ptoa(pgno);
    rd->rw.len = UVM_PAGE_SIZE;
    rd->rw.dst = rd->page;
    rd->rw.done = parked_read_done;
    rd->rw.arg = rd;
    sem_init(&rd->parked, 0, 0);
    sem_init(&rd->ended, 0, 0);
    uvm_loop_post(loop, &rd->work);
    uvm_loop_post(loop, &rd->behind);
    sem_take(&rd->parked);
}

/* The same, and a request waits for room to read the page in: the page must not wait with it, BUSY,
 * or the toucher would sleep until the room comes that only its own end can bring. */
START_TEST(test_no_pager_map_and_request)
{
    static void *runs[UVM_PAGERMAP_PAGES];
    struct toucher t;
    uint32_t apage = swapped_page(), nruns = 0;

    while ((runs[nruns] = uvm_pagermapin(1, 0, NULL)))
        nruns++;
    read_and_park(&parked_read, 3);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    ck_assert_int_ne(sem_trywait(&parked_read.ended), 0);
    while (nruns--)
        uvm_pagermapout(runs[nruns], 1);
    sem_take(&parked_read.ended);
    ck_assert_int_eq(parked_read.error, 0);
    ck_assert(is_pattern(parked_read.page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(pageins), 1); /* the toucher's was enough */
}
END_TEST

/* ---- errors and changes in the middle ---- */

static void fail_reads(uint32_t slot)
{
    struct uvm_swapfault rule = {.reads = true, .error = EIO, .slot = slot, .nslots = 1};

    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
}

START_TEST(test_read_error)
{
    struct toucher t;
    uint32_t apage = swapped_page();
    uvm_entry was = entry_of(uobj, 3);
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);
    uint64_t inuse = uvm_stat_get(swpginuse);

    fail_reads(uvm_entry_value(was));
    touch(&t, TOUCH_LOAD, apage);
    ck_assert_uint_ne(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
    ck_assert_uint_eq(entry_of(uobj, 3), was);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), inuse);
    ck_assert_uint_ge(uvm_stat_get(ioerrors), 1);
    ck_assert_int_eq(read_pages(uobj, 3, 1, t.page), -EIO);
    ck_assert_uint_eq(entry_of(uobj, 3), was);

    /* The slot has kept the bytes, and they come when the device answers again. */
    uvm_swap_inject_clear();
    check_page(uobj, 3, 1);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
}
END_TEST

static uint32_t hook_apage; /* what hand_over is to find again in other's hands */

/* The window goes from one object to another, who puts a page where the fault was. */
static void hand_over(void)
{
    free_pages(uobj, 0, UVM_WINDOW_PAGES);
    MUST(install(other, 3, 1, 7) == hook_apage);
}

/* _i: whose window it is is asked when nobody, or somebody else owns it */
START_TEST(test_window_changes_hands)
{
    struct toucher t;

    hook_apage = install(uobj, 0, 1, 1) + 3;
    if (!_i)
        free_pages(uobj, 0, 1);
    atomic_store(&on_owner, hand_over);
    touch(&t, TOUCH_LOAD, hook_apage);
    WAIT_FOR(!on_owner);
    /* A second one is served only after the first: then all of that is over. */
    touch(&t, TOUCH_LOAD, hook_apage + 1);
    check_page(other, 3, 7);
}
END_TEST

static void evict_and_hand_over(void)
{
    MUST(evict(uobj, 0));
    MUST(install(other, 3, 1, 7) == hook_apage);
}

static void read_again(void)
{
    char page[UVM_PAGE_SIZE];

    uvm_swap_inject_clear();
    MUST(read_pages(uobj, 3, 1, page) == 0);
}

/* A page-in for a toucher fails, and before it is told so: _i: the window gets another owner, or
 * the same page comes in after all. */
START_TEST(test_read_error_and_change)
{
    struct toucher t;

    /* Page 0 resident and clean, page 3 on swap, and nothing else. */
    hook_apage = swapped_page();
    page_out(uobj, 0, 1);
    check_page(uobj, 0, 1);
    free_pages(uobj, 1, 2);
    fail_reads(uvm_entry_value(entry_of(uobj, 3)));
    atomic_store(&on_faulted, _i ? read_again : evict_and_hand_over);
    touch(&t, TOUCH_LOAD, hook_apage);
    WAIT_FOR(!on_faulted);
    touch(&t, TOUCH_LOAD, hook_apage + 1);
    uvm_swap_inject_clear();
    if (!_i)
        check_page(other, 3, 7);
    check_page(uobj, 3, 1);
}
END_TEST

/* ---- uvm_read against a thread that takes away what it copies ---- */

#define RACE_PAGES  48u
#define RACE_ROUNDS 60u

static struct {
    sem_t go;            /* the read is about to copy */
    sem_t acted;         /* the racer has done its work */
    _Atomic bool wait;   /* the read waits for that first */
    _Atomic bool finish; /* no more rounds */
    void (*act)(unsigned round);
    unsigned round;
    pthread_t thread;
} race;

static void race_copying(void)
{
    sem_post(&race.go);
    if (race.wait)
        sem_take(&race.acted);
}

static void *race_main(void *arg)
{
    for (;;) {
        sem_take(&race.go);
        if (race.finish)
            return NULL;
        race.act(race.round);
        sem_post(&race.acted);
    }
}

static void race_begin(void (*act)(unsigned round))
{
    sem_init(&race.go, 0, 0);
    sem_init(&race.acted, 0, 0);
    race.act = act;
    race.finish = false;
    ck_assert_int_eq(pthread_create(&race.thread, NULL, race_main, NULL), 0);
}

/* One read of the object that meets the racer. */
static void race_read(unsigned round, bool wait, uint8_t *dst)
{
    race.round = round;
    race.wait = wait;
    atomic_store(&on_copy, race_copying);
    memset(dst, 0xee, uvm_ptoa(RACE_PAGES));
    ck_assert_int_eq(read_pages(uobj, 0, RACE_PAGES, dst), 0);
    if (!wait)
        sem_take(&race.acted);
}

static void race_end(void)
{
    race.finish = true;
    sem_post(&race.go);
    ck_assert_int_eq(pthread_join(race.thread, NULL), 0);
    sem_destroy(&race.go);
    sem_destroy(&race.acted);
}

/* Every third round the window goes too. */
static void act_evict(unsigned round)
{
    for (uint32_t i = round % 3 ? 1 : 0; i < RACE_PAGES; i++)
        evict(uobj, i);
}

START_TEST(test_read_while_evicted)
{
    uint8_t *dst = malloc(uvm_ptoa(RACE_PAGES));
    uint64_t missing = uvm_stat_get(flt_uffd_missing), regen = uvm_stat_get(flt_regen);

    ck_assert_ptr_nonnull(dst);
    install(uobj, 0, RACE_PAGES, 1);
    page_out(uobj, 0, RACE_PAGES);
    race_begin(act_evict);
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        race_read(round, round % 2, dst);
        for (uint32_t i = 0; i < RACE_PAGES; i++)
            ck_assert_msg(is_pattern(dst + uvm_ptoa(i), uobj, i, 1), "round %u: page %u", round, i);
    }
    race_end();
    ck_assert_uint_gt(uvm_stat_get(flt_uffd_missing), missing);
    ck_assert_uint_ge(uvm_stat_get(flt_regen), regen + RACE_ROUNDS / 6);
    free(dst);
}
END_TEST

/* Truncate; every other time keep a page, and with it the window, else give both to the other. */
static void act_truncate(unsigned round)
{
    if (round & 2) {
        free_pages(uobj, 1, RACE_PAGES - 1);
        return;
    }
    free_pages(uobj, 0, RACE_PAGES);
    MUST(install(other, 0, RACE_PAGES, round) == hook_apage);
}

START_TEST(test_read_while_truncated)
{
    uint8_t *dst = malloc(uvm_ptoa(RACE_PAGES));
    uint64_t regen = uvm_stat_get(flt_regen);

    ck_assert_ptr_nonnull(dst);
    race_begin(act_truncate);
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        bool kept = round & 2, wait = round & 1;
        hook_apage = install(uobj, 0, RACE_PAGES, round);
        race_read(round, wait, dst);
        for (uint32_t i = 0; i < RACE_PAGES; i++) {
            bool old = is_pattern(dst + uvm_ptoa(i), uobj, i, round);
            bool zero = is_zero(dst + uvm_ptoa(i));
            bool may_be_old = !wait || (kept && i == 0), may_be_zero = !(kept && i == 0);
            ck_assert_msg((old && may_be_old) || (zero && may_be_zero), "round %u: page %u: %s",
                          round, i,
                          old    ? "old"
                          : zero ? "zero"
                                 : "not its own");
        }
        for (uint32_t i = 0; i < RACE_PAGES && !kept; i++)
            check_page(other, i, round);
        free_pages(other, 0, RACE_PAGES);
        free_pages(uobj, 0, RACE_PAGES);
    }
    race_end();
    ck_assert_uint_ge(uvm_stat_get(flt_regen), regen + RACE_ROUNDS / 2);
    free(dst);
}
END_TEST

/* ---- */

static void probe(void)
{
    struct uvm_error err = {0};
    struct uvm_loop *l;

    if (uvm_loop_new("probe", -1, &l, &err))
        unit_skip(err.msg);
    uvm_loop_free(l);
    if (pmap_init(PMAP_UFFD, 1, &err))
        unit_skip(err.msg);
    pmap_fini();
}

static TCase *new_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static Suite *faultd_suite(void)
{
    probe();
    Suite *s = suite_create("faultd");
    TCase *tc = new_case(s, "load");
    tcase_add_test(tc, test_load_swapped);
    tcase_add_test(tc, test_load_kernel);
    tcase_add_test(tc, test_load_free_window);
    tcase_add_loop_test(tc, test_load_hole, 0, 2);
    tcase_add_test(tc, test_load_busy);
    tcase_add_test(tc, test_load_busy_file);
    tcase_add_test(tc, test_load_busy_released);
    tcase_add_test(tc, test_load_dying);
    tcase_add_test(tc, test_load_crowd);

    tc = new_case(s, "store");
    tcase_add_test(tc, test_store_clean);
    tcase_add_loop_test(tc, test_store_pageout, 0, 2);
    tcase_add_loop_test(tc, test_store_nobody, 0, 6);

    tc = new_case(s, "shortage");
    tcase_add_test(tc, test_no_memory);
    tcase_add_test(tc, test_no_pager_map);
    tcase_add_test(tc, test_no_pager_map_and_request);

    tc = new_case(s, "middle");
    tcase_add_test(tc, test_read_error);
    tcase_add_loop_test(tc, test_window_changes_hands, 0, 2);
    tcase_add_loop_test(tc, test_read_error_and_change, 0, 2);

    tc = new_case(s, "race");
    tcase_add_test(tc, test_read_while_evicted);
    tcase_add_test(tc, test_read_while_truncated);
    return s;
}

UNIT_MAIN(faultd_suite)
