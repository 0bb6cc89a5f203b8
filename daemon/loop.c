/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop's thread and its rounds.
 *
 *      +-> posted work -> fill the ring -> enter the kernel -> handlers of what completed --+
 *      |                                   (sleep if nothing                                |
 *      +---------------------------------- else is left) -----------------------------------+
 *
 * Waking: a poster writes to the eventfd only when the loop has said, under the lock and after
 * finding no posted work, that it goes to sleep; so a busy loop is posted to without a system call
 * and a wake-up cannot be missed. The write comes after the lock is released (the loop would wake
 * up into it); `waking` keeps the loop's memory and descriptor alive for it.
 *
 * The ring has a single issuer. It is made disabled, by the maker, who can thus read why it could
 * not be made and register buffers; the loop's thread enables it and is its issuer from then on.
 */
#include "loop_impl.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "log.h"

static __thread struct uvm_loop *loop_current;

static const char *loop_remedy(int code)
{
    switch (code) {
    case -EPERM:
        return "io_uring is forbidden: set the sysctl kernel.io_uring_disabled to 0 and allow "
               "io_uring_setup, io_uring_enter and io_uring_register in the seccomp filter";
    case -ENOMEM:
        return "raise the limit of locked memory (LimitMEMLOCK= of the service, ulimit -l)";
    case -ENOSYS:
        return "this kernel has no io_uring (CONFIG_IO_URING), or a seccomp filter hides it";
    case -EMFILE:
        return "raise the limit of open files (LimitNOFILE= of the service, ulimit -n)";
    case -EINVAL:
        return "the io_uring of this kernel is too old";
    default:
        return "io_uring is needed";
    }
}

/* Make the ring, disabled, in the best mode the kernel has. */
static int loop_ring_init(struct io_uring *ring)
{
    static const unsigned modes[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int error = -EINVAL;

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]) && error == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | modes[i],
            .cq_entries = LOOP_CQ_ENTRIES,
        };
        error = io_uring_queue_init_params(LOOP_SQ_ENTRIES, ring, &params);
    }
    return error;
}

int uvm_loop_new(const char *name, int cpu, struct uvm_loop **ret, struct uvm_error *err)
{
    CLEANUP_CLOSE int wake_fd = eventfd(0, EFD_CLOEXEC);
    if (wake_fd < 0)
        return uvm_fail(err, -errno, "loop %s: eventfd: %s; %s", name, strerror(errno),
                        loop_remedy(-errno));
    CLEANUP_CLOSE int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (timer_fd < 0)
        return uvm_fail(err, -errno, "loop %s: timerfd: %s; %s", name, strerror(errno),
                        loop_remedy(-errno));
    struct uvm_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return uvm_fail(err, -ENOMEM, "loop %s: out of memory", name);

    int error = loop_ring_init(&loop->ring);
    if (error) {
        free(loop);
        return uvm_fail(err, error, "loop %s: io_uring: %s; %s", name, strerror(-error),
                        loop_remedy(error));
    }
    snprintf(loop->name, sizeof(loop->name), "%s", name);
    loop->cpu = cpu;
    loop->wake_fd = UVM_TAKE_FD(wake_fd);
    loop->timer_fd = UVM_TAKE_FD(timer_fd);
    sem_init(&loop->entered, 0, 0);
    uvm_lock_init(&loop->lock, UVM_LR_LOOP);
    STAILQ_INIT(&loop->posted);
    STAILQ_INIT(&loop->unarmed);
    STAILQ_INIT(&loop->todo);
    STAILQ_INIT(&loop->finished);
    *ret = loop;
    return 0;
}

void uvm_loop_free(struct uvm_loop *loop)
{
    if (!loop)
        return;
    assert(!loop->started);
    while (atomic_load_explicit(&loop->waking, memory_order_acquire))
        sched_yield();
    io_uring_queue_exit(&loop->ring);
    close(loop->timer_fd);
    close(loop->wake_fd);
    uvm_lock_destroy(&loop->lock);
    sem_destroy(&loop->entered);
    free(loop);
}

void uvm_loop_register(struct uvm_loop *loop, void *base, size_t len)
{
    assert(!loop->started && !loop->reg_len);
    struct iovec range = {.iov_base = base, .iov_len = len};
    int error = io_uring_register_buffers(&loop->ring, &range, 1);
    if (error) {
        log_info("loop %s: transfers go without registered buffers: %s", loop->name,
                 strerror(-error));
        return;
    }
    loop->reg_base = base;
    loop->reg_len = len;
}

