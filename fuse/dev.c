/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The devices there are, from the start to the end: node id BIT | n is the n-th of the configuration. So
 * no look-up is counted, and nothing is locked.
 */
#include "dev.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "view.h"

static struct {
    struct uvm_device *dev[UVM_DEVICES_MAX];
    unsigned n;
    struct timespec start;
} devs;

struct uvm_device *uvm_dev_find(uint64_t ino)
{
    uint64_t n = ino & ~UVM_INO_DEVICE_BIT;
    return (ino & UVM_INO_DEVICE_BIT) && n >= 1 && n <= devs.n ? devs.dev[n - 1] : NULL;
}

struct uvm_device *uvm_dev_named(const char *name)
{
    for (unsigned i = 0; i < devs.n; i++)
        if (strcmp(devs.dev[i]->name, name) == 0)
            return devs.dev[i];
    return NULL;
}

unsigned uvm_dev_count(void)
{
    return devs.n;
}

struct timespec uvm_dev_start(void)
{
    return devs.start;
}

static void dev_forget(uint64_t ino, uint64_t nlookup)
{
}

static void describe(struct uvm_device *dev, struct uvm_control_object *ret)
{
    snprintf(ret->path, sizeof(ret->path), "%s/%s", uvm_fs_device.name, dev->name);
    ret->size = atomic_load(&dev->size);
    uvm_view_describe(&dev->uobj, ret);
}

static int dev_objects(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg)
{
    struct uvm_control_object object;
    int rc = 0;

    for (unsigned i = 0; i < devs.n && !rc; i++) {
        describe(devs.dev[i], &object);
        rc = fn(&object, arg);
    }
    return rc;
}

static struct uvm_device *by_path(const char *path)
{
    path += strlen(uvm_fs_device.name);
    return uvm_dev_named(path + strspn(path, "/"));
}

static int dev_find(const char *path, struct uvm_control_object *ret)
{
    struct uvm_device *dev = by_path(path);

    if (!dev)
        return -ENOENT;
    describe(dev, ret);
    return 0;
}

static int dev_object(const char *path, struct uvm_object **ret)
{
    struct uvm_device *dev = by_path(path);

    if (!dev)
        return -ENOENT;
    *ret = &dev->uobj;
    dev->uobj.pgops->pgo_reference(&dev->uobj);
    return 0;
}

const struct uvm_fs uvm_fs_device = {
    .name = "device",
    .top = UVM_INO_DEVICE_ROOT,
    .bit = UVM_INO_DEVICE_BIT,
    .ops = &uvm_dev_ops,
    .missing = EPERM,
    .root = uvm_dev_root,
    .forget = dev_forget,
    .objects = dev_objects,
    .find = dev_find,
    .object = dev_object,
    .abandon = uvm_devwork_abandon,
};

int uvm_devfs_up(const struct uvm_devspec *specs, unsigned n, struct uvm_error *err)
{
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &devs.start);
    devs.n = 0;
    while (devs.n < n && !error) {
        error = uvm_device_open(&specs[devs.n], UVM_INO_DEVICE_BIT | (devs.n + 1),
                                &devs.dev[devs.n], err);
        if (!error)
            devs.n++;
    }
    if (!error && n) {
        error = uvm_devwork_start();
        if (error)
            uvm_fail(err, error, "cannot start the threads of devices: %s", strerror(-error));
    }
    if (error)
        uvm_devfs_down();
    return error;
}

void uvm_devfs_down(void)
{
    if (!uvm_devwork_stop())
        return;
    while (devs.n) {
        struct uvm_object *uobj = &devs.dev[--devs.n]->uobj;
        uobj->pgops->pgo_detach(uobj);
    }
}
