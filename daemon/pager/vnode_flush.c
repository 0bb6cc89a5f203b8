/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The flush machine. flush_run looks at the object and is run again whenever something that it waited
 * for has come, or a cluster has been written.
 *
 *      look for a dirty page from `at` on
 *          none                       --> in flight? wait for it : fsync, done
 *          busy, somebody writes it   --> wait for it, look again
 *          the file is being changed  --> wait for the end, look again
 *          no room in the pager map   --> have some, look again: it is not waited for with clusters in
 *                                         flight, their rooms come back
 *          else                       --> gather, write; at moves behind it
 *
 * `at` only moves forward, so each page is dealt with once. While the machine waits for a page it
 * holds no room.
 */
#include <assert.h>
#include <errno.h>

#include "../page_md.h"
#include "vnode_impl.h"

#define FLUSH_CLUSTERS 8 /* in flight: small ones, of scattered pages, need many */

/* After so many clusters in a row of which nothing could be written, give up. */
#define FLUSH_FRUITLESS 3

struct flush_slot {
    struct uvm_cluster cl;
    uint32_t nroom; /* pages of cl.room; 0: the slot is free */
};

struct uvn_flush_state {
    struct uvn_flush *flush; /* NULL: none under way */
    bool temporary;          /* made for this flush */
    uint32_t at;
    unsigned inflight;
    unsigned fruitless;
    bool parked; /* something is waited for */
    int error;
    void *room; /* not used yet */
    uint32_t nroom;
    struct uvm_pagermap_wait mapwait;
    struct uvm_objwait pagewait;
    struct uvn_wait changewait;
    struct uvn_backing *backing; /* of the fsync */
    struct uvm_io sync;
    struct flush_slot slot[FLUSH_CLUSTERS];
};

/* What a look at the object found. */
enum look { LOOK_NONE, LOOK_WAIT, LOOK_FOUND };

static void flush_run(struct uvn_flush_state *fs);

struct uvn_flush_state *uvn_flush_state_new(void)
{
    return calloc(1, sizeof(struct uvn_flush_state));
}

void uvn_flush_state_free(struct uvn_flush_state *state)
{
    assert(!state || !state->flush);
    free(state);
}

static void flush_finish(struct uvn_flush_state *fs)
{
    struct uvn_flush *flush = fs->flush;
    int error = fs->error;

    fs->flush = NULL;
    if (fs->temporary) {
        flush->state = NULL;
        free(fs);
    }
    flush->done(flush, error);
}

static void flush_synced(struct uvm_io *io)
{
    struct uvn_flush_state *fs = UVM_CONTAINER_OF(io, struct uvn_flush_state, sync);
    struct uvm_vnode *vn = uvm_vnode(fs->flush->uobj);

    uvn_backing_unref(fs->backing);
    if (io->result) { /* what the disk was given may be lost: everybody must know */
        fs->error = io->result;
        uvm_stat_inc(ioerrors);
        UVM_LOCK_SCOPE(&vn->uobj.lock);
        vn->error = io->result;
        vn->error_seq++;
    }
    flush_finish(fs);
}

/* Nothing is left to write: the rest. */
static void flush_end(struct uvn_flush_state *fs)
{
    struct uvn_flush *flush = fs->flush;
    struct uvm_vnode *vn = uvm_vnode(flush->uobj);

    if (fs->room)
        uvm_pagermapout(fs->room, fs->nroom);
    fs->room = NULL;
    uvm_lock_acquire(&vn->uobj.lock);
    bool sync = flush->sync != UVN_FLUSH && !fs->error && vn->backing;
    fs->backing = sync ? uvn_backing_ref(vn->backing) : NULL;
    uvm_lock_release(&vn->uobj.lock);
    if (!sync) {
        flush_finish(fs);
        return;
    }
    fs->sync = (struct uvm_io){.done = flush_synced, .fd = fs->backing->fd};
    uvn_sync_io(flush->loop, &fs->sync, vn->uobj.id, flush->sync == UVN_FSYNC);
}

static void page_free(struct uvm_work *work)
{
    struct uvn_flush_state *fs = UVM_CONTAINER_OF(work, struct uvn_flush_state, pagewait.work);
    fs->parked = false;
    flush_run(fs);
}

