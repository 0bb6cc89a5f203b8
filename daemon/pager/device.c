/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device is a descriptor and what it says of itself: its size, and whether it can be written. Its bytes
 * are reached only through windows (device_win.c) and only by process_vm_readv and process_vm_writev on
 * the daemon itself: where the device fails these end short, and an access of our own would be a signal.
 */
#include "device.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "../util.h"

/* What the device says of its size; 0: nothing. */
static uint64_t ask_size(int fd)
{
    struct stat st;
    uint64_t size = 0;

    if (fstat(fd, &st))
        return 0;
    if (S_ISREG(st.st_mode))
        return (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size))
        return 0;
    return size;
}

/* => a descriptor, or -errno; never one that waits: kinds that would are refused before */
static int open_fd(const struct uvm_devspec *spec, struct stat *st, bool *readonly,
                   struct uvm_error *err)
{
    const int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int ro = 0, fd;

    if (stat(spec->path, st))
        return uvm_fail(err, -errno, "device=%s:%.300s: %s", spec->name, spec->path,
                        strerror(errno));
    if (!S_ISBLK(st->st_mode) && !S_ISCHR(st->st_mode) && !S_ISREG(st->st_mode))
        return uvm_fail(err, -ENODEV, "device=%s:%.300s: neither a device nor a regular file",
                        spec->name, spec->path);
    fd = open(spec->path, O_RDWR | flags);
    *readonly = fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM);
    /* A device that cannot be written may let itself be opened all the same; it is mapped only through
     * a descriptor that does not ask for more. */
    if (fd >= 0 && S_ISBLK(st->st_mode) && !ioctl(fd, BLKROGET, &ro) && ro) {
        close(fd);
        *readonly = true;
    }
    if (*readonly)
        fd = open(spec->path, O_RDONLY | flags);
    if (fd < 0)
        return uvm_fail(err, -errno, "device=%s:%.300s: %s", spec->name, spec->path,
                        strerror(errno));
    return fd;
}

static int check_size(const struct uvm_devspec *spec, uint64_t known, struct uvm_error *err)
{
    if (spec->size && known && spec->size > known)
        return uvm_fail(err, -EINVAL, "device=%s:%.300s: SIZE is out of range (1 to %llu)",
                        spec->name, spec->path, (unsigned long long)known);
    if (!spec->size && !known)
        return uvm_fail(err, -EINVAL,
                        "device=%s:%.300s: it does not tell its size; write %s:PATH:SIZE",
                        spec->name, spec->path, spec->name);
    if (MAX(spec->size, known) > UVM_DEVICE_SIZE_MAX && !spec->size)
        return uvm_fail(err, -EINVAL, "device=%s:%.300s: larger than 8T; write %s:PATH:SIZE",
                        spec->name, spec->path, spec->name);
    if (spec->size > UVM_DEVICE_SIZE_MAX)
        return uvm_fail(err, -EINVAL, "device=%s:%.300s: SIZE is out of range (1 to 8T)",
                        spec->name, spec->path);
    return 0;
}

int uvm_device_open(const struct uvm_devspec *spec, uint64_t id, struct uvm_device **ret,
                    struct uvm_error *err)
{
    struct stat st;
    bool readonly = false;
    size_t len;

    int fd CLEANUP_CLOSE = open_fd(spec, &st, &readonly, err);
    if (fd < 0)
        return fd;
    uint64_t known = ask_size(fd);
    int error = check_size(spec, known, err);
    if (error)
        return error;
    struct uvm_device *dev = calloc(1, sizeof(*dev));
    if (!dev)
        return uvm_fail(err, -ENOMEM, "device=%s: out of memory", spec->name);
    snprintf(dev->name, sizeof(dev->name), "%s", spec->name);
    dev->fd = UVM_TAKE_FD(fd);
    dev->readonly = readonly;
    dev->sized = spec->size != 0;
    dev->st = st;
    dev->maxsize = spec->size ? spec->size : known;
    atomic_init(&dev->size, dev->maxsize);
    uvm_object_init(&dev->uobj, id, &uvm_device_pagerops, true);
    void *kva = uvm_devwin_get(dev, 0, &len);
    if (!kva) {
        error = uvm_fail(err, -ENODEV, "device=%s:%.300s: it cannot be mapped: %s", spec->name,
                         spec->path, strerror(errno));
        uvm_device_pagerops.pgo_detach(&dev->uobj);
        return error;
    }
    uvm_devwin_put(kva);
    *ret = dev;
    return 0;
}

