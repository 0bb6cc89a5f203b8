/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mounts that the source's files lie in, and whether files are found again by handles there.
 *
 * A mount is met when the first of its files is looked up. That file, opened for reading, is the
 * anchor which open_by_handle_at(2) wants; it keeps the mount, so its number is not used again. Where the
 * anchor or the first handle cannot be opened (no such thing in the file system, no permission), nodes
 * keep descriptors instead.
 *
 * A FUSE file system's handles may be refused whenever its kernel side has forgotten the file, so they are
 * not used. Our own mount is told by its device from what needs no request to anyone: whoever asked it
 * would wait for himself.
 */
#include "vn_inode.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "session.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static struct {
    struct uvm_lock lock; /* UVM_LR_INODE */
    LIST_HEAD(, vn_mount) list;
    const char *own;       /* our mount point */
    _Atomic dev_t own_dev; /* of our mount; 0: not known yet */
} mounts;

void vn_mounts_init(const char *mountpoint)
{
    uvm_lock_init(&mounts.lock, UVM_LR_INODE);
    LIST_INIT(&mounts.list);
    mounts.own = mountpoint;
    mounts.own_dev = 0;
}

static bool is_own(dev_t dev)
{
    unsigned major, minor;

    if (!mounts.own_dev && !uvm_mount_device(mounts.own, &major, &minor))
        mounts.own_dev = makedev(major, minor);
    return dev == mounts.own_dev;
}

/* => referenced, or NULL */
static struct vn_mount *find(int id)
{
    struct vn_mount *mount;

    LIST_FOREACH (mount, &mounts.list, link)
        if (mount->id == id) {
            mount->refs++;
            return mount;
        }
    return NULL;
}

/* The anchor for handles of a mount. => -1: it has none */
static int open_anchor(int fd, mode_t mode, struct file_handle *handle)
{
    struct vn_proc proc = vn_proc(fd);
    struct statfs sfs;
    CLEANUP_CLOSE int anchor = -1;

    if (!handle || fstatfs(fd, &sfs) || sfs.f_type == FUSE_SUPER_MAGIC)
        return -1;
    if (S_ISDIR(mode))
        anchor = open(proc.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    else if (S_ISREG(mode))
        anchor = open(proc.path, O_RDONLY | O_CLOEXEC);
    if (anchor < 0)
        return -1;
    CLEANUP_CLOSE int test = open_by_handle_at(anchor, handle, O_PATH | O_CLOEXEC);
    return test < 0 ? -1 : UVM_TAKE_FD(anchor);
}

static int mount_new(int fd, int id, const struct statx *stx, struct file_handle *handle,
                     struct vn_mount **ret)
{
    struct vn_mount *mount = calloc(1, sizeof(*mount));

    if (!mount)
        return -ENOMEM;
    mount->id = id;
    mount->refs = 1;
    mount->fd = open_anchor(fd, stx->stx_mode, handle);

    uvm_lock_acquire(&mounts.lock);
    *ret = find(id);
    if (!*ret) {
        LIST_INSERT_HEAD(&mounts.list, mount, link);
        *ret = UVM_TAKE_PTR(mount);
    }
    uvm_lock_release(&mounts.lock);
    if (mount && mount->fd >= 0)
        close(mount->fd);
    free(mount);
    return 0;
}

int vn_mount_of(int fd, struct file_handle *handle, struct vn_mount **ret)
{
    struct statx stx;
    int id;

    handle->handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(fd, "", handle, &id, AT_EMPTY_PATH))
        handle = NULL;
    if (handle) {
        UVM_LOCK_SCOPE(&mounts.lock);
        if ((*ret = find(id)))
            return 0;
    }
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, &stx))
        return -errno;
    if (is_own(makedev(stx.stx_dev_major, stx.stx_dev_minor)))
        return -ELOOP;
    if (!handle)
        id = (int)stx.stx_mnt_id;
    {
        UVM_LOCK_SCOPE(&mounts.lock);
        if ((*ret = find(id)))
            return 0;
    }
    return mount_new(fd, id, &stx, handle, ret);
}

void vn_mount_put(struct vn_mount *mount)
{
    if (!mount)
        return;
    uvm_lock_acquire(&mounts.lock);
    bool last = --mount->refs == 0;
    if (last)
        LIST_REMOVE(mount, link);
    uvm_lock_release(&mounts.lock);
    if (!last)
        return;
    if (mount->fd >= 0)
        close(mount->fd);
    free(mount);
}
