/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap devices that fail, through the fault store under the swap layer (faults=yes): the right error
 * at the right page, everything else intact, and nothing lost that can be had again.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define NPAGES   8192u /* 32 MiB, four times memory */
#define BAD_SLOT 1000u /* written early in a fill, so its page is out */

#define FAULTY                              \
    {                                       \
        .swap = "64M", .more = "faults=yes" \
    }

#define fault_add(m, ...) must_int(mount_call(m, NULL, "fault", "add", __VA_ARGS__, NULL), ==, 0)
#define fault_clear(m)    must_int(mount_call(m, NULL, "fault", "clear", NULL), ==, 0)

static struct file_job filled(struct mount *m, char path[PATH_MAX], uint64_t seed)
{
    struct file_job job = {mount_path(m, path, "file%" PRIu64, seed), seed, NPAGES};
    client_run(file_job_fill, &job, 30);
    return job;
}

/* Read every page by itself. => how many give EIO; *ret_pgno is the last of them */
static uint64_t count_bad(const struct file_job *job, uint64_t *ret_pgno)
{
    int fd = file_open(job->path, O_RDWR);
    char page[PAGE];
    uint64_t bad = 0;

    file_drop(fd);
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0);
    for (uint64_t i = 0; i < job->npages; i++) {
        ssize_t n = pread(fd, page, PAGE, (off_t)(i * PAGE));
        if (n == PAGE) {
            content_check(page, job->seed, i);
            continue;
        }
        must_msg(n == -1 && errno == EIO, "page %" PRIu64 ": %zd, %s", i, n, strerror(errno));
        *ret_pgno = i;
        bad++;
    }
    close(fd);
    return bad;
}

/* The same through a mapping, where the error is SIGBUS. */
static uint64_t count_bus(const struct file_job *job, uint64_t *ret_pgno)
{
    int fd = file_open(job->path, O_RDWR);
    uint64_t word, bad = 0;

    file_drop(fd);
    char *map = file_map(fd, 0, job->npages * PAGE, PROT_READ);
    for (uint64_t i = 0; i < job->npages; i++) {
        if (client_load(map + i * PAGE, &word)) {
            content_check(map + i * PAGE, job->seed, i);
            continue;
        }
        *ret_pgno = i;
        bad++;
    }
    must_sys(munmap(map, job->npages * PAGE));
    close(fd);
    return bad;
}

static void read_transient(struct mount *m)
{
    char path[PATH_MAX];
    struct file_job job = filled(m, path, 1);

    fault_add(m, "read", "error=EIO", "count=1");
    client_run(file_job_check, &job, 30);
    for (unsigned i = 0; i < 20; i++) { /* one in the middle of each of many runs */
        char slot[32];
        snprintf(slot, sizeof(slot), "slot=%u", 100 + i * 150);
        fault_add(m, "read", "error=EIO", slot, "nslots=1", "count=1");
        if (i % 5 == 4)
            client_run(file_job_check_read, &job, 30);
    }
    client_run(file_job_check, &job, 30);
    fault_clear(m);
    must_int(mount_counter(m, "swpgbad"), ==, 0);
    must_int(mount_counter(m, "cksumerrors"), ==, 0);
}

/* One slot cannot be read: its page alone is in error, however it is read, until the error is gone. */
static void one_bad_page(struct mount *m, const char *rule)
{
    char path[PATH_MAX], slot[32];
    struct file_job job = filled(m, path, 2);
    uint64_t pgno = 0, again = 0;

    snprintf(slot, sizeof(slot), "slot=%u", BAD_SLOT);
    fault_add(m, "read", rule, slot, "nslots=1");
    uint64_t errors = mount_counter(m, "ioerrors");
    must_int(count_bad(&job, &pgno), ==, 1);
    must_int(mount_counter(m, "ioerrors"), >, errors);
    must_int(count_bus(&job, &again), ==, 1);
    must_int(again, ==, pgno);
    must_int(count_bad(&job, &again), ==, 1);
    must_int(again, ==, pgno);

    /* A store to a part of the page needs the rest of it; a store to the whole does not. */
    int fd = file_open(path, O_RDWR);
    char page[PAGE];
    must_fail(pwrite(fd, "x", 1, (off_t)(pgno * PAGE + 5)), EIO);
    fault_clear(m);
    client_run(file_job_check, &job, 30); /* the bytes were never given up */
    client_run(file_job_check_read, &job, 30);

    content_fill(page, job.seed, pgno);
    file_pwrite(fd, page, PAGE, (off_t)(pgno * PAGE));
    close(fd);
    must_sys(unlink(path));
    mount_settle(m, "reserved", 0);
    mount_settle(m, "swpginuse", 0);
    must_int(mount_counter(m, "swpgbad"), ==, 1); /* suspect while used, bad when freed */
    job = filled(m, path, 3);
    client_run(file_job_check, &job, 30);
}

