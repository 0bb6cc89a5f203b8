/* SPDX-License-Identifier: BSD-2-Clause */
#include "revoker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "object.h"
#include "pager/pager.h"
#include "reserve.h"
#include "stats.h"

#define RANGES_MAX   256 /* ranges asked for and not yet revoked */
#define RECLAIM_STEP 256 /* holes taken back before those who wait are looked at again */

struct range {
    uint64_t object;
    uint32_t pgno, npages;
};

static struct {
    const struct uvm_revoker_ops *ops; /* (!) */
    pthread_t thread;
    bool running;
    int wake; /* eventfd */
    _Atomic bool stop, reclaim;
    pthread_mutex_t lock;
    struct range ranges[RANGES_MAX]; /* (lock) */
    unsigned nranges;                /* (lock) */
    uint64_t hand_object;            /* where the sweep goes on */
    uint32_t hand_leaf;
} rv = {.wake = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static void wake(void)
{
    uint64_t one = 1;
    /* A full counter is as good as one more: the thread will wake. */
    if (write(rv.wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("revoker: cannot wake: %s", strerror(errno));
}

void uvm_revoker_reclaim(void)
{
    atomic_store(&rv.reclaim, true);
    wake();
}

bool uvm_revoker_range(uint64_t object, uint32_t pgno, uint32_t npages)
{
    pthread_mutex_lock(&rv.lock);
    bool room = rv.nranges < RANGES_MAX;
    if (room)
        rv.ranges[rv.nranges++] = (struct range){object, pgno, npages};
    pthread_mutex_unlock(&rv.lock);
    if (room)
        wake();
    return room;
}

static void revoke_ranges(void)
{
    struct range todo[RANGES_MAX];
    unsigned n;

    pthread_mutex_lock(&rv.lock);
    n = rv.nranges;
    memcpy(todo, rv.ranges, n * sizeof(*todo));
    rv.nranges = 0;
    pthread_mutex_unlock(&rv.lock);
    for (unsigned i = 0; i < n; i++) {
        if (!uvm_reserve_revoking(todo[i].object, todo[i].pgno, todo[i].npages)) {
            /* Somebody is parked in it: answer them first, then come again. */
            uvm_revoker_range(todo[i].object, todo[i].pgno, todo[i].npages);
            uvm_revoker_reclaim();
            continue;
        }
        rv.ops->revoke(todo[i].object, uvm_ptoa(todo[i].pgno), uvm_ptoa(todo[i].npages));
        uvm_reserve_revoking(0, 0, 0);
        uvm_stat_inc(revokes);
        uvm_stat_add(pgrevoked, todo[i].npages);
    }
}

/* The holes of a leaf that clients may hold. => object locked */
static uint64_t delivered_holes(const struct uvm_leaf *leaf)
{
    uint64_t holes = 0;
    for (unsigned i = 0; i < UVM_WINDOW_PAGES; i++)
        holes |= (uint64_t)(uvm_entry_tag(leaf->entry[i]) == UVM_E_HOLE) << i;
    return holes & leaf->delivered & ~leaf->allocated;
}

/* The holes whose mark survived are nobody's: make them EMPTY. => how many */
static uint32_t take_back(struct uvm_object *uobj, uint32_t base, uint64_t marked)
{
    uint32_t n = 0;

    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, base);
    if (!leaf)
        return 0;
    marked &= leaf->revoking;
    leaf->revoking &= ~marked;
    uvm_delivered_clear(leaf, marked);
    for (unsigned i = 0; i < UVM_WINDOW_PAGES; i++) {
        if (!(marked >> i & 1) || uvm_entry_tag(leaf->entry[i]) != UVM_E_HOLE)
            continue;
        uvm_entry_set(uobj, leaf, base + i, 0);
        n++;
    }
    uvm_leaf_prune(uobj, leaf);
    return n;
}

/* Revoke the delivered holes of one leaf. => how many reservations came back */
static uint32_t reclaim_leaf(struct uvm_object *uobj, uint32_t index, uint64_t holes)
{
    uint32_t base = index * UVM_WINDOW_PAGES;
    unsigned first = (unsigned)__builtin_ctzll(holes);
    unsigned last = 63 - (unsigned)__builtin_clzll(holes);

    if (!uvm_reserve_revoking(uobj->id, base + first, last - first + 1))
        return 0;
    int rc = rv.ops->revoke(uobj->id, uvm_ptoa(base + first), uvm_ptoa(last - first + 1));
    uvm_reserve_revoking(0, 0, 0);
    uvm_stat_inc(revokes);
    uvm_stat_add(pgrevoked, last - first + 1);
    if (rc && rc != -ENOENT)
        return 0;
    uint32_t n = take_back(uobj, base, holes);
    if (n)
        uvm_unreserve(n);
    return n;
}

/* Find the next leaf with delivered holes from the hand on, and mark them. => object referenced, or
 * NULL: the end of the table was reached */
static struct uvm_object *next_victim(uint32_t *ret_index, uint64_t *ret_holes)
{
    struct uvm_object *uobj;

    while ((uobj = rv.hand_leaf ? uvm_object_lookup(rv.hand_object)
                                : uvm_object_next(rv.hand_object))) {
        rv.hand_object = uobj->id;
        uvm_lock_acquire(&uobj->lock);
        struct uvm_leaf *leaf = uvm_leaf_next(uobj, rv.hand_leaf);
        while (leaf && !(*ret_holes = delivered_holes(leaf)))
            leaf = uvm_leaf_next(uobj, leaf->index + 1);
        if (leaf) {
            leaf->revoking |= *ret_holes;
            *ret_index = leaf->index;
            rv.hand_leaf = leaf->index + 1;
        }
        uvm_lock_release(&uobj->lock);
        if (leaf)
            return uobj;
        rv.hand_leaf = 0;
        uobj->pgops->pgo_detach(uobj);
    }
    if (rv.hand_leaf) { /* the object under the hand has gone: go on with the next */
        rv.hand_leaf = 0;
        return next_victim(ret_index, ret_holes);
    }
    return NULL;
}

/* Sweep all objects once, from where the last sweep ended, until enough came back. */
static void reclaim_holes(void)
{
    uint64_t mark = uvm_reserve_mark();
    uint32_t got = 0, index = 0;
    uint64_t holes = 0;
    unsigned ends = 0;

    while (got < RECLAIM_STEP && !atomic_load(&rv.stop)) {
        struct uvm_object *uobj = next_victim(&index, &holes);
        if (!uobj) {
            rv.hand_object = 0;
            rv.hand_leaf = 0;
            if (++ends == 2) /* the second end has seen everything once */
                break;
            continue;
        }
        got += reclaim_leaf(uobj, index, holes);
        uobj->pgops->pgo_detach(uobj);
    }
    if (!got) {
        /* What clients have deleted and closed may still be on its way to us: see it all first. */
        rv.ops->settle();
        uvm_reserve_fail_parked(mark);
    }
    if (uvm_reserve_parked())
        uvm_revoker_reclaim();
}

static void *revoker_main(void *arg)
{
    pthread_setname_np(pthread_self(), "uvm-revoker");
    while (!atomic_load(&rv.stop)) {
        uint64_t count;
        if (read(rv.wake, &count, sizeof(count)) < 0 && errno != EINTR)
            break;
        revoke_ranges();
        if (atomic_exchange(&rv.reclaim, false))
            reclaim_holes();
    }
    uvm_reserve_fail_parked(UINT64_MAX);
    return NULL;
}

int uvm_revoker_start(const struct uvm_revoker_ops *ops, struct uvm_error *err)
{
    sigset_t all, old;

    rv.ops = ops;
    rv.stop = false;
    rv.reclaim = false;
    rv.nranges = 0;
    rv.hand_object = 0;
    rv.hand_leaf = 0;
    rv.wake = eventfd(0, EFD_CLOEXEC);
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
    uvm_reserve_set_reclaim(uvm_revoker_reclaim);
    return 0;
}

void uvm_revoker_stop(void)
{
    if (!rv.running)
        return;
    atomic_store(&rv.stop, true);
    wake();
    pthread_join(rv.thread, NULL);
    uvm_reserve_set_reclaim(NULL);
    close(rv.wake);
    rv.wake = -1;
    rv.running = false;
}
