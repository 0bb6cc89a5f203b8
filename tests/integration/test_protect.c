/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvmctl protect: an object frozen for writers, or for everybody, while clients have it mapped, and
 * thawed again.
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

#define NPAGES 700u

static char *map_of(int fd, uint64_t npages)
{
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    must_sys(madvise(map, npages * PAGE, MADV_RANDOM));
    return map;
}

static void protect(const struct mount *m, const char *path, const char *prot)
{
    struct json_object *row = NULL, *value;

    must_int(mount_call(m, NULL, "protect", path, prot, NULL), ==, 0);
    must_int(mount_call(m, &row, "object", path, NULL), ==, 0);
    must(json_object_object_get_ex(row, "protection", &value));
    must(strcmp(json_object_get_string(value), prot) == 0);
    json_object_put(row);
}

/* Wait until a page shows what it should again: a refused store goes soon, not at once. */
static void page_reverts(const char *page, uint64_t seed, uint64_t pgno)
{
    double deadline = client_now() + 10 * client_slow();

    while (!content_is(page, seed, pgno)) {
        must_msg(client_now() < deadline, "page %" PRIu64 " does not revert", pgno);
        client_pause();
    }
}

static void read_only(struct mount *m)
{
    char path[PATH_MAX], buf[PAGE];
    uint64_t word;
    struct stat st;

    int fd = file_open(mount_path(m, path, "f"), O_RDWR | O_CREAT);
    must_sys(ftruncate(fd, NPAGES * PAGE));
    char *map = map_of(fd, NPAGES);
    for (unsigned i = 0; i < NPAGES; i++)
        content_fill(map + i * PAGE, 1, i);
    protect(m, path, "ro"); /* what was stored up to here is frozen */
    for (unsigned i = 0; i < NPAGES; i++)
        content_check(map + i * PAGE, 1, i);

    content_fill(buf, 2, 3);
    must_fail(pwrite(fd, buf, PAGE, 3 * PAGE), EROFS);
    page_reverts(map + 3 * PAGE, 1, 3);
    must_fail(open(path, O_RDWR), EROFS);
    must_fail(open(path, O_WRONLY | O_TRUNC), EROFS);
    must_fail(truncate(path, PAGE), EROFS);
    must_fail(ftruncate(fd, 0), EROFS);
    must_fail(fallocate(fd, 0, NPAGES * PAGE, PAGE), EROFS);
    must_sys(stat(path, &st));
    must_int(st.st_size, ==, NPAGES * PAGE);
    close(file_open(path, O_RDONLY));

    must(client_store(map + 5 * PAGE, 77)); /* nobody is asked before the write-back */
    must(msync(map + 5 * PAGE, PAGE, MS_SYNC) == -1);
    page_reverts(map + 5 * PAGE, 1, 5);
    must(client_load(map + 5 * PAGE, &word));
    must_int(word, ==, content_word(1, 5, 0));
    file_drop(fd);
    file_check(fd, 1, 0, NPAGES);

    protect(m, path, "rw");
    content_fill(map + 5 * PAGE, 3, 5);
    must_sys(msync(map + 5 * PAGE, PAGE, MS_SYNC));
    file_pwrite(fd, buf, PAGE, 3 * PAGE);
    must_sys(munmap(map, NPAGES * PAGE));
    file_drop(fd);
    file_check(fd, 3, 5, 1);
    file_check(fd, 2, 3, 1);
    file_check(fd, 1, 6, NPAGES - 6);
    close(fd);
}

static void nothing(struct mount *m)
{
    char path[PATH_MAX], buf[PAGE] = {0};
    uint64_t word;

    int fd = file_open(mount_path(m, path, "f"), O_RDWR | O_CREAT);
    must_sys(ftruncate(fd, NPAGES * PAGE));
    char *map = map_of(fd, NPAGES);
    for (unsigned i = 0; i < NPAGES; i++)
        content_fill(map + i * PAGE, 1, i);
    protect(m, path, "none");
    for (unsigned i = 0; i < NPAGES; i += 50) {
        must(!client_load(map + i * PAGE, &word));
        must(!client_store(map + i * PAGE, 5));
    }
    must_fail(pread(fd, buf, PAGE, 0), EACCES);
    must_fail(pwrite(fd, buf, PAGE, 0), EACCES);
    must_fail(open(path, O_RDONLY), EACCES);
    must_fail(ftruncate(fd, 0), EACCES);

    protect(m, path, "ro");
    content_check(map + 9 * PAGE, 1, 9);
    must_fail(pwrite(fd, buf, PAGE, 0), EROFS);
    protect(m, path, "rw");
    for (unsigned i = 0; i < NPAGES; i++)
        content_check(map + i * PAGE, 1, i);
    must(client_store(map, 5));
    must_sys(msync(map, PAGE, MS_SYNC));
    must_sys(munmap(map, NPAGES * PAGE));
    close(fd);
}

/* A frozen object is paged out and in like any other. */
static void paged(struct mount *m)
{
    char path[PATH_MAX], other[PATH_MAX];
    struct file_job job = {mount_path(m, path, "f"), 1, 3000};
    struct file_job load = {mount_path(m, other, "load"), 2, client_scale(6000)};

    client_run(file_job_fill, &job, 30);
    protect(m, path, "ro");
    client_run(file_job_fill, &load, 40);
    int fd = file_open(path, O_RDONLY);
    file_check(fd, 1, 0, 3000);
    must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    file_check(fd, 1, 0, 3000);
    close(fd);
    must_int(mount_counter(m, "ioerrors"), ==, 0);
    must_sys(unlink(path)); /* names are not bytes */
    must_sys(unlink(other));
    mount_settle(m, "swpginuse", 0);
}

