/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the inodes: the structure, for inode.c (table, life) and inode_attr.c (attributes).
 */
#ifndef UVMD_FUSE_INODE_MD_H
#define UVMD_FUSE_INODE_MD_H

#include <stdatomic.h>

#include "inode.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "../daemon/lock.h"

struct uvm_inode {
    uint64_t ino;                        /* key; never changes */
    struct uvm_lock lock;                /* UVM_LR_INODE */
    struct uvm_attr attr;                /* lock; nlink, names and cookies: the tree lock as well */
    _Atomic bool dirty;                  /* the record in the tree is behind */
    _Atomic(struct uvm_object *) object; /* set once, under lock */
    uint64_t nlookup;  /* table lock: look-ups of the kernel's that this process gave */
    uint32_t refs;     /* table lock */
    bool inherited;    /* table lock: the kernel has look-ups that were not counted here */
    UT_hash_handle hh; /* table lock */
};

#endif
