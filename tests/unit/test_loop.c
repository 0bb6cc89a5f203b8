/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop: transfers, posted work, watches, the timer and the end. Everything that a test does on
 * a loop runs as posted work; the test's own thread waits at a gate, which has a deadline.
 */
#include "daemon/loop.h"
#include "daemon/loop_impl.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "daemon/util.h"

#define DEADLINE_S 30

/* A counter that threads raise and a test waits for. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned count;
};

#define GATE_INIT                                              \
    {                                                          \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 \
    }

static void gate_raise(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->count++;
    pthread_cond_broadcast(&gate->cond);
    pthread_mutex_unlock(&gate->mutex);
}

static unsigned gate_count(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    unsigned count = gate->count;
    pthread_mutex_unlock(&gate->mutex);
    return count;
}

static void gate_wait(struct gate *gate, unsigned count)
{
    struct timespec until;
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&gate->mutex);
    while (gate->count < count && !error)
        error = pthread_cond_timedwait(&gate->cond, &gate->mutex, &until);
    pthread_mutex_unlock(&gate->mutex);
    ck_assert_msg(!error, "deadline: %u of %u", gate->count, count);
}

/* Call fn(arg) on a loop and wait for it. */
struct call {
    struct uvm_work work;
    void (*fn)(void *arg);
    void *arg;
    struct gate gate;
};

static void call_run(struct uvm_work *work)
{
    struct call *call = UVM_CONTAINER_OF(work, struct call, work);
    if (call->fn)
        call->fn(call->arg);
    gate_raise(&call->gate);
}

static void call_on(struct uvm_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct call call = {.work.fn = call_run, .fn = fn, .arg = arg, .gate = GATE_INIT};
    uvm_loop_post(loop, &call.work);
    gate_wait(&call.gate, 1);
}

/* What handlers asked of the ring before is in the kernel when this returns. */
static void settle(struct uvm_loop *loop)
{
    call_on(loop, NULL, NULL);
    call_on(loop, NULL, NULL);
}

static struct uvm_loop *loop_make(void)
{
    struct uvm_error err = {0};
    struct uvm_loop *loop = NULL;
    ck_assert_msg(uvm_loop_new("test", -1, &loop, &err) == 0, "%s", err.msg);
    return loop;
}

static struct uvm_loop *loop_run(void)
{
    struct uvm_loop *loop = loop_make();
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    return loop;
}

static void loop_end(struct uvm_loop *loop)
{
    uvm_loop_stop(loop);
    uvm_loop_join(loop);
    uvm_loop_free(loop);
}

