/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The demonstration: a program that knows nothing of uvmd but a file to map, larger than uvmd's
 * memory, and checks every byte of it.
 *
 *      map, store a pattern -> fsync, unmap, drop the kernel's cache -> map, read in random order
 *                                                   drop again       -> map, read in order
 *
 * Every word of the file is a function of its place, so a page that comes back from the wrong slot,
 * or not at all, cannot pass. With the kernel's cache dropped, what is read comes from uvmd, and
 * what does not fit its memory comes from its swap: the counters must say so, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/util.h"
#include "screen.h"

#define WORDS      (UVM_PAGE_SIZE / sizeof(uint64_t))
#define MIB_MAX    (1u << 20)
#define ORDER_SEED 0x75766d64u

static struct {
    const char *path;
    uint64_t bytes;
    const char *volatile map; /* for the SIGBUS handler */
} demo;

static void fail(const char *what)
{
    fprintf(stderr, "\nuvmd-demo: %s: %s: %s\n", demo.path, what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    char text[128];
    uint64_t page = (uint64_t)((const char *)info->si_addr - demo.map) >> UVM_PAGE_SHIFT;
    int len = snprintf(text, sizeof(text), "\nuvmd-demo: SIGBUS at page %" PRIu64 "\n", page);

    if (write(STDERR_FILENO, text, (size_t)len) < 0)
        _exit(2);
    _exit(EXIT_FAILURE);
}

/* splitmix64 of the word's place in the file */
static uint64_t pattern(uint64_t place)
{
    uint64_t z = (place + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void fill_page(uint64_t *words, uint64_t page)
{
    for (uint64_t i = 0; i < WORDS; i++)
        words[i] = pattern(page * WORDS + i);
}

/* => the number of wrong bytes */
static uint64_t check_page(const uint64_t *words, uint64_t page)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < WORDS; i++)
        for (uint64_t diff = words[i] ^ pattern(page * WORDS + i); diff; diff >>= 8)
            wrong += (diff & 0xff) != 0;
    return wrong;
}

static void *map_file(int fd, int prot)
{
    void *map = mmap(NULL, demo.bytes, prot, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        fail("mmap");
    demo.map = map;
    return map;
}

static void fill(int fd)
{
    uint64_t *words = map_file(fd, PROT_READ | PROT_WRITE);

    screen_phase("fill", demo.bytes);
    for (uint64_t page = 0; page < uvm_atop(demo.bytes); page++) {
        fill_page(words + page * WORDS, page);
        screen_advance(UVM_PAGE_SIZE);
    }
    if (munmap(words, demo.bytes) || fsync(fd))
        fail("fsync");
    screen_phase_end();
}

static void drop_cache(int fd)
{
    int error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

    if (error) {
        errno = error;
        fail("posix_fadvise");
    }
}

/* The pages 0..npages-1, shuffled. */
static uint32_t *shuffled(uint64_t npages)
{
    uint32_t *order = malloc(npages * sizeof(*order));
    uint64_t state = ORDER_SEED;

    if (!order)
        fail("malloc");
    for (uint64_t i = 0; i < npages; i++) {
        uint64_t j = pattern(state++) % (i + 1);
        order[i] = order[j];
        order[j] = (uint32_t)i;
    }
    return order;
}

/* => the number of wrong bytes */
static uint64_t verify(int fd, const char *name, const uint32_t *order)
{
    const uint64_t *words = map_file(fd, PROT_READ);
    uint64_t wrong = 0;

    if (madvise((void *)words, demo.bytes, order ? MADV_RANDOM : MADV_SEQUENTIAL))
        fail("madvise");
    screen_phase(name, demo.bytes);
    for (uint64_t i = 0; i < uvm_atop(demo.bytes); i++) {
        uint64_t page = order ? order[i] : i;
        wrong += check_page(words + page * WORDS, page);
        screen_advance(UVM_PAGE_SIZE);
    }
    screen_phase_end();
    munmap((void *)words, demo.bytes);
    return wrong;
}

/* Whether the counters agree that what is beyond uvmd's memory has been in swap. */
static bool paging_was_real(const struct snapshot *before, const struct snapshot *after)
{
    uint64_t pages = uvm_atop(demo.bytes);
    uint64_t least = pages > after->npages ? pages - after->npages : 1;
    uint64_t in = after->pgswapin - before->pgswapin, out = after->pgswapout - before->pgswapout;

    if (in >= least && out >= least)
        return true;
    fprintf(stderr,
            "uvmd-demo: %" PRIu64 " pages were paged out and %" PRIu64 " paged in; with %" PRIu64
            " pages of memory it must be %" PRIu64 " or more of each\n",
            out, in, after->npages, least);
    return false;
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    unsigned long mib = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

    if (mib < 1 || mib > MIB_MAX) {
        fprintf(stderr, "usage: uvmd-demo SOCKET FILE MIB (1 to %u)\n", MIB_MAX);
        return 2;
    }
    demo.path = argv[2];
    demo.bytes = (uint64_t)mib << 20;
    sigaction(SIGBUS, &sa, NULL);

    screen_start(argv[1]);
    struct snapshot before = screen_look();
    int fd CLEANUP_CLOSE = open(demo.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        fail("open");
    if (ftruncate(fd, (off_t)demo.bytes))
        fail("ftruncate");
    uint32_t *order CLEANUP_FREE = shuffled(uvm_atop(demo.bytes));
    fill(fd);
    drop_cache(fd);
    uint64_t wrong = verify(fd, "read at random", order);
    drop_cache(fd);
    wrong += verify(fd, "read in order", NULL);
    struct snapshot after = screen_look();
    uint64_t peak = screen_stop();

    printf("\n%" PRIu64 " bytes read twice, %" PRIu64 " wrong; uvmd's memory was %" PRIu64
           " MiB at most\n",
           demo.bytes, wrong, peak >> 20);
    return paging_was_real(&before, &after) && wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
