/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pagedaemon: keeps free pages available.
 *
 *      free < freemin --> wake --> balance --> scan the victims
 *                                                |
 *                          clean: free <---------+---------> dirty: sort by object and page,
 *                                                             run of slots, write-protect,
 *                                                             copy to the pager map, one write
 *                                                                    |
 *                                         free  <-- PAGEOUT pages <--+-- completion
 *
 * It is a loop with a ring of its own, so page-out never waits behind page-in. It comes from the
 * queues to the objects, so it only try-locks objects, and skips. After its start it allocates
 * nothing (P6).
 */
#ifndef UVMD_PDAEMON_H
#define UVMD_PDAEMON_H

#include <stdbool.h>

#include "error.h"

/*
 * uvmpd_tune: set freemin, freetarg and how much memory may be promised, from the number of pages.
 *
 * => files: pages of files may be dirty (uvn_dirty_max), and stay so when a file cannot be written:
 *    their memory is not promised to anonymous objects
 * => after uvm_page_init and uvm_reserve_init
 */
void uvmpd_tune(bool files);

/* uvmpd_start: => 0, or -errno with err filled in */
int uvmpd_start(struct uvm_error *err);

/* uvmpd_stop: finish the clusters in flight and end. => no requests are being served any more */
void uvmpd_stop(void);

#endif
