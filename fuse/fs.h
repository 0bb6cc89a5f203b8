/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trees of the mount, and which of them a request belongs to.
 *
 *      node id              tree        what it is
 *      1, 2, 16 and above   anon/       inode numbers of the store (tree.h)
 *      3, bit 62 set        vnode/      files of the source
 *      4, bit 61 set        device/     configured devices
 *
 * The root (1) is anon's and lists the three top directories. dispatch.c gives every request to its
 * tree's table. A name or a link that would cross trees is EXDEV. No tree ever answers ENOSYS: the
 * kernel would take it as the answer of the whole mount, for good.
 *
 * A directory entry of another tree's top directory names no node (readdirplus gives entries without a
 * look-up for them): the kernel looks it up, and that is the tree's to answer.
 *
 * Node ids are object ids, and are never used twice.
 */
#ifndef UVMD_FUSE_FS_H
#define UVMD_FUSE_FS_H

#include "ops.h"

struct uvm_control_object;

#define UVM_INO_VNODE_ROOT  3ull
#define UVM_INO_DEVICE_ROOT 4ull
#define UVM_INO_VNODE_BIT   (1ull << 62)
#define UVM_INO_DEVICE_BIT  (1ull << 61)

/* A regular file, as the operations on bytes see it (ops_rw.c), of any tree that has pages. */
struct uvm_file {
    const struct uvm_file_ops *ops;
    void *node; /* the kernel's look-up keeps it while a request is served */
    struct uvm_object *uobj;
};

struct uvm_file_ops {
    uint64_t (*size)(void *node);
    /* wrote: bytes up to end have been written (0: none that are news). See uvm_inode_wrote. */
    void (*wrote)(void *node, uint64_t end, bool killpriv);
    void (*accessed)(void *node);
};

struct uvm_fs {
    const char *name; /* of its top directory */
    uint64_t top;     /* node id of its top directory */
    uint64_t bit;     /* set in all its other node ids; 0: anon */

    /* The operations on its nodes. What is NULL is answered with `missing`, except flush, which then
     * succeeds. forget, forget_multi and init are never used. */
    const struct fuse_lowlevel_ops *ops;
    int missing; /* errno, not ENOSYS */

    /* root: answer a look-up of the top directory (fuse_reply_entry or an error); the look-up is the
     * tree's to count. => may answer later, on any thread. NULL: anon, whose store has the name */
    void (*root)(fuse_req_t req);

    /* forget: the kernel drops look-ups of a node. => a loop's thread, no lock; must not block */
    void (*forget)(uint64_t ino, uint64_t nlookup);

    /* file: the file of a node id on which the kernel holds a look-up. => 0 or -errno. NULL: the tree
     * has no files with pages */
    int (*file)(uint64_t ino, struct uvm_file *ret);

    /* objects, find: the tree's part of what the control socket shows (view.h); path: from the mount
     * on ("vnode/a/b"). => the control thread, which may block; 0, -errno, or what fn returned when
     * that is not 0. NULL: the tree has none */
    int (*objects)(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg);
    int (*find)(const char *path, struct uvm_control_object *ret);

    /* object: the object of a path, with a reference, made if need be. => as find; NULL: as none */
    int (*object)(const char *path, struct uvm_object **ret);

    /* abandon: the session ends: no request may be answered any more, by any thread, once this has
     * returned. => must not wait for requests. NULL: the tree answers on loops' threads only */
    void (*abandon)(void);
};

extern const struct uvm_fs uvm_fs_anon, uvm_fs_vnode, uvm_fs_device;

/* uvm_fs_of: the tree of a node id; anon's for those of a tree that is not there: it knows no such
 * file. */
const struct uvm_fs *uvm_fs_of(uint64_t ino);

/*
 * uvm_fs_add: a tree is there from now on, and the root lists it.
 *
 * => the store is open, the inode table not yet; anon is always there
 * => 0, or -errno of the store
 */
int uvm_fs_add(const struct uvm_fs *fs);

/* uvm_fs_acl: does a tree have access control lists? Then the kernel checks permissions by them, and
 * leaves the umask to the trees. */
bool uvm_fs_acl(void);

/* uvm_fs_clear: forget the trees that were added. */
void uvm_fs_clear(void);

/* uvm_fs_foreach: call fn for each tree, anon first, until one gives something else than 0. => that */
int uvm_fs_foreach(int (*fn)(const struct uvm_fs *fs, void *arg), void *arg);

/* uvm_dispatch_ops: the table for libfuse; init is filled in by the session. */
extern const struct fuse_lowlevel_ops uvm_dispatch_ops;

#endif