/* A file without a name: nothing to remove afterwards. */
static int temp_file(void)
{
    const char *tmp = getenv("TMPDIR");
    char dir[4096], path[4128];

    snprintf(dir, sizeof(dir), "%s/uvm-loop-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int error = errno;
    unlink(path);
    rmdir(dir);
    ck_assert_msg(fd >= 0, "%s", strerror(error));
    return fd;
}

/* One transfer, started as posted work. */
struct transfer {
    struct uvm_io io;
    struct uvm_loop *loop;
    struct gate gate;
    bool complete, inside, early;
};

static void transfer_done(struct uvm_io *io)
{
    struct transfer *transfer = UVM_CONTAINER_OF(io, struct transfer, io);
    transfer->early = transfer->inside || uvm_loop_self() != transfer->loop;
    gate_raise(&transfer->gate);
}

static void transfer_start(void *arg)
{
    struct transfer *transfer = arg;
    transfer->inside = true;
    if (transfer->complete)
        uvm_loop_complete(transfer->loop, &transfer->io);
    else
        uvm_loop_io(transfer->loop, &transfer->io);
    transfer->inside = false;
}

static int transfer(struct uvm_loop *loop, int fd, void *buf, size_t len, uint64_t off, bool write)
{
    struct transfer transfer = {
        .io = {.done = transfer_done, .buf = buf, .len = len, .off = off, .fd = fd, .write = write},
        .loop = loop,
        .gate = GATE_INIT,
    };
    call_on(loop, transfer_start, &transfer);
    gate_wait(&transfer.gate, 1);
    ck_assert(!transfer.early);
    return transfer.io.result;
}

static void pattern(unsigned char *buf, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = (unsigned char)((i * 31 + i / 251 + seed) & 0xff);
}

#define BIG ((size_t)300 * 1024 + 77)

static void check_file(struct uvm_loop *loop, unsigned char *out, unsigned char *in)
{
    CLEANUP_CLOSE int fd = temp_file();

    pattern(out, BIG, 3);
    memset(in, 0, BIG);
    ck_assert_int_eq(transfer(loop, fd, out, BIG, 4096, true), 0);
    ck_assert_int_eq(transfer(loop, fd, in, BIG, 4096, false), 0);
    ck_assert_mem_eq(in, out, BIG);
    ck_assert_int_eq(transfer(loop, fd, in, 4096, 0, false), 0);
    for (unsigned i = 0; i < 4096; i++)
        ck_assert_int_eq(in[i], 0);
}

START_TEST(test_transfer_plain)
{
    struct uvm_loop *loop = loop_run();
    CLEANUP_FREE unsigned char *out = malloc(BIG), *in = malloc(BIG);
    check_file(loop, out, in);
    loop_end(loop);
}
END_TEST

START_TEST(test_transfer_registered)
{
    size_t len = uvm_round_page(2 * BIG);
    unsigned char *pool =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    ck_assert(pool != MAP_FAILED);
    struct uvm_loop *loop = loop_make();
    uvm_loop_register(loop, pool, len);
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    check_file(loop, pool, pool + BIG);

    /* Buffers outside the range and across its end take the plain path. */
    CLEANUP_FREE unsigned char *out = malloc(BIG), *in = malloc(BIG);
    check_file(loop, out, in);
    check_file(loop, pool + 1, in);
    loop_end(loop);
    munmap(pool, len);
}
END_TEST

START_TEST(test_end_of_file)
{
    struct uvm_loop *loop = loop_run();
    CLEANUP_CLOSE int fd = temp_file();
    char buf[512] = {0};

    ck_assert_int_eq(transfer(loop, fd, buf, 100, 0, true), 0);
    ck_assert_int_eq(transfer(loop, fd, buf, 100, 0, false), 0);
    ck_assert_int_eq(transfer(loop, fd, buf, 101, 0, false), -ENODATA);
    ck_assert_int_eq(transfer(loop, fd, buf, 1, 100, false), -ENODATA);
    loop_end(loop);
}
END_TEST

START_TEST(test_errors)
{
    struct uvm_loop *loop = loop_run();
    CLEANUP_CLOSE int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CLEANUP_CLOSE int file = temp_file();
    char buf[64] = {0};

    ck_assert_int_eq(transfer(loop, -1, buf, sizeof(buf), 0, false), -EBADF);
    ck_assert_int_eq(transfer(loop, -1, buf, sizeof(buf), 0, true), -EBADF);
    ck_assert_int_eq(transfer(loop, full, buf, sizeof(buf), 0, false), -EBADF);
    ck_assert_int_eq(transfer(loop, full, buf, sizeof(buf), 0, true), -ENOSPC);
    ck_assert_int_eq(transfer(loop, file, NULL, sizeof(buf), 0, true), -EFAULT);
    loop_end(loop);
}
END_TEST

/* A transfer that meets EAGAIN: a read that the ring is told not to wait for. */
static void start_eagain(void *arg)
{
    struct transfer *transfer = arg;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&transfer->loop->ring);
    io_uring_prep_read(sqe, transfer->io.fd, transfer->io.buf, (unsigned)transfer->io.len, 0);
    sqe->rw_flags = RWF_NOWAIT;
    io_uring_sqe_set_data64(sqe, (uintptr_t)&transfer->io | LOOP_IO);
    transfer->loop->depth++;
}

START_TEST(test_eagain)
{
    struct uvm_loop *loop = loop_run();
    char buf[4] = "";
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    struct transfer transfer = {
        .io = {.done = transfer_done, .buf = buf, .len = sizeof(buf), .fd = fds[0]},
        .loop = loop,
        .gate = GATE_INIT,
    };

    /* Patience has an end. */
    transfer.io.tries = LOOP_TRIES;
    call_on(loop, start_eagain, &transfer);
    gate_wait(&transfer.gate, 1);
    ck_assert_int_eq(transfer.io.result, -EAGAIN);

    transfer.io.tries = LOOP_TRIES - 1;
    call_on(loop, start_eagain, &transfer);
    settle(loop);
    ck_assert_uint_eq(gate_count(&transfer.gate), 1);
    ck_assert_int_eq(write(fds[1], "abcd", 4), 4);
    gate_wait(&transfer.gate, 2);
    ck_assert_int_eq(transfer.io.result, 0);
    ck_assert_mem_eq(buf, "abcd", 4);
    close(fds[0]);
    close(fds[1]);
    loop_end(loop);
}
END_TEST

