/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transitions of page.h, one by one: the legal ones with what each leaves behind, the illegal
 * ones by the abort they must cause. And the free list: all or none, the reserve, waiters in order.
 *
 * Pages are put into an object without an entry in its map: that map is test_object.c's business.
 */
#include "core.h"

#include <signal.h>

#include "daemon/ledger.h"
#include "daemon/policy.h"

#define NPAGES (2 * UVM_PAGE_RESERVE)
#define SLOT   5u

static struct uvm_object *uobj;
static struct vm_page *pg;
static unsigned kicks;

static void kick(void)
{
    kicks++;
}

static void setup(void)
{
    core_up(NPAGES);
    uobj = core_object();
    kicks = 0;
}

static void teardown(void)
{
    core_gone(uobj);
    core_down();
}

static struct vm_page *take_one(void)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    ck_assert(uvm_pagealloc(1, &list, 0, NULL));
    struct vm_page *one = TAILQ_FIRST(&list);
    ck_assert_ptr_null(TAILQ_NEXT(one, pageq));
    TAILQ_REMOVE(&list, one, pageq);
    return one;
}

/* From here the object is locked: what follows is about its page. */
static void setup_fake(void)
{
    setup();
    pg = take_one();
    uvm_lock_acquire(&uobj->lock);
    uvm_page_insert(pg, uobj, 7, 3, 0, "test");
}

static void setup_busy(void)
{
    setup_fake();
    uvm_page_filled(pg, false);
}

static void setup_resident(void)
{
    setup_busy();
    ck_assert(!uvm_page_unbusy(pg, UVM_Q_ACTIVE));
}

/* => the page is busy */
static void teardown_busy(void)
{
    uvm_page_remove(pg);
    uvm_lock_release(&uobj->lock);
    uvm_pageput_one(pg);
    teardown();
}

static void teardown_resident(void)
{
    uvm_page_busy(pg, "test");
    teardown_busy();
}

/* free -> in hand -> free */
START_TEST(test_alloc_put)
{
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    pg = take_one();
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES - 1);
    ck_assert_uint_eq(pg->pqflags, 0);
    ck_assert_ptr_null(pg->uobject);
    ck_assert_ptr_eq(uvm_page_at(uvm_page_number(pg)), pg);
    page_assert(pg);
    uvm_pageput_one(pg);
    ck_assert_uint_eq(pg->pqflags, PQ_FREE);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
}
END_TEST

/* in hand -> busy, FAKE: nothing is on record for a page without data */
START_TEST(test_insert)
{
    ck_assert_ptr_eq(pg->uobject, uobj);
    ck_assert_uint_eq(pg->pgno, 7);
    ck_assert_uint_eq(pg->apage, 3);
    ck_assert_uint_eq(pg->flags, PG_BUSY | PG_FAKE);
    ck_assert_uint_eq(pg->pqflags, 0);
    ck_assert_str_eq(pg->owner, "test");
    ck_assert_uint_eq(uvm_ledger_page(uvm_page_number(pg))->object, 0);
}
END_TEST

/* busy -> busy: FAKE goes, and the ledger has the page */
START_TEST(test_filled_dirty)
{
    const struct uvm_ledger_page *r = uvm_ledger_page(uvm_page_number(pg));

    uvm_page_filled(pg, false);
    ck_assert_uint_eq(pg->flags, PG_BUSY);
    ck_assert_uint_eq(r->object, uobj->id);
    ck_assert_uint_eq(r->pgno, 7);
    ck_assert_uint_eq(r->apage, 3);
    ck_assert_uint_eq(r->slot, 0);
    ck_assert_uint_eq(r->flags, UVM_LEDGER_DIRTY);
}
END_TEST

/* ... with a slot that holds the same bytes */
START_TEST(test_filled_clean)
{
    const struct uvm_ledger_page *r = uvm_ledger_page(uvm_page_number(pg));

    uvm_page_remove(pg);
    uvm_page_insert(pg, uobj, 7, 3, SLOT, "test");
    uvm_page_filled(pg, true);
    ck_assert_uint_eq(pg->flags, PG_BUSY | PG_CLEAN);
    ck_assert_uint_eq(r->slot, SLOT);
    ck_assert_uint_eq(r->flags, 0);
}
END_TEST

