/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The soft pmap's side door, for unit tests: what state a page is in, and faults made by hand.
 */
#ifndef UVMD_PMAP_SOFT_H
#define UVMD_PMAP_SOFT_H

#include "pmap.h"

#define PMAP_SOFT_FAULTS 64

enum pmap_soft_state { PMAP_SOFT_ABSENT, PMAP_SOFT_RO, PMAP_SOFT_RW };

/* pmap_soft_state: => any thread; a hint unless the page is held */
enum pmap_soft_state pmap_soft_state(uint32_t apage);

/*
 * pmap_soft_fault: have pmap_next_fault report this fault, in order of injection.
 *
 * => at most PMAP_SOFT_FAULTS pending, more is a programming error
 * => locks: arena, taken inside
 */
void pmap_soft_fault(uint32_t apage, enum pmap_fault_kind kind, bool write);

#endif
