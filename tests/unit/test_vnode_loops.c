/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager on real loops: two of them store into one file, write-behind cleans it, and this
 * thread flushes it, changes it and looks at what it holds.
 *
 *      page    | owner loop's count | the same again ... | page number |
 *
 * Each page belongs to one loop, which counts its stores in it: so the file's copy tells how new it
 * is, and one that is torn shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cleaner.h"
#include "daemon/ledger.h"
#include "daemon/pager/vnode.h"
#include "daemon/pmap/pmap.h"
#include "daemon/reserve.h"
#include "daemon/rw.h"
#include "unit.h"

#define MEMORY 2048u /* pages */
#define PAGES  400u
#define LOOPS  2
#define WORDS  (UVM_PAGE_SIZE / sizeof(uint64_t))

static struct uvm_object *uobj;
static int fd;
static _Atomic uint64_t stored[PAGES]; /* the count of the last store that has ended */

static struct storer {
    struct uvm_loop *loop;
    struct uvm_work work;
    struct uvm_rw rw;
    unsigned self;
    uint64_t rng, count;
    uint32_t pgno, npages;
    _Atomic bool stop;
    sem_t stopped;
    uint64_t words[4 * WORDS];
} storers[LOOPS];

static void store(struct storer *s);

static void store_done(struct uvm_rw *rw, int error)
{
    struct storer *s = rw->arg;

    if (error) /* an assertion costs a system call each time */
        ck_abort_msg("a store failed: %s", strerror(-error));
    for (uint32_t i = 0; i < s->npages; i++)
        stored[s->pgno + i] = s->count;
    if (s->stop)
        sem_post(&s->stopped);
    else
        uvm_loop_post(s->loop, &s->work);
}

/* The next store: up to four pages of the storer's own, which are runs of four by turns. */
static void store_work(struct uvm_work *work)
{
    store(UVM_CONTAINER_OF(work, struct storer, work));
}

static void store(struct storer *s)
{
    s->rng = s->rng * 6364136223846793005ull + 1442695040888963407ull;
    uint32_t run = (uint32_t)(s->rng >> 33) % (PAGES / 8) * 2 + s->self;
    s->npages = (uint32_t)(s->rng >> 20) % 4 + 1;
    s->pgno = run * 4;
    s->count++;
    for (uint32_t i = 0; i < s->npages; i++) {
        for (unsigned w = 0; w < WORDS - 1; w++)
            s->words[i * WORDS + w] = s->count;
        s->words[(i + 1) * WORDS - 1] = s->pgno + i;
    }
    s->rw.uobj = uobj;
    s->rw.loop = s->loop;
    s->rw.off = uvm_ptoa(s->pgno);
    s->rw.len = uvm_ptoa(s->npages);
    s->rw.src = (const char *)s->words;
    s->rw.flags = 0;
    s->rw.done = store_done;
    s->rw.arg = s;
    uvm_write(&s->rw);
}