/* busy -> resident: on one queue, nobody's */
START_TEST(test_unbusy)
{
    static const struct {
        enum uvm_pageq where;
        unsigned queue;
    } cases[] = {
        {UVM_Q_ACTIVE, PQ_ACTIVE}, {UVM_Q_INACTIVE, PQ_INACTIVE}, {UVM_Q_FIRST, PQ_INACTIVE}};

    for (unsigned i = 0; i < 3; i++) {
        ck_assert(!uvm_page_unbusy(pg, cases[i].where));
        ck_assert_uint_eq(pg->flags, 0);
        ck_assert_uint_eq(pg->pqflags, cases[i].queue);
        ck_assert_ptr_null(pg->owner);
        ck_assert_uint_eq(uvm_stat_get(active), cases[i].queue == PQ_ACTIVE);
        ck_assert_uint_eq(uvm_stat_get(inactive), cases[i].queue == PQ_INACTIVE);
        uvm_page_busy(pg, "test");
    }
}
END_TEST

/* ... and it tells whether somebody wants it */
START_TEST(test_unbusy_wanted)
{
    pg->flags |= PG_WANTED;
    ck_assert(uvm_page_unbusy(pg, UVM_Q_ACTIVE));
    ck_assert_uint_eq(pg->flags & PG_WANTED, 0);
    uvm_page_busy(pg, "test");
    ck_assert(!uvm_page_unbusy(pg, UVM_Q_ACTIVE));
    uvm_page_busy(pg, "test");
}
END_TEST

/* resident -> busy: on no queue */
START_TEST(test_busy)
{
    uvm_page_busy(pg, "first");
    ck_assert_uint_eq(pg->flags, PG_BUSY);
    ck_assert_uint_eq(pg->pqflags, 0);
    ck_assert_str_eq(pg->owner, "first");
    ck_assert_uint_eq(uvm_stat_get(active), 0);
    uvm_page_unbusy(pg, UVM_Q_ACTIVE);
    {
        UVM_LOCK_SCOPE(uvm_page_queue_lock());
        uvm_page_busy_queued(pg, "second");
    }
    ck_assert_str_eq(pg->owner, "second");
    ck_assert_uint_eq(uvm_stat_get(active), 0);
    uvm_page_unbusy(pg, UVM_Q_ACTIVE);
}
END_TEST

/* A page's slot: given to a dirty page, kept while clean, handed back when the page is dirtied. */
START_TEST(test_slot)
{
    const struct uvm_ledger_page *r = uvm_ledger_page(uvm_page_number(pg));

    ck_assert_uint_eq(uvm_page_dirty(pg), 0);
    uvm_page_assign(pg, SLOT);
    ck_assert_uint_eq(pg->swslot, SLOT);
    ck_assert_uint_eq(pg->flags & PG_CLEAN, 0); /* not before it has been written */
    ck_assert_uint_eq(r->slot, SLOT);
    ck_assert_uint_eq(r->flags, UVM_LEDGER_DIRTY);
    uvm_page_cleaned(pg);
    ck_assert_uint_eq(pg->flags, PG_BUSY | PG_CLEAN);
    ck_assert_uint_eq(r->flags, 0);
    ck_assert_uint_eq(uvm_page_dirty(pg), SLOT);
    ck_assert_uint_eq(pg->swslot, 0);
    ck_assert_uint_eq(pg->flags, PG_BUSY);
    ck_assert_uint_eq(r->slot, 0);
    ck_assert_uint_eq(r->flags, UVM_LEDGER_DIRTY);
}
END_TEST