/* A pipe hands over what is there: the loop carries the short reads to the end. */
START_TEST(test_short_reads)
{
    struct uvm_loop *loop = loop_run();
    unsigned char out[4000], in[4000] = {0};
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    struct transfer transfer = {
        .io = {.done = transfer_done, .buf = in, .len = sizeof(in), .fd = fds[0]},
        .loop = loop,
        .gate = GATE_INIT,
    };

    pattern(out, sizeof(out), 9);
    call_on(loop, transfer_start, &transfer);
    for (size_t at = 0; at < sizeof(out); at += 500) {
        settle(loop);
        ck_assert_uint_eq(gate_count(&transfer.gate), 0);
        ck_assert_int_eq(write(fds[1], out + at, 500), 500);
    }
    gate_wait(&transfer.gate, 1);
    ck_assert_int_eq(transfer.io.result, 0);
    ck_assert_mem_eq(in, out, sizeof(in));
    close(fds[0]);
    close(fds[1]);
    loop_end(loop);
}
END_TEST

static void start_some(void *arg)
{
    struct transfer *transfer = arg;
    transfer->inside = true;
    uvm_loop_read_some(transfer->loop, &transfer->io);
    transfer->inside = false;
}

/* A read that may bring less. => how much it brought, or -errno */
static ssize_t read_some(struct uvm_loop *loop, int fd, void *buf, size_t len, uint64_t off)
{
    struct transfer transfer = {
        .io = {.done = transfer_done, .buf = buf, .len = len, .off = off, .fd = fd},
        .loop = loop,
        .gate = GATE_INIT,
    };
    call_on(loop, start_some, &transfer);
    gate_wait(&transfer.gate, 1);
    ck_assert(!transfer.early);
    return transfer.io.result ? transfer.io.result : (ssize_t)transfer.io.moved;
}

START_TEST(test_read_some)
{
    struct uvm_loop *loop = loop_run();
    CLEANUP_CLOSE int fd = temp_file();
    char in[8192];
    int fds[2];

    ck_assert_int_eq(pwrite(fd, "some bytes", 10, 4990), 10);
    ck_assert_int_eq(read_some(loop, fd, in, 5000, 0), 5000);
    ck_assert_int_eq(read_some(loop, fd, in, sizeof(in), 0), 5000);
    ck_assert_mem_eq(in + 4990, "some bytes", 10);
    ck_assert_int_eq(read_some(loop, fd, in, 100, 4995), 5);
    ck_assert_int_eq(read_some(loop, fd, in, 100, 5000), 0);
    ck_assert_int_eq(read_some(loop, fd, in, 100, 1 << 30), 0);
    ck_assert_int_eq(read_some(loop, -1, in, 100, 0), -EBADF);

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(write(fds[1], "abcd", 4), 4);
    ck_assert_int_eq(read_some(loop, fds[0], in, 100, 0), 4);
    close(fds[0]);
    close(fds[1]);
    loop_end(loop);
}
END_TEST

/* Past the page cache, where a read may not begin at the end of the file that is within a block. */
START_TEST(test_read_some_direct)
{
    struct uvm_loop *loop = loop_run();
    CLEANUP_CLOSE int fd = temp_file();
    void *in;

    ck_assert_int_eq(posix_memalign(&in, 4096, 8192), 0);
    ck_assert_int_eq(pwrite(fd, "x", 1, 4999), 1);
    ck_assert_int_eq(fsync(fd), 0);
    if (fcntl(fd, F_SETFL, O_DIRECT) == 0) { /* else not on this file system */
        ck_assert_int_eq(read_some(loop, fd, in, 8192, 0), 5000);
        ck_assert_int_eq(read_some(loop, fd, in, 4096, 8192), 0);
    }
    free(in);
    loop_end(loop);
}
END_TEST

static bool sync_all;

