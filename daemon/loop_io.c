/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What goes into a loop's ring and what comes out of it.
 *
 *      uvm_loop_io ----> todo -----+                          +--> rest of a short one: todo
 *                                  +--> loop_fill -> kernel --+--> done()
 *      uvm_loop_watch -> unarmed --+                          +--> ready()
 *
 *      uvm_loop_complete -> finished -----------------------------> done()
 *
 * Each entry in the submission queue gives exactly one completion (nothing is multishot), and at
 * most LOOP_DEPTH transfers are in the kernel, fewer than the completion queue holds: the kernel
 * need not allocate memory to keep a completion, which under memory shortage it could lose.
 */
#include "loop_impl.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "log.h"

#define LOOP_CHUNK \
    ((size_t)1 << 30) /* of one read or write; the kernel's own limit is near 2^31 \
                       */

static void loop_tag(struct io_uring_sqe *sqe, void *ptr, enum loop_kind kind)
{
    assert(!((uintptr_t)ptr & LOOP_KIND_MASK));
    io_uring_sqe_set_data64(sqe, (uintptr_t)ptr | kind);
}

static bool loop_io_fixed(const struct uvm_loop *loop, const char *buf, size_t len)
{
    return loop->reg_len && buf >= loop->reg_base && len <= loop->reg_len &&
           (size_t)(buf - loop->reg_base) <= loop->reg_len - len;
}

static void loop_prep_io(struct uvm_loop *loop, struct io_uring_sqe *sqe, struct uvm_io *io)
{
    if (io->kind == UVM_IO_SYNC || io->kind == UVM_IO_DATASYNC) {
        io_uring_prep_fsync(sqe, io->fd, io->kind == UVM_IO_DATASYNC ? IORING_FSYNC_DATASYNC : 0);
        loop_tag(sqe, io, LOOP_IO);
        return;
    }
    char *buf = (char *)io->buf + io->moved;
    uint64_t off = io->off + io->moved;
    unsigned len = (unsigned)MIN(io->len - io->moved, LOOP_CHUNK);
    bool fixed = loop_io_fixed(loop, buf, len);

    if (io->write && fixed)
        io_uring_prep_write_fixed(sqe, io->fd, buf, len, off, 0);
    else if (io->write)
        io_uring_prep_write(sqe, io->fd, buf, len, off);
    else if (fixed)
        io_uring_prep_read_fixed(sqe, io->fd, buf, len, off, 0);
    else
        io_uring_prep_read(sqe, io->fd, buf, len, off);
    loop_tag(sqe, io, LOOP_IO);
}

/* The eventfd and the timerfd are blocking: the kernel arms a poll and completes the read later. */
static void loop_arm_counter(struct uvm_loop *loop, int fd, uint64_t *count, enum loop_kind kind,
                             bool *armed)
{
    if (*armed)
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
    if (!sqe)
        return;
    io_uring_prep_read(sqe, fd, count, sizeof(*count), 0);
    loop_tag(sqe, loop, kind);
    *armed = true;
}

void loop_fill(struct uvm_loop *loop)
{
    struct io_uring_sqe *sqe;
    struct uvm_watch *watch;
    struct uvm_io *io;

    loop_arm_counter(loop, loop->wake_fd, &loop->wake_count, LOOP_WAKE, &loop->wake_armed);
    if (loop->timer_fn)
        loop_arm_counter(loop, loop->timer_fd, &loop->timer_count, LOOP_TIMER, &loop->timer_armed);

    while ((watch = STAILQ_FIRST(&loop->unarmed))) {
        sqe = io_uring_get_sqe(&loop->ring);
        if (!sqe)
            return;
        STAILQ_REMOVE_HEAD(&loop->unarmed, link);
        io_uring_prep_poll_add(sqe, watch->fd,
                               POLLIN | (watch->exclusive ? (unsigned)EPOLLEXCLUSIVE : 0));
        loop_tag(sqe, watch, LOOP_WATCH);
    }
    while ((io = STAILQ_FIRST(&loop->todo)) && loop->depth < LOOP_DEPTH) {
        sqe = io_uring_get_sqe(&loop->ring);
        if (!sqe)
            return;
        STAILQ_REMOVE_HEAD(&loop->todo, link);
        loop->depth++;
        loop_prep_io(loop, sqe, io);
    }
}

bool loop_blocked(const struct uvm_loop *loop)
{
    if (!loop->wake_armed || !STAILQ_EMPTY(&loop->unarmed))
        return false;
    if (loop->timer_fn && !loop->timer_armed)
        return false;
    return STAILQ_EMPTY(&loop->todo) || loop->depth >= LOOP_DEPTH;
}

void loop_enter(struct uvm_loop *loop, bool wait)
{
    int error = wait ? io_uring_submit_and_wait(&loop->ring, 1)
                     : io_uring_submit_and_get_events(&loop->ring);
    if (error >= 0 || error == -EINTR)
        return;
    /* Short of memory, or completions to be reaped first: what was not submitted stays queued. */
    if (error == -EAGAIN || error == -EBUSY || error == -ENOMEM) {
        if (!io_uring_cq_ready(&loop->ring))
            sched_yield();
        return;
    }
    /* Every request this thread carries is lost: no state is left in which to go on. */
    log_error("loop %s: io_uring_enter: %s", loop->name, strerror(-error));
    abort();
}

