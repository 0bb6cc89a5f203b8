/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FUSE operations on the bytes of files: they may finish later, on the same loop.
 *
 *      ops_rw.c      open, read, write, fsync        ops_size.c    setattr, fallocate, lseek
 */
#ifndef UVMD_FUSE_OPS_FILE_H
#define UVMD_FUSE_OPS_FILE_H

#include "ops.h"

/* Requests on files that have begun and not been answered: the stop waits for them. */
extern _Atomic unsigned uvm_file_requests;

#define UVM_FILE_SIZE_MAX (1ull << 43) /* 8 TiB: 2^31 pages */

void uvm_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void uvm_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void uvm_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void uvm_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                  struct fuse_file_info *fi);
void uvm_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

void uvm_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                    struct fuse_file_info *fi);
void uvm_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                      struct fuse_file_info *fi);
void uvm_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);

#endif
