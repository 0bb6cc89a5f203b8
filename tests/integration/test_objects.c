/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many small objects, and few very large ones with little in them; what they hold comes back when
 * they go.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define SMALL_FILES 5000u
#define SPOTS       300u

struct many {
    const struct mount *m;
    unsigned nfiles;
};

static unsigned pages_of(unsigned i)
{
    return 1 + i % 3;
}

static void make_small(void *arg)
{
    const struct many *many = arg;
    char path[PATH_MAX], buf[3 * PAGE];

    for (unsigned i = 0; i < many->nfiles; i++) {
        int fd = file_open(mount_path(many->m, path, "f%u", i), O_RDWR | O_CREAT | O_EXCL);
        unsigned n = pages_of(i);
        if (i % 2) {
            for (unsigned k = 0; k < n; k++)
                content_fill(buf + k * PAGE, i + 1, k);
            file_pwrite(fd, buf, n * PAGE, 0);
        } else {
            must_sys(ftruncate(fd, n * PAGE));
            file_fill(fd, i + 1, 0, n);
        }
        must_sys(fsync(fd));
        must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
        close(fd);
    }
}

static void check_small(void *arg)
{
    const struct many *many = arg;
    char path[PATH_MAX], buf[4 * PAGE];

    for (unsigned i = 0; i < many->nfiles; i++) {
        int fd = file_open(mount_path(many->m, path, "f%u", i), O_RDONLY);
        unsigned n = pages_of(i);
        must_int(file_pread(fd, buf, sizeof(buf), 0), ==, n * PAGE);
        for (unsigned k = 0; k < n; k++)
            content_check(buf + k * PAGE, i + 1, k);
        close(fd);
    }
}

static void remove_small(void *arg)
{
    const struct many *many = arg;
    char path[PATH_MAX];

    for (unsigned i = 0; i < many->nfiles; i++)
        must_sys(unlink(mount_path(many->m, path, "f%u", i)));
}

static void many_small(struct mount *m)
{
    struct many many = {m, (unsigned)client_scale(SMALL_FILES)};
    uint64_t reserved = mount_counter(m, "reserved"), npages = 0;

    for (unsigned i = 0; i < many.nfiles; i++)
        npages += pages_of(i);
    client_run(make_small, &many, 60);
    if (!m->foreign) {
        struct json_object *rows = NULL;
        must_int(mount_call(m, &rows, "objects", NULL), ==, 0);
        must_int(json_object_array_length(rows), ==, many.nfiles);
        json_object_put(rows);
        must_int(mount_counter(m, "reserved"), >=, reserved + npages);
        must_int(mount_counter(m, "pgswapout"), >, 0);
    }
    client_run(check_small, &many, 60);
    client_run(remove_small, &many, 60);
    mount_settle(m, "reserved", reserved);
    mount_settle(m, "swpginuse", 0);
    mount_settle(m, "objects", 0);
}

/* Scattered over an object: spots of one page and spots of several. */
static uint64_t spot(unsigned i, uint64_t npages)
{
    uint64_t state = 1000 + i;
    return content_random(&state) % (npages / SPOTS - 8) + i * (npages / SPOTS);
}

struct sparse {
    const char *path;
    uint64_t npages;
};

static void fill_sparse(void *arg)
{
    const struct sparse *s = arg;
    int fd = file_open(s->path, O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(s->npages * PAGE)));
    char *map = file_map(fd, 0, s->npages * PAGE, PROT_READ | PROT_WRITE);
    must_sys(madvise(map, s->npages * PAGE, MADV_RANDOM));
    for (unsigned i = 0; i < SPOTS; i++)
        for (uint64_t k = 0; k < 1 + i % 8; k++)
            content_fill(map + (spot(i, s->npages) + k) * PAGE, 5, spot(i, s->npages) + k);
    content_fill(map + (s->npages - 1) * PAGE, 5, s->npages - 1);
    must_sys(munmap(map, s->npages * PAGE));
    must_sys(fsync(fd));
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    close(fd);
}

