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
    {"allocated", allocated, {.swap = "16M"}},
    {"by_write_no_swap", by_write, {.memory = "16M"}},
    {"by_mapping_no_swap", by_mapping, {.memory = "16M"}},
};

HARNESS_MAIN("exhaust", cases)
