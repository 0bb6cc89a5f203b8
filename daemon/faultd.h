/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault thread: resolves stray faults in the arena, those that an optimistic copy or a kernel
 * access took because a page went away under it. It is a loop with a ring of its own, because the
 * threads that could page in may be the very ones that sleep on the fault.
 */
#ifndef UVMD_FAULTD_H
#define UVMD_FAULTD_H

#include "error.h"

/* uvm_faultd_start: => the pmap is there; 0, or -errno with err filled in */
int uvm_faultd_start(struct uvm_error *err);

/* uvm_faultd_stop: => no other thread touches the arena any more */
void uvm_faultd_stop(void);

#endif
