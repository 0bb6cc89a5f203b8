/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects: the table, the map from page indices to entries at every size, the counts that hang on
 * the entries, what the client cache holds, and who is woken when a busy page is let go.
 */
#include "core.h"

#include <stdlib.h>
#include <time.h>

#include "daemon/ledger.h"

#define NPAGES   128u
#define PGNO_MAX (UVM_OBJECT_PAGES_MAX - 1)
#define SLOT     9u

static struct uvm_object *uobj;

static void setup(void)
{
    core_up(NPAGES);
    uobj = core_object();
}

/* Entries were set by hand here, so what they would have held is given back by hand too. */
static void drop_entries(void)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, 0), *next;
    for (; leaf; leaf = next) {
        next = uvm_leaf_next(uobj, leaf->index + 1);
        for (uint32_t i = 0; i < UVM_WINDOW_PAGES; i++)
            uvm_entry_set(uobj, leaf, leaf->index * UVM_WINDOW_PAGES + i, 0);
        uvm_leaf_prune(uobj, leaf);
    }
    ck_assert_ptr_null(uobj->root);
    ck_assert_uint_eq(uobj->height, 0);
}

static void teardown(void)
{
    drop_entries();
    core_gone(uobj);
    core_down();
}

static void set(uint32_t pgno, enum uvm_entry_tag tag, uint32_t value)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_make(uobj, pgno);
    ck_assert_ptr_nonnull(leaf);
    ck_assert_uint_eq(leaf->index, pgno / UVM_WINDOW_PAGES);
    ck_assert_ptr_eq(uvm_leaf_lookup(uobj, pgno), leaf);
    uvm_entry_set(uobj, leaf, pgno, uvm_entry_make(tag, value));
}

static bool has_leaf(uint32_t pgno)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uvm_leaf_lookup(uobj, pgno) != NULL;
}

/* The index of the first leaf at or after `index`; UINT32_MAX: none. */
static uint32_t next_leaf(uint32_t index)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, index);
    return leaf ? leaf->index : UINT32_MAX;
}

START_TEST(test_entries)
{
    uvm_entry e = uvm_entry_make(UVM_E_SLOT, (1u << 30) - 1);

    ck_assert_uint_eq(uvm_entry_tag(e), UVM_E_SLOT);
    ck_assert_uint_eq(uvm_entry_value(e), (1u << 30) - 1);
    ck_assert_ptr_null(uvm_entry_page(e));
    ck_assert_uint_eq(uvm_entry_make(UVM_E_EMPTY, 0), 0);
    ck_assert_ptr_eq(uvm_entry_page(uvm_entry_make(UVM_E_PAGE, NPAGES - 1)),
                     uvm_page_at(NPAGES - 1));
}
END_TEST

/* Nothing is there that was never touched; a small object is one leaf and no node. */
START_TEST(test_small)
{
    ck_assert(!has_leaf(0));
    ck_assert(!has_leaf(PGNO_MAX));
    ck_assert_uint_eq(core_tag(uobj, 5), UVM_E_EMPTY);
    ck_assert_uint_eq(next_leaf(0), UINT32_MAX);
    set(5, UVM_E_HOLE, 0);
    ck_assert_uint_eq(uobj->height, 0);
    ck_assert_uint_eq(core_tag(uobj, 5), UVM_E_HOLE);
    ck_assert_uint_eq(core_tag(uobj, 4), UVM_E_EMPTY);
    ck_assert_uint_eq(core_tag(uobj, UVM_WINDOW_PAGES), UVM_E_EMPTY);
    ck_assert_uint_eq(core_tag(uobj, PGNO_MAX), UVM_E_EMPTY);
    ck_assert_uint_eq(next_leaf(1), UINT32_MAX);
}
END_TEST

