/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of a file from outside of the pager, one at a time and never beside a transfer that could
 * see or undo them.
 *
 *      begin --> [waiting: nothing starts] --last transfer--> [running: nothing starts in its range]
 *                                                                |
 *      next one's turn, page-ins and flushes go on  <-- end -----+
 *
 * Page-ins that find a change wait for its end, with their pages BUSY and their room in the pager map;
 * page-outs are refused, and their pages stay dirty.
 */
#include <assert.h>

#include "vnode_impl.h"

static uint32_t page_of(uint64_t off, bool up)
{
    off = MIN(off, uvm_ptoa(UVM_OBJECT_PAGES_MAX));
    return (uint32_t)(up ? uvm_atop(uvm_round_page(off)) : uvm_atop(off));
}

bool uvn_change_blocks(const struct uvm_vnode *vn, uint32_t start, uint32_t stop)
{
    const struct uvn_change *change = vn->change;

    if (!change)
        return false;
    return !change->running ||
           (start < page_of(change->to, true) && page_of(change->from, false) < stop);
}

void uvn_change_wait(struct uvm_vnode *vn, struct uvn_wait *wait)
{
    uvm_lock_assert_held(&vn->uobj.lock);
    assert(vn->change);
    TAILQ_INSERT_TAIL(&vn->waits, wait, link);
}

/* Those who wait look again: perhaps it is nothing to them. => object locked */
static void let_on(struct uvm_vnode *vn)
{
    struct uvm_getreq *req;
    struct uvn_wait *wait;

    while ((req = TAILQ_FIRST(&vn->parked))) {
        TAILQ_REMOVE(&vn->parked, req, link);
        uvm_loop_post(req->loop, &req->work);
    }
    while ((wait = TAILQ_FIRST(&vn->waits))) {
        TAILQ_REMOVE(&vn->waits, wait, link);
        uvm_loop_post(wait->loop, &wait->work);
    }
}

static void change_begun(struct uvm_work *work)
{
    struct uvn_change *change = UVM_CONTAINER_OF(work, struct uvn_change, work);
    change->begun(change);
}

void uvn_change_turn(struct uvm_vnode *vn)
{
    struct uvn_change *change = vn->change;

    uvm_lock_assert_held(&vn->uobj.lock);
    if (!change || change->running || vn->ngets || vn->nputs)
        return;
    change->running = true;
    change->old_size = vn->size;
    change->old_eof = vn->eof;
    if (change->size != UVN_SAME_SIZE) {
        vn->size = MIN(vn->size, change->size);
        vn->eof = MIN(vn->eof, change->size);
    }
    let_on(vn);
    uvm_loop_post(change->loop, &change->work);
}

void uvn_change_begin(struct uvn_change *change)
{
    struct uvm_vnode *vn = uvm_vnode(change->uobj);

    assert(change->from <= change->to);
    change->work.fn = change_begun;
    change->running = false;
    UVM_LOCK_SCOPE(&vn->uobj.lock);
    if (vn->change) {
        TAILQ_INSERT_TAIL(&vn->changes, change, link);
        return;
    }
    vn->change = change;
    uvn_change_turn(vn);
}

/* The file is what it was to become. => object locked */
static void change_done(struct uvm_vnode *vn, struct uvn_change *change)
{
    uint32_t start = page_of(change->from, true), stop = page_of(change->to, false);
    bool resized = change->size != UVN_SAME_SIZE;
    bool shorter = resized && change->size < change->old_size;

    if (shorter && change->to >= change->old_size) /* also the page in which it ended */
        stop = UVM_OBJECT_PAGES_MAX;
    if (start < stop)
        uvn_free_pages(vn, start, stop, true);
    if (resized) {
        vn->size = shorter ? change->size : MAX(vn->size, change->size);
        vn->eof = change->size;
    }
    vn->epoch++;
    uvm_readahead_reset(&vn->ra);
}

void uvn_change_end(struct uvn_change *change, bool ok)
{
    struct uvm_vnode *vn = uvm_vnode(change->uobj);

    uvm_lock_acquire(&vn->uobj.lock);
    assert(vn->change == change && change->running);
    if (ok) {
        change_done(vn, change);
    } else {
        vn->size = MAX(vn->size, change->old_size);
        vn->eof = MAX(vn->eof, change->old_eof);
    }
    vn->change = TAILQ_FIRST(&vn->changes);
    if (vn->change)
        TAILQ_REMOVE(&vn->changes, vn->change, link);
    let_on(vn);
    uvn_change_turn(vn);
    uvn_settle(&vn->uobj);
}