/* busy -> in hand: nothing of its life in the object is left */
START_TEST(test_remove)
{
    pg->flags |= PG_WANTED | PG_RELEASED;
    pg->swslot = SLOT;
    uvm_page_reference(pg);
    uvm_page_remove(pg);
    ck_assert_ptr_null(pg->uobject);
    ck_assert_uint_eq(pg->flags, 0);
    ck_assert_uint_eq(pg->swslot, 0);
    ck_assert_uint_eq(pg->referenced, 0);
    ck_assert_uint_eq(uvm_ledger_page(uvm_page_number(pg))->object, 0);
    uvm_page_insert(pg, uobj, 7, 3, 0, "test");
}
END_TEST

START_TEST(test_wire)
{
    uvm_page_wire(pg);
    uvm_page_wire(pg);
    ck_assert_uint_eq(pg->pqflags, 0);
    ck_assert_uint_eq(uvm_stat_get(wired), 1);
    ck_assert_uint_eq(uvm_stat_get(active), 0);
    uvm_page_busy(pg, "test");
    uvm_page_unbusy(pg, UVM_Q_ACTIVE); /* wired: still on no queue */
    ck_assert_uint_eq(pg->pqflags, 0);
    uvm_page_unwire(pg);
    ck_assert_uint_eq(pg->pqflags, 0);
    ck_assert_uint_eq(uvm_stat_get(wired), 1);
    uvm_page_unwire(pg);
    ck_assert_uint_eq(pg->pqflags, PQ_ACTIVE);
    ck_assert_uint_eq(uvm_stat_get(wired), 0);
}
END_TEST

START_TEST(test_remove_wired)
{
    uvm_page_wire(pg);
    uvm_page_busy(pg, "test");
    uvm_page_remove(pg);
    ck_assert_uint_eq(uvm_stat_get(wired), 0);
    ck_assert_uint_eq(pg->wire_count, 0);
    uvm_page_insert(pg, uobj, 7, 3, 0, "test");
    uvm_page_filled(pg, false);
    uvm_page_unbusy(pg, UVM_Q_ACTIVE);
}
END_TEST

/* The transitions that there are not. */
#define ILLEGAL(name, what)    \
    START_TEST(illegal_##name) \
    {                          \
        what;                  \
    }                          \
    END_TEST

ILLEGAL(unbusy_fake, uvm_page_unbusy(pg, UVM_Q_ACTIVE))
ILLEGAL(dirty_fake, uvm_page_dirty(pg))
ILLEGAL(assign_fake, uvm_page_assign(pg, SLOT))
ILLEGAL(cleaned_fake, uvm_page_cleaned(pg))
ILLEGAL(insert_owned, uvm_page_insert(pg, uobj, 8, 4, 0, "test"))
ILLEGAL(insert_free, uvm_pageput_one(take_one());
        uvm_page_insert(uvm_page_at(NPAGES - 1), uobj, 8, 4, 0, "test"))
ILLEGAL(put_owned, uvm_lock_release(&uobj->lock); uvm_pageput_one(pg))

ILLEGAL(busy_busy, uvm_page_busy(pg, "test"))
ILLEGAL(filled_twice, uvm_page_filled(pg, false))
ILLEGAL(unbusy_released, pg->flags |= PG_RELEASED; uvm_page_unbusy(pg, UVM_Q_ACTIVE))
ILLEGAL(unbusy_unlocked, uvm_lock_release(&uobj->lock); uvm_page_unbusy(pg, UVM_Q_ACTIVE))
ILLEGAL(assign_twice, uvm_page_assign(pg, SLOT); uvm_page_assign(pg, SLOT + 1))
ILLEGAL(assign_clean, uvm_page_cleaned(pg); uvm_page_assign(pg, SLOT))
ILLEGAL(wire_busy, uvm_page_wire(pg))
ILLEGAL(clean_fake, pg->flags |= PG_CLEAN | PG_FAKE; page_assert(pg))

ILLEGAL(unbusy_resident, uvm_page_unbusy(pg, UVM_Q_ACTIVE))
ILLEGAL(remove_resident, uvm_page_remove(pg))
ILLEGAL(filled_resident, uvm_page_filled(pg, false))
ILLEGAL(dirty_resident, uvm_page_dirty(pg))
ILLEGAL(assign_resident, uvm_page_assign(pg, SLOT))
ILLEGAL(cleaned_resident, uvm_page_cleaned(pg))
ILLEGAL(unwire_unwired, uvm_page_unwire(pg))
ILLEGAL(busy_unlocked, uvm_lock_release(&uobj->lock); uvm_page_busy(pg, "test"))
ILLEGAL(queued_twice, uvm_policy->enqueue(pg, UVM_Q_INACTIVE))
ILLEGAL(resident_released, pg->flags |= PG_RELEASED; page_assert(pg))
ILLEGAL(on_two_queues, pg->pqflags |= PQ_INACTIVE; page_assert(pg))

/* P9, all or none */
START_TEST(test_all_or_none)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    ck_assert(!uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE + 1, &list, 0, NULL));
    ck_assert(TAILQ_EMPTY(&list));
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    ck_assert(!uvm_pagealloc(1, &list, 0, NULL));
    uvm_pageput(&list);
    ck_assert(TAILQ_EMPTY(&list));
}
END_TEST

