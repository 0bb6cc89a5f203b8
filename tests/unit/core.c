/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests, clusters and checks of the fixture. Nothing here waits: what a call has started is run by
 * core_run() until nothing is left, on the test's own thread, so a result is there when it returns.
 * The bytes of a page are made from object, page number and version, and found wrong by any of the
 * three.
 */
#include "core.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/ledger.h"
#include "daemon/pager/pagermap.h"
#include "daemon/pager/swap.h"

static uint64_t next_id = 1000;

void core_up(uint32_t npages)
{
    struct uvm_error err = {0};

    uvm_object_module_init();
    uvm_reserve_init();
    ck_assert_msg(uvm_ledger_init(npages, npages, &err) == 0, "%s", err.msg);
    ck_assert_msg(uvm_page_init(npages, &err) == 0, "%s", err.msg);
    ck_assert_msg(pmap_init(PMAP_SOFT, npages, &err) == 0, "%s", err.msg);
    ck_assert_msg(uvm_pagermap_init(&err) == 0, "%s", err.msg);
    uvm_pager_init();
    uvm_swap_init();
    uvm_swap_faults(true);
    uvm_reserve_set_memory(npages);
    core_run();
}

/* The file loses its name at once, so that nothing is left behind however the test ends. */
void core_swap(void)
{
    struct uvm_error err = {0};
    struct uvm_swapspec spec = {.size = uvm_ptoa(CORE_SWAP_SLOTS + 1)};
    const char *tmp = getenv("TMPDIR");
    char dir[200];

    snprintf(dir, sizeof(dir), "%s/uvm-core-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(spec.path, sizeof(spec.path), "%s/swap", dir);
    int rc = uvm_swap_add(&spec, &err);
    unlink(spec.path);
    rmdir(dir);
    ck_assert_msg(rc == 0, "%s", err.msg);
}

void core_down(void)
{
    core_run();
    ck_assert_uint_eq(uvm_stat_get(objects), 0);
    ck_assert_uint_eq(uvm_stat_get(free), uvm_page_count());
    ck_assert_uint_eq(uvm_stat_get(active), 0);
    ck_assert_uint_eq(uvm_stat_get(inactive), 0);
    ck_assert_uint_eq(uvm_stat_get(paging), 0);
    ck_assert_uint_eq(uvm_stat_get(wired), 0);
    ck_assert_uint_eq(uvm_stat_get(delivered), 0);
    ck_assert_uint_eq(uvm_stat_get(reserved), 0);
    ck_assert_uint_eq(uvm_stat_get(lent), 0);
    ck_assert_uint_eq(uvm_stat_get(swpginuse), 0);
    ck_assert_uint_eq(uvm_stat_get(swpgonly), 0);
    ck_assert_uint_eq(uvm_pagermap_free_pages(), UVM_PAGERMAP_PAGES);
    ck_assert(!uvm_page_wanted());
    ck_assert(!uvm_reserve_parked());
    for (uint32_t i = 0; i < uvm_page_count(); i++) {
        page_assert(uvm_page_at(i));
        ck_assert_uint_eq(uvm_ledger_page(i)->object, 0);
    }
    uvm_swap_fini();
    uvm_pagermap_fini();
    pmap_fini();
    uvm_page_fini();
    uvm_ledger_fini();
}

struct uvm_object *core_object(void)
{
    struct uvm_object *uobj = uao_create(next_id++);
    ck_assert_ptr_nonnull(uobj);
    return uobj;
}

void core_gone(struct uvm_object *uobj)
{
    uobj->pgops->pgo_detach(uobj);
}

static uvm_entry entry(struct uvm_object *uobj, uint32_t pgno)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uvm_entry_get(uobj, pgno);
}

enum uvm_entry_tag core_tag(struct uvm_object *uobj, uint32_t pgno)
{
    return uvm_entry_tag(entry(uobj, pgno));
}

struct vm_page *core_page(struct uvm_object *uobj, uint32_t pgno)
{
    return uvm_entry_page(entry(uobj, pgno));
}

uint32_t core_slot(struct uvm_object *uobj, uint32_t pgno)
{
    uvm_entry e = entry(uobj, pgno);
    struct vm_page *pg = uvm_entry_page(e);

    if (pg)
        return pg->swslot;
    return uvm_entry_tag(e) == UVM_E_SLOT ? uvm_entry_value(e) : 0;
}

struct vm_page *core_busy(struct uvm_object *uobj, uint32_t pgno)
{
    struct vm_page *pg = core_page(uobj, pgno);

    ck_assert_ptr_nonnull(pg);
    UVM_LOCK_SCOPE(&uobj->lock);
    uvm_page_busy(pg, __func__);
    return pg;
}

