/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Truncating, punching and unlinking, while others map what goes: what is gone is zeroes or SIGBUS and
 * never comes back, what stays is right, and the room returns.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static void check_bytes(int fd, off_t from, off_t to, uint64_t seed)
{
    unsigned char page[PAGE], want[PAGE];

    for (off_t at = from; at < to;) {
        off_t base = at & ~(off_t)(PAGE - 1);
        size_t off = (size_t)(at - base), n = PAGE - off;
        if ((off_t)n > to - at)
            n = (size_t)(to - at);
        memset(want, 0, sizeof(want));
        if (seed)
            content_fill(want, seed, (uint64_t)base / PAGE);
        must_int(file_pread(fd, page, n, at), ==, n);
        must_msg(memcmp(page, want + off, n) == 0, "bytes %lld to %lld are not %s", (long long)at,
                 (long long)at + (long long)n, seed ? "what was stored" : "zeroes");
        at += (off_t)n;
    }
}

/* A file of 64 pages of which other processes may have any part mapped or cached. */
static void cut(int fd, bool drop)
{
    if (drop)
        file_drop(fd);
}

static void zeroes_after(struct mount *m)
{
    char path[PATH_MAX];
    int fd = file_open(mount_path(m, path, "cut"), O_RDWR | O_CREAT);

    for (unsigned drop = 0; drop < 2; drop++) {
        uint64_t seed = 30 + drop;
        must_sys(ftruncate(fd, 64 * PAGE));
        file_fill(fd, seed, 0, 64);
        cut(fd, drop);
        must_sys(ftruncate(fd, 10 * PAGE + 100)); /* within a page */
        cut(fd, drop);
        must_sys(ftruncate(fd, 64 * PAGE));
        check_bytes(fd, 0, 10 * PAGE + 100, seed);
        check_bytes(fd, 10 * PAGE + 100, 64 * PAGE, 0);

        file_fill(fd, seed, 0, 64);
        cut(fd, drop);
        must_sys(fallocate(fd, PUNCH, 5 * PAGE, 7 * PAGE));
        must_sys(fallocate(fd, PUNCH, 20 * PAGE + 11, PAGE)); /* two parts of pages */
        must_sys(fallocate(fd, PUNCH, 30 * PAGE + 1, 2));
        must_sys(fallocate(fd, PUNCH, 40 * PAGE - 5, 2 * PAGE + 10));
        /* a tmpfs knows no zero range */
        must_sys(fallocate(fd, m->foreign ? PUNCH : FALLOC_FL_ZERO_RANGE, 50 * PAGE + 8, 3 * PAGE));
        must_sys(fallocate(fd, PUNCH, 63 * PAGE, 100 * PAGE)); /* over the end */
        for (unsigned again = 0; again < 2; again++) {
            check_bytes(fd, 0, 5 * PAGE, seed);
            check_bytes(fd, 5 * PAGE, 12 * PAGE, 0);
            check_bytes(fd, 12 * PAGE, 20 * PAGE + 11, seed);
            check_bytes(fd, 20 * PAGE + 11, 21 * PAGE + 11, 0);
            check_bytes(fd, 21 * PAGE + 11, 30 * PAGE + 1, seed);
            check_bytes(fd, 30 * PAGE + 1, 30 * PAGE + 3, 0);
            check_bytes(fd, 30 * PAGE + 3, 40 * PAGE - 5, seed);
            check_bytes(fd, 40 * PAGE - 5, 42 * PAGE + 5, 0);
            check_bytes(fd, 42 * PAGE + 5, 50 * PAGE + 8, seed);
            check_bytes(fd, 50 * PAGE + 8, 53 * PAGE + 8, 0);
            check_bytes(fd, 53 * PAGE + 8, 63 * PAGE, seed);
            check_bytes(fd, 63 * PAGE, 64 * PAGE, 0);
            file_drop(fd);
        }
        must_int(lseek(fd, 0, SEEK_END), ==, 64 * PAGE);
    }
    must_sys(ftruncate(fd, 0));
    close(fd);
    mount_settle(m, "reserved", 0);
    mount_settle(m, "swpginuse", 0);
}

/* Under load: the cutter stores generation g, then cuts; readers may see g, a newer one, or zeroes. */
#define LOAD_PAGES 4096u
#define CUTS       40u

struct load {
    char path[PATH_MAX];
    _Atomic uint64_t floor; /* generations older than this are gone for good */
    _Atomic bool stop;
};

