/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The object table and the waiters. Object ids are found by a small chained hash; objects are few
 * next to pages, and the table is touched only by faults in the arena, revocation and the control
 * socket, never by a client's request.
 */
#include "object.h"

#include <assert.h>
#include <stdlib.h>

#include "objmap.h"
#include "stats.h"

#define OBJTAB_BUCKETS 65536u

static struct {
    struct uvm_lock lock;
    struct uvm_object *bucket[OBJTAB_BUCKETS]; /* (T) */
} objtab;

void uvm_object_module_init(void)
{
    uvm_lock_init(&objtab.lock, UVM_LR_OBJTAB);
}

static struct uvm_object **objtab_slot(uint64_t id)
{
    return &objtab.bucket[id % OBJTAB_BUCKETS];
}

struct uvm_object *uvm_object_new(uint64_t id, const struct uvm_pagerops *pgops)
{
    assert(id);
    struct uvm_object *uobj = calloc(1, sizeof(*uobj));
    if (!uobj)
        return NULL;
    uvm_lock_init(&uobj->lock, UVM_LR_OBJECT);
    uobj->pgops = pgops;
    uobj->id = id;
    atomic_init(&uobj->refs, 1);
    TAILQ_INIT(&uobj->waiters);
    UVM_LOCK_SCOPE(&objtab.lock);
    struct uvm_object **slot = objtab_slot(id);
    uobj->hash_next = *slot;
    *slot = uobj;
    uvm_stat_inc(objects);
    return uobj;
}

/* => table locked; an object in the table has refs > 0, because unref takes the last one under the
 * table's lock */
static struct uvm_object *objtab_ref(struct uvm_object *uobj)
{
    atomic_fetch_add(&uobj->refs, 1);
    return uobj;
}

struct uvm_object *uvm_object_lookup(uint64_t id)
{
    UVM_LOCK_SCOPE(&objtab.lock);
    for (struct uvm_object *o = *objtab_slot(id); o; o = o->hash_next)
        if (o->id == id)
            return objtab_ref(o);
    return NULL;
}

struct uvm_object *uvm_object_next(uint64_t id)
{
    struct uvm_object *best = NULL;

    UVM_LOCK_SCOPE(&objtab.lock);
    /* Ids are handed out in sequence, so the next one is usually a bucket or two away. */
    for (uint32_t i = 1; i <= OBJTAB_BUCKETS; i++) {
        for (struct uvm_object *o = *objtab_slot(id + i); o; o = o->hash_next)
            if (o->id > id && (!best || o->id < best->id))
                best = o;
        if (best && best->id <= id + i)
            break;
    }
    return best ? objtab_ref(best) : NULL;
}

bool uvm_object_unref(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&objtab.lock);
    if (atomic_fetch_sub(&uobj->refs, 1) > 1)
        return false;
    struct uvm_object **at = objtab_slot(uobj->id);
    while (*at != uobj)
        at = &(*at)->hash_next;
    *at = uobj->hash_next;
    uvm_stat_sub(objects, 1);
    return true;
}

void uvm_object_free(struct uvm_object *uobj)
{
    assert(!uobj->nresident && TAILQ_EMPTY(&uobj->waiters));
    uvm_objmap_clear(uobj);
    uvm_lock_destroy(&uobj->lock);
    free(uobj);
}

void uvm_object_wait(struct uvm_object *uobj, struct uvm_objwait *wait)
{
    bool found = false;

    uvm_lock_assert_held(&uobj->lock);
    for (uint32_t i = 0; i < wait->npages; i++) {
        struct vm_page *pg = uvm_entry_page(uvm_entry_get(uobj, wait->pgno + i));
        if (pg && (pg->flags & PG_BUSY)) {
            pg->flags |= PG_WANTED;
            found = true;
        }
    }
    assert(found);
    (void)found;
    TAILQ_INSERT_TAIL(&uobj->waiters, wait, link);
    uvm_stat_inc(flt_pgwait);
}

void uvm_object_wakeup(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    struct uvm_objwait *wait, *next;

    uvm_lock_assert_held(&uobj->lock);
    TAILQ_FOREACH_SAFE (wait, &uobj->waiters, link, next) {
        if (wait->pgno < pgno + npages && pgno < wait->pgno + wait->npages) {
            TAILQ_REMOVE(&uobj->waiters, wait, link);
            uvm_loop_post(wait->loop, &wait->work);
        }
    }
}

void uvm_object_addpage(struct uvm_object *uobj, struct uvm_leaf *leaf, uint32_t pgno,
                        struct vm_page *pg, const char *owner)
{
    uvm_entry e = leaf->entry[pgno % UVM_WINDOW_PAGES];

    uvm_lock_assert_held(&uobj->lock);
    assert(uvm_entry_tag(e) == UVM_E_HOLE || uvm_entry_tag(e) == UVM_E_SLOT);
    if (leaf->window == UVM_NOWINDOW)
        leaf->window = uvm_md->window_alloc(uobj->id, leaf->index, uobj);
    uvm_page_insert(pg, uobj, pgno, leaf->window * UVM_WINDOW_PAGES + pgno % UVM_WINDOW_PAGES,
                    uvm_entry_tag(e) == UVM_E_SLOT ? uvm_entry_value(e) : 0, owner);
    uvm_entry_set(uobj, leaf, pgno, uvm_entry_make(UVM_E_PAGE, uvm_page_number(pg)));
}

void uvm_object_subpage(struct vm_page *pg, enum uvm_entry_tag rest)
{
    struct uvm_object *uobj = pg->uobject;
    uint32_t pgno = pg->pgno, slot = pg->swslot;
    bool wanted = pg->flags & PG_WANTED;
    struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);

    uvm_page_remove(pg);
    uvm_entry_set(uobj, leaf, pgno,
                  slot ? uvm_entry_make(UVM_E_SLOT, slot) : uvm_entry_make(rest, 0));
    if (wanted)
        uvm_object_wakeup(uobj, pgno, 1);
}
