/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In-core inodes: the files the kernel knows, and those whose object must live on.
 *
 *      kernel's look-ups --+
 *      references in use --+--> inode (attributes, object) --> record in the tree
 *      object of a file ---+
 *
 * While an inode is in core its attributes are the truth, and the tree's record follows: at once
 * when size, mode, owner or links change, later (flush) when only times have. An inode is
 *
 *      nlink   look-ups or references   then
 *      > 0     yes                      in core
 *      > 0     no                       in core while it has an object, otherwise dropped
 *      0       yes                      in core: unlinked but open; its record keeps nlink 0
 *      0       no                       gone: the object is freed, the records are deleted
 *
 * Locks. The table lock and the locks of the inodes all have rank UVM_LR_INODE, and no thread holds
 * two of them. The table lock guards the table and the counts, an inode's lock its attributes.
 * nlink and whatever concerns names change only under the tree lock (tree.h) as well. Functions
 * marked "no lock held" may begin a transaction; the others may not be called under a lock of the
 * inode's rank or above either, but never wait for the tree.
 *
 * An inode found by number stays as long as the kernel's look-up does: a FUSE operation that is
 * being served needs no reference on the inodes it names. An inode that is first met in that way
 * (the root; any file after a restart of the daemon) belongs to look-ups that were not counted
 * here: it stays until the kernel forgets more look-ups than this process has given out.
 */
#ifndef UVMD_FUSE_INODE_H
#define UVMD_FUSE_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "../daemon/util.h"
#include "tree.h"

struct uvm_inode;
struct uvm_object;

/* What is below the inodes. Called without locks, except object_new: under the inode's lock. */
struct uvm_inode_hooks {
    struct uvm_object *(*object_new)(uint64_t id); /* NULL: no memory */
    void (*object_free)(struct uvm_object *object);
    uint64_t (*object_pages)(struct uvm_object *object); /* touched pages, for st_blocks */
    void (*space)(uint64_t *total_pages, uint64_t *free_pages);
};

/* uvm_inode_init: => the tree is open; hooks are kept by reference */
void uvm_inode_init(const struct uvm_inode_hooks *hooks);
/* uvm_inode_fini: free every inode, and every object through its hook. => no one uses them any
 * more; flush first what is to be kept */
void uvm_inode_fini(void);
const struct uvm_inode_hooks *uvm_inode_hooks(void);

/*
 * uvm_inode_find: the inode of a number on which the kernel holds a look-up.
 *
 * => loaded from the tree if it is not in core; NULL if there is no such file
 */
struct uvm_inode *uvm_inode_find(uint64_t ino);

/*
 * uvm_inode_get: the same with a reference, to be put back; no look-up is needed.
 *
 * => txn: read within this transaction, or NULL
 * => 0 or -errno
 */
int uvm_inode_get(struct uvm_txn *txn, uint64_t ino, struct uvm_inode **ret);
/* uvm_inode_put: => no lock held; NULL is allowed */
void uvm_inode_put(struct uvm_inode *inode);

static inline void uvm_inode_cleanup(struct uvm_inode **inode)
{
    uvm_inode_put(*inode);
}

/* A reference that ends with the scope. Declare it before a transaction: put may need one. */
#define UVM_INODE_REF(name) struct uvm_inode *name UVM_CLEANUP(uvm_inode_cleanup) = NULL

/* uvm_inode_new: put a file that is being made into core, with a reference. => 0 or -ENOMEM */
int uvm_inode_new(const struct uvm_attr *attr, struct uvm_inode **ret);
/* uvm_inode_discard: take it back, with the reference: its transaction has failed. */
void uvm_inode_discard(struct uvm_inode *inode);

/* uvm_inode_remember: count look-ups, before the reply that gives them to the kernel is sent. */
void uvm_inode_remember(struct uvm_inode *inode, uint64_t nlookup);
/* uvm_inode_forget: the kernel has dropped look-ups, or never got them. => no lock held */
void uvm_inode_forget(uint64_t ino, uint64_t nlookup);

uint64_t uvm_inode_ino(const struct uvm_inode *inode);
uint32_t uvm_inode_mode(struct uvm_inode *inode);
uint64_t uvm_inode_size(struct uvm_inode *inode);
/* uvm_inode_attr: a copy of the attributes. */
void uvm_inode_attr(struct uvm_inode *inode, struct uvm_attr *ret);
/* uvm_inode_stat: as stat(2) shows it. */
void uvm_inode_stat(struct uvm_inode *inode, struct stat *ret);

