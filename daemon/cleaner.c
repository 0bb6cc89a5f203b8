/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write-behind. All of the state is the loop's thread's, but for `posted`.
 */
#include "cleaner.h"

#include <errno.h>
#include <stdatomic.h>

#include "loop.h"
#include "pager/vnode.h"

#define CLEANER_FLUSHES 2 /* files at a time: a slow one does not hold up the others */
#define CLEANER_TICK_MS 500

struct cleaning {
    struct uvn_flush flush; /* uobj NULL: not in use */
    uint64_t began;
};

static struct {
    struct uvm_loop *loop;
    struct uvm_work work;
    _Atomic bool posted; /* the work is queued */
    bool stopping;
    struct cleaning cleaning[CLEANER_FLUSHES];
} cleaner;

static void cleaner_post(void)
{
    if (!atomic_exchange(&cleaner.posted, true))
        uvm_loop_post(cleaner.loop, &cleaner.work);
}

static bool idle(void)
{
    for (unsigned i = 0; i < CLEANER_FLUSHES; i++)
        if (cleaner.cleaning[i].flush.uobj)
            return false;
    return true;
}

static void cleaned(struct uvn_flush *flush, int error)
{
    struct cleaning *c = UVM_CONTAINER_OF(flush, struct cleaning, flush);
    struct uvm_object *uobj = flush->uobj;

    /* An error is kept by the vnode, for those who ask (uvn_error_since). */
    flush->uobj = NULL;
    uvn_dirty_done(uobj, c->began, error);
    if (cleaner.stopping && idle())
        uvm_loop_stop(cleaner.loop);
    else
        cleaner_post();
}

/* Since when must a file have been dirty to be cleaned now? */
static uint64_t dirty_before(void)
{
    uint64_t now = uvm_now_ns();

    if (uvm_stat_get(vndirty) > uvn_dirty_background())
        return now;
    return now > UVM_CLEANER_AGE_NS ? now - UVM_CLEANER_AGE_NS : 0;
}

static void cleaner_run(struct uvm_work *work)
{
    atomic_store(&cleaner.posted, false);
    for (unsigned i = 0; i < CLEANER_FLUSHES; i++) {
        struct cleaning *c = &cleaner.cleaning[i];
        if (c->flush.uobj || cleaner.stopping)
            continue;
        struct uvm_object *uobj = uvn_dirty_next(dirty_before());
        if (!uobj)
            return;
        c->began = uvm_now_ns();
        c->flush.uobj = uobj;
        c->flush.loop = cleaner.loop;
        c->flush.start = 0;
        c->flush.stop = UVM_OBJECT_PAGES_MAX;
        c->flush.sync = UVN_FLUSH;
        c->flush.done = cleaned;
        uvn_flush_start(&c->flush);
    }
}

static void tick(void *arg)
{
    uvn_dirty_expire();
    cleaner_post();
}

int uvm_cleaner_start(struct uvm_error *err)
{
    for (unsigned i = 0; i < CLEANER_FLUSHES; i++) {
        struct uvn_flush *flush = &cleaner.cleaning[i].flush;
        flush->uobj = NULL;
        flush->state = uvn_flush_state_new();
        if (!flush->state)
            return uvm_fail(err, -ENOMEM, "no memory for write-behind");
    }
    int rc = uvm_loop_new("uvm-cleaner", -1, &cleaner.loop, err);
    if (rc)
        return rc;
    uvm_loop_register(cleaner.loop, uvm_pagermap_base(), uvm_pagermap_size());
    cleaner.work.fn = cleaner_run;
    cleaner.posted = false;
    cleaner.stopping = false;
    uvm_loop_every(cleaner.loop, CLEANER_TICK_MS, tick, NULL);
    rc = uvm_loop_start(cleaner.loop);
    if (rc) {
        uvm_cleaner_stop();
        return uvm_fail(err, rc, "cannot start write-behind");
    }
    uvn_set_loop(cleaner.loop);
    uvn_set_kick(cleaner_post);
    return 0;
}

static void stop_run(struct uvm_work *work)
{
    cleaner.stopping = true;
    uvm_loop_every(cleaner.loop, 0, NULL, NULL);
    if (idle()) /* else the last flush ends it: it may be waiting for somebody else's page */
        uvm_loop_stop(cleaner.loop);
}

void uvm_cleaner_stop(void)
{
    struct uvm_work stop = {.fn = stop_run};

    if (cleaner.loop) {
        uvn_set_kick(NULL);
        uvn_set_loop(NULL);
        uvm_loop_post(cleaner.loop, &stop);
        uvm_loop_join(cleaner.loop);
        uvm_loop_free(cleaner.loop);
        cleaner.loop = NULL;
    }
    for (unsigned i = 0; i < CLEANER_FLUSHES; i++) {
        uvn_flush_state_free(cleaner.cleaning[i].flush.state);
        cleaner.cleaning[i].flush.state = NULL;
    }
}
