/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory and swap used up: ENOSPC or SIGBUS at the access, nothing that was stored is lost, the mount
 * stays healthy, and what is deleted can be used again.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define SLACK_PAGES 600u /* what may be promised otherwise while all is used: read-ahead, reserve */

/* => pages written before ENOSPC */
static uint64_t write_until_full(const char *path, uint64_t seed)
{
    char page[PAGE];
    int fd = file_open(path, O_WRONLY | O_CREAT);

    for (uint64_t n = 0;; n++) {
        content_fill(page, seed, n);
        ssize_t r = pwrite(fd, page, PAGE, (off_t)(n * PAGE));
        if (r == PAGE)
            continue;
        must_msg(r < 0 && errno == ENOSPC, "pwrite gives %zd: %s", r, strerror(errno));
        close(fd);
        return n;
    }
}

/* => pages stored before SIGBUS */
static uint64_t store_until_full(const char *path, uint64_t seed, uint64_t npages)
{
    int fd = file_open(path, O_RDWR | O_CREAT);
    uint64_t n = 0;

    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    while (n < npages && client_store(map + n * PAGE, 1)) {
        content_fill(map + n * PAGE, seed, n);
        n++;
    }
    must_sys(munmap(map, npages * PAGE));
    must_sys(fsync(fd)); /* what could be stored can be written back */
    close(fd);
    return n;
}

static uint64_t total_pages(const struct mount *m)
{
    struct statvfs st;
    must_sys(statvfs(m->anon, &st));
    return st.f_blocks * st.f_frsize / PAGE;
}

static uint64_t free_pages(const struct mount *m)
{
    struct statvfs st;
    must_sys(statvfs(m->anon, &st));
    return st.f_bavail * st.f_frsize / PAGE;
}

static void check_file(const char *path, uint64_t seed, uint64_t npages)
{
    struct file_job job = {path, seed, npages};
    client_run(file_job_check, &job, 30);
    client_run(file_job_check_read, &job, 30);
}

static void by_write(struct mount *m)
{
    char path[PATH_MAX], other[PATH_MAX], more[PATH_MAX];
    uint64_t total = total_pages(m), before = free_pages(m);

    mount_path(m, path, "full");
    must_int(total, ==, mount_counter(m, "reservemax"));
    must_int(before, ==, total);

    uint64_t n = write_until_full(path, 1);
    must_int(n, <=, total);
    must_int(n, >=, total - SLACK_PAGES);
    must_int(free_pages(m), <=, SLACK_PAGES);
    must(mount_counter(m, "reserve_fail") > 0);

    must_int(write_until_full(mount_path(m, other, "other"), 2), <=, SLACK_PAGES);
    struct stat file;
    must_sys(stat(path, &file));
    must_int(file.st_size, ==, n * PAGE);
    int fd = file_open(mount_path(m, more, "more"), O_RDWR | O_CREAT);
    must_fail(fallocate(fd, 0, 0, 2 * SLACK_PAGES * PAGE), ENOSPC);
    must_sys(fstat(fd, &file));
    must_int(file.st_size, ==, 0);
    close(fd);
    check_file(path, 1, n);

    /* What is there can be stored to again. */
    fd = file_open(path, O_RDWR);
    file_fill(fd, 3, 0, n);
    must_sys(fsync(fd));
    close(fd);
    check_file(path, 3, n);

    must_sys(truncate(path, (off_t)(n / 2 * PAGE)));
    uint64_t again = write_until_full(other, 4);
    must_int(again, >=, n / 2 - SLACK_PAGES);
    check_file(path, 3, n / 2);
    check_file(other, 4, again);
    must_sys(unlink(path));
    must_sys(unlink(other));
    must_sys(unlink(more));
    mount_settle(m, "reserved", 0);
    must_int(free_pages(m), ==, before);
    must_int(write_until_full(path, 5), >=, n - SLACK_PAGES);
}

static void by_mapping(struct mount *m)
{
    char path[PATH_MAX], other[PATH_MAX];
    uint64_t total = total_pages(m);

    mount_path(m, path, "full");
    mount_path(m, other, "other");
    for (uint64_t round = 1; round <= 3; round++) {
        uint64_t n = store_until_full(path, round, total + 4096);
        must_int(n, <=, total);
        must_int(n, >=, total - SLACK_PAGES);
        check_file(path, round, n);
        must_int(store_until_full(other, 9, 4096), <=, SLACK_PAGES);
        check_file(path, round, n);

        /* SIGBUS is for the page that has no room; the process can go on with the others. */
        int fd = file_open(path, O_RDWR);
        char *map = file_map(fd, 0, (total + 4096) * PAGE, PROT_READ | PROT_WRITE);
        must(!client_store(map + (total + 4000) * PAGE, 1));
        must(client_store(map + (n - 1) * PAGE, content_word(round, n - 1, 0)));
        must_sys(munmap(map, (total + 4096) * PAGE));
        close(fd);
        check_file(path, round, n);
        must_sys(unlink(path));
        must_sys(unlink(other));
        mount_settle(m, "reserved", 0);
    }
}

