/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The revoker: in which order ranges go, who waits for what, and that a loan ends when its range has
 * been revoked and not before. The thread is the real one; the kernel is a function that can be held
 * up. Nobody but the revoker posts to the fake loop while it runs.
 */
#include "core.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "daemon/revoker.h"

#define NPAGES      256u
#define P           UVM_PAGE_SIZE
#define LOG_MAX     8
#define DEADLINE_NS 10000000000ull
#define UNLENT_MAX  256u /* ranges without a loan that the revoker takes */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool hold_revoke, hold_settle; /* (lock) */
    unsigned pass_settle;          /* (lock) so many may go all the same */
    bool in_settle;                /* (lock) */
    unsigned started;              /* (lock) */
    uint32_t log[LOG_MAX];         /* (lock) first page of what has been revoked */
    int error;                     /* (lock) */
} kernel = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int fake_revoke(uint64_t object, uint64_t off, uint64_t len)
{
    pthread_mutex_lock(&kernel.lock);
    if (kernel.started < LOG_MAX)
        kernel.log[kernel.started] = (uint32_t)uvm_atop(off);
    kernel.started++;
    while (kernel.hold_revoke)
        pthread_cond_wait(&kernel.cond, &kernel.lock);
    int error = kernel.error;
    pthread_mutex_unlock(&kernel.lock);
    return error;
}

static void fake_settle(void)
{
    pthread_mutex_lock(&kernel.lock);
    kernel.in_settle = true;
    while (kernel.hold_settle && !kernel.pass_settle)
        pthread_cond_wait(&kernel.cond, &kernel.lock);
    if (kernel.pass_settle)
        kernel.pass_settle--;
    kernel.in_settle = false;
    pthread_mutex_unlock(&kernel.lock);
}

static void hold(bool revoke, bool settle)
{
    pthread_mutex_lock(&kernel.lock);
    kernel.hold_revoke = revoke;
    kernel.hold_settle = settle;
    pthread_cond_broadcast(&kernel.cond);
    pthread_mutex_unlock(&kernel.lock);
}

static void pass_one_settle(void)
{
    pthread_mutex_lock(&kernel.lock);
    kernel.pass_settle++;
    pthread_cond_broadcast(&kernel.cond);
    pthread_mutex_unlock(&kernel.lock);
}

static unsigned started(void)
{
    pthread_mutex_lock(&kernel.lock);
    unsigned n = kernel.started;
    pthread_mutex_unlock(&kernel.lock);
    return n;
}

static bool in_settle(void)
{
    pthread_mutex_lock(&kernel.lock);
    bool in = kernel.in_settle;
    pthread_mutex_unlock(&kernel.lock);
    return in;
}

