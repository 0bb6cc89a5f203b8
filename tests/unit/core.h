/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fixture of the paging core's tests: everything below fuse/ put together in one thread.
 *
 *      test --> object, pager, fault, rw --> soft pmap          plain memory for an arena
 *                                       \--> swap, fault store  a file without a name
 *                                       \--> loops              of core_loop.c: no thread, no ring
 *
 * A transfer or a continuation waits until core_run(): between two lines of a test nothing moves,
 * so every state in the middle of an operation can be looked at.
 *
 * core_down() checks that nothing was lost: all pages free, no slot in use, no reservation held.
 */
#ifndef UVMD_TESTS_CORE_H
#define UVMD_TESTS_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "daemon/object.h"
#include "daemon/page.h"
#include "daemon/pager/pager.h"
#include "daemon/pmap/pmap_soft.h"
#include "daemon/reserve.h"
#include "daemon/rw.h"
#include "daemon/stats.h"
#include "fake_loop.h"
#include "unit.h"

#define CORE_SWAP_SLOTS 511u /* of core_swap(): 2 MiB less the label */

/* The loop on which the test's own requests run. */
extern struct uvm_loop core_loop;

/* core_up: npages of memory, an empty object table, no swap; all of the memory may be promised. */
void core_up(uint32_t npages);

/* core_swap: add CORE_SWAP_SLOTS slots of swap, under the fault store. */
void core_swap(void);

/* core_down: => every object is gone; checks that nothing was lost */
void core_down(void);

/* core_loop.c: run what is posted and transferred, and what that starts, until nothing is left. */
void core_run(void);
/* core_tick: call what uvm_loop_every has asked for, once. => how many there were */
unsigned core_tick(void);

/* core_object: an anonymous object with one reference; core_gone: drop that. */
struct uvm_object *core_object(void);
void core_gone(struct uvm_object *uobj);

/* The state of page pgno. core_page: NULL when it is not resident. core_slot: 0 when it has none.
 * => object not locked */
enum uvm_entry_tag core_tag(struct uvm_object *uobj, uint32_t pgno);
struct vm_page *core_page(struct uvm_object *uobj, uint32_t pgno);
uint32_t core_slot(struct uvm_object *uobj, uint32_t pgno);

/* core_busy: make a resident page busy, as its owner would; core_letgo: and let it go. => false:
 * its object is gone */
struct vm_page *core_busy(struct uvm_object *uobj, uint32_t pgno);
bool core_letgo(struct vm_page *pg);

/* core_flush: pgo_flush with the locking. */
void core_flush(struct uvm_object *uobj, uint32_t start, uint32_t stop, int flags);

/* Requests, run to their end: 0 or what done() was given. */
int core_write(struct uvm_object *uobj, uint64_t off, const void *src, size_t len, int flags);
int core_read(struct uvm_object *uobj, uint64_t off, void *dst, size_t len, int flags);

/* Requests in the middle: start, and look at ndone and error after core_run. */
struct core_req {
    struct uvm_rw rw;
    unsigned ndone;
    int error;
};
void core_start_write(struct core_req *req, struct uvm_object *uobj, uint64_t off, const void *src,
                      size_t len, int flags);
void core_start_read(struct core_req *req, struct uvm_object *uobj, uint64_t off, void *dst,
                     size_t len, int flags);

/* Pages with bytes that tell which page they are: core_fill writes them, core_verify reads them back
 * through uvm_read. `version` tells one filling from another. */
void core_pattern(void *page, uint64_t object, uint32_t pgno, unsigned version);
bool core_is_pattern(const void *page, uint64_t object, uint32_t pgno, unsigned version);
void core_fill(struct uvm_object *uobj, uint32_t pgno, uint32_t npages, unsigned version);
void core_verify(struct uvm_object *uobj, uint32_t pgno, uint32_t npages, unsigned version);

/*
 * A cluster of dirty pages as the pagedaemon makes it: resident pages [pgno, pgno + npages) of the
 * object are added to cl, BUSY, PAGEOUT and write-protected; core_cluster_slots then gives all of
 * them a run of slots. => ck_assert when there is none
 */
void core_cluster_add(struct uvm_cluster *cl, struct uvm_object *uobj, uint32_t pgno,
                      uint32_t npages);
void core_cluster_slots(struct uvm_cluster *cl);

/* core_cluster_put: core_cluster_slots, uvm_pager_put, core_run. => the pages that were written */
uint32_t core_cluster_put(struct uvm_cluster *cl);

/* core_pageout: page [pgno, pgno + npages) out, in clusters. */
void core_pageout(struct uvm_object *uobj, uint32_t pgno, uint32_t npages);

/* core_inject: fail (errno) or corrupt (0) transfers of slots, `count` times (0: for good). */
void core_inject(bool write, uint32_t slot, uint32_t nslots, int error, uint64_t count);

/* core_check_object: the object's counts and pages agree with its entries, the ledger with both. */
void core_check_object(struct uvm_object *uobj);

#endif
