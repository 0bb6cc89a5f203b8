/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap: one slot number space over all devices.
 *
 *      slot  1 ......... 999 | 1001 ........... 4999 | ...
 *            device A, prio 0  device B, prio 1
 *
 * A slot is one page of backing store. Devices are files or block devices, opened O_DIRECT; each is
 * a contiguous range of slots. Lower numbers are higher priorities; devices of one priority take
 * turns cluster by cluster. Slot numbers start at 1; 0 is "none". The first page of a device is its
 * label and never a slot, but it has a number (1000 above): slots in a row are on one device. The
 * numbers of a device that was removed are given to a later one.
 *
 * Invariants
 *  - A slot belongs to at most one (object, page) (P3): it is allocated, or free, or bad.
 *  - A bad slot is never handed out again.
 *  - The checksum of what was written to a slot is in its ledger record from before the write.
 *  - Allocating and freeing slots and doing swap I/O never allocates memory (P6).
 *
 * All functions may be called on any thread unless they say otherwise; locks: swap (taken inside).
 */
#ifndef UVMD_PAGER_SWAP_H
#define UVMD_PAGER_SWAP_H

#include <stdbool.h>
#include <stdint.h>

#include "../error.h"
#include "../loop.h"
#include "../util.h"

#define UVM_SWAP_PATH_MAX 4096
#define UVM_SWAP_DEV_MAX  64
#define UVM_SWAP_PRIO_MAX 32767

/* One swap= of the configuration: PATH[:SIZE[:PRIO]]. */
struct uvm_swapspec {
    char path[UVM_SWAP_PATH_MAX];
    uint64_t size; /* bytes; 0: as large as the existing file or device is */
    int prio;      /* 0 is the highest */
    bool force;    /* use it even when it holds something else */
};

/* What swap list shows. */
struct uvm_swapinfo {
    char path[UVM_SWAP_PATH_MAX];
    int prio;
    uint64_t npages; /* slots of the device */
    uint64_t inuse;  /* allocated, bad ones not counted */
    uint64_t bad;
    uint64_t reads, writes; /* transfers */
    uint64_t errors;
    bool block;   /* a block device, not a file */
    bool leaving; /* it is being removed: inuse is what is left on it */
};

/* uvm_swap_init/fini: empty slot space; fini closes every device (and removes nothing). */
void uvm_swap_init(void);
void uvm_swap_fini(void);

/* uvm_swap_discard: remove the files that uvm_swap_add made: the start has failed, and nobody has
 * been served from them. => fini follows; never a file that was there before */
void uvm_swap_discard(void);

/*
 * uvm_swap_add: open, check, label and add a device; a missing file is made, fully allocated, 0600.
 *
 * => 0, or -errno with one line in err that names the path and what to do: is a directory; holds
 *    something else (force needed); in use by another uvmd (lock held) or by the kernel; does not
 *    fit on the disk; too small; SIZE needed to make a file; O_DIRECT not possible there
 * => a file that this call made is removed again when it fails
 */
int uvm_swap_add(const struct uvm_swapspec *spec, struct uvm_error *err);

/*
 * Removing a device while pages live on it (drain.h does what lies between):
 *
 *      leave ---> what it holds goes elsewhere, slot by slot ---> gone
 *                          \_ cancelled, or it cannot be read ---> stay
 *
 * A device that leaves gives out no slots, and nothing is promised on the strength of it any more.
 */
struct uvm_swapleave {
    char path[UVM_SWAP_PATH_MAX];
    uint32_t slot0, nslots; /* its range */
    uint32_t inuse;         /* pages it holds now */
};

/*
 * uvm_swap_leave: begin.
 *
 * => 0 and *ret; or -errno and err: -ENOENT, not a swap device (by its path or another name of it);
 *    -EBUSY, it leaves already; -ENOSPC, what is promised would not fit without it: how much is missing
 */
int uvm_swap_leave(const char *path, struct uvm_swapleave *ret, struct uvm_error *err);

/* uvm_swap_stay: end it: the device is one like the others again, with what it still holds. */
void uvm_swap_stay(uint32_t slot0);

/* uvm_swap_gone: end it: close the device, whose file stays, and free its numbers.
 * => false: something is still on it, and nothing has happened */
bool uvm_swap_gone(uint32_t slot0);

/* uvm_swap_same: do two paths name the same device? */
bool uvm_swap_same(const char *a, const char *b);

/* uvm_swap_left: how many slots of the device are allocated; 0: there is no such device. */
uint32_t uvm_swap_left(uint32_t slot0);