uint64_t uvm_device_resize(struct uvm_device *dev)
{
    uint64_t known = ask_size(dev->fd);
    bool tells = !S_ISCHR(dev->st.st_mode);

    atomic_store(&dev->size, tells ? MIN(known, dev->maxsize) : dev->maxsize);
    return atomic_load(&dev->size);
}

static void dev_reference(struct uvm_object *uobj)
{
    atomic_fetch_add(&uobj->refs, 1);
}

static void dev_detach(struct uvm_object *uobj)
{
    struct uvm_device *dev = uvm_device(uobj);

    if (!uvm_object_unref(uobj))
        return;
    uvm_devwin_drop(dev);
    close(dev->fd);
    uvm_object_free(uobj);
}

/* => the address stays until uvm_devwin_put; no lock guards it, the device is the device's */
static int dev_fault(struct uvm_object *uobj, uint32_t pgno, uint32_t npages, int prot,
                     void **ret_kva)
{
    struct uvm_device *dev = uvm_device(uobj);
    uint64_t off = uvm_ptoa(pgno);
    size_t len;

    uvm_lock_release(&uobj->lock);
    if (off >= dev->maxsize || (dev->readonly && prot == UVM_PROT_RW))
        return VM_PAGER_ERROR;
    *ret_kva = uvm_devwin_get(dev, off, &len);
    if (!*ret_kva)
        return VM_PAGER_ERROR;
    if (len >= uvm_ptoa(npages))
        return VM_PAGER_OK;
    uvm_devwin_put(*ret_kva);
    return VM_PAGER_ERROR;
}

/* Nothing is kept in the arena, so there is nothing to clean or to free. */
static bool dev_flush(struct uvm_object *uobj, uint32_t start, uint32_t stop, int flags)
{
    return true;
}

const struct uvm_pagerops uvm_device_pagerops = {
    .name = "device",
    .pgo_reference = dev_reference,
    .pgo_detach = dev_detach,
    .pgo_fault = dev_fault,
    .pgo_flush = dev_flush,
};

/* Copy by the kernel, through a file: for mappings whose pages have no struct page. => as copy */
static ssize_t copy_aside(void *kva, void *buf, size_t len, bool write_)
{
    int fd CLEANUP_CLOSE = memfd_create("uvmd-device", MFD_CLOEXEC);

    if (fd < 0)
        return -1;
    ssize_t n = pwrite(fd, write_ ? buf : kva, len, 0);
    return n > 0 ? pread(fd, write_ ? kva : buf, (size_t)n, 0) : n;
}

/* => bytes copied, at least one; or -1 */
static ssize_t copy(struct uvm_device *dev, void *kva, void *buf, size_t len, bool write_)
{
    struct iovec local = {buf, len}, remote = {kva, len};
    ssize_t n = write_ ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
                       : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    if (n < 0 && errno == EFAULT && S_ISCHR(dev->st.st_mode))
        n = copy_aside(kva, buf, len, write_);
    return n > 0 ? n : -1;
}

static int transfer(struct uvm_device *dev, char *buf, size_t len, uint64_t off, bool write_,
                    size_t *done)
{
    struct uvm_object *uobj = &dev->uobj;

    assert(off + len <= dev->maxsize);
    *done = 0;
    while (*done < len) {
        uint64_t at = off + *done, in = at & UVM_PAGE_MASK;
        size_t n = (size_t)MIN(len - *done, UVM_DEVWIN_SIZE - at % UVM_DEVWIN_SIZE);
        void *kva;
        uvm_lock_acquire(&uobj->lock);
        if (uobj->pgops->pgo_fault(uobj, (uint32_t)uvm_atop(at),
                                   (uint32_t)uvm_atop(uvm_round_page(in + n)),
                                   write_ ? UVM_PROT_RW : UVM_PROT_READ, &kva) != VM_PAGER_OK)
            return -EIO;
        ssize_t moved = copy(dev, (char *)kva + in, buf + *done, n, write_);
        uvm_devwin_put(kva);
        if (moved < 0)
            return -EIO;
        *done += (size_t)moved;
    }
    return 0;
}

int uvm_device_read(struct uvm_device *dev, void *buf, size_t len, uint64_t off, size_t *done)
{
    return transfer(dev, buf, len, off, false, done);
}

int uvm_device_write(struct uvm_device *dev, const void *buf, size_t len, uint64_t off,
                     size_t *done)
{
    return transfer(dev, (char *)(uintptr_t)buf, len, off, true, done);
}

int uvm_device_sync(struct uvm_device *dev)
{
    int error = uvm_devwin_sync(dev);

    /* A device that has nothing to sync says EINVAL. */
    if (fsync(dev->fd) && errno != EINVAL && !error)
        error = -errno;
    return error;
}
