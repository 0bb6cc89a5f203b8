/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker threads of the vnode tree, and how one of them becomes the caller.
 *
 *      loop --> queue --> worker: [as root: find] [as the caller: do] [as root again] --> reply
 *                 ^
 *                 +------ waiter: waits for the kernel's page cache, or for the pager
 *
 * The pool is fixed: with every worker in a system call that does not return, the queue grows by one
 * entry a client that waits, and nothing else of the daemon is in the way of it.
 *
 * A worker waits for the source and for nothing else: the kernel's page cache waits for READs and
 * WRITEs, these may wait for a change of a file's size, and that for a worker. Who has to wait for the
 * page cache or the pager does so on a thread that no worker waits for.
 *
 * Credentials are a thread's own in the kernel. A worker that acts for somebody else than root takes
 * on file system uid and gid, the supplementary groups and the umask, and puts all capabilities
 * down, so that the host's own rules decide.
 */
#ifndef UVMD_FUSE_VN_WORK_H
#define UVMD_FUSE_VN_WORK_H

#include <stdbool.h>
#include <sys/queue.h>

#include "../daemon/error.h"
#include "../daemon/util.h"
#include "ops.h"

/* A piece of work; whoever submits it keeps the memory until fn has been called. */
struct vn_job {
    void (*fn)(struct vn_job *job);
    STAILQ_ENTRY(vn_job) link;
};

STAILQ_HEAD(vn_jobs, vn_job);

/* vn_work_start: => 0, or -errno with err filled in */
int vn_work_start(struct uvm_error *err);

/* vn_work_stop: do what is queued, and end the threads. => does nothing if they do not run */
void vn_work_stop(void);

/* vn_work_submit: have job->fn called on a worker. => any thread, any lock but a loop's; no failure */
void vn_work_submit(struct vn_job *job);

/* vn_work_submit_waiter: the same on a thread that may wait for requests to be served, and so for
 * workers. */
void vn_work_submit_waiter(struct vn_job *job);

/* vn_work_drain: wait until nothing is queued and nobody busy. => not on a worker */
void vn_work_drain(void);

/*
 * vn_become: be the caller of a request from now on. vn_become_root: be root again.
 *
 * => on a worker, as root; 0 or -errno: still root
 */
int vn_become(fuse_req_t req);
void vn_become_root(void);

static inline void vn_become_scope_end(int *rc)
{
    if (*rc == 0)
        vn_become_root();
}

/* Be the caller until the end of the enclosing scope; `name` is what vn_become gave. */
#define VN_AS_CALLER(name, req) int name UVM_CLEANUP(vn_become_scope_end) = vn_become(req)

#endif
