/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run allocator of one swap device: next fit over bitmaps, with a summary on top.
 *
 *      used   flaw
 *        0      0    free
 *        1      0    allocated
 *        1      1    allocated, suspect: a transfer of it failed
 *        0      1    bad: nobody's and never handed out again
 *
 *      top      [ longest run anywhere                      ]
 *      longest  [ of block 0 | of block 1 | of block 2 | .. ]   a block: 4096 slots
 *      busy     [ 64 words   | 64 words   | 64 words   | .. ]   used | flaw
 *
 * Freeing a suspect slot thus makes it bad without anybody deciding it. longest[] and top bound the
 * free run that can start in a block, and anywhere, from above (clamped to UVM_CLUSTER_PAGES): a
 * search that fails lowers them to what it saw, a free raises them to what it made. So a search
 * reads a block's words only when the run may be there, and asking again for what is not to be had
 * costs one comparison.
 *
 * 2 bits and 2/4096 bytes a slot. Slots are numbered from 0 here. The map has no lock of its own:
 * all functions but init and fini run under the swap lock.
 */
#ifndef UVMD_PAGER_SWAP_SLOTS_H
#define UVMD_PAGER_SWAP_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "../util.h"

#define UVM_SLOTS_NONE UINT32_MAX

struct uvm_slotmap {
    uint64_t *used; /* bit a slot; nwords long, as flaw */
    uint64_t *flaw;
    uint16_t *longest; /* by block */
    uint32_t nslots;
    uint32_t nwords;
    uint32_t nblocks;
    uint32_t next;  /* where the next search starts */
    uint32_t inuse; /* allocated, suspect ones too */
    uint32_t bad;
    uint16_t top;
};

/* uvm_slotmap_init: nslots > 0 free slots. => 0 or -ENOMEM */
int uvm_slotmap_init(struct uvm_slotmap *map, uint32_t nslots);
void uvm_slotmap_fini(struct uvm_slotmap *map);

/*
 * uvm_slotmap_alloc: a run of exactly n (1 .. UVM_CLUSTER_PAGES) free slots.
 *
 * => the first, or UVM_SLOTS_NONE
 */
uint32_t uvm_slotmap_alloc(struct uvm_slotmap *map, uint32_t n);

/* uvm_slotmap_free: n allocated slots go back; suspects among them become bad.
 * => how many became bad */
uint32_t uvm_slotmap_free(struct uvm_slotmap *map, uint32_t slot, uint32_t n);

/* uvm_slotmap_bad: n allocated slots are bad from now on. */
void uvm_slotmap_bad(struct uvm_slotmap *map, uint32_t slot, uint32_t n);

/* uvm_slotmap_suspect: an allocated slot becomes bad when it is freed. */
void uvm_slotmap_suspect(struct uvm_slotmap *map, uint32_t slot);

/* uvm_slotmap_allocated: all of the n slots are allocated. */
bool uvm_slotmap_allocated(const struct uvm_slotmap *map, uint32_t slot, uint32_t n);

/* uvm_slotmap_next: the first allocated slot in [from, nslots), or UVM_SLOTS_NONE.
 * => *suspect: it is one that becomes bad when it is freed */
uint32_t uvm_slotmap_next(const struct uvm_slotmap *map, uint32_t from, bool *suspect);

#endif
