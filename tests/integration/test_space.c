/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The space of files: fallocate in its modes, holes and data, appending, unnamed files.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

static int make(struct mount *m, const char *name)
{
    char path[PATH_MAX];
    return file_open(mount_path(m, path, "%s", name), O_RDWR | O_CREAT | O_EXCL);
}

static struct stat look(int fd)
{
    struct stat st;
    must_sys(fstat(fd, &st));
    return st;
}

static void allocate(struct mount *m)
{
    char buf[PAGE];
    int fd = make(m, "f");

    must_sys(fallocate(fd, 0, 0, 10 * PAGE));
    must_int(look(fd).st_size, ==, 10 * PAGE);
    must_int(look(fd).st_blocks, ==, 80);
    file_check(fd, 0, 0, 10);
    must_sys(fallocate(fd, FALLOC_FL_KEEP_SIZE, 20 * PAGE, 10 * PAGE));
    must_int(look(fd).st_size, ==, 10 * PAGE);
    must_int(look(fd).st_blocks, ==, 160);
    must_sys(fallocate(fd, 0, 100, 200)); /* within, changes nothing */
    must_int(look(fd).st_size, ==, 10 * PAGE);
    file_fill(fd, 1, 0, 10);
    must_sys(fallocate(fd, 0, 0, 12 * PAGE + 1)); /* data stays */
    must_int(look(fd).st_size, ==, 12 * PAGE + 1);
    file_drop(fd);
    file_check(fd, 1, 0, 10);
    must_int(file_pread(fd, buf, PAGE, 11 * PAGE), ==, PAGE);
    content_check(buf, 0, 11);

    must_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 3 * PAGE));
    must_int(look(fd).st_size, ==, 12 * PAGE + 1);
    must_sys(fallocate(fd, FALLOC_FL_ZERO_RANGE, 6 * PAGE, PAGE));
    must_sys(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 30 * PAGE, PAGE));
    must_int(look(fd).st_size, ==, 12 * PAGE + 1);
    must_sys(fallocate(fd, FALLOC_FL_ZERO_RANGE, 13 * PAGE, PAGE));
    must_int(look(fd).st_size, ==, 14 * PAGE);
    file_drop(fd);
    file_check(fd, 1, 0, 2);
    file_check(fd, 0, 2, 3);
    file_check(fd, 1, 5, 1);
    file_check(fd, 0, 6, 1);
    file_check(fd, 1, 7, 3);
    must_fail(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), EOPNOTSUPP);
    must_fail(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE), EOPNOTSUPP);
    must_fail(fallocate(fd, 0, 0, 0), EINVAL);
    must_fail(fallocate(fd, 0, -1, 10), EINVAL);
    close(fd);
}

static void allocate_tmpfs_differs(struct mount *m)
{
    if (!m->foreign) /* tmpfs has no zero range */
        allocate(m);
}

static void holes(struct mount *m)
{
    int fd = make(m, "f");

    must_fail(lseek(fd, 0, SEEK_DATA), ENXIO);
    must_fail(lseek(fd, 0, SEEK_HOLE), ENXIO);
    must_sys(ftruncate(fd, 1000 * PAGE + 5));
    must_fail(lseek(fd, 0, SEEK_DATA), ENXIO);
    must_int(lseek(fd, 0, SEEK_HOLE), ==, 0);
    for (unsigned i = 100; i < 110; i++)
        file_pwrite(fd, "data", 4, i * PAGE);
    file_pwrite(fd, "data", 4, 500 * PAGE);
    must_int(lseek(fd, 0, SEEK_DATA), ==, 100 * PAGE);
    must_int(lseek(fd, 100 * PAGE + 5, SEEK_DATA), ==, 100 * PAGE + 5);
    must_int(lseek(fd, 105 * PAGE, SEEK_HOLE), ==, 110 * PAGE);
    must_int(lseek(fd, 110 * PAGE, SEEK_DATA), ==, 500 * PAGE);
    must_int(lseek(fd, 500 * PAGE, SEEK_HOLE), ==, 501 * PAGE);
    must_fail(lseek(fd, 501 * PAGE, SEEK_DATA), ENXIO);
    must_int(lseek(fd, 501 * PAGE, SEEK_HOLE), ==, 501 * PAGE);
    must_fail(lseek(fd, 1000 * PAGE + 5, SEEK_HOLE), ENXIO);
    file_pwrite(fd, "end", 3, 1000 * PAGE + 2); /* data up to the end: the end is a hole */
    must_int(lseek(fd, 1000 * PAGE, SEEK_HOLE), ==, 1000 * PAGE + 5);
    must_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100 * PAGE, 10 * PAGE));
    must_int(lseek(fd, 0, SEEK_DATA), ==, 500 * PAGE);
    close(fd);
}

