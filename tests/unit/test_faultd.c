/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault thread, on the real userfaultfd, real loops and a real swap file.
 *
 *      toucher --touches the arena, sleeps--> userfaultfd --> fault thread --> page-in, zeroes, ...
 *         ^                                                        |
 *         +------------------- is let go --------------------------+
 *
 * A toucher is a thread that stands for an optimistic copy: it holds nothing and knows nothing of
 * pages. The test makes the state it meets, by hand where the state lasts only a moment in real
 * life, and every wait has a deadline.
 *
 * Three calls are taken over through the linker (--wrap), so that something can happen in the
 * middle of others: a read about to copy from the arena (pmap_kva), the fault thread having asked
 * whose window it is (pmap_window_owner), and having heard how a page-in ended (uvm_fault_start).
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/fault.h"
#include "daemon/faultd.h"
#include "daemon/ledger.h"
#include "daemon/pager/pagermap.h"
#include "daemon/pmap/pmap.h"
#include "daemon/reserve.h"
#include "daemon/rw.h"
#include "daemon/stats.h"

#define NPAGES     512u
#define NSLOTS     511u
#define DEADLINE_S 20
#define TIMEOUT_S  60

/* For what also runs on other threads, where Check's own asserts may not be used. */
#define MUST(cond)                                                                   \
    do {                                                                             \
        if (!(cond)) {                                                               \
            fprintf(stderr, "%s:%d: it must hold: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

#define WAIT_FOR(cond)                                                            \
    do {                                                                          \
        uint64_t end_ns = uvm_now_ns() + DEADLINE_S * 1000000000ull;              \
        while (!(cond)) {                                                         \
            if (uvm_now_ns() > end_ns) {                                          \
                fprintf(stderr, "%s:%d: never: %s\n", __FILE__, __LINE__, #cond); \
                abort();                                                          \
            }                                                                     \
            sched_yield();                                                        \
        }                                                                         \
    } while (0)

static struct uvm_loop *loop; /* the one that serves requests */
static struct uvm_object *uobj, *other;

/* ---- what happens in the middle ---- */

void *__real_pmap_kva(uint32_t apage);
void *__wrap_pmap_kva(uint32_t apage);
void *__real_pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index);
void *__wrap_pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index);
void __real_uvm_fault_start(struct uvm_fault *fault);
void __wrap_uvm_fault_start(struct uvm_fault *fault);

typedef void (*hook_fn)(void);

static _Atomic(hook_fn) on_copy, on_owner, on_faulted;
static void (*stray_done)(struct uvm_fault *fault, int error);

static void run_hook(_Atomic(hook_fn) *at)
{
    hook_fn hook = atomic_exchange(at, NULL);

    if (hook)
        hook();
}

void *__wrap_pmap_kva(uint32_t apage)
{
    if (uvm_loop_self() == loop)
        run_hook(&on_copy);
    return __real_pmap_kva(apage);
}

void *__wrap_pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index)
{
    void *owner = __real_pmap_window_owner(window, ret_id, ret_index);

    run_hook(&on_owner);
    return owner;
}

static void faulted(struct uvm_fault *fault, int error)
{
    fault->done = stray_done;
    run_hook(&on_faulted);
    fault->done(fault, error);
}

void __wrap_uvm_fault_start(struct uvm_fault *fault)
{
    if (atomic_load(&on_faulted) && uvm_loop_self() != loop) {
        stray_done = fault->done;
        fault->done = faulted;
    }
    __real_uvm_fault_start(fault);
}

/* ---- the fixture ---- */

/* The file loses its name at once, so that nothing is left behind however the test ends. It is
 * beside the build, because a /tmp in memory may have no O_DIRECT. */
static void add_swap(void)
{
    struct uvm_error err = {0};
    struct uvm_swapspec spec = {.size = uvm_ptoa(NSLOTS + 1)};
    const char *tmp = getenv("TMPDIR");
    char dir[200];

    snprintf(dir, sizeof(dir), "%s/uvm-faultd-XXXXXX", tmp ? tmp : ".");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(spec.path, sizeof(spec.path), "%s/swap", dir);
    int rc = uvm_swap_add(&spec, &err);
    unlink(spec.path);
    rmdir(dir);
    ck_assert_msg(rc == 0, "%s", err.msg);
}

static void setup(void)
{
    struct uvm_error err = {0};

    uvm_object_module_init();
    uvm_reserve_init();
    ck_assert_msg(uvm_ledger_init(NPAGES, NPAGES, &err) == 0, "%s", err.msg);
    ck_assert_msg(uvm_page_init(NPAGES, &err) == 0, "%s", err.msg);
    ck_assert_msg(pmap_init(PMAP_UFFD, NPAGES, &err) == 0, "%s", err.msg);
    ck_assert_msg(uvm_pagermap_init(&err) == 0, "%s", err.msg);
    uvm_pager_init();
    uvm_swap_init();
    uvm_swap_faults(true);
    add_swap();
    uvm_reserve_set_memory(NPAGES);
    ck_assert_msg(uvm_loop_new("uvm-test", -1, &loop, &err) == 0, "%s", err.msg);
    uvm_loop_register(loop, uvm_pagermap_base(), uvm_pagermap_size());
    ck_assert_int_eq(uvm_loop_start(loop), 0);
    ck_assert_msg(uvm_faultd_start(&err) == 0, "%s", err.msg);
    uobj = uao_create(1001);
    other = uao_create(1002);
    ck_assert(uobj && other);
}

static void teardown(void)
{
    ck_assert(!on_copy && !on_owner && !on_faulted); /* every hook has run */
    uobj->pgops->pgo_detach(uobj);
    other->pgops->pgo_detach(other);
    uvm_faultd_stop();
    uvm_loop_stop(loop);
    uvm_loop_join(loop);
    uvm_loop_free(loop);
    loop = NULL;
    ck_assert_uint_eq(uvm_stat_get(objects), 0);
    ck_assert_uint_eq(uvm_stat_get(free), NPAGES);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_pagermap_free_pages(), UVM_PAGERMAP_PAGES);
    for (uint32_t i = 0; i < NPAGES; i++)
        page_assert(uvm_page_at(i));
    uvm_swap_fini();
    uvm_pagermap_fini();
    pmap_fini();
    uvm_page_fini();
    uvm_ledger_fini();
}

