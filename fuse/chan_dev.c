/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The /dev/fuse channel: every loop watches the one descriptor, exclusively, and reads requests
 * until there are none.
 *
 * A request is read into a buffer of a fixed pool. Most requests are answered before the next is
 * read and use the loop's buffer again; a WRITE that must wait keeps it. When the pool is used up
 * the loops stop reading until a WRITE ends, which needs page-out and nothing of FUSE. The last
 * buffers are for writes that the kernel drives: while the revoker waits for such a write, no
 * number of waiting write(2) calls may keep it from being read; those have their payload, or the
 * beginning of it, copied aside instead (payload.h).
 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "../daemon/lock.h"
#include "../daemon/log.h"
#include "payload.h"

#define PAYLOADS        6    /* buffers besides one a loop: a bound on memory, 1 MiB each */
#define PAYLOADS_URGENT 3    /* of these, only for writes that the kernel drives */
#define SETTLE          4096 /* requests a loop reads at most to settle */
#define BATCH           16   /* requests before the loop looks at its other work */

/* libfuse reads up to this much: 256 pages of payload and a page of headers (FUSE_MAX_MAX_PAGES).
 */
#define PAYLOAD_SIZE (256u * 4096 + 4096)

struct chan_loop {
    struct uvm_loop *loop;
    struct uvm_watch watch;
    struct uvm_work resume;
    struct uvm_work settle;
    struct uvm_payload *current; /* what the next request is read into */
    char *read_buffer;
    bool paused; /* chan.lock */
};

static struct {
    struct fuse_session *se;
    struct chan_loop *loops;
    unsigned nloops;
    void (*ended)(void);
    _Atomic bool over; /* no more requests are read */
    sem_t settled;     /* counts the loops that have read all there was */
    struct uvm_lock lock;
    SLIST_HEAD(, uvm_payload) pool; /* (lock) */
    unsigned npool;                 /* (lock) */
} chan;

static __thread struct chan_loop *chan_self;

char *uvm_read_buffer(void)
{
    return chan_self->read_buffer;
}

const char *uvm_payload_keep(const char *data, uint64_t off, size_t len, int flags,
                             struct uvm_payload **ret, size_t *ret_len)
{
    struct chan_loop *cl = chan_self;
    bool take;

    {
        UVM_LOCK_SCOPE(&chan.lock);
        take = flags & UVM_PAYLOAD_URGENT || chan.npool > PAYLOADS_URGENT;
    }
    if (take) {
        *ret = cl->current;
        *ret_len = len;
        cl->current = NULL;
        return data;
    }
    *ret = uvm_payload_aside(data, off, len, flags, ret_len);
    return *ret ? (*ret)->mem : NULL;
}

void uvm_payload_release(struct uvm_payload *payload)
{
    if (!payload)
        return;
    if (!payload->pooled) {
        uvm_payload_free(payload);
        return;
    }
    UVM_LOCK_SCOPE(&chan.lock);
    SLIST_INSERT_HEAD(&chan.pool, payload, link);
    chan.npool++;
    for (unsigned i = 0; i < chan.nloops; i++) {
        if (chan.loops[i].paused) {
            chan.loops[i].paused = false;
            uvm_loop_post(chan.loops[i].loop, &chan.loops[i].resume);
            break;
        }
    }
}

/* Have a buffer to read into. => false: the loop is paused */
static bool ensure_buffer(struct chan_loop *cl)
{
    if (cl->current)
        return true;
    UVM_LOCK_SCOPE(&chan.lock);
    cl->current = SLIST_FIRST(&chan.pool);
    if (!cl->current) {
        cl->paused = true;
        return false;
    }
    SLIST_REMOVE_HEAD(&chan.pool, link);
    chan.npool--;
    return true;
}

static void session_over(int rc)
{
    if (rc < 0)
        log_error("cannot read FUSE requests: %s", strerror(-rc));
    if (!atomic_exchange(&chan.over, true))
        chan.ended();
}

/* Read and handle one request. => 1; 0: there is none now, or no more to come; -EAGAIN: paused */
static int dev_one(struct chan_loop *cl)
{
    if (!ensure_buffer(cl))
        return -EAGAIN;
    struct fuse_buf buf = {.mem = cl->current->mem};
    int rc = fuse_session_receive_buf(chan.se, &buf);
    if (rc == -EINTR)
        return 1;
    if (rc == -EAGAIN)
        return 0;
    if (rc <= 0) {
        session_over(rc);
        return 0;
    }
    fuse_session_process_buf(chan.se, &buf);
    return 1;
}

