/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue and its threads.
 */
#include "vn_work.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "../daemon/lock.h"

#define WORKERS 8

static struct {
    struct uvm_lock lock; /* UVM_LR_LOOP: taken where a loop could be posted to */
    pthread_cond_t more;  /* the queue is not empty, or it is the end */
    pthread_cond_t idle;  /* nothing queued, nobody busy */
    struct vn_jobs queue; /* lock */
    unsigned nbusy;       /* lock */
    bool stopping;        /* lock */
    pthread_t threads[WORKERS];
    unsigned nthreads;
} work;

static struct vn_job *next_job(void)
{
    UVM_LOCK_SCOPE(&work.lock);

    while (STAILQ_EMPTY(&work.queue) && !work.stopping)
        pthread_cond_wait(&work.more, &work.lock.mutex);
    struct vn_job *job = STAILQ_FIRST(&work.queue);
    if (job) {
        STAILQ_REMOVE_HEAD(&work.queue, link);
        work.nbusy++;
    }
    return job;
}

static void job_ended(void)
{
    UVM_LOCK_SCOPE(&work.lock);
    work.nbusy--;
    if (!work.nbusy && STAILQ_EMPTY(&work.queue))
        pthread_cond_broadcast(&work.idle);
}

static void *worker(void *arg)
{
    struct vn_job *job;

    /* The umask is otherwise one for all threads. */
    if (unshare(CLONE_FS))
        return NULL;
    umask(077);
    while ((job = next_job())) {
        job->fn(job);
        job_ended();
    }
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
    pthread_cond_init(&work.more, NULL);
    pthread_cond_init(&work.idle, NULL);
    STAILQ_INIT(&work.queue);
    work.stopping = false;
    work.nbusy = 0;
    while (work.nthreads < WORKERS) {
        rc = pthread_create(&work.threads[work.nthreads], NULL, worker, NULL);
        if (rc) {
            vn_work_stop();
            return uvm_fail(err, -rc, "cannot start a worker thread: %s", strerror(rc));
        }
        pthread_setname_np(work.threads[work.nthreads++], "uvm-vnode");
    }
    return 0;
}

void vn_work_stop(void)
{
    if (!work.nthreads)
        return;
    uvm_lock_acquire(&work.lock);
    work.stopping = true;
    pthread_cond_broadcast(&work.more);
    uvm_lock_release(&work.lock);
    while (work.nthreads)
        pthread_join(work.threads[--work.nthreads], NULL);
    pthread_cond_destroy(&work.more);
    pthread_cond_destroy(&work.idle);
    uvm_lock_destroy(&work.lock);
}

void vn_work_submit(struct vn_job *job)
{
    UVM_LOCK_SCOPE(&work.lock);
    STAILQ_INSERT_TAIL(&work.queue, job, link);
    pthread_cond_signal(&work.more);
}

void vn_work_drain(void)
{
    UVM_LOCK_SCOPE(&work.lock);
    while (work.nbusy || !STAILQ_EMPTY(&work.queue))
        pthread_cond_wait(&work.idle, &work.lock.mutex);
}