static void start_sync(void *arg)
{
    struct transfer *transfer = arg;
    uvm_loop_sync(transfer->loop, &transfer->io, sync_all);
}

static int sync_fd(struct uvm_loop *loop, int fd)
{
    struct transfer transfer = {
        .io = {.done = transfer_done, .fd = fd}, .loop = loop, .gate = GATE_INIT};
    call_on(loop, start_sync, &transfer);
    gate_wait(&transfer.gate, 1);
    ck_assert(!transfer.early);
    return transfer.io.result;
}

START_TEST(test_sync)
{
    struct uvm_loop *loop = loop_run();
    CLEANUP_CLOSE int fd = temp_file();
    CLEANUP_CLOSE int event = eventfd(0, EFD_CLOEXEC);

    sync_all = _i;
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
    ck_assert_int_eq(sync_fd(loop, fd), 0);
    ck_assert_int_eq(sync_fd(loop, event), -EINVAL);
    ck_assert_int_eq(sync_fd(loop, -1), -EBADF);
    loop_end(loop);
}
END_TEST

START_TEST(test_complete)
{
    struct uvm_loop *loop = loop_run();
    struct transfer transfer = {
        .io = {.done = transfer_done, .fd = -1, .result = -EIO},
        .loop = loop,
        .gate = GATE_INIT,
        .complete = true,
    };
    call_on(loop, transfer_start, &transfer);
    gate_wait(&transfer.gate, 1);
    ck_assert(!transfer.early);
    ck_assert_int_eq(transfer.io.result, -EIO);
    loop_end(loop);
}
END_TEST

/* Many times what the ring holds, each freed by its done(), with or without a stop behind them. */
#define MANY 6000

struct many {
    struct uvm_loop *loop;
    int fd;
    bool stop;
    unsigned done, failed, wrong;
    struct gate gate;
};

struct many_io {
    struct uvm_io io;
    struct many *many;
    unsigned char buf[64];
};

static void many_done(struct uvm_io *io)
{
    struct many_io *one = UVM_CONTAINER_OF(io, struct many_io, io);
    struct many *many = one->many;
    unsigned char want[sizeof(one->buf)];

    pattern(want, sizeof(want), (unsigned)(io->off / sizeof(want)));
    many->failed += io->result != 0;
    many->wrong += memcmp(want, one->buf, sizeof(want)) != 0;
    free(one);
    if (++many->done == MANY)
        gate_raise(&many->gate);
}

static void many_start(void *arg)
{
    struct many *many = arg;
    for (unsigned i = 0; i < MANY; i++) {
        struct many_io *one = calloc(1, sizeof(*one));
        one->many = many;
        one->io = (struct uvm_io){.done = many_done,
                                  .buf = one->buf,
                                  .len = sizeof(one->buf),
                                  .off = i * sizeof(one->buf),
                                  .fd = many->fd};
        uvm_loop_io(many->loop, &one->io);
    }
    if (many->stop)
        uvm_loop_stop(many->loop);
}

static void check_many(bool stop)
{
    CLEANUP_CLOSE int fd = temp_file();
    struct many many = {.loop = loop_run(), .fd = fd, .stop = stop, .gate = GATE_INIT};

    for (unsigned i = 0; i < MANY; i++) {
        unsigned char buf[64];
        pattern(buf, sizeof(buf), i);
        ck_assert_int_eq(pwrite(fd, buf, sizeof(buf), (off_t)(i * sizeof(buf))), sizeof(buf));
    }
    call_on(many.loop, many_start, &many);
    if (!stop)
        gate_wait(&many.gate, 1);
    loop_end(many.loop);
    ck_assert_uint_eq(many.done, MANY);
    ck_assert_uint_eq(many.failed, 0);
    ck_assert_uint_eq(many.wrong, 0);
}

START_TEST(test_many_transfers)
{
    check_many(false);
}
END_TEST

START_TEST(test_stop_waits_for_transfers)
{
    check_many(true);
}
END_TEST

/* Posts from several threads. */
#define POSTERS 4
#define POSTS   5000

struct poster {
    pthread_t thread;
    struct uvm_loop *loop;
    struct gate *gate;
    unsigned next, disorder; /* the loop's thread */
    struct post {
        struct uvm_work work;
        struct poster *poster;
        unsigned seq;
    } post[POSTS];
};