static void sem_take(sem_t *sem)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    while (sem_timedwait(sem, &until))
        MUST(errno == EINTR);
}

/* ---- pages, by hand: any thread but the loop's ---- */

static void pattern(void *page, const struct uvm_object *o, uint32_t pgno, unsigned version)
{
    uint64_t *word = page, x = o->id << 40 ^ (uint64_t)pgno << 8 ^ version;

    for (uint32_t i = 0; i < UVM_PAGE_SIZE / sizeof(*word); i++)
        word[i] = x = x * 6364136223846793005ull + 1442695040888963407ull;
}

static bool is_pattern(const void *page, const struct uvm_object *o, uint32_t pgno,
                       unsigned version)
{
    uint64_t want[UVM_PAGE_SIZE / sizeof(uint64_t)];

    pattern(want, o, pgno, version);
    return memcmp(page, want, UVM_PAGE_SIZE) == 0;
}

static bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, UVM_PAGE_SIZE - 1) == 0;
}

static uvm_entry entry_of(struct uvm_object *o, uint32_t pgno)
{
    UVM_LOCK_SCOPE(&o->lock);
    return uvm_entry_get(o, pgno);
}

static struct vm_page *page_of(struct uvm_object *o, uint32_t pgno)
{
    struct vm_page *pg = uvm_entry_page(entry_of(o, pgno));
    MUST(pg);
    return pg;
}

static uint16_t flags_of(struct vm_page *pg)
{
    UVM_LOCK_SCOPE(&pg->uobject->lock);
    return pg->flags;
}

/* Give page pgno, of which there is nothing, a BUSY|FAKE page: absent, as fault.c has it while it
 * reads. */
static struct vm_page *add_busy(struct uvm_object *o, uint32_t pgno)
{
    struct vm_pagelist one = TAILQ_HEAD_INITIALIZER(one);

    MUST(uvm_pagealloc(1, &one, 0, NULL));
    struct vm_page *pg = TAILQ_FIRST(&one);
    UVM_LOCK_SCOPE(&o->lock);
    struct uvm_leaf *leaf = uvm_leaf_make(o, pgno);
    MUST(leaf);
    if (uvm_entry_tag(uvm_entry_get(o, pgno)) == UVM_E_EMPTY) {
        MUST(uvm_reserve(1, NULL) == UVM_RESERVED);
        uvm_entry_set(o, leaf, pgno, uvm_entry_make(UVM_E_HOLE, 0));
    }
    uvm_object_addpage(o, leaf, pgno, pg, __func__);
    return pg;
}

static void let_go(struct vm_page *pg)
{
    struct uvm_object *o = pg->uobject;

    uvm_lock_acquire(&o->lock);
    MUST(uvm_page_letgo(pg, UVM_Q_ACTIVE));
    uvm_lock_release(&o->lock);
}

