/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a file system can be mounted on the mount point. The mount table is asked before the
 * path itself, and only what it calls a FUSE mount is asked whether its server still lives.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "mountinfo.h"

static int fail_dead(const char *path, struct uvm_error *err)
{
    return uvm_fail(err, -ENOTCONN,
                    "%.300s: a dead FUSE mount is in the way; remove it with: umount %.100s", path,
                    path);
}

/*
 * Does the FUSE mount answer that its server is gone? Asked with statfs, because stat may be answered
 * from attributes that the kernel has kept. A server that is just dying aborts the question.
 */
static bool fails_dead(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

int uvm_config_check_mountpoint(const struct uvm_config *cfg, struct uvm_error *err)
{
    const char *path = cfg->mountpoint;
    struct uvm_mount there;
    struct stat st;
    int rc = uvm_mountinfo_find(path, &there);

    if (rc && rc != -ENOENT)
        return uvm_fail(err, rc, UVM_MOUNTINFO ": %s", strerror(-rc));
    if (!rc && (strncmp(there.type, "fuse", 4) || !fails_dead(path)))
        return uvm_fail(err, -EBUSY, "%.300s: already a mount point (%s)", path, there.type);
    if (!rc)
        return fail_dead(path, err);
    if (stat(path, &st) < 0) {
        int error = -errno;
        if (error == -ENOENT)
            return uvm_fail(err, error, "%.300s: no such mount point; make it with: mkdir %.100s",
                            path, path);
        if (error == -ENOTCONN)
            return fail_dead(path, err);
        if (error == -ENOTDIR)
            return uvm_fail(err, error, "%.300s: not a directory", path);
        return uvm_fail(err, error, "%.300s: %s", path, strerror(-error));
    }
    if (!S_ISDIR(st.st_mode))
        return uvm_fail(err, -ENOTDIR, "%.300s: not a directory", path);
    return 0;
}
