/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attributes of an inode: what stat shows, what operations change.
 *
 * Changes that may not fail (size and times of a write) are made in core and then written. Those
 * that may (mode, owner, links) go the other way: a copy is changed and committed, and only then
 * the inode. What has happened to the inode between copy and commit is not lost, because the same
 * change is applied to the inode and not the copy stored over it; the record is brought up to date
 * by whoever made it dirty.
 */
#include "inode_md.h"

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

#define DAY 86400

struct uvm_time uvm_time_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return (struct uvm_time){.sec = ts.tv_sec, .nsec = (uint32_t)ts.tv_nsec};
}

static bool time_before(const struct uvm_time *a, const struct uvm_time *b)
{
    return a->sec != b->sec ? a->sec < b->sec : a->nsec < b->nsec;
}

static struct uvm_time time_of(const struct timespec *ts)
{
    return (struct uvm_time){.sec = ts->tv_sec, .nsec = (uint32_t)ts->tv_nsec};
}

static struct timespec timespec_of(const struct uvm_time *time)
{
    return (struct timespec){.tv_sec = time->sec, .tv_nsec = time->nsec};
}

static uint32_t mode_without_privs(uint32_t mode)
{
    if (S_ISDIR(mode))
        return mode;
    mode &= ~(uint32_t)S_ISUID;
    return mode & S_IXGRP ? mode & ~(uint32_t)S_ISGID : mode;
}

uint64_t uvm_inode_ino(const struct uvm_inode *inode)
{
    return inode->ino;
}

void uvm_inode_attr(struct uvm_inode *inode, struct uvm_attr *ret)
{
    UVM_LOCK_SCOPE(&inode->lock);
    *ret = inode->attr;
}

uint32_t uvm_inode_mode(struct uvm_inode *inode)
{
    UVM_LOCK_SCOPE(&inode->lock);
    return inode->attr.mode;
}

uint64_t uvm_inode_size(struct uvm_inode *inode)
{
    UVM_LOCK_SCOPE(&inode->lock);
    return inode->attr.size;
}

void uvm_inode_stat(struct uvm_inode *inode, struct stat *ret)
{
    struct uvm_object *object = atomic_load(&inode->object);
    uint64_t pages = object ? uvm_inode_hooks()->object_pages(object) : 0;
    struct uvm_attr attr;

    uvm_inode_attr(inode, &attr);
    *ret = (struct stat){
        .st_ino = attr.ino,
        .st_mode = attr.mode,
        .st_nlink = attr.nlink,
        .st_uid = attr.uid,
        .st_gid = attr.gid,
        .st_rdev = attr.rdev,
        .st_size = (off_t)attr.size,
        .st_blksize = UVM_PAGE_SIZE,
        .st_blocks = (blkcnt_t)(pages * (UVM_PAGE_SIZE / 512)),
        .st_atim = timespec_of(&attr.atime),
        .st_mtim = timespec_of(&attr.mtime),
        .st_ctim = timespec_of(&attr.ctime),
    };
}

struct uvm_object *uvm_inode_object(struct uvm_inode *inode)
{
    struct uvm_object *object = atomic_load(&inode->object);
    if (object)
        return object;

    UVM_LOCK_SCOPE(&inode->lock);
    object = atomic_load(&inode->object);
    if (!object && S_ISREG(inode->attr.mode)) {
        object = uvm_inode_hooks()->object_new(inode->ino);
        if (object)
            atomic_store(&inode->object, object);
    }
    return object;
}

/* The size is at least end and, with exact, nothing else; times are now. */
static void resize(struct uvm_inode *inode, uint64_t end, bool exact, bool killpriv)
{
    struct uvm_time now = uvm_time_now();
    bool urgent;

    {
        UVM_LOCK_SCOPE(&inode->lock);
        struct uvm_attr *attr = &inode->attr;
        uint64_t size = exact || end > attr->size ? end : attr->size;
        uint32_t mode = killpriv ? mode_without_privs(attr->mode) : attr->mode;
        urgent = size != attr->size || mode != attr->mode;
        attr->size = size;
        attr->mode = mode;
        attr->mtime = attr->ctime = now;
        atomic_store(&inode->dirty, true);
    }
    if (urgent)
        (void)uvm_inode_flush(inode); /* stays dirty when it cannot be written now */
}