/* Fill what add_busy made, and let it go. */
static void fill_busy(struct vm_page *pg, unsigned version)
{
    char page[UVM_PAGE_SIZE];

    pattern(page, pg->uobject, pg->pgno, version);
    MUST(pmap_enter(pg->apage, 1, page, UVM_PROT_RW) == 0);
    uvm_lock_acquire(&pg->uobject->lock);
    uvm_page_filled(pg, false);
    uvm_lock_release(&pg->uobject->lock);
    let_go(pg);
}

/* Dirty resident pages. => the arena page of the first */
static uint32_t install(struct uvm_object *o, uint32_t pgno, uint32_t n, unsigned version)
{
    for (uint32_t i = 0; i < n; i++)
        fill_busy(add_busy(o, pgno + i), version);
    return page_of(o, pgno)->apage;
}

static void free_pages(struct uvm_object *o, uint32_t pgno, uint32_t n)
{
    UVM_LOCK_SCOPE(&o->lock);
    MUST(o->pgops->pgo_flush(o, pgno, pgno + n, PGO_FREE));
}

/* Take a clean page away, as the pagedaemon does. => false: it cannot be had now */
static bool evict(struct uvm_object *o, uint32_t pgno)
{
    uvm_lock_acquire(&o->lock);
    struct vm_page *pg = uvm_entry_page(uvm_entry_get(o, pgno));
    bool can = pg && (pg->flags & (PG_BUSY | PG_CLEAN)) == PG_CLEAN;
    if (can) {
        uvm_page_busy(pg, __func__);
        pg->flags |= PG_PAGEOUT;
        uvm_stat_inc(paging);
    }
    uvm_lock_release(&o->lock);
    if (can)
        uvm_pager_dropcluster(&pg, 1, NULL, PGO_PDFREECLUST);
    return can;
}

/* Own a page for page-out: BUSY|PAGEOUT, dirty, write-protected. */
static struct vm_page *claim(struct uvm_object *o, uint32_t pgno)
{
    struct vm_page *pg = page_of(o, pgno);

    uvm_lock_acquire(&o->lock);
    uvm_page_busy(pg, __func__);
    uint32_t slot = uvm_page_dirty(pg);
    if (slot)
        uvm_swap_free(slot, 1);
    pg->flags |= PG_PAGEOUT;
    uvm_stat_inc(paging);
    uvm_lock_release(&o->lock);
    pmap_clear_modify(pg->apage, 1);
    return pg;
}

/* ---- requests, on the loop ---- */

struct put {
    struct uvm_work work;
    struct uvm_cluster cl;
    uint32_t nok;
    sem_t ended;
};

static void put_done(struct uvm_cluster *cl, uint32_t nok)
{
    struct put *put = cl->arg;
    put->nok = nok;
    sem_post(&put->ended);
}

static void put_start(struct uvm_work *work)
{
    struct put *put = UVM_CONTAINER_OF(work, struct put, work);
    MUST(uvm_pager_put(&put->cl) == VM_PAGER_PEND);
}

/* Write claimed pages of one object to a run of slots; they are freed. */
static void put_claimed(struct vm_page **pages, uint32_t n)
{
    struct put put = {
        .work.fn = put_start,
        .cl = {.npages = n, .flags = PGO_PDFREECLUST, .loop = loop, .done = put_done},
    };
    uint32_t nslots = n;

    put.cl.arg = &put;
    sem_init(&put.ended, 0, 0);
    put.cl.swslot = uvm_swap_alloc(&nslots, false);
    ck_assert_uint_ne(put.cl.swslot, 0);
    uvm_lock_acquire(&pages[0]->uobject->lock);
    for (uint32_t i = 0; i < n; i++) {
        put.cl.pps[i] = pages[i];
        uvm_page_assign(pages[i], put.cl.swslot + i);
    }
    uvm_lock_release(&pages[0]->uobject->lock);
    uvm_loop_post(loop, &put.work);
    sem_take(&put.ended);
    sem_destroy(&put.ended);
    ck_assert_uint_eq(put.nok, n);
}

