/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pmap above its implementations: ranges are checked here, and the modified bits live here.
 *
 * One bit an apage, one 64-bit word a window, changed by atomic or / and-not of a mask a word, so
 * that a range costs one operation a window and neighbours never lose a bit to each other.
 *
 * Order of bit and protection, so that no store goes unnoticed:
 *
 *      to writable:   set the bit, then unprotect     (a store finds the bit already set)
 *      to protected:  protect, then clear the bit     (a store after it faults, and is reported)
 *      to a hole:     clear the bit, then remove      (never writable with the bit clear for good)
 */
#include "pmap.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "../util.h"
#include "pmap_impl.h"

_Static_assert(UVM_WINDOW_PAGES == 64, "a window's modified bits are one word");

static struct {
    const struct pmap_impl *impl; /* NULL: not initialised */
    struct pmap_arena arena;
    uint32_t nwindows;
    uint32_t npages;
    _Atomic uint64_t *modified; /* by window */
} pmap;

const struct uvm_md_ops *uvm_md;

static const struct uvm_md_ops pmap_md_ops = {
    .page_protect = pmap_page_protect,
    .remove = pmap_remove,
    .is_modified = pmap_is_modified,
    .clear_modify = pmap_clear_modify,
    .kva = pmap_kva,
    .window_alloc = pmap_window_alloc,
    .window_free = pmap_window_free,
};

void *pmap_sparse_alloc(uint64_t bytes, const char *what, struct uvm_error *err)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    if (p == MAP_FAILED) {
        int code = -errno;
        uvm_fail(err, code, "%s: no address space for %llu bytes: %s", what,
                 (unsigned long long)bytes, strerror(-code));
        return NULL;
    }
    return p;
}

void pmap_sparse_free(void *p, uint64_t bytes)
{
    if (p && munmap(p, bytes))
        abort();
}

/* Take down whatever pmap_init has made so far. */
static void pmap_teardown(void)
{
    uvm_md = NULL;
    if (pmap.arena.base)
        pmap.impl->fini(&pmap.arena);
    pmap_windows_fini();
    pmap_sparse_free(pmap.modified, pmap.nwindows * sizeof(*pmap.modified));
    memset(&pmap, 0, sizeof(pmap));
}

