/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replacement: a scan of 4x memory past a hot set of half of memory, whose clients keep nothing in
 * their cache, so that every access gets here. How many of the hot set's are page-ins is printed; for
 * the policy that is there for it, they are few. And what was asked is in a trace, and plays again.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "daemon/trace.h"
#include "harness.h"

#define MEMORY_PAGES (16 * MIB / PAGE)
#define HOT_PAGES    (MEMORY_PAGES / 2)
#define SCAN_PAGES   (4 * MEMORY_PAGES)
#define CHUNK        16u /* pages of the scan at a time; as many of the hot set follow */

/* How many pages of an object were swapped in? */
static uint64_t swapped_in(const struct mount *m, const char *name)
{
    struct json_object *object, *value;

    must_int(mount_call(m, &object, "object", name, NULL), ==, 0);
    must(json_object_object_get_ex(object, "pgswapin", &value));
    uint64_t n = json_object_get_uint64(value);
    json_object_put(object);
    return n;
}

/* Read pages, and have the client cache forget them. */
static void read_pages(int fd, uint64_t seed, uint64_t pgno, unsigned n)
{
    static char buf[CHUNK * PAGE];

    must_int(file_pread(fd, buf, (size_t)n * PAGE, (off_t)(pgno * PAGE)), ==, n * PAGE);
    must_int(posix_fadvise(fd, (off_t)(pgno * PAGE), (off_t)n * PAGE, POSIX_FADV_DONTNEED), ==, 0);
    for (unsigned i = 0; i < n; i++)
        content_check(buf + (size_t)i * PAGE, seed, pgno + i);
}

static int open_random(const char *path)
{
    int fd = file_open(path, O_RDWR);
    must_int(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), ==, 0);
    return fd;
}

static void read_hot(int fd, uint64_t *state, unsigned n)
{
    while (n-- > 0)
        read_pages(fd, 1, content_random(state) % HOT_PAGES, 1);
}

/* A chunk of the scan, by read(2) or by write(2). */
static void scan_chunk(int fd, uint64_t pgno, bool store)
{
    static char buf[CHUNK * PAGE];

    if (!store) {
        read_pages(fd, 2, pgno, CHUNK);
        return;
    }
    for (unsigned i = 0; i < CHUNK; i++)
        content_fill(buf + (size_t)i * PAGE, 3, pgno + i);
    file_pwrite(fd, buf, sizeof(buf), (off_t)(pgno * PAGE));
    must_int(posix_fadvise(fd, (off_t)(pgno * PAGE), sizeof(buf), POSIX_FADV_DONTNEED), ==, 0);
}

/* => the share of the hot set's reads that may be page-ins at most, in percent */
static void scan_past(struct mount *m, bool store, double most)
{
    char hot_path[PATH_MAX], big_path[PATH_MAX];
    struct file_job hot = {mount_path(m, hot_path, "hot"), 1, HOT_PAGES};
    struct file_job big = {mount_path(m, big_path, "big"), 2, SCAN_PAGES};
    uint64_t state = 5, before;

    client_run(file_job_fill, &hot, 60);
    client_run(file_job_fill, &big, 60); /* the hot set is paged out, and comes back clean */
    int hot_fd = open_random(hot.path), big_fd = open_random(big.path);
    read_hot(hot_fd, &state, 8 * HOT_PAGES);
    before = m->foreign ? 0 : swapped_in(m, "anon/hot");
    double start = client_now();
    for (uint64_t at = 0; at < SCAN_PAGES; at += CHUNK) {
        scan_chunk(big_fd, at, store);
        read_hot(hot_fd, &state, CHUNK);
    }
    double seconds = client_now() - start;
    close(hot_fd);
    close(big_fd);
    if (m->foreign)
        return;
    uint64_t in = swapped_in(m, "anon/hot") - before;
    double share = 100.0 * (double)in / SCAN_PAGES;
    printf("%s, %s: %" PRIu64 " of %u reads of the hot set were page-ins: %.1f %%; %.2f s\n",
           m->opts.more, store ? "write(2)" : "read(2)", in, (unsigned)SCAN_PAGES, share, seconds);
    must_msg(share <= most, "%.1f %% of the hot set's reads were page-ins, at most %.0f are to be",
             share, most);
}