void uvm_inode_set_size(struct uvm_inode *inode, uint64_t size)
{
    resize(inode, size, true, false);
}

void uvm_inode_wrote(struct uvm_inode *inode, uint64_t end, bool killpriv)
{
    resize(inode, end, false, killpriv);
}

void uvm_inode_accessed(struct uvm_inode *inode)
{
    struct uvm_time now = uvm_time_now();
    UVM_LOCK_SCOPE(&inode->lock);
    struct uvm_attr *attr = &inode->attr;

    if (time_before(&attr->mtime, &attr->atime) && time_before(&attr->ctime, &attr->atime) &&
        now.sec - attr->atime.sec < DAY)
        return;
    attr->atime = now;
    atomic_store(&inode->dirty, true);
}

static void attr_set(struct uvm_attr *attr, const struct stat *st, int to_set,
                     const struct uvm_time *now)
{
    if (to_set & FUSE_SET_ATTR_UID)
        attr->uid = st->st_uid;
    if (to_set & FUSE_SET_ATTR_GID)
        attr->gid = st->st_gid;
    if (to_set & FUSE_SET_ATTR_MODE)
        attr->mode = (attr->mode & S_IFMT) | (st->st_mode & 07777);
    else if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_KILL_SUID |
                       FUSE_SET_ATTR_KILL_SGID))
        attr->mode = mode_without_privs(attr->mode);
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        attr->atime = *now;
    else if (to_set & FUSE_SET_ATTR_ATIME)
        attr->atime = time_of(&st->st_atim);
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        attr->mtime = *now;
    else if (to_set & FUSE_SET_ATTR_MTIME)
        attr->mtime = time_of(&st->st_mtim);
    attr->ctime = to_set & FUSE_SET_ATTR_CTIME ? time_of(&st->st_ctim) : *now;
}

int uvm_inode_setattr(struct uvm_inode *inode, const struct stat *attr, int to_set,
                      struct stat *ret_st)
{
    const int urgent = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                       FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID;
    struct uvm_time now = uvm_time_now();
    struct uvm_attr copy;
    UVM_TREE_TXN(txn);

    if (inode->ino == UVM_INO_ROOT)
        return -EPERM;
    if (to_set & urgent) {
        int error = uvm_tree_begin(&txn);
        if (error)
            return error;
        uvm_inode_attr(inode, &copy);
        attr_set(&copy, attr, to_set, &now);
        error = uvm_tree_attr_put(&txn, &copy);
        if (!error)
            error = uvm_tree_commit(&txn);
        if (error)
            return error;
    }
    {
        UVM_LOCK_SCOPE(&inode->lock);
        attr_set(&inode->attr, attr, to_set, &now);
        if (!(to_set & urgent))
            atomic_store(&inode->dirty, true);
    }
    uvm_tree_end(&txn);
    if (ret_st)
        uvm_inode_stat(inode, ret_st);
    return 0;
}

static void edit_apply(const struct uvm_edit *edit, struct uvm_attr *attr,
                       const struct uvm_time *now)
{
    attr->nlink += (uint32_t)edit->nlink;
    attr->nxattr += (uint32_t)edit->nxattr;
    attr->next_cookie += (uint64_t)edit->cookies;
    attr->size += (uint64_t)(int64_t)edit->names * UVM_DIRENT_SIZE;
    attr->ctime = *now;
    if (edit->mtime)
        attr->mtime = *now;
    if (edit->move) {
        attr->parent = edit->parent;
        attr->cookie = edit->cookie;
    }
}

int uvm_edit_put(struct uvm_txn *txn, const struct uvm_edit *edit, const struct uvm_time *now)
{
    struct uvm_attr copy;
    uvm_inode_attr(edit->inode, &copy);
    edit_apply(edit, &copy, now);
    return uvm_tree_attr_put(txn, &copy);
}

void uvm_edit_done(const struct uvm_edit *edit, const struct uvm_time *now)
{
    UVM_LOCK_SCOPE(&edit->inode->lock);
    edit_apply(edit, &edit->inode->attr, now);
}
