/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traces: what is recorded is in the file or counted as dropped, in each thread's order, once; and what
 * is no place for one is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/stats.h"
#include "daemon/trace.h"
#include "daemon/util.h"
#include "unit.h"

#define THREADS 3u
#define PER     200000u /* records of a thread: more than the ring has, all in all */

static char dir[100], path[120];

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%.60s/uvm-trace-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/t", dir);
    uvm_stat_set(npages, 77);
}

static void teardown(void)
{
    uvm_trace_fini();
    unlink(path);
    rmdir(dir);
}

static void start(void)
{
    struct uvm_error err = {0};
    ck_assert_msg(uvm_trace_start(path, &err) == 0, "%s", err.msg);
}

static void stop(void)
{
    struct uvm_error err = {0};
    ck_assert_msg(uvm_trace_stop(&err) == 0, "%s", err.msg);
}

static FILE *open_trace(void)
{
    struct uvm_trace_header head;

    FILE *f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(&head, sizeof(head), 1, f), 1);
    ck_assert_mem_eq(head.magic, UVM_TRACE_MAGIC, sizeof(head.magic));
    ck_assert_uint_eq(head.npages, 77);
    return f;
}

static void *producer(void *arg)
{
    for (uint32_t i = 0; i < PER; i++)
        uvm_trace((uintptr_t)arg, i, 1, UVM_TRACE_READ);
    return NULL;
}

START_TEST(test_all_or_counted)
{
    uint64_t told = 0, found = 0, before = uvm_stat_get(trace_drops);
    uint32_t next[THREADS] = {0};
    pthread_t threads[THREADS];
    struct uvm_trace_record r;

    start();
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, producer, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    stop();
    FILE *f CLEANUP_FCLOSE = open_trace();
    while (fread(&r, sizeof(r), 1, f) == 1) {
        if (r.op == UVM_TRACE_DROPS) {
            told += r.object;
            continue;
        }
        ck_assert_uint_lt(r.object, THREADS);
        ck_assert_uint_ge(r.pgno, next[r.object]);
        next[r.object] = r.pgno + 1;
        found++;
    }
    ck_assert_uint_eq(found + told, THREADS * PER);
    ck_assert_uint_eq(uvm_stat_get(trace_drops) - before, told);
    ck_assert_uint_gt(found, 60000); /* a ring full at least */
}
END_TEST

/* A second trace has nothing of the first, nor what came between; a long run is several records. */
START_TEST(test_again)
{
    struct uvm_trace_record r;

    start();
    uvm_trace(1, 1, 1, UVM_TRACE_WRITE);
    stop();
    uvm_trace(2, 2, 2, UVM_TRACE_WRITE);
    unlink(path);
    start();
    uvm_trace(3, 10, 100000, UVM_TRACE_EVICT);
    stop();
    FILE *f CLEANUP_FCLOSE = open_trace();
    uint64_t at = 10;
    while (fread(&r, sizeof(r), 1, f) == 1) {
        ck_assert_uint_eq(r.object, 3);
        ck_assert_int_eq(r.op, UVM_TRACE_EVICT);
        ck_assert_uint_eq(r.pgno, at);
        at += r.npages;
    }
    ck_assert_uint_eq(at, 100010);
}
END_TEST

START_TEST(test_refused)
{
    struct uvm_error err = {0};

    ck_assert_int_eq(uvm_trace_stop(&err), -ENOENT);
    ck_assert_int_eq(uvm_trace_start("t", &err), -EINVAL);
    ck_assert_int_eq(uvm_trace_start(dir, &err), -EEXIST);
    ck_assert_int_eq(uvm_trace_start("/no/such/place", &err), -ENOENT);
    start();
    ck_assert_int_eq(uvm_trace_start(path, &err), -EBUSY);
    ck_assert_ptr_nonnull(strstr(err.msg, "being recorded"));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    stop();
    ck_assert_int_eq(uvm_trace_start(path, &err), -EEXIST); /* it overwrites nothing */
}
END_TEST

static Suite *trace_suite(void)
{
    Suite *s = suite_create("trace");
    TCase *tc = tcase_create("trace");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_all_or_counted);
    tcase_add_test(tc, test_again);
    tcase_add_test(tc, test_refused);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(trace_suite)
