/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is mounted where, as /proc/self/mountinfo has it. Asking the table touches no mount, so the
 * daemon may ask about its own, and about one whose server is gone.
 */
#ifndef UVMD_MOUNTINFO_H
#define UVMD_MOUNTINFO_H

#include <stdio.h>

#define UVM_MOUNTINFO "/proc/self/mountinfo"

struct uvm_mount {
    unsigned major, minor; /* of the device */
    char type[64];         /* of the file system, cut off if it is longer */
};

/*
 * uvm_mountinfo_find: the topmost mount on a mount point.
 *
 * => path: absolute, as the kernel resolves it
 * => 0; -ENOENT: nothing is mounted there; -errno: the table cannot be read
 */
int uvm_mountinfo_find(const char *path, struct uvm_mount *ret);

/* uvm_mountinfo_scan: the same in a table that is open; reads it to its end. */
int uvm_mountinfo_scan(FILE *table, const char *path, struct uvm_mount *ret);

#endif