static void change_over(struct uvm_work *work)
{
    struct uvn_flush_state *fs = UVM_CONTAINER_OF(work, struct uvn_flush_state, changewait.work);
    fs->parked = false;
    flush_run(fs);
}

static void room_come(struct uvm_work *work)
{
    struct uvn_flush_state *fs = UVM_CONTAINER_OF(work, struct uvn_flush_state, mapwait.work);
    fs->parked = false;
    fs->room = fs->mapwait.kva;
    flush_run(fs);
}

/* Are the page's bytes newer than the file's? What is being brought in is not, and what somebody is
 * about to dirty is dirty when that has happened. => object locked */
static bool is_dirty(const struct vm_page *pg)
{
    return !(pg->flags & (PG_CLEAN | PG_FAKE)) ||
           (!(pg->flags & PG_BUSY) && uvm_md->is_modified(pg->apage));
}

/* The first dirty page from `at` on; NULL: none. => object locked */
static struct vm_page *next_dirty(struct uvm_object *uobj, uint32_t at, uint32_t stop)
{
    struct uvm_leaf *leaf = NULL;

    if (uobj->ndirty)
        leaf = uvm_leaf_next(uobj, at / UVM_WINDOW_PAGES);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= stop)
            return NULL;
        uint32_t last = MIN(stop - base, UVM_WINDOW_PAGES);
        for (uint32_t i = at > base ? at - base : 0; leaf->nresident && i < last; i++) {
            struct vm_page *pg = uvm_entry_page(leaf->entry[i]);
            if (pg && is_dirty(pg))
                return pg;
        }
    }
    return NULL;
}

/* Have the machine run again when the page is not busy any more. => object locked */
static void wait_page(struct uvn_flush_state *fs, const struct vm_page *pg)
{
    fs->parked = true;
    fs->pagewait.work.fn = page_free;
    fs->pagewait.loop = fs->flush->loop;
    fs->pagewait.pgno = pg->pgno;
    fs->pagewait.npages = 1;
    uvm_object_wait(pg->uobject, &fs->pagewait);
}

static void wait_change(struct uvn_flush_state *fs, struct uvm_vnode *vn)
{
    fs->parked = true;
    fs->changewait.work.fn = change_over;
    fs->changewait.loop = fs->flush->loop;
    uvn_change_wait(vn, &fs->changewait);
}

/* Where the cluster of a page ends. => object locked */
static uint32_t cluster_end(struct uvn_flush_state *fs, uint32_t pgno)
{
    uint32_t lo, hi;

    fs->flush->uobj->pgops->pgo_cluster(fs->flush->uobj, pgno, &lo, &hi);
    return MIN(hi, fs->flush->stop);
}

/* What comes next? => object locked; LOOK_FOUND: a page that can be written now */
static enum look flush_look(struct uvn_flush_state *fs, struct vm_page **ret)
{
    struct uvm_object *uobj = fs->flush->uobj;
    struct uvm_vnode *vn = uvm_vnode(uobj);
    struct vm_page *pg = next_dirty(uobj, fs->at, fs->flush->stop);

    if (!pg)
        return LOOK_NONE;
    if (!vn->backing) {
        fs->error = -EBADF;
        return LOOK_NONE;
    }
    fs->at = pg->pgno;
    *ret = pg;
    if (!(pg->flags & PG_BUSY) && !uvn_change_blocks(vn, pg->pgno, cluster_end(fs, pg->pgno)))
        return LOOK_FOUND;
    if (fs->room)
        uvm_pagermapout(fs->room, fs->nroom);
    fs->room = NULL;
    if (pg->flags & PG_BUSY)
        wait_page(fs, pg);
    else
        wait_change(fs, vn);
    return LOOK_WAIT;
}

/* How many pages from a dirty one on may go in one cluster? => object locked */
static uint32_t dirty_run(struct uvn_flush_state *fs, uint32_t pgno)
{
    uint32_t end = cluster_end(fs, pgno), n = 1;

    while (pgno + n < end) {
        struct vm_page *pg = uvm_entry_page(uvm_entry_get(fs->flush->uobj, pgno + n));
        if (!pg || (pg->flags & PG_BUSY) || !is_dirty(pg))
            break;
        n++;
    }
    return n;
}

