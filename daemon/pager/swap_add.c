/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A path becomes a swap device: opened and labelled (swap_dev), given its bitmaps and its stores, and
 * last of all its numbers in the slot space (swap.c). Whatever fails, nothing of it is left.
 *
 *      check_join --> open, lock, allocate, label --> slotmap, store --> join
 *         (lock)            may take long                                (lock)
 */
#include "swap_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "swap_fault.h"

/* Stack the stores of a device. => takes the descriptor when it succeeds */
static int make_store(struct uvm_swapdevice *dev, int fd)
{
    dev->store = uvm_store_file(fd);
    if (!dev->store)
        return -ENOMEM;
    if (uvm_swap_faulty()) {
        struct uvm_store *top = uvm_store_fault(dev->store);
        if (!top)
            return -ENOMEM;
        dev->store = top;
    }
    return 0;
}

int uvm_swap_add(const struct uvm_swapspec *spec, struct uvm_error *err)
{
    struct uvm_swapdev opened;
    uint64_t max = 0;

    int rc = uvm_swap_check_join(spec, &max, err);
    if (!rc)
        rc = uvm_swapdev_open(spec, max, &opened, err);
    if (rc)
        return rc;

    struct uvm_swapdevice *dev = calloc(1, sizeof(*dev));
    if (!dev) {
        uvm_swapdev_abandon(&opened, spec->path);
        return uvm_fail(err, -ENOMEM, "%s: no memory", spec->path);
    }
    dev->prio = spec->prio;
    dev->id = opened.id;
    dev->made = opened.made;
    dev->path = strdup(spec->path);
    rc = dev->path ? uvm_slotmap_init(&dev->map, (uint32_t)opened.npages - 1) : -ENOMEM;
    if (!rc)
        rc = make_store(dev, opened.fd);
    if (!rc)
        rc = uvm_swap_join(dev);
    if (!rc)
        return 0;
    /* With a store the descriptor is the store's; a second one outlives it to remove the file. */
    if (dev->store)
        opened.fd = fcntl(opened.fd, F_DUPFD_CLOEXEC, 0);
    uvm_swapdevice_free(dev);
    uvm_swapdev_abandon(&opened, spec->path);
    return uvm_fail(err, rc, "%s: no room for another swap device: %s", spec->path, strerror(-rc));
}
