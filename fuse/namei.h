/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on names: POSIX's rules for what may happen and which times and link counts change.
 * Permissions, sticky bits, umask and loops of directories are the kernel's business
 * (default_permissions) and are settled before a request arrives.
 *
 *      operation   times now                                        links
 *      make        parent m c; the file a m c                       directory: parent + 1
 *      link        parent m c; the file c                           file + 1
 *      remove      parent m c; the file c                           file - 1; directory: parent - 1
 *      rename      both parents m c; what moves c; what is replaced c   parents as directories move
 *
 * Each operation is one transaction, and reaches the in-core inodes after its commit, under the
 * tree lock. The root of the mount holds the top directories and nothing else: -EPERM.
 *
 * All of them are called with no lock held and return 0 or -errno.
 */
#ifndef UVMD_FUSE_NAMEI_H
#define UVMD_FUSE_NAMEI_H

#include "inode.h"

/* What a new file is to be. */
struct uvm_new {
    uint32_t mode; /* with the type */
    uint32_t uid, gid;
    uint64_t rdev;
    const char *target; /* of a symbolic link */
};

/* uvm_namei_lookup: the file of a name. => *ret with a reference */
int uvm_namei_lookup(uint64_t parent, const char *name, struct uvm_inode **ret);

/* uvm_namei_make: make a file of any type. => *ret with a reference; a set-gid directory gives its
 * group to what is made in it, and its bit to directories */
int uvm_namei_make(uint64_t parent, const char *name, const struct uvm_new *what,
                   struct uvm_inode **ret);

/* uvm_namei_link: another name for a file that is not a directory. => *ret with a reference;
 * -ENOENT when it has no name any more, -EMLINK */
int uvm_namei_link(uint64_t ino, uint64_t parent, const char *name, struct uvm_inode **ret);

/* uvm_namei_remove: unlink, or rmdir. => -EISDIR, -ENOTDIR, -ENOTEMPTY */
int uvm_namei_remove(uint64_t parent, const char *name, bool directory);

/* uvm_namei_rename: => flags: RENAME_*, as renameat2(2); who: owner of a whiteout */
int uvm_namei_rename(uint64_t from, const char *from_name, uint64_t to, const char *to_name,
                     unsigned flags, const struct uvm_new *who);

/*
 * The edits of one operation. An inode has one edit however often it takes part, so that the record
 * that is written last is complete.
 */
#define UVM_EDITS_MAX 4

struct uvm_edits {
    struct uvm_time now;
    unsigned n;
    struct uvm_edit edit[UVM_EDITS_MAX];
};

/* uvm_edit_of: the inode's edit, made if it has none. */
struct uvm_edit *uvm_edit_of(struct uvm_edits *edits, struct uvm_inode *inode);
/* uvm_edits_commit: write all records, commit, and do the edits in core. */
int uvm_edits_commit(struct uvm_txn *txn, const struct uvm_edits *edits);

/* uvm_namei_dir: check that a directory can be changed. => tree lock held; fills in its attributes
 */
int uvm_namei_dir(struct uvm_inode *dir, struct uvm_attr *ret);

static inline uint8_t uvm_mode_type(uint32_t mode)
{
    return (uint8_t)((mode & S_IFMT) >> 12); /* DT_* */
}

#endif