static void clock_reads(struct mount *m)
{
    scan_past(m, false, 100);
}

static void clock_writes(struct mount *m)
{
    scan_past(m, true, 100);
}

static void s3fifo_reads(struct mount *m)
{
    scan_past(m, false, 10);
}

static void s3fifo_writes(struct mount *m)
{
    scan_past(m, true, 10);
}

static uint64_t count_pages(const char *path, enum uvm_trace_op op, uint64_t object)
{
    struct uvm_trace_header head;
    struct uvm_trace_record r;
    uint64_t n = 0;

    FILE *f = fopen(path, "re");
    must(f != NULL);
    must_int(fread(&head, sizeof(head), 1, f), ==, 1);
    must(memcmp(head.magic, UVM_TRACE_MAGIC, sizeof(head.magic)) == 0);
    must_int(head.npages, ==, MEMORY_PAGES);
    while (fread(&r, sizeof(r), 1, f) == 1)
        if (r.op == op && (!object || r.object == object))
            n += op == UVM_TRACE_DROPS ? r.object : r.npages;
    must(!ferror(f));
    fclose(f);
    return n;
}

/* What is read and written while a trace is on is in it, nothing else, and the simulator reads it. */
static void tracing(struct mount *m)
{
    char path[PATH_MAX], trace[PATH_MAX], inside[PATH_MAX], cmd[3 * PATH_MAX];
    struct file_job big = {mount_path(m, path, "big"), 2, SCAN_PAGES};
    struct stat st;

    if (m->foreign)
        return;
    snprintf(trace, sizeof(trace), "%s/trace", m->dir);
    mount_path(m, inside, "trace");
    must_int(mount_call(m, NULL, "trace", "stop", NULL), ==, -ENOENT);
    must_int(mount_call(m, NULL, "trace", "start", "trace", NULL), ==, -EINVAL);
    must_int(mount_call(m, NULL, "trace", "start", inside, NULL), ==, -EINVAL);
    must_fail(stat(inside, &st), ENOENT);
    client_run(file_job_fill, &big, 60);
    int fd = open_random(big.path);
    must_int(mount_call(m, NULL, "trace", "start", trace, NULL), ==, 0);
    must_int(mount_call(m, NULL, "trace", "start", trace, NULL), ==, -EBUSY);
    for (uint64_t at = 0; at < SCAN_PAGES; at += CHUNK)
        read_pages(fd, 2, at, CHUNK);
    must_int(mount_call(m, NULL, "trace", "stop", NULL), ==, 0);
    must_int(mount_call(m, NULL, "trace", "start", trace, NULL), ==, -EEXIST);
    read_pages(fd, 2, 0, 1);
    must_sys(fstat(fd, &st));
    close(fd);

    uint64_t drops = mount_counter(m, "trace_drops");
    must_int(count_pages(trace, UVM_TRACE_DROPS, 0), ==, drops);
    uint64_t reads = count_pages(trace, UVM_TRACE_READ, st.st_ino);
    must_int(reads, <=, SCAN_PAGES);
    must_int(reads + drops * CHUNK, >=, SCAN_PAGES);
    must_int(count_pages(trace, UVM_TRACE_EVICT, 0) + drops, >=, SCAN_PAGES / 2);
    must_int(count_pages(trace, UVM_TRACE_WRITE, 0), ==, 0);
    if (getenv("UVMSIM")) {
        snprintf(cmd, sizeof(cmd), "'%s' '%s'", getenv("UVMSIM"), trace);
        must_int(system(cmd), ==, 0);
    }
    must_sys(unlink(trace));
}

static const struct mount_case cases[] = {
    {"clock_reads", clock_reads, {.memory = "16M", .swap = "128M", .more = "policy=clock"}},
    {"clock_writes", clock_writes, {.memory = "16M", .swap = "128M", .more = "policy=clock"}},
    {"s3fifo_reads", s3fifo_reads, {.memory = "16M", .swap = "128M", .more = "policy=s3fifo"}},
    {"s3fifo_writes", s3fifo_writes, {.memory = "16M", .swap = "128M", .more = "policy=s3fifo"}},
    {"tracing", tracing, {.memory = "16M", .swap = "128M"}},
};

HARNESS_MAIN("policy", cases)
