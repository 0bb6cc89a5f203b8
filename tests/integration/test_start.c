/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keeps uvmd from starting: an exit status, one line that names what is wrong, and nothing left
 * behind.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define START_SECONDS 20

/*
 * Run uvmd with the options of a format (socket and state directory are added) on a mount point, and expect it
 * to end with a status and one line that holds every one of the words, which end with NULL.
 */
static void refused(struct mount *m, int status, const char *point, const char *options, ...)
    __attribute__((sentinel));
static void refused(struct mount *m, int status, const char *point, const char *options, ...)
{
    char all[PATH_MAX * 3], out[4000];
    const char *word;
    va_list ap;

    snprintf(all, sizeof(all), "socket=%s,statedir=%s,%s", m->socket, m->state, options);
    char *argv[] = {NULL, (char[]){"-o"}, all, (char *)point, NULL};
    int got = mount_run(m, argv, out, sizeof(out), START_SECONDS);
    must_msg(got == status, "-o %s on %s ends with %d, want %d: %s", options, point, got, status,
             out);
    char *end = strchr(out, '\n');
    must_msg(end && !end[1], "-o %s: not one line: \"%s\"", options, out);
    must_msg(strncmp(out, "uvmd: ", 6) == 0, "-o %s: does not begin with uvmd: %s", options, out);
    va_start(ap, options);
    while ((word = va_arg(ap, const char *)))
        must_msg(strstr(out, word), "-o %s: \"%s\" is not in: %s", options, word, out);
    va_end(ap);
    struct stat st;
    must_msg(lstat(m->socket, &st) < 0, "-o %s leaves the socket behind", options);
    must_msg(rmdir(m->state) == 0, "-o %s leaves the state directory in use", options);
    must_sys(mkdir(m->state, 0700));
    must(!mount_mounted(m));
}

static const char *swap_option(struct mount *m, char buf[PATH_MAX + 64], const char *size)
{
    snprintf(buf, PATH_MAX + 64, "memory=8M,swap=%s%s", m->swap, size);
    return buf;
}

static void mount_points(struct mount *m)
{
    char path[PATH_MAX + 64];

    snprintf(path, sizeof(path), "%s/none", m->dir);
    refused(m, 1, path, "memory=8M", "none", "no such", NULL);
    close(file_open(path, O_RDWR | O_CREAT));
    refused(m, 1, path, "memory=8M", "none", "not a directory", NULL);
    snprintf(path, sizeof(path), "%s/none/below", m->dir);
    refused(m, 1, path, "memory=8M", "below", "not a directory", NULL);
    refused(m, 1, "/proc", "memory=8M", "/proc", "already", NULL);
}

static void usage(struct mount *m)
{
    refused(m, 2, m->mountpoint, "memory=4M", "memory", "8M", NULL); /* the range */
    refused(m, 2, m->mountpoint, "memory=1000T", "memory", "8M", NULL);
    refused(m, 2, m->mountpoint, "memory=lots", "memory", "lots", NULL);
    refused(m, 2, m->mountpoint, "memory=-8M", "memory", NULL);
    refused(m, 2, m->mountpoint, "memroy=8M", "memroy", NULL);
    refused(m, 2, m->mountpoint, "threads=0", "threads", "1", NULL);
    refused(m, 2, m->mountpoint, "transport=pigeon", "transport", "pigeon", NULL);
}