/* Holes that were only read give their room back when it is needed. */
static void read_holes(struct mount *m)
{
    char path[PATH_MAX], full[PATH_MAX], page[PAGE];
    uint64_t total = total_pages(m), npages = 4 * total, word;
    int fd = file_open(mount_path(m, path, "holes"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    for (uint64_t i = 0; i < npages; i++) {
        must_msg(client_load(map + i * PAGE, &word), "SIGBUS at hole %" PRIu64, i);
        must_int(word, ==, 0);
    }
    must_int(mount_counter(m, "reserved"), <=, total);
    must(mount_counter(m, "revokes") > 0);
    for (uint64_t i = 0; i < npages; i++)
        must_int(file_pread(fd, page, PAGE, (off_t)(i * PAGE)), ==, PAGE);

    /* They make room for stores, too, mapped or not. */
    uint64_t n = write_until_full(mount_path(m, full, "full"), 7);
    must_int(n, >=, total - SLACK_PAGES);
    check_file(full, 7, n);
    must_sys(munmap(map, npages * PAGE));
    close(fd);
}

/* Who may not write is served zeroes even when there is nothing left to promise. */
static void read_only_hole(struct mount *m)
{
    char path[PATH_MAX], full[PATH_MAX], page[PAGE];
    uint64_t npages = 4096, word;
    int fd = file_open(mount_path(m, path, "holes"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    close(fd);
    uint64_t n = write_until_full(mount_path(m, full, "full"), 8);
    fd = file_open(path, O_RDONLY);
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ);
    for (uint64_t i = 0; i < npages; i++) {
        must_int(file_pread(fd, page, PAGE, (off_t)(i * PAGE)), ==, PAGE);
        content_check(page, 0, i);
        must_msg(client_load(map + (npages - 1 - i) * PAGE, &word), "SIGBUS at hole %" PRIu64,
                 npages - 1 - i);
        must_int(word, ==, 0);
    }
    must_sys(munmap(map, npages * PAGE));
    close(fd);
    check_file(full, 8, n);
    must_sys(unlink(full));
    must_sys(unlink(path));
    mount_settle(m, "reserved", 0);
}

/* Page i holds word i + 1 where something was stored, else zeroes, which may be refused with ENOSPC. */
static void check_slipped(int fd, const bool *stored, uint64_t npages, bool full)
{
    for (uint64_t i = 0; i < npages; i++) {
        uint64_t word;
        ssize_t r = pread(fd, &word, sizeof(word), (off_t)(i * PAGE));
        if (r < 0 && errno == ENOSPC && full && !stored[i])
            continue;
        must_msg(r == sizeof(word), "page %" PRIu64 ": pread gives %zd: %s", i, r, strerror(errno));
        must_msg(word == (stored[i] ? i + 1 : 0), "page %" PRIu64 " has %" PRIu64, i, word);
    }
}

/*
 * Zeroes that were served to a reader without a reservation are in the kernel's cache for a moment, and
 * somebody who may write can store into them there. A store that is accepted is kept; when there
 * were so many that no more could be, the zeroes are refused as well.
 */
static void slipping_in(struct mount *m)
{
    char path[PATH_MAX], full[PATH_MAX], page[PAGE];
    uint64_t npages = 2048, kept = 0;
    bool *stored = calloc(npages, sizeof(*stored));
    int fd = file_open(mount_path(m, path, "holes"), O_RDWR | O_CREAT);

    must(stored != NULL);
    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    uint64_t n = write_until_full(mount_path(m, full, "full"), 8);
    int reader = file_open(path, O_RDONLY);
    must(posix_fadvise(reader, 0, 0, POSIX_FADV_RANDOM) == 0);
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    for (uint64_t i = 0; i < npages; i++) {
        ssize_t r = pread(reader, page, PAGE, (off_t)(i * PAGE));
        must_msg(r == PAGE || errno == ENOSPC, "page %" PRIu64 ": %s", i, strerror(errno));
        stored[i] = client_store(map + i * PAGE, i + 1);
        kept += stored[i];
    }
    must_sys(munmap(map, npages * PAGE));
    must_sys(fsync(fd));
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    check_slipped(reader, stored, npages, true);
    check_file(full, 8, n);
    must(kept > 0);
    must_sys(unlink(full));
    mount_settle(m, "reserved", kept);
    check_slipped(reader, stored, npages, false);
    must_int(mount_counter(m, "lent"), ==, 0);
    close(reader);
    close(fd);
    free(stored);
}

#define CROWD       4u
#define CROWD_PAGES 4096u
#define CROWD_READ  256u

struct crowd_job {
    const char *path;
    unsigned number; /* stores into pages whose index is this, modulo CROWD */
};

/* What was read from page first on: zeroes, or the last word stored to a page that is ours. */
static void crowd_check(const struct crowd_job *job, const uint64_t *words, const char *buf,
                        uint64_t first, ssize_t len)
{
    for (uint64_t i = first; len >= (ssize_t)PAGE; i++, buf += PAGE, len -= (ssize_t)PAGE) {
        uint64_t word;
        memcpy(&word, buf, sizeof(word));
        must_msg(i % CROWD != job->number || word == words[i],
                 "page %" PRIu64 " has %" PRIu64 " instead of %" PRIu64, i, word, words[i]);
    }
}

/* Read ahead, directly, drop, and store through a mapping, all over the same holes. */
static void crowd_client(void *arg)
{
    const struct crowd_job *job = arg;
    uint64_t *words = calloc(CROWD_PAGES, sizeof(*words)), random = job->number + 1;
    char *buf = aligned_alloc(PAGE, CROWD_READ * PAGE);
    int fd = file_open(job->path, O_RDWR), reader = file_open(job->path, O_RDONLY);
    int direct = file_open(job->path, O_RDONLY | O_DIRECT);
    char *map = file_map(fd, 0, CROWD_PAGES * PAGE, PROT_READ | PROT_WRITE);

    must(words && buf);
    for (uint64_t i = 1, n = client_scale(300); i <= n; i++) {
        uint64_t page = content_random(&random) % (CROWD_PAGES - CROWD_READ);
        uint64_t mine = page - page % CROWD + job->number;
        size_t len = content_random(&random) % CROWD_READ * PAGE + PAGE;
        ssize_t r = pread(i % 5 ? reader : direct, buf, len, (off_t)(page * PAGE));
        must_msg(r > 0 || errno == ENOSPC, "page %" PRIu64 ": %s", page, strerror(errno));
        crowd_check(job, words, buf, page, r);
        if (client_store(map + mine * PAGE, i))
            words[mine] = i;
        if (i % 3 == 0)
            must(posix_fadvise(fd, (off_t)(page * PAGE), (off_t)len, POSIX_FADV_DONTNEED) == 0);
        if (i % 16 == 0)
            must_sys(fsync(fd));
    }
    must_sys(munmap(map, CROWD_PAGES * PAGE));
    must_sys(fsync(fd));
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    for (uint64_t i = job->number; i < CROWD_PAGES; i += CROWD) {
        ssize_t r = pread(reader, buf, PAGE, (off_t)(i * PAGE));
        must_msg(r == PAGE || (r < 0 && errno == ENOSPC && !words[i]), "page %" PRIu64 ": %s", i,
                 strerror(errno));
        crowd_check(job, words, buf, i, r);
    }
}

/* Many readers at once, who wait for each other's loans: nobody hangs, and every store is kept. */
static void crowd(struct mount *m)
{
    char path[PATH_MAX], full[PATH_MAX];
    struct crowd_job jobs[CROWD];
    pid_t pids[CROWD];
    int fd = file_open(mount_path(m, path, "holes"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, CROWD_PAGES * PAGE));
    close(fd);
    uint64_t n = write_until_full(mount_path(m, full, "full"), 8);
    for (unsigned i = 0; i < CROWD; i++) {
        jobs[i] = (struct crowd_job){path, i};
        pids[i] = client_start(crowd_client, &jobs[i], 50);
    }
    for (unsigned i = 0; i < CROWD; i++)
        client_join(pids[i]);
    check_file(full, 8, n);
    mount_settle(m, "lent", 0);
}

/* More than the kernel keeps background requests under way: it then sends no write-back either. */
#define READERS      240u
#define READER_PAGES 256u

struct ahead_job {
    char path[PATH_MAX];
    int *go; /* when this pipe ends, all begin */
};

static void ahead_client(void *arg)
{
    const struct ahead_job *job = arg;
    uint64_t word;
    int fd = file_open(job->path, O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, READER_PAGES * PAGE));
    char *map = file_map(fd, 0, READER_PAGES * PAGE, PROT_READ | PROT_WRITE);
    must_sys(madvise(map, READER_PAGES * PAGE, MADV_SEQUENTIAL));
    must_sys(close(job->go[1]));
    must_int(read(job->go[0], &word, 1), ==, 0);
    for (uint64_t i = 0; i < READER_PAGES; i++)
        if (client_load(map + i * PAGE, &word))
            must_int(word, ==, 0);
    must_sys(munmap(map, READER_PAGES * PAGE));
    close(fd);
}

/*
 * Many who read ahead wait for reservations at once, and those are in holes next to dirty pages, which
 * the kernel must write back before it can let go of the holes.
 */
static void many_ahead(struct mount *m)
{
    static struct ahead_job jobs[READERS];
    char path[PATH_MAX], name[32];
    int go[2];
    uint64_t npages = total_pages(m) - SLACK_PAGES, word;
    pid_t pids[READERS];
    int fd = file_open(mount_path(m, path, "dirty"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    for (uint64_t i = 0; i < npages; i++)
        must_msg(client_load(map + i * PAGE, &word), "SIGBUS at hole %" PRIu64, i);
    for (uint64_t i = 0; i < npages; i += 8)
        must_msg(client_store(map + i * PAGE, i + 1), "SIGBUS at store %" PRIu64, i);
    must_sys(pipe2(go, O_CLOEXEC));
    for (unsigned i = 0; i < READERS; i++) {
        snprintf(name, sizeof(name), "reader%u", i);
        mount_path(m, jobs[i].path, name);
        jobs[i].go = go;
        pids[i] = client_start(ahead_client, &jobs[i], 50);
    }
    close(go[1]);
    for (unsigned i = 0; i < READERS; i++)
        client_join(pids[i]);
    for (uint64_t i = 0; i < npages; i += 8)
        must(client_load(map + i * PAGE, &word) && word == i + 1);
    must_sys(munmap(map, npages * PAGE));
    close(fd);
}

/*
 * A write(2) that is refused takes nothing from a mapping: the kernel forgets the pages of a WRITE that
 * failed, one of which holds a store that it has not written back yet.
 */
static void refused_over_mapping(struct mount *m)
{
    char path[PATH_MAX], full[PATH_MAX], page[PAGE], buf[4 * PAGE] = {0};
    int fd = file_open(mount_path(m, path, "mapped"), O_RDWR | O_CREAT);

    must_int(pwrite(fd, buf, 3 * PAGE, PAGE), ==, 3 * PAGE); /* page 0 is a hole, and remains one */
    uint64_t n = write_until_full(mount_path(m, full, "full"), 8);
    char *map = file_map(fd, 0, 4 * PAGE, PROT_READ | PROT_WRITE);
    content_fill(page, 2, 3);
    memcpy(map + 3 * PAGE + PAGE / 2, page + PAGE / 2, PAGE / 2);
    uint64_t before = mount_counter(m, "revokes");
    must_fail(pwrite(fd, buf, sizeof(buf) - PAGE / 2, 0), ENOSPC);
    for (unsigned i = 0; i < 100 && mount_counter(m, "revokes") == before; i++)
        usleep(20000); /* it comes behind the answer */
    must_int(file_pread(fd, buf, PAGE, 3 * PAGE), ==, PAGE);
    must(memcmp(buf + PAGE / 2, page + PAGE / 2, PAGE / 2) == 0);
    must(memcmp(map + 3 * PAGE + PAGE / 2, page + PAGE / 2, PAGE / 2) == 0);
    must_sys(munmap(map, 4 * PAGE));
    close(fd);
    check_file(full, 8, n);
}

/* fallocate reserves: what it has promised is there when everything else is used up. */
static void allocated(struct mount *m)
{
    char path[PATH_MAX], full[PATH_MAX];
    int fd = file_open(mount_path(m, path, "alloc"), O_RDWR | O_CREAT);

    must_sys(fallocate(fd, 0, 0, 1024 * PAGE));
    must_sys(fallocate(fd, FALLOC_FL_KEEP_SIZE, 2048 * PAGE, 512 * PAGE));
    uint64_t n = write_until_full(mount_path(m, full, "full"), 1);
    file_fill(fd, 2, 0, 1024);
    must_sys(ftruncate(fd, 2560 * PAGE));
    file_fill(fd, 2, 2048, 512);
    file_drop(fd);
    file_check(fd, 2, 0, 1024);
    file_check(fd, 2, 2048, 512);
    check_file(full, 1, n);
    close(fd);
}

static const struct mount_case cases[] = {
    {"by_write", by_write, {.swap = "16M"}},
    {"by_mapping", by_mapping, {.swap = "16M"}},
    {"read_holes", read_holes, {.swap = "16M"}},
    {"read_only_hole", read_only_hole, {.swap = "16M"}},
    {"slipping_in", slipping_in, {.swap = "16M"}},
    {"crowd", crowd, {.swap = "16M"}},
    {"many_ahead", many_ahead, {.swap = "16M"}},
    {"refused_over_mapping", refused_over_mapping, {.swap = "16M"}},
    {"allocated", allocated, {.swap = "16M"}},
    {"by_write_no_swap", by_write, {.memory = "16M"}},
    {"by_mapping_no_swap", by_mapping, {.memory = "16M"}},
};

HARNESS_MAIN("exhaust", cases)
