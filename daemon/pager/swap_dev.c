/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a swap device; swap_dev.h has the order of things.
 */
#include "swap_dev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "../log.h"
#include "../size.h"
#include "swap_label.h"
#include "swap_space.h"

/* How much of a block device must be blank. Label pages of file systems, RAID and volume managers
 * lie at many places, not only in the first page, but nearly all within the first MiB. */
#define BLANK_CHECK UVM_SWAP_SIZE_MIN

#define OPEN_FLAGS (O_RDWR | O_DIRECT | O_CLOEXEC)

static struct uvm_swapid id_of(const struct stat *st)
{
    bool block = S_ISBLK(st->st_mode);

    return (struct uvm_swapid){
        .dev = block ? st->st_rdev : st->st_dev,
        .ino = block ? 0 : st->st_ino,
        .block = block,
    };
}

bool uvm_swapdev_identify(const char *path, struct uvm_swapid *id)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return false;
    *id = id_of(&st);
    return true;
}

static int open_failed(const char *path, int rc, struct uvm_error *err)
{
    switch (rc) {
    case -EINVAL:
        return uvm_fail(
            err, rc, "%s: its file system has no O_DIRECT: put the swap file on another one", path);
    case -EISDIR:
        return uvm_fail(err, rc, "%s: is a directory", path);
    case -EBUSY:
        return uvm_fail(err, rc, "%s: is in use (mounted, swap of the kernel, or another uvmd's)",
                        path);
    case -ETXTBSY:
        return uvm_fail(err, rc, "%s: is in use by the kernel (swapoff it first)", path);
    default:
        return uvm_fail(err, rc, "%s: %s", path, strerror(-rc));
    }
}

/* Open what path names, or make it. => dev->fd, made and id */
static int open_path(const char *path, struct uvm_swapdev *dev, struct uvm_error *err)
{
    struct stat before, st;

    dev->made = stat(path, &before) < 0;
    if (dev->made && errno != ENOENT)
        return open_failed(path, -errno, err);
    if (dev->made) {
        dev->fd = open(path, OPEN_FLAGS | O_CREAT | O_EXCL, 0600);
        if (dev->fd < 0) {
            /* A file system without O_DIRECT refuses after it has made the file. */
            int rc = -errno;
            if (rc == -EINVAL)
                unlink(path);
            return open_failed(path, rc, err);
        }
    } else {
        if (S_ISDIR(before.st_mode))
            return open_failed(path, -EISDIR, err);
        if (!S_ISREG(before.st_mode) && !S_ISBLK(before.st_mode))
            return uvm_fail(err, -ENOTBLK, "%s: is neither a file nor a block device", path);
        dev->fd = open(path, OPEN_FLAGS | (S_ISBLK(before.st_mode) ? O_EXCL : 0));
        if (dev->fd < 0)
            return open_failed(path, -errno, err);
    }
    if (fstat(dev->fd, &st) < 0)
        return open_failed(path, -errno, err);
    dev->id = id_of(&st);
    if (!dev->made && (st.st_mode & S_IFMT) != (before.st_mode & S_IFMT))
        return uvm_fail(err, -EAGAIN, "%s: was replaced while it was being opened", path);
    return 0;
}

static int lock_file(int fd, const char *path, struct uvm_error *err)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
        return 0;
    int rc = -errno;
    if (rc == -EAGAIN || rc == -EACCES)
        return uvm_fail(err, -EBUSY, "%s: is in use by another uvmd", path);
    return uvm_fail(err, rc, "%s: cannot be locked: %s", path, strerror(-rc));
}

/* Read the first len bytes; what lies past the end of a file reads as zeroes. */
static int read_head(int fd, void *buf, size_t len)
{
    size_t at = 0;

    memset(buf, 0, len);
    while (at < len) {
        ssize_t n = pread(fd, (char *)buf + at, len - at, (off_t)at);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            at += (size_t)n;
        if (n == 0 || (n > 0 && at % UVM_PAGE_SIZE)) /* the end of a file */
            break;
    }
    return 0;
}

