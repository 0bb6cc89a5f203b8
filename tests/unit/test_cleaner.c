/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write-behind, and writers that wait for it: which files are cleaned when, that nothing is allocated
 * for it, and that a file which cannot be written stops only its own writers.
 */
#include "vnode_rig.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/cleaner.h"

#define MOST       (RIG_PAGES / 4)
#define BACKGROUND (MOST / 2)
#define AGE_NS     UVM_CLEANER_AGE_NS

static struct uvm_object *other;
static int other_fd;

static void setup(void)
{
    struct uvm_error err = {0};

    rig_up(RIG_DIRECT, 0);
    other = rig_vnode(RIG_DIRECT, 0, &other_fd);
    ck_assert_int_eq(uvm_cleaner_start(&err), 0);
    ck_assert_uint_eq(uvn_dirty_max(), MOST);
    ck_assert_uint_eq(uvn_dirty_background(), BACKGROUND);
}

static void teardown(void)
{
    uvn_inject_clear();
    uvm_cleaner_stop();
    core_gone(other);
    close(other_fd);
    rig_down();
}

/* Time goes by for a vnode. */
static void age(struct uvm_object *uobj, uint64_t ns)
{
    uvm_vnode(uobj)->dirty_since_ns -= ns;
}

static void tick(void)
{
    ck_assert_uint_eq(core_tick(), 1);
    core_run();
}

START_TEST(test_age)
{
    core_fill(rig_obj, 0, 3, 1);
    core_fill(other, 0, 3, 1);
    tick();
    ck_assert_uint_eq(uvm_stat_get(vndirty), 6);
    age(rig_obj, AGE_NS);
    tick();
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    ck_assert_uint_eq(other->ndirty, 3);
    ck_assert(rig_file_is(2, 1, UVM_PAGE_SIZE));
    age(other, AGE_NS);
    tick();
    ck_assert_uint_eq(other->ndirty, 0);
    ck_assert_ptr_null(uvn_dirty_next(UINT64_MAX));
    /* It is young when it is dirty again. */
    core_fill(rig_obj, 0, 1, 2);
    tick();
    ck_assert_uint_eq(rig_obj->ndirty, 1);
}
END_TEST

/* Too many: at once, the oldest first, and no more than is needed. */
START_TEST(test_ratio)
{
    core_fill(other, 0, 100, 1);
    core_fill(rig_obj, 0, BACKGROUND - 100, 1);
    core_run();
    ck_assert_uint_eq(uvm_stat_get(vndirty), BACKGROUND);
    core_fill(rig_obj, BACKGROUND, 2, 1);
    core_fill(rig_obj, BACKGROUND + 2, 2, 1);
    core_run();
    ck_assert_uint_eq(other->ndirty, 0);
    ck_assert_uint_lt(uvm_stat_get(vndirty), BACKGROUND);
}
END_TEST

/* What it flushes with was made at the start: the pager map apart it needs nothing. */
START_TEST(test_many)
{
    core_fill(rig_obj, 0, 400, 1);
    for (int i = 0; i < 20; i++) {
        core_fill(rig_obj, 10 * (uint32_t)i, 1, 2);
        age(rig_obj, AGE_NS);
        tick();
        ck_assert_uint_eq(rig_obj->ndirty, 0);
    }
}
END_TEST