static void page_out(struct uvm_object *o, uint32_t pgno, uint32_t n)
{
    struct vm_page *pages[UVM_CLUSTER_PAGES];

    for (uint32_t i = 0; i < n; i++)
        pages[i] = claim(o, pgno + i);
    put_claimed(pages, n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(uvm_entry_tag(entry_of(o, pgno + i)), UVM_E_SLOT);
}

struct req {
    struct uvm_work work;
    struct uvm_rw rw;
    int error;
    sem_t ended;
};

static void req_done(struct uvm_rw *rw, int error)
{
    struct req *req = rw->arg;
    req->error = error;
    sem_post(&req->ended);
}

static void req_start(struct uvm_work *work)
{
    uvm_read(&UVM_CONTAINER_OF(work, struct req, work)->rw);
}

static int read_pages(struct uvm_object *o, uint32_t pgno, uint32_t n, void *dst)
{
    struct req req = {
        .work.fn = req_start,
        .rw = {.uobj = o, .loop = loop, .off = uvm_ptoa(pgno), .len = uvm_ptoa(n), .dst = dst},
    };

    req.rw.done = req_done;
    req.rw.arg = &req;
    sem_init(&req.ended, 0, 0);
    uvm_loop_post(loop, &req.work);
    sem_take(&req.ended);
    sem_destroy(&req.ended);
    return req.error;
}

static void check_page(struct uvm_object *o, uint32_t pgno, unsigned version)
{
    char page[UVM_PAGE_SIZE];

    ck_assert_int_eq(read_pages(o, pgno, 1, page), 0);
    ck_assert_msg(is_pattern(page, o, pgno, version), "page %u has wrong bytes", pgno);
}

/* ---- touchers ---- */

enum touch_kind { TOUCH_LOAD, TOUCH_STORE, TOUCH_PIPE };

struct toucher {
    pthread_t thread;
    enum touch_kind kind;
    volatile uint64_t *at;
    uint64_t
        page[UVM_PAGE_SIZE / sizeof(uint64_t)]; /* LOAD: what was there; STORE: [0] goes there */
    int fd;                                     /* PIPE: the page goes there */
    ssize_t wrote;
    _Atomic bool ended;
};

/* The MMU orders these accesses and the others', which a sanitizer of threads cannot see. */
__attribute__((no_sanitize("thread"))) static void *touch_main(void *arg)
{
    struct toucher *t = arg;

    if (t->kind == TOUCH_LOAD)
        for (uint32_t i = 0; i < UVM_PAGE_SIZE / sizeof(uint64_t); i++)
            t->page[i] = t->at[i];
    else if (t->kind == TOUCH_STORE)
        t->at[0] = t->page[0];
    else
        t->wrote = write(t->fd, (const void *)t->at, UVM_PAGE_SIZE);
    atomic_store(&t->ended, true);
    return NULL;
}

static void touch_start(struct toucher *t, enum touch_kind kind, uint32_t apage)
{
    t->kind = kind;
    t->at = pmap_kva(apage);
    atomic_store(&t->ended, false);
    ck_assert_int_eq(pthread_create(&t->thread, NULL, touch_main, t), 0);
}

static void touch_end(struct toucher *t)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    ck_assert_msg(pthread_timedjoin_np(t->thread, NULL, &until) == 0, "the access never ended");
}

static void touch(struct toucher *t, enum touch_kind kind, uint32_t apage)
{
    touch_start(t, kind, apage);
    touch_end(t);
}

#define STORED 0x5a5a5a5a12345678ull

/* The page is the pattern but for the word that a toucher has stored. */
static void check_stored(uint32_t pgno)
{
    uint64_t want[UVM_PAGE_SIZE / sizeof(uint64_t)], page[UVM_PAGE_SIZE / sizeof(uint64_t)];

    pattern(want, uobj, pgno, 1);
    want[0] = STORED;
    ck_assert_int_eq(read_pages(uobj, pgno, 1, page), 0);
    ck_assert_mem_eq(page, want, UVM_PAGE_SIZE);
}

/* The page is dirty, writable, and has no slot. */
static void check_dirty(uint32_t pgno)
{
    struct vm_page *pg = page_of(uobj, pgno);

    ck_assert_uint_eq(flags_of(pg), 0);
    ck_assert_uint_eq(pg->swslot, 0);
    ck_assert(pmap_is_modified(pg->apage));
    ck_assert_uint_eq(uvm_ledger_page(uvm_page_number(pg))->flags, UVM_LEDGER_DIRTY);
    ck_assert_uint_eq(uvm_ledger_page(uvm_page_number(pg))->slot, 0);
}

/* Page 0 resident and page 3 on swap: the window is ours. => page 3's place in the arena */
static uint32_t swapped_page(void)
{
    uint32_t apage = install(uobj, 0, 4, 1) + 3;

    page_out(uobj, 3, 1);
    ck_assert_uint_eq(page_of(uobj, 0)->apage + 3, apage);
    return apage;
}

/* ---- what a load finds ---- */