START_TEST(test_reserve)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list), more = TAILQ_HEAD_INITIALIZER(more);

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    ck_assert(uvm_pagealloc(UVM_PAGE_RESERVE, &more, UVM_PGA_USERESERVE, NULL));
    ck_assert_uint_eq(uvm_stat_get(free), 0);
    ck_assert(!uvm_pagealloc(1, &more, UVM_PGA_USERESERVE, NULL));
    uvm_pageput(&more);
    ck_assert(!uvm_pagealloc(1, &more, 0, NULL)); /* the reserve is filled first */
    uvm_pageput(&list);
}
END_TEST

struct waiter {
    struct uvm_pagewait wait;
    unsigned calls;
};

static void got(struct uvm_work *work)
{
    UVM_CONTAINER_OF(work, struct waiter, wait.work)->calls++;
}

static void wait_for(struct waiter *w, uint32_t n)
{
    struct vm_pagelist none = TAILQ_HEAD_INITIALIZER(none);

    *w = (struct waiter){.wait.work.fn = got, .wait.loop = &core_loop};
    ck_assert(!uvm_pagealloc(n, &none, 0, &w->wait));
    ck_assert(TAILQ_EMPTY(&none));
}

/* How many pages has the waiter been given? */
static uint32_t given(const struct waiter *w)
{
    uint32_t n = 0;
    struct vm_page *p;

    core_run();
    TAILQ_FOREACH (p, &w->wait.list, pageq)
        n++;
    ck_assert_uint_eq(w->calls, n > 0);
    return n;
}

/* Take the last page of a list and free it. */
static void put_last(struct vm_pagelist *list)
{
    struct vm_page *p = TAILQ_LAST(list, vm_pagelist);
    TAILQ_REMOVE(list, p, pageq);
    uvm_pageput_one(p);
}

START_TEST(test_waiters_in_order)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list), none = TAILQ_HEAD_INITIALIZER(none);
    struct waiter a, b;

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    wait_for(&a, 3);
    wait_for(&b, 1);
    ck_assert(uvm_page_wanted());
    ck_assert_uint_eq(uvm_stat_get(flt_noram), 2);
    for (unsigned i = 0; i < 2; i++) {
        put_last(&list);
        ck_assert_uint_eq(given(&a), 0);
        ck_assert_uint_eq(given(&b), 0);              /* there would be enough for it */
        ck_assert(!uvm_pagealloc(1, &none, 0, NULL)); /* and for a newcomer */
    }
    put_last(&list);
    ck_assert_uint_eq(given(&a), 3);
    ck_assert_uint_eq(given(&b), 0);
    put_last(&list);
    ck_assert_uint_eq(given(&b), 1);
    ck_assert(!uvm_page_wanted());
    uvm_pageput(&list);
    uvm_pageput(&a.wait.list);
    uvm_pageput(&b.wait.list);
}
END_TEST

/* One put that is enough for several: all are served, in order. */
START_TEST(test_waiters_several)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct waiter w[4];

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    for (unsigned i = 0; i < 4; i++)
        wait_for(&w[i], i + 1);
    uvm_pageput(&list);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(given(&w[i]), i + 1);
        uvm_pageput(&w[i].wait.list);
    }
}
END_TEST

