/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the configuration says of a device: apart, so that the configuration needs no pager.
 */
#ifndef UVMD_PAGER_DEVSPEC_H
#define UVMD_PAGER_DEVSPEC_H

#include <limits.h>
#include <stdint.h>

#define UVM_DEVICES_MAX     64
#define UVM_DEVICE_NAME_MAX 255
#define UVM_DEVICE_SIZE_MAX (8ull << 40) /* bytes: as large as an object can be */

struct uvm_devspec {
    char name[UVM_DEVICE_NAME_MAX + 1]; /* of its file */
    char path[PATH_MAX];
    uint64_t size; /* bytes; 0: what the device says */
};

#endif