#define RECORDS 2000u

struct record {
    uint32_t who, number;
    uint64_t check;
};

static void append_records(void *arg)
{
    int fd = file_open(arg, O_WRONLY | O_APPEND);

    for (uint32_t i = 0; i < RECORDS; i++) {
        struct record r = {(uint32_t)getpid(), i, content_word((uint64_t)getpid(), i, 0)};
        must_int(write(fd, &r, sizeof(r)), ==, sizeof(r));
    }
    close(fd);
}

/* Two processes append: no record is lost, torn, or out of its writer's order. */
static void appending(struct mount *m)
{
    char path[PATH_MAX];
    uint32_t next[2] = {0};
    int fd = make(m, "log");
    pid_t pid[2];

    mount_path(m, path, "log");
    for (unsigned i = 0; i < 2; i++)
        pid[i] = client_start(append_records, path, 30);
    for (unsigned i = 0; i < 2; i++)
        client_join(pid[i]);
    must_int(look(fd).st_size, ==, 2 * RECORDS * sizeof(struct record));
    file_drop(fd);
    for (uint32_t i = 0; i < 2 * RECORDS; i++) {
        struct record r;
        must_int(file_pread(fd, &r, sizeof(r), (off_t)(i * sizeof(r))), ==, sizeof(r));
        unsigned who = r.who == (uint32_t)pid[1];
        must_int(r.who, ==, pid[who]);
        must_int(r.number, ==, next[who]++);
        must(r.check == content_word(r.who, r.number, 0));
    }
    close(fd);
}

static void vectors(struct mount *m)
{
    char a[100], b[200], back[300];
    struct iovec iov[2] = {{a, sizeof(a)}, {b, sizeof(b)}};
    int fd = make(m, "f");

    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    must_int(pwritev(fd, iov, 2, PAGE - 50), ==, 300);
    must_int(file_pread(fd, back, 300, PAGE - 50), ==, 300);
    must(back[99] == 'a' && back[100] == 'b' && back[299] == 'b');
    must_int(pread(fd, back, 10, 10000000), ==, 0);
    must_fail(ftruncate(fd, -1), EINVAL);
    must_int(copy_file_range(fd, (off_t[]){PAGE - 50}, fd, (off_t[]){20 * PAGE}, 300, 0), ==, 300);
    must_int(file_pread(fd, back, 300, 20 * PAGE), ==, 300);
    must(back[99] == 'a' && back[100] == 'b' && back[299] == 'b');
    close(fd);
}

static void unnamed(struct mount *m)
{
    char path[PATH_MAX], proc[64];
    struct stat st;
    int fd = open(m->anon, O_RDWR | O_TMPFILE, 0600);

    if (fd < 0) {
        must_int(errno, ==, EOPNOTSUPP);
        return;
    }
    must_int(look(fd).st_nlink, ==, 0);
    must_sys(ftruncate(fd, 100 * PAGE));
    file_fill(fd, 3, 0, 100);
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    must_sys(linkat(AT_FDCWD, proc, AT_FDCWD, mount_path(m, path, "named"), AT_SYMLINK_FOLLOW));
    must_sys(stat(path, &st));
    must_int(st.st_nlink, ==, 1);
    file_check(fd, 3, 0, 100);
    close(fd);
    fd = must_sys(open(m->anon, O_RDWR | O_TMPFILE, 0600));
    must_sys(ftruncate(fd, 100 * PAGE));
    file_fill(fd, 3, 0, 100);
    close(fd);
    must_sys(unlink(path));
    mount_settle(m, "reserved", 0);
}

static const struct mount_case cases[] = {
    {"allocate", allocate_tmpfs_differs, {.swap = "16M"}},
    {"holes", holes, {.swap = "16M"}},
    {"appending", appending, {.swap = "16M"}},
    {"vectors", vectors, {.swap = "16M"}},
    {"unnamed", unnamed, {.swap = "16M"}},
};

HARNESS_MAIN("space", cases)
