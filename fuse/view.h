/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The objects of all trees, as the control socket shows them. Each tree brings its part (fs.h); this
 * chooses the tree, and keeps the control thread away from trees that are not there yet or any more.
 */
#ifndef UVMD_FUSE_VIEW_H
#define UVMD_FUSE_VIEW_H

#include <stdbool.h>

#include "../daemon/control.h"

struct uvm_object;

/* uvm_view_enable: from when until when the provider may look at the trees. => any thread; when it
 * returns from false, no look is under way */
void uvm_view_enable(bool on);

extern const struct uvm_control_provider uvm_view_provider;

/* uvm_view_describe: fill in what an object knows of itself: all but path and size. => its lock is
 * taken here */
void uvm_view_describe(struct uvm_object *uobj, struct uvm_control_object *ret);

#endif
