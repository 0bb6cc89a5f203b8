/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault store: sits on another store and fails, or corrupts, the transfers that rules name
 * (struct uvm_swapfault, swap.h). The rules are one list for all fault stores, because they name
 * slots, not devices. For tests and for trying out what a dying disk does to a load.
 */
#ifndef UVMD_PAGER_SWAP_FAULT_H
#define UVMD_PAGER_SWAP_FAULT_H

#include "swap.h"
#include "swap_store.h"

/* uvm_store_fault: stack a fault store on lower, which it then owns. => NULL: no memory */
struct uvm_store *uvm_store_fault(struct uvm_store *lower);

/* uvm_swapfault_init: no rules. => before any store is used */
void uvm_swapfault_init(void);
void uvm_swapfault_fini(void);

/* uvm_swapfault_add: => 0, -EINVAL (a rule that names nothing to do), -ENOSPC */
int uvm_swapfault_add(const struct uvm_swapfault *rule);
void uvm_swapfault_clear(void);

#endif
