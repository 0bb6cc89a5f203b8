/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-in from a file, a run of neighbours at a time.
 *
 *      whole run --> read --> all there, or up to the end of the file --> zeroes behind it --> done
 *                      |  \-> short before the end that is known: read on from the block where it
 *                      |      ended; if nothing more comes, the file has become shorter
 *                      error --> each page alone --> those that fail again have the error
 *
 * What lies beyond the end of the file is zeroes without a look at it.
 *
 * A read that began before the file was changed from outside (epoch) is done again: it may have
 * brought what was there before. From here to the page's being let go the file may change once more: then
 * whoever installs the bytes throws them away again.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "getrun.h"
#include "vnode_impl.h"

static void read_next(struct uvm_fileio *fio);

static struct uvm_getrun *run_of(struct uvm_fileio *fio)
{
    return UVM_CONTAINER_OF(fio, struct uvm_getrun, fio);
}

/* Everything has been read, one way or another. */
static void read_finish(struct uvm_fileio *fio)
{
    struct uvm_getrun *run = run_of(fio);
    struct uvm_vnode *vn = uvm_vnode(run->req->uobj);
    uint32_t bad = 0;

    uvm_lock_acquire(&vn->uobj.lock);
    bool again = vn->epoch != fio->epoch;
    fio->epoch = vn->epoch;
    fio->eof = vn->eof;
    uvm_lock_release(&vn->uobj.lock);
    if (again) {
        fio->at = 0;
        fio->len = run->npages;
        fio->got = 0;
        fio->retrying = false;
        memset(fio->page_error, 0, run->npages * sizeof(fio->page_error[0]));
        read_next(fio);
        return;
    }
    uvn_backing_unref(fio->backing);
    for (uint32_t i = 0; i < run->npages; i++)
        bad += fio->page_error[i] != 0;
    uvm_stat_add(ioerrors, bad);
    if (fio->off < fio->eof) {
        uvm_stat_inc(vnpageins);
        uvm_stat_add(vnpgin, run->npages - bad);
        atomic_fetch_add_explicit(&vn->uobj.pageins, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&vn->uobj.pgswapin, run->npages - bad, memory_order_relaxed);
    }
    run->req->epoch = fio->epoch;
    uvm_getrun_done(run, fio->page_error);
}

/* The pages [at, at + len) have been read, or could not be: go on with the next page, if it is the
 * second pass. */
static void read_settled(struct uvm_fileio *fio, int error)
{
    uint32_t npages = run_of(fio)->npages;

    if (error && !fio->retrying) {
        fio->retrying = true;
        fio->at = 0;
    } else {
        for (uint32_t i = 0; i < fio->len; i++)
            fio->page_error[fio->at + i] = error;
        fio->at += fio->len;
    }
    if (fio->at == npages) {
        read_finish(fio);
        return;
    }
    fio->len = 1;
    fio->got = 0;
    read_next(fio);
}

static void read_done(struct uvm_io *io)
{
    struct uvm_fileio *fio = UVM_CONTAINER_OF(io, struct uvm_fileio, io);
    size_t want = uvm_ptoa(fio->len), had = fio->got;
    char *kva = fio->kva + uvm_ptoa(fio->at);

    if (io->result) {
        read_settled(fio, io->result);
        return;
    }
    fio->got = MAX(had, (size_t)((char *)io->buf - kva) + io->moved);
    if (fio->got < want) {
        bool end = fio->off + uvm_ptoa(fio->at) + fio->got >= fio->eof;
        if (!end && fio->got > had) {
            read_next(fio);
            return;
        }
        memset(kva + fio->got, 0, want - fio->got);
    }
    read_settled(fio, 0);
}

