/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The revoker: the only thread that takes pages back from clients.
 *
 * It may block in the kernel, which writes dirty pages back through a loop while it waits, so
 * nobody ever waits for it with a lock or a busy page in hand. Here it serves reservations:
 * delivered holes that clients have not stored to are revoked, and their reservations given back.
 *
 *      mark the holes of a leaf as revoking --> invalidate the range in the kernel
 *                                             | dirty pages come back as WRITEs: holes no more
 *                                             | a READ meanwhile clears the marks of its pages
 *      holes still marked are nobody's: EMPTY <--+
 *
 * And it revokes ranges that it is given: zeroes that are on loan, and what a failed write leaves
 * behind in the client cache. A range stays in the queue until it has been revoked, and then its
 * loan is given back (reserve.h); those in which somebody is parked wait while others go. When
 * nothing else can be done, who is parked for a loan inside such a range is refused.
 */
#ifndef UVMD_REVOKER_H
#define UVMD_REVOKER_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/* What the front end does for the revoker; both may block. */
struct uvm_revoker_ops {
    /* revoke: take a range of an object from the client cache. => 0 or -errno; -ENOENT: the client
     * cache does not know the object */
    int (*revoke)(uint64_t object, uint64_t off, uint64_t len);
    /* settle: see every request that clients had made when it was called */
    void (*settle)(void);
};

/* uvm_revoker_start: => 0, or -errno with err filled in; ops is kept */
int uvm_revoker_start(const struct uvm_revoker_ops *ops, struct uvm_error *err);

/* uvm_revoker_stop: revoke the ranges that are queued, refuse those who are parked, and end.
 * => requests are still served: the kernel may write pages back for it */
void uvm_revoker_stop(void);

/* uvm_revoker_reclaim: take delivered clean holes back. => any thread, any lock, does not block */
void uvm_revoker_reclaim(void);

/*
 * uvm_revoker_range: revoke a range.
 *
 * => any thread, any lock, does not block
 * => lent: the loan that the zeroes in it are out on; the revoker gives it back when it is done
 * => false: it is not taken. With a loan: there is no revoker, the zeroes must not be served, and the
 *    loan remains the caller's. Without: that, or too many are waiting already
 */
bool uvm_revoker_range(uint64_t object, uint32_t pgno, uint32_t npages, uint32_t lent);

#endif
