/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making the userfaultfd pmap: what the kernel can do, the arena, and the descriptor that serves
 * it.
 *
 *      probe --> memfd, mapping, advice --> descriptor, handshake, registration
 *
 * The descriptor must serve the kernel's faults too: a system call of ours may read a hole. So
 * /dev/userfaultfd is tried first, whose file mode is the permission, then the system call, which
 * wants CAP_SYS_PTRACE or the sysctl. A failure takes down what was made and names the remedy.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../util.h"
#include "pmap_impl.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Bits of kernels later than the header this may be compiled with. */
#define UFFD_BIT_WP_UNPOPULATED (1u << 13)
#define UFFD_BIT_POISON         (1u << 14)
#define UFFD_BIT_WP_ASYNC       (1u << 15)
#define UFFD_BIT_MOVE           (1u << 16)

#define UFFD_NEEDS \
    (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

#define UFFD_NEEDS_IOCTLS                                                             \
    (1ull << _UFFDIO_COPY | 1ull << _UFFDIO_ZEROPAGE | 1ull << _UFFDIO_WRITEPROTECT | \
     1ull << _UFFDIO_WAKE)

static int uffd_open(struct uvm_error *err)
{
    int dev CLEANUP_CLOSE = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int fd = dev < 0 ? -1 : ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        return fd;

    int code = -errno;
    if (code == -EPERM)
        return uvm_fail(err, code,
                        "userfaultfd: not permitted to serve the kernel's faults: let this user "
                        "open /dev/userfaultfd for reading and writing, or grant CAP_SYS_PTRACE, "
                        "or set vm.unprivileged_userfaultfd=1");
    if (code == -ENOSYS)
        return uvm_fail(err, code,
                        "userfaultfd: the kernel has none: kernel 5.19 or later with "
                        "CONFIG_USERFAULTFD is needed");
    return uvm_fail(err, code, "userfaultfd: %s", strerror(-code));
}

/* The handshake can be made once per descriptor, so what is there is asked on one of its own.
 * => 0, or -errno with err filled in */
static int uffd_probe(uint64_t *features, struct uvm_error *err)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd CLEANUP_CLOSE = uffd_open(err);

    *features = 0;
    if (fd < 0)
        return fd;
    if (ioctl(fd, UFFDIO_API, &api)) {
        int code = -errno;
        return uvm_fail(err, code, "userfaultfd: handshake: %s", strerror(-code));
    }
    if ((api.features & UFFD_NEEDS) != UFFD_NEEDS)
        return uvm_fail(err, -ENOTSUP,
                        "userfaultfd: no missing and write-protect faults on shared memory "
                        "(features %#llx, needed %#x): kernel 5.19 or later is needed",
                        (unsigned long long)api.features, (unsigned)UFFD_NEEDS);
    *features = api.features;
    return 0;
}

/* => the memfd; or -errno with err filled in */
static int arena_create(uint64_t bytes, struct uvm_error *err)
{
    int fd CLEANUP_CLOSE =
        memfd_create("uvmd-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
        fd = memfd_create("uvmd-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        int code = -errno;
        return uvm_fail(err, code, "arena: memfd_create: %s", strerror(-code));
    }
    if (ftruncate(fd, (off_t)bytes)) {
        int code = -errno;
        return uvm_fail(err, code, "arena: %llu bytes: %s (RLIMIT_FSIZE?)",
                        (unsigned long long)bytes, strerror(-code));
    }
    /* No holder of the descriptor may pull the mapping away. Worth having, not needed. */
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    return UVM_TAKE_FD(fd);
}

/* => the mapping; or NULL with err filled in */
static uint8_t *arena_map(int fd, uint64_t bytes, struct uvm_error *err)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

    if (p == MAP_FAILED) {
        int code = -errno;
        uvm_fail(err, code, "arena: no address space for %llu bytes: %s (RLIMIT_AS?)",
                 (unsigned long long)bytes, strerror(-code));
        return NULL;
    }
    /* A page is the unit of everything here; a kernel that has no huge pages refuses the advice,
     * and needs none. */
    madvise(p, bytes, MADV_NOHUGEPAGE);
    /* Objects' bytes belong to no core file, and a child has nobody to resolve its faults. */
    if (madvise(p, bytes, MADV_DONTDUMP) || madvise(p, bytes, MADV_DONTFORK)) {
        int code = -errno;
        uvm_fail(err, code, "arena: madvise: %s", strerror(-code));
        munmap(p, bytes);
        return NULL;
    }
    return p;
}

/* => the descriptor that serves the arena; or -errno with err filled in */
static int uffd_register(uint8_t *base, uint64_t bytes, struct uvm_error *err)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_NEEDS};
    struct uffdio_register reg = {
        .range = {.start = (uintptr_t)base, .len = bytes},
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
    };
    int fd CLEANUP_CLOSE = uffd_open(err);

    if (fd < 0)
        return fd;
    if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg)) {
        int code = -errno;
        return uvm_fail(err, code, "userfaultfd: register the arena: %s", strerror(-code));
    }
    if ((reg.ioctls & UFFD_NEEDS_IOCTLS) != UFFD_NEEDS_IOCTLS)
        return uvm_fail(err, -ENOTSUP,
                        "userfaultfd: the arena's calls are %#llx, needed %#llx: kernel 5.19 or "
                        "later is needed",
                        (unsigned long long)reg.ioctls, UFFD_NEEDS_IOCTLS);
    return UVM_TAKE_FD(fd);
}

int pmap_uffd_setup(struct pmap_arena *arena, uint64_t bytes, uint64_t *features,
                    struct uvm_error *err)
{
    int rc = uffd_probe(features, err);
    if (rc)
        return rc;

    int memfd CLEANUP_CLOSE = arena_create(bytes, err);
    if (memfd < 0)
        return memfd;

    uint8_t *base = arena_map(memfd, bytes, err);
    if (!base)
        return -ENOMEM;

    int fd = uffd_register(base, bytes, err);
    if (fd < 0) {
        munmap(base, bytes);
        return fd;
    }
    *arena = (struct pmap_arena){
        .base = base, .bytes = bytes, .arena_fd = UVM_TAKE_FD(memfd), .fault_fd = fd};
    return 0;
}

void pmap_uffd_describe(uint64_t features, char *line, size_t size)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {UFFD_FEATURE_MISSING_SHMEM, "missing"},
        {UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "wp"},
        {UFFD_FEATURE_MINOR_SHMEM, "minor"},
        {UFFD_FEATURE_EXACT_ADDRESS, "exact_address"},
        {UFFD_BIT_WP_UNPOPULATED, "wp_unpopulated"},
        {UFFD_BIT_POISON, "poison"},
        {UFFD_BIT_WP_ASYNC, "wp_async"},
        {UFFD_BIT_MOVE, "move"},
    };
    size_t at = 0;

    line[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (features & names[i].bit)
            at += (size_t)snprintf(line + at, size - at, "%s%s", at ? " " : "", names[i].name);
        assert(at < size);
    }
}
