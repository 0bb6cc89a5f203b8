/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the two halves of the revoker share: revoker.c, the thread and its queue of ranges, and
 * revoker_holes.c, which takes holes back. All of it runs on the revoker's thread.
 */
#ifndef UVMD_REVOKER_IMPL_H
#define UVMD_REVOKER_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "revoker.h"

/* uvm_revoker_revoke: take a range from the client cache. => blocks; no lock held; 0 or -errno of
 * ops->revoke; -EBUSY: somebody is parked inside it, nothing was done */
int uvm_revoker_revoke(uint64_t object, uint32_t pgno, uint32_t npages);

/* uvm_revoker_stopping: it is to end: leave off. */
bool uvm_revoker_stopping(void);

/* uvm_revoker_sweep: take delivered clean holes back, from where the last sweep ended, until as many
 * as wanted came back or everything was seen once. => how many came back */
uint32_t uvm_revoker_sweep(uint32_t want);
void uvm_revoker_sweep_init(void);

#endif