static int write_label(int fd, const char *path, const union uvm_swaplabel_page *page,
                       struct uvm_error *err)
{
    ssize_t n;

    do
        n = pwrite(fd, page, sizeof(*page), 0);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(*page))
        return 0;
    int rc = n < 0 ? -errno : -EIO;
    if (rc == -ETXTBSY || rc == -EINVAL)
        return open_failed(path, rc, err);
    return uvm_fail(err, rc, "%s: cannot write its label: %s", path, strerror(-rc));
}

/* Whether what is there may be overwritten. head: BLANK_CHECK bytes. */
static bool may_use(const struct uvm_swapdev *dev, uint64_t size, const uint8_t *head, bool force)
{
    if (force || dev->made || uvm_swaplabel_ours((const void *)head))
        return true;
    if (!dev->id.block)
        return size == 0;
    return head[0] == 0 && memcmp(head, head + 1, BLANK_CHECK - 1) == 0;
}

static int check_size(const char *path, uint64_t size, uint64_t max, struct uvm_error *err)
{
    char s[UVM_SIZE_MAX_TEXT], lo[UVM_SIZE_MAX_TEXT], hi[UVM_SIZE_MAX_TEXT];

    if (size >= UVM_SWAP_SIZE_MIN && size <= max)
        return 0;
    uvm_size_format(s, size);
    if (max < UVM_SWAP_SIZE_MIN)
        return uvm_fail(err, -ERANGE, "%s: no room for more swap: the slot space is full", path);
    return uvm_fail(err, -ERANGE, "%s: swap size %s is too %s: %s to %s", path, s,
                    size > max ? "big" : "small", uvm_size_format(lo, UVM_SWAP_SIZE_MIN),
                    uvm_size_format(hi, max));
}

/* What is there, in bytes. */
static int device_size(const struct uvm_swapdev *dev, const char *path, uint64_t *size,
                       struct uvm_error *err)
{
    struct stat st;
    int sector = 0;

    if (!dev->id.block) {
        if (fstat(dev->fd, &st) < 0)
            return open_failed(path, -errno, err);
        *size = (uint64_t)st.st_size;
        return 0;
    }
    if (ioctl(dev->fd, BLKGETSIZE64, size) < 0)
        return uvm_fail(err, -errno, "%s: its size is not known: %s", path, strerror(errno));
    if (ioctl(dev->fd, BLKSSZGET, &sector) == 0 && sector > (int)UVM_PAGE_SIZE)
        return uvm_fail(err, -ENOTSUP, "%s: sectors of %d bytes are too big: up to %u", path,
                        sector, UVM_PAGE_SIZE);
    return 0;
}

/* Swapped pages are as private as the programs they come from. */
static int close_mode(int fd, const char *path, struct uvm_error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return open_failed(path, -errno, err);
    if (!(st.st_mode & 077))
        return 0;
    if (st.st_uid != geteuid())
        return uvm_fail(err, -EPERM, "%s: others can open it and user %u owns it: chmod 600 it",
                        path, (unsigned)st.st_uid);
    if (fchmod(fd, 0600) < 0)
        return uvm_fail(err, -errno, "%s: others can open it: chmod 600 it", path);
    log_warning("%s: mode was %04o, now 0600", path, (unsigned)(st.st_mode & 07777));
    return 0;
}

/* Bring a device that is ours to change to its size. => dev->npages */
static int set_size(const struct uvm_swapspec *spec, uint64_t max, uint64_t have,
                    struct uvm_swapdev *dev, struct uvm_error *err)
{
    const char *path = spec->path;
    char s[UVM_SIZE_MAX_TEXT];

