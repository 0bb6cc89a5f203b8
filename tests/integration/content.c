/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every word is a hash of seed and page, stepped by its index, and made odd: no word is 0, so a hole is
 * told from data, and a word at the wrong place is wrong. Files are mapped a stretch at a time, so that a
 * file may be larger than what the machine maps at once.
 */
#include "content.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

#include "client.h"

#define STRETCH      16384u /* pages mapped at a time: 64 MiB */
#define RANDOM_PAGES 32768u /* of them in random order, each costing a transfer */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t content_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mix(*state);
}

static uint64_t page_base(uint64_t seed, uint64_t pgno)
{
    return mix(seed * 0x9e3779b97f4a7c15u + pgno);
}

static uint64_t word_at(uint64_t base, size_t i)
{
    return (base + i * 0x2545f4914f6cdd1du) | 1;
}

uint64_t content_word(uint64_t seed, uint64_t pgno, size_t i)
{
    return word_at(page_base(seed, pgno), i);
}

uint32_t *content_permute(uint32_t n, uint64_t seed)
{
    uint32_t *order = malloc(n * sizeof(*order));

    must(order != NULL);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)(content_random(&seed) % i), swap = order[k];
        order[k] = order[i - 1];
        order[i - 1] = swap;
    }
    return order;
}

void content_fill(void *page, uint64_t seed, uint64_t pgno)
{
    uint64_t base = page_base(seed, pgno), *word = page;

    for (size_t i = 0; i < PAGE_WORDS; i++)
        word[i] = word_at(base, i);
}

/* => the first wrong word, or PAGE_WORDS */
static size_t first_wrong(const void *page, uint64_t seed, uint64_t pgno)
{
    uint64_t base = page_base(seed, pgno);
    const uint64_t *word = page;
    size_t i = 0;

    while (i < PAGE_WORDS && word[i] == (seed ? word_at(base, i) : 0))
        i++;
    return i;
}

bool content_is(const void *page, uint64_t seed, uint64_t pgno)
{
    return first_wrong(page, seed, pgno) == PAGE_WORDS;
}

void content_check(const void *page, uint64_t seed, uint64_t pgno)
{
    size_t i = first_wrong(page, seed, pgno);

    if (i == PAGE_WORDS)
        return;
    uint64_t found = ((const volatile uint64_t *)page)[i];
    must_msg(false, "seed %" PRIu64 " page %" PRIu64 " byte %zu: %#" PRIx64 ", want %#" PRIx64,
             seed, pgno, i * sizeof(uint64_t), found, seed ? content_word(seed, pgno, i) : 0);
}

int file_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0644);
    must_msg(fd >= 0, "%s: %s", path, strerror(errno));
    return fd;
}

void *file_map(int fd, off_t off, size_t len, int prot)
{
    void *p = mmap(NULL, len, prot, MAP_SHARED, fd, off);
    must_msg(p != MAP_FAILED, "mmap of %zu bytes: %s", len, strerror(errno));
    return p;
}

void file_pwrite(int fd, const void *buf, size_t len, off_t off)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(fd, (const char *)buf + at, len - at, off + (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        must_msg(n > 0, "pwrite of %zu at %lld: %s", len - at, (long long)off + (long long)at,
                 strerror(errno));
        at += (size_t)n;
    }
}

size_t file_pread(int fd, void *buf, size_t len, off_t off)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = pread(fd, (char *)buf + at, len - at, off + (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        must_msg(n >= 0, "pread of %zu at %lld: %s", len - at, (long long)off + (long long)at,
                 strerror(errno));
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return at;
}

static uint64_t cached_pages(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    size_t n = (size_t)(size + PAGE - 1) / PAGE;
    uint64_t cached = 0;

    if (size <= 0 || size > (off_t)1 << 34)
        return 0;
    unsigned char *vec = malloc(n);
    void *map = file_map(fd, 0, n * PAGE, PROT_READ);
    must(vec != NULL);
    must_sys(mincore(map, n * PAGE, vec));
    for (size_t i = 0; i < n; i++)
        cached += vec[i] & 1;
    munmap(map, n * PAGE);
    free(vec);
    return cached;
}

uint64_t file_drop(int fd)
{
    must_sys(fsync(fd));
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    return cached_pages(fd);
}

void file_fill(int fd, uint64_t seed, uint64_t pgno, uint64_t n)
{
    for (uint64_t at = pgno; at < pgno + n; at += STRETCH) {
        size_t some = (size_t)MIN(pgno + n - at, STRETCH);
        char *map = file_map(fd, (off_t)(at * PAGE), some * PAGE, PROT_READ | PROT_WRITE);
        for (size_t i = 0; i < some; i++)
            content_fill(map + i * PAGE, seed, at + i);
        must_sys(munmap(map, some * PAGE));
    }
}

void file_check(int fd, uint64_t seed, uint64_t pgno, uint64_t n)
{
    for (uint64_t at = pgno; at < pgno + n; at += STRETCH) {
        size_t some = (size_t)MIN(pgno + n - at, STRETCH);
        char *map = file_map(fd, (off_t)(at * PAGE), some * PAGE, PROT_READ);
        for (size_t i = 0; i < some; i++)
            content_check(map + i * PAGE, seed, at + i);
        must_sys(munmap(map, some * PAGE));
    }
}

void file_check_random(int fd, uint64_t seed, uint64_t n, uint64_t some)
{
    uint32_t *order = content_permute((uint32_t)n, seed + 1);
    char *map = file_map(fd, 0, n * PAGE, PROT_READ);

    must_sys(madvise(map, n * PAGE, MADV_RANDOM));
    for (uint64_t i = 0; i < some; i++)
        content_check(map + (size_t)order[i] * PAGE, seed, order[i]);
    must_sys(munmap(map, n * PAGE));
    free(order);
}

void file_job_fill(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, (off_t)(job->npages * PAGE)));
    file_fill(fd, job->seed, 0, job->npages);
    file_drop(fd);
    close(fd);
}

void file_job_check(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR);

    file_drop(fd);
    file_check(fd, job->seed, 0, job->npages);
    close(fd);
}

void file_job_check_random(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR);

    file_drop(fd);
    file_check_random(fd, job->seed, job->npages, MIN(job->npages, RANDOM_PAGES));
    close(fd);
}

void file_job_check_read(void *arg)
{
    struct file_job *job = arg;
    int fd = file_open(job->path, O_RDWR);
    char buf[16 * PAGE];

    file_drop(fd);
    for (uint64_t at = 0; at < job->npages; at += 16) {
        size_t some = (size_t)MIN(job->npages - at, 16);
        must_int(file_pread(fd, buf, some * PAGE, (off_t)(at * PAGE)), ==, some * PAGE);
        for (size_t i = 0; i < some; i++)
            content_check(buf + i * PAGE, job->seed, at + i);
    }
    close(fd);
}
