/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The userfaultfd pmap: the MMU keeps the state of every page, and this file is the only one that
 * speaks to it.
 *
 *      hole --COPY / ZEROPAGE--> writable <--WRITEPROTECT--> protected
 *        |  --COPY with MODE_WP----------------------------------^  |
 *        ^------------------------- MADV_REMOVE --------------------+
 *
 * A touch of a hole (MISSING) or a store to a protected page (WP) puts the thread to sleep and a
 * message in the descriptor, also when the touch is the kernel's, in a system call of ours.
 *
 * - A range call that stops half-way (a partial copy) goes on from where it stopped.
 * - A page that is there already is the zeroes given to a stray fault: it is removed and replaced.
 * - A hole may keep its old protection as a mark in the page table; the next copy overwrites it.
 * - No EVENT_* feature is asked for: each would make copies fail until its event has been read.
 */
#include <assert.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../log.h"
#include "../util.h"
#include "pmap_impl.h"

#define UFFD_TRIES      10000 /* without progress, yielding between */
#define UFFD_MSGS       32    /* faults of one read */
#define UFFD_ZERO_PAGES 64

static struct {
    uint8_t *base;
    uint64_t bytes;
    int fd;
    char features[128];
} uffd = {.fd = -1};

/* Only read, so the host lends its one zero page for all of it. */
static uint8_t uffd_zeroes[uvm_ptoa(UFFD_ZERO_PAGES)] __attribute__((aligned(UVM_PAGE_SIZE)));

static int uffd_init(struct pmap_arena *arena, uint64_t bytes, struct uvm_error *err)
{
    uint64_t features;
    int rc = pmap_uffd_setup(arena, bytes, &features, err);

    if (rc)
        return rc;
    uffd.base = arena->base;
    uffd.bytes = arena->bytes;
    uffd.fd = arena->fault_fd;
    pmap_uffd_describe(features, uffd.features, sizeof(uffd.features));
    return 0;
}

static void uffd_fini(struct pmap_arena *arena)
{
    /* The mapping goes first: without its descriptor a hole would read as zeroes. */
    if (munmap(uffd.base, uffd.bytes))
        abort();
    close(uffd.fd);
    close(arena->arena_fd);
    memset(&uffd, 0, sizeof(uffd));
    uffd.fd = -1;
}

static const char *uffd_features(void)
{
    return uffd.features;
}

static uint64_t uffd_va(uint32_t apage)
{
    return (uintptr_t)uffd.base + uvm_ptoa(apage);
}

/* What may go away by itself. ENOMEM here is a page table's or a lock's, not a page's. */
static bool uffd_again(int error, int tries)
{
    if ((error != EAGAIN && error != EINTR && error != ENOMEM) || tries >= UFFD_TRIES)
        return false;
    sched_yield();
    return true;
}

/* A page whose protection cannot be changed is a page whose stores get lost: better to stop, the
 * arena's memfd outlives the process. */
static _Noreturn void uffd_die(const char *what, uint32_t apage, uint32_t n)
{
    log_error("userfaultfd: %s of %u pages from apage %u: %s", what, n, apage, strerror(errno));
    abort();
}

static void uffd_remove(uint32_t apage, uint32_t n)
{
    for (int tries = 0; madvise(uffd.base + uvm_ptoa(apage), uvm_ptoa(n), MADV_REMOVE); tries++)
        if (!uffd_again(errno, tries))
            uffd_die("remove", apage, n);
}

static void uffd_protect(uint32_t apage, uint32_t n, int prot)
{
    struct uffdio_writeprotect wp = {
        .range = {.start = uffd_va(apage), .len = uvm_ptoa(n)},
        .mode = prot == UVM_PROT_RW ? 0 : UFFDIO_WRITEPROTECT_MODE_WP,
    };
    for (int tries = 0; ioctl(uffd.fd, UFFDIO_WRITEPROTECT, &wp); tries++)
        if (!uffd_again(errno, tries))
            uffd_die("protect", apage, n);
}

static void uffd_wake(uint32_t apage, uint32_t n)
{
    struct uffdio_range range = {.start = uffd_va(apage), .len = uvm_ptoa(n)};

    if (ioctl(uffd.fd, UFFDIO_WAKE, &range))
        uffd_die("wake", apage, n);
}

