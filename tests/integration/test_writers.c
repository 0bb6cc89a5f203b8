/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * More large write(2) calls than there is memory for: while they wait, the daemon stays small, what
 * the kernel writes back itself is not held up, and in the end every byte is where it belongs.
 *
 *      swap refuses every write       so nothing is paged out, and the writers stay where they are
 *      a mapping, resident            stored to and synced behind the writers' backs
 *      swap works again               they all get on; who is answered short writes the rest
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define WRITERS      100u
#define WRITER_PAGES 256u /* one WRITE */
#define KEPT_PAGES   64u  /* of the mapping */

/* What the daemon may grow by: memory= (8 MiB) and its request buffers, which are touched by now or
 * soon; 16 MiB of whole payloads, and a head of 64 KiB for each of the others. Data over data has
 * more whole payloads. */
#define GROWTH      (44 * MIB)
#define GROWTH_OVER (GROWTH + 8 * MIB)

#define FAULTY                                         \
    {                                                  \
        .swap = "256M", .more = "faults=yes,threads=2" \
    }

struct writer {
    char path[PATH_MAX];
    uint64_t seed;
    int flags;
};

static void writer_run(void *arg)
{
    const struct writer *w = arg;
    int fd = file_open(w->path, O_RDWR | O_CREAT | w->flags);
    size_t size = WRITER_PAGES * PAGE;
    char *buf = aligned_alloc(PAGE, size);

    must(buf != NULL);
    for (unsigned i = 0; i < WRITER_PAGES; i++)
        content_fill(buf + i * PAGE, w->seed, i);
    file_pwrite(fd, buf, size, 0);
    free(buf);
    close(fd);
}

/* The most memory uvmd has ever had, in bytes. */
static uint64_t peak(const struct mount *m)
{
    char path[64], line[256];
    uint64_t kib = 0;

    snprintf(path, sizeof(path), "/proc/%d/status", m->daemon);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "VmHWM: %" SCNu64 " kB", &kib) == 1)
            break;
    if (status)
        fclose(status);
    must(kib > 0);
    return kib * KIB;
}

/* Start the writers, and see (nearly) all of them wait. */
static void start_parked(struct mount *m, struct writer *writers, pid_t *pids)
{
    uint64_t before = mount_counter(m, "flt_noram");
    double deadline = client_now() + 20;

    for (unsigned i = 0; i < WRITERS; i++)
        pids[i] = client_start(writer_run, &writers[i], 50);
    while (mount_counter(m, "flt_noram") < before + WRITERS * 9 / 10) {
        must_msg(client_now() < deadline, "only %" PRIu64 " writers wait",
                 mount_counter(m, "flt_noram") - before);
        client_pause();
    }
}

static void check_writers(const struct writer *writers)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        struct file_job job = {writers[i].path, writers[i].seed, WRITER_PAGES};
        client_run(file_job_check, &job, 30);
    }
}

static struct writer *make_writers(struct mount *m, uint64_t seed, int flags)
{
    struct writer *writers = calloc(WRITERS, sizeof(*writers));

    must(writers != NULL);
    for (unsigned i = 0; i < WRITERS; i++) {
        mount_path(m, writers[i].path, "writer%u", i);
        writers[i].seed = seed + i;
        writers[i].flags = flags;
    }
    return writers;
}

#define swap_breaks(m) \
    must_int(mount_call(m, NULL, "fault", "add", "write", "error=EIO", NULL), ==, 0)
#define swap_works(m) must_int(mount_call(m, NULL, "fault", "clear", NULL), ==, 0)

static void sync_again(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR);

    file_fill(fd, job->seed, 0, job->npages);
    must_sys(fsync(fd));
    close(fd);
}

/* One round: all the writers wait, a mapping is written back, and then everybody gets on. */
static void round_of(struct mount *m, struct file_job *kept, uint64_t seed, int flags)
{
    struct writer *writers = make_writers(m, seed, flags);
    pid_t pids[WRITERS];

    swap_breaks(m);
    kept->seed = seed;
    client_run(file_job_fill, kept, 30); /* it stays in memory: there is no way out */
    start_parked(m, writers, pids);
    kept->seed++;
    uint64_t moves = mount_counter(m, "pgswapout");
    client_run(sync_again, kept, 20);
    must_int(mount_counter(m, "pgswapout"), ==, moves); /* nobody got on meanwhile */
    swap_works(m);
    for (unsigned i = 0; i < WRITERS; i++)
        client_join(pids[i]);
    check_writers(writers);
    client_run(file_job_check, kept, 30);
    free(writers);
}

/* Twice: new files, and the same again, when the client cache has something behind each cut. */
static void rounds(struct mount *m, int flags)
{
    char path[PATH_MAX];
    struct file_job kept = {mount_path(m, path, "kept"), 0, KEPT_PAGES};
    bool measured = mount_rss(m) > 0;
    uint64_t before = peak(m);

    round_of(m, &kept, 1000, flags);
    if (measured)
        must_int(peak(m) - before, <=, GROWTH);
    round_of(m, &kept, 2000, flags);
    if (measured)
        must_int(peak(m) - before, <=, GROWTH_OVER);
}

static void buffered(struct mount *m)
{
    rounds(m, 0);
}

/* These come neither in the way of the write-back nor to an error when they are cut. */
static void direct(struct mount *m)
{
    rounds(m, O_DIRECT);
}

static const struct mount_case cases[] = {
    {"buffered", buffered, FAULTY},
    {"direct", direct, FAULTY},
};

HARNESS_MAIN("writers", cases)