/* Read what is missing of the pages [at, at + len), from a block's beginning on. */
static void read_next(struct uvm_fileio *fio)
{
    struct uvn_backing *backing = fio->backing;
    uint32_t align = backing ? backing->align : 1;
    size_t from = fio->got - fio->got % align;
    uint64_t off = fio->off + uvm_ptoa(fio->at) + from;

    fio->io = (struct uvm_io){
        .done = read_done,
        .buf = fio->kva + uvm_ptoa(fio->at) + from,
        .len = uvm_ptoa(fio->len) - from,
        .off = off,
        .fd = backing ? backing->fd : -1,
    };
    if (off < fio->eof && backing) {
        uvn_read_some(fio->loop, &fio->io, fio->id);
        return;
    }
    fio->io.result = off < fio->eof ? -EBADF : 0; /* else: nothing moved, at the end of the file */
    uvm_loop_complete(fio->loop, &fio->io);
}

static void get_start(struct uvm_getrun *run)
{
    struct uvm_vnode *vn = uvm_vnode(run->req->uobj);
    struct uvm_fileio *fio = &run->fio;

    fio->loop = run->req->loop;
    fio->id = vn->uobj.id;
    fio->kva = run->kva;
    fio->off = uvm_ptoa(run->req->pgno + run->first);
    fio->at = 0;
    fio->len = run->npages;
    fio->got = 0;
    fio->retrying = false;
    memset(fio->page_error, 0, run->npages * sizeof(fio->page_error[0]));
    uvm_lock_acquire(&vn->uobj.lock);
    fio->backing = vn->backing ? uvn_backing_ref(vn->backing) : NULL;
    fio->eof = vn->eof;
    fio->epoch = vn->epoch;
    uvm_lock_release(&vn->uobj.lock);
    read_next(fio);
}

/* How many pages from i on are wanted in a row? */
static uint32_t get_length(const struct uvm_getreq *req, uint32_t i)
{
    uint32_t n = 1;
    while (n < UVM_CLUSTER_PAGES && i + n < req->npages && req->pps[i + n])
        n++;
    return n;
}

static void get_ended(struct uvm_getreq *req)
{
    struct uvm_vnode *vn = uvm_vnode(req->uobj);

    UVM_LOCK_SCOPE(&vn->uobj.lock);
    vn->ngets--;
    uvn_change_turn(vn);
}

static const struct uvm_getrun_ops get_ops = {
    .length = get_length,
    .start = get_start,
    .ended = get_ended,
};

/* Start, or wait for the end of a change. => object locked, unlocked on return */
static void get_begin(struct uvm_vnode *vn, struct uvm_getreq *req)
{
    if (uvn_change_blocks(vn, req->pgno, req->pgno + req->npages)) {
        req->work.fn = uvn_get_resume;
        TAILQ_INSERT_TAIL(&vn->parked, req, link);
        uvm_lock_release(&vn->uobj.lock);
        return;
    }
    vn->ngets++;
    uvm_lock_release(&vn->uobj.lock);
    uvm_getrun_begin(req, &get_ops);
}

void uvn_get_resume(struct uvm_work *work)
{
    struct uvm_getreq *req = UVM_CONTAINER_OF(work, struct uvm_getreq, work);

    uvm_lock_acquire(&req->uobj->lock);
    get_begin(uvm_vnode(req->uobj), req);
}

/* LOCKED: what is here. What is not is on the file, or beyond its end: that is not known without a
 * look at the file's own state, which get takes. => object locked */
static int get_locked(struct uvm_object *uobj, struct uvm_getreq *req, uint32_t *npages,
                      uint32_t centre)
{
    *npages = 0;
    for (uint32_t i = 0; i < req->npages; i++) {
        struct vm_page *pg = uvm_entry_page(uvm_entry_get(uobj, req->pgno + i));
        if (req->pps[i] || !pg || (pg->flags & PG_BUSY))
            continue;
        uvm_page_busy(pg, __func__);
        req->pps[i] = pg;
        (*npages)++;
    }
    return req->pps[centre] ? VM_PAGER_OK : VM_PAGER_UNLOCK;
}

int uvn_get(struct uvm_object *uobj, struct uvm_getreq *req, uint32_t *npages, uint32_t centre,
            int flags)
{
    uvm_lock_assert_held(&uobj->lock);
    if (flags & PGO_LOCKED)
        return get_locked(uobj, req, npages, centre);
    get_begin(uvm_vnode(uobj), req);
    return VM_PAGER_PEND;
}
