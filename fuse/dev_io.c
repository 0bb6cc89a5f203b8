/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of devices: jobs for the pool.
 *
 * A READ that fails anywhere fails as a whole: a short answer would be the end of the file, and the rest
 * zeroes. The kernel asks again for the page that was touched, alone.
 */
#include "dev.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* When this much is queued, a write(2) is cut short: its writer comes again with the rest. */
#define QUEUED_MAX  (16u << 20)
#define QUEUED_PART (64u << 10)

static void run_open(struct uvm_devjob *job)
{
    uvm_device_resize(job->dev);
}

static void reply_open(struct uvm_devjob *job)
{
    job->fi.keep_cache = 0;
    job->fi.noflush = 1;
    fuse_reply_open(job->req, &job->fi);
}

void uvm_dev_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct uvm_device *dev = uvm_dev_find(ino);

    if (dev && dev->readonly && (fi->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(req, EROFS);
        return;
    }
    struct uvm_devjob *job = uvm_devjob_new(req, ino, fi, 0);
    if (!job)
        return;
    job->run = run_open;
    job->reply = reply_open;
    uvm_devjob_submit(job);
}

static void run_read(struct uvm_devjob *job)
{
    uint64_t size = uvm_device_resize(job->dev);

    job->len = job->off < size ? (size_t)MIN(job->len, size - job->off) : 0;
    if (job->len)
        job->error = -uvm_device_read(job->dev, job->data, job->len, job->off, &job->done);
}

static void reply_read(struct uvm_devjob *job)
{
    if (job->error)
        fuse_reply_err(job->req, job->error);
    else
        fuse_reply_buf(job->req, job->data, job->done);
}

void uvm_dev_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct uvm_devjob *job = uvm_devjob_new(req, ino, fi, size);

    if (!job)
        return;
    job->off = (uint64_t)off;
    job->run = run_read;
    job->reply = reply_read;
    uvm_devjob_submit(job);
}

static void run_write(struct uvm_devjob *job)
{
    job->error = -uvm_device_write(job->dev, job->data, job->len, job->off, &job->done);
}

static void reply_write(struct uvm_devjob *job)
{
    if (job->error && (job->fi.writepage || !job->done))
        fuse_reply_err(job->req, job->error);
    else
        fuse_reply_write(job->req, job->done);
}

void uvm_dev_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                   struct fuse_file_info *fi)
{
    struct uvm_device *dev = uvm_dev_find(ino);
    uint64_t end = dev ? atomic_load(&dev->size) : 0, from = (uint64_t)off;

    if (dev && from >= end) { /* as a block device says it */
        fuse_reply_err(req, ENOSPC);
        return;
    }
    size = dev ? (size_t)MIN(size, end - from) : size;
    if (!fi->writepage && !(fi->flags & O_DIRECT) && uvm_devjob_bytes() > QUEUED_MAX)
        size = MIN(size, QUEUED_PART);
    struct uvm_devjob *job = uvm_devjob_new(req, ino, fi, size);
    if (!job)
        return;
    memcpy(job->data, buf, size);
    job->off = from;
    job->run = run_write;
    job->reply = reply_write;
    uvm_devjob_submit(job);
}

static void run_fsync(struct uvm_devjob *job)
{
    job->error = -uvm_device_sync(job->dev);
}

static void reply_fsync(struct uvm_devjob *job)
{
    fuse_reply_err(job->req, job->error);
}

void uvm_dev_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct uvm_devjob *job = uvm_devjob_new(req, ino, fi, 0);

    if (!job)
        return;
    job->run = run_fsync;
    job->reply = reply_fsync;
    uvm_devjob_submit(job);
}
