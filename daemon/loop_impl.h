/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The inside of a loop, shared by loop.c (the thread and its rounds) and loop_io.c (what goes into
 * the ring and what comes out of it). Nobody else includes this.
 *
 * Nothing is put into the ring when it is asked for: requests queue on the loop and loop_fill()
 * moves them into the ring once a round. So a full ring is no special case, and a completion cannot
 * overtake the call that started the request.
 */
#ifndef UVMD_LOOP_IMPL_H
#define UVMD_LOOP_IMPL_H

#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "lock.h"
#include "loop.h"

#define LOOP_SQ_ENTRIES 512u
#define LOOP_CQ_ENTRIES 2048u /* room for all that can complete at once */
#define LOOP_DEPTH      1024u /* transfers in the kernel at a time */
#define LOOP_TRIES      1000u /* EINTR and EAGAIN in a row that a transfer is patient with */
#define LOOP_NAME_MAX   16    /* what the kernel keeps of a thread's name */

/* What a completion is for: the low bits of its user data; the rest is the pointer. */
enum loop_kind { LOOP_IO, LOOP_WATCH, LOOP_WAKE, LOOP_TIMER, LOOP_KIND_MASK = 3 };

STAILQ_HEAD(loop_works, uvm_work);
STAILQ_HEAD(loop_ios, uvm_io);
STAILQ_HEAD(loop_watches, uvm_watch);

/* Unless a lock is named a field is the loop thread's, and its maker's before the thread runs. */
struct uvm_loop {
    struct io_uring ring;
    char name[LOOP_NAME_MAX];
    int cpu;

    pthread_t thread;
    bool started;    /* the maker's: there is a thread to join */
    sem_t entered;   /* the thread has said in start_error whether it can run */
    int start_error; /* before entered: the thread's; after: the maker's */

    char *reg_base; /* the registered range; constant while the thread runs */
    size_t reg_len;

    struct uvm_lock lock;
    struct loop_works posted; /* lock */
    bool stop;                /* lock */
    bool sleeping;            /* lock: the next poster has to write to wake_fd */
    atomic_uint waking;       /* threads that are about to write to wake_fd */

    int wake_fd; /* eventfd; constant */
    bool wake_armed;
    uint64_t wake_count;

    int timer_fd; /* timerfd; constant */
    bool timer_armed;
    uint64_t timer_count;
    void (*timer_fn)(void *arg);
    void *timer_arg;

    bool ending; /* stop has been seen: nothing is watched any more */
    struct loop_watches unarmed;
    struct loop_ios todo;     /* transfers for the ring */
    struct loop_ios finished; /* ios whose done() is due */
    unsigned depth;           /* transfers in the kernel */
};

/* loop_fill: move what is queued into the ring's submission queue, as far as it goes. */
void loop_fill(struct uvm_loop *loop);

/* loop_enter: submit what loop_fill() moved; wait: until something has completed. */
void loop_enter(struct uvm_loop *loop, bool wait);

/* loop_blocked: nothing more can enter the ring before something has completed. */
bool loop_blocked(const struct uvm_loop *loop);

/* loop_reap: call the handlers of what the kernel has completed. */
void loop_reap(struct uvm_loop *loop);

#endif
