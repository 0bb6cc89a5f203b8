/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One line for each mount, fields between blanks:
 *
 *      36 35 98:0 /root /mnt/a\040b rw,noatime shared:1 - fuse.uvmd uvmd rw,...
 *            |          |                      |        |
 *            device     mount point            any      type, behind the "-"
 *                                              number
 *
 * In a field, a blank, tab, newline or backslash of the name is \ooo: a line is cut into fields first and
 * only then is the mount point unescaped and compared. Mounts on one mount point stand in the order in
 * which they were made, so the last that matches is the topmost.
 */
#include "mountinfo.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util.h"

#define BLANKS " \n"

static bool octal(const char *p)
{
    for (unsigned i = 0; i < 3; i++)
        if (p[i] < '0' || p[i] > (i ? '7' : '3'))
            return false;
    return true;
}

/* In place. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *p = text; *p; to++) {
        if (*p == '\\' && octal(p + 1)) {
            *to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = '\0';
}

/* => the line is a mount on path, and ret tells which; the line is cut up */
static bool parse(char *line, const char *path, struct uvm_mount *ret)
{
    struct uvm_mount mount;
    char *save, *field = strtok_r(line, BLANKS, &save);

    for (int i = 0; field && i < 2; i++) /* id, parent */
        field = strtok_r(NULL, BLANKS, &save);
    if (!field || sscanf(field, "%u:%u", &mount.major, &mount.minor) != 2)
        return false;
    for (int i = 0; field && i < 2; i++) /* device, root */
        field = strtok_r(NULL, BLANKS, &save);
    if (!field)
        return false;
    unescape(field);
    if (strcmp(field, path))
        return false;
    while (field && strcmp(field, "-"))
        field = strtok_r(NULL, BLANKS, &save);
    field = field ? strtok_r(NULL, BLANKS, &save) : NULL;
    snprintf(mount.type, sizeof(mount.type), "%s", field ? field : "unknown");
    *ret = mount;
    return true;
}

int uvm_mountinfo_scan(FILE *table, const char *path, struct uvm_mount *ret)
{
    CLEANUP_FREE char *line = NULL;
    size_t size = 0;
    int rc = -ENOENT;

    while (getline(&line, &size, table) > 0)
        if (parse(line, path, ret))
            rc = 0;
    if (feof(table))
        return rc;
    return errno == ENOMEM ? -ENOMEM : -EIO;
}

int uvm_mountinfo_find(const char *path, struct uvm_mount *ret)
{
    CLEANUP_FCLOSE FILE *table = fopen(UVM_MOUNTINFO, "re");

    return table ? uvm_mountinfo_scan(table, path, ret) : -errno;
}