/* A transfer is all there is to it: it is not carried on where it ended. */
static bool loop_io_over(const struct uvm_io *io, int res)
{
    return res >= 0 && io->kind != UVM_IO_ALL;
}

static void loop_io_reaped(struct uvm_loop *loop, struct uvm_io *io, int res)
{
    loop->depth--;
    if (loop_io_over(io, res)) {
        io->moved = (size_t)res;
        io->result = 0;
        io->done(io);
        return;
    }
    if (res > 0) {
        io->moved += (size_t)res;
        assert(io->moved <= io->len);
        io->tries = 0;
        io->result = 0;
    } else if (res == 0) {
        io->result = io->write ? -EIO : -ENODATA;
    } else if ((res == -EINTR || res == -EAGAIN) && io->tries < LOOP_TRIES) {
        io->tries++;
        io->result = 0;
    } else {
        io->result = res;
    }
    if (!io->result && io->moved < io->len)
        STAILQ_INSERT_TAIL(&loop->todo, io, link);
    else
        io->done(io);
}

static void loop_watch_reaped(struct uvm_loop *loop, struct uvm_watch *watch, int res)
{
    watch->armed = false;
    if (res == -ECANCELED)
        return;
    /* The owner meets the descriptor's error itself, at its next read. */
    if (res < 0)
        log_warning("loop %s: watching descriptor %d: %s", loop->name, watch->fd, strerror(-res));
    watch->ready(watch);
}

static void loop_timer_reaped(struct uvm_loop *loop, int res)
{
    loop->timer_armed = false;
    if (res == (int)sizeof(loop->timer_count) && loop->timer_fn)
        loop->timer_fn(loop->timer_arg);
}

static void loop_dispatch(struct uvm_loop *loop, uint64_t data, int res)
{
    void *ptr = (void *)(uintptr_t)(data & ~(uint64_t)LOOP_KIND_MASK);

    switch ((enum loop_kind)(data & LOOP_KIND_MASK)) {
    case LOOP_IO:
        loop_io_reaped(loop, ptr, res);
        break;
    case LOOP_WATCH:
        loop_watch_reaped(loop, ptr, res);
        break;
    case LOOP_WAKE: /* being awake is the effect: posted work runs in every round */
        loop->wake_armed = false;
        break;
    case LOOP_TIMER:
        loop_timer_reaped(loop, res);
        break;
    }
}

void loop_reap(struct uvm_loop *loop)
{
    struct loop_ios due = STAILQ_HEAD_INITIALIZER(due);
    struct io_uring_cqe *cqe;
    struct uvm_io *io;
    unsigned head, n = 0;

    /* Only what was completed before this round: a done() that completes another must not spin. */
    STAILQ_CONCAT(&due, &loop->finished);
    while ((io = STAILQ_FIRST(&due))) {
        STAILQ_REMOVE_HEAD(&due, link);
        io->done(io);
    }
    io_uring_for_each_cqe(&loop->ring, head, cqe)
    {
        loop_dispatch(loop, cqe->user_data, cqe->res);
        n++;
    }
    io_uring_cq_advance(&loop->ring, n);
}

static void loop_io_queue(struct uvm_loop *loop, struct uvm_io *io)
{
    assert(uvm_loop_self() == loop);
    io->result = 0;
    io->moved = 0;
    io->tries = 0;
    STAILQ_INSERT_TAIL(&loop->todo, io, link);
}

void uvm_loop_io(struct uvm_loop *loop, struct uvm_io *io)
{
    assert(io->len > 0);
    io->kind = UVM_IO_ALL;
    loop_io_queue(loop, io);
}

void uvm_loop_read_some(struct uvm_loop *loop, struct uvm_io *io)
{
    assert(io->len > 0 && !io->write);
    io->kind = UVM_IO_SOME;
    loop_io_queue(loop, io);
}

void uvm_loop_sync(struct uvm_loop *loop, struct uvm_io *io, bool all)
{
    io->kind = all ? UVM_IO_SYNC : UVM_IO_DATASYNC;
    io->write = true;
    io->len = 1; /* so that it is not over before it has begun */
    loop_io_queue(loop, io);
}

void uvm_loop_complete(struct uvm_loop *loop, struct uvm_io *io)
{
    assert(uvm_loop_self() == loop);
    STAILQ_INSERT_TAIL(&loop->finished, io, link);
}

void uvm_loop_watch(struct uvm_loop *loop, struct uvm_watch *watch)
{
    assert(uvm_loop_self() == loop || !loop->started);
    watch->armed = false;
    uvm_loop_rearm(loop, watch);
}

void uvm_loop_rearm(struct uvm_loop *loop, struct uvm_watch *watch)
{
    assert(uvm_loop_self() == loop || !loop->started);
    if (watch->armed || loop->ending)
        return;
    watch->armed = true;
    STAILQ_INSERT_TAIL(&loop->unarmed, watch, link);
}

void uvm_loop_every(struct uvm_loop *loop, unsigned ms, void (*fn)(void *arg), void *arg)
{
    assert(uvm_loop_self() == loop || !loop->started);
    struct timespec period = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    struct itimerspec spec = {.it_interval = period, .it_value = period};

    loop->timer_fn = ms ? fn : NULL;
    loop->timer_arg = arg;
    if (timerfd_settime(loop->timer_fd, 0, &spec, NULL))
        log_error("loop %s: timerfd_settime: %s", loop->name, strerror(errno));
}