/* A file that cannot be written is tried again after a while, and does not stop the others. */
START_TEST(test_error)
{
    struct uvn_fault rule = {.writes = true, .error = ENOSPC, .object = rig_obj->id};

    ck_assert_int_eq(uvn_inject(&rule), 0);
    core_fill(rig_obj, 0, 3, 1);
    core_fill(other, 0, 3, 1);
    age(rig_obj, 2 * AGE_NS);
    age(other, AGE_NS);
    core_loop.ndone = 0;
    tick();
    ck_assert_uint_eq(rig_obj->ndirty, 3);
    ck_assert_uint_eq(other->ndirty, 0);
    uint64_t errors = uvm_stat_get(ioerrors);
    ck_assert_uint_gt(errors, 0);
    age(rig_obj, 2 * AGE_NS);
    tick();
    tick();
    ck_assert_uint_eq(uvm_stat_get(ioerrors), errors); /* left alone */
    uvm_vnode(rig_obj)->resume_ns = 0;
    age(rig_obj, 2 * AGE_NS);
    tick();
    ck_assert_uint_gt(uvm_stat_get(ioerrors), errors);
    uvn_inject_clear();
    uvm_vnode(rig_obj)->resume_ns = 0;
    age(rig_obj, 2 * AGE_NS);
    tick();
    ck_assert_uint_eq(rig_obj->ndirty, 0);
}
END_TEST

/* A vnode that goes while it is on the list. */
START_TEST(test_gone)
{
    int fd;
    struct uvm_object *third = rig_vnode(RIG_BUFFERED, 0, &fd);

    core_fill(third, 0, 10, 1);
    struct vm_page *pg = core_busy(third, 5);
    core_gone(third);
    ck_assert_ptr_null(uvn_dirty_next(UINT64_MAX)); /* dying */
    tick();
    core_letgo(pg);
    ck_assert_uint_eq(uvm_stat_get(vndirty), 0);
    close(fd);
}
END_TEST

/* Stopped while a flush waits for somebody else's page. */
START_TEST(test_stop)
{
    struct uvm_error err = {0};

    core_fill(rig_obj, 0, 3, 1);
    struct vm_page *pg = core_busy(rig_obj, 1);
    age(rig_obj, AGE_NS);
    tick();
    ck_assert_uint_eq(rig_obj->ndirty, 2);
    core_letgo(pg);
    uvm_cleaner_stop();
    ck_assert_uint_eq(rig_obj->ndirty, 0);
    ck_assert_int_eq(uvm_cleaner_start(&err), 0);
}
END_TEST

/* Writers that wait. */
struct writer {
    struct uvn_dirtywait wait;
    unsigned ndone;
};

static void writer_goes(struct uvm_work *work)
{
    struct writer *w = UVM_CONTAINER_OF(work, struct writer, wait.work);
    w->ndone++;
    if (!w->wait.error && w->wait.npages == 1)
        uvn_dirty_came(1);
}

static bool writer_waits(struct writer *w, struct uvm_object *uobj)
{
    *w = (struct writer){
        .wait = {.work.fn = writer_goes, .loop = &core_loop, .uobj = uobj, .npages = 1}};
    bool waits = uvn_dirty_wait(&w->wait);
    if (!waits)
        uvn_dirty_came(1);
    return waits;
}

/* Dirty pages that write-behind leaves alone: it is told of nothing. */
static void fill_quietly(struct uvm_object *uobj, uint32_t pgno, uint32_t n)
{
    uvn_set_kick(NULL);
    core_fill(uobj, pgno, n, 1);
}

START_TEST(test_wait)
{
    struct writer a, b;

    fill_quietly(rig_obj, 0, MOST - 1);
    ck_assert(!writer_waits(&a, rig_obj));
    fill_quietly(rig_obj, MOST - 1, 1);
    ck_assert(writer_waits(&a, rig_obj));
    ck_assert(writer_waits(&b, other));
    core_run();
    ck_assert_uint_eq(a.ndone + b.ndone, 0);
    ck_assert(uvn_dirty_cancel(&b.wait));
    ck_assert(!uvn_dirty_cancel(&b.wait));
    ck_assert_uint_eq(uvm_stat_get(flt_vnwait), 2);
    ck_assert_int_eq(rig_flush(0, 10, UVN_FLUSH), 0);
    ck_assert_uint_eq(a.ndone, 1);
    ck_assert_int_eq(a.wait.error, 0);
    ck_assert_uint_eq(b.ndone, 0);
    /* Dropping pages is as good as writing them. */
    fill_quietly(rig_obj, 0, 10);
    ck_assert(writer_waits(&a, rig_obj));
    core_flush(rig_obj, 0, 10, PGO_FREE);
    core_run();
    ck_assert_uint_eq(a.ndone, 1);
}
END_TEST