static void swaps(struct mount *m)
{
    char option[PATH_MAX + 64], size[32];
    struct statvfs disk;
    struct stat st;

    refused(m, 1, m->mountpoint, swap_option(m, option, ""), "swap", "size", NULL);
    must_fail(lstat(m->swap, &st), ENOENT);

    must_sys(statvfs(m->dir, &disk));
    snprintf(size, sizeof(size), ":%" PRIu64 "G",
             (uint64_t)disk.f_bavail * disk.f_frsize / GIB + 100);
    refused(m, 1, m->mountpoint, swap_option(m, option, size), "swap", "does not fit", NULL);
    must_fail(lstat(m->swap, &st), ENOENT); /* it goes again when it cannot be had */

    must_sys(mkdir(m->swap, 0700));
    refused(m, 1, m->mountpoint, swap_option(m, option, ":16M"), "swap", "directory", NULL);
    must_sys(rmdir(m->swap));

    int fd = file_open(m->swap, O_RDWR | O_CREAT);
    must_sys(fchmod(fd, 0600));
    for (unsigned i = 0; i < 64; i++)
        file_pwrite(fd, "somebody's thesis, the only copy", 32, i * 1000);
    must_sys(fstat(fd, &st));
    off_t length = st.st_size;
    refused(m, 1, m->mountpoint, swap_option(m, option, ":16M"), "swap", "something else", NULL);
    must_sys(fstat(fd, &st));
    must_int(st.st_size, ==, length);
    char text[32];
    must_int(file_pread(fd, text, 32, 63000), ==, 32);
    must(memcmp(text, "somebody's thesis, the only copy", 32) == 0);
    close(fd);
    must_sys(unlink(m->swap));

    snprintf(option, sizeof(option), "memory=8M,swap=%s/no/where:16M", m->dir);
    refused(m, 1, m->mountpoint, option, "no/where", NULL);
    refused(m, 1, m->mountpoint, "memory=8M,swap=/dev/null:16M", "/dev/null", NULL);
}

/* Of a start that fails, the swap files go that it has made, and those alone. */
static void swaps_go_again(struct mount *m)
{
    char fresh[PATH_MAX + 64], empty[PATH_MAX + 64], option[PATH_MAX * 3];
    struct stat st;

    snprintf(fresh, sizeof(fresh), "%s/fresh", m->dir);
    snprintf(empty, sizeof(empty), "%s/empty", m->dir);
    int fd = file_open(empty, O_RDWR | O_CREAT);
    must_sys(fchmod(fd, 0600));
    close(fd);

    snprintf(option, sizeof(option), "memory=8M,swap=%s:16M,swap=%s:2M,swap=/dev/null:16M", fresh,
             empty);
    refused(m, 1, m->mountpoint, option, "/dev/null", NULL);
    must_fail(lstat(fresh, &st), ENOENT);
    must_sys(lstat(empty, &st));

    /* Refused by what comes after swap. */
    snprintf(option, sizeof(option), "memory=8M,swap=%s:16M,swap=%s:2M,statedir=%s/none/below",
             fresh, empty, m->dir);
    refused(m, 1, m->mountpoint, option, "none/below", NULL);
    must_fail(lstat(fresh, &st), ENOENT);
    must_sys(lstat(empty, &st));
}

/* nosuid, nodev and noexec hold, and the last word counts. */
static void flags(struct mount *m)
{
    static const struct {
        const char *more;
        unsigned long set;
    } tries[] = {
        {"suid,dev,exec", 0},
        {"noexec", ST_NOSUID | ST_NODEV | ST_NOEXEC},
        {"suid,dev,nosuid,nodev,noexec,exec", ST_NOSUID | ST_NODEV},
        {"nosuid,nodev,suid,dev,noexec,noatime", ST_NOEXEC},
    };
    char path[PATH_MAX];

    for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        struct statvfs fs;
        m->opts.more = tries[i].more;
        mount_start(m);
        must_sys(statvfs(m->mountpoint, &fs));
        must_int(fs.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC), ==, tries[i].set);
        int fd = file_open(mount_path(m, path, "program"), O_RDWR | O_CREAT);
        file_pwrite(fd, "#!/bin/sh\n", 10, 0);
        must_sys(fchmod(fd, 0755));
        close(fd);
        if (tries[i].set & ST_NOEXEC)
            must_fail(access(path, X_OK), EACCES);
        else
            must_sys(access(path, X_OK));
        must_msg(mount_stop(m), "%s", m->trouble);
    }
}