START_TEST(test_load_swapped)
{
    struct toucher t;
    uint32_t apage = swapped_page();
    uint32_t slot = uvm_entry_value(entry_of(uobj, 3));
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);
    uint64_t missing = uvm_stat_get(flt_uffd_missing), pageins = uvm_stat_get(pageins);

    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    ck_assert_uint_eq(uvm_stat_get(pageins), pageins + 1);
    /* The copy that faulted is good. */
    ck_assert_uint_eq(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);

    WAIT_FOR(!(flags_of(page_of(uobj, 3)) & PG_BUSY)); /* it was let go after the bytes came */
    struct vm_page *pg = page_of(uobj, 3);
    ck_assert_uint_eq(flags_of(pg), PG_CLEAN);
    ck_assert_uint_eq(pg->apage, apage);
    ck_assert_uint_eq(pg->swslot, slot);
    ck_assert(!pmap_is_modified(apage));
}
END_TEST

START_TEST(test_load_kernel)
{
    struct toucher t;
    char page[UVM_PAGE_SIZE];
    int fds[2];
    uint32_t apage = swapped_page();
    uint64_t missing = uvm_stat_get(flt_uffd_missing);

    ck_assert_int_eq(pipe(fds), 0);
    t.fd = fds[1];
    touch(&t, TOUCH_PIPE, apage);
    ck_assert_int_eq(t.wrote, UVM_PAGE_SIZE);
    ck_assert_int_eq(read(fds[0], page, sizeof(page)), sizeof(page));
    ck_assert(is_pattern(page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(test_load_free_window)
{
    struct toucher t;
    uint32_t apage = install(other, 0, 1, 1), window = apage / UVM_WINDOW_PAGES;

    free_pages(other, 0, 1);
    uint32_t gen = pmap_window_gen(window);
    touch(&t, TOUCH_LOAD, apage + 5);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(window), gen);

    /* Somebody else's window now: where the zeroes were there is a hole again. */
    ck_assert_uint_eq(install(uobj, 0, 1, 2), apage);
    gen = pmap_window_gen(window);
    uint64_t missing = uvm_stat_get(flt_uffd_missing);
    touch(&t, TOUCH_LOAD, apage + 5);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    ck_assert_uint_ne(pmap_window_gen(window), gen);
    check_page(uobj, 0, 2);
}
END_TEST

/* _i: the page was never touched, or only read */
START_TEST(test_load_hole)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 1, 1) + 7, window = apage / UVM_WINDOW_PAGES;

    if (_i)
        ck_assert_int_eq(read_pages(uobj, 7, 1, t.page), 0);
    ck_assert_int_eq(uvm_entry_tag(entry_of(uobj, 7)), _i ? UVM_E_HOLE : UVM_E_EMPTY);
    uint32_t gen = pmap_window_gen(window);
    uint64_t missing = uvm_stat_get(flt_uffd_missing);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(window), gen);
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_missing), missing + 1);
    ck_assert_int_eq(uvm_entry_tag(entry_of(uobj, 7)), _i ? UVM_E_HOLE : UVM_E_EMPTY);

    /* Nobody keeps the zeroes: the page that comes there has its own bytes. */
    install(uobj, 7, 1, 2);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 7, 2));
    check_page(uobj, 0, 1);
}
END_TEST

START_TEST(test_load_busy)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 1, 1) + 3;
    struct vm_page *pg = add_busy(uobj, 3);
    uint64_t waits = uvm_stat_get(flt_pgwait);

    ck_assert_uint_eq(pg->apage, apage);
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);
    touch_start(&t, TOUCH_LOAD, apage);
    WAIT_FOR(uvm_stat_get(flt_pgwait) == waits + 1);
    ck_assert(flags_of(pg) & PG_WANTED);
    ck_assert(!t.ended);
    fill_busy(pg, 4);
    touch_end(&t);
    ck_assert(is_pattern(t.page, uobj, 3, 4));
    ck_assert_uint_eq(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
}
END_TEST

/* The page is truncated while its owner, who has not filled it, and a toucher are at it. */
START_TEST(test_load_busy_released)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 1, 1) + 3;
    struct vm_page *pg = add_busy(uobj, 3);
    uint64_t waits = uvm_stat_get(flt_pgwait);
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);

    touch_start(&t, TOUCH_LOAD, apage);
    WAIT_FOR(uvm_stat_get(flt_pgwait) == waits + 1);
    free_pages(uobj, 3, 1);
    ck_assert(!t.ended);
    let_go(pg);
    touch_end(&t);
    ck_assert(is_zero((uint8_t *)t.page));
    ck_assert_uint_ne(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
    ck_assert_int_eq(uvm_entry_tag(entry_of(uobj, 3)), UVM_E_EMPTY);
}
END_TEST

#define CROWD 24 /* more than the fault thread reads at once */