/* The tree grows at the root, and what was there before stays where it was. */
START_TEST(test_grow)
{
    uint32_t at[] = {0, 64, 64 * 64, 64 * 64 * 64, 64 * 64 * 64 * 64, PGNO_MAX};

    for (unsigned i = 0; i < 6; i++) {
        ck_assert(!has_leaf(at[i]));
        set(at[i], UVM_E_SLOT, SLOT + i);
        ck_assert_uint_eq(uobj->height, i == 0 ? 0 : MIN(i, 5u));
        for (unsigned k = 0; k <= i; k++)
            ck_assert_uint_eq(core_slot(uobj, at[k]), SLOT + k);
    }
    ck_assert(!has_leaf(128));
    ck_assert(!has_leaf(at[4] + 64));
}
END_TEST

/* The first touch is far out: no leaf appears on the way there. */
START_TEST(test_sparse)
{
    set(PGNO_MAX, UVM_E_SLOT, SLOT);
    ck_assert_uint_eq(next_leaf(0), PGNO_MAX / UVM_WINDOW_PAGES);
    ck_assert_uint_eq(next_leaf(PGNO_MAX / UVM_WINDOW_PAGES), PGNO_MAX / UVM_WINDOW_PAGES);
    ck_assert(!has_leaf(0));
    set(0, UVM_E_HOLE, 0);
    ck_assert_uint_eq(next_leaf(0), 0);
    ck_assert_uint_eq(next_leaf(1), PGNO_MAX / UVM_WINDOW_PAGES);
    ck_assert_uint_eq(uobj->nreserved, 2);
}
END_TEST

START_TEST(test_next)
{
    static const uint32_t leaves[] = {0, 1, 63, 64, 4095, 4096, 262143, 262144, 1u << 24};

    for (unsigned i = 9; i-- > 0;)
        set(leaves[i] * UVM_WINDOW_PAGES + i, UVM_E_HOLE, 0);
    for (unsigned i = 0; i < 9; i++) {
        ck_assert_uint_eq(next_leaf(leaves[i]), leaves[i]);
        ck_assert_uint_eq(next_leaf(leaves[i] + 1), i < 8 ? leaves[i + 1] : UINT32_MAX);
    }
}
END_TEST

START_TEST(test_prune)
{
    set(3, UVM_E_HOLE, 0);
    set(PGNO_MAX, UVM_E_HOLE, 0);
    uvm_lock_acquire(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, PGNO_MAX);
    uvm_leaf_prune(uobj, leaf); /* in use: stays */
    ck_assert_ptr_eq(uvm_leaf_lookup(uobj, PGNO_MAX), leaf);
    uvm_delivered_set(leaf, 1);
    uvm_entry_set(uobj, leaf, PGNO_MAX, 0);
    uvm_leaf_prune(uobj, leaf);
    ck_assert_uint_eq(uvm_stat_get(delivered), 0);
    ck_assert_ptr_null(uvm_leaf_lookup(uobj, PGNO_MAX));
    ck_assert_ptr_nonnull(uvm_leaf_lookup(uobj, 3));
    uvm_lock_release(&uobj->lock);
    ck_assert_uint_eq(core_tag(uobj, 3), UVM_E_HOLE);
    set(64, UVM_E_HOLE, 0); /* the tree that is left still works */
    ck_assert_uint_eq(next_leaf(1), 1);
}
END_TEST

