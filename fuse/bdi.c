/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The knobs of the mount's backing device. The kernel gives FUSE 128 KiB of read-ahead and, because
 * a FUSE server may be anybody's, one percent of the dirty pages under a strict limit; a daemon
 * that pages to a disk of its own wants a cluster and an ordinary share.
 *
 * The device number comes from mountinfo: the daemon does not touch its own mount, not even to
 * stat.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "../daemon/mountinfo.h"
#include "../daemon/util.h"
#include "session.h"

int uvm_mount_device(const char *mountpoint, unsigned *ret_major, unsigned *ret_minor)
{
    struct uvm_mount mount;
    int rc = uvm_mountinfo_find(mountpoint, &mount);

    if (rc)
        return rc;
    *ret_major = mount.major;
    *ret_minor = mount.minor;
    return 0;
}

static int set_knob(unsigned major, unsigned minor, const char *knob, const char *value)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/%s", major, minor, knob);
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

int uvm_bdi_tune(const char *mountpoint, struct uvm_error *err)
{
    static const struct {
        const char *name, *value;
        int old_kernel; /* the error where the kernel does not have the knob */
    } knobs[] = {
        {"read_ahead_kb", "1024", 0},
        {"strict_limit", "0", -ENOENT},
        {"max_ratio", "100", 0},
    };
    unsigned major, minor;
    int worst = uvm_mount_device(mountpoint, &major, &minor);

    if (worst)
        return uvm_fail(err, worst, "the mount's device is not in mountinfo: %s", strerror(-worst));
    for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
        int rc = set_knob(major, minor, knobs[i].name, knobs[i].value);
        if (rc && rc != knobs[i].old_kernel && !worst)
            worst = uvm_fail(err, rc,
                             "/sys/class/bdi/%u:%u/%s cannot be set (%s): clients run with "
                             "the kernel's default",
                             major, minor, knobs[i].name, strerror(-rc));
    }
    return worst;
}