START_TEST(test_load_crowd)
{
    static struct toucher t[CROWD];
    uint32_t apage = swapped_page();
    uint64_t pageins = uvm_stat_get(pageins), pgswapin = uvm_stat_get(pgswapin);

    for (unsigned i = 0; i < CROWD; i++)
        touch_start(&t[i], TOUCH_LOAD, apage);
    for (unsigned i = 0; i < CROWD; i++)
        touch_end(&t[i]);
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert(is_pattern(t[i].page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(pageins), pageins + 1);
    ck_assert_uint_eq(uvm_stat_get(pgswapin), pgswapin + 1);
}
END_TEST

/* ---- stores ---- */

START_TEST(test_store_clean)
{
    struct toucher t;
    uint32_t apage = swapped_page();

    check_page(uobj, 3, 1); /* pages it in */
    ck_assert_uint_eq(flags_of(page_of(uobj, 3)), PG_CLEAN);
    uint64_t wp = uvm_stat_get(flt_uffd_wp), inuse = uvm_stat_get(swpginuse);

    for (unsigned again = 0; again < 2; again++) {
        t.page[0] = STORED;
        touch(&t, TOUCH_STORE, apage);
        ck_assert_uint_eq(uvm_stat_get(flt_uffd_wp), wp + 1); /* only the first one faults */
    }
    WAIT_FOR(!(flags_of(page_of(uobj, 3)) & PG_BUSY));
    ck_assert_uint_eq(uvm_stat_get(swpginuse), inuse - 1);
    check_dirty(3);
    check_stored(3);
}
END_TEST

/* _i: the page is let go because it could not be written, or written and gone */
START_TEST(test_store_pageout)
{
    struct toucher t;
    uint32_t apage = install(uobj, 0, 4, 1) + 3;
    uint64_t waits = uvm_stat_get(flt_pgwait), wp = uvm_stat_get(flt_uffd_wp);
    struct vm_page *pg = claim(uobj, 3);

    t.page[0] = STORED;
    touch_start(&t, TOUCH_STORE, apage);
    WAIT_FOR(uvm_stat_get(flt_pgwait) == waits + 1);
    ck_assert(!t.ended);
    ck_assert(!pmap_is_modified(apage));
    ck_assert(is_pattern(pmap_kva(apage), uobj, 3, 1)); /* P5 */
    ck_assert_uint_eq(uvm_stat_get(flt_uffd_wp), wp + 1);
    if (_i)
        put_claimed(&pg, 1);
    else
        uvm_pager_dropcluster(&pg, 1, NULL, 0);
    touch_end(&t);
    WAIT_FOR(!(flags_of(page_of(uobj, 3)) & PG_BUSY));
    check_dirty(3);
    check_stored(3);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
}
END_TEST

/* ---- shortages ---- */

/* All the memory that requests may have is taken: the fault thread has its own (P9). */
START_TEST(test_no_memory)
{
    struct vm_pagelist taken = TAILQ_HEAD_INITIALIZER(taken);
    struct toucher t;
    uint32_t apage = swapped_page();

    while (uvm_pagealloc(1, &taken, 0, NULL))
        continue;
    ck_assert_uint_eq(uvm_stat_get(free), UVM_PAGE_RESERVE);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    ck_assert_uint_eq(uvm_stat_get(flt_noram), 0);
    uvm_pageput(&taken);
}
END_TEST

/* All of the pager map that requests may have is taken, by page-ins of the very loop that sleeps in
 * the toucher's place: they end when it wakes up, not before. */
START_TEST(test_no_pager_map)
{
    static void *runs[UVM_PAGERMAP_PAGES];
    struct toucher t;
    uint32_t apage = swapped_page(), nruns = 0;

    while ((runs[nruns] = uvm_pagermapin(1, 0, NULL)))
        nruns++;
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
    while (nruns--)
        uvm_pagermapout(runs[nruns], 1);
}
END_TEST

/* ---- errors and changes in the middle ---- */

static void fail_reads(uint32_t slot)
{
    struct uvm_swapfault rule = {.reads = true, .error = EIO, .slot = slot, .nslots = 1};

    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
}

START_TEST(test_read_error)
{
    struct toucher t;
    uint32_t apage = swapped_page();
    uvm_entry was = entry_of(uobj, 3);
    uint32_t gen = pmap_window_gen(apage / UVM_WINDOW_PAGES);
    uint64_t inuse = uvm_stat_get(swpginuse);

    fail_reads(uvm_entry_value(was));
    touch(&t, TOUCH_LOAD, apage);
    ck_assert_uint_ne(pmap_window_gen(apage / UVM_WINDOW_PAGES), gen);
    ck_assert_uint_eq(entry_of(uobj, 3), was);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), inuse);
    ck_assert_uint_ge(uvm_stat_get(ioerrors), 1);
    ck_assert_int_eq(read_pages(uobj, 3, 1, t.page), -EIO);
    ck_assert_uint_eq(entry_of(uobj, 3), was);

    /* The slot has kept the bytes, and they come when the device answers again. */
    uvm_swap_inject_clear();
    check_page(uobj, 3, 1);
    touch(&t, TOUCH_LOAD, apage);
    ck_assert(is_pattern(t.page, uobj, 3, 1));
}
END_TEST