    if (!spec->size && !have && !dev->id.block)
        return uvm_fail(err, -EINVAL, "%s: a size is needed to make it (swap=PATH:SIZE)", path);
    uint64_t size = (spec->size ? spec->size : have) & ~(uint64_t)UVM_PAGE_MASK;
    int rc = check_size(path, size, max, err);
    if (rc)
        return rc;
    dev->npages = uvm_atop(size);
    if (!dev->id.block) {
        rc = close_mode(dev->fd, path, err);
        return rc ? rc : uvm_swapspace_set(dev->fd, path, size, err);
    }
    if (size > have)
        return uvm_fail(err, -ENOSPC, "%s: the device is smaller: it has %s", path,
                        uvm_size_format(s, have));
    return 0;
}

static int set_label(const struct uvm_swapdev *dev, const char *path,
                     union uvm_swaplabel_page *page, struct uvm_error *err)
{
    if (!uvm_swaplabel_ours(page)) {
        int rc = uvm_swaplabel_make(page, dev->npages);
        if (rc)
            return uvm_fail(err, rc, "%s: no random bytes for its label", path);
    } else if (page->label.npages == dev->npages) {
        return 0;
    } else {
        uvm_swaplabel_resize(page, dev->npages);
    }
    return write_label(dev->fd, path, page, err);
}

static int setup(const struct uvm_swapspec *spec, uint64_t max, struct uvm_swapdev *dev,
                 struct uvm_error *err)
{
    CLEANUP_FREE void *head = NULL;
    uint64_t have;

    if (posix_memalign(&head, UVM_PAGE_SIZE, BLANK_CHECK))
        return uvm_fail(err, -ENOMEM, "%s: no memory", spec->path);
    int rc = dev->id.block ? 0 : lock_file(dev->fd, spec->path, err);
    if (!rc)
        rc = device_size(dev, spec->path, &have, err);
    if (rc)
        return rc;
    rc = read_head(dev->fd, head, BLANK_CHECK);
    if (rc)
        return uvm_fail(err, rc, "%s: cannot be read: %s", spec->path, strerror(-rc));
    if (!may_use(dev, have, head, spec->force))
        return uvm_fail(err, -EEXIST, "%s: holds something else (use force to overwrite)",
                        spec->path);
    rc = set_size(spec, max, have, dev, err);
    return rc ? rc : set_label(dev, spec->path, head, err);
}

int uvm_swapdev_open(const struct uvm_swapspec *spec, uint64_t max, struct uvm_swapdev *dev,
                     struct uvm_error *err)
{
    struct stat st;

    *dev = (struct uvm_swapdev){.fd = -1};
    /* What needs no descriptor comes before anything is made. */
    if (spec->size || max < UVM_SWAP_SIZE_MIN) {
        int rc = check_size(spec->path, spec->size, max, err);
        if (rc)
            return rc;
    } else if (stat(spec->path, &st) < 0 && errno == ENOENT) {
        return uvm_fail(err, -EINVAL,
                        "%s: does not exist: a size is needed to make it (swap=%s:SIZE)",
                        spec->path, spec->path);
    }
    int rc = open_path(spec->path, dev, err);
    if (!rc)
        rc = setup(spec, max, dev, err);
    if (rc)
        uvm_swapdev_abandon(dev, spec->path);
    return rc;
}

void uvm_swapdev_remove(const char *path, const struct uvm_swapid *id)
{
    struct uvm_swapid now;

    if (uvm_swapdev_identify(path, &now) && !now.block && now.dev == id->dev &&
        now.ino == id->ino && unlink(path) < 0)
        log_warning("%s: cannot be removed again: %s", path, strerror(errno));
}

void uvm_swapdev_abandon(struct uvm_swapdev *dev, const char *path)
{
    if (dev->fd < 0)
        return;
    if (dev->made)
        uvm_swapdev_remove(path, &dev->id);
    close(dev->fd);
    *dev = (struct uvm_swapdev){.fd = -1};
}
