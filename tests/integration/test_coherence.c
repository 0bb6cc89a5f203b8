/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * However a byte was stored, every way of reading it sees it: mappings, read(2), O_DIRECT, in this
 * process and in others, with and without the kernel's cache, and whether paged out meanwhile or not.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define FILE_PAGES 2048u /* 8 MiB: as much as uvmd has memory */

enum way { MAPPED, SYSCALL, DIRECT, WAYS };

struct job {
    const char *path;
    enum way way;
    uint64_t seed, npages;
};

static void *page_buffer(size_t npages)
{
    void *buf = aligned_alloc(PAGE, npages * PAGE);
    must(buf != NULL);
    return buf;
}

static void store_pages(void *arg)
{
    const struct job *job = arg;
    int fd = file_open(job->path, O_RDWR | (job->way == DIRECT ? O_DIRECT : 0));
    char *buf = page_buffer(8);

    if (job->way == MAPPED) {
        file_fill(fd, job->seed, 0, job->npages);
    } else {
        for (uint64_t at = 0; at < job->npages; at += 8) {
            for (unsigned i = 0; i < 8; i++)
                content_fill(buf + i * PAGE, job->seed, at + i);
            file_pwrite(fd, buf, 8 * PAGE, (off_t)(at * PAGE));
        }
    }
    free(buf);
    close(fd);
}

static void check_pages(void *arg)
{
    const struct job *job = arg;
    int fd = file_open(job->path, O_RDONLY | (job->way == DIRECT ? O_DIRECT : 0));
    char *buf = page_buffer(8);

    if (job->way == MAPPED) {
        file_check(fd, job->seed, 0, job->npages);
    } else {
        for (uint64_t at = 0; at < job->npages; at += 8) {
            must_int(file_pread(fd, buf, 8 * PAGE, (off_t)(at * PAGE)), ==, 8 * PAGE);
            for (unsigned i = 0; i < 8; i++)
                content_check(buf + i * PAGE, job->seed, at + i);
        }
    }
    free(buf);
    close(fd);
}

static void drop(void *arg)
{
    int fd = file_open(((const struct job *)arg)->path, O_RDWR);
    file_drop(fd);
    close(fd);
}

/* Every way to store against every way to load, by separate processes. */
static void all_ways(struct mount *m)
{
    char path[PATH_MAX];
    struct job job = {.path = mount_path(m, path, "ways"),
                      .npages = client_scale(FILE_PAGES) & ~7u};
    int fd = file_open(path, O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(job.npages * PAGE)));
    close(fd);
    for (unsigned store = 0; store < WAYS; store++) {
        job.seed = 10 + store;
        job.way = (enum way)store;
        client_run(store_pages, &job, 20);
        for (unsigned load = 0; load < WAYS; load++) {
            job.way = (enum way)load;
            client_run(check_pages, &job, 20);
        }
        client_run(drop, &job, 20);
        for (unsigned load = 0; load < WAYS; load++) {
            job.way = (enum way)load;
            client_run(check_pages, &job, 20);
        }
    }
}

/* The words of a page are shared out: every other one belongs to the one who maps. */
#define SHARED_PAGES 64u
#define ROUNDS       20u

static void mapped_half(void *arg)
{
    int fd = file_open(arg, O_RDWR);
    uint64_t *map = file_map(fd, 0, SHARED_PAGES * PAGE, PROT_READ | PROT_WRITE);

    for (uint64_t round = 1; round <= ROUNDS; round++) {
        for (size_t i = 0; i < SHARED_PAGES * PAGE_WORDS; i += 2)
            map[i] = content_word(round, 1, i);
        must_sys(msync(map, SHARED_PAGES * PAGE, round % 2 ? MS_SYNC : MS_ASYNC));
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        for (size_t i = 0; i < SHARED_PAGES * PAGE_WORDS; i += 2)
            must_int(map[i], ==, content_word(round, 1, i));
    }
    close(fd);
}

static void written_half(void *arg)
{
    int fd = file_open(arg, O_RDWR);
    uint64_t word;

    for (uint64_t round = 1; round <= ROUNDS; round++) {
        for (size_t i = 1; i < SHARED_PAGES * PAGE_WORDS; i += 2 + 16 * (round % 3)) {
            word = content_word(round, 2, i);
            file_pwrite(fd, &word, sizeof(word), (off_t)(i * sizeof(word)));
            must_int(file_pread(fd, &word, sizeof(word), (off_t)(i * sizeof(word))), ==, 8);
            must_int(word, ==, content_word(round, 2, i));
        }
    }
    close(fd);
}

