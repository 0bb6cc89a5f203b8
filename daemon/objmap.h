/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to layer 1: the part of the object map that only the object's own end needs. */
#ifndef UVMD_OBJMAP_H
#define UVMD_OBJMAP_H

struct uvm_object;

/* uvm_objmap_clear: free every leaf and node. => all entries are EMPTY */
void uvm_objmap_clear(struct uvm_object *uobj);

#endif
