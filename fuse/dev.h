/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree: device/ and one regular file for each configured device.
 *
 *      dev.c         the devices there are
 *      dev_tree.c    names and attributes, answered at once: they are fixed
 *      dev_io.c      open, read, write, fsync: each is a job, because a device may block
 *      dev_work.c    the threads that do the jobs
 *
 * Nothing can be made, removed or changed here. Files are opened without keeping the client cache from
 * the last time: what else uses the device may have changed it.
 */
#ifndef UVMD_FUSE_DEV_H
#define UVMD_FUSE_DEV_H

#include "../daemon/pager/device.h"
#include "fs.h"

/* uvm_devfs_up: open the devices and start the threads. => the object table is there; 0, or -errno with
 * err filled in */
int uvm_devfs_up(const struct uvm_devspec *specs, unsigned n, struct uvm_error *err);
/* uvm_devfs_down: => the session has ended; a device that still blocks a thread is left as it is */
void uvm_devfs_down(void);

/* Shared by the dev_*.c files. */

#define UVM_DEV_TIMEOUT 1.0 /* seconds: of attributes, because a device may shrink */

/* uvm_dev_find: the device of a node id, or NULL. */
struct uvm_device *uvm_dev_find(uint64_t ino);
struct uvm_device *uvm_dev_named(const char *name);
unsigned uvm_dev_count(void);
struct timespec uvm_dev_start(void); /* when the tree came to be */

extern const struct fuse_lowlevel_ops uvm_dev_ops;
void uvm_dev_root(fuse_req_t req);

/* uvm_dev_stat: attributes as stat(2) shows them, without asking the device. */
void uvm_dev_stat(const struct uvm_device *dev, struct stat *ret);

/* A request that a thread of the pool carries out. */
struct uvm_devjob {
    void (*run)(struct uvm_devjob *job);   /* blocks; on a thread of the pool */
    void (*reply)(struct uvm_devjob *job); /* short: not called when the session has ended */
    STAILQ_ENTRY(uvm_devjob) link;
    fuse_req_t req;
    struct uvm_device *dev;
    struct fuse_file_info fi;
    char *data; /* the job's, freed with it */
    size_t room, len, done;
    uint64_t off;
    int error;
};

/* uvm_devjob_new: => counted as a request in hand; NULL: replied ENOMEM or ENOENT */
struct uvm_devjob *uvm_devjob_new(fuse_req_t req, uint64_t ino, const struct fuse_file_info *fi,
                                  size_t room);
/* uvm_devjob_submit: queue it; it is run, answered and freed. */
void uvm_devjob_submit(struct uvm_devjob *job);
/* uvm_devjob_bytes: what the jobs that are queued or running hold. */
size_t uvm_devjob_bytes(void);

int uvm_devwork_start(void);
void uvm_devwork_abandon(void);
/* uvm_devwork_stop: => abandoned, or no session was there. true: the threads have ended */
bool uvm_devwork_stop(void);

void uvm_dev_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void uvm_dev_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                  struct fuse_file_info *fi);
void uvm_dev_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                   struct fuse_file_info *fi);
void uvm_dev_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

#endif
