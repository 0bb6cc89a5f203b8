/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The jobs' loop, and their states. A job begins on the thread that asks for it, so that a refusal is an
 * answer; it goes on on the loop, which an addition may block: nobody else uses it.
 */
#include "swapjob.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "drain.h"
#include "log.h"
#include "pager/pagermap.h"

#define JOBS_KEPT 8u

static struct {
    pthread_mutex_t lock; /* nothing else is taken under it; guards what follows */
    pthread_cond_t idle;
    bool open, running;
    uint64_t last;                      /* number of the last job */
    struct uvm_swapjob jobs[JOBS_KEPT]; /* by number modulo JOBS_KEPT */

    /* the loop's while a job runs, else of who begins one */
    struct uvm_loop *loop;
    struct uvm_work work;
    struct uvm_swapspec spec;
    struct uvm_swapleave leave;
    struct uvm_drain drain;
} sj = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};

/* => sj.lock held */
static struct uvm_swapjob *job_at(uint64_t id)
{
    return &sj.jobs[id % JOBS_KEPT];
}

/* The job that runs has ended. => nothing of it is touched any more: the next may begin */
static void job_end(enum uvm_swapjob_state state, const struct uvm_error *why, uint32_t left,
                    uint32_t unreadable)
{
    if (why)
        log_info("%s", why->msg);
    pthread_mutex_lock(&sj.lock);
    struct uvm_swapjob *job = job_at(sj.last);
    job->state = state;
    job->left = left;
    job->unreadable = unreadable;
    if (why)
        job->why = *why;
    sj.running = false;
    pthread_cond_broadcast(&sj.idle);
    pthread_mutex_unlock(&sj.lock);
}

/* It does not begin after all. => rc */
static int job_abandon(int rc)
{
    pthread_mutex_lock(&sj.lock);
    sj.running = false;
    pthread_cond_broadcast(&sj.idle);
    pthread_mutex_unlock(&sj.lock);
    return rc;
}

/* Be the one whose job runs, with a loop to run it on. => 0, or -errno and err */
static int job_begin(struct uvm_error *err)
{
    pthread_mutex_lock(&sj.lock);
    bool open = sj.open, busy = sj.running;
    if (open && !busy)
        sj.running = true;
    pthread_mutex_unlock(&sj.lock);
    if (!open)
        return uvm_fail(err, -EAGAIN, "swap: uvmd is starting or stopping");
    if (busy)
        return uvm_fail(err, -EBUSY, "swap: another device is being added or removed");
    if (sj.loop)
        return 0;
    int rc = uvm_loop_new("uvm-swap", -1, &sj.loop, err);
    if (rc)
        return job_abandon(rc);
    uvm_loop_register(sj.loop, uvm_pagermap_base(), uvm_pagermap_size());
    rc = uvm_loop_start(sj.loop);
    if (!rc)
        return 0;
    uvm_loop_free(sj.loop);
    sj.loop = NULL;
    return job_abandon(uvm_fail(err, rc, "swap: cannot start a thread: %s", strerror(-rc)));
}

/* It has a number, and goes on on the loop. */
static uint64_t job_go(const char *path, bool removes, uint32_t total,
                       void (*fn)(struct uvm_work *work))
{
    pthread_mutex_lock(&sj.lock);
    uint64_t id = ++sj.last;
    struct uvm_swapjob *job = job_at(id);
    memset(job, 0, sizeof(*job));
    job->id = id;
    job->removes = removes;
    job->total = job->left = total;
    snprintf(job->path, sizeof(job->path), "%s", path);
    pthread_mutex_unlock(&sj.lock);
    sj.work.fn = fn;
    uvm_loop_post(sj.loop, &sj.work);
    return id;
}

static void add_run(struct uvm_work *work)
{
    struct uvm_error err = {0};
    int rc = uvm_swap_add(&sj.spec, &err);

    if (!rc)
        log_info("%s: added to swap", sj.spec.path);
    job_end(rc ? UVM_JOB_FAILED : UVM_JOB_DONE, rc ? &err : NULL, 0, 0);
}