/* A random walk against a model that is an array: tags, values, counts, the order of leaves. */
START_TEST(test_model)
{
    enum { SPAN = 64 * 80, STEPS = 20000 };
    static uvm_entry model[SPAN];
    uint64_t x = 88172645463325252ull;

    for (unsigned step = 0; step < STEPS; step++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint32_t pgno = (uint32_t)(x >> 8) % SPAN;
        enum uvm_entry_tag tag = (const enum uvm_entry_tag[]){UVM_E_EMPTY, UVM_E_EMPTY, UVM_E_HOLE,
                                                              UVM_E_SLOT}[x >> 40 & 3];
        uint32_t value = tag == UVM_E_SLOT ? 1 + (uint32_t)(x >> 20) % 1000 : 0;
        UVM_LOCK_SCOPE(&uobj->lock);
        struct uvm_leaf *leaf = uvm_leaf_make(uobj, pgno);
        uvm_entry_set(uobj, leaf, pgno, uvm_entry_make(tag, value));
        uvm_leaf_prune(uobj, leaf);
        model[pgno] = uvm_entry_make(tag, value);
    }
    uint64_t nreserved = 0, nswapped = 0;
    UVM_LOCK_SCOPE(&uobj->lock);
    for (uint32_t i = 0; i < SPAN; i++) {
        ck_assert_uint_eq(uvm_entry_get(uobj, i), model[i]);
        nreserved += uvm_entry_tag(model[i]) != UVM_E_EMPTY;
        nswapped += uvm_entry_tag(model[i]) == UVM_E_SLOT;
    }
    ck_assert_uint_eq(uobj->nreserved, nreserved);
    ck_assert_uint_eq(uobj->nswapped, nswapped);
    ck_assert_uint_eq(uvm_stat_get(swpgonly), nswapped);
}
END_TEST

START_TEST(test_counts)
{
    set(1, UVM_E_HOLE, 0);
    set(2, UVM_E_SLOT, SLOT);
    ck_assert_uint_eq(uobj->nreserved, 2);
    ck_assert_uint_eq(uobj->nswapped, 1);
    ck_assert_uint_eq(uvm_stat_get(swpgonly), 1);
    set(2, UVM_E_HOLE, 0);
    ck_assert_uint_eq(uobj->nreserved, 2);
    ck_assert_uint_eq(uobj->nswapped, 0);
    ck_assert_uint_eq(uvm_stat_get(swpgonly), 0);
    set(1, UVM_E_EMPTY, 0);
    set(2, UVM_E_EMPTY, 0);
    ck_assert_uint_eq(uobj->nreserved, 0);
}
END_TEST

static struct vm_page *add(uint32_t pgno)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    ck_assert(uvm_pagealloc(1, &list, 0, NULL));
    struct vm_page *pg = TAILQ_FIRST(&list);
    UVM_LOCK_SCOPE(&uobj->lock);
    uvm_object_addpage(uobj, uvm_leaf_make(uobj, pgno), pgno, pg, "test");
    return pg;
}

static void sub(struct vm_page *pg, enum uvm_entry_tag rest)
{
    {
        UVM_LOCK_SCOPE(&uobj->lock);
        uvm_object_subpage(pg, rest);
    }
    uvm_pageput_one(pg);
}

/* A page of a hole: it has a place in the window of its leaf, whose owner the arena knows. */
START_TEST(test_addpage_hole)
{
    uint32_t pgno = 3 * UVM_WINDOW_PAGES + 10, index;
    uint64_t id;

    set(pgno, UVM_E_HOLE, 0);
    struct vm_page *pg = add(pgno);
    uint32_t window = pg->apage / UVM_WINDOW_PAGES;
    ck_assert_ptr_eq(core_page(uobj, pgno), pg);
    ck_assert_uint_eq(pg->flags, PG_BUSY | PG_FAKE);
    ck_assert_uint_eq(pg->swslot, 0);
    ck_assert_uint_eq(pg->apage % UVM_WINDOW_PAGES, 10);
    ck_assert_ptr_eq(pmap_window_owner(window, &id, &index), uobj);
    ck_assert_uint_eq(id, uobj->id);
    ck_assert_uint_eq(index, 3);
    ck_assert_uint_eq(uobj->nresident, 1);
    core_check_object(uobj);
    sub(pg, UVM_E_HOLE);
    ck_assert_uint_eq(core_tag(uobj, pgno), UVM_E_HOLE);
    ck_assert_uint_eq(uobj->nresident, 0);
    /* Its last page is gone: so is the window. */
    ck_assert_ptr_null(pmap_window_owner(window, &id, &index));
    core_check_object(uobj);
}
END_TEST

