/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulator against cases small enough to be worked out by hand, the generators against what is
 * known of them, and the policies against what they are for.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/trace.h"
#include "sim.h"
#include "../unit/unit.h"

/* "abc A": reads of pages a, b, c, a store to a; "|" is the mark. All of object 1. */
static void make(struct sim_trace *t, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            sim_add(t, 0, 0, SIM_MARK);
        else if (*text >= 'a' && *text <= 'z')
            sim_add(t, 1, (uint32_t)(*text - 'a'), SIM_READ);
        else if (*text >= 'A' && *text <= 'Z')
            sim_add(t, 1, (uint32_t)(*text - 'A'), SIM_WRITE);
    }
}

typedef void model_fn(const struct sim_trace *t, uint32_t npages, struct sim_count *ret);

static struct sim_count run(model_fn *model, const char *text, uint32_t npages)
{
    struct sim_trace t = {0};
    struct sim_count c;

    make(&t, text);
    model(&t, npages, &c);
    sim_trace_free(&t);
    return c;
}

/* The reference string of the textbooks, 7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1, with three pages. */
START_TEST(test_textbook)
{
    const char *refs = "habcadaecdadcbcabhab";

    ck_assert_uint_eq(run(sim_lru, refs, 3).misses, 12);
    ck_assert_uint_eq(run(sim_opt, refs, 3).misses, 9);
    ck_assert_uint_eq(run(sim_lru, refs, 3).refs, 20);
}
END_TEST

/* LRU misses all of a loop that is larger than memory. OPT, with 2 pages: a b c miss, c for b; a hits;
 * b misses, for a; c hits; a misses, for c; b hits; c misses. */
START_TEST(test_loop_by_hand)
{
    ck_assert_uint_eq(run(sim_lru, "abcabcabc", 2).misses, 9);
    ck_assert_uint_eq(run(sim_opt, "abcabcabc", 2).misses, 6);
    ck_assert_uint_eq(run(sim_lru, "abcabcabc", 3).misses, 3);
    ck_assert_uint_eq(run(sim_opt, "abcabcabc", 3).misses, 3);
}
END_TEST

START_TEST(test_mark_and_writes)
{
    struct sim_count c = run(sim_lru, "Ab|cdab", 2);
    ck_assert_uint_eq(c.refs, 4);
    ck_assert_uint_eq(c.misses, 4);
    ck_assert_uint_eq(c.writes, 1); /* A, for c */
    ck_assert_uint_eq(c.hot, 4);
    c = run(sim_opt, "Aba|bA", 2);
    ck_assert_uint_eq(c.misses, 0);
    ck_assert_uint_eq(c.writes, 0);
}
END_TEST

/* A client cache of two pages: c costs a, which was stored to and is written back; the last b hits. */
START_TEST(test_client)
{
    struct sim_trace t = {0}, to = {0};

    make(&t, "Ab c|b");
    sim_client(&t, 2, &to);
    static const struct {
        char page;
        enum sim_op op;
    } want[] = {{'a', SIM_READ}, {'b', SIM_READ}, {'c', SIM_READ}, {'a', SIM_WRITE}, {0, SIM_MARK}};
    ck_assert_uint_eq(to.nrefs, 5);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(to.refs[i].op, want[i].op);
        if (want[i].page)
            ck_assert_uint_eq(to.pages[to.refs[i].key].pgno, (unsigned)(want[i].page - 'a'));
    }
    sim_trace_free(&t);
    sim_trace_free(&to);
}
END_TEST

/* Nobody is better than OPT, and with memory for everything, a page is missed once. */
START_TEST(test_bounds)
{
    for (const struct sim_generator *g = sim_generators; g->name; g++) {
        struct sim_trace t = {0};
        struct sim_count opt, c;
        g->make(&t, 256, 7);
        sim_opt(&t, 256, &opt);
        sim_lru(&t, 256, &c);
        ck_assert_uint_ge(c.misses, opt.misses);
        for (unsigned i = 0; uvm_policies[i]; i++) {
            sim_policy(uvm_policies[i], &t, 256, &c);
            ck_assert_msg(c.misses >= opt.misses, "%s beats OPT on %s", uvm_policies[i]->name,
                          g->name);
            ck_assert_uint_eq(c.refs, opt.refs);
        }
        sim_trace_free(&t);
    }
    for (unsigned i = 0; uvm_policies[i]; i++) {
        struct sim_trace t = {0};
        struct sim_count c;
        make(&t, "abcABCabcdefghabcdefgh");
        sim_policy(uvm_policies[i], &t, 16, &c);
        ck_assert_uint_eq(c.misses, 8);
        sim_trace_free(&t);
    }
}
END_TEST