static void read_permanent(struct mount *m)
{
    one_bad_page(m, "error=EIO");
    must_int(mount_counter(m, "cksumerrors"), ==, 0);
}

static void corrupted(struct mount *m)
{
    one_bad_page(m, "error=corrupt");
    must_int(mount_counter(m, "cksumerrors"), >, 0);
}

/* A whole page written over one that cannot be read any more makes it good again. */
static void overwritten(struct mount *m)
{
    char path[PATH_MAX], slot[32], page[PAGE];
    struct file_job job = filled(m, path, 4);
    uint64_t pgno = 0;

    snprintf(slot, sizeof(slot), "slot=%u", BAD_SLOT);
    fault_add(m, "read", "error=EIO", slot, "nslots=1");
    must_int(count_bad(&job, &pgno), ==, 1);
    int fd = file_open(path, O_RDWR);
    content_fill(page, job.seed, pgno);
    file_pwrite(fd, page, PAGE, (off_t)(pgno * PAGE));
    close(fd);
    must_int(count_bad(&job, &pgno), ==, 0);
    client_run(file_job_check, &job, 30);
    must_int(mount_counter(m, "swpgbad"), <=, 1);
    fault_clear(m);
}

static void write_transient(struct mount *m)
{
    char path[PATH_MAX];

    fault_add(m, "write", "error=EIO", "count=3");
    struct file_job job = filled(m, path, 5);
    client_run(file_job_check, &job, 30);
    must_int(mount_counter(m, "ioerrors"), >, 0);
    fault_add(m, "write", "error=EIO", "percent=20");
    job.seed = 6;
    client_run(file_job_fill, &job, 30);
    client_run(file_job_check_random, &job, 30);
    fault_clear(m);
    client_run(file_job_check, &job, 30);
}

static void write_permanent(struct mount *m)
{
    char path[PATH_MAX];

    fault_add(m, "write", "error=EIO", "slot=500", "nslots=60");
    fault_add(m, "write", "error=ENOSPC", "slot=3000", "nslots=1");
    struct file_job job = filled(m, path, 7);
    mount_settle(m, "swpgbad", 61); /* a failed cluster is written again page by page */
    client_run(file_job_check, &job, 30);
    fault_clear(m);
    client_run(file_job_check, &job, 30);
    job.seed = 8;
    client_run(file_job_fill, &job, 30); /* bad slots are not used again */
    client_run(file_job_check_random, &job, 30);
    must_int(mount_counter(m, "swpgbad"), ==, 61);
    must_sys(unlink(path));
    mount_settle(m, "swpginuse", 0);
    must_int(mount_counter(m, "swpgbad"), ==, 61);
}

static void fill_stopped(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR | O_CREAT);
    char page[PAGE];

    for (uint64_t i = 0; i < job->npages; i++) {
        content_fill(page, job->seed, i);
        ssize_t n = pwrite(fd, page, PAGE, (off_t)(i * PAGE));
        must_msg(n == PAGE || errno == ENOSPC || errno == EIO, "page %" PRIu64 ": %s", i,
                 strerror(errno));
        if (n != PAGE)
            must_sys(ftruncate(fd, (off_t)(i * PAGE)));
        if (n != PAGE)
            break;
    }
    close(fd);
}

/*
 * No write works any more. Everything that was stored stays readable, and the daemon stays there; what it
 * does with new stores once memory is full is its choice, but it may not be wrong, or for ever.
 */
static void dead_device(struct mount *m)
{
    char path[PATH_MAX], other[PATH_MAX];
    struct file_job job = {mount_path(m, path, "before"), 9, 512};

    client_run(file_job_fill, &job, 30);
    fault_add(m, "write", "error=EIO");
    struct file_job more = {mount_path(m, other, "after"), 10, NPAGES};
    client_run(fill_stopped, &more, 40);
    client_run(file_job_check, &job, 30);
    fault_clear(m);
    client_run(file_job_check, &job, 30);
    int fd = file_open(other, O_RDWR);
    more.npages = (uint64_t)lseek(fd, 0, SEEK_END) / PAGE;
    close(fd);
    must_int(more.npages, >, 512);
    client_run(file_job_check, &more, 30);
    must_sys(unlink(path));
    must_sys(unlink(other));
    mount_settle(m, "reserved", 0);
}

static const struct mount_case cases[] = {
    {"read_transient", read_transient, FAULTY},
    {"read_permanent", read_permanent, FAULTY},
    {"corrupted", corrupted, FAULTY},
    {"overwritten", overwritten, FAULTY},
    {"write_transient", write_transient, FAULTY},
    {"write_permanent", write_permanent, FAULTY},
    {"dead_device", dead_device, {.swap = "16M", .more = "faults=yes"}},
};

HARNESS_MAIN("swapfault", cases)