/* A waiter for all there is gets it though many small requests keep coming. */
START_TEST(test_large_waiter_not_starved)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    uint32_t all = NPAGES - UVM_PAGE_RESERVE;
    struct waiter large, small[NPAGES - UVM_PAGE_RESERVE];

    ck_assert(uvm_pagealloc(all, &list, 0, NULL));
    wait_for(&large, all);
    for (uint32_t i = 0; i < all; i++) {
        ck_assert_uint_eq(given(&large), 0);
        wait_for(&small[i], 1);
        put_last(&list);
    }
    ck_assert_uint_eq(given(&large), all);
    uvm_pageput(&large.wait.list);
    for (uint32_t i = 0; i < all; i++) {
        ck_assert_uint_eq(given(&small[i]), 1);
        uvm_pageput(&small[i].wait.list);
    }
}
END_TEST

/* The fault thread does not queue behind others for the reserve that is there for it. */
START_TEST(test_reserve_passes_waiters)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list), more = TAILQ_HEAD_INITIALIZER(more);
    struct waiter w;

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    wait_for(&w, 1);
    ck_assert(uvm_pagealloc(1, &more, UVM_PGA_USERESERVE, NULL));
    uvm_pageput(&more);
    ck_assert_uint_eq(given(&w), 0); /* only the reserve is full again */
    uvm_pageput(&list);
    ck_assert_uint_eq(given(&w), 1);
    uvm_pageput(&w.wait.list);
}
END_TEST

/* Even the reserve is used up: the fault thread waits, but not behind those it may be needed by, and
 * not until the reserve is full again. */
START_TEST(test_reserve_waiter_first)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list), more = TAILQ_HEAD_INITIALIZER(more);
    struct waiter client, fault = {.wait.work.fn = got, .wait.loop = &core_loop};

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    ck_assert(uvm_pagealloc(UVM_PAGE_RESERVE, &more, UVM_PGA_USERESERVE, NULL));
    wait_for(&client, 3);
    ck_assert(!uvm_pagealloc(1, &more, UVM_PGA_USERESERVE, &fault.wait));
    put_last(&more);
    ck_assert_uint_eq(given(&fault), 1);
    ck_assert_uint_eq(given(&client), 0);
    uvm_pageput(&fault.wait.list);
    uvm_pageput(&more);
    uvm_pageput(&list);
    ck_assert_uint_eq(given(&client), 3);
    uvm_pageput(&client.wait.list);
}
END_TEST

START_TEST(test_wanted)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct waiter a, b;

    ck_assert_uint_eq(uvm_page_wanted(), 0);
    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    wait_for(&a, 7);
    wait_for(&b, 20);
    ck_assert_uint_eq(uvm_page_wanted(), 7 + UVM_PAGE_RESERVE); /* the first one's */
    ck_assert(uvm_pagewait_cancel(&a.wait));
    ck_assert(!uvm_pagewait_cancel(&a.wait));
    ck_assert_uint_eq(uvm_page_wanted(), 20 + UVM_PAGE_RESERVE);
    uvm_pageput(&list);
    ck_assert_uint_eq(uvm_page_wanted(), 0);
    ck_assert(!uvm_pagewait_cancel(&b.wait)); /* its pages are on their way */
    ck_assert_uint_eq(given(&a), 0);
    ck_assert_uint_eq(given(&b), 20);
    uvm_pageput(&b.wait.list);
}
END_TEST

/* Who stops waiting was perhaps all that stood in the way of the next. */
START_TEST(test_cancel_lets_next)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);
    struct waiter large, small;

    ck_assert(uvm_pagealloc(NPAGES - UVM_PAGE_RESERVE, &list, 0, NULL));
    wait_for(&large, 9);
    wait_for(&small, 1);
    put_last(&list);
    ck_assert_uint_eq(given(&small), 0);
    ck_assert(uvm_pagewait_cancel(&large.wait));
    ck_assert_uint_eq(given(&small), 1);
    uvm_pageput(&list);
    uvm_pageput(&small.wait.list);
}
END_TEST