/* What a running uvmd has is its own. */
static void taken(struct mount *m)
{
    char point[PATH_MAX + 64], more[PATH_MAX * 3], out[4000];
    struct stat st;

    mount_start(m);
    must_sys(stat(m->swap, &st));
    must_int(st.st_mode & 07777, ==, 0600);
    must_int(st.st_size, ==, 16 * MIB);
    must_int(st.st_blocks * 512, >=, 16 * MIB); /* all there */

    snprintf(point, sizeof(point), "%s/second", m->dir);
    must_sys(mkdir(point, 0755));
    snprintf(more, sizeof(more), "socket=%s/sock2,statedir=%s,memory=8M,swap=%s:16M", m->dir,
             m->dir, m->swap);
    char *argv[] = {NULL, (char[]){"-o"}, more, point, NULL};
    must_int(mount_run(m, argv, out, sizeof(out), START_SECONDS), ==, 1);
    must_msg(strstr(out, "in use by another uvmd"), "the swap file: %s", out);

    snprintf(more, sizeof(more), "socket=%s/sock2,statedir=%s,memory=8M", m->dir, m->dir);
    argv[3] = m->mountpoint;
    must_int(mount_run(m, argv, out, sizeof(out), START_SECONDS), ==, 1);
    must_msg(strstr(out, "already"), "the mount point: %s", out);

    snprintf(more, sizeof(more), "socket=%s,statedir=%s,memory=8M,swap=%s/new:16M", m->socket,
             m->dir, m->dir);
    argv[3] = point;
    must_int(mount_run(m, argv, out, sizeof(out), START_SECONDS), ==, 1);
    must_msg(strstr(out, m->socket), "the socket: %s", out);
    snprintf(more, sizeof(more), "%s/new", m->dir);
    must_fail(lstat(more, &st), ENOENT);

    must_int(mount_call(m, NULL, "status", NULL), ==, 0); /* the first has not noticed */
    must_msg(mount_stop(m), "%s", m->trouble);

    /* The swap file can be used again, and again with another size. */
    mount_start(m);
    must_msg(mount_stop(m), "%s", m->trouble);
    m->opts.swap = "32M";
    mount_start(m);
    must_int(mount_counter(m, "swpages"), ==, 32 * MIB / PAGE - 1);
    must_msg(mount_stop(m), "%s", m->trouble);
    must_sys(stat(m->swap, &st));
    must_int(st.st_size, ==, 32 * MIB);
    must_sys(rmdir(point));
}

/* A configuration file, checked with -n and then used. */
static void file_and_check(struct mount *m)
{
    char path[PATH_MAX + 64], out[8192], more[PATH_MAX + 64];
    struct stat st;

    snprintf(path, sizeof(path), "%s/uvmd.conf", m->dir);
    FILE *file = fopen(path, "w");
    must(file != NULL);
    fprintf(file, "[uvmd]\nmemory=16M\nswap=%s:16M\nsocket=%s\nstatedir=%s\n", m->swap, m->socket,
            m->state);
    fclose(file);
    char *check[] = {NULL, (char[]){"-c"}, path, (char[]){"-n"}, m->mountpoint, NULL};
    must_int(mount_run(m, check, out, sizeof(out), START_SECONDS), ==, 0);
    must_msg(strstr(out, "memory=16M") && strstr(out, m->swap), "-n prints: %s", out);
    must_fail(lstat(m->swap, &st), ENOENT); /* -n makes nothing */

    char *none[] = {NULL, (char[]){"-c"}, more, m->mountpoint, NULL};
    snprintf(more, sizeof(more), "%s/none.conf", m->dir);
    must_int(mount_run(m, none, out, sizeof(out), START_SECONDS), !=, 0);
    must_msg(strstr(out, "none.conf"), "%s", out);
    char *nothing[] = {NULL, NULL};
    must_int(mount_run(m, nothing, out, sizeof(out), START_SECONDS), ==, 2);
}

static const struct mount_case cases[] = {
    {"mount_points", mount_points, {.unmounted = true}},
    {"usage", usage, {.unmounted = true}},
    {"swaps", swaps, {.unmounted = true}},
    {"swaps_go_again", swaps_go_again, {.unmounted = true}},
    {"flags", flags, {.unmounted = true}},
    {"taken", taken, {.unmounted = true, .swap = "16M"}},
    {"file_and_check", file_and_check, {.unmounted = true}},
};

HARNESS_MAIN("start", cases)
