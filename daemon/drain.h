/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The drain: empties a swap device that is being removed (uvm_swap_leave), while its pages are in use.
 *
 *      slot of the device --ledger--> object, page --> is it there still?
 *                                                        |
 *              on swap: page it in --> resident, clean --+--> give the slot back: resident, dirty
 *
 * A dirty page needs nothing more from here: the pagedaemon writes it to another device when memory is
 * short, or it stays. So the drain never writes, and what can be lost is nothing: a page has its
 * slot on the device until it is in memory.
 *
 * It runs on a loop of its own, which it never blocks, and it is a guest: a few page-ins of bounded
 * size in flight, and while others wait for memory, one small one at a time. Slots are found by
 * walking the device; what is busy just then is found by the next walk. It ends when nothing is left,
 * when all that is left cannot be read, when memory does not come, or when it is cancelled.
 */
#ifndef UVMD_DRAIN_H
#define UVMD_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"

#define UVM_DRAIN_FAULTS 4u  /* page-ins in flight */
#define UVM_DRAIN_PAGES  64u /* pages of one */

struct uvm_drain {
    /* the caller's */
    struct uvm_loop *loop;
    uint32_t slot0, nslots; /* the device */
    /* done: on the loop's thread, nothing is in flight any more: 0, the device holds nothing; -ECANCELED;
     * -EIO, `unreadable` pages cannot be read, and nothing else is left; -ENOMEM, no page came free */
    void (*done)(struct uvm_drain *drain, int error);
    uint32_t unreadable; /* out */

    /* the drain's own */
    _Atomic bool cancelled;
    bool posted, ticked, finished;
    struct uvm_work work;
    uint32_t next;    /* where the walk is; 0: at its end */
    unsigned walks;   /* that have ended */
    bool moved;       /* this walk has found something to do */
    bool stuck;       /* this walk has met what could not be had just then */
    uint32_t bad;     /* this walk: slots that cannot be read */
    unsigned starved; /* page-ins in a row for which no memory came */
    unsigned nflight;
    struct drain_fault {
        struct uvm_fault fault;
        struct uvm_drain *drain;
        uint32_t slot; /* of its first page */
        bool used;
    } faults[UVM_DRAIN_FAULTS];
};

/* uvm_drain_start: => loop's own thread; the device is leaving; drain is zeroed but for the caller's
 * part; done follows, never before the call returns */
void uvm_drain_start(struct uvm_drain *drain);

/* uvm_drain_cancel: end it soon. => any thread, before done */
void uvm_drain_cancel(struct uvm_drain *drain);

#endif