static uint32_t hook_apage; /* what hand_over is to find again in other's hands */

/* The window goes from one object to another, who puts a page where the fault was. */
static void hand_over(void)
{
    free_pages(uobj, 0, UVM_WINDOW_PAGES);
    MUST(install(other, 3, 1, 7) == hook_apage);
}

/* _i: whose window it is is asked when nobody, or somebody else owns it */
START_TEST(test_window_changes_hands)
{
    struct toucher t;

    hook_apage = install(uobj, 0, 1, 1) + 3;
    if (!_i)
        free_pages(uobj, 0, 1);
    atomic_store(&on_owner, hand_over);
    touch(&t, TOUCH_LOAD, hook_apage);
    WAIT_FOR(!on_owner);
    /* A second one is served only after the first: then all of that is over. */
    touch(&t, TOUCH_LOAD, hook_apage + 1);
    check_page(other, 3, 7);
}
END_TEST

static void evict_and_hand_over(void)
{
    MUST(evict(uobj, 0));
    MUST(install(other, 3, 1, 7) == hook_apage);
}

static void read_again(void)
{
    char page[UVM_PAGE_SIZE];

    uvm_swap_inject_clear();
    MUST(read_pages(uobj, 3, 1, page) == 0);
}

/* A page-in for a toucher fails, and before it is told so: _i: the window gets another owner, or the
 * same page comes in after all. */
START_TEST(test_read_error_and_change)
{
    struct toucher t;

    /* Page 0 resident and clean, page 3 on swap, and nothing else. */
    hook_apage = swapped_page();
    page_out(uobj, 0, 1);
    check_page(uobj, 0, 1);
    free_pages(uobj, 1, 2);
    fail_reads(uvm_entry_value(entry_of(uobj, 3)));
    atomic_store(&on_faulted, _i ? read_again : evict_and_hand_over);
    touch(&t, TOUCH_LOAD, hook_apage);
    WAIT_FOR(!on_faulted);
    touch(&t, TOUCH_LOAD, hook_apage + 1);
    uvm_swap_inject_clear();
    if (!_i)
        check_page(other, 3, 7);
    check_page(uobj, 3, 1);
}
END_TEST

/* ---- uvm_read against a thread that takes away what it copies ---- */

#define RACE_PAGES  48u
#define RACE_ROUNDS 60u

static struct {
    sem_t go;            /* the read is about to copy */
    sem_t acted;         /* the racer has done its work */
    _Atomic bool wait;   /* the read waits for that first */
    _Atomic bool finish; /* no more rounds */
    void (*act)(unsigned round);
    unsigned round;
    pthread_t thread;
} race;

static void race_copying(void)
{
    sem_post(&race.go);
    if (race.wait)
        sem_take(&race.acted);
}

static void *race_main(void *arg)
{
    for (;;) {
        sem_take(&race.go);
        if (race.finish)
            return NULL;
        race.act(race.round);
        sem_post(&race.acted);
    }
}

static void race_begin(void (*act)(unsigned round))
{
    sem_init(&race.go, 0, 0);
    sem_init(&race.acted, 0, 0);
    race.act = act;
    race.finish = false;
    ck_assert_int_eq(pthread_create(&race.thread, NULL, race_main, NULL), 0);
}

/* One read of the object that meets the racer. */
static void race_read(unsigned round, bool wait, uint8_t *dst)
{
    race.round = round;
    race.wait = wait;
    atomic_store(&on_copy, race_copying);
    memset(dst, 0xee, uvm_ptoa(RACE_PAGES));
    ck_assert_int_eq(read_pages(uobj, 0, RACE_PAGES, dst), 0);
    if (!wait)
        sem_take(&race.acted);
}

static void race_end(void)
{
    race.finish = true;
    sem_post(&race.go);
    ck_assert_int_eq(pthread_join(race.thread, NULL), 0);
    sem_destroy(&race.go);
    sem_destroy(&race.acted);
}

