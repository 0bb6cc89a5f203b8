/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects begin and end, pages join and leave them, and whoever waits for a busy page is woken.
 *
 * Waiters hang on the object, not on the page, because a page may go while somebody waits for it:
 *
 *      busy page  --WANTED-->  let go, or gone  -->  every waiter whose range has it: look again
 */
#include "object.h"

#include <assert.h>
#include <stdlib.h>

#include "objmap.h"
#include "objtab.h"
#include "stats.h"

struct uvm_object *uvm_object_new(uint64_t id, const struct uvm_pagerops *pgops)
{
    struct uvm_object *uobj = calloc(1, sizeof(*uobj));
    if (uobj)
        uvm_object_init(uobj, id, pgops, false);
    return uobj;
}

void uvm_object_init(struct uvm_object *uobj, uint64_t id, const struct uvm_pagerops *pgops,
                     bool backed)
{
    assert(id);
    uobj->backed = backed;
    uvm_lock_init(&uobj->lock, UVM_LR_OBJECT);
    uobj->pgops = pgops;
    uobj->id = id;
    atomic_init(&uobj->refs, 1);
    TAILQ_INIT(&uobj->waiters);
    uvm_objtab_insert(uobj);
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
    assert(uvm_entry_tag(e) != UVM_E_PAGE && (uobj->backed || uvm_entry_tag(e) != UVM_E_EMPTY));
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
                  slot ? uvm_entry_make(UVM_E_SLOT, slot)
                       : uvm_entry_make(uobj->backed ? UVM_E_EMPTY : rest, 0));
    if (wanted)
        uvm_object_wakeup(uobj, pgno, 1);
}
