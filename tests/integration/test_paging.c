/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An object several times as large as memory: filled through a mapping, verified by another process,
 * in order and at random; the clusters it leaves in, and what the daemon occupies meanwhile.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define MEMORY_PAGES    (64 * MIB / PAGE)
#define RSS_MAX         (96 * MIB) /* memory=64M and 32M for everything else */
#define SEQ_CLUSTER_MIN 64u
#define RND_CLUSTER_MIN 32u

/* Wait for a client, and watch the daemon's memory while it runs. */
static void join_watching(const struct mount *m, pid_t pid, uint64_t *rss_max)
{
    double deadline = client_now() + 130 * client_slow();

    while (!client_wait_for(pid, 0) && client_now() < deadline) {
        *rss_max = MAX(*rss_max, mount_rss(m));
        client_pause();
    }
    client_join(pid);
}

/* The mean cluster of what has been paged out since the counters were *pages and *ops. */
static double mean_cluster(const struct mount *m, uint64_t *pages, uint64_t *ops)
{
    uint64_t p = mount_counter(m, "pgswapout"), o = mount_counter(m, "pageouts");
    double mean = o > *ops ? (double)(p - *pages) / (double)(o - *ops) : 0;

    *pages = p;
    *ops = o;
    return mean;
}

static void dirty_random(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR);
    uint32_t *order = content_permute((uint32_t)job->npages, 99);
    char *map = file_map(fd, 0, job->npages * PAGE, PROT_READ | PROT_WRITE);

    must_sys(madvise(map, job->npages * PAGE, MADV_RANDOM));
    for (uint64_t i = 0; i < job->npages; i++)
        content_fill(map + (size_t)order[i] * PAGE, job->seed, order[i]);
    must_sys(munmap(map, job->npages * PAGE));
    file_drop(fd);
    free(order);
    close(fd);
}

static void fill_and_verify(struct mount *m)
{
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "big"), 1, client_scale(512 * MIB / PAGE)};
    uint64_t pages = 0, ops = 0, rss = 0;

    join_watching(m, client_start(file_job_fill, &job, 120), &rss);
    double mean = mean_cluster(m, &pages, &ops);
    printf("sequential fill: %" PRIu64 " pages out, %.1f a cluster\n", pages, mean);
    must_int(pages, >=, job.npages - MEMORY_PAGES);
    must_int(mean, >=, SEQ_CLUSTER_MIN);

    join_watching(m, client_start(file_job_check, &job, 120), &rss);
    uint64_t in = mount_counter(m, "pgswapin");
    printf("sequential verify: %" PRIu64 " pages in, %.1f at a time\n", in,
           (double)in / (double)MAX(mount_counter(m, "pageins"), 1));
    must_int(in, >=, job.npages - MEMORY_PAGES);
    join_watching(m, client_start(file_job_check_random, &job, 120), &rss);
    must_int(mount_counter(m, "pgswapin"), >=, in + MIN(job.npages, 32768) / 2);

    printf("daemon: at most %" PRIu64 " KiB resident\n", rss / KIB);
    must_int(rss, <=, RSS_MAX);
    must_int(mount_counter(m, "ioerrors"), ==, 0);
    must_int(mount_counter(m, "cksumerrors"), ==, 0);
}

static void random_dirtying(struct mount *m)
{
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "big"), 2, client_scale(256 * MIB / PAGE)};
    uint64_t pages = 0, ops = 0, rss = 0;

    join_watching(m, client_start(file_job_fill, &job, 120), &rss);
    mean_cluster(m, &pages, &ops);
    job.seed = 3;
    join_watching(m, client_start(dirty_random, &job, 120), &rss);
    uint64_t before = pages;
    double mean = mean_cluster(m, &pages, &ops);
    printf("random dirtying: %" PRIu64 " pages out, %.1f a cluster\n", pages - before, mean);
    must_int(mean, >=, RND_CLUSTER_MIN);
    join_watching(m, client_start(file_job_check, &job, 120), &rss);
    must_int(rss, <=, RSS_MAX);
}

/* Several programs, each with its object, and all of them together larger than memory. */
static void several(struct mount *m)
{
    char path[4][PATH_MAX];
    struct file_job job[4];
    pid_t pid[4];
    uint64_t rss = 0;

    for (unsigned i = 0; i < 4; i++) {
        job[i] = (struct file_job){mount_path(m, path[i], "%u", i), 20 + i, client_scale(8192)};
        pid[i] = client_start(file_job_fill, &job[i], 80);
    }
    for (unsigned i = 0; i < 4; i++)
        client_join(pid[i]);
    void (*const check[])(void *) = {file_job_check, file_job_check_random, file_job_check_read};
    for (unsigned i = 0; i < 4; i++) /* each verifies another's */
        pid[i] = client_start(check[i % 3], &job[(i + 1) % 4], 80);
    for (unsigned i = 0; i < 4; i++)
        join_watching(m, pid[i], &rss);
    must_int(rss, <=, RSS_MAX);
}

/* Without swap, memory is what there is. */
static void no_swap(struct mount *m)
{
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "small"), 4, client_scale(32 * MIB / PAGE)};

    client_run(file_job_fill, &job, 30);
    client_run(file_job_check, &job, 30);
    client_run(file_job_check_read, &job, 30);
    must_int(mount_counter(m, "pgswapout"), ==, 0);
    must_int(mount_counter(m, "swpages"), ==, 0);
}

static const struct mount_case cases[] = {
    {"fill_and_verify", fill_and_verify, {.memory = "64M", .swap = "1G", .seconds = 240}},
    {"random_dirtying", random_dirtying, {.memory = "64M", .swap = "1G", .seconds = 240}},
    {"several", several, {.memory = "32M", .swap = "512M", .seconds = 150}},
    {"no_swap", no_swap, {.memory = "64M"}},
};

HARNESS_MAIN("paging", cases)