static void check_sparse(void *arg)
{
    const struct sparse *s = arg;
    int fd = file_open(s->path, O_RDONLY);
    char *map = file_map(fd, 0, s->npages * PAGE, PROT_READ);

    must_sys(madvise(map, s->npages * PAGE, MADV_RANDOM));
    for (unsigned i = 0; i < SPOTS; i++) {
        uint64_t at = spot(i, s->npages), n = 1 + i % 8;
        for (uint64_t k = 0; k < n; k++)
            content_check(map + (at + k) * PAGE, 5, at + k);
        if (i % 4 == 0)
            content_check(map + (at + n) * PAGE, 0, at + n);
    }
    content_check(map + (s->npages - 1) * PAGE, 5, s->npages - 1);
    close(fd);
}

static void sparse_tib(struct mount *m)
{
    char path[PATH_MAX], buf[PAGE];
    struct sparse s = {mount_path(m, path, "sparse"), TIB / PAGE};
    struct file_job load = {NULL, 6, client_scale(6000)};
    uint64_t reserved = mount_counter(m, "reserved");
    char other[PATH_MAX];

    client_run(fill_sparse, &s, 60);
    load.path = mount_path(m, other, "load"); /* push the pages out */
    client_run(file_job_fill, &load, 30);
    must_sys(unlink(other));
    client_run(check_sparse, &s, 60);

    struct stat st;
    must_sys(stat(path, &st));
    must_int(st.st_size, ==, TIB);
    must_int(st.st_blocks * 512, <=, 16 * MIB);
    int fd = file_open(path, O_RDWR);
    must_int(file_pread(fd, buf, PAGE, (off_t)(TIB - PAGE)), ==, PAGE);
    content_check(buf, 5, TIB / PAGE - 1);
    must_sys(ftruncate(fd, 0));
    mount_settle(m, "reserved", reserved);
    close(fd);
    must_sys(unlink(path));
}

static void size_limit(struct mount *m)
{
    char path[PATH_MAX];
    uint64_t word = 12345;
    struct stat st;

    if (m->foreign)
        return;
    int fd = file_open(mount_path(m, path, "limit"), O_RDWR | O_CREAT);
    must_sys(ftruncate(fd, (off_t)(8 * TIB)));
    must_fail(ftruncate(fd, (off_t)(8 * TIB + 1)), EFBIG);
    must_fail(pwrite(fd, "x", 1, (off_t)(8 * TIB)), EFBIG);
    must_fail(fallocate(fd, 0, (off_t)(8 * TIB), PAGE), EFBIG);
    must_int(pwrite(fd, &word, 8, (off_t)(8 * TIB - 8)), ==, 8);
    ssize_t n = pwrite(fd, &word, 8, (off_t)(8 * TIB - 4)); /* as much as fits, or nothing */
    must(n == 4 || (n == -1 && errno == EFBIG));

    must_sys(fstat(fd, &st));
    must_int(st.st_size, ==, 8 * TIB);
    char *map = file_map(fd, (off_t)(8 * TIB - PAGE), PAGE, PROT_READ | PROT_WRITE);
    must_int(((uint32_t *)map)[PAGE_WORDS * 2 - 2], ==, 12345);
    must_int(lseek(fd, 0, SEEK_DATA), ==, 8 * TIB - PAGE);
    must_sys(ftruncate(fd, 0));
    must_sys(munmap(map, PAGE));
    close(fd);
    must_sys(unlink(path));
}

static const struct mount_case cases[] = {
    {"many_small", many_small, {.swap = "128M", .seconds = 90}},
    {"sparse_tib", sparse_tib, {.swap = "128M"}},
    {"size_limit", size_limit, {.swap = "16M"}},
};

HARNESS_MAIN("objects", cases)
