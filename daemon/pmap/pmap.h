/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pmap: who may touch a page's memory, and how.
 *
 * The arena is one sparse stretch of memory, cut into windows of UVM_WINDOW_PAGES pages. A window
 * belongs to one aligned run of one object's pages, or is free; pages of it that are not resident
 * are holes. An "apage" is the number of a page of the arena: window * UVM_WINDOW_PAGES + index.
 *
 * Two implementations of one vector: the userfaultfd pmap, whose arena is a memfd registered for
 * MISSING and WP faults, and the soft pmap, plain memory with the same book-keeping, for unit
 * tests.
 *
 * Every call takes a range, because one system call may cost an inter-processor interrupt: a loop
 * of single-page calls is a bug.
 *
 * Invariants
 *  - A page is entered and protected in one step, never entered writable and then protected.
 *  - "modified" is set by the pmap when a page becomes writable (announced by the writer, or by a
 *    WP fault), and only pmap_clear_modify, which protects, clears it.
 *  - Who changes a page's mapping holds the page BUSY, or its window is free: no lock is needed.
 */
#ifndef UVMD_PMAP_PMAP_H
#define UVMD_PMAP_PMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../error.h"
#include "../page_md.h"

enum pmap_kind { PMAP_UFFD, PMAP_SOFT };

enum pmap_fault_kind { PMAP_FAULT_MISSING, PMAP_FAULT_WP, PMAP_FAULT_MINOR };

/* A touch of the arena that the hardware refused: somebody sleeps until it is resolved. */
struct pmap_fault {
    uint32_t apage;
    enum pmap_fault_kind kind;
    bool write;
};

/*
 * pmap_init: make the arena, probe what the kernel's userfaultfd can do, register.
 *
 * => 0, or -errno with err naming the remedy (/dev/userfaultfd's mode, CAP_SYS_PTRACE,
 *    vm.unprivileged_userfaultfd, kernel version)
 * => installs itself as uvm_md (page_md.h)
 */
int pmap_init(enum pmap_kind kind, uint32_t nwindows, struct uvm_error *err);
void pmap_fini(void);

/* The descriptors: the arena's memfd; the userfaultfd to watch for faults (-1 with the soft pmap).
 */
int pmap_arena_fd(void);
int pmap_fault_fd(void);

/* What the kernel offers, as a line for status ("missing wp poison move ..."). */
const char *pmap_features(void);

/*
 * pmap_enter: install pages that are absent, with the given bytes and protection.
 *
 * => n pages from apage on; src: n pages of bytes, any alignment, not in the arena
 * => prot: UVM_PROT_READ installs write-protected and not modified, UVM_PROT_RW writable and
 * modified
 * => a page that is there already (a stray fault's zeroes) is removed first and replaced
 * => wakes whoever sleeps on the pages
 * => 0; -ENOMEM: no memory in the host, then none of the range is installed
 */
int pmap_enter(uint32_t apage, uint32_t n, const void *src, int prot);

/* pmap_zero: the same with zeroes. */
int pmap_zero(uint32_t apage, uint32_t n, int prot);

/* pmap_page_protect: UVM_PROT_READ write-protects; UVM_PROT_RW makes writable and modified, and
 * wakes; UVM_PROT_NONE is pmap_remove. => pages are resident */
void pmap_page_protect(uint32_t apage, uint32_t n, int prot);

/* pmap_remove: give the memory back; the pages are holes, not modified. */
void pmap_remove(uint32_t apage, uint32_t n);

bool pmap_is_modified(uint32_t apage);
/* pmap_clear_modify: write-protect, and forget that the pages were modified. */
void pmap_clear_modify(uint32_t apage, uint32_t n);

/* pmap_kva: the address of a page in the arena. */
void *pmap_kva(uint32_t apage);

/* pmap_wake: let whoever sleeps on the pages try again. */
void pmap_wake(uint32_t apage, uint32_t n);

/*
 * pmap_stray: answer a fault on a page that nobody has, with zeroes that nobody keeps.
 *
 * => id: whose window it is, as pmap_window_owner said: 0, nobody's; an object that is locked and
 *    has no such page, or (not for a store) one that its owner is about to enter; or an object that is
 *    dying, which nobody can find any more. If the window is somebody else's by now, whoever sleeps is
 *    only woken, and faults again
 * => write: the access was a store: the zeroes are writable, and the store goes where they go
 * => a page that is there stays (of a dying object, or another stray fault's zeroes)
 * => the zeroes go when the window changes hands, or when the page is entered
 * => the window's generation goes up first, so that whoever copies the zeroes throws the copy away
 * => locks: arena, taken inside
 */
void pmap_stray(uint32_t apage, uint64_t id, bool write);

/*
 * pmap_next_fault: read pending faults.
 *
 * => fills up to max, returns how many; 0: none pending; -errno: the descriptor is broken
 * => never blocks
 */
int pmap_next_fault(struct pmap_fault *faults, int max);

/*
 * Windows. pmap_window_alloc takes a free one for window `index` of object `id`; there are as many
 * windows as pages, so a caller that owns a free page always finds one.
 * pmap_window_free: every page of it is a hole. Its generation goes up: whoever copied from it
 * without a lock compares the generation before and after and throws the copy away.
 *
 * => locks: arena, taken inside
 */
uint32_t pmap_window_alloc(uint64_t id, uint32_t index, void *owner);
void pmap_window_free(uint32_t window);
uint32_t pmap_window_gen(uint32_t window);

/* pmap_window_owner: the owner pointer given at alloc and which of its windows this is; NULL and id
 * 0: free.
 * => a hint: it may change as soon as it is returned; the caller must re-check under the owner's
 * lock */
void *pmap_window_owner(uint32_t window, uint64_t *ret_id, uint32_t *ret_index);

#endif