/* Have room for n pages. => false: none now; the machine runs again when there is */
static bool flush_room(struct uvn_flush_state *fs, uint32_t n)
{
    fs->mapwait.work.fn = room_come;
    fs->mapwait.loop = fs->flush->loop;
    fs->parked = !fs->inflight;
    fs->nroom = n;
    fs->room = uvm_pagermapin(n, fs->inflight ? 0 : UVMPAGER_MAPIN_WAITOK, &fs->mapwait);
    if (fs->room)
        fs->parked = false;
    return fs->room;
}

static void flush_wrote(struct uvm_cluster *cl, uint32_t nok)
{
    struct flush_slot *slot = UVM_CONTAINER_OF(cl, struct flush_slot, cl);
    struct uvn_flush_state *fs = cl->arg;

    uvm_pagermapout(cl->room, slot->nroom);
    slot->nroom = 0;
    fs->inflight--;
    if (!fs->error)
        fs->error = cl->error && nok < cl->npages ? cl->error : 0;
    fs->fruitless = nok ? 0 : fs->fruitless + 1;
    flush_run(fs);
}

/* Gather a cluster from a page on and write it. => object locked, unlocked on return */
static void flush_cluster(struct uvn_flush_state *fs, struct flush_slot *slot, struct vm_page *pg)
{
    struct uvm_object *uobj = fs->flush->uobj;
    struct uvm_cluster *cl = &slot->cl;
    uint32_t pgno = pg->pgno, end = MIN(cluster_end(fs, pgno), pgno + fs->nroom);

    uvm_page_busy(pg, __func__);
    uvm_page_dirty(pg);
    uvm_md->clear_modify(pg->apage, 1);
    cl->npages =
        uobj->pgops->pgo_mk_pcluster(uobj, cl->pps, fs->nroom, pg, PGO_DOACTCLUST, pgno, end);
    uvm_lock_release(&uobj->lock);
    cl->uobj = uobj;
    cl->flags = PGO_SYNCIO;
    cl->loop = fs->flush->loop;
    cl->done = flush_wrote;
    cl->arg = fs;
    cl->room = fs->room;
    if (uvm_pager_put(cl) != VM_PAGER_PEND) { /* a change was faster: it is waited for next */
        uvm_pager_dropcluster(cl->pps, cl->npages, NULL, PGO_REALLOCSWAP);
        return;
    }
    slot->nroom = fs->nroom;
    fs->room = NULL;
    fs->inflight++;
    fs->at = pgno + cl->npages;
}

static struct flush_slot *free_slot(struct uvn_flush_state *fs)
{
    for (unsigned i = 0; i < FLUSH_CLUSTERS; i++)
        if (!fs->slot[i].nroom)
            return &fs->slot[i];
    return NULL;
}

static void flush_run(struct uvn_flush_state *fs)
{
    struct uvm_object *uobj = fs->flush->uobj;
    struct flush_slot *slot;
    struct vm_page *pg;

    while (!fs->parked && (slot = free_slot(fs))) {
        enum look look = LOOK_NONE;
        uvm_lock_acquire(&uobj->lock);
        if (fs->fruitless < FLUSH_FRUITLESS)
            look = flush_look(fs, &pg);
        if (look == LOOK_FOUND && fs->room) {
            flush_cluster(fs, slot, pg);
            continue;
        }
        uint32_t n = look == LOOK_FOUND ? dirty_run(fs, pg->pgno) : 0;
        uvm_lock_release(&uobj->lock);
        if (look == LOOK_NONE) {
            if (!fs->inflight)
                flush_end(fs);
            return;
        }
        if (look == LOOK_WAIT || !flush_room(fs, n))
            return;
    }
}

void uvn_flush_start(struct uvn_flush *flush)
{
    struct uvn_flush_state *fs = flush->state;

    uvm_lock_assert_none();
    assert(flush->loop && flush->start <= flush->stop);
    bool temporary = !fs;
    if (temporary)
        fs = uvn_flush_state_new();
    if (!fs) {
        flush->done(flush, -ENOMEM);
        return;
    }
    assert(!fs->flush);
    flush->state = fs;
    flush->stop = MIN(flush->stop, UVM_OBJECT_PAGES_MAX);
    fs->flush = flush;
    fs->temporary = temporary;
    fs->at = flush->start;
    fs->inflight = fs->fruitless = 0;
    fs->parked = false;
    fs->error = 0;
    fs->room = NULL;
    flush_run(fs);
}
