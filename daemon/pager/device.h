/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device pager: objects whose pages are the device's own memory. Nothing of them is in the arena,
 * on a queue or on swap: pgo_fault gives the address at which the device itself is mapped.
 *
 *      READ, WRITE --> pgo_fault --> window: a stretch of the device, mapped shared
 *                                      |
 *                      copy  <--------+     by process_vm_readv/writev on ourselves: a device that
 *                                           fails raises SIGBUS on its mapping, and these calls
 *                                           return EFAULT instead
 *
 * There are few windows for all devices together; the one that was used longest ago makes room. So the
 * address space, and the memory of a device that makes memory (/dev/zero), are bounded.
 *
 * Everything here may block for as long as the device does: it runs on threads of its own
 * (fuse/dev_work.c), never on a loop. Device memory that cannot be copied by these calls (PFN mappings)
 * is copied through a memfd, by the kernel as well.
 */
#ifndef UVMD_PAGER_DEVICE_H
#define UVMD_PAGER_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "../error.h"
#include "devspec.h"
#include "pager.h"

#define UVM_DEVWIN_SIZE (4u << 20) /* bytes of a window, aligned in the device */
#define UVM_DEVWIN_MAX  32u        /* windows of all devices together */

struct uvm_device {
    struct uvm_object uobj; /* first: a device's object is the device */
    char name[UVM_DEVICE_NAME_MAX + 1];
    int fd;                /* (!) */
    bool readonly;         /* (!) the device is, or its permissions are for us */
    bool sized;            /* (!) the configuration gave the size */
    struct stat st;        /* (!) owner, mode and times when it was opened */
    uint64_t maxsize;      /* (!) bytes: the size it began with, it does not get larger */
    _Atomic uint64_t size; /* (a) bytes, as last seen */
};

extern const struct uvm_pagerops uvm_device_pagerops;

static inline struct uvm_device *uvm_device(struct uvm_object *uobj)
{
    return (struct uvm_device *)uobj;
}

/*
 * uvm_device_open: open a device and make its object, with one reference.
 *
 * => block devices, character devices and regular files; read only if it cannot be opened for writing
 * => 0, or -errno with path and reason in err: no such device, not mappable, no size, SIZE larger than
 *    the device
 */
int uvm_device_open(const struct uvm_devspec *spec, uint64_t id, struct uvm_device **ret,
                    struct uvm_error *err);

/*
 * uvm_device_read / uvm_device_write: copy between memory and the device; they block.
 *
 * => off + len within maxsize; *done: bytes copied from the start on
 * => 0, or -EIO behind these: the device fails there, or is not there any more; -ENOMEM
 */
int uvm_device_read(struct uvm_device *dev, void *buf, size_t len, uint64_t off, size_t *done);
int uvm_device_write(struct uvm_device *dev, const void *buf, size_t len, uint64_t off,
                     size_t *done);

/* uvm_device_sync: have what was written reach the device; blocks. => 0 or -errno of the device */
int uvm_device_sync(struct uvm_device *dev);

/* uvm_device_resize: ask the device for its size again: it may have shrunk. => the size */
uint64_t uvm_device_resize(struct uvm_device *dev);

/* Windows (device_win.c). */

/*
 * uvm_devwin_get: the address of byte off of a device, pinned until put.
 *
 * => *ret_len: how many bytes are mapped from there on (to the window's or the device's end)
 * => waits while every window is pinned; NULL with errno: it cannot be mapped
 */
void *uvm_devwin_get(struct uvm_device *dev, uint64_t off, size_t *ret_len);
void uvm_devwin_put(void *kva);

/* uvm_devwin_sync: msync the device's windows. => 0 or the first -errno */
int uvm_devwin_sync(struct uvm_device *dev);

/* uvm_devwin_drop: unmap the device's windows. => none is pinned */
void uvm_devwin_drop(struct uvm_device *dev);

/* uvm_devwin_count: how many windows are mapped, of all devices. */
unsigned uvm_devwin_count(void);

#endif
