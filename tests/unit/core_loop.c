/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rest of the fake loop, for what posts work and makes loops of its own (the pagedaemon): work
 * is queued in the order it is posted, whichever loop it is for and whatever thread posts it, and
 * core_run() does it.
 */
#include <pthread.h>

#include "core.h"

#define LOOPS_MAX 4

struct uvm_loop core_loop;

static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
    bool ready;                        /* (fake_lock) */
    STAILQ_HEAD(, uvm_work) work;      /* (fake_lock) */
    struct uvm_loop *loops[LOOPS_MAX]; /* made by uvm_loop_new */
    struct {
        void (*fn)(void *arg);
        void *arg;
    } every[LOOPS_MAX];
} fake;

/* => fake_lock held */
static void fake_init(void)
{
    if (fake.ready)
        return;
    fake.ready = true;
    STAILQ_INIT(&fake.work);
    FAKE_LOOP_INIT(&core_loop);
}

void uvm_loop_post(struct uvm_loop *loop, struct uvm_work *work)
{
    ck_assert_ptr_nonnull(loop);
    pthread_mutex_lock(&fake_lock);
    fake_init();
    STAILQ_INSERT_TAIL(&fake.work, work, link);
    pthread_mutex_unlock(&fake_lock);
}

/* => NULL: nothing is posted */
static struct uvm_work *take_work(void)
{
    pthread_mutex_lock(&fake_lock);
    fake_init();
    struct uvm_work *work = STAILQ_FIRST(&fake.work);
    if (work)
        STAILQ_REMOVE_HEAD(&fake.work, link);
    pthread_mutex_unlock(&fake_lock);
    return work;
}

/* Do the transfers that are queued on one loop. => did it have any? */
static bool run_io(struct uvm_loop *loop)
{
    if (!loop || STAILQ_EMPTY(&loop->queue))
        return false;
    fake_loop_run(loop);
    return true;
}

void core_run(void)
{
    bool more = true;

    while (more) {
        struct uvm_work *work = take_work();
        more = work != NULL;
        if (work)
            work->fn(work);
        more |= run_io(&core_loop);
        for (unsigned i = 0; i < LOOPS_MAX; i++)
            more |= run_io(fake.loops[i]);
    }
}

unsigned core_tick(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < LOOPS_MAX; i++) {
        if (!fake.every[i].fn)
            continue;
        fake.every[i].fn(fake.every[i].arg);
        n++;
    }
    return n;
}

static unsigned index_of(const struct uvm_loop *loop)
{
    for (unsigned i = 0; i < LOOPS_MAX; i++)
        if (fake.loops[i] == loop)
            return i;
    ck_abort_msg("a loop that nobody has made");
}

int uvm_loop_new(const char *name, int cpu, struct uvm_loop **ret, struct uvm_error *err)
{
    pthread_mutex_lock(&fake_lock);
    fake_init();
    pthread_mutex_unlock(&fake_lock);
    unsigned i = index_of(NULL);
    struct uvm_loop *loop = calloc(1, sizeof(*loop));
    ck_assert_ptr_nonnull(loop);
    FAKE_LOOP_INIT(loop);
    fake.loops[i] = loop;
    fake.every[i].fn = NULL;
    *ret = loop;
    return 0;
}

void uvm_loop_free(struct uvm_loop *loop)
{
    unsigned i = index_of(loop);
    ck_assert(STAILQ_EMPTY(&loop->queue));
    fake.loops[i] = NULL;
    fake.every[i].fn = NULL;
    free(loop);
}

void uvm_loop_register(struct uvm_loop *loop, void *base, size_t len)
{
}

int uvm_loop_start(struct uvm_loop *loop)
{
    return 0;
}

void uvm_loop_stop(struct uvm_loop *loop)
{
}

void uvm_loop_join(struct uvm_loop *loop)
{
    core_run();
}

void uvm_loop_every(struct uvm_loop *loop, unsigned ms, void (*fn)(void *arg), void *arg)
{
    unsigned i = index_of(loop);
    fake.every[i].fn = ms ? fn : NULL;
    fake.every[i].arg = arg;
}

/* The test's own thread is none of a loop's. */
struct uvm_loop *uvm_loop_self(void)
{
    return NULL;
}