static void shared_page(struct mount *m)
{
    char path[PATH_MAX];
    int fd = file_open(mount_path(m, path, "shared"), O_RDWR | O_CREAT);
    uint64_t word;

    must_sys(ftruncate(fd, SHARED_PAGES * PAGE));
    pid_t a = client_start(mapped_half, path, 30), b = client_start(written_half, path, 30);
    client_join(a);
    client_join(b);
    file_drop(fd);
    for (size_t i = 0; i < SHARED_PAGES * PAGE_WORDS; i += 2) {
        must_int(file_pread(fd, &word, sizeof(word), (off_t)(i * sizeof(word))), ==, 8);
        must_int(word, ==, content_word(ROUNDS, 1, i));
    }
    for (size_t i = 1; i < SHARED_PAGES * PAGE_WORDS; i += 2 + 16 * (ROUNDS % 3)) {
        must_int(file_pread(fd, &word, sizeof(word), (off_t)(i * sizeof(word))), ==, 8);
        must_int(word, ==, content_word(ROUNDS, 2, i));
    }
    close(fd);
}

/* Two processes speak through a mapping alone, while a third makes uvmd page. */
#define TURNS 2000u

static void partner(void *arg, uint64_t parity)
{
    int fd = file_open(arg, O_RDWR);
    _Atomic uint64_t *turn = file_map(fd, 0, PAGE, PROT_READ | PROT_WRITE);
    char *map = file_map(fd, PAGE, 64 * PAGE, PROT_READ | PROT_WRITE);

    for (uint64_t t = parity; t < TURNS; t += 2) {
        while (atomic_load(turn) != t)
            usleep(20);
        char *page = map + t % 64 * PAGE, *before = map + (t + 63) % 64 * PAGE;
        if (t > 0)
            content_check(before, t - 1 + 1, (t - 1) % 64);
        content_fill(page, t + 1, t % 64);
        atomic_store(turn, t + 1);
    }
}

static void partner_even(void *arg)
{
    partner(arg, 0);
}

static void partner_odd(void *arg)
{
    partner(arg, 1);
}

static void conversation(struct mount *m)
{
    char path[PATH_MAX], other[PATH_MAX];
    int fd = file_open(mount_path(m, path, "talk"), O_RDWR | O_CREAT);
    struct file_job load = {mount_path(m, other, "load"), 77, client_scale(8192)};

    must_sys(ftruncate(fd, 65 * PAGE));
    close(fd);
    pid_t a = client_start(partner_even, path, 30), b = client_start(partner_odd, path, 30);
    client_run(file_job_fill, &load, 30);
    client_run(file_job_check, &load, 30);
    client_join(a);
    client_join(b);
}

/* What lies around the end of a file. */
static void around_eof(struct mount *m)
{
    char path[PATH_MAX], buf[2 * PAGE];
    int fd = file_open(mount_path(m, path, "eof"), O_RDWR | O_CREAT);
    uint64_t word;

    memset(buf, 'x', sizeof(buf));
    file_pwrite(fd, buf, 5000, 0);
    char *map = file_map(fd, 0, 4 * PAGE, PROT_READ | PROT_WRITE);
    must_int(map[4999], ==, 'x');
    for (unsigned i = 5000; i < 2 * PAGE; i++)
        must_int(map[i], ==, 0);
    must(!client_load(map + 2 * PAGE, &word));
    must(!client_store(map + 2 * PAGE, 1));
    must_int(file_pread(fd, buf, sizeof(buf), 0), ==, 5000);
    must_int(file_pread(fd, buf, 10, 5000), ==, 0);

    must_sys(ftruncate(fd, 3 * PAGE));
    must(client_load(map + 2 * PAGE, &word));
    must_int(word, ==, 0);
    must(client_store(map + 2 * PAGE, 7));
    must(!client_load(map + 3 * PAGE, &word));

    file_pwrite(fd, "end", 3, 10 * PAGE + 1); /* a write beyond the end leaves a hole */
    struct stat st;
    must_sys(fstat(fd, &st));
    must_int(st.st_size, ==, 10 * PAGE + 4);
    must_sys(munmap(map, 4 * PAGE));
    file_drop(fd);
    must_int(file_pread(fd, &word, 8, 2 * PAGE), ==, 8);
    must_int(word, ==, 7);
    must_int(file_pread(fd, buf, PAGE, 9 * PAGE), ==, PAGE);
    content_check(buf, 0, 9);
    must_int(file_pread(fd, buf, PAGE, 10 * PAGE), ==, 4);
    must(memcmp(buf, "\0end", 4) == 0);
    close(fd);
}

static const struct mount_case cases[] = {
    {"all_ways", all_ways, {.swap = "64M"}},
    {"shared_page", shared_page, {.swap = "64M"}},
    {"conversation", conversation, {.swap = "64M"}},
    {"around_eof", around_eof, {.swap = "64M"}},
};

HARNESS_MAIN("coherence", cases)