/*
 * uvm_inode_object: the object of a regular file, made at the first call.
 *
 * => NULL: not a regular file, or no memory
 * => lives as long as the file does: it has names, or look-ups, or references
 */
struct uvm_object *uvm_inode_object(struct uvm_inode *inode);

/* uvm_inode_set_size: truncate or extend: size, mtime, ctime. => no lock held; when the record
 * cannot be written the size stands all the same, and is written later */
void uvm_inode_set_size(struct uvm_inode *inode, uint64_t size);

/*
 * uvm_inode_wrote: bytes up to `end` have been written: the size is at least that, mtime and ctime
 * are now.
 *
 * => killpriv: the writer may not keep set-id bits: drop suid, and sgid if group-executable
 * => no lock held; as for set_size, the record may be written later
 */
void uvm_inode_wrote(struct uvm_inode *inode, uint64_t end, bool killpriv);

/* uvm_inode_accessed: it has been read: atime, in the manner of relatime. */
void uvm_inode_accessed(struct uvm_inode *inode);

/*
 * uvm_inode_setattr: change what to_set (FUSE_SET_ATTR_*) names, except the size.
 *
 * => a change of owner drops set-id bits of what is not a directory, unless a mode comes with it
 * => ctime is now, always
 * => ret_st: the attributes after it, or NULL
 * => no lock held; 0 or -errno: -EPERM for the root, -ENOSPC; on failure nothing has changed
 */
int uvm_inode_setattr(struct uvm_inode *inode, const struct stat *attr, int to_set,
                      struct stat *ret_st);

/* Extended attributes; results as in tree.h. system.* is -EOPNOTSUPP. => set, del: no lock held */
int uvm_inode_xattr_get(struct uvm_inode *inode, const char *name, void *buf, size_t size);
int uvm_inode_xattr_list(struct uvm_inode *inode, char *buf, size_t size, bool privileged);
int uvm_inode_xattr_set(struct uvm_inode *inode, const char *name, const void *value, size_t size,
                        int flags);
int uvm_inode_xattr_del(struct uvm_inode *inode, const char *name);

/* uvm_inode_flush: write the record if it is behind. => no lock held; 0 or -errno: still behind */
int uvm_inode_flush(struct uvm_inode *inode);
/* uvm_inode_flush_all: the same for all, in one transaction. => no lock held */
int uvm_inode_flush_all(void);

/*
 * A change of attributes under way, for operations on names (namei.c): what is added to an inode,
 * so that it can be written into the transaction and, once that is committed, be done in core,
 * whatever else has happened to the inode in between.
 */
struct uvm_edit {
    struct uvm_inode *inode;
    int nlink;   /* added */
    int names;   /* added: names in a directory */
    int cookies; /* added: cookies handed out by a directory */
    int nxattr;  /* added */
    bool mtime;  /* set to now; ctime always is */
    bool move;   /* parent and cookie are new */
    uint64_t parent, cookie;
};

/* uvm_edit_put: write the edited record. => txn begun: the tree lock is held */
int uvm_edit_put(struct uvm_txn *txn, const struct uvm_edit *edit, const struct uvm_time *now);
/* uvm_edit_done: do it in core. => committed, the tree lock is still held */
void uvm_edit_done(const struct uvm_edit *edit, const struct uvm_time *now);

/* uvm_time_now: the clock of file times, the coarse one that the kernel's own file systems use. */
struct uvm_time uvm_time_now(void);

/* uvm_inode_path: uvm_tree_path. */
int uvm_inode_path(uint64_t ino, char *buf, size_t len);
/* uvm_inode_by_path: the inode of a path as uvm_inode_path gives it, with a reference. */
int uvm_inode_by_path(const char *path, struct uvm_inode **ret);

/*
 * uvm_inode_foreach_object: call fn for every inode that has an object.
 *
 * => fn is called without locks, with a reference held; => no lock held; 0 or -ENOMEM
 */
int uvm_inode_foreach_object(void (*fn)(struct uvm_inode *inode, struct uvm_object *object,
                                        void *arg),
                             void *arg);

#endif
