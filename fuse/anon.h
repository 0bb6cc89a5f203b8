/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the anon tree and the pagers meet: the inodes' hooks into anonymous objects, and the tree's
 * part of what the control socket shows (contracts: fs.h).
 */
#ifndef UVMD_FUSE_ANON_H
#define UVMD_FUSE_ANON_H

#include "inode.h"

struct uvm_control_object;

extern const struct uvm_inode_hooks uvm_anon_hooks;

int uvm_anon_objects(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg);
int uvm_anon_find(const char *path, struct uvm_control_object *ret);
int uvm_anon_object(const char *path, struct uvm_object **ret);

#endif