/* A page of a slot has the slot, and leaves it behind. */
START_TEST(test_addpage_slot)
{
    set(7, UVM_E_SLOT, SLOT);
    struct vm_page *pg = add(7);
    ck_assert_uint_eq(pg->swslot, SLOT);
    ck_assert_uint_eq(uvm_stat_get(swpgonly), 0);
    sub(pg, UVM_E_EMPTY);
    ck_assert_uint_eq(core_tag(uobj, 7), UVM_E_SLOT);
    ck_assert_uint_eq(core_slot(uobj, 7), SLOT);
    ck_assert_uint_eq(uvm_stat_get(swpgonly), 1);
}
END_TEST

/* The pages of one leaf share its window; it stays until the last of them goes. */
START_TEST(test_window)
{
    struct vm_page *pg[3];
    uint32_t gen;

    for (uint32_t i = 0; i < 3; i++) {
        set(i * 31, UVM_E_HOLE, 0);
        pg[i] = add(i * 31);
        ck_assert_uint_eq(pg[i]->apage, pg[0]->apage + i * 31);
    }
    gen = pmap_window_gen(pg[0]->apage / UVM_WINDOW_PAGES);
    sub(pg[0], UVM_E_EMPTY);
    sub(pg[1], UVM_E_EMPTY);
    ck_assert_uint_eq(pmap_window_gen(pg[2]->apage / UVM_WINDOW_PAGES), gen);
    uint32_t window = pg[2]->apage / UVM_WINDOW_PAGES;
    sub(pg[2], UVM_E_EMPTY);
    ck_assert_uint_ne(pmap_window_gen(window), gen);
    ck_assert_uint_eq(uobj->nreserved, 0);
}
END_TEST

START_TEST(test_delivered)
{
    set(0, UVM_E_HOLE, 0);
    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, 0);
    uvm_delivered_set(leaf, 0xff);
    uvm_delivered_set(leaf, 0x1f0); /* only one of them is new */
    ck_assert_uint_eq(uvm_stat_get(delivered), 9);
    uvm_delivered_clear(leaf, 0xf00);
    ck_assert_uint_eq(uvm_stat_get(delivered), 8);
    ck_assert_uint_eq(leaf->delivered, 0xff);
    uvm_delivered_clear(leaf, ~0ull);
    ck_assert_uint_eq(uvm_stat_get(delivered), 0);
}
END_TEST

struct waiter {
    struct uvm_objwait wait;
    unsigned calls;
};

static void woken(struct uvm_work *work)
{
    UVM_CONTAINER_OF(work, struct waiter, wait.work)->calls++;
}

static void wait_on(struct waiter *w, uint32_t pgno, uint32_t npages)
{
    *w = (struct waiter){
        .wait = {.work.fn = woken, .loop = &core_loop, .pgno = pgno, .npages = npages}};
    UVM_LOCK_SCOPE(&uobj->lock);
    uvm_object_wait(uobj, &w->wait);
}

static void make_resident(struct vm_page *pg)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    ck_assert_int_eq(pmap_zero(pg->apage, 1, UVM_PROT_RW), 0);
    uvm_page_filled(pg, false);
}