bool core_letgo(struct vm_page *pg)
{
    struct uvm_object *uobj = pg->uobject;

    uvm_lock_acquire(&uobj->lock);
    if (!uvm_page_letgo(pg, UVM_Q_ACTIVE))
        return false;
    uvm_lock_release(&uobj->lock);
    return true;
}

void core_flush(struct uvm_object *uobj, uint32_t start, uint32_t stop, int flags)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    ck_assert(uobj->pgops->pgo_flush(uobj, start, stop, flags));
}

static void req_done(struct uvm_rw *rw, int error)
{
    struct core_req *req = rw->arg;
    req->ndone++;
    req->error = error;
}

static void req_init(struct core_req *req, struct uvm_object *uobj, uint64_t off, size_t len,
                     int flags)
{
    memset(req, 0, sizeof(*req));
    req->rw.uobj = uobj;
    req->rw.loop = &core_loop;
    req->rw.off = off;
    req->rw.len = len;
    req->rw.flags = flags;
    req->rw.done = req_done;
    req->rw.arg = req;
}

void core_start_write(struct core_req *req, struct uvm_object *uobj, uint64_t off, const void *src,
                      size_t len, int flags)
{
    req_init(req, uobj, off, len, flags);
    req->rw.src = src;
    uvm_write(&req->rw);
}

void core_start_read(struct core_req *req, struct uvm_object *uobj, uint64_t off, void *dst,
                     size_t len, int flags)
{
    req_init(req, uobj, off, len, flags);
    req->rw.dst = dst;
    uvm_read(&req->rw);
}

int core_write(struct uvm_object *uobj, uint64_t off, const void *src, size_t len, int flags)
{
    struct core_req req;

    core_start_write(&req, uobj, off, src, len, flags);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    return req.error;
}

int core_read(struct uvm_object *uobj, uint64_t off, void *dst, size_t len, int flags)
{
    struct core_req req;

    core_start_read(&req, uobj, off, dst, len, flags);
    core_run();
    ck_assert_uint_eq(req.ndone, 1);
    return req.error;
}

void core_pattern(void *page, uint64_t object, uint32_t pgno, unsigned version)
{
    uint64_t *word = page;
    uint64_t x = object << 40 ^ (uint64_t)pgno << 8 ^ version;

    for (uint32_t i = 0; i < UVM_PAGE_SIZE / sizeof(*word); i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        word[i] = x;
    }
}

bool core_is_pattern(const void *page, uint64_t object, uint32_t pgno, unsigned version)
{
    uint64_t want[UVM_PAGE_SIZE / sizeof(uint64_t)];

    core_pattern(want, object, pgno, version);
    return memcmp(page, want, UVM_PAGE_SIZE) == 0;
}

void core_fill(struct uvm_object *uobj, uint32_t pgno, uint32_t npages, unsigned version)
{
    CLEANUP_FREE char *buf = malloc(uvm_ptoa(npages));

    ck_assert_ptr_nonnull(buf);
    for (uint32_t i = 0; i < npages; i++)
        core_pattern(buf + uvm_ptoa(i), uobj->id, pgno + i, version);
    ck_assert_int_eq(core_write(uobj, uvm_ptoa(pgno), buf, uvm_ptoa(npages), 0), 0);
}

void core_verify(struct uvm_object *uobj, uint32_t pgno, uint32_t npages, unsigned version)
{
    CLEANUP_FREE char *buf = malloc(uvm_ptoa(UVM_CLUSTER_PAGES));

    ck_assert_ptr_nonnull(buf);
    for (uint32_t at = 0, n; at < npages; at += n) {
        n = MIN(npages - at, UVM_CLUSTER_PAGES);
        ck_assert_int_eq(core_read(uobj, uvm_ptoa(pgno + at), buf, uvm_ptoa(n), 0), 0);
        for (uint32_t i = 0; i < n; i++)
            ck_assert_msg(core_is_pattern(buf + uvm_ptoa(i), uobj->id, pgno + at + i, version),
                          "page %u has wrong bytes", pgno + at + i);
    }
}

void core_cluster_add(struct uvm_cluster *cl, struct uvm_object *uobj, uint32_t pgno,
                      uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++) {
        struct vm_page *pg = core_busy(uobj, pgno + i);
        uvm_lock_acquire(&uobj->lock);
        uint32_t slot = uvm_page_dirty(pg);
        if (slot)
            uvm_swap_free(slot, 1);
        pg->flags |= PG_PAGEOUT;
        uvm_lock_release(&uobj->lock);
        uvm_stat_inc(paging);
        uvm_md->clear_modify(pg->apage, 1);
        ck_assert_uint_lt(cl->npages, UVM_CLUSTER_PAGES);
        cl->pps[cl->npages++] = pg;
    }
}

