/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which vnodes have dirty pages, since when, and who must wait because there are too many.
 *
 *      stored to --> [ oldest ... youngest ] --> write-behind --> nothing dirty: off the list, told
 *                        ^                            |
 *                        +---- dirty again -----------+
 *
 *      dirty pages     0 ........ background ........ max .... and an eighth
 *                                 write-behind       writers   writers of files that can be written,
 *                                 begins             wait      while there are some that cannot
 *
 * A vnode is put on the list, and taken off, under its own lock and the list's: either of them is
 * enough to know whether it is there.
 */
#include <assert.h>
#include <errno.h>

#include "vnode_impl.h"

TAILQ_HEAD(vnode_list, uvm_vnode);
TAILQ_HEAD(wait_list, uvn_dirtywait);

static struct {
    struct uvm_lock lock;
    struct vnode_list list;   /* (D) in the order of dirty_since_ns */
    unsigned nlisted;         /* (D) */
    _Atomic unsigned nbroken; /* (D) changes: vnodes on the list that are failing */
    int error;                /* (D) of the last failed write */
    struct wait_list waits;   /* (D) */
    _Atomic uint64_t coming;  /* pages of writes that have been let in, not dirty yet */
    _Atomic unsigned nwaits;  /* (D) changes */
    void (*kick)(void);
    void (*_Atomic cleaned)(uint64_t id);
} dirty;

void uvn_dirty_init(void)
{
    uvm_lock_init(&dirty.lock, UVM_LR_DIRTY);
    TAILQ_INIT(&dirty.list);
    TAILQ_INIT(&dirty.waits);
    dirty.nlisted = dirty.nbroken = dirty.nwaits = 0;
    dirty.coming = 0;
    dirty.error = 0;
    dirty.kick = NULL;
    dirty.cleaned = NULL;
}

void uvn_set_cleaned(void (*fn)(uint64_t id))
{
    dirty.cleaned = fn;
}

void uvn_set_kick(void (*kick)(void))
{
    UVM_LOCK_SCOPE(&dirty.lock);
    dirty.kick = kick;
}

uint64_t uvn_dirty_max(void)
{
    return uvm_page_count() / 4;
}

/* What a file that can be written gets more than one that cannot. */
static uint64_t extra(void)
{
    return uvn_dirty_max() / 8;
}

uint64_t uvn_dirty_limit(void)
{
    return uvn_dirty_max() + extra() + UVM_CLUSTER_PAGES;
}

uint64_t uvn_dirty_background(void)
{
    return uvn_dirty_max() / 2;
}

static void kick_locked(void)
{
    if (dirty.kick)
        dirty.kick();
}

static void set_failing(struct uvm_vnode *vn, bool failing)
{
    if (vn->listed && vn->failing != failing)
        dirty.nbroken += failing ? 1u : -1u;
    vn->failing = failing;
}

/* The list is in the order of time; who comes back to it is seldom far from its end. => list locked */
static void insert(struct uvm_vnode *vn, uint64_t since)
{
    struct uvm_vnode *before = TAILQ_LAST(&dirty.list, vnode_list);

    vn->dirty_since_ns = since;
    while (before && before->dirty_since_ns > since)
        before = TAILQ_PREV(before, vnode_list, link);
    if (before)
        TAILQ_INSERT_AFTER(&dirty.list, before, vn, link);
    else
        TAILQ_INSERT_HEAD(&dirty.list, vn, link);
}

void uvn_dirtied(struct uvm_object *uobj, uint64_t end)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);

    uvm_lock_assert_held(&uobj->lock);
    vn->size = MAX(vn->size, end);
    bool many = uvm_stat_get(vndirty) > uvn_dirty_background();
    if (vn->listed && !many)
        return;
    UVM_LOCK_SCOPE(&dirty.lock);
    if (!vn->listed) {
        vn->listed = true;
        dirty.nlisted++;
        dirty.nbroken += vn->failing;
        insert(vn, uvm_now_ns());
    }
    if (many)
        kick_locked();
}

void uvn_dirty_due(struct uvm_vnode *vn)
{
    UVM_LOCK_SCOPE(&dirty.lock);
    if (!vn->listed)
        return;
    TAILQ_REMOVE(&dirty.list, vn, link);
    vn->dirty_since_ns = 0;
    TAILQ_INSERT_HEAD(&dirty.list, vn, link);
    kick_locked();
}

/* How many dirty pages there may be before a writer of the vnode waits. => list locked */
static uint64_t bound(const struct uvm_vnode *vn)
{
    uint64_t max = uvn_dirty_max();
    return dirty.nbroken && !vn->failing ? max + extra() : max;
}

/* Let a write in, if there is room: the last may be a little too much. */
static bool let_in(const struct uvn_dirtywait *wait, uint64_t most)
{
    uint64_t coming = dirty.coming;

    do {
        if (uvm_stat_get(vndirty) + coming >= most)
            return false;
    } while (!atomic_compare_exchange_weak(&dirty.coming, &coming, coming + wait->npages));
    return true;
}

void uvn_dirty_came(uint32_t npages)
{
    atomic_fetch_sub(&dirty.coming, npages);
    uvn_dirty_wake();
}