/* Exactly those whose range has the page are woken, and once. */
START_TEST(test_wakeup_overlap)
{
    static const struct {
        uint32_t pgno, npages;
        bool has11;
    } ranges[] = {{11, 1, true}, {10, 2, true},  {11, 2, true},
                  {9, 5, true},  {10, 1, false}, {12, 1, false}};
    struct vm_page *pg[3];
    struct waiter w[6];

    ck_assert(uvm_reserve_force(3));
    for (uint32_t i = 0; i < 3; i++) {
        set(10 + i, UVM_E_HOLE, 0);
        pg[i] = add(10 + i);
        make_resident(pg[i]);
    }
    for (unsigned i = 0; i < 6; i++)
        wait_on(&w[i], ranges[i].pgno, ranges[i].npages);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(pg[i]->flags & PG_WANTED);
    ck_assert_uint_eq(uvm_stat_get(flt_pgwait), 6);
    core_letgo(pg[1]);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(w[i].calls, 0); /* on its loop, not in here */
    core_run();
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(w[i].calls, ranges[i].has11);
    core_letgo(pg[0]);
    core_letgo(pg[2]);
    core_run();
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(w[i].calls, 1);
    ck_assert(TAILQ_EMPTY(&uobj->waiters));
    core_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
}
END_TEST

/* A page that nobody waits for is let go without a look at the waiters of others. */
START_TEST(test_wakeup_only_wanted)
{
    struct vm_page *pg[2];
    struct waiter w;

    ck_assert(uvm_reserve_force(2));
    for (uint32_t i = 0; i < 2; i++) {
        set(i, UVM_E_HOLE, 0);
        pg[i] = add(i);
        make_resident(pg[i]);
    }
    wait_on(&w, 0, 1);
    ck_assert(!(pg[1]->flags & PG_WANTED));
    core_letgo(pg[1]);
    core_run();
    ck_assert_uint_eq(w.calls, 0);
    /* The page goes for good: that ends the wait too. */
    pmap_remove(pg[0]->apage, 1);
    sub(pg[0], UVM_E_HOLE);
    core_run();
    ck_assert_uint_eq(w.calls, 1);
    core_flush(uobj, 0, 0, PGO_FREE | PGO_ALLPAGES);
}
END_TEST

START_TEST(test_table)
{
    struct uvm_object *a = uao_create(5), *b = uao_create(5 + 65536), *c = uao_create(70);

    ck_assert_uint_eq(uvm_stat_get(objects), 4);
    ck_assert_ptr_eq(uvm_object_lookup(5), a);
    ck_assert_ptr_eq(uvm_object_lookup(5 + 65536), b); /* of the same bucket */
    ck_assert_ptr_null(uvm_object_lookup(6));
    ck_assert_uint_eq(a->refs, 2);
    core_gone(a);
    ck_assert_ptr_eq(uvm_object_lookup(5), a); /* somebody still has it */
    core_gone(a);
    core_gone(a);
    ck_assert_ptr_null(uvm_object_lookup(5));
    core_gone(b);
    core_gone(b);
    core_gone(c);
    ck_assert_uint_eq(uvm_stat_get(objects), 1);
}
END_TEST

START_TEST(test_table_next)
{
    static const uint64_t ids[] = {2, 3, 70000, 70001 + 65536, 1ull << 40};
    struct uvm_object *o[5];
    uint64_t at = 0;

    core_gone(uobj);
    for (unsigned i = 5; i-- > 0;)
        o[i] = uao_create(ids[i]);
    for (unsigned i = 0; i < 5; i++) {
        struct uvm_object *next = uvm_object_next(at);
        ck_assert_ptr_eq(next, o[i]);
        at = next->id;
        core_gone(next);
    }
    ck_assert_ptr_null(uvm_object_next(at));
    for (unsigned i = 0; i < 5; i++)
        core_gone(o[i]);
    uobj = core_object();
}
END_TEST

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A walk of the whole table meets these ids, and no other. */
static void check_table(const uint64_t *ids, unsigned n)
{
    uint64_t at = 0;

    for (unsigned i = 0; i < n; i++) {
        struct uvm_object *o = uvm_object_next(at);
        ck_assert_ptr_nonnull(o);
        ck_assert_uint_eq(o->id, ids[i]);
        at = o->id;
        core_gone(o);
    }
    ck_assert_ptr_null(uvm_object_next(at));
    ck_assert_uint_eq(uvm_stat_get(objects), n);
}