/* Run the work posted before this call; note that the loop is awake and whether it is to end. */
static void loop_run_posted(struct uvm_loop *loop)
{
    struct loop_works works = STAILQ_HEAD_INITIALIZER(works);
    struct uvm_work *work;

    uvm_lock_acquire(&loop->lock);
    loop->sleeping = false;
    loop->ending = loop->stop;
    STAILQ_CONCAT(&works, &loop->posted);
    uvm_lock_release(&loop->lock);

    while ((work = STAILQ_FIRST(&works))) {
        STAILQ_REMOVE_HEAD(&works, link);
        work->fn(work);
    }
}

/* Nothing is left to do without news from the kernel. */
static bool loop_idle(struct uvm_loop *loop)
{
    if (!STAILQ_EMPTY(&loop->finished) || !loop_blocked(loop))
        return false;
    UVM_LOCK_SCOPE(&loop->lock);
    loop->sleeping = STAILQ_EMPTY(&loop->posted) && loop->stop == loop->ending;
    return loop->sleeping;
}

/* The loop has been told to end and owes nobody anything. */
static bool loop_over(struct uvm_loop *loop)
{
    if (!loop->ending || loop->depth || !STAILQ_EMPTY(&loop->todo) ||
        !STAILQ_EMPTY(&loop->finished))
        return false;
    UVM_LOCK_SCOPE(&loop->lock);
    return STAILQ_EMPTY(&loop->posted);
}

static void loop_pin(struct uvm_loop *loop)
{
    if (loop->cpu < 0)
        return;
    int error = EINVAL;
    if (loop->cpu < CPU_SETSIZE) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)loop->cpu, &set);
        error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    if (error)
        log_debug("loop %s: not pinned to CPU %d: %s", loop->name, loop->cpu, strerror(error));
}

/* By hand, because the shared library of liburing 2.3 does not export io_uring_enable_rings(). */
static int loop_ring_enable(struct io_uring *ring)
{
    if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
        return -errno;
    return 0;
}

static void *loop_main(void *arg)
{
    struct uvm_loop *loop = arg;

    loop_current = loop;
    pthread_setname_np(pthread_self(), loop->name);
    loop_pin(loop);
    int error = loop_ring_enable(&loop->ring);
    loop->start_error = error;
    sem_post(&loop->entered);
    if (error)
        return NULL;
    /* Saves a look-up of the descriptor at each entry; without it the loop is only a bit slower. */
    bool direct = io_uring_register_ring_fd(&loop->ring) == 1;

    for (;;) {
        loop_run_posted(loop);
        if (loop_over(loop))
            break;
        loop_fill(loop);
        loop_enter(loop, loop_idle(loop));
        loop_reap(loop);
    }
    if (direct)
        io_uring_unregister_ring_fd(&loop->ring);
    return NULL;
}

int uvm_loop_start(struct uvm_loop *loop)
{
    assert(!loop->started);
    sigset_t all, old;
    sigfillset(&all);
    loop->started = true;
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&loop->thread, NULL, loop_main, loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        loop->started = false;
        return -error;
    }
    while (sem_wait(&loop->entered) && errno == EINTR)
        continue;
    error = loop->start_error;
    if (error)
        uvm_loop_join(loop);
    return error;
}

/* Post work, or with NULL the request to end, and wake the loop when it sleeps. */
static void loop_reach(struct uvm_loop *loop, struct uvm_work *work)
{
    static const uint64_t one = 1;

    uvm_lock_acquire(&loop->lock);
    if (work)
        STAILQ_INSERT_TAIL(&loop->posted, work, link);
    else
        loop->stop = true;
    bool wake = loop->sleeping;
    loop->sleeping = false;
    if (wake)
        atomic_fetch_add_explicit(&loop->waking, 1, memory_order_relaxed);
    uvm_lock_release(&loop->lock);
    if (!wake)
        return;

    int saved = errno;
    /* The counter is never near its limit: at most one write per sleep of the loop. */
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
    errno = saved;
    atomic_fetch_sub_explicit(&loop->waking, 1, memory_order_release);
}

void uvm_loop_post(struct uvm_loop *loop, struct uvm_work *work)
{
    assert(work->fn);
    loop_reach(loop, work);
}

void uvm_loop_stop(struct uvm_loop *loop)
{
    loop_reach(loop, NULL);
}

void uvm_loop_join(struct uvm_loop *loop)
{
    if (!loop->started)
        return;
    assert(loop_current != loop);
    pthread_join(loop->thread, NULL);
    loop->started = false;
}

struct uvm_loop *uvm_loop_self(void)
{
    return loop_current;
}
