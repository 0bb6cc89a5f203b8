/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode tree: the files of a source directory, paged by the vnode pager.
 *
 *      kernel --> dispatch --> uvm_fs_vnode --+-- bytes: ops_rw.c, on the loop
 *                                             +-- all else: a worker thread, as the caller
 *
 * Nothing of the source is touched on a loop's thread: a slow disk or a dead server blocks workers only.
 * Replies come from the workers.
 */
#ifndef UVMD_FUSE_VN_H
#define UVMD_FUSE_VN_H

#include "../daemon/error.h"
#include "fs.h"

/*
 * uvm_vn_init: open the source and start the workers.
 *
 * => uvn_init has been called; before the mount; mountpoint is where that will be: neither may lie
 *    within the other
 * => raises RLIMIT_NOFILE as far as it goes
 * => 0, or -errno with err filled in
 */
int uvm_vn_init(const char *source, const char *mountpoint, struct uvm_error *err);

/*
 * uvm_vn_drain: write everything out to the source, and log what cannot be.
 *
 * => the mount is gone, so nothing new becomes dirty; the pager still runs; blocks; does nothing
 *    without uvm_vn_init
 */
void uvm_vn_drain(void);

/* uvm_vn_fini: end the workers, free everything. => after the session's end; the pager still runs;
 * does nothing without uvm_vn_init */
void uvm_vn_fini(void);

#endif