int pmap_init(enum pmap_kind kind, uint32_t nwindows, struct uvm_error *err)
{
    assert(!pmap.impl);
    if (!nwindows || nwindows > PMAP_WINDOWS_MAX)
        return uvm_fail(err, -ERANGE, "arena windows: %u is out of range (1 to %u)", nwindows,
                        PMAP_WINDOWS_MAX);

    pmap.impl = kind == PMAP_SOFT ? &pmap_impl_soft : &pmap_impl_uffd;
    pmap.nwindows = nwindows;
    pmap.npages = nwindows * UVM_WINDOW_PAGES;

    int rc = pmap_windows_init(nwindows, err);
    if (rc == 0) {
        pmap.modified = pmap_sparse_alloc(nwindows * sizeof(*pmap.modified), "modified bits", err);
        if (!pmap.modified)
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = pmap.impl->init(&pmap.arena, uvm_ptoa(pmap.npages), err);
    if (rc) {
        pmap_teardown();
        return rc;
    }
    uvm_md = &pmap_md_ops;
    return 0;
}

void pmap_fini(void)
{
    assert(pmap.impl);
    pmap_teardown();
}

int pmap_arena_fd(void)
{
    return pmap.arena.arena_fd;
}

int pmap_fault_fd(void)
{
    return pmap.arena.fault_fd;
}

const char *pmap_features(void)
{
    return pmap.impl->features();
}

static void pmap_assert_range(uint32_t apage, uint32_t n)
{
    assert(n && n <= pmap.npages && apage <= pmap.npages - n);
}

static void modified_change(uint32_t apage, uint32_t n, bool set)
{
    while (n) {
        uint32_t bit = apage % UVM_WINDOW_PAGES;
        uint32_t run = MIN(n, UVM_WINDOW_PAGES - bit);
        uint64_t mask = (~(uint64_t)0 >> (UVM_WINDOW_PAGES - run)) << bit;
        _Atomic uint64_t *word = &pmap.modified[apage / UVM_WINDOW_PAGES];

        if (set)
            atomic_fetch_or(word, mask);
        else
            atomic_fetch_and(word, ~mask);
        apage += run;
        n -= run;
    }
}

static int pmap_fill(uint32_t apage, uint32_t n, const void *src, int prot)
{
    pmap_assert_range(apage, n);
    assert(prot == UVM_PROT_READ || prot == UVM_PROT_RW);

    /* A hole's bit is clear, but a page that a stray fault left may be modified. */
    modified_change(apage, n, prot == UVM_PROT_RW);
    int rc = pmap.impl->fill(apage, n, src, prot);
    if (rc)
        modified_change(apage, n, false);
    return rc;
}

int pmap_enter(uint32_t apage, uint32_t n, const void *src, int prot)
{
    assert((const uint8_t *)src >= pmap.arena.base + pmap.arena.bytes ||
           (const uint8_t *)src + uvm_ptoa(n) <= pmap.arena.base);
    return pmap_fill(apage, n, src, prot);
}

int pmap_zero(uint32_t apage, uint32_t n, int prot)
{
    return pmap_fill(apage, n, NULL, prot);
}

void pmap_lend(uint32_t apage, bool write)
{
    pmap_assert_range(apage, 1);
    if (write)
        modified_change(apage, 1, true);
    int rc = pmap.impl->fill_hole(apage, write ? UVM_PROT_RW : UVM_PROT_READ);
    if (rc == -EEXIST && write)
        pmap.impl->protect(apage, 1, UVM_PROT_RW);
    else if (rc)
        pmap.impl->wake(apage, 1); /* it is there, or no memory: whoever sleeps tries again */
    if (rc && rc != -EEXIST && write)
        modified_change(apage, 1, false);
}

void pmap_page_protect(uint32_t apage, uint32_t n, int prot)
{
    if (prot == UVM_PROT_NONE) {
        pmap_remove(apage, n);
        return;
    }
    pmap_assert_range(apage, n);
    assert(prot == UVM_PROT_READ || prot == UVM_PROT_RW);
    if (prot == UVM_PROT_RW)
        modified_change(apage, n, true);
    pmap.impl->protect(apage, n, prot);
}

void pmap_remove(uint32_t apage, uint32_t n)
{
    pmap_assert_range(apage, n);
    modified_change(apage, n, false);
    pmap.impl->remove(apage, n);
}

bool pmap_is_modified(uint32_t apage)
{
    pmap_assert_range(apage, 1);
    uint64_t word = atomic_load(&pmap.modified[apage / UVM_WINDOW_PAGES]);
    return word >> (apage % UVM_WINDOW_PAGES) & 1;
}

void pmap_clear_modify(uint32_t apage, uint32_t n)
{
    pmap_assert_range(apage, n);
    pmap.impl->protect(apage, n, UVM_PROT_READ);
    modified_change(apage, n, false);
}

void *pmap_kva(uint32_t apage)
{
    pmap_assert_range(apage, 1);
    return pmap.arena.base + uvm_ptoa(apage);
}

void pmap_wake(uint32_t apage, uint32_t n)
{
    pmap_assert_range(apage, n);
    pmap.impl->wake(apage, n);
}

int pmap_next_fault(struct pmap_fault *faults, int max)
{
    assert(max > 0);
    return pmap.impl->next_fault(faults, max);
}

void pmap_window_free(uint32_t window)
{
    assert(window < pmap.nwindows);
    if (pmap.impl->assert_absent)
        pmap.impl->assert_absent(window * UVM_WINDOW_PAGES, UVM_WINDOW_PAGES);
    pmap_windows_release(window);
}
