/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of swap share: the device as swap.c keeps it and swap_io.c uses it.
 *
 *      swap.c        slot space, priorities, allocation      swap_io.c     transfers, checksums
 *      swap_add      a path becomes a device                 swap_store    what a device is made of
 *      swap_dev      opening, with swap_label, swap_space    swap_fault    a store that fails
 *      swap_slots    runs of one device
 */
#ifndef UVMD_PAGER_SWAP_IMPL_H
#define UVMD_PAGER_SWAP_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "swap_dev.h"
#include "swap_slots.h"
#include "swap_store.h"

struct uvm_swapdevice {
    TAILQ_ENTRY(uvm_swapdevice) link; /* swap lock: in the order of the next allocation */
    struct uvm_slotmap map;           /* swap lock */
    /* set once, before the device joins */
    char *path;
    struct uvm_swapid id;
    bool made; /* its file was made for it */
    int prio;
    uint32_t slot0; /* its first slot */
    struct uvm_store *store;
    /* swap lock: it is being removed: it gives no slots, and swpages, swpginuse and swpgbad are without
     * what it has; swpgleaving is what is left on it */
    bool leaving;
    _Atomic uint64_t reads, writes, errors;
    _Atomic uint32_t failed;    /* writes that failed, in a row */
    _Atomic uint64_t resume_ns; /* while it fails: do not prefer it before then */
};

/*
 * uvm_swap_device: the device that has all of the run, whose slots are allocated (asserted: a
 * transfer of anything else is a programming error).
 *
 * => the device lives as long as a slot of it is allocated; locks: swap, taken inside
 */
struct uvm_swapdevice *uvm_swap_device(uint32_t slot, uint32_t nslots);

/* uvm_swap_check_join: is there room for one more, and for how large a one (bytes, label included)? */
int uvm_swap_check_join(const struct uvm_swapspec *spec, uint64_t *max, struct uvm_error *err);

/* uvm_swap_join: give a device its numbers: the first that are free. => -ENOSPC: others have taken them */
int uvm_swap_join(struct uvm_swapdevice *dev);

/* uvm_swapdevice_free: close and free it. => it has not joined, or has left */
void uvm_swapdevice_free(struct uvm_swapdevice *dev);

/* uvm_swap_faulty: do devices get a fault store? */
bool uvm_swap_faulty(void);

/* uvm_swap_wrote: how a write to the device ended. */
void uvm_swap_wrote(struct uvm_swapdevice *dev, bool failed);

/* uvm_swap_suspect: the slot failed a transfer; it turns bad when it is freed. => locks: as above
 */
void uvm_swap_suspect(struct uvm_swapdevice *dev, uint32_t slot);

#endif