static void dev_ready(struct uvm_watch *watch)
{
    struct chan_loop *cl = UVM_CONTAINER_OF(watch, struct chan_loop, watch);
    int rc = 1;

    chan_self = cl;
    for (unsigned i = 0; i < BATCH && rc == 1 && !chan.over; i++)
        rc = dev_one(cl);
    if (rc >= 0 && !chan.over)
        uvm_loop_rearm(cl->loop, watch);
}

static void dev_quiesce(void)
{
    chan.over = true;
}

static void settle_one(struct uvm_work *work)
{
    struct chan_loop *cl = UVM_CONTAINER_OF(work, struct chan_loop, settle);

    chan_self = cl;
    /* A bound, because clients may ask faster than they are answered. */
    for (unsigned i = 0; i < SETTLE && dev_one(cl) == 1; i++)
        ;
    if (sem_post(&chan.settled))
        abort();
}

static void dev_settle(void)
{
    for (unsigned i = 0; i < chan.nloops; i++)
        uvm_loop_post(chan.loops[i].loop, &chan.loops[i].settle);
    for (unsigned i = 0; i < chan.nloops; i++)
        while (sem_wait(&chan.settled) && errno == EINTR)
            ;
}

static void dev_resume(struct uvm_work *work)
{
    struct chan_loop *cl = UVM_CONTAINER_OF(work, struct chan_loop, resume);
    dev_ready(&cl->watch);
}

static void dev_stop(void)
{
    struct uvm_payload *payload;

    for (unsigned i = 0; i < chan.nloops; i++) {
        if (chan.loops[i].current)
            uvm_payload_free(chan.loops[i].current);
        free(chan.loops[i].read_buffer);
    }
    while ((payload = SLIST_FIRST(&chan.pool))) {
        SLIST_REMOVE_HEAD(&chan.pool, link);
        uvm_payload_free(payload);
    }
    free(chan.loops);
    chan.loops = NULL;
    chan.nloops = 0;
}

static int dev_alloc(unsigned nloops)
{
    chan.loops = calloc(nloops, sizeof(*chan.loops));
    if (!chan.loops)
        return -ENOMEM;
    chan.nloops = nloops;
    for (unsigned i = 0; i < nloops; i++) {
        chan.loops[i].read_buffer = malloc(UVM_READ_BUFFER_SIZE);
        if (!chan.loops[i].read_buffer)
            return -ENOMEM;
    }
    for (unsigned i = 0; i < PAYLOADS + nloops; i++) {
        struct uvm_payload *payload = uvm_payload_buffer(PAYLOAD_SIZE);
        if (!payload)
            return -ENOMEM;
        SLIST_INSERT_HEAD(&chan.pool, payload, link);
        chan.npool++;
    }
    return 0;
}

static int dev_start(struct fuse_session *se, struct uvm_loop **loops, unsigned nloops,
                     void (*ended)(void), struct uvm_error *err)
{
    int fd = fuse_session_fd(se), flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return uvm_fail(err, -errno, "/dev/fuse: %s", strerror(errno));
    uvm_lock_init(&chan.lock, UVM_LR_PAGERMAP);
    SLIST_INIT(&chan.pool);
    chan.npool = 0;
    chan.se = se;
    chan.ended = ended;
    chan.over = false;
    sem_init(&chan.settled, 0, 0);
    int rc = dev_alloc(nloops);
    if (rc) {
        dev_stop();
        return uvm_fail(err, rc, "no memory for request buffers");
    }
    for (unsigned i = 0; i < nloops; i++) {
        struct chan_loop *cl = &chan.loops[i];
        cl->loop = loops[i];
        cl->resume.fn = dev_resume;
        cl->settle.fn = settle_one;
        cl->watch = (struct uvm_watch){.ready = dev_ready, .fd = fd, .exclusive = nloops > 1};
        uvm_loop_watch(loops[i], &cl->watch);
    }
    return 0;
}

const struct uvm_channel_ops uvm_channel_dev = {
    .name = "dev",
    .start = dev_start,
    .settle = dev_settle,
    .quiesce = dev_quiesce,
    .stop = dev_stop,
};