struct storing {
    char *map;
    int fd;
};

/* Store rising numbers until the store is told to be lost. */
static void storer(void *arg)
{
    const struct storing *s = arg;
    double deadline = client_now() + 20 * client_slow();

    for (uint64_t n = 1; client_now() < deadline; n++) {
        for (unsigned i = 0; i < 16; i++)
            if (!client_store(s->map + i * PAGE, n))
                client_fail(__FILE__, __LINE__, "a store is SIGBUS");
        if (msync(s->map, 16 * PAGE, MS_SYNC))
            return;
    }
    client_fail(__FILE__, __LINE__, "no store was refused");
}

/* While somebody stores: the object stops changing, and the writer hears of it. */
static void under_stores(struct mount *m)
{
    char path[PATH_MAX], before[16 * PAGE], after[16 * PAGE];

    int fd = file_open(mount_path(m, path, "f"), O_RDWR | O_CREAT);
    must_sys(ftruncate(fd, 16 * PAGE));
    struct storing s = {map_of(fd, 16), fd};
    pid_t pid = client_start(storer, &s, 40);
    while (*(volatile uint64_t *)s.map < 20)
        client_pause();
    protect(m, path, "ro");
    client_join(pid);
    must_sys(munmap(s.map, 16 * PAGE));
    must_int(mount_call(m, NULL, "protect", path, "none", NULL), ==,
             0); /* empty the client cache */
    must_int(mount_call(m, NULL, "protect", path, "ro", NULL), ==, 0);
    must_int(file_pread(fd, before, sizeof(before), 0), ==, sizeof(before));
    file_drop(fd);
    must_int(file_pread(fd, after, sizeof(after), 0), ==, sizeof(after));
    must(memcmp(before, after, sizeof(before)) == 0);
    must_int(*(uint64_t *)before, >=, 19);
    close(fd);
}

/* A file of the source: what is frozen reaches it, what is refused does not. */
static void source_file(struct mount *m)
{
    static char more[PATH_MAX];
    char path[PATH_MAX], back_path[PATH_MAX], buf[PAGE];

    snprintf(back_path, sizeof(back_path), "%.3000s/source", m->dir);
    must_sys(mkdir(back_path, 0755));
    snprintf(more, sizeof(more), "source=%.3000s/source", m->dir);
    m->opts.more = more;
    snprintf(back_path, sizeof(back_path), "%.3000s/source/f", m->dir);
    int back = file_open(back_path, O_RDWR | O_CREAT);
    must_sys(ftruncate(back, NPAGES * PAGE));
    mount_start(m);
    snprintf(path, sizeof(path), "%.3000s/vnode/f", m->mountpoint);
    must_int(mount_call(m, NULL, "protect", path, "ro", NULL), ==, -ENOENT); /* not in use */

    int fd = file_open(path, O_RDWR);
    char *map = map_of(fd, NPAGES);
    for (unsigned i = 0; i < NPAGES; i++)
        content_fill(map + i * PAGE, 1, i);
    protect(m, path, "ro");
    must_fail(open(path, O_RDWR), EROFS);
    must_fail(ftruncate(fd, 0), EROFS);
    must_fail(fallocate(fd, 0, 0, NPAGES * PAGE + 1), EROFS);
    content_fill(buf, 2, 3);
    must_fail(pwrite(fd, buf, PAGE, 3 * PAGE), EROFS);
    must(client_store(map + 5 * PAGE, 77));
    must(msync(map + 5 * PAGE, PAGE, MS_SYNC) == -1);
    page_reverts(map + 3 * PAGE, 1, 3);
    page_reverts(map + 5 * PAGE, 1, 5);
    must_sys(fsync(fd));
    for (unsigned i = 0; i < NPAGES; i++) {
        must_int(pread(back, buf, PAGE, i * PAGE), ==, PAGE);
        content_check(buf, 1, i);
    }
    protect(m, path, "rw");
    content_fill(map + 5 * PAGE, 3, 5);
    must_sys(msync(map + 5 * PAGE, PAGE, MS_SYNC));
    must_int(pread(back, buf, PAGE, 5 * PAGE), ==, PAGE);
    content_check(buf, 3, 5);
    must_sys(munmap(map, NPAGES * PAGE));
    close(fd);
    must_msg(mount_stop(m), "%s", m->trouble);
}

static void refused(struct mount *m)
{
    char path[PATH_MAX];

    close(file_open(mount_path(m, path, "f"), O_RDWR | O_CREAT));
    must_int(mount_call(m, NULL, "protect", "anon/none", "ro", NULL), ==, -ENOENT);
    must_int(mount_call(m, NULL, "protect", m->anon, "ro", NULL), ==, -ENOENT);
    must_int(mount_call(m, NULL, "protect", path, "wo", NULL), ==, -EINVAL);
    must_int(mount_call(m, NULL, "protect", path, NULL), ==, -EINVAL);
    must_int(mount_call(m, NULL, "protect", "device/zero", "ro", NULL), ==, -EOPNOTSUPP);
    protect(m, "anon/f", "ro"); /* one that has no bytes yet */
    must_fail(open(path, O_WRONLY), EROFS);
    protect(m, path, "rw");
    close(file_open(path, O_WRONLY));
}

static const struct mount_case cases[] = {
    {"read_only", read_only, {.swap = "16M"}},
    {"nothing", nothing, {.swap = "16M"}},
    {"paged", paged, {.swap = "64M"}},
    {"under_stores", under_stores, {0}},
    {"source_file", source_file, {.unmounted = true}},
    {"refused", refused, {.more = "device=zero:/dev/zero:1M"}},
};

HARNESS_MAIN("protect", cases)
