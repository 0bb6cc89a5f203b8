/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to pmap/: what an implementation of the pmap supplies, and what its files share.
 *
 *      pmap.c      contract, ranges, modified bits      windows.c   who owns which window
 *         |
 *         +-- struct pmap_impl --+-- pmap_uffd.c        userfaultfd: its calls
 *                                |     pmap_uffd_setup.c    making it, and the arena's memfd
 *                                +-- pmap_soft.c        plain memory, for unit tests
 *
 * The modified bits are kept above the vector, so both implementations have the same ones; an
 * implementation only moves bytes and protections. Ranges reach it checked.
 */
#ifndef UVMD_PMAP_IMPL_H
#define UVMD_PMAP_IMPL_H

#include "pmap.h"

#define PMAP_WINDOWS_MAX (1u << 25)

/* What an implementation made in init, and takes down again in fini. */
struct pmap_arena {
    uint8_t *base;
    uint64_t bytes;
    int arena_fd; /* -1: none */
    int fault_fd; /* -1: none */
};

struct pmap_impl {
    /* => fills *arena; on failure -errno, err filled in, nothing is left behind */
    int (*init)(struct pmap_arena *arena, uint64_t bytes, struct uvm_error *err);
    void (*fini)(struct pmap_arena *arena);

    /* => one line, lives as long as the pmap */
    const char *(*features)(void);

    /* => src NULL: zeroes
     * => 0, or -errno, then every page of the range is a hole */
    int (*fill)(uint32_t apage, uint32_t n, const void *src, int prot);

    /* One page of zeroes where there is a hole; wakes.
     * => 0; -EEXIST: there is a page, which stays as it is; else -errno, and there is a hole */
    int (*fill_hole)(uint32_t apage, int prot);

    /* => prot READ or RW; RW wakes
     * => cannot fail: aborts, because a page that stays writable loses stores */
    void (*protect)(uint32_t apage, uint32_t n, int prot);
    void (*remove)(uint32_t apage, uint32_t n);
    void (*wake)(uint32_t apage, uint32_t n);
    int (*next_fault)(struct pmap_fault *faults, int max);

    /* => aborts unless the pages are holes; NULL: a stray fault's zeroes may be there */
    void (*assert_absent)(uint32_t apage, uint32_t n);
};

extern const struct pmap_impl pmap_impl_uffd;
extern const struct pmap_impl pmap_impl_soft;

/*
 * pmap_uffd_setup: probe the kernel, make the arena, register it.
 *
 * => 0, *arena and *features (as the kernel numbers them) filled in; or -errno with err filled in
 */
int pmap_uffd_setup(struct pmap_arena *arena, uint64_t bytes, uint64_t *features,
                    struct uvm_error *err);

/* pmap_uffd_describe: the features' names in one line. => the line has room for all of them */
void pmap_uffd_describe(uint64_t features, char *line, size_t size);

/*
 * pmap_sparse_alloc: zeroed book-keeping memory that costs only what is touched.
 *
 * => NULL with err filled in (what: its name) when there is no room
 * => given back with pmap_sparse_free
 */
void *pmap_sparse_alloc(uint64_t bytes, const char *what, struct uvm_error *err);
void pmap_sparse_free(void *p, uint64_t bytes);

/* windows.c: => 0, or -errno with err filled in */
int pmap_windows_init(uint32_t nwindows, struct uvm_error *err);
void pmap_windows_fini(void);

/* pmap_lend: zeroes where there is a hole, writable for a store, as a page that is there is made too;
 * wakes. => nobody fills or removes the page meanwhile but the owner of a dying object's page, or, unless
 * it is a store, of one that is about to be entered */
void pmap_lend(uint32_t apage, bool write);

/* pmap_windows_release: the book-keeping of pmap_window_free. => locks: arena, taken inside */
void pmap_windows_release(uint32_t window);

#endif