/* Many writers at once: they are let in as if their pages were dirty already, one after another. */
START_TEST(test_wait_many)
{
    struct writer w[4];

    fill_quietly(rig_obj, 0, MOST - 100);
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (struct writer){
            .wait = {.work.fn = writer_goes, .loop = &core_loop, .uobj = other, .npages = 64}};
        ck_assert(uvn_dirty_wait(&w[i].wait) == (i >= 2));
    }
    uvn_dirty_came(64);
    core_run();
    ck_assert_uint_eq(w[2].ndone, 1);
    ck_assert_uint_eq(w[3].ndone, 0);
    uvn_dirty_came(64);
    core_run();
    ck_assert_uint_eq(w[3].ndone, 1);
    uvn_dirty_came(128);
}
END_TEST

/* The deadline: the writer goes on, unless its file cannot be written. */
START_TEST(test_deadline)
{
    struct writer a;

    fill_quietly(rig_obj, 0, MOST);
    ck_assert(writer_waits(&a, rig_obj));
    a.wait.deadline_ns = uvm_now_ns();
    uvn_dirty_expire();
    core_run();
    ck_assert_uint_eq(a.ndone, 1);
    ck_assert_int_eq(a.wait.error, 0);
}
END_TEST

/* One file is broken: its writers wait; those of others go on, for a while, and wait then. */
START_TEST(test_broken)
{
    struct uvn_fault rule = {.writes = true, .error = EIO, .object = rig_obj->id};
    struct writer a, b;

    ck_assert_int_eq(uvn_inject(&rule), 0);
    fill_quietly(other, 0, 1);
    fill_quietly(rig_obj, 0, MOST - 2);
    fill_quietly(rig_obj, MOST - 2, 2); /* let in as one write: the last may be a little too much */
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), -EIO);
    ck_assert(!writer_waits(&b, other));
    ck_assert(writer_waits(&a, rig_obj));
    core_run();
    ck_assert_uint_eq(a.ndone, 0); /* there is still something that can be written */
    fill_quietly(other, 1, MOST / 8 - 1);
    ck_assert(writer_waits(&b, other));
    core_run();
    ck_assert_uint_eq(b.ndone, 0);

    /* The other file is clean: nothing else can be written. Its writer goes on. */
    struct uvm_object *keep = rig_obj;
    rig_obj = other;
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    rig_obj = keep;
    ck_assert_uint_eq(a.ndone, 1);
    ck_assert_int_eq(a.wait.error, -EIO);
    ck_assert_uint_eq(b.ndone, 1);
    ck_assert_int_eq(b.wait.error, 0);
    ck_assert(writer_waits(&a, rig_obj));
    core_run();
    ck_assert_int_eq(a.wait.error, -EIO);

    /* And comes back. */
    uvn_inject_clear();
    ck_assert_int_eq(rig_flush(0, UINT32_MAX, UVN_FLUSH), 0);
    ck_assert(!writer_waits(&a, rig_obj));
}
END_TEST

static Suite *suite_cleaner(void)
{
    Suite *suite = suite_create("cleaner");
    TCase *tc = tcase_create("cleaner");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_age);
    tcase_add_test(tc, test_ratio);
    tcase_add_test(tc, test_many);
    tcase_add_test(tc, test_error);
    tcase_add_test(tc, test_gone);
    tcase_add_test(tc, test_stop);
    tcase_add_test(tc, test_wait);
    tcase_add_test(tc, test_wait_many);
    tcase_add_test(tc, test_deadline);
    tcase_add_test(tc, test_broken);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_cleaner)