/* Every third round the window goes too. */
static void act_evict(unsigned round)
{
    for (uint32_t i = round % 3 ? 1 : 0; i < RACE_PAGES; i++)
        evict(uobj, i);
}

START_TEST(test_read_while_evicted)
{
    uint8_t *dst = malloc(uvm_ptoa(RACE_PAGES));
    uint64_t missing = uvm_stat_get(flt_uffd_missing), regen = uvm_stat_get(flt_regen);

    ck_assert_ptr_nonnull(dst);
    install(uobj, 0, RACE_PAGES, 1);
    page_out(uobj, 0, RACE_PAGES);
    race_begin(act_evict);
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        race_read(round, round % 2, dst);
        for (uint32_t i = 0; i < RACE_PAGES; i++)
            ck_assert_msg(is_pattern(dst + uvm_ptoa(i), uobj, i, 1), "round %u: page %u", round, i);
    }
    race_end();
    ck_assert_uint_gt(uvm_stat_get(flt_uffd_missing), missing);
    ck_assert_uint_ge(uvm_stat_get(flt_regen), regen + RACE_ROUNDS / 6);
    free(dst);
}
END_TEST

/* Truncate; every other time keep a page, and with it the window, else give both to the other. */
static void act_truncate(unsigned round)
{
    if (round & 2) {
        free_pages(uobj, 1, RACE_PAGES - 1);
        return;
    }
    free_pages(uobj, 0, RACE_PAGES);
    MUST(install(other, 0, RACE_PAGES, round) == hook_apage);
}

START_TEST(test_read_while_truncated)
{
    uint8_t *dst = malloc(uvm_ptoa(RACE_PAGES));
    uint64_t regen = uvm_stat_get(flt_regen);

    ck_assert_ptr_nonnull(dst);
    race_begin(act_truncate);
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        bool kept = round & 2, wait = round & 1;
        hook_apage = install(uobj, 0, RACE_PAGES, round);
        race_read(round, wait, dst);
        for (uint32_t i = 0; i < RACE_PAGES; i++) {
            bool old = is_pattern(dst + uvm_ptoa(i), uobj, i, round);
            bool zero = is_zero(dst + uvm_ptoa(i));
            bool may_be_old = !wait || (kept && i == 0), may_be_zero = !(kept && i == 0);
            ck_assert_msg((old && may_be_old) || (zero && may_be_zero), "round %u: page %u: %s",
                          round, i,
                          old    ? "old"
                          : zero ? "zero"
                                 : "not its own");
        }
        for (uint32_t i = 0; i < RACE_PAGES && !kept; i++)
            check_page(other, i, round);
        free_pages(other, 0, RACE_PAGES);
        free_pages(uobj, 0, RACE_PAGES);
    }
    race_end();
    ck_assert_uint_ge(uvm_stat_get(flt_regen), regen + RACE_ROUNDS / 2);
    free(dst);
}
END_TEST

/* ---- */

static void probe(void)
{
    struct uvm_error err = {0};
    struct uvm_loop *l;

    if (uvm_loop_new("probe", -1, &l, &err))
        unit_skip(err.msg);
    uvm_loop_free(l);
    if (pmap_init(PMAP_UFFD, 1, &err))
        unit_skip(err.msg);
    pmap_fini();
}

static TCase *new_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_checked_fixture(tc, setup, teardown);
    suite_add_tcase(s, tc);
    return tc;
}

static Suite *faultd_suite(void)
{
    probe();
    Suite *s = suite_create("faultd");
    TCase *tc = new_case(s, "load");
    tcase_add_test(tc, test_load_swapped);
    tcase_add_test(tc, test_load_kernel);
    tcase_add_test(tc, test_load_free_window);
    tcase_add_loop_test(tc, test_load_hole, 0, 2);
    tcase_add_test(tc, test_load_busy);
    tcase_add_test(tc, test_load_busy_released);
    tcase_add_test(tc, test_load_crowd);

    tc = new_case(s, "store");
    tcase_add_test(tc, test_store_clean);
    tcase_add_loop_test(tc, test_store_pageout, 0, 2);

    tc = new_case(s, "shortage");
    tcase_add_test(tc, test_no_memory);
    tcase_add_test(tc, test_no_pager_map);

    tc = new_case(s, "middle");
    tcase_add_test(tc, test_read_error);
    tcase_add_loop_test(tc, test_window_changes_hands, 0, 2);
    tcase_add_loop_test(tc, test_read_error_and_change, 0, 2);

    tc = new_case(s, "race");
    tcase_add_test(tc, test_read_while_evicted);
    tcase_add_test(tc, test_read_while_truncated);
    return s;
}

UNIT_MAIN(faultd_suite)