static void post_run(struct uvm_work *work)
{
    struct post *post = UVM_CONTAINER_OF(work, struct post, work);
    struct poster *poster = post->poster;
    poster->disorder += post->seq != poster->next;
    if (++poster->next == POSTS)
        gate_raise(poster->gate);
}

static void *poster_main(void *arg)
{
    struct poster *poster = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        poster->post[i] = (struct post){.work.fn = post_run, .poster = poster, .seq = i};
        uvm_loop_post(poster->loop, &poster->post[i].work);
        if (i % 64 == 0)
            sched_yield(); /* let the loop fall asleep now and then */
    }
    return NULL;
}

START_TEST(test_posts)
{
    struct uvm_loop *loop = loop_run();
    struct gate gate = GATE_INIT;
    CLEANUP_FREE struct poster *poster = calloc(POSTERS, sizeof(*poster));

    for (unsigned i = 0; i < POSTERS; i++) {
        poster[i].loop = loop;
        poster[i].gate = &gate;
        ck_assert_int_eq(pthread_create(&poster[i].thread, NULL, poster_main, &poster[i]), 0);
    }
    gate_wait(&gate, POSTERS);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(poster[i].thread, NULL);
    loop_end(loop);
    for (unsigned i = 0; i < POSTERS; i++) {
        ck_assert_uint_eq(poster[i].next, POSTS);
        ck_assert_uint_eq(poster[i].disorder, 0);
    }
}
END_TEST

/* Work that posts itself, and starts a transfer, a number of times. */
struct chain {
    struct uvm_work work;
    struct uvm_io io;
    struct uvm_loop *loop;
    struct gate *hold;
    unsigned left, done;
    char buf[16];
};

static void chain_done(struct uvm_io *io)
{
    struct chain *chain = UVM_CONTAINER_OF(io, struct chain, io);
    chain->done++;
    if (--chain->left)
        uvm_loop_post(chain->loop, &chain->work);
}

static void chain_run(struct uvm_work *work)
{
    struct chain *chain = UVM_CONTAINER_OF(work, struct chain, work);
    if (chain->hold)
        gate_wait(chain->hold, 1);
    uvm_loop_io(chain->loop, &chain->io);
}

START_TEST(test_stop_runs_posted)
{
    struct uvm_loop *loop = loop_run();
    struct gate hold = GATE_INIT, gate = GATE_INIT;
    CLEANUP_FREE struct poster *poster = calloc(1, sizeof(*poster));
    CLEANUP_CLOSE int fd = temp_file();
    struct chain chain = {.work.fn = chain_run, .loop = loop, .hold = &hold, .left = 5};

    chain.io = (struct uvm_io){
        .done = chain_done, .buf = chain.buf, .len = sizeof(chain.buf), .fd = fd, .write = true};
    poster->loop = loop;
    poster->gate = &gate;
    uvm_loop_post(loop, &chain.work); /* keeps the loop busy until the stop is in */
    poster_main(poster);
    uvm_loop_stop(loop);
    gate_raise(&hold);
    uvm_loop_join(loop);
    uvm_loop_free(loop);
    ck_assert_uint_eq(poster->next, POSTS);
    ck_assert_uint_eq(poster->disorder, 0);
    ck_assert_uint_eq(chain.done, 5);
}
END_TEST

START_TEST(test_before_start)
{
    struct uvm_loop *loop = loop_make();
    struct gate gate = GATE_INIT;
    CLEANUP_FREE struct poster *poster = calloc(1, sizeof(*poster));

    poster->loop = loop;
    poster->gate = &gate;
    poster_main(poster);
    uvm_loop_stop(loop);
    ck_assert_uint_eq(poster->next, 0);
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    uvm_loop_join(loop);
    uvm_loop_free(loop);
    ck_assert_uint_eq(poster->next, POSTS);

    uvm_loop_free(loop_make());
    uvm_loop_free(NULL);
}
END_TEST

/* Watches. */
struct watcher {
    struct uvm_watch watch;
    struct uvm_loop *loop;
    struct gate *gate;
    bool again, drain, eof;
};

static void watcher_ready(struct uvm_watch *watch)
{
    struct watcher *watcher = UVM_CONTAINER_OF(watch, struct watcher, watch);
    char byte;
    if (watcher->drain && read(watch->fd, &byte, 1) == 0)
        watcher->eof = true;
    if (watcher->again && !watcher->eof)
        uvm_loop_rearm(watcher->loop, watch);
    gate_raise(watcher->gate);
}

