/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flush on behalf of a thread that waits for it: it runs on the cleaner's loop.
 */
#include <assert.h>
#include <errno.h>
#include <semaphore.h>

#include "vnode.h"

struct flush_waiter {
    struct uvn_flush flush;
    struct uvm_work work;
    sem_t over;
    int error;
};

static struct uvm_loop *flush_loop;

void uvn_set_loop(struct uvm_loop *loop)
{
    flush_loop = loop;
}

static void waiter_done(struct uvn_flush *flush, int error)
{
    struct flush_waiter *waiter = UVM_CONTAINER_OF(flush, struct flush_waiter, flush);
    waiter->error = error;
    sem_post(&waiter->over);
}

static void waiter_start(struct uvm_work *work)
{
    struct flush_waiter *waiter = UVM_CONTAINER_OF(work, struct flush_waiter, work);
    uvn_flush_start(&waiter->flush);
}

int uvn_flush_wait(struct uvm_object *uobj, enum uvn_sync sync)
{
    struct flush_waiter waiter = {
        .flush = {.uobj = uobj,
                  .loop = flush_loop,
                  .stop = UVM_OBJECT_PAGES_MAX,
                  .sync = sync,
                  .done = waiter_done},
        .work.fn = waiter_start,
    };

    assert(flush_loop && !uvm_loop_self());
    sem_init(&waiter.over, 0, 0);
    uvm_loop_post(flush_loop, &waiter.work);
    while (sem_wait(&waiter.over) && errno == EINTR)
        continue;
    sem_destroy(&waiter.over);
    return waiter.error;
}
