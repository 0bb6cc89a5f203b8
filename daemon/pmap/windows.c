/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who owns which window of the arena.
 *
 *      0        fresh          nwindows
 *      |--used--|--never used--|        freed[]: a stack of used windows that are free again
 *
 * A free window comes from the top of the stack, else from the never-used part: page tables exist
 * for few windows, and the last one freed is the one whose tables are warm. Nothing is touched for
 * a window before its first use, so an arena of terabytes costs what is used of it.
 *
 * Invariants
 *  - A window is in freed[] or above fresh exactly while its owner is NULL.
 *  - A window's generation goes up before the window can be found by alloc again.
 *  - The ledger's record of a window changes with it, under the same lock.
 *  - A stray fault's zeroes are never seen by the next owner: a window that has any is emptied before it
 *    is handed out.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "../ledger.h"
#include "../lock.h"
#include "pmap_impl.h"

struct window {
    void *owner;          /* lock; NULL: free */
    uint64_t id;          /* lock; 0: free */
    uint32_t index;       /* lock */
    _Atomic uint32_t gen; /* written under lock, read by anybody */
    bool stray;           /* lock; pages of it may hold a stray fault's zeroes */
};

static struct {
    struct uvm_lock lock;
    struct window *table;
    uint32_t *freed;   /* lock */
    uint32_t nfreed;   /* lock */
    uint32_t fresh;    /* lock */
    uint32_t nwindows; /* constant */
} windows;

int pmap_windows_init(uint32_t nwindows, struct uvm_error *err)
{
    struct window *table = pmap_sparse_alloc(nwindows * sizeof(*table), "window table", err);
    uint32_t *freed = pmap_sparse_alloc(nwindows * sizeof(*freed), "window stack", err);

    if (!table || !freed) {
        pmap_sparse_free(table, nwindows * sizeof(*table));
        pmap_sparse_free(freed, nwindows * sizeof(*freed));
        return -ENOMEM;
    }
    windows.table = table;
    windows.freed = freed;
    windows.nwindows = nwindows;
    uvm_lock_init(&windows.lock, UVM_LR_ARENA);
    return 0;
}

void pmap_windows_fini(void)
{
    if (!windows.table)
        return;
    uvm_lock_destroy(&windows.lock);
    pmap_sparse_free(windows.table, windows.nwindows * sizeof(*windows.table));
    pmap_sparse_free(windows.freed, windows.nwindows * sizeof(*windows.freed));
    memset(&windows, 0, sizeof(windows));
}

/* Take stray zeroes out of a window of which nothing is resident. => locked */
static void sweep(uint32_t window, struct window *w)
{
    if (w->stray)
        pmap_remove(window * UVM_WINDOW_PAGES, UVM_WINDOW_PAGES);
    w->stray = false;
}

void pmap_stray(uint32_t apage, uint64_t id, bool write)
{
    uint32_t window = apage / UVM_WINDOW_PAGES;
    struct window *w = &windows.table[window];

    UVM_LOCK_SCOPE(&windows.lock);
    if (w->id != id) {
        pmap_wake(apage, 1);
        return;
    }
    uint32_t gen = 1 + atomic_fetch_add_explicit(&w->gen, 1, memory_order_release);
    uvm_ledger_window_set(window, w->id, w->index, gen);
    w->stray = true;
    pmap_lend(apage, write);
}

uint32_t pmap_window_alloc(uint64_t id, uint32_t index, void *owner)
{
    assert(id && owner);
    UVM_LOCK_SCOPE(&windows.lock);
    assert(windows.nfreed || windows.fresh < windows.nwindows);

    uint32_t window = windows.nfreed ? windows.freed[--windows.nfreed] : windows.fresh++;
    struct window *w = &windows.table[window];
    assert(!w->owner);
    sweep(window, w);
    w->owner = owner;
    w->id = id;
    w->index = index;
    uvm_ledger_window_set(window, id, index, atomic_load_explicit(&w->gen, memory_order_relaxed));
    return window;
}

void pmap_windows_release(uint32_t window)
{
    UVM_LOCK_SCOPE(&windows.lock);
    struct window *w = &windows.table[window];
    assert(w->owner);

    uint32_t gen = 1 + atomic_fetch_add_explicit(&w->gen, 1, memory_order_release);
    w->owner = NULL;
    w->id = 0;
    w->index = 0;
    uvm_ledger_window_set(window, 0, 0, gen);
    windows.freed[windows.nfreed++] = window;
}

uint32_t pmap_window_gen(uint32_t window)
{
    assert(window < windows.nwindows);
    /* The fence is for the second look: what the caller has copied was read before it. */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&windows.table[window].gen, memory_order_acquire);
}

void *pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index)
{
    assert(window < windows.nwindows);
    UVM_LOCK_SCOPE(&windows.lock);
    const struct window *w = &windows.table[window];

    *ret_id = w->owner ? w->id : 0;
    *ret_index = w->owner ? w->index : 0;
    return w->owner;
}
