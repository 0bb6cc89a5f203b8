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

#define MOUNTINFO "/proc/self/mountinfo"

/* The kernel writes blanks, newlines and backslashes in paths as \ooo. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *p = text; *p; to++) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
            p[3] >= '0' && p[3] <= '7') {
            *to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = '\0';
}

/*
 * The type of what is mounted on path, the topmost if there are several.
 *
 * => 1 and type, 0 when nothing is, -errno
 */
static int mounted_type(const char *path, char type[64])
{
    FILE *file CLEANUP_FCLOSE = fopen(MOUNTINFO, "re");
    char *line CLEANUP_FREE = NULL;
    size_t size = 0;
    int found = 0;

    if (!file)
        return -errno;
    while (getline(&line, &size, file) > 0) {
        char *save, *field = strtok_r(line, " \n", &save);
        for (int i = 1; field && i < 5; i++) /* id, parent, device, root, mount point */
            field = strtok_r(NULL, " \n", &save);
        if (!field)
            continue;
        unescape(field);
        if (strcmp(field, path))
            continue;
        while (field && strcmp(field, "-"))
            field = strtok_r(NULL, " \n", &save);
        field = field ? strtok_r(NULL, " \n", &save) : NULL;
        snprintf(type, 64, "%s", field ? field : "unknown");
        found = 1;
    }
    return ferror(file) ? -EIO : found;
}

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
    struct stat st;
    char type[64];
    int found = mounted_type(path, type);

    if (found < 0)
        return uvm_fail(err, found, MOUNTINFO ": %s", strerror(-found));
    if (found && (strncmp(type, "fuse", 4) || !fails_dead(path)))
        return uvm_fail(err, -EBUSY, "%.300s: already a mount point (%s)", path, type);
    if (found)
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
