/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations: room for every store that may still come.
 *
 * A store through a mapping cannot fail later, so room for it is reserved earlier: every page of an
 * anonymous object that is not EMPTY holds one reservation of (memory for pages + swap).
 *
 *      |<------------------------- reservemax -------------------------->|
 *      | memory, less what paging needs to turn over |  swap, less bad   |
 *
 * A request that finds nothing left parks here and the revoker is asked to take delivered clean
 * holes back from clients, which returns theirs. Only when there is nothing to take does it fail.
 *
 * A parked request may hold folio locks in the kernel, and revoking a range waits for those. So the
 * revoker never revokes a range in which a request is parked (uvm_reserve_revoking), and a request
 * never parks inside the range being revoked: it draws on a small reserve instead.
 */
#ifndef UVMD_RESERVE_H
#define UVMD_RESERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "loop.h"

/* For stores that slip in where nothing was reserved: a hole served to a reader who may not write.
 */
#define UVM_RESERVE_EMERGENCY 256u

struct uvm_reservewait {
    struct uvm_work work; /* called on loop with granted set */
    struct uvm_loop *loop;
    uint32_t n;
    uint64_t object; /* the range of the request, which the revoker must leave alone */
    uint32_t pgno, npages;
    uint64_t seq; /* reserve's own */
    bool granted; /* out: n reservations are the waiter's; else there is nothing left */
    TAILQ_ENTRY(uvm_reservewait) link;
};

enum uvm_reserve_result { UVM_RESERVED, UVM_RESERVE_PARKED, UVM_RESERVE_FULL };

void uvm_reserve_init(void);

/* uvm_reserve_set_memory: pages of memory that may be promised. => at start */
void uvm_reserve_set_memory(uint64_t npages);

/* uvm_reserve_set_reclaim: what to call when reservations run out; it must not block. */
void uvm_reserve_set_reclaim(void (*reclaim)(void));

/*
 * uvm_reserve: reserve n pages, all or none.
 *
 * => wait NULL: never parks
 * => UVM_RESERVED; UVM_RESERVE_PARKED: wait->work follows; UVM_RESERVE_FULL: refused
 * => locks: reserve, taken inside; may be called with an object locked
 */
enum uvm_reserve_result uvm_reserve(uint32_t n, struct uvm_reservewait *wait);

/* uvm_reserve_cancel: stop being parked. => true: work.fn will not run; false: the answer is on its
 * way */
bool uvm_reserve_cancel(struct uvm_reservewait *wait);

/* uvm_reserve_force: as uvm_reserve, but from the emergency reserve if need be. => false: that too
 * is used up */
bool uvm_reserve_force(uint32_t n);

/* uvm_unreserve: give reservations back, and to those who are parked. */
void uvm_unreserve(uint64_t n);

/* uvm_reserve_mark: a number that tells those who are parked now from those who park later. */
uint64_t uvm_reserve_mark(void);

/* uvm_reserve_fail_parked: there is nothing left to take back: refuse everyone who was parked when
 * the mark was taken. => returns how many that were */
unsigned uvm_reserve_fail_parked(uint64_t mark);

/* uvm_reserve_parked: does somebody wait for a reservation? */
bool uvm_reserve_parked(void);

/* uvm_reserve_revoking: the revoker is about to revoke this range (npages 0: no more).
 * => false: somebody is parked inside it, choose another */
bool uvm_reserve_revoking(uint64_t object, uint32_t pgno, uint32_t npages);

/* uvm_reserve_space: total and free pages, for statfs. */
void uvm_reserve_space(uint64_t *ret_total, uint64_t *ret_free);

#endif