/* One system call's worth of filling. => pages installed (not 0), or -errno */
static int64_t uffd_fill_some(uint32_t apage, uint32_t n, const uint8_t *src, int prot)
{
    int64_t done;
    int rc;

    if (!src && prot == UVM_PROT_RW) {
        struct uffdio_zeropage zp = {.range = {.start = uffd_va(apage), .len = uvm_ptoa(n)}};
        rc = ioctl(uffd.fd, UFFDIO_ZEROPAGE, &zp);
        done = zp.zeropage;
    } else {
        struct uffdio_copy cp = {
            .dst = uffd_va(apage),
            .src = (uintptr_t)(src ? src : uffd_zeroes),
            .len = uvm_ptoa(src ? n : MIN(n, (uint32_t)UFFD_ZERO_PAGES)),
            .mode = prot == UVM_PROT_RW ? 0 : UFFDIO_COPY_MODE_WP,
        };
        rc = ioctl(uffd.fd, UFFDIO_COPY, &cp);
        done = cp.copy;
    }
    /* A partial copy is reported as EAGAIN with the bytes that were copied. */
    if (done > 0)
        return (int64_t)uvm_atop(done);
    return rc ? -errno : -EAGAIN;
}

static int uffd_fill(uint32_t apage, uint32_t n, const void *src, int prot)
{
    const uint8_t *from = src;
    uint32_t done = 0;
    int tries = 0;

    while (done < n) {
        int64_t got =
            uffd_fill_some(apage + done, n - done, from ? from + uvm_ptoa(done) : NULL, prot);
        if (got > 0) {
            done += (uint32_t)got;
            tries = 0;
            continue;
        }
        int rc = (int)got;
        if (rc == -EEXIST && tries++ < UFFD_TRIES) {
            uffd_remove(apage + done, 1);
            continue;
        }
        if (rc != -ENOMEM && uffd_again(-rc, tries++))
            continue;

        if (rc != -ENOMEM)
            log_error("userfaultfd: fill of %u pages at apage %u: %s", n - done, apage + done,
                      strerror(-rc));
        uffd_remove(apage, n);
        /* These say that the arena is not there: the address is bad. */
        return rc == -ENOENT || rc == -ESRCH ? -EFAULT : rc;
    }
    return 0;
}

static int uffd_fill_hole(uint32_t apage, int prot)
{
    int64_t got;
    int tries = 0;

    do {
        got = uffd_fill_some(apage, 1, NULL, prot);
    } while (got < 0 && got != -ENOMEM && uffd_again((int)-got, tries++));
    return got < 0 ? (int)got : 0;
}

static bool uffd_decode(const struct uffd_msg *msg, struct pmap_fault *fault)
{
    if (msg->event != UFFD_EVENT_PAGEFAULT)
        return false;

    uint64_t flags = msg->arg.pagefault.flags;
    uint64_t off = msg->arg.pagefault.address - (uintptr_t)uffd.base;
    assert(off < uffd.bytes);
    fault->apage = (uint32_t)uvm_atop(off);
    fault->kind = flags & UFFD_PAGEFAULT_FLAG_WP      ? PMAP_FAULT_WP
                  : flags & UFFD_PAGEFAULT_FLAG_MINOR ? PMAP_FAULT_MINOR
                                                      : PMAP_FAULT_MISSING;
    fault->write = flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
    return true;
}

static int uffd_next_fault(struct pmap_fault *faults, int max)
{
    struct uffd_msg msgs[UFFD_MSGS];
    ssize_t got;

    do {
        got = read(uffd.fd, msgs, sizeof(msgs[0]) * (size_t)MIN(max, UFFD_MSGS));
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? 0 : -errno;
    if (got == 0)
        return -EIO;

    int n = 0;
    for (size_t i = 0; i < (size_t)got / sizeof(msgs[0]); i++)
        if (uffd_decode(&msgs[i], &faults[n]))
            n++;
    return n;
}

const struct pmap_impl pmap_impl_uffd = {
    .init = uffd_init,
    .fini = uffd_fini,
    .features = uffd_features,
    .fill = uffd_fill,
    .fill_hole = uffd_fill_hole,
    .protect = uffd_protect,
    .remove = uffd_remove,
    .wake = uffd_wake,
    .next_fault = uffd_next_fault,
};