static void watcher_start(void *arg)
{
    struct watcher *watcher = arg;
    uvm_loop_watch(watcher->loop, &watcher->watch);
    uvm_loop_rearm(watcher->loop, &watcher->watch); /* armed already: nothing */
}

START_TEST(test_watch)
{
    struct gate gate = GATE_INIT;
    struct uvm_loop *loop = loop_run();
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    struct watcher watcher = {.watch = {.ready = watcher_ready, .fd = fds[0]},
                              .loop = loop,
                              .gate = &gate,
                              .again = true,
                              .drain = true};

    call_on(loop, watcher_start, &watcher);
    for (unsigned i = 0; i < 20; i++) {
        settle(loop);
        ck_assert_uint_eq(gate_count(&gate), i);
        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        gate_wait(&gate, i + 1);
    }
    close(fds[1]); /* a hang-up, without POLLIN */
    gate_wait(&gate, 21);
    settle(loop);
    ck_assert(watcher.eof);
    ck_assert_uint_eq(gate_count(&gate), 21);
    close(fds[0]);

    /* A descriptor that cannot be watched is reported to its owner as well. */
    watcher.watch.fd = -1;
    watcher.drain = watcher.again = false;
    call_on(loop, watcher_start, &watcher);
    gate_wait(&gate, 22);
    loop_end(loop);
}
END_TEST

/* More watches than the submission queue has entries, made before the loop runs. */
#define WATCHES 1200

