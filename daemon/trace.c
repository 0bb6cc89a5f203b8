/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ring of trace.h: bounded, many producers, one consumer.
 *
 *      turn of cell i     i: free for the record of place i;  i + 1: written;  i + RING: free again
 *
 * A producer takes a place by moving the tail, writes, and passes the turn; the writer thread takes what
 * is written, in order, some fifty times a second. A producer that finds its cell not free yet drops the
 * record. The ring is made at the first start, touched, and stays: a producer may be late.
 */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <time.h>

#include "log.h"
#include "stats.h"
#include "util.h"

#define RING      65536u /* cells */
#define BATCH     1024u  /* records of one write */
#define PERIOD_NS 20000000

struct cell {
    _Atomic uint64_t turn;
    struct uvm_trace_record record;
};

_Atomic bool uvm_trace_on;

static struct {
    struct cell *ring;      /* set once, before uvm_trace_on is */
    _Atomic uint64_t tail;  /* the next place */
    _Atomic uint64_t drops; /* not told in the file yet */
    uint64_t head;          /* the writer's */
    int error;              /* the writer's: of the file; nothing is written after it */
    int fd;                 /* control thread's; the writer's while it runs */
    bool recording;         /* control thread's */
    pthread_t writer;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* (lock) */
} trace = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void put_record(const struct uvm_trace_record *record)
{
    uint64_t place = atomic_load_explicit(&trace.tail, memory_order_relaxed);
    struct cell *cell;

    for (;;) {
        cell = &trace.ring[place % RING];
        uint64_t turn = atomic_load_explicit(&cell->turn, memory_order_acquire);
        if (turn < place) {
            atomic_fetch_add_explicit(&trace.drops, 1, memory_order_relaxed);
            return;
        }
        if (turn > place) /* somebody else has it */
            place = atomic_load_explicit(&trace.tail, memory_order_relaxed);
        else if (atomic_compare_exchange_weak_explicit(&trace.tail, &place, place + 1,
                                                       memory_order_relaxed, memory_order_relaxed))
            break;
    }
    cell->record = *record;
    atomic_store_explicit(&cell->turn, place + 1, memory_order_release);
}

void uvm_trace_put(uint64_t object, uint64_t pgno, uint64_t npages, enum uvm_trace_op op)
{
    atomic_thread_fence(memory_order_acquire); /* who sees it on sees the ring */
    while (npages > 0) {
        uint16_t n = (uint16_t)MIN(npages, UINT16_MAX);
        struct uvm_trace_record record = {
            .object = object,
            .pgno = (uint32_t)pgno,
            .npages = n,
            .op = (uint8_t)op,
        };
        put_record(&record);
        pgno += n;
        npages -= n;
    }
}

/* => 0 or -errno; short writes go on */
static int write_all(int fd, const void *buf, size_t len)
{
    const char *p = buf;

    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The next records of the ring. => how many */
static uint32_t take(struct uvm_trace_record *records, uint32_t room)
{
    uint32_t n = 0;

    while (n < room) {
        struct cell *cell = &trace.ring[trace.head % RING];
        if (atomic_load_explicit(&cell->turn, memory_order_acquire) != trace.head + 1)
            break;
        records[n++] = cell->record;
        atomic_store_explicit(&cell->turn, trace.head + RING, memory_order_release);
        trace.head++;
    }
    return n;
}

/* Write out what is in the ring, and what was not; after an error, only empty it. */
static void drain(void)
{
    struct uvm_trace_record records[BATCH];
    uint32_t n;

    do {
        uint64_t drops = atomic_exchange_explicit(&trace.drops, 0, memory_order_relaxed);
        n = take(records, BATCH - 1);
        if (drops)
            records[n++] = (struct uvm_trace_record){
                .object = drops,
                .npages = 1,
                .op = UVM_TRACE_DROPS,
            };
        if (n && !trace.error)
            trace.error = write_all(trace.fd, records, n * sizeof(records[0]));
        if (drops)
            uvm_stat_add(trace_drops, drops);
    } while (n >= BATCH - 1);
}

static void *writer(void *arg)
{
    struct timespec until;
    bool stopping = false;

    while (!stopping) {
        pthread_mutex_lock(&trace.lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PERIOD_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!trace.stopping)
            pthread_cond_timedwait(&trace.wake, &trace.lock, &until);
        stopping = trace.stopping;
        pthread_mutex_unlock(&trace.lock);
        drain();
    }
    return NULL;
}

static int ring_up(void)
{
    if (trace.ring)
        return 0;
    void *mem = mmap(NULL, RING * sizeof(struct cell), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mem == MAP_FAILED)
        return -errno;
    trace.ring = mem;
    for (uint32_t i = 0; i < RING; i++)
        atomic_store_explicit(&trace.ring[i].turn, i, memory_order_relaxed);
    return 0;
}

/* Make the file. => a descriptor, or -errno with err filled in */
static int make_file(const char *path, struct uvm_error *err)
{
    struct uvm_trace_header head = {.magic = UVM_TRACE_MAGIC,
                                    .version = UVM_TRACE_VERSION,
                                    .npages = (uint32_t)uvm_stat_get(npages)};
    struct statfs fs;

    if (*path != '/')
        return uvm_fail(err, -EINVAL, "trace: %.400s: not an absolute path", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return uvm_fail(err, -errno, "trace: %.400s: %s", path, strerror(errno));
    int error = fstatfs(fd, &fs) ? -errno : 0;
    if (!error && fs.f_type == FUSE_SUPER_MAGIC)
        error = -EINVAL;
    else if (!error)
        error = write_all(fd, &head, sizeof(head));
    if (!error)
        return fd;
    unlink(path);
    close(fd);
    if (error == -EINVAL)
        return uvm_fail(err, error, "trace: %.400s: is in a FUSE mount, which would trace itself",
                        path);
    return uvm_fail(err, error, "trace: %.400s: %s", path, strerror(-error));
}

int uvm_trace_start(const char *path, struct uvm_error *err)
{
    if (trace.recording)
        return uvm_fail(err, -EBUSY, "trace: one is being recorded");
    int error = ring_up();
    if (error)
        return uvm_fail(err, error, "trace: no memory for the ring");
    trace.fd = make_file(path, err);
    if (trace.fd < 0)
        return trace.fd;
    trace.error = -ECANCELED; /* what a late producer of the trace before has left */
    drain();
    trace.error = 0;
    trace.stopping = false;
    error = -pthread_create(&trace.writer, NULL, writer, NULL);
    if (error) {
        unlink(path);
        close(trace.fd);
        return uvm_fail(err, error, "trace: no thread: %s", strerror(-error));
    }
    trace.recording = true;
    atomic_store(&uvm_trace_on, true);
    return 0;
}

int uvm_trace_stop(struct uvm_error *err)
{
    if (!trace.recording)
        return uvm_fail(err, -ENOENT, "trace: none is being recorded");
    atomic_store(&uvm_trace_on, false);
    pthread_mutex_lock(&trace.lock);
    trace.stopping = true;
    pthread_cond_signal(&trace.wake);
    pthread_mutex_unlock(&trace.lock);
    pthread_join(trace.writer, NULL);
    trace.recording = false;
    int error = trace.error;
    if (close(trace.fd) && !error)
        error = -errno;
    trace.fd = -1;
    if (error)
        return uvm_fail(err, error, "trace: its end is missing: %s", strerror(-error));
    return 0;
}

void uvm_trace_fini(void)
{
    struct uvm_error ignored = {0};

    if (trace.recording && uvm_trace_stop(&ignored))
        log_warning("%s", ignored.msg);
}
