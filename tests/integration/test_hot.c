/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small hot object while a large one is being filled: its faults keep being served. How long they take is
 * printed and never judged; that they are right is.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define HOT_PAGES   256u
#define SAMPLES_MAX 400000u

struct probe {
    const char *path;
    _Atomic bool stop;
    uint32_t nsamples;
    float us[SAMPLES_MAX];
};

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void hot_client(void *arg)
{
    struct probe *probe = arg;
    int fd = file_open(probe->path, O_RDWR);
    uint64_t round = 0;

    while (!atomic_load(&probe->stop) && probe->nsamples + HOT_PAGES <= SAMPLES_MAX) {
        uint32_t *order = content_permute(HOT_PAGES, ++round);
        char *map = file_map(fd, 0, HOT_PAGES * PAGE, PROT_READ | PROT_WRITE);
        must_sys(madvise(map, HOT_PAGES * PAGE, MADV_RANDOM));
        for (unsigned i = 0; i < HOT_PAGES; i++) {
            char *page = map + (size_t)order[i] * PAGE;
            uint64_t word;
            double start = client_now();
            must(client_load(page, &word));
            probe->us[probe->nsamples++] = (float)((client_now() - start) * 1e6);
            content_check(page, 1, order[i]);
        }
        must_sys(munmap(map, HOT_PAGES * PAGE));
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        free(order);
    }
    close(fd);
}

static void report(const char *when, struct probe *probe)
{
    uint32_t n = probe->nsamples;

    must_int(n, >, 0);
    qsort(probe->us, n, sizeof(float), by_value);
    printf("%s: %u faults, p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n", when, n,
           (double)probe->us[n / 2], (double)probe->us[n - 1 - n / 100],
           (double)probe->us[n - 1 - n / 1000], (double)probe->us[n - 1]);
    probe->nsamples = 0;
    atomic_store(&probe->stop, false);
}

static void hot_object(struct mount *m)
{
    char path[PATH_MAX], big[PATH_MAX];
    struct probe *probe =
        mmap(NULL, sizeof(*probe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct file_job hot = {mount_path(m, path, "hot"), 1, HOT_PAGES};
    struct file_job load = {mount_path(m, big, "big"), 2, client_scale(512 * MIB / PAGE)};

    must(probe != MAP_FAILED);
    probe->path = path;
    client_run(file_job_fill, &hot, 20);

    pid_t client = client_start(hot_client, probe, 60);
    client_wait_for(client, 1); /* alone, for comparison */
    atomic_store(&probe->stop, true);
    client_join(client);
    report("alone", probe);

    client = client_start(hot_client, probe, 60);
    client_run(file_job_fill, &load, 60);
    atomic_store(&probe->stop, true);
    client_join(client);
    report("while filling", probe);

    client = client_start(hot_client, probe, 60);
    client_run(file_job_check, &load, 60);
    atomic_store(&probe->stop, true);
    client_join(client);
    report("while verifying", probe);
    must_sys(munmap(probe, sizeof(*probe)));
}

static const struct mount_case cases[] = {
    {"hot_object", hot_object, {.memory = "64M", .swap = "1G", .seconds = 120}},
};

HARNESS_MAIN("hot", cases)
