/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The threads of the device tree, and their queue.
 *
 *      loop --> queue --> thread: run (may block) --> reply
 *
 * After uvm_devwork_abandon no reply is under way: a job that ends later is dropped, its request dies
 * with the session. A device that never answers keeps its thread; so
 * that the others' files go on, one device never has more than half of the threads.
 */
#include "dev.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../daemon/log.h"
#include "ops_file.h"

#define THREADS     8 /* fewer than windows (device.h) */
#define PER_DEVICE  (THREADS / 2)
#define STOP_WAIT_S 2

_Static_assert(THREADS < UVM_DEVWIN_MAX, "a thread pins one window at most");

STAILQ_HEAD(devjobs, uvm_devjob);

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct devjobs queue;                /* (lock) */
    struct uvm_device *running[THREADS]; /* (lock) whose jobs are being run */
    unsigned nthreads;                   /* (lock) alive */
    bool stopping;                       /* (lock) */
    pthread_rwlock_t replying;           /* held while replying; for writing: to end that */
    bool abandoned;                      /* (replying) */
    _Atomic size_t bytes;
} work = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .changed = PTHREAD_COND_INITIALIZER,
          .replying = PTHREAD_RWLOCK_INITIALIZER};

struct uvm_devjob *uvm_devjob_new(fuse_req_t req, uint64_t ino, const struct fuse_file_info *fi,
                                  size_t room)
{
    struct uvm_device *dev = uvm_dev_find(ino);
    struct uvm_devjob *job = dev ? calloc(1, sizeof(*job)) : NULL;

    if (job && room && !(job->data = malloc(room))) {
        free(job);
        job = NULL;
    }
    if (!job) {
        fuse_reply_err(req, dev ? ENOMEM : ENOENT);
        return NULL;
    }
    uvm_file_requests++;
    work.bytes += room;
    job->req = req;
    job->dev = dev;
    job->room = job->len = room;
    if (fi)
        job->fi = *fi;
    return job;
}

size_t uvm_devjob_bytes(void)
{
    return work.bytes;
}

void uvm_devjob_submit(struct uvm_devjob *job)
{
    pthread_mutex_lock(&work.lock);
    STAILQ_INSERT_TAIL(&work.queue, job, link);
    pthread_cond_broadcast(&work.changed);
    pthread_mutex_unlock(&work.lock);
}

/* The first job whose device may have another thread. => locked; NULL: none */
static struct uvm_devjob *take(void)
{
    struct uvm_devjob *job;

    STAILQ_FOREACH (job, &work.queue, link) {
        unsigned n = 0;
        for (unsigned i = 0; i < THREADS; i++)
            n += work.running[i] == job->dev;
        if (n >= PER_DEVICE)
            continue;
        STAILQ_REMOVE(&work.queue, job, uvm_devjob, link);
        return job;
    }
    return NULL;
}

static void finish(struct uvm_devjob *job)
{
    pthread_rwlock_rdlock(&work.replying);
    if (!work.abandoned)
        job->reply(job);
    pthread_rwlock_unlock(&work.replying);
    work.bytes -= job->room;
    uvm_file_requests--;
    free(job->data);
    free(job);
}

static void *worker(void *arg)
{
    struct uvm_device **mine = arg;

    pthread_mutex_lock(&work.lock);
    while (!work.stopping) {
        struct uvm_devjob *job = take();
        if (!job) {
            pthread_cond_wait(&work.changed, &work.lock);
            continue;
        }
        *mine = job->dev;
        pthread_mutex_unlock(&work.lock);
        job->run(job);
        finish(job);
        pthread_mutex_lock(&work.lock);
        *mine = NULL;
        pthread_cond_broadcast(&work.changed); /* others may have passed over the device */
    }
    work.nthreads--;
    pthread_cond_broadcast(&work.changed);
    pthread_mutex_unlock(&work.lock);
    return NULL;
}

int uvm_devwork_start(void)
{
    pthread_attr_t attr;
    int error = 0;

    pthread_mutex_lock(&work.lock);
    STAILQ_INIT(&work.queue);
    work.stopping = work.abandoned = false; /* nobody else is there yet */
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (unsigned i = 0; i < THREADS && !error; i++) {
        pthread_t thread;
        error = pthread_create(&thread, &attr, worker, &work.running[i]);
        if (error)
            break;
        pthread_setname_np(thread, "uvm-device");
        work.nthreads++;
    }
    pthread_attr_destroy(&attr);
    pthread_mutex_unlock(&work.lock);
    if (error)
        uvm_devwork_stop();
    return -error;
}

void uvm_devwork_abandon(void)
{
    pthread_rwlock_wrlock(&work.replying);
    work.abandoned = true;
    pthread_rwlock_unlock(&work.replying);
}

bool uvm_devwork_stop(void)
{
    struct timespec until;
    struct uvm_devjob *job;

    uvm_devwork_abandon();
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_WAIT_S;
    pthread_mutex_lock(&work.lock);
    work.stopping = true;
    while ((job = STAILQ_FIRST(&work.queue))) {
        STAILQ_REMOVE_HEAD(&work.queue, link);
        finish(job);
    }
    pthread_cond_broadcast(&work.changed);
    while (work.nthreads && !pthread_cond_timedwait(&work.changed, &work.lock, &until))
        ;
    unsigned left = work.nthreads;
    pthread_mutex_unlock(&work.lock);
    if (left)
        log_warning("a device does not answer: %u threads wait for it", left);
    return !left;
}
