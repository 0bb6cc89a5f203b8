/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The client of the benchmarks: does one thing to one file and prints one line.
 *
 *      read-seq      map it, load a word of every page in order
 *      read-random   map it with MADV_RANDOM, load a word of each page once, in a random order
 *      write-seq     write(2) it in 1 MiB pieces, then fsync
 *
 *      => "MB/s p50_us p99_us": the latencies are of single pages, of random loads only
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE  4096u
#define PIECE (1u << 20)

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The numbers below n in a random order, the same in every run. */
static uint32_t *shuffled(uint32_t n)
{
    uint32_t *order = malloc(n * sizeof(*order));
    uint64_t state = 88172645463325252ull;

    if (!order)
        die("malloc");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = (uint32_t)(next_random(&state) % (i + 1));
        order[i] = order[k];
        order[k] = i;
    }
    return order;
}

static void read_mapped(const char *path, int random, uint32_t most)
{
    struct stat st;
    int fd = open(path, O_RDONLY);

    if (fd < 0 || fstat(fd, &st))
        die(path);
    uint32_t npages = (uint32_t)(st.st_size / PAGE), n = most && most < npages ? most : npages;
    volatile const char *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        die("mmap");
    uint32_t *order = random ? shuffled(npages) : NULL;
    uint32_t *us = calloc(n, sizeof(*us));
    if (!us)
        die("calloc");
    if (random && madvise((void *)(uintptr_t)map, (size_t)st.st_size, MADV_RANDOM))
        die("madvise");
    uint64_t start = now_ns();
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at = random ? now_ns() : 0;
        (void)map[(size_t)(random ? order[i] : i) * PAGE];
        if (random)
            us[i] = (uint32_t)((now_ns() - at) / 1000);
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    qsort(us, n, sizeof(*us), by_value);
    printf("%.1f %u %u\n", (double)n * PAGE / 1e6 / seconds, us[n / 2], us[(uint64_t)n * 99 / 100]);
}

static void write_seq(const char *path, uint64_t bytes)
{
    char *piece = malloc(PIECE);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (!piece || fd < 0)
        die(path);
    memset(piece, 0xa5, PIECE);
    uint64_t start = now_ns();
    for (uint64_t done = 0; done < bytes;) {
        ssize_t n = write(fd, piece, PIECE);
        if (n <= 0)
            die("write");
        done += (uint64_t)n;
    }
    if (fsync(fd))
        die("fsync");
    double seconds = (double)(now_ns() - start) / 1e9;
    printf("%.1f 0 0\n", (double)bytes / 1e6 / seconds);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "read-seq"))
        read_mapped(argv[2], 0, 0);
    else if (argc == 4 && !strcmp(argv[1], "read-random"))
        read_mapped(argv[2], 1, (uint32_t)strtoul(argv[3], NULL, 0));
    else if (argc == 4 && !strcmp(argv[1], "write-seq"))
        write_seq(argv[2], strtoull(argv[3], NULL, 0));
    else {
        fprintf(stderr,
                "usage: touch read-seq FILE | read-random FILE PAGES | write-seq FILE BYTES\n");
        return 2;
    }
    return 0;
}
