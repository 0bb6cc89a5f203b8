/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing an object's bytes, without ever blocking the thread.
 *
 * A request is run from the top until nothing is in its way; whenever something is (a busy page, a
 * page on swap, no free page, no reservation) it parks with a continuation that runs it from the
 * top again. It holds no busy page and no page in hand while it is parked.
 *
 *      read    all pages at once: the copy from the arena is optimistic, without lock or pin, and is
 *              thrown away when a window it copied from has changed hands meanwhile
 *      write   a window at a time: pages BUSY, filled or made writable, copied to, dirty, let go
 */
#ifndef UVMD_RW_H
#define UVMD_RW_H

#include "fault.h"
#include "pager/vnode.h"
#include "reserve.h"

enum {
    UVM_RW_FORCE = 1, /* write: the kernel writes back what was promised room; never refuse for want
                         of a reservation while the emergency reserve lasts */
    UVM_RW_READONLY = 2, /* read: by somebody who cannot store: zeroes need only a loan */
    UVM_RW_AHEAD =
        4, /* read: perhaps read-ahead, so an error is not the last word: see reserve.h */
    UVM_RW_ABSENT = 8, /* write of zeroes: also to what is on the backing store only */
};

struct uvm_rw {
    /* the caller's */
    struct uvm_object *uobj; /* referenced until done */
    struct uvm_loop *loop;   /* this thread's */
    uint64_t off;            /* bytes; off + len <= 8 TiB */
    size_t len;      /* bytes; reads: at most UVM_CLUSTER_PAGES pages and an unaligned one */
    const char *src; /* write; NULL: zero what is in memory or on swap, within one page */
    char *dst;       /* read */
    int flags;       /* UVM_RW_* */

    /* done: 0 or -errno: -ENOSPC no reservation, -EIO a page could not be had, -ENOMEM; of a
     * write also what uvm_protect_check says, when the object was frozen meanwhile. => loop's
     * thread, no lock; may run before start returns */
    void (*done)(struct uvm_rw *rw, int error);
    void *arg;

    /* out */
    uint32_t lent; /* read: so many pages are zeroes on loan: revoke the range, then return it */

    /* the machine's own */
    void (*run)(struct uvm_rw *rw);
    size_t at;
    uint64_t start_ns;
    bool faulted, refused; /* (refused: a reservation) */
    uint64_t stop;         /* write: it cannot go beyond this byte, */
    int stop_error;        /* because of this */
    uint32_t absent;       /* write: the first page that the pages waited for are for */
    uint32_t nhand, granted;
    struct vm_pagelist hand;
    struct uvm_fault *fault;
    struct uvm_objwait objwait;
    struct uvm_pagewait pagewait;
    struct uvm_reservewait reservewait;
    struct uvn_dirtywait dirtywait;
    uint32_t admitted; /* write, to a file: so many pages of its next chunk have been let in */
};

/* uvm_read / uvm_write: start. => no lock held */
void uvm_read(struct uvm_rw *rw);
void uvm_write(struct uvm_rw *rw);

/*
 * uvm_write_moved: the bytes of a write that has not ended lie elsewhere from now on.
 *
 * => on rw->loop's thread, before it runs again; data: the byte at rw->off + rw->at
 * => kept: how many there are. If these are not all, the write ends behind them with -ENOMEM, and
 *    rw->at says how far it came
 */
void uvm_write_moved(struct uvm_rw *rw, const char *data, size_t kept);

/* uvm_write_cached: may the client cache hold a page of the write's range, from page pgno on, which
 * the kernel had before the write? => no lock held */
bool uvm_write_cached(struct uvm_rw *rw, uint32_t pgno);

/*
 * uvm_write_cancel: end a write that waits for a page or a reservation, with -EINTR; rw->at says how
 * far it came.
 *
 * => on rw->loop's thread, before done
 * => does nothing when the write waits for something that comes by itself, nor when a page that it
 *    would not write may be in the client cache: the kernel forgets the pages of a WRITE from where
 *    it ended, also those that hold bytes of a mapping which it has not written back yet. Such a
 *    write goes on; it ends with its page, its reservation, or a refusal.
 */
void uvm_write_cancel(struct uvm_rw *rw);

/*
 * uvm_allocate: reserve every EMPTY page of [pgno, pgno + npages), as fallocate does.
 *
 * => 0; -ENOSPC: nothing has changed; -ENOMEM: a part has its reservation
 */
int uvm_allocate(struct uvm_object *uobj, uint32_t pgno, uint32_t npages);

/* uvm_find: the first page at or after pgno that has data (a hole, if !data), below end; end: none.
 * => for lseek; a hole that the client cache holds counts as data: a store through a mapping may be
 *    in it, which the kernel has not written back and does not before it asks */
uint32_t uvm_find(struct uvm_object *uobj, uint32_t pgno, uint32_t end, bool data);

/* Shared by rw.c, read.c, write.c and space.c, and nobody else. */

/* uvm_read_run, uvm_write_run: the machines: run the request from the top. */
void uvm_read_run(struct uvm_rw *rw);
void uvm_write_run(struct uvm_rw *rw);

/*
 * uvm_rw_stop: a write cannot have page pgno: have it end before that page, with this error.
 *
 * What comes before must still be written: when a WRITE fails as a whole, the kernel forgets all its
 * pages, also those that hold older bytes of a mapping which it had not written back yet.
 *
 * => true: there is something before it, run the request again; false: there is nothing, finish it
 */
bool uvm_rw_stop(struct uvm_rw *rw, uint32_t pgno, int error);

/* uvm_rw_came: what was let in of a write to a file is dirty, or does not come. => no lock held */
void uvm_rw_came(struct uvm_rw *rw);

/* uvm_rw_finish: give back what the request still has in hand, and end it. => no lock held */
void uvm_rw_finish(struct uvm_rw *rw, int error);

/* uvm_rw_wait_busy: park until a busy page of the range is not. => object locked, unlocked on return */
void uvm_rw_wait_busy(struct uvm_rw *rw, uint32_t pgno, uint32_t npages);

/* uvm_rw_fault: bring a range in, then run again. => no lock held */
void uvm_rw_fault(struct uvm_rw *rw, uint32_t pgno, uint32_t npages);

/*
 * uvm_rw_reserve: have n reservations granted.
 *
 * => object locked; true: they are
 * => false, *ret_error 0: parked, the caller unlocks and returns; else refused
 * => it parks with the request's whole range: the kernel holds the folios of all of it
 */
bool uvm_rw_reserve(struct uvm_rw *rw, uint32_t n, int *ret_error);

/*
 * uvm_rw_lend: have a loan of n pages, for zeroes that get no reservation.
 *
 * => results and parking as uvm_rw_reserve, but a request that was parked and is refused ends with
 *    -ENOSPC and does not run again; the loan is rw->lent
 */
bool uvm_rw_lend(struct uvm_rw *rw, uint32_t n, int *ret_error);

/* uvm_rw_make_holes: turn the EMPTY pages of a range into HOLEs. => object locked, reservations
 * granted; 0 or -ENOMEM */
int uvm_rw_make_holes(struct uvm_rw *rw, uint32_t pgno, uint32_t npages);

#endif
