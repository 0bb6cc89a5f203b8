/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the tree and the pagers meet: the inodes' hooks into anonymous objects, and the view of the
 * objects that the control socket shows.
 */
#ifndef UVMD_FUSE_ANON_H
#define UVMD_FUSE_ANON_H

#include "../daemon/control.h"
#include "inode.h"

extern const struct uvm_inode_hooks uvm_anon_hooks;
/* uvm_anon_enable: from when until when the provider may look at the tree. => any thread */
void uvm_anon_enable(bool on);

extern const struct uvm_control_provider uvm_anon_provider;

#endif