START_TEST(test_watches_before_start)
{
    struct gate gate = GATE_INIT;
    struct uvm_loop *loop = loop_make();
    CLEANUP_FREE struct watcher *watcher = calloc(WATCHES, sizeof(*watcher));
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    for (unsigned i = 0; i < WATCHES; i++) {
        watcher[i] = (struct watcher){
            .watch = {.ready = watcher_ready, .fd = fds[0]}, .loop = loop, .gate = &gate};
        uvm_loop_watch(loop, &watcher[i].watch);
    }
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    settle(loop);
    ck_assert_uint_eq(gate_count(&gate), 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    gate_wait(&gate, WATCHES);
    loop_end(loop);
    ck_assert_uint_eq(gate_count(&gate), WATCHES);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* How many of two loops that watch a descriptor one event wakes. */
static void check_two_loops(bool exclusive, unsigned wakes)
{
    struct gate gate = GATE_INIT;
    CLEANUP_CLOSE int fd = eventfd(0, EFD_CLOEXEC);
    struct watcher watcher[2];
    uint64_t one = 1;

    for (unsigned i = 0; i < 2; i++)
        watcher[i] =
            (struct watcher){.watch = {.ready = watcher_ready, .fd = fd, .exclusive = exclusive},
                             .loop = loop_run(),
                             .gate = &gate};
    for (unsigned round = 1; round <= 20; round++) {
        for (unsigned i = 0; i < 2; i++)
            if (round == 1 || !watcher[i].watch.armed)
                call_on(watcher[i].loop, watcher_start, &watcher[i]);
        settle(watcher[0].loop);
        settle(watcher[1].loop);
        ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
        gate_wait(&gate, round * wakes);
        settle(watcher[0].loop);
        settle(watcher[1].loop);
        ck_assert_uint_eq(gate_count(&gate), round * wakes);
        ck_assert_int_eq(read(fd, &one, sizeof(one)), sizeof(one));
    }
    loop_end(watcher[0].loop);
    loop_end(watcher[1].loop);
}

START_TEST(test_watch_exclusive)
{
    check_two_loops(true, 1);
}
END_TEST

START_TEST(test_watch_shared)
{
    check_two_loops(false, 2);
}
END_TEST

/* The timer. */
struct ticker {
    struct uvm_loop *loop;
    unsigned ms;
    struct gate gate;
};

static void ticker_tick(void *arg)
{
    struct ticker *ticker = arg;
    gate_raise(&ticker->gate);
}

static void ticker_start(void *arg)
{
    struct ticker *ticker = arg;
    uvm_loop_every(ticker->loop, ticker->ms, ticker_tick, ticker);
}

START_TEST(test_every)
{
    struct uvm_loop *loop = loop_make();
    struct ticker first = {.loop = loop, .ms = 1, .gate = GATE_INIT};
    struct ticker second = {.loop = loop, .ms = 2, .gate = GATE_INIT};
    struct ticker clock = {.loop = loop_run(), .ms = 2, .gate = GATE_INIT};

    ticker_start(&first);
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    gate_wait(&first.gate, 5);

    call_on(loop, ticker_start, &second); /* takes the first one's place */
    unsigned count = gate_count(&first.gate);
    gate_wait(&second.gate, 5);
    ck_assert_uint_eq(gate_count(&first.gate), count);

    second.ms = 0;
    call_on(loop, ticker_start, &second);
    count = gate_count(&second.gate);
    call_on(clock.loop, ticker_start, &clock);
    gate_wait(&clock.gate, 8);
    ck_assert_uint_eq(gate_count(&second.gate), count);

    second.ms = 1; /* and again */
    call_on(loop, ticker_start, &second);
    gate_wait(&second.gate, count + 3);
    loop_end(loop);
    loop_end(clock.loop);
}
END_TEST

/* The thread. */
struct whoami {
    struct uvm_loop *self;
    int cpu;
    bool blocked;
    char name[16];
};

static void whoami_ask(void *arg)
{
    struct whoami *whoami = arg;
    sigset_t set;
    whoami->self = uvm_loop_self();
    whoami->cpu = sched_getcpu();
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    whoami->blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR1);
    pthread_getname_np(pthread_self(), whoami->name, sizeof(whoami->name));
}

START_TEST(test_thread)
{
    struct uvm_error err = {0};
    struct uvm_loop *loop;
    struct whoami whoami = {0};
    cpu_set_t set;
    int cpu = 0;
    sigset_t mask;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    while (!CPU_ISSET((size_t)cpu, &set))
        cpu++;
    ck_assert_int_eq(uvm_loop_new("a-name-that-is-too-long", cpu, &loop, &err), 0);
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ck_assert(!sigismember(&mask, SIGUSR1));
    call_on(loop, whoami_ask, &whoami);
    ck_assert_ptr_eq(whoami.self, loop);
    ck_assert_int_eq(whoami.cpu, cpu);
    ck_assert(whoami.blocked);
    ck_assert_str_eq(whoami.name, "a-name-that-is-");
    ck_assert_ptr_null(uvm_loop_self());
    loop_end(loop);

    /* A CPU that does not exist costs the pinning only. */
    ck_assert_int_eq(uvm_loop_new("nowhere", 1 << 20, &loop, &err), 0);
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    call_on(loop, whoami_ask, &whoami);
    ck_assert_ptr_eq(whoami.self, loop);
    loop_end(loop);
}
END_TEST

static Suite *suite_loop(void)
{
    struct uvm_error err = {0};
    struct uvm_loop *loop;
    if (uvm_loop_new("probe", -1, &loop, &err))
        unit_skip(err.msg);
    uvm_loop_free(loop);

    Suite *suite = suite_create("loop");
    TCase *tc = tcase_create("loop");
    tcase_set_timeout(tc, 2 * DEADLINE_S);
    tcase_add_test(tc, test_transfer_plain);
    tcase_add_test(tc, test_transfer_registered);
    tcase_add_test(tc, test_end_of_file);
    tcase_add_test(tc, test_errors);
    tcase_add_test(tc, test_eagain);
    tcase_add_test(tc, test_short_reads);
    tcase_add_test(tc, test_read_some);
    tcase_add_test(tc, test_read_some_direct);
    tcase_add_loop_test(tc, test_sync, 0, 2);
    tcase_add_test(tc, test_complete);
    tcase_add_test(tc, test_many_transfers);
    tcase_add_test(tc, test_stop_waits_for_transfers);
    tcase_add_test(tc, test_posts);
    tcase_add_test(tc, test_stop_runs_posted);
    tcase_add_test(tc, test_before_start);
    tcase_add_test(tc, test_watch);
    tcase_add_test(tc, test_watches_before_start);
    tcase_add_test(tc, test_watch_exclusive);
    tcase_add_test(tc, test_watch_shared);
    tcase_add_test(tc, test_every);
    tcase_add_test(tc, test_thread);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_loop)
