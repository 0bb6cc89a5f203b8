/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names and attributes of the device tree, which are fixed. They are answered without asking a device.
 */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

#include "../daemon/util.h"
#include "dev.h"

void uvm_dev_stat(const struct uvm_device *dev, struct stat *ret)
{
    uint64_t size = atomic_load(&dev->size);

    *ret = (struct stat){
        .st_ino = dev->uobj.id,
        .st_mode = S_IFREG | (dev->st.st_mode & 0666),
        .st_nlink = 1,
        .st_uid = dev->st.st_uid,
        .st_gid = dev->st.st_gid,
        .st_size = (off_t)size,
        .st_blocks = (blkcnt_t)((size + 511) / 512),
        .st_blksize = UVM_PAGE_SIZE,
        .st_atim = dev->st.st_atim,
        .st_mtim = dev->st.st_mtim,
        .st_ctim = dev->st.st_ctim,
    };
}

static void top_stat(struct stat *ret)
{
    *ret = (struct stat){
        .st_ino = UVM_INO_DEVICE_ROOT,
        .st_mode = S_IFDIR | 0755,
        .st_nlink = 2,
        .st_blksize = UVM_PAGE_SIZE,
        .st_atim = uvm_dev_start(),
        .st_mtim = uvm_dev_start(),
        .st_ctim = uvm_dev_start(),
    };
}

/* => false: there is no such node */
static bool node_stat(uint64_t ino, struct stat *ret)
{
    struct uvm_device *dev = uvm_dev_find(ino);

    if (dev)
        uvm_dev_stat(dev, ret);
    else if (ino == UVM_INO_DEVICE_ROOT)
        top_stat(ret);
    return dev || ino == UVM_INO_DEVICE_ROOT;
}

static void reply_entry(fuse_req_t req, uint64_t ino)
{
    struct fuse_entry_param entry = {
        .ino = ino,
        .generation = 1,
        .attr_timeout = UVM_DEV_TIMEOUT,
        .entry_timeout = UVM_ENTRY_TIMEOUT,
    };
    node_stat(ino, &entry.attr);
    fuse_reply_entry(req, &entry);
}

void uvm_dev_root(fuse_req_t req)
{
    reply_entry(req, UVM_INO_DEVICE_ROOT);
}

static void dev_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct uvm_device *dev = uvm_dev_named(name);
    if (dev) {
        reply_entry(req, dev->uobj.id);
        return;
    }
    struct fuse_entry_param none = {.entry_timeout = UVM_ENTRY_TIMEOUT};
    fuse_reply_entry(req, &none);
}

static void dev_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;

    if (node_stat(ino, &st))
        fuse_reply_attr(req, &st, UVM_DEV_TIMEOUT);
    else
        fuse_reply_err(req, ENOENT);
}

/* The attributes are the device's: only what changes nothing is granted. Times are the kernel's habit
 * (touch, a copy's end), and are passed over. */
static void dev_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                        struct fuse_file_info *fi)
{
    const int ignored = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
                        FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
    struct stat st;

    if (!node_stat(ino, &st)) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    if ((to_set & FUSE_SET_ATTR_SIZE) && attr->st_size == st.st_size)
        to_set &= ~FUSE_SET_ATTR_SIZE;
    if (to_set & ~ignored)
        fuse_reply_err(req, EPERM);
    else
        fuse_reply_attr(req, &st, UVM_DEV_TIMEOUT);
}

static void dev_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fi->cache_readdir = fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}

static void dev_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}

/* Entry i of the directory; its offset is i + 1. Entries of readdirplus name no node. */
static size_t add_entry(fuse_req_t req, char *buf, size_t room, unsigned i, bool plus)
{
    struct fuse_entry_param entry = {.attr.st_mode = S_IFDIR, .attr.st_ino = UVM_INO_DEVICE_ROOT};
    const char *name = i == 0 ? "." : "..";

    if (i == 1)
        entry.attr.st_ino = UVM_INO_ROOT;
    if (i >= 2) {
        const struct uvm_device *dev = uvm_dev_find(UVM_INO_DEVICE_BIT | (i - 1));
        name = dev->name;
        entry.attr.st_mode = S_IFREG;
        entry.attr.st_ino = dev->uobj.id;
    }
    return plus ? fuse_add_direntry_plus(req, buf, room, name, &entry, (off_t)i + 1)
                : fuse_add_direntry(req, buf, room, name, &entry.attr, (off_t)i + 1);
}

static void read_directory(fuse_req_t req, size_t size, off_t off, bool plus)
{
    CLEANUP_FREE char *buf = malloc(size);
    size_t used = 0;

    if (!buf || off < 0) {
        fuse_reply_err(req, buf ? EINVAL : ENOMEM);
        return;
    }
    for (uint64_t i = (uint64_t)off; i < uvm_dev_count() + 2; i++) {
        size_t n = add_entry(req, buf + used, size - used, (unsigned)i, plus);
        if (n > size - used)
            break;
        used += n;
    }
    fuse_reply_buf(req, buf, used);
}

static void dev_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi)
{
    read_directory(req, size, off, false);
}

static void dev_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                            struct fuse_file_info *fi)
{
    read_directory(req, size, off, true);
}

static void dev_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}

static void dev_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs st = {
        .f_bsize = UVM_PAGE_SIZE,
        .f_frsize = UVM_PAGE_SIZE,
        .f_files = uvm_dev_count(),
        .f_namemax = UVM_DEVICE_NAME_MAX,
    };
    fuse_reply_statfs(req, &st);
}

static void dev_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    fuse_reply_err(req, EOPNOTSUPP);
}

static void dev_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    if (size)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_xattr(req, 0);
}

static void dev_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                         size_t size, int flags)
{
    fuse_reply_err(req, EOPNOTSUPP);
}

static void dev_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    fuse_reply_err(req, EOPNOTSUPP);
}

static void dev_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                          struct fuse_file_info *fi)
{
    fuse_reply_err(req, EOPNOTSUPP);
}

/* A device is data from the beginning to the end. */
static void dev_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                      struct fuse_file_info *fi)
{
    struct uvm_device *dev = uvm_dev_find(ino);
    off_t size = dev ? (off_t)atomic_load(&dev->size) : 0;

    if (!dev || (whence != SEEK_DATA && whence != SEEK_HOLE))
        fuse_reply_err(req, dev ? EINVAL : ENOENT);
    else if (off < 0 || off >= size)
        fuse_reply_err(req, ENXIO);
    else
        fuse_reply_lseek(req, whence == SEEK_DATA ? off : size);
}

const struct fuse_lowlevel_ops uvm_dev_ops = {
    .lookup = dev_lookup,
    .getattr = dev_getattr,
    .setattr = dev_setattr,
    .open = uvm_dev_open,
    .read = uvm_dev_read,
    .write = uvm_dev_write,
    .release = dev_release,
    .fsync = uvm_dev_fsync,
    .opendir = dev_opendir,
    .readdir = dev_readdir,
    .readdirplus = dev_readdirplus,
    .releasedir = dev_release,
    .fsyncdir = dev_fsyncdir,
    .statfs = dev_statfs,
    .getxattr = dev_getxattr,
    .listxattr = dev_listxattr,
    .setxattr = dev_setxattr,
    .removexattr = dev_removexattr,
    .fallocate = dev_fallocate,
    .lseek = dev_lseek,
};