static struct sim_count generated(const char *name, const struct uvm_pdpolicy *policy)
{
    struct sim_trace t = {0};
    struct sim_count c = {0};

    for (const struct sim_generator *g = sim_generators; g->name; g++)
        if (strcmp(g->name, name) == 0)
            g->make(&t, 1024, 3);
    ck_assert_uint_gt(t.nrefs, 0);
    sim_policy(policy, &t, 1024, &c);
    sim_trace_free(&t);
    return c;
}

/* What s3fifo is there for. */
START_TEST(test_scan_resistance)
{
    static const char *const scans[] = {"scan", "scan-fast", "scan-write", "scan-pieces"};

    for (unsigned i = 0; i < 4; i++) {
        struct sim_count clock = generated(scans[i], &uvm_policy_clock);
        struct sim_count s3 = generated(scans[i], &uvm_policy_s3fifo);
        ck_assert_msg(s3.hot_misses * 100 <= s3.hot, "%s: %lu of %lu", scans[i],
                      (unsigned long)s3.hot_misses, (unsigned long)s3.hot);
        ck_assert_uint_gt(clock.hot_misses * 10, clock.hot);
    }
}
END_TEST

/* A trace in a file that has no name any more, whatever becomes of the test. => how to open it again */
static const char *write_trace(const void *data, size_t len)
{
    static char path[100];
    struct uvm_trace_header head = {
        .magic = UVM_TRACE_MAGIC, .version = UVM_TRACE_VERSION, .npages = 99};
    const char *tmp = getenv("TMPDIR");

    snprintf(path, sizeof(path), "%.60s/uvm-sim-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ck_assert_int_eq(write(fd, &head, sizeof(head)), sizeof(head));
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    return path;
}

START_TEST(test_load)
{
    static const struct uvm_trace_record records[] = {
        {.object = 5, .pgno = 7, .npages = 3, .op = UVM_TRACE_READ},
        {.object = 5, .pgno = 8, .npages = 1, .op = UVM_TRACE_WRITE},
        {.object = 5, .pgno = 7, .npages = 2, .op = UVM_TRACE_EVICT},
        {.object = 12, .npages = 1, .op = UVM_TRACE_DROPS},
    };
    struct sim_trace t = {0};

    ck_assert_int_eq(sim_load(&t, write_trace(records, sizeof(records))), 0);
    ck_assert_uint_eq(t.npages, 99);
    ck_assert_uint_eq(t.nrefs, 4);
    ck_assert_uint_eq(t.nkeys, 3);
    ck_assert_uint_eq(t.refs[3].key, t.refs[1].key);
    ck_assert_int_eq(t.refs[3].op, SIM_WRITE);
    ck_assert_uint_eq(t.evicted, 2);
    ck_assert_uint_eq(t.dropped, 12);
    sim_trace_free(&t);
}
END_TEST

START_TEST(test_load_bad)
{
    struct uvm_trace_record record = {.object = 1, .npages = 1, .op = 'x'};
    struct sim_trace t = {0};

    /* no such record; cut off in the middle of one, and of the head; no file */
    ck_assert_int_eq(sim_load(&t, write_trace(&record, sizeof(record))), -EINVAL);
    record.op = UVM_TRACE_READ;
    const char *path = write_trace(&record, sizeof(record) - 1);
    ck_assert_int_eq(sim_load(&t, path), -EINVAL);
    ck_assert_int_eq(truncate(path, 10), 0);
    ck_assert_int_eq(sim_load(&t, path), -EINVAL);
    ck_assert_int_eq(sim_load(&t, "/no/such/file"), -ENOENT);
    sim_trace_free(&t);
}
END_TEST

static Suite *sim_suite(void)
{
    Suite *s = suite_create("sim");
    TCase *tc = tcase_create("sim");

    tcase_add_test(tc, test_textbook);
    tcase_add_test(tc, test_loop_by_hand);
    tcase_add_test(tc, test_mark_and_writes);
    tcase_add_test(tc, test_client);
    tcase_add_test(tc, test_bounds);
    tcase_add_test(tc, test_scan_resistance);
    tcase_add_test(tc, test_load);
    tcase_add_test(tc, test_load_bad);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(sim_suite)
