/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault thread on a real userfaultfd: objects with pages of every kind, touchers in threads of their own,
 * and calls of the code under test that are taken over, to have things happen in the middle of them.
 */
#include "faultd_rig.h"

struct uvm_loop *loop;
struct uvm_object *uobj, *other;

/* ---- what happens in the middle ---- */

void *__real_pmap_kva(uint32_t apage);
void *__wrap_pmap_kva(uint32_t apage);
void *__real_pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index);
void *__wrap_pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index);
void __real_uvm_fault_start(struct uvm_fault *fault);
void __wrap_uvm_fault_start(struct uvm_fault *fault);

_Atomic(hook_fn) on_copy, on_owner, on_faulted;
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

void faulted(struct uvm_fault *fault, int error)
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

void setup(void)
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

void teardown(void)
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

void sem_take(sem_t *sem)
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

bool is_pattern(const void *page, const struct uvm_object *o, uint32_t pgno, unsigned version)
{
    uint64_t want[UVM_PAGE_SIZE / sizeof(uint64_t)];

    pattern(want, o, pgno, version);
    return memcmp(page, want, UVM_PAGE_SIZE) == 0;
}

bool is_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, UVM_PAGE_SIZE - 1) == 0;
}

uvm_entry entry_of(struct uvm_object *o, uint32_t pgno)
{
    UVM_LOCK_SCOPE(&o->lock);
    return uvm_entry_get(o, pgno);
}

struct vm_page *page_of(struct uvm_object *o, uint32_t pgno)
{
    struct vm_page *pg = uvm_entry_page(entry_of(o, pgno));
    MUST(pg);
    return pg;
}

uint16_t flags_of(struct vm_page *pg)
{
    UVM_LOCK_SCOPE(&pg->uobject->lock);
    return pg->flags;
}

/* Give page pgno, of which there is nothing, a BUSY|FAKE page: absent, as fault.c has it while it
 * reads. */
struct vm_page *add_busy(struct uvm_object *o, uint32_t pgno)
{
    struct vm_pagelist one = TAILQ_HEAD_INITIALIZER(one);

    MUST(uvm_pagealloc(1, &one, 0, NULL));
    struct vm_page *pg = TAILQ_FIRST(&one);
    UVM_LOCK_SCOPE(&o->lock);
    struct uvm_leaf *leaf = uvm_leaf_make(o, pgno);
    MUST(leaf);
    if (uvm_entry_unreserved(o, uvm_entry_get(o, pgno))) {
        MUST(uvm_reserve(1, NULL) == UVM_RESERVED);
        uvm_entry_set(o, leaf, pgno, uvm_entry_make(UVM_E_HOLE, 0));
    }
    uvm_object_addpage(o, leaf, pgno, pg, __func__);
    return pg;
}

void let_go(struct vm_page *pg)
{
    struct uvm_object *o = pg->uobject;

    uvm_lock_acquire(&o->lock);
    MUST(uvm_page_letgo(pg, UVM_Q_ACTIVE));
    uvm_lock_release(&o->lock);
}

/* Fill what add_busy made, and let it go. */
void fill_busy(struct vm_page *pg, unsigned version)
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
uint32_t install(struct uvm_object *o, uint32_t pgno, uint32_t n, unsigned version)
{
    for (uint32_t i = 0; i < n; i++)
        fill_busy(add_busy(o, pgno + i), version);
    return page_of(o, pgno)->apage;
}

void free_pages(struct uvm_object *o, uint32_t pgno, uint32_t n)
{
    UVM_LOCK_SCOPE(&o->lock);
    MUST(o->pgops->pgo_flush(o, pgno, pgno + n, PGO_FREE));
}

/* Take a clean page away, as the pagedaemon does. => false: it cannot be had now */
bool evict(struct uvm_object *o, uint32_t pgno)
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
struct vm_page *claim(struct uvm_object *o, uint32_t pgno)
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
void put_claimed(struct vm_page **pages, uint32_t n)
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

void page_out(struct uvm_object *o, uint32_t pgno, uint32_t n)
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

int read_pages(struct uvm_object *o, uint32_t pgno, uint32_t n, void *dst)
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

void check_page(struct uvm_object *o, uint32_t pgno, unsigned version)
{
    char page[UVM_PAGE_SIZE];

    ck_assert_int_eq(read_pages(o, pgno, 1, page), 0);
    ck_assert_msg(is_pattern(page, o, pgno, version), "page %u has wrong bytes", pgno);
}

/* ---- touchers ---- */

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

void touch_start(struct toucher *t, enum touch_kind kind, uint32_t apage)
{
    t->kind = kind;
    t->at = pmap_kva(apage);
    atomic_store(&t->ended, false);
    ck_assert_int_eq(pthread_create(&t->thread, NULL, touch_main, t), 0);
}

void touch_end(struct toucher *t)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    ck_assert_msg(pthread_timedjoin_np(t->thread, NULL, &until) == 0, "the access never ended");
}

void touch(struct toucher *t, enum touch_kind kind, uint32_t apage)
{
    touch_start(t, kind, apage);
    touch_end(t);
}

/* The page is the pattern but for the word that a toucher has stored. */
void check_stored(uint32_t pgno)
{
    uint64_t want[UVM_PAGE_SIZE / sizeof(uint64_t)], page[UVM_PAGE_SIZE / sizeof(uint64_t)];

    pattern(want, uobj, pgno, 1);
    want[0] = STORED;
    ck_assert_int_eq(read_pages(uobj, pgno, 1, page), 0);
    ck_assert_mem_eq(page, want, UVM_PAGE_SIZE);
}

/* The page is dirty, writable, and has no slot. */
void check_dirty(uint32_t pgno)
{
    struct vm_page *pg = page_of(uobj, pgno);

    ck_assert_uint_eq(flags_of(pg), 0);
    ck_assert_uint_eq(pg->swslot, 0);
    ck_assert(pmap_is_modified(pg->apage));
    ck_assert_uint_eq(uvm_ledger_page(uvm_page_number(pg))->flags, UVM_LEDGER_DIRTY);
    ck_assert_uint_eq(uvm_ledger_page(uvm_page_number(pg))->slot, 0);
}

/* Page 0 resident and page 3 on swap: the window is ours. => page 3's place in the arena */
uint32_t swapped_page(void)
{
    uint32_t apage = install(uobj, 0, 4, 1) + 3;

    page_out(uobj, 3, 1);
    ck_assert_uint_eq(page_of(uobj, 0)->apage + 3, apage);
    return apage;
}
