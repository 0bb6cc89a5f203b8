/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pages of an object have room and which have data: fallocate and lseek.
 */
#include <errno.h>

#include "rw.h"

/* How many pages of [pgno, pgno + npages) are EMPTY? => object locked; costs the leaves there are
 */
static uint32_t count_empty(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    uint32_t empty = npages;

    struct uvm_leaf *leaf = uvm_leaf_next(uobj, pgno / UVM_WINDOW_PAGES);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= pgno + npages)
            break;
        for (uint32_t i = 0; i < UVM_WINDOW_PAGES; i++)
            if (base + i >= pgno && base + i < pgno + npages)
                empty -= uvm_entry_tag(leaf->entry[i]) != UVM_E_EMPTY;
    }
    return empty;
}

/* => object locked */
static void mark_allocated(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    struct uvm_leaf *leaf = uvm_leaf_next(uobj, pgno / UVM_WINDOW_PAGES);
    for (; leaf; leaf = uvm_leaf_next(uobj, leaf->index + 1)) {
        uint32_t base = leaf->index * UVM_WINDOW_PAGES;
        if (base >= pgno + npages)
            break;
        uint64_t mask = ~0ull;
        if (base < pgno)
            mask &= ~0ull << (pgno - base);
        if (base + UVM_WINDOW_PAGES > pgno + npages)
            mask &= ~0ull >> (base + UVM_WINDOW_PAGES - pgno - npages);
        leaf->allocated |= mask;
        leaf->revoking &= ~mask; /* what the revoker has in hand stays promised as well */
    }
}

int uvm_allocate(struct uvm_object *uobj, uint32_t pgno, uint32_t npages)
{
    struct uvm_rw rw = {.uobj = uobj};
    int error = 0;

    UVM_LOCK_SCOPE(&uobj->lock);
    uint32_t empty = count_empty(uobj, pgno, npages);
    if (empty && uvm_reserve(empty, NULL) != UVM_RESERVED)
        return -ENOSPC;
    rw.granted = empty;
    error = uvm_rw_make_holes(&rw, pgno, npages);
    mark_allocated(uobj, pgno, npages);
    if (rw.granted)
        uvm_unreserve(rw.granted);
    return error;
}

uint32_t uvm_find(struct uvm_object *uobj, uint32_t pgno, uint32_t end, bool data)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    while (pgno < end) {
        struct uvm_leaf *leaf = uvm_leaf_lookup(uobj, pgno);
        if (!leaf) {
            if (!data)
                return pgno;
            leaf = uvm_leaf_next(uobj, pgno / UVM_WINDOW_PAGES);
            if (!leaf)
                return end;
            pgno = leaf->index * UVM_WINDOW_PAGES;
            continue;
        }
        uint32_t at = pgno % UVM_WINDOW_PAGES;
        enum uvm_entry_tag tag = uvm_entry_tag(leaf->entry[at]);
        bool stored = tag == UVM_E_HOLE && (leaf->delivered >> at & 1);
        if ((tag == UVM_E_PAGE || tag == UVM_E_SLOT || stored) == data)
            return pgno;
        pgno++;
    }
    return end;
}
