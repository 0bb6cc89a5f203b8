/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a swap device: everything that must be true of a path before its pages become slots.
 *
 *      what is there?   nothing -> make it   file -> ours?   block device -> ours, or blank?
 *      then             lock -> size, allocate -> mode -> label
 *
 * Nothing is changed before the path is known to be ours to change, and locked: a file by an OFD
 * write lock, which lasts as long as the descriptor; a block device by O_EXCL, which also keeps the
 * kernel's own users (mounts, swap, md) out.
 */
#ifndef UVMD_PAGER_SWAP_DEV_H
#define UVMD_PAGER_SWAP_DEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "swap.h"

#define UVM_SWAP_SIZE_MIN (1u << 20)

/* Two paths with the same identity are one device, however they are spelled. */
struct uvm_swapid {
    dev_t dev; /* of a block device: its number */
    ino_t ino; /* of a block device: 0 */
    bool block;
};

struct uvm_swapdev {
    int fd;
    bool made; /* a file that uvm_swapdev_open made */
    struct uvm_swapid id;
    uint64_t npages; /* the label's included */
};

/* uvm_swapdev_identify: => false when there is nothing at path */
bool uvm_swapdev_identify(const char *path, struct uvm_swapid *id);

/*
 * uvm_swapdev_open: see the top of the file and uvm_swap_add.
 *
 * => max: largest size in bytes that the slot space has room for
 * => the descriptor, locked, labelled, is the caller's to close, or to uvm_swapdev_abandon
 */
int uvm_swapdev_open(const struct uvm_swapspec *spec, uint64_t max, struct uvm_swapdev *dev,
                     struct uvm_error *err);

/* uvm_swapdev_remove: remove a file that was made for swap, unless path names another one by now.
 * => its descriptor is still open: while it is, nothing else can have its identity */
void uvm_swapdev_remove(const char *path, const struct uvm_swapid *id);

/* uvm_swapdev_abandon: close it and remove the file at path if opening it has made it. */
void uvm_swapdev_abandon(struct uvm_swapdev *dev, const char *path);

#endif
