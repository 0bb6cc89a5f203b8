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
 * Zeroes that a reader gets without a reservation can be stored to, while they are in the client
 * cache, by somebody else who has the file mapped. So they are lent room: from before they are
 * served until their range has been revoked, when every store that slipped in has been written back
 * and holds a reservation of its own. A small emergency reserve beyond reservemax is what is lent:
 *
 *      |<------- used --------->|<---- lent ---->|              |
 *      |<---------------- reservemax ---------------->|<-- emergency -->|
 *
 *      lend, emergency draw     used + lent + n <= reservemax + emergency, lent <= emergency
 *      reserve                  used + n <= reservemax
 *      force (write-back)       used + n <= reservemax + emergency
 *
 * A write-back of a page that holds no reservation has a loan, so force finds room. A READ that
 * cannot have a loan now parks, in a line of its own, for as long as others are out.
 *
 * A parked request may hold folio locks in the kernel, and revoking a range waits for those. So the
 * revoker never revokes a range in which a request is parked (uvm_reserve_revoking), and a request
 * never parks inside the range being revoked: it draws on the emergency reserve at once, or is
 * refused.
 */
#ifndef UVMD_RESERVE_H
#define UVMD_RESERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "loop.h"

/*
 * Room beyond reservemax: two READs of the largest size (257 pages each) can have a loan at a time,
 * so that a client that reads ahead seldom waits for the revoker. The rest is left for those inside
 * the range being revoked, who cannot wait: the kernel reads a page alone when a larger READ was
 * refused. uvmpd_tune() keeps as much memory back, so that all of it has a place.
 */
#define UVM_RESERVE_EMERGENCY 640u
#define UVM_RESERVE_LENT_MAX  514u /* by loans that could have waited */

/*
 * How many READs of several pages may be parked. The kernel sends read-ahead and write-back through one
 * queue, and keeps no more than 64 requests of it under way; were they all parked READs, the write-back
 * that the revoker waits for would never come. A READ that is refused does no harm: the kernel asks
 * for the page that is wanted once more, alone and in the foreground.
 */
#define UVM_RESERVE_AHEAD_MAX 24u

struct uvm_reservewait {
    struct uvm_work work; /* called on loop with granted set */
    struct uvm_loop *loop;
    uint32_t n;
    uint64_t object; /* the range of the request, which the revoker must leave alone */
    uint32_t pgno, npages;
    bool borrows; /* it asks for a loan if it is refused: the emergency reserve is for others */
    bool ahead;   /* one of those that UVM_RESERVE_AHEAD_MAX is for */
    uint64_t seq; /* reserve's own */
    bool granted; /* out: n reservations (or a loan of n) are the waiter's; else there are none */
    TAILQ_ENTRY(uvm_reservewait) link;
};

enum uvm_reserve_result { UVM_RESERVED, UVM_RESERVE_PARKED, UVM_RESERVE_FULL };

void uvm_reserve_init(void);

/* uvm_reserve_set_memory: pages of memory that may be promised. => at start */
void uvm_reserve_set_memory(uint64_t npages);

/*
 * uvm_reserve_grow: npages of swap, nbad of them bad, have come: they are counted (swpages, swpgbad)
 * and go to those who are parked.
 *
 * => locks: reserve, taken inside; may be called with swap locked
 */
void uvm_reserve_grow(uint64_t npages, uint64_t nbad);

/*
 * uvm_reserve_shrink: npages of swap, nbad of them bad, are about to go: promise and count them no more.
 *
 * => false: what is used and lent together would have no place without them: nothing has changed, and
 *    *missing says how many pages more that would take. It is one step: no promise comes between
 *    the check and the change
 * => locks: as above
 */
bool uvm_reserve_shrink(uint64_t npages, uint64_t nbad, uint64_t *missing);

/* uvm_reserve_set_reclaim: what to call when reservations run out; it must not block. NULL: nobody
 * takes anything back: who is parked is refused, and nobody parks for a reservation any more. */
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

/* uvm_reserve_force: as uvm_reserve, but from the emergency reserve if need be, and for what has
 * a loan. => false: that too is used up */
bool uvm_reserve_force(uint32_t n);

/*
 * uvm_reserve_lend: a loan of n pages, for zeroes about to be served that hold no reservation.
 *
 * => after uvm_reserve refused; n at most a READ's pages; results and locks as uvm_reserve
 * => the loan is given back with uvm_reserve_return when no client can have the zeroes any more
 * => who parks holds no loan: those that are out come back without it
 */
enum uvm_reserve_result uvm_reserve_lend(uint32_t n, struct uvm_reservewait *wait);

/* uvm_reserve_return: give a loan back; serves those who wait for one, or refuses them when no
 * loan is out that could make room. => locks: reserve, taken inside */
void uvm_reserve_return(uint32_t n);

/*
 * uvm_reserve_refuse: the revoker can do nothing, because of who is parked inside this range: refuse
 * those of them who wait for a loan.
 *
 * => loans: what the revoker is to give back itself; when more is out, somebody else is about to
 *    bring it, and nobody is refused. => returns how many were
 */
unsigned uvm_reserve_refuse(uint64_t object, uint32_t pgno, uint32_t npages, uint64_t loans);

/* uvm_unreserve: give reservations back, and to those who are parked. */
void uvm_unreserve(uint64_t n);

/* uvm_reserve_mark: a number that tells those who are parked now from those who park later. */
uint64_t uvm_reserve_mark(void);

/* uvm_reserve_fail_parked: there is nothing left to take back: refuse everyone who was parked for a
 * reservation when the mark was taken. => returns how many that were */
unsigned uvm_reserve_fail_parked(uint64_t mark);

/* uvm_reserve_parked: does somebody wait for a reservation? */
bool uvm_reserve_parked(void);

/* uvm_reserve_revoking: the revoker is about to revoke this range (npages 0: no more).
 * => false: somebody is parked inside it, choose another */
bool uvm_reserve_revoking(uint64_t object, uint32_t pgno, uint32_t npages);

/* uvm_reserve_space: total and free pages, for statfs. */
void uvm_reserve_space(uint64_t *ret_total, uint64_t *ret_free);

#endif