/* uvm_swap_next: the first allocated slot from `slot` on, on its device; *suspect: a transfer of it
 * has failed. => 0: there is none */
uint32_t uvm_swap_next(uint32_t slot, bool *suspect);

/* uvm_swap_faults: from now on devices added go through the fault store (see uvm_swap_inject). */
void uvm_swap_faults(bool on);

/* A rule of the fault store, which sits between swap and a device and fails what the rule names. */
struct uvm_swapfault {
    bool reads, writes;
    int error;             /* positive errno, e.g. EIO; 0 with corrupt: flip bits instead */
    bool corrupt;          /* reads succeed with wrong bytes */
    uint32_t slot, nslots; /* slots it covers; nslots 0: all */
    uint64_t count;        /* how many transfers it hits before it is spent; 0: for good */
    unsigned percent;      /* chance per transfer; 0 means 100 */
};

/* uvm_swap_inject: add a rule. => -ENOTSUP when uvm_swap_faults was not on at start, -ENOSPC */
int uvm_swap_inject(const struct uvm_swapfault *rule);
/* uvm_swap_inject_clear: drop all rules. */
void uvm_swap_inject_clear(void);

/* uvm_swap_list: fill up to max entries; returns how many devices there are. */
unsigned uvm_swap_list(struct uvm_swapinfo *list, unsigned max);

/* uvm_swap_pages: slots that can be used at all (bad ones not counted). */
uint64_t uvm_swap_pages(void);

/*
 * uvm_swap_alloc: allocate a run of contiguous slots on one device.
 *
 * => *nslots: in, how many are wanted (<= UVM_CLUSTER_PAGES); out, how many the run has
 * => lessok: take half the size, a quarter, ... down to one when no run is that long
 * => the first slot, or 0: nothing fits
 * => counts swpginuse
 */
uint32_t uvm_swap_alloc(uint32_t *nslots, bool lessok);

/* uvm_swap_free: give slots back and clear their ledger records. A slot that failed a transfer
 * (uvm_swap_suspect) becomes bad instead of free. */
void uvm_swap_free(uint32_t slot, uint32_t nslots);

/* uvm_swap_markbad: allocated slots that failed a write are bad from now on, and nobody's.
 * => clears the ledger records; counts swpgbad; the reservation total shrinks (uvm_swap_pages) */
void uvm_swap_markbad(uint32_t slot, uint32_t nslots);

/*
 * A transfer of a run of slots. The caller embeds it and fills in the first part.
 *
 * Writes: every page's owner goes in page[]; checksum and ledger record are made before the write.
 * Reads: the checksum is checked. A run whose read fails is read again page by page, so that the
 * error is of the right page; a page that fails twice is reported, counted (ioerrors, or
 * cksumerrors and ioerrors) and its slot is suspect: it turns bad when it is freed. A transient
 * error of a read thus costs nothing; the bytes are never given up by this layer.
 * A write that fails is reported whole (error); the caller decides how to retry (uvm_pager_put).
 */
struct uvm_swapio {
    void (*done)(struct uvm_swapio *sio); /* on the loop's thread */
    void *arg;                            /* the caller's */
    void *buf;                            /* pager map memory, nslots pages */
    uint32_t slot;
    uint32_t nslots; /* 1 .. UVM_CLUSTER_PAGES, on one device */
    bool write;
    /* results */
    int error;                         /* 0, or -errno of the worst page */
    int page_error[UVM_CLUSTER_PAGES]; /* reads: 0 or -errno (-EIO, -EILSEQ checksum) */
    /* the layer's own */
    struct uvm_io io;
    struct uvm_loop *loop;
    uint32_t retry; /* next page of the page-by-page pass */
};

/* Who owns each slot of a write, parallel to the run. */
struct uvm_slotowner {
    uint64_t object;
    uint32_t pgno;
};

/*
 * uvm_swap_put / uvm_swap_get: start a write / read of a run on this thread's loop.
 *
 * => loop's own thread; sio->done follows, never before the call returns
 * => the slots are allocated, on one device, and stay so until done
 * => put: owner[] is read before the call returns; counts pageouts and pgswapout when it succeeds
 * => get: counts pageins (one a call) and pgswapin (the pages that came back right)
 */
void uvm_swap_put(struct uvm_swapio *sio, struct uvm_loop *loop, const struct uvm_slotowner *owner);
void uvm_swap_get(struct uvm_swapio *sio, struct uvm_loop *loop);

#endif
