/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FUSE operations, with the signatures of libfuse's low-level interface, for the session's
 * table.
 *
 *      ops_name.c    look-ups and names            ops_attr.c    getattr, statfs
 *      ops_dir.c     directories                   ops_xattr.c   extended attributes
 *
 * Every one of them replies before it returns, on the thread it was called on; none blocks.
 * A reply that gives the kernel a look-up counts it first, and takes it back if the kernel refuses
 * the reply: it never saw it then.
 *
 * All changes to the mount come through this one kernel, so what it has been told about names (also
 * that there is none) and attributes stays right until it changes it itself: long timeouts.
 */
#ifndef UVMD_FUSE_OPS_H
#define UVMD_FUSE_OPS_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse_lowlevel.h>

#include "inode.h"

#define UVM_ENTRY_TIMEOUT 60.0 /* seconds */
#define UVM_ATTR_TIMEOUT  60.0

/* How files are opened: the kernel's cache of a file stays valid from one open to the next, and
 * close needs no FLUSH. For open and create alike. */
static inline void uvm_open_flags(struct fuse_file_info *fi)
{
    fi->keep_cache = 1;
    fi->noflush = 1;
}

/* uvm_entry_fill: what a look-up's reply says of an inode. => counts nothing */
void uvm_entry_fill(struct uvm_inode *inode, struct fuse_entry_param *ret);

/* uvm_dirs_init/fini: the table of open directories; fini also forgets those still open. */
void uvm_dirs_init(void);
void uvm_dirs_fini(void);

void uvm_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void uvm_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void uvm_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void uvm_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *fi);
void uvm_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void uvm_op_readlink(fuse_req_t req, fuse_ino_t ino);
void uvm_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void uvm_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void uvm_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void uvm_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                   const char *newname, unsigned int flags);

void uvm_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void uvm_op_statfs(fuse_req_t req, fuse_ino_t ino);

void uvm_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void uvm_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void uvm_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi);
void uvm_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

void uvm_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void uvm_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void uvm_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                     size_t size, int flags);
void uvm_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
