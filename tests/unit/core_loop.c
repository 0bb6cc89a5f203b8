/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rest of the fake loop, for what posts work and makes loops of its own (the pagedaemon): work
 * is queued in the order it is posted, whichever loop it is for, and core_run() does it.
 */
#include "core.h"

#define LOOPS_MAX 4

struct uvm_loop core_loop;

static struct {
    bool ready;
    STAILQ_HEAD(, uvm_work) work;
    struct uvm_loop *loops[LOOPS_MAX]; /* made by uvm_loop_new */
    struct {
        void (*fn)(void *arg);
        void *arg;
    } every[LOOPS_MAX];
} fake;

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
    fake_init();
    STAILQ_INSERT_TAIL(&fake.work, work, link);
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

    fake_init();
    while (more) {
        struct uvm_work *work = STAILQ_FIRST(&fake.work);
        more = work != NULL;
        if (work) {
            STAILQ_REMOVE_HEAD(&fake.work, link);
            work->fn(work);
        }
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
    fake_init();
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