static void setup(void)
{
    struct uvm_error err = {0};
    const char *tmp = getenv("TMPDIR");
    char path[64];

    uvm_object_module_init();
    uvm_reserve_init();
    ck_assert_int_eq(uvm_ledger_init(MEMORY, MEMORY, &err), 0);
    ck_assert_int_eq(uvm_page_init(MEMORY, &err), 0);
    ck_assert_int_eq(pmap_init(PMAP_SOFT, MEMORY, &err), 0);
    ck_assert_int_eq(uvm_pagermap_init(&err), 0);
    uvm_pager_init();
    ck_assert_int_eq(uvm_cleaner_start(&err), 0);

    fd = open(tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    int tail = open(path, O_RDWR | O_CLOEXEC);
    uint32_t align = direct < 0 ? 1 : UVM_PAGE_SIZE;
    uobj = uvn_new(1000, 0);
    ck_assert(uvn_set_backing(uobj, uvn_backing_new(direct < 0 ? tail : direct, tail, align)));
    for (unsigned i = 0; i < LOOPS; i++) {
        struct storer *s = &storers[i];
        s->self = i;
        s->rng = i + 1;
        s->work.fn = store_work;
        sem_init(&s->stopped, 0, 0);
        ck_assert_int_eq(uvm_loop_new("store", -1, &s->loop, &err), 0);
        uvm_loop_register(s->loop, uvm_pagermap_base(), uvm_pagermap_size());
        ck_assert_int_eq(uvm_loop_start(s->loop), 0);
    }
}

static void stop_storing(void)
{
    for (unsigned i = 0; i < LOOPS; i++)
        storers[i].stop = true;
    for (unsigned i = 0; i < LOOPS; i++)
        sem_wait(&storers[i].stopped);
}

static void teardown(void)
{
    uvm_cleaner_stop();
    for (unsigned i = 0; i < LOOPS; i++) {
        uvm_loop_stop(storers[i].loop);
        uvm_loop_join(storers[i].loop);
        uvm_loop_free(storers[i].loop);
    }
    uobj->pgops->pgo_detach(uobj);
    ck_assert_uint_eq(uvm_stat_get(vndirty), 0);
    ck_assert_uint_eq(uvm_stat_get(free), MEMORY);
    ck_assert_uint_eq(uvm_pagermap_free_pages(), UVM_PAGERMAP_PAGES);
    close(fd);
}

/* The file's copy of a page is whole, and at least as new as `least`. => its count */
static uint64_t check_page(uint32_t pgno, uint64_t least)
{
    uint64_t words[WORDS] = {0};

    if (pread(fd, words, sizeof(words), (off_t)uvm_ptoa(pgno)) < 0)
        ck_abort_msg("page %u: %s", pgno, strerror(errno));
    if (words[0] < least)
        ck_abort_msg("page %u: %llu in the file, %llu was stored", pgno,
                     (unsigned long long)words[0], (unsigned long long)least);
    for (unsigned w = 1; w < WORDS - 1; w++)
        if (words[w] != words[0])
            ck_abort_msg("page %u is torn", pgno);
    if (words[0] && words[WORDS - 1] != pgno)
        ck_abort_msg("page %u has the bytes of another", pgno);
    return words[0];
}

static void flush(void)
{
    uint64_t least[PAGES];

    for (uint32_t i = 0; i < PAGES; i++)
        least[i] = stored[i];
    ck_assert_int_eq(uvn_flush_wait(uobj, UVN_FDATASYNC), 0);
    for (uint32_t i = 0; i < PAGES; i++)
        check_page(i, least[i]);
}

static void begun(struct uvn_change *change)
{
    sem_post(change->arg);
}

/* A change of the blocks that the file has beyond what is stored to. */
static void change(void)
{
    sem_t sem;
    struct uvn_change c = {.uobj = uobj,
                           .loop = storers[0].loop,
                           .from = uvm_ptoa(PAGES),
                           .to = uvm_ptoa(PAGES + 8),
                           .size = UVN_SAME_SIZE,
                           .begun = begun,
                           .arg = &sem};

    sem_init(&sem, 0, 0);
    uvn_change_begin(&c);
    sem_wait(&sem);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)c.from, (off_t)(c.to - c.from)), 0);
    uvn_change_end(&c, true);
    sem_destroy(&sem);
}

START_TEST(test_loops)
{
    for (unsigned i = 0; i < LOOPS; i++)
        uvm_loop_post(storers[i].loop, &storers[i].work);
    for (int i = 0; i < 60; i++) {
        flush();
        if (i % 3 == 0)
            change();
    }
    stop_storing();
    flush();
    ck_assert_uint_eq(uobj->ndirty, 0);
    for (uint32_t i = 0; i < PAGES; i++)
        if (check_page(i, stored[i]) != stored[i])
            ck_abort_msg("page %u", i);
}
END_TEST

static Suite *suite_vnode_loops(void)
{
    struct uvm_error err = {0};
    struct uvm_loop *loop;
    if (uvm_loop_new("probe", -1, &loop, &err))
        unit_skip(err.msg);
    uvm_loop_free(loop);

    Suite *suite = suite_create("vnode_loops");
    TCase *tc = tcase_create("loops");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_loops);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite_vnode_loops)