int uvm_swapjob_add(const struct uvm_swapspec *spec, uint64_t *id, struct uvm_error *err)
{
    int rc = job_begin(err);

    if (rc)
        return rc;
    sj.spec = *spec;
    *id = job_go(spec->path, false, 0, add_run);
    return 0;
}

static void drained(struct uvm_drain *drain, int error)
{
    const char *path = sj.leave.path;
    struct uvm_error err = {0};
    uint32_t left = uvm_swap_left(sj.leave.slot0), bad = drain->unreadable;

    if (!error && uvm_swap_gone(sj.leave.slot0)) {
        log_info("%s: removed from swap", path);
        job_end(UVM_JOB_DONE, NULL, 0, 0);
        return;
    }
    uvm_swap_stay(sj.leave.slot0);
    if (error == -ECANCELED)
        uvm_fail(&err, error, "%s: removal cancelled; it still holds %u pages", path, left);
    else if (error == -EIO)
        uvm_fail(&err, error, "%s: not removed: %u of its pages cannot be read, and stay there",
                 path, bad);
    else
        uvm_fail(&err, error,
                 "%s: not removed: no memory comes free for the %u pages that it holds", path,
                 left);
    job_end(error == -ECANCELED ? UVM_JOB_CANCELLED : UVM_JOB_FAILED, &err, left, bad);
}

static void remove_run(struct uvm_work *work)
{
    uvm_drain_start(&sj.drain);
}

int uvm_swapjob_remove(const char *path, uint64_t *id, struct uvm_error *err)
{
    int rc = job_begin(err);

    if (rc)
        return rc;
    rc = uvm_swap_leave(path, &sj.leave, err);
    if (rc)
        return job_abandon(rc);
    memset(&sj.drain, 0, sizeof(sj.drain));
    sj.drain.loop = sj.loop;
    sj.drain.slot0 = sj.leave.slot0;
    sj.drain.nslots = sj.leave.nslots;
    sj.drain.done = drained;
    *id = job_go(sj.leave.path, true, sj.leave.inuse, remove_run);
    return 0;
}

/* => sj.lock held */
static bool removing(void)
{
    const struct uvm_swapjob *job = job_at(sj.last);
    return sj.last && job->removes && job->state == UVM_JOB_RUNNING;
}

int uvm_swapjob_cancel(const char *path, struct uvm_error *err)
{
    bool found;

    pthread_mutex_lock(&sj.lock);
    found = removing() && uvm_swap_same(path, job_at(sj.last)->path);
    if (found)
        uvm_drain_cancel(&sj.drain);
    pthread_mutex_unlock(&sj.lock);
    return found ? 0 : uvm_fail(err, -ENOENT, "%s: is not being removed", path);
}

bool uvm_swapjob_get(uint64_t id, struct uvm_swapjob *ret)
{
    pthread_mutex_lock(&sj.lock);
    bool found = id && job_at(id)->id == id;
    if (found)
        *ret = *job_at(id);
    bool live = found && id == sj.last && removing();
    uint32_t slot0 = sj.leave.slot0;
    pthread_mutex_unlock(&sj.lock);
    if (live)
        ret->left = uvm_swap_left(slot0);
    return found;
}

int uvm_swapjob_start(struct uvm_error *err)
{
    pthread_mutex_lock(&sj.lock);
    sj.open = true;
    pthread_mutex_unlock(&sj.lock);
    return 0;
}

void uvm_swapjob_stop(void)
{
    pthread_mutex_lock(&sj.lock);
    sj.open = false;
    if (removing())
        uvm_drain_cancel(&sj.drain);
    while (sj.running)
        pthread_cond_wait(&sj.idle, &sj.lock);
    pthread_mutex_unlock(&sj.lock);
    if (!sj.loop)
        return;
    uvm_loop_stop(sj.loop);
    uvm_loop_join(sj.loop);
    uvm_loop_free(sj.loop);
    sj.loop = NULL;
}