/* Objects come and go in any order; the table is in the order of the ids all the time. */
START_TEST(test_table_random)
{
    enum { OBJECTS = 200, ROUNDS = 20 };
    static struct uvm_object *o[OBJECTS];
    uint64_t x = 88172645463325252ull, ids[OBJECTS];

    core_gone(uobj);
    memset(o, 0, sizeof(o));
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned n = 0;
        for (unsigned step = 0; step < OBJECTS / 2; step++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            unsigned i = (unsigned)(x >> 33) % OBJECTS;
            if (o[i])
                core_gone(o[i]);
            o[i] = o[i] ? NULL : uao_create(1 + (uint64_t)i * (round % 2 ? 1 : 65536 * 5));
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            if (!o[i])
                continue;
            ids[n++] = o[i]->id;
            ck_assert_ptr_eq(uvm_object_lookup(o[i]->id), o[i]);
            core_gone(o[i]);
            ck_assert_uint_eq(o[i]->refs, 1);
        }
        qsort(ids, n, sizeof(ids[0]), by_id);
        check_table(ids, n);
        for (unsigned i = 0; i < OBJECTS && round % 2; i++) {
            if (o[i])
                core_gone(o[i]);
            o[i] = NULL;
        }
    }
    uobj = core_object();
}
END_TEST

/* Ids far apart, as those few inodes have that are left of many: a round of the table still takes a
 * moment. */
START_TEST(test_table_sparse)
{
    enum { OBJECTS = 20000 };
    static uint64_t ids[OBJECTS];
    static struct uvm_object *o[OBJECTS];

    core_gone(uobj);
    for (unsigned i = 0; i < OBJECTS; i++) {
        ids[i] = 1 + (uint64_t)i * 65536;
        o[i] = uao_create(ids[i]);
    }
    clock_t start = clock();
    check_table(ids, OBJECTS);
    ck_assert_double_lt((double)(clock() - start) / CLOCKS_PER_SEC, 1.0);
    for (unsigned i = 0; i < OBJECTS; i++)
        core_gone(o[i]);
    uobj = core_object();
}
END_TEST

/* What a page on swap costs the daemon: its ledger record, its share of a leaf with malloc's header and of the
 * node above it, and a quarter byte of slot bitmaps. */
START_TEST(test_swapped_page_cost)
{
    const double malloc_header = 16, node = 65 * sizeof(void *) + malloc_header, bitmaps = 0.25;
    double leaf = (double)sizeof(struct uvm_leaf) + malloc_header;
    double cost = (double)sizeof(struct uvm_ledger_slot) + leaf / UVM_WINDOW_PAGES +
                  node / 64 / UVM_WINDOW_PAGES + bitmaps;

    ck_assert_double_le(cost, 32.0);
}
END_TEST

static Suite *object_suite(void)
{
    Suite *s = suite_create("object");

    TCase *tc = tcase_create("map");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_entries);
    tcase_add_test(tc, test_small);
    tcase_add_test(tc, test_grow);
    tcase_add_test(tc, test_sparse);
    tcase_add_test(tc, test_next);
    tcase_add_test(tc, test_prune);
    tcase_add_test(tc, test_model);
    tcase_add_test(tc, test_counts);
    suite_add_tcase(s, tc);

    tc = tcase_create("pages");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_addpage_hole);
    tcase_add_test(tc, test_addpage_slot);
    tcase_add_test(tc, test_window);
    tcase_add_test(tc, test_delivered);
    suite_add_tcase(s, tc);

    tc = tcase_create("waiters");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_wakeup_overlap);
    tcase_add_test(tc, test_wakeup_only_wanted);
    suite_add_tcase(s, tc);

    tc = tcase_create("table");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_table);
    tcase_add_test(tc, test_table_next);
    tcase_add_test(tc, test_table_random);
    tcase_add_test(tc, test_table_sparse);
    tcase_add_test(tc, test_swapped_page_cost);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(object_suite)
