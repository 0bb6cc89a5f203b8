/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FUSE session: mount, hand requests to the loops through a channel, unmount.
 *
 *      kernel --> channel (dev: /dev/fuse; others can join) --> libfuse --> ops_*.c --> reply
 *                 on the loops' threads                         (decode)               from any
 * thread
 */
#ifndef UVMD_FUSE_SESSION_H
#define UVMD_FUSE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "../daemon/error.h"

struct uvm_session_config {
    const char *mountpoint; /* absolute */
    bool allow_other;
    bool suid, dev, exec; /* what the mount honours */
    void (*ended)(void);  /* the kernel has ended the session; on a loop's thread */
};

/*
 * uvm_session_init: make the loops; they do not run yet.
 *
 * => the pager map is there; 0, or -errno with err filled in
 */
int uvm_session_init(unsigned threads, struct uvm_error *err);

/* uvm_session_fini: => nobody posts to the loops any more */
void uvm_session_fini(void);

/*
 * uvm_session_start: mount and answer INIT; then the loops serve.
 *
 * => the tree, the inodes and everything below are ready
 * => 0, or -errno with err naming the remedy (no /dev/fuse, no permission to mount)
 */
int uvm_session_start(const struct uvm_session_config *cfg, struct uvm_error *err);

/*
 * uvm_session_unmount: take the mount away, while the loops go on serving it.
 *
 * => by a child process: the daemon itself must never wait on its own mount
 * => detach: also when clients use it; they keep what they have open until the session ends
 * => 0; -EBUSY: clients use it (not with detach); -errno
 */
int uvm_session_unmount(bool detach);

/* uvm_session_mounted: is the mount still in the name space? => without touching it */
bool uvm_session_mounted(void);

/* uvm_session_stop: take no more requests, let those in hand end, and end the connection: what
 * clients still hold fails from now on. => the revoker has ended, the pagedaemon has not */
void uvm_session_stop(void);

/* uvm_session_revoke: take a range of a file out of the client cache; may block (revoker.h). */
int uvm_session_revoke(uint64_t ino, uint64_t off, uint64_t len);

/* uvm_session_settle: see every request that is in the kernel's queue now, and what answering them
 * brings; waits for the loops. => not on a loop's thread (revoker.h) */
void uvm_session_settle(void);

/* uvm_session_transport: what carries the requests, for status. */
const char *uvm_session_transport(void);

/* uvm_mount_device: the device number of the topmost mount there, from mountinfo. => 0; -ENOENT: none;
 * -errno: mountinfo cannot be read */
int uvm_mount_device(const char *mountpoint, unsigned *ret_major, unsigned *ret_minor);

/*
 * uvm_bdi_tune: set the knobs of the mount's backing device: read-ahead, and a fair share of dirty
 * pages instead of FUSE's strict limit.
 *
 * => 0; -errno with err naming what could not be set: clients are slower then, nothing else
 */
int uvm_bdi_tune(const char *mountpoint, struct uvm_error *err);

#endif
