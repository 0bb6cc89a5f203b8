/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A loop: one thread, one io_uring, and everything the thread reacts to.
 *
 *      transfers (struct uvm_io) --+
 *      readiness of descriptors  --+--> ring --> handlers, which never block
 *      work posted by others     --+
 *      a timeout                 --+
 *
 * The loops that carry FUSE requests, the pagedaemon and the fault thread are all loops; they
 * differ in what they watch. A ring has one submitter: its own thread. Other threads reach a loop
 * only through uvm_loop_post().
 */
#ifndef UVMD_LOOP_H
#define UVMD_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "error.h"

struct uvm_loop;

/* A piece of work for a loop's thread; the poster keeps the memory alive until fn runs. */
struct uvm_work {
    void (*fn)(struct uvm_work *work);
    STAILQ_ENTRY(uvm_work) link;
};

/*
 * One transfer between memory and a descriptor. The loop carries short transfers, EINTR and EAGAIN
 * to their end itself; a read that meets the end of the file before len bytes is -ENODATA (but see
 * uvm_loop_read_some).
 */
struct uvm_io {
    void (*done)(struct uvm_io *io); /* on the loop's thread; may free the io */
    void *buf;                       /* registered memory (uvm_loop_register) is the fast case */
    size_t len;                      /* bytes, > 0 */
    uint64_t off;                    /* bytes */
    int fd;
    bool write;
    int result;   /* out: 0, or a negative errno */
    size_t moved; /* out, of uvm_loop_read_some: bytes; else the loop's own */
    /* the loop's own */
    enum { UVM_IO_ALL, UVM_IO_SOME, UVM_IO_SYNC, UVM_IO_DATASYNC } kind;
    unsigned tries; /* EINTR and EAGAIN in a row */
    STAILQ_ENTRY(uvm_io) link;
};

/* A descriptor whose readiness for reading a loop reports. */
struct uvm_watch {
    void (*ready)(struct uvm_watch *watch);
    int fd;
    bool exclusive; /* wake only one of the loops that watch this descriptor */
    /* the loop's own */
    bool armed;
    STAILQ_ENTRY(uvm_watch) link;
};

/*
 * uvm_loop_new: make a loop; its thread does not run yet.
 *
 * => cpu: the CPU to pin the thread to, or -1
 * => on failure err says why and names the remedy (io_uring may be forbidden: sysctl, seccomp)
 */
int uvm_loop_new(const char *name, int cpu, struct uvm_loop **ret, struct uvm_error *err);

/* uvm_loop_free: => the thread has been joined; NULL is allowed */
void uvm_loop_free(struct uvm_loop *loop);

/*
 * uvm_loop_register: register [base, base + len) so that transfers inside it need no page pinning.
 *
 * => before uvm_loop_start
 * => the range must keep its pages for good: the pager map, never the arena
 * => a kernel that refuses (memlock limit) only costs speed: transfers then take the plain path
 */
void uvm_loop_register(struct uvm_loop *loop, void *base, size_t len);

/* uvm_loop_start: run the loop on a thread of its own until uvm_loop_stop. => 0 or -errno */
int uvm_loop_start(struct uvm_loop *loop);

/* uvm_loop_stop: any thread; the loop ends after the handlers that are ready, the work that is
 * posted and the transfers under way (and what these start). */
void uvm_loop_stop(struct uvm_loop *loop);

/* uvm_loop_join: wait for the thread to end. => never on the loop's own thread */
void uvm_loop_join(struct uvm_loop *loop);

/* uvm_loop_self: the loop whose thread this is, or NULL. */
struct uvm_loop *uvm_loop_self(void);

/* uvm_loop_post: have work->fn called on the loop's thread. => any thread, any lock, no failure */
void uvm_loop_post(struct uvm_loop *loop, struct uvm_work *work);

/* uvm_loop_io: start a transfer. => loop's own thread; io->done follows, always, and never before
 * this returns */
void uvm_loop_io(struct uvm_loop *loop, struct uvm_io *io);

/*
 * uvm_loop_read_some: one read that may bring less than len: io->moved says how much.
 *
 * => as uvm_loop_io. It is not carried on when it is short: where a file is read past the page cache
 *    its end may lie within a block, and a read that begins there is refused. At the end of the
 *    file, moved is 0 and that is no error
 */
void uvm_loop_read_some(struct uvm_loop *loop, struct uvm_io *io);

/* uvm_loop_sync: have what was written to io->fd, and with `all` everything else about the file, put
 * on stable storage. => as uvm_loop_io; of io only done and fd count */
void uvm_loop_sync(struct uvm_loop *loop, struct uvm_io *io, bool all);

/* uvm_loop_complete: finish an io without doing it, with io->result as it stands (fault injection).
 * => loop's own thread; io->done is called from the loop, not from here */
void uvm_loop_complete(struct uvm_loop *loop, struct uvm_io *io);

/*
 * uvm_loop_watch: report readiness of watch->fd, once. An error or a hang-up is readiness too.
 *
 * => loop's own thread, or before uvm_loop_start
 * => ready() ends the watch unless it calls uvm_loop_rearm; it may free it and close the descriptor
 */
void uvm_loop_watch(struct uvm_loop *loop, struct uvm_watch *watch);

/* uvm_loop_rearm: wait for readiness again; ready() calls it when it has drained the descriptor.
 * => loop's own thread; nothing happens on a watch that is armed, nor after uvm_loop_stop */
void uvm_loop_rearm(struct uvm_loop *loop, struct uvm_watch *watch);

/* uvm_loop_every: call fn(arg) on the loop's thread about every ms milliseconds; 0 ends it.
 * => loop's own thread, or before uvm_loop_start */
void uvm_loop_every(struct uvm_loop *loop, unsigned ms, void (*fn)(void *arg), void *arg);

#endif
