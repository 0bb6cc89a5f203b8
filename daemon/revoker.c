/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread, woken through an eventfd. Each turn it revokes the ranges in its queue (those in which
 * somebody is parked stay there and are tried again soon) and, if somebody is short of reservations,
 * has revoker_holes.c take holes back. A sweep that came by every object and got nothing back refuses
 * those who were parked before it began.
 *
 * No lock is held while ops->revoke blocks in the kernel: what is being revoked is marked instead, in
 * the leaf if it is holes (a READ meanwhile takes the mark away) and in reserve.c (nobody parks inside
 * it).
 */
#include "revoker.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "page.h"
#include "reserve.h"
#include "revoker_impl.h"
#include "stats.h"

#define UNLENT_MAX   256 /* ranges without a loan that are queued */
#define RANGES_MAX   (UVM_RESERVE_EMERGENCY + UNLENT_MAX) /* a loan has a page at least */
#define RECLAIM_STEP 256 /* holes taken back before those who wait are looked at again */
#define BLOCKED_MS   10  /* until ranges in which somebody is parked are tried again */

struct range {
    uint64_t object;
    uint32_t pgno, npages;
    uint32_t lent; /* what is given back when it has been revoked */
};

static struct {
    const struct uvm_revoker_ops *ops; /* (!) */
    pthread_t thread;
    bool running;
    int wake; /* eventfd */
    _Atomic bool stop, reclaim;
    pthread_mutex_t lock;
    bool open;                       /* (lock) ranges are taken */
    struct range ranges[RANGES_MAX]; /* (lock) only the revoker removes */
    unsigned nranges, nunlent;       /* (lock) */
} rv = {.wake = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

/* => rv locked */
static void wake(void)
{
    uint64_t one = 1;

    if (rv.wake < 0)
        return;
    /* A full counter is as good as one more: the thread will wake. */
    if (write(rv.wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("revoker: cannot wake: %s", strerror(errno));
}

void uvm_revoker_reclaim(void)
{
    atomic_store(&rv.reclaim, true);
    pthread_mutex_lock(&rv.lock);
    wake();
    pthread_mutex_unlock(&rv.lock);
}

bool uvm_revoker_range(uint64_t object, uint32_t pgno, uint32_t npages, uint32_t lent)
{
    pthread_mutex_lock(&rv.lock);
    bool taken = rv.open && (lent || rv.nunlent < UNLENT_MAX);
    if (taken) {
        assert(rv.nranges < RANGES_MAX);
        rv.ranges[rv.nranges++] = (struct range){object, pgno, npages, lent};
        rv.nunlent += !lent;
        wake();
    }
    pthread_mutex_unlock(&rv.lock);
    return taken;
}

/* => false: there are not so many */
static bool range_at(unsigned i, struct range *ret)
{
    pthread_mutex_lock(&rv.lock);
    bool there = i < rv.nranges;
    if (there)
        *ret = rv.ranges[i];
    pthread_mutex_unlock(&rv.lock);
    return there;
}

static void range_done(unsigned i)
{
    pthread_mutex_lock(&rv.lock);
    rv.nunlent -= !rv.ranges[i].lent;
    rv.nranges--;
    memmove(&rv.ranges[i], &rv.ranges[i + 1], (rv.nranges - i) * sizeof(*rv.ranges));
    pthread_mutex_unlock(&rv.lock);
}

/* => how many ranges are queued; *ret_lent: their loans together */
static unsigned ranges_queued(uint64_t *ret_lent)
{
    pthread_mutex_lock(&rv.lock);
    unsigned n = rv.nranges;
    *ret_lent = 0;
    for (unsigned i = 0; i < n; i++)
        *ret_lent += rv.ranges[i].lent;
    pthread_mutex_unlock(&rv.lock);
    return n;
}

int uvm_revoker_revoke(uint64_t object, uint32_t pgno, uint32_t npages)
{
    if (!uvm_reserve_revoking(object, pgno, npages))
        return -EBUSY;
    int error = rv.ops->revoke(object, uvm_ptoa(pgno), uvm_ptoa(npages));
    uvm_reserve_revoking(0, 0, 0);
    uvm_stat_inc(revokes);
    uvm_stat_add(pgrevoked, npages);
    return error == -EBUSY ? -EIO : error;
}

bool uvm_revoker_stopping(void)
{
    return atomic_load(&rv.stop);
}

/*
 * Look at every range once, and revoke it unless somebody is parked inside it.
 *
 * Only when the kernel is done with a range, all that was stored in it has come back as WRITEs, and its
 * loan ends. An error is an end, too: there is no such inode any more, or no mount.
 *
 * => how many were revoked
 */
static unsigned revoke_ranges(void)
{
    struct range r;
    uint64_t lent;
    unsigned kept = 0, done = 0;

    for (unsigned n = ranges_queued(&lent); n > 0 && range_at(kept, &r); n--) {
        if (uvm_revoker_revoke(r.object, r.pgno, r.npages) == -EBUSY) {
            kept++;
            continue;
        }
        range_done(kept);
        if (r.lent)
            uvm_reserve_return(r.lent);
        done++;
    }
    return done;
}

/*
 * Every range has somebody parked inside. Those who wait for a reservation will have an answer from
 * reclaim_holes(). Those who wait for a loan may wait for this very range's: refuse the first.
 */
static void refuse_borrowers(void)
{
    struct range r;
    uint64_t lent;

    ranges_queued(&lent);
    for (unsigned i = 0; range_at(i, &r); i++)
        if (r.lent && uvm_reserve_refuse(r.object, r.pgno, r.npages, lent))
            break;
}

/* Take holes back; when there are none, refuse those who wait for them. */
static void reclaim_holes(void)
{
    uint64_t mark = uvm_reserve_mark();

    if (!uvm_revoker_sweep(RECLAIM_STEP)) {
        /* What clients have deleted and closed may still be on its way to us: see it all first. */
        rv.ops->settle();
        uvm_reserve_fail_parked(mark);
    }
    if (uvm_reserve_parked())
        uvm_revoker_reclaim();
}

/* Wait until somebody wakes the revoker, or for so long (-1: for ever). */
static void sleep_until_woken(int timeout_ms)
{
    struct pollfd pfd = {.fd = rv.wake, .events = POLLIN};
    uint64_t count;

    if (poll(&pfd, 1, timeout_ms) > 0 && read(rv.wake, &count, sizeof(count)) < 0 && errno != EINTR)
        log_warning("revoker: cannot read its eventfd: %s", strerror(errno));
}

/* Nobody waits for the revoker any more, and what it has been given is revoked. */
static void finish_ranges(void)
{
    uint64_t lent;

    pthread_mutex_lock(&rv.lock);
    rv.open = false;
    pthread_mutex_unlock(&rv.lock);
    uvm_reserve_set_reclaim(NULL);
    while (ranges_queued(&lent)) {
        if (!revoke_ranges()) {
            refuse_borrowers();
            sleep_until_woken(BLOCKED_MS);
        }
    }
}

static void *revoker_main(void *arg)
{
    int timeout_ms = -1;

    pthread_setname_np(pthread_self(), "uvm-revoker");
    while (!atomic_load(&rv.stop)) {
        uint64_t lent;
        sleep_until_woken(timeout_ms);
        unsigned done = revoke_ranges();
        if (atomic_exchange(&rv.reclaim, false))
            reclaim_holes();
        if (!ranges_queued(&lent)) {
            timeout_ms = -1;
        } else if (done) {
            timeout_ms = 0;
        } else {
            refuse_borrowers();
            timeout_ms = BLOCKED_MS;
        }
    }
    finish_ranges();
    return NULL;
}

int uvm_revoker_start(const struct uvm_revoker_ops *ops, struct uvm_error *err)
{
    sigset_t all, old;

    rv.ops = ops;
    rv.stop = false;
    rv.reclaim = false;
    rv.nranges = rv.nunlent = 0;
    uvm_revoker_sweep_init();
    rv.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (rv.wake < 0)
        return uvm_fail(err, -errno, "cannot make an eventfd: %s", strerror(errno));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&rv.thread, NULL, revoker_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        close(rv.wake);
        rv.wake = -1;
        return uvm_fail(err, -rc, "cannot start the revoker: %s", strerror(rc));
    }
    rv.running = true;
    pthread_mutex_lock(&rv.lock);
    rv.open = true;
    pthread_mutex_unlock(&rv.lock);
    uvm_reserve_set_reclaim(uvm_revoker_reclaim);
    return 0;
}

void uvm_revoker_stop(void)
{
    if (!rv.running)
        return;
    atomic_store(&rv.stop, true);
    pthread_mutex_lock(&rv.lock);
    wake();
    pthread_mutex_unlock(&rv.lock);
    pthread_join(rv.thread, NULL);
    pthread_mutex_lock(&rv.lock);
    close(rv.wake);
    rv.wake = -1;
    pthread_mutex_unlock(&rv.lock);
    rv.running = false;
}