START_TEST(test_kick)
{
    struct vm_pagelist list = TAILQ_HEAD_INITIALIZER(list);

    uvm_page_set_kick(kick);
    uvm_stat_set(freemin, NPAGES - 2);
    for (unsigned i = 0; i < 2; i++)
        ck_assert(uvm_pagealloc(1, &list, 0, NULL));
    ck_assert_uint_eq(kicks, 0);
    ck_assert(uvm_pagealloc(1, &list, 0, NULL));
    ck_assert_uint_eq(kicks, 1); /* below freemin */
    uvm_stat_set(freemin, 0);
    ck_assert(!uvm_pagealloc(NPAGES, &list, 0, NULL));
    ck_assert_uint_eq(kicks, 2); /* refused */
    uvm_pageput(&list);
    uvm_page_set_kick(NULL);
}
END_TEST

static TCase *illegal(Suite *s, const char *name, void (*prepare)(void))
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, prepare, NULL);
    suite_add_tcase(s, tc);
    return tc;
}

#define ABORTS(name) tcase_add_test_raise_signal(tc, illegal_##name, SIGABRT)

static void add_illegal(Suite *s)
{
    TCase *tc = illegal(s, "illegal for a FAKE page", setup_fake);
    ABORTS(unbusy_fake);
    ABORTS(dirty_fake);
    ABORTS(assign_fake);
    ABORTS(cleaned_fake);
    ABORTS(insert_owned);
    ABORTS(insert_free);
    ABORTS(put_owned);

    tc = illegal(s, "illegal for a busy page", setup_busy);
    ABORTS(busy_busy);
    ABORTS(filled_twice);
    ABORTS(unbusy_released);
    ABORTS(unbusy_unlocked);
    ABORTS(assign_twice);
    ABORTS(assign_clean);
    ABORTS(wire_busy);
    ABORTS(clean_fake);

    tc = illegal(s, "illegal for a resident page", setup_resident);
    ABORTS(unbusy_resident);
    ABORTS(remove_resident);
    ABORTS(filled_resident);
    ABORTS(dirty_resident);
    ABORTS(assign_resident);
    ABORTS(cleaned_resident);
    ABORTS(unwire_unwired);
    ABORTS(busy_unlocked);
    ABORTS(queued_twice);
    ABORTS(resident_released);
    ABORTS(on_two_queues);
}

static Suite *page_suite(void)
{
    Suite *s = suite_create("page");

    TCase *tc = tcase_create("FAKE page");
    tcase_add_checked_fixture(tc, setup_fake, teardown_busy);
    tcase_add_test(tc, test_insert);
    tcase_add_test(tc, test_filled_dirty);
    tcase_add_test(tc, test_filled_clean);
    suite_add_tcase(s, tc);

    tc = tcase_create("busy page");
    tcase_add_checked_fixture(tc, setup_busy, teardown_busy);
    tcase_add_test(tc, test_unbusy);
    tcase_add_test(tc, test_unbusy_wanted);
    tcase_add_test(tc, test_slot);
    tcase_add_test(tc, test_remove);
    suite_add_tcase(s, tc);

    tc = tcase_create("resident page");
    tcase_add_checked_fixture(tc, setup_resident, teardown_resident);
    tcase_add_test(tc, test_busy);
    tcase_add_test(tc, test_wire);
    tcase_add_test(tc, test_remove_wired);
    suite_add_tcase(s, tc);

    add_illegal(s);

    tc = tcase_create("free list");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_alloc_put);
    tcase_add_test(tc, test_all_or_none);
    tcase_add_test(tc, test_reserve);
    tcase_add_test(tc, test_waiters_in_order);
    tcase_add_test(tc, test_waiters_several);
    tcase_add_test(tc, test_large_waiter_not_starved);
    tcase_add_test(tc, test_reserve_passes_waiters);
    tcase_add_test(tc, test_reserve_waiter_first);
    tcase_add_test(tc, test_wanted);
    tcase_add_test(tc, test_cancel_lets_next);
    tcase_add_test(tc, test_kick);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(page_suite)
