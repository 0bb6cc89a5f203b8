/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write-behind: cleans files before anybody has to wait for it.
 *
 *      every tick   files that have been dirty for long
 *      kicked       too many dirty pages: the files that have been dirty for longest, until they are
 *                   fewer
 *      file --> uvn_flush --> written, or put off (its last write failed)
 *
 * A loop of its own: the pagedaemon, whose page-outs everybody waits for, does not queue behind what
 * nobody is waiting for. After its start it allocates nothing (P6).
 */
#ifndef UVMD_CLEANER_H
#define UVMD_CLEANER_H

#include "error.h"

#define UVM_CLEANER_AGE_NS 5000000000ull /* a store is on its way to the file after this long */

/* uvm_cleaner_start: => after uvm_pager_init; 0, or -errno with err filled in. uvn_flush_wait works from
 * now on */
int uvm_cleaner_start(struct uvm_error *err);

/* uvm_cleaner_stop: end the flushes under way, and the loop. => nobody calls uvn_flush_wait any more;
 * what is dirty still is the caller's business */
void uvm_cleaner_stop(void);

#endif