/* May the waiter go on, or must it? => list locked; its error is set */
static bool released(struct uvn_dirtywait *wait)
{
    const struct uvm_vnode *vn = uvm_vnode(wait->uobj);

    wait->error = 0;
    if (let_in(wait, bound(vn)))
        return true;
    /* What is coming may be pages of another file. */
    if (dirty.nlisted && dirty.nbroken == dirty.nlisted && !dirty.coming) {
        wait->error = dirty.error;
        return true;
    }
    if (wait->deadline_ns && uvm_now_ns() >= wait->deadline_ns) {
        wait->error = vn->failing ? dirty.error : 0;
        if (!wait->error)
            atomic_fetch_add(&dirty.coming, wait->npages);
        return true;
    }
    return false;
}

static void wake_locked(void)
{
    struct uvn_dirtywait *wait, *next;

    TAILQ_FOREACH_SAFE (wait, &dirty.waits, link, next) {
        if (!released(wait))
            continue;
        TAILQ_REMOVE(&dirty.waits, wait, link);
        dirty.nwaits--;
        uvm_loop_post(wait->loop, &wait->work);
    }
}

void uvn_dirty_wake(void)
{
    /* Either this sees the waiter, or the waiter sees what has become fewer. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!dirty.nwaits)
        return;
    UVM_LOCK_SCOPE(&dirty.lock);
    wake_locked();
}

void uvn_dirty_expire(void)
{
    uvn_dirty_wake();
}

bool uvn_unlist(struct uvm_vnode *vn)
{
    UVM_LOCK_SCOPE(&dirty.lock);
    if (!vn->listed)
        return false;
    set_failing(vn, false);
    vn->listed = false;
    dirty.nlisted--;
    TAILQ_REMOVE(&dirty.list, vn, link);
    wake_locked(); /* perhaps those that are left are all broken */
    return true;
}

void uvn_dirty_wrote(struct uvm_vnode *vn, int error)
{
    uvm_lock_assert_held(&vn->uobj.lock);
    UVM_LOCK_SCOPE(&dirty.lock);
    set_failing(vn, error != 0);
    if (error) {
        dirty.error = error;
        vn->resume_ns = vn->retry_ns;
    }
    wake_locked();
}

void uvn_settle(struct uvm_object *uobj)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);
    void (*cleaned)(uint64_t id) = dirty.cleaned;
    uint64_t id = uobj->id;

    uvm_lock_assert_held(&uobj->lock);
    bool told = vn->listed && !uobj->ndirty && uvn_unlist(vn);
    uvm_lock_release(&uobj->lock);
    if (told && cleaned)
        cleaned(id);
    uvn_dirty_wake();
}

bool uvn_dirty_wait(struct uvn_dirtywait *wait)
{
    if (let_in(wait, uvn_dirty_max()))
        return false;
    UVM_LOCK_SCOPE(&dirty.lock);
    assert(wait->loop && wait->work.fn);
    if (released(wait)) {
        if (!wait->error)
            return false;
        uvm_loop_post(wait->loop, &wait->work);
        return true;
    }
    uvm_stat_inc(flt_vnwait);
    TAILQ_INSERT_TAIL(&dirty.waits, wait, link);
    dirty.nwaits++;
    atomic_thread_fence(memory_order_seq_cst);
    wake_locked();
    kick_locked();
    return true;
}

bool uvn_dirty_cancel(struct uvn_dirtywait *wait)
{
    struct uvn_dirtywait *w;

    UVM_LOCK_SCOPE(&dirty.lock);
    TAILQ_FOREACH (w, &dirty.waits, link) {
        if (w == wait) {
            TAILQ_REMOVE(&dirty.waits, wait, link);
            dirty.nwaits--;
            return true;
        }
    }
    return false;
}

/* The id of the next vnode for write-behind, which is in hand from now on; 0: none. */
static uint64_t take_next(uint64_t before)
{
    uint64_t now = uvm_now_ns();
    struct uvm_vnode *vn;

    UVM_LOCK_SCOPE(&dirty.lock);
    TAILQ_FOREACH (vn, &dirty.list, link) {
        if (vn->dirty_since_ns > before)
            return 0;
        if (vn->cleaning || vn->resume_ns > now)
            continue;
        vn->cleaning = true;
        return vn->uobj.id;
    }
    return 0;
}

struct uvm_object *uvn_dirty_next(uint64_t before)
{
    uint64_t id;

    while ((id = take_next(before))) {
        struct uvm_object *uobj = uvm_object_lookup(id);
        if (uobj)
            return uobj;
        /* It is dying: it takes itself off the list, and is in hand until then. */
    }
    return NULL;
}

void uvn_dirty_done(struct uvm_object *uobj, uint64_t began, int error)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);

    uvm_lock_acquire(&uobj->lock);
    uvm_lock_acquire(&dirty.lock);
    vn->cleaning = false;
    if (error)
        vn->resume_ns = uvm_now_ns() + UVN_RETRY_NS;
    if (vn->listed) { /* what is dirty now was stored to since, or could not be written */
        TAILQ_REMOVE(&dirty.list, vn, link);
        insert(vn, began);
    }
    uvm_lock_release(&dirty.lock);
    uvn_settle(uobj);
    uobj->pgops->pgo_detach(uobj);
}