void core_cluster_slots(struct uvm_cluster *cl)
{
    uint32_t n = cl->npages;

    cl->swslot = uvm_swap_alloc(&n, false);
    ck_assert_uint_ne(cl->swslot, 0);
    for (uint32_t i = 0; i < n; i++) {
        UVM_LOCK_SCOPE(&cl->pps[i]->uobject->lock);
        uvm_page_assign(cl->pps[i], cl->swslot + i);
    }
}

static void put_done(struct uvm_cluster *cl, uint32_t nok)
{
    uint32_t *ret = cl->arg;
    ck_assert_uint_eq(*ret, UINT32_MAX); /* once */
    *ret = nok;
}

uint32_t core_cluster_put(struct uvm_cluster *cl)
{
    uint32_t nok = UINT32_MAX;

    core_cluster_slots(cl);
    cl->flags = PGO_PDFREECLUST;
    cl->loop = &core_loop;
    cl->done = put_done;
    cl->arg = &nok;
    ck_assert_int_eq(uvm_pager_put(cl), VM_PAGER_PEND);
    core_run();
    ck_assert_uint_ne(nok, UINT32_MAX);
    return nok;
}

void core_pageout(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    CLEANUP_FREE struct uvm_cluster *cl = malloc(sizeof(*cl));

    ck_assert_ptr_nonnull(cl);
    for (uint32_t at = 0, n; at < npages; at += n) {
        n = MIN(npages - at, UVM_CLUSTER_PAGES);
        memset(cl, 0, sizeof(*cl));
        core_cluster_add(cl, uobj, pgno + at, n);
        ck_assert_uint_eq(core_cluster_put(cl), n);
    }
}

void core_inject(bool write, uint32_t slot, uint32_t nslots, int error, uint64_t count)
{
    struct uvm_swapfault rule = {
        .reads = !write,
        .writes = write,
        .error = error,
        .corrupt = !error,
        .slot = slot,
        .nslots = nslots,
        .count = count,
    };
    ck_assert_int_eq(uvm_swap_inject(&rule), 0);
}

/* => object locked */
static void check_page(struct uvm_object *uobj, uint32_t pgno, const struct uvm_leaf *leaf,
                       const struct vm_page *pg)
{
    const struct uvm_ledger_page *r = uvm_ledger_page(uvm_page_number(pg));

    page_assert(pg);
    ck_assert_ptr_eq(pg->uobject, uobj);
    ck_assert_uint_eq(pg->pgno, pgno);
    ck_assert_uint_eq(pg->apage, leaf->window * UVM_WINDOW_PAGES + pgno % UVM_WINDOW_PAGES);
    if (pg->flags & PG_FAKE) {
        ck_assert_uint_eq(r->object, 0);
        return;
    }
    ck_assert_int_ne(pmap_soft_state(pg->apage), PMAP_SOFT_ABSENT);
    ck_assert_uint_eq(r->object, uobj->id);
    ck_assert_uint_eq(r->pgno, pgno);
    ck_assert_uint_eq(r->apage, pg->apage);
    ck_assert_uint_eq(r->slot, pg->swslot);
    ck_assert_uint_eq(r->flags, pg->flags & PG_CLEAN ? 0 : UVM_LEDGER_DIRTY);
    if (!(pg->flags & PG_BUSY))
        ck_assert(pg->wire_count || pg->pqflags == PQ_ACTIVE || pg->pqflags == PQ_INACTIVE);
}

void core_check_object(struct uvm_object *uobj)
{
    uint64_t nresident = 0, nswapped = 0, nreserved = 0;

    UVM_LOCK_SCOPE(&uobj->lock);
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, 0);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t used = 0, resident = 0;
        for (uint32_t i = 0; i < UVM_WINDOW_PAGES; i++) {
            uvm_entry e = leaf->entry[i];
            uint32_t pgno = leaf->index * UVM_WINDOW_PAGES + i;
            used += uvm_entry_tag(e) != UVM_E_EMPTY;
            resident += uvm_entry_tag(e) == UVM_E_PAGE;
            nswapped += uvm_entry_tag(e) == UVM_E_SLOT;
            if (uvm_entry_tag(e) == UVM_E_PAGE)
                check_page(uobj, pgno, leaf, uvm_entry_page(e));
            if (uvm_entry_tag(e) == UVM_E_SLOT) {
                ck_assert_uint_eq(uvm_ledger_slot(uvm_entry_value(e))->object, uobj->id);
                ck_assert_uint_eq(uvm_ledger_slot(uvm_entry_value(e))->pgno, pgno);
            }
        }
        ck_assert_uint_eq(leaf->nused, used);
        ck_assert_uint_eq(leaf->nresident, resident);
        ck_assert_int_eq(leaf->window == UVM_NOWINDOW, resident == 0);
        nresident += resident;
        nreserved += used;
    }
    ck_assert_uint_eq(uobj->nresident, nresident);
    ck_assert_uint_eq(uobj->nswapped, nswapped);
    ck_assert_uint_eq(uobj->nreserved, nreserved);
}
