/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to object.c: how an object gets into the table. How it is found there, and how it leaves:
 * object.h.
 */
#ifndef UVMD_OBJTAB_H
#define UVMD_OBJTAB_H

#include "object.h"

/* uvm_objtab_insert: => no object in the table has its id; locks: object table, taken inside */
void uvm_objtab_insert(struct uvm_object *uobj);

#endif