static void load_reader(void *arg)
{
    struct load *load = arg;
    int fd = file_open(load->path, O_RDONLY);
    char *map = file_map(fd, 0, LOAD_PAGES * PAGE, PROT_READ);
    uint64_t state = (uint64_t)getpid(), word, gone = 0, seen = 0;

    while (!atomic_load(&load->stop)) {
        uint64_t pgno = content_random(&state) % LOAD_PAGES, floor = atomic_load(&load->floor);
        size_t i = content_random(&state) % PAGE_WORDS;
        if (!client_load(map + pgno * PAGE + i * 8, &word)) {
            gone++;
            continue;
        }
        uint64_t ceiling = atomic_load(&load->floor) + 1;
        bool known = word == 0;
        for (uint64_t g = floor; g <= ceiling && !known; g++)
            known = word == content_word(g, pgno, i);
        must_msg(known,
                 "page %" PRIu64 ": %#" PRIx64 " is of no generation from %" PRIu64 " to %" PRIu64,
                 pgno, word, floor, ceiling);
        seen++;
        if (seen % 512 == 0) /* without this the kernel's cache would serve all */
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    must(seen > 0);
}

static void load_cutter(void *arg)
{
    struct load *load = arg;
    int fd = file_open(load->path, O_RDWR);
    uint64_t npages = client_scale(LOAD_PAGES) & ~7u;

    for (uint64_t g = 1; g <= CUTS; g++) {
        must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
        file_fill(fd, g, 0, npages / 2);
        if (g % 2) {
            must_sys(ftruncate(fd, (off_t)(npages / 8 * PAGE)));
            must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
            must_sys(fallocate(fd, PUNCH, 0, (off_t)(npages / 8 * PAGE)));
        } else {
            must_sys(fallocate(fd, PUNCH, 0, (off_t)(npages * PAGE)));
        }
        atomic_store(&load->floor, g + 1);
        file_check(fd, 0, 0, npages / 2);
    }
    close(fd);
}

static void under_load(struct mount *m)
{
    struct load *load =
        mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t readers[2];

    must(load != MAP_FAILED);
    load->floor = 1;
    int fd = file_open(mount_path(m, load->path, "load"), O_RDWR | O_CREAT);
    must_sys(ftruncate(fd, PAGE));
    close(fd);
    for (unsigned i = 0; i < 2; i++)
        readers[i] = client_start(load_reader, load, 50);
    client_run(load_cutter, load, 50);
    atomic_store(&load->stop, true);
    for (unsigned i = 0; i < 2; i++)
        client_join(readers[i]);
    must_sys(unlink(load->path));
    mount_settle(m, "reserved", 0);
}

/* An unlinked file lives on while it is open or mapped, and its room returns after that. */
static void unlinked(struct mount *m)
{
    char path[PATH_MAX];
    uint64_t npages = client_scale(8192), seed = 50;
    int fd = file_open(mount_path(m, path, "gone"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    file_fill(fd, seed, 0, npages);
    must_sys(unlink(path));
    must_fail(access(path, F_OK), ENOENT);
    file_drop(fd);
    file_check(fd, seed, 0, npages); /* open */
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    close(fd);
    for (uint64_t i = 0; i < npages; i++) { /* mapped alone */
        content_check(map + i * PAGE, seed, i);
        content_fill(map + i * PAGE, seed + 1, i);
    }
    must_sys(madvise(map, npages * PAGE, MADV_DONTNEED));
    for (uint64_t i = 0; i < npages; i += 3)
        content_check(map + i * PAGE, seed + 1, i);
    if (!m->foreign)
        must_int(mount_counter(m, "reserved"), >=, npages);
    must_sys(munmap(map, npages * PAGE));
    mount_settle(m, "reserved", 0);
    mount_settle(m, "swpginuse", 0);
    mount_settle(m, "objects", 0);
}

static void hold_open(void *arg)
{
    int fd = file_open(arg, O_RDWR);
    char *map = file_map(fd, 0, 64 * PAGE, PROT_READ | PROT_WRITE);

    for (unsigned i = 0; i < 64; i++)
        content_fill(map + i * PAGE, 60, i);
    raise(SIGSTOP);
    for (unsigned i = 0; i < 64; i++)
        content_check(map + i * PAGE, 60, i);
}

/* Renaming over a file is the end of it, too; and a client that dies holds on to nothing. */
static void replaced(struct mount *m)
{
    char path[PATH_MAX], next[PATH_MAX];
    int status;

    int fd = file_open(mount_path(m, path, "old"), O_RDWR | O_CREAT);
    must_sys(ftruncate(fd, 64 * PAGE));
    close(fd);
    fd = file_open(mount_path(m, next, "new"), O_RDWR | O_CREAT);
    file_pwrite(fd, "new", 3, 0);
    pid_t holder = client_start(hold_open, path, 30);
    must_int(waitpid(holder, &status, WUNTRACED), ==, holder);
    must(WIFSTOPPED(status));
    must_sys(rename(next, path));
    must_sys(kill(holder, SIGCONT));
    client_join(holder);
    must_int(lseek(fd, 0, SEEK_END), ==, 3);
    close(fd);
    mount_settle(m, "reserved", 1);

    holder = client_start(hold_open, (must_sys(truncate(path, 64 * PAGE)), path), 30);
    must_int(waitpid(holder, &status, WUNTRACED), ==, holder);
    must_sys(unlink(path));
    must_sys(kill(holder, SIGKILL));
    client_wait(holder);
    mount_settle(m, "reserved", 0);
}

static const struct mount_case cases[] = {
    {"zeroes_after", zeroes_after, {.swap = "64M"}},
    {"under_load", under_load, {.swap = "64M", .seconds = 90}},
    {"unlinked", unlinked, {.swap = "128M"}},
    {"replaced", replaced, {.swap = "64M"}},
};

HARNESS_MAIN("remove", cases)