#define wait_for(cond)                                                           \
    do {                                                                         \
        uint64_t until = uvm_now_ns() + DEADLINE_NS;                             \
        while (!(cond)) {                                                        \
            ck_assert_msg(uvm_now_ns() < until, "%s", #cond);                    \
            sched_yield();                                                       \
        }                                                                        \
        (void)uvm_reserve_parked(); /* what was posted under its lock is seen */ \
    } while (0)

static struct uvm_object *uobj;

static void setup(void)
{
    static const struct uvm_revoker_ops ops = {.revoke = fake_revoke, .settle = fake_settle};
    struct uvm_error err = {0};

    core_up(NPAGES);
    uobj = core_object();
    kernel.started = 0;
    kernel.error = 0;
    hold(false, false);
    ck_assert_msg(uvm_revoker_start(&ops, &err) == 0, "%s", err.msg);
}

static void teardown(void)
{
    hold(false, false);
    uvm_revoker_stop();
    core_check_object(uobj);
    core_gone(uobj);
    core_down();
}

struct parked {
    struct uvm_reservewait wait;
    unsigned calls;
    bool granted;
};

static void answered(struct uvm_work *work)
{
    struct parked *p = UVM_CONTAINER_OF(work, struct parked, wait.work);
    p->calls++;
    p->granted = p->wait.granted;
}

static enum uvm_reserve_result ask(struct parked *p, bool loan, uint32_t n, uint32_t pgno,
                                   uint32_t npages)
{
    *p = (struct parked){.wait = {.work.fn = answered,
                                  .loop = &core_loop,
                                  .object = uobj->id,
                                  .pgno = pgno,
                                  .npages = npages,
                                  .borrows = loan}};
    return loan ? uvm_reserve_lend(n, &p->wait) : uvm_reserve(n, &p->wait);
}

static void check_answer(const struct parked *p, bool granted)
{
    core_run();
    ck_assert_uint_eq(p->calls, 1);
    ck_assert_int_eq(p->granted, granted);
}

static void lend(uint32_t n, uint32_t pgno)
{
    struct parked p;
    ck_assert_int_eq(ask(&p, true, n, pgno, n), UVM_RESERVED);
}

/* Promise everything that is left. => how many pages that was */
static uint32_t use_up(void)
{
    uint64_t total, avail;

    uvm_reserve_space(&total, &avail);
    ck_assert_int_eq(uvm_reserve((uint32_t)avail, NULL), UVM_RESERVED);
    return (uint32_t)avail;
}

/* --- loans --- */

START_TEST(test_loan_ends_after_revoke)
{
    uint32_t n = use_up();

    hold(true, false);
    lend(5, 100);
    ck_assert(uvm_revoker_range(uobj->id, 100, 5, 5));
    wait_for(started() == 1);
    ck_assert_uint_eq(uvm_stat_get(lent), 5);
    ck_assert(uvm_reserve_force(5)); /* all of it was stored to and comes back */
    hold(false, false);
    wait_for(uvm_stat_get(lent) == 0);
    ck_assert_uint_eq(kernel.log[0], 100);
    ck_assert_uint_eq(uvm_stat_get(reserved), n + 5);
    uvm_unreserve(n + 5);
}
END_TEST

/* The client cache knows the file no more, or there is no mount: nobody can store there any more. */
START_TEST(test_loan_ends_with_error)
{
    kernel.error = -ENOENT;
    lend(1, 0);
    ck_assert(uvm_revoker_range(uobj->id, 0, 1, 1));
    wait_for(uvm_stat_get(lent) == 0);
    kernel.error = -ENOTCONN;
    lend(1, 0);
    ck_assert(uvm_revoker_range(uobj->id, 0, 1, 1));
    wait_for(uvm_stat_get(lent) == 0);
    ck_assert_uint_eq(started(), 2);
}
END_TEST

/* A range in which somebody is parked waits, is not forgotten, and keeps its loan; others go. */
START_TEST(test_blocked_range_stays)
{
    struct parked p;
    uint32_t n = use_up();

    hold(false, true);
    ck_assert_int_eq(ask(&p, false, 1, 12, 1), UVM_RESERVE_PARKED);
    wait_for(in_settle()); /* nothing to take back: it will be refused */
    lend(64, 0);
    lend(64, 64);
    ck_assert(uvm_revoker_range(uobj->id, 0, 64, 64));
    ck_assert(uvm_revoker_range(uobj->id, 64, 64, 64));
    struct parked q;
    ck_assert_int_eq(ask(&q, false, 1, 13, 1), UVM_RESERVE_PARKED); /* behind the mark */
    pass_one_settle();
    wait_for(started() == 1 && in_settle());
    ck_assert_uint_eq(kernel.log[0], 64);
    ck_assert_uint_eq(uvm_stat_get(lent), 64);
    check_answer(&p, false);
    ck_assert_uint_eq(q.calls, 0);
    hold(false, false);
    wait_for(uvm_stat_get(lent) == 0);
    ck_assert_uint_eq(started(), 2);
    ck_assert_uint_eq(kernel.log[1], 0);
    check_answer(&q, false);
    uvm_unreserve(n);
}
END_TEST

/* Who waits for a loan inside the range that is to give it back is refused; the others are served. */
START_TEST(test_borrower_inside)
{
    struct parked in, out;
    uint32_t n = use_up();

    lend(UVM_RESERVE_LENT_MAX, 0);
    ck_assert_int_eq(ask(&in, true, 10, 200, 10), UVM_RESERVE_PARKED);
    ck_assert_int_eq(ask(&out, true, 7, 5000, 10), UVM_RESERVE_PARKED);
    ck_assert(uvm_revoker_range(uobj->id, 0, UVM_RESERVE_LENT_MAX, UVM_RESERVE_LENT_MAX));
    wait_for(uvm_stat_get(lent) == 7);
    check_answer(&in, false);
    check_answer(&out, true);
    ck_assert_uint_eq(started(), 1);
    uvm_reserve_return(7);
    uvm_unreserve(n);
}
END_TEST

/* Nobody is refused while the range of another loan can be revoked. */
START_TEST(test_borrower_inside_is_served)
{
    struct parked in;
    uint32_t n = use_up();

    lend(257, 0);
    lend(257, 1000);
    ck_assert_int_eq(ask(&in, true, 10, 200, 10), UVM_RESERVE_PARKED);
    ck_assert(uvm_revoker_range(uobj->id, 0, 257, 257));
    ck_assert(uvm_revoker_range(uobj->id, 1000, 257, 257));
    wait_for(uvm_stat_get(lent) == 10);
    check_answer(&in, true);
    uvm_reserve_return(10);
    uvm_unreserve(n);
}
END_TEST

/* --- the queue --- */

/* Ranges without a loan leave room for all those that have one. */
START_TEST(test_queue)
{
    hold(true, false);
    for (unsigned i = 0; i < UNLENT_MAX; i++)
        ck_assert(uvm_revoker_range(uobj->id, i, 1, 0));
    ck_assert(!uvm_revoker_range(uobj->id, 0, 1, 0));
    for (unsigned i = 0; i < UVM_RESERVE_LENT_MAX; i++) {
        lend(1, i);
        ck_assert(uvm_revoker_range(uobj->id, i, 1, 1));
    }
    hold(false, false);
    wait_for(started() == UNLENT_MAX + UVM_RESERVE_LENT_MAX);
    wait_for(uvm_stat_get(lent) == 0);
    ck_assert(uvm_revoker_range(uobj->id, 0, 1, 0));
}
END_TEST

/* The end: what is queued is revoked, who is parked is refused, and nothing is taken any more. */
START_TEST(test_stop)
{
    struct parked store, read;
    uint32_t n = use_up();

    hold(false, true);
    lend(500, 0);
    ck_assert_int_eq(ask(&store, false, 1, 3, 1), UVM_RESERVE_PARKED);
    wait_for(in_settle());
    ck_assert_int_eq(ask(&read, true, 100, 0, 100), UVM_RESERVE_PARKED);
    ck_assert(uvm_revoker_range(uobj->id, 0, 500, 500));
    hold(false, false);
    uvm_revoker_stop();
    ck_assert_uint_eq(uvm_stat_get(lent), 0);
    check_answer(&store, false);
    check_answer(&read, false);
    ck_assert_int_eq(ask(&store, false, 1, 3, 1), UVM_RESERVE_PARKED);
    check_answer(&store, false);
    ck_assert(!uvm_revoker_range(uobj->id, 0, 1, 1));
    uvm_revoker_reclaim(); /* of no use, and does no harm */
    uvm_unreserve(n);
}
END_TEST

/* --- holes --- */

/* A hole that was only read gives its reservation to who is parked. */
START_TEST(test_reclaim)
{
    CLEANUP_FREE char *buf = malloc(10 * P);
    struct parked p;

    ck_assert_int_eq(core_read(uobj, uvm_ptoa(70), buf, 10 * P, 0), 0);
    core_fill(uobj, 73, 1, 1);
    uint32_t n = use_up();
    ck_assert_int_eq(ask(&p, false, 9, 0, 1), UVM_RESERVE_PARKED);
    wait_for(!uvm_reserve_parked());
    check_answer(&p, true);
    ck_assert_uint_eq(core_tag(uobj, 70), UVM_E_EMPTY);
    core_verify(uobj, 73, 1, 1);
    uvm_unreserve(n + 9);
}
END_TEST

/* What fallocate promises while it is being revoked stays promised. */
START_TEST(test_reclaim_promised)
{
    char page[P];
    struct parked p;

    ck_assert_int_eq(core_read(uobj, uvm_ptoa(70), page, P, 0), 0);
    uint32_t n = use_up();
    hold(true, false);
    ck_assert_int_eq(ask(&p, false, 1, 0, 1), UVM_RESERVE_PARKED);
    wait_for(started() == 1);
    ck_assert_int_eq(uvm_allocate(uobj, 70, 1), 0);
    hold(false, false);
    wait_for(!uvm_reserve_parked());
    check_answer(&p, false);
    ck_assert_uint_eq(core_tag(uobj, 70), UVM_E_HOLE);
    uvm_unreserve(n);
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static Suite *revoker_suite(void)
{
    Suite *s = suite_create("revoker");

    TCase *tc = add_case(s, "loans");
    tcase_add_test(tc, test_loan_ends_after_revoke);
    tcase_add_test(tc, test_loan_ends_with_error);
    tcase_add_test(tc, test_blocked_range_stays);
    tcase_add_test(tc, test_borrower_inside);
    tcase_add_test(tc, test_borrower_inside_is_served);

    tc = add_case(s, "the queue");
    tcase_add_test(tc, test_queue);
    tcase_add_test(tc, test_stop);

    tc = add_case(s, "holes");
    tcase_add_test(tc, test_reclaim);
    tcase_add_test(tc, test_reclaim_promised);
    return s;
}

UNIT_MAIN(revoker_suite)
