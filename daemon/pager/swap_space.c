/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocation of swap files, by fallocate, and by writing zeroes into the holes on a file system
 * that has none (NFS before 4.2, some FUSE ones).
 */
#include "swap_space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "../log.h"
#include "../size.h"
#include "../util.h"

#define ZERO_CHUNK (1u << 20)

static int no_space(const char *path, uint64_t need, int fd, struct uvm_error *err)
{
    struct statvfs vfs;
    char n[UVM_SIZE_MAX_TEXT], f[UVM_SIZE_MAX_TEXT];

    if (fstatvfs(fd, &vfs) < 0)
        return uvm_fail(err, -ENOSPC, "%s: does not fit on the disk", path);
    uint64_t avail = (uint64_t)vfs.f_bfree * vfs.f_frsize;
    return uvm_fail(err, -ENOSPC, "%s: does not fit on the disk: %s needed, %s free", path,
                    uvm_size_human(n, need), uvm_size_human(f, avail));
}

/*
 * What will fail is better refused before it is tried: a try fills the disk for everybody until it
 * fails, and one beyond the file size limit raises SIGXFSZ.
 */
static int check_room(int fd, const char *path, const struct stat *st, uint64_t size,
                      struct uvm_error *err)
{
    struct rlimit limit;
    struct statvfs vfs;
    char want[UVM_SIZE_MAX_TEXT], most[UVM_SIZE_MAX_TEXT];

    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        size > limit.rlim_cur)
        return uvm_fail(err, -EFBIG, "%s: %s is above the file size limit of %s (ulimit -f)", path,
                        uvm_size_format(want, size), uvm_size_format(most, limit.rlim_cur));
    uint64_t have = (uint64_t)st->st_blocks * 512;
    if (size <= have || fstatvfs(fd, &vfs) < 0 || !vfs.f_blocks)
        return 0;
    if (size - have > (uint64_t)vfs.f_bfree * vfs.f_frsize)
        return no_space(path, size - have, fd, err);
    return 0;
}

static int write_zeroes(int fd, const void *zeroes, uint64_t from, uint64_t to)
{
    while (from < to) {
        ssize_t n = pwrite(fd, zeroes, MIN(to - from, ZERO_CHUNK), (off_t)from);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            from = (from + (uint64_t)n) & ~(uint64_t)UVM_PAGE_MASK;
        if (n >= 0 && n < (ssize_t)UVM_PAGE_SIZE)
            return -ENOSPC;
    }
    return 0;
}

/* Write zeroes to whatever of [0, size) holds no data yet. */
static int fill_holes(int fd, uint64_t size)
{
    CLEANUP_FREE void *zeroes = NULL;
    uint64_t at = 0;

    if (posix_memalign(&zeroes, UVM_PAGE_SIZE, ZERO_CHUNK))
        return -ENOMEM;
    memset(zeroes, 0, ZERO_CHUNK);
    while (at < size) {
        off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);
        if (hole < 0 && errno != ENXIO) /* ENXIO: nothing from here on */
            return -errno;
        uint64_t from = hole < 0 ? at : (uint64_t)hole;
        off_t data = lseek(fd, (off_t)from, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return -errno;
        uint64_t to = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
        /* A page that has some data is kept; a file of ours has none that is not whole. */
        from = uvm_round_page(from);
        to &= ~(uint64_t)UVM_PAGE_MASK;
        int rc = write_zeroes(fd, zeroes, from, to);
        if (rc)
            return rc;
        /* On, also past a hole that lies within one page. */
        at = MAX(MAX(to, from), at + UVM_PAGE_SIZE);
    }
    return 0;
}

static int allocate(int fd, uint64_t size)
{
    int rc;

    do
        rc = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
    while (rc == -EINTR || rc == -EAGAIN);
    return rc == -EOPNOTSUPP ? fill_holes(fd, size) : rc;
}

/* A file system that never writes in place (btrfs) would need room for every page-out again. It can
 * be told only while the file is empty; one that does not know the flag does not need it. */
static void forbid_copies(int fd)
{
    int flags;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return;
    flags |= FS_NOCOW_FL;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

int uvm_swapspace_set(int fd, const char *path, uint64_t size, struct uvm_error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return uvm_fail(err, -errno, "%s: %s", path, strerror(errno));
    int rc = check_room(fd, path, &st, size, err);
    if (rc)
        return rc;
    if (!st.st_size)
        forbid_copies(fd);
    if ((uint64_t)st.st_size > size && ftruncate(fd, (off_t)size) < 0)
        rc = -errno;
    if (!rc)
        rc = allocate(fd, size);
    if (!rc)
        return 0;
    if ((uint64_t)st.st_size < size && ftruncate(fd, st.st_size) < 0)
        log_warning("%s: cannot take it back to its old length: %s", path, strerror(errno));
    if (rc == -ENOSPC || rc == -EDQUOT)
        return no_space(path, size - MIN(size, (uint64_t)st.st_blocks * 512), fd, err);
    if (rc == -ETXTBSY || rc == -EBUSY)
        return uvm_fail(err, -EBUSY, "%s: is in use by the kernel (swapoff it first)", path);
    return uvm_fail(err, rc, "%s: cannot allocate its disk blocks: %s", path, strerror(-rc));
}
