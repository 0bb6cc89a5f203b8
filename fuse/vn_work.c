/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queues and their threads.
 */
#include "vn_work.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "../daemon/lock.h"

#define WORKERS 8
#define WAITERS 2
#define THREADS (WORKERS + WAITERS)

enum kind { WORK, WAIT };

static struct {
    struct uvm_lock lock;    /* UVM_LR_LOOP: taken where a loop could be posted to */
    pthread_cond_t more[2];  /* a queue is not empty, or it is the end */
    pthread_cond_t idle;     /* nothing queued, nobody busy */
    struct vn_jobs queue[2]; /* lock; by kind */
    unsigned nbusy;          /* lock */
    bool stopping;           /* lock */
    pthread_t threads[THREADS];
    unsigned nthreads;
} work;

/* => lock held */
static bool all_done(void)
{
    return !work.nbusy && STAILQ_EMPTY(&work.queue[WORK]) && STAILQ_EMPTY(&work.queue[WAIT]);
}

/* The end is when there is nothing left that could bring more. */
static struct vn_job *next_job(enum kind kind)
{
    UVM_LOCK_SCOPE(&work.lock);

    while (STAILQ_EMPTY(&work.queue[kind]) && !(work.stopping && all_done()))
        pthread_cond_wait(&work.more[kind], &work.lock.mutex);
    struct vn_job *job = STAILQ_FIRST(&work.queue[kind]);
    if (job) {
        STAILQ_REMOVE_HEAD(&work.queue[kind], link);
        work.nbusy++;
    }
    return job;
}

/* => lock held */
static void wake_all(void)
{
    pthread_cond_broadcast(&work.more[WORK]);
    pthread_cond_broadcast(&work.more[WAIT]);
}

static void job_ended(void)
{
    UVM_LOCK_SCOPE(&work.lock);
    work.nbusy--;
    if (!all_done())
        return;
    pthread_cond_broadcast(&work.idle);
    if (work.stopping)
        wake_all();
}

static void run_jobs(enum kind kind)
{
    struct vn_job *job;

    while ((job = next_job(kind))) {
        job->fn(job);
        job_ended();
    }
}

static void *worker(void *arg)
{
    /* The umask is otherwise one for all threads. */
    if (unshare(CLONE_FS))
        return NULL;
    umask(077);
    run_jobs(WORK);
    return NULL;
}

static void *waiter(void *arg)
{
    run_jobs(WAIT);
    return NULL;
}

/* Not every sandbox allows it; better known at start. It is undone when the trying thread ends. */
static void *try_unshare(void *arg)
{
    return unshare(CLONE_FS) ? arg : NULL;
}

static int check_unshare(struct uvm_error *err)
{
    pthread_t thread;
    void *failed = NULL;
    int rc = pthread_create(&thread, NULL, try_unshare, &work);

    if (rc)
        return uvm_fail(err, -rc, "cannot start a worker thread: %s", strerror(rc));
    pthread_join(thread, &failed);
    if (failed)
        return uvm_fail(err, -EPERM,
                        "source: unshare(CLONE_FS) is forbidden here: allow it, or "
                        "leave source= out");
    return 0;
}

int vn_work_start(struct uvm_error *err)
{
    int rc = check_unshare(err);

    if (rc)
        return rc;
    uvm_lock_init(&work.lock, UVM_LR_LOOP);
    pthread_cond_init(&work.idle, NULL);
    for (int kind = 0; kind < 2; kind++) {
        pthread_cond_init(&work.more[kind], NULL);
        STAILQ_INIT(&work.queue[kind]);
    }
    work.stopping = false;
    work.nbusy = 0;
    while (work.nthreads < THREADS) {
        bool waits = work.nthreads >= WORKERS;
        pthread_t *thread = &work.threads[work.nthreads];
        rc = pthread_create(thread, NULL, waits ? waiter : worker, NULL);
        if (rc) {
            vn_work_stop();
            return uvm_fail(err, -rc, "cannot start a worker thread: %s", strerror(rc));
        }
        pthread_setname_np(*thread, waits ? "uvm-vn-wait" : "uvm-vn-work");
        work.nthreads++;
    }
    return 0;
}

void vn_work_stop(void)
{
    if (!work.nthreads)
        return;
    uvm_lock_acquire(&work.lock);
    work.stopping = true;
    wake_all();
    uvm_lock_release(&work.lock);
    while (work.nthreads)
        pthread_join(work.threads[--work.nthreads], NULL);
    pthread_cond_destroy(&work.idle);
    pthread_cond_destroy(&work.more[WORK]);
    pthread_cond_destroy(&work.more[WAIT]);
    uvm_lock_destroy(&work.lock);
}

static void submit(struct vn_job *job, enum kind kind)
{
    UVM_LOCK_SCOPE(&work.lock);
    STAILQ_INSERT_TAIL(&work.queue[kind], job, link);
    pthread_cond_signal(&work.more[kind]);
}

void vn_work_submit(struct vn_job *job)
{
    submit(job, WORK);
}

void vn_work_submit_waiter(struct vn_job *job)
{
    submit(job, WAIT);
}

void vn_work_drain(void)
{
    UVM_LOCK_SCOPE(&work.lock);
    while (!all_done())
        pthread_cond_wait(&work.idle, &work.lock.mutex);
}
