/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state directory: it is one uvmd's alone, and when its file system is full that is told, shown by
 * df -i, and over as soon as something is removed.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define START_SECONDS 20
#define STATE_SIZE    MIB
#define FILES_MAX     20000u
#define NAME          "file with a longer name, number %u"
#define FULL          "the file system of the state directory is full"

static uint64_t files_free(struct mount *m)
{
    struct statvfs fs;

    must_sys(statvfs(m->anon, &fs));
    must_int(fs.f_ffree, ==, fs.f_favail);
    must_int(fs.f_files, >=, fs.f_ffree);
    return fs.f_ffree;
}

/* How often the log of uvmd says something. */
static unsigned said(const struct mount *m, const char *words)
{
    static char log[64 * 1024];
    unsigned n = 0;
    int fd = file_open(m->log, O_RDONLY);

    log[file_pread(fd, log, sizeof(log) - 1, 0)] = '\0';
    close(fd);
    for (const char *at = log; (at = strstr(at, words)); at++)
        n++;
    return n;
}

static bool make(struct mount *m, unsigned i)
{
    char path[PATH_MAX];
    int fd = open(mount_path(m, path, NAME, i), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Start uvmd with a small state directory. => in a mount namespace of the body's own, so that nothing
 * is left mounted however it ends */
static void start_small(struct mount *m, uint64_t size)
{
    char options[64];

    must_sys(unshare(CLONE_NEWNS));
    must_sys(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    snprintf(options, sizeof(options), "size=%" PRIu64 ",mode=700", size);
    must_sys(mount("none", m->state, "tmpfs", 0, options));
    mount_start(m);
}

static void full(struct mount *m)
{
    char path[PATH_MAX];
    unsigned made = 0;

    start_small(m, STATE_SIZE);
    uint64_t room = files_free(m);
    must_int(room, >, 100);
    must_int(room, <=, STATE_SIZE / 512); /* what a file takes at the very least */

    while (made < FILES_MAX && make(m, made))
        made++;
    must_msg(errno == ENOSPC, "after %u files: %s", made, strerror(errno));
    must_int(made, >, room / 4); /* it was an estimate, not a fancy */
    must_int(made, <, room * 4);
    must_int(files_free(m), <, room / 4);
    must(!make(m, made));
    must_int(said(m, FULL), ==, 1); /* not each time */

    for (unsigned i = 0; i < made; i++)
        must_sys(unlink(mount_path(m, path, NAME, i)));
    must_int(files_free(m), >, room / 4);
    must(make(m, 0));
    must_msg(mount_stop(m), "%s", m->trouble);
}

/* Large records, written many pages at a time: the write that fills the disk is short. */
static void full_of_values(struct mount *m)
{
    static const char value[50000] = "a value";
    char path[PATH_MAX];

    for (unsigned kib = 700; kib <= 900; kib += 200) {
        unsigned made = 0;
        start_small(m, kib * KIB);
        while (made < FILES_MAX && make(m, made) &&
               setxattr(mount_path(m, path, NAME, made), "user.a", value, sizeof(value), 0) == 0)
            made++;
        must_msg(errno == ENOSPC, "after %u values: %s", made, strerror(errno));
        must_int(made, >, 4);
        must_int(said(m, FULL), ==, 1);
        for (unsigned i = 0; i < made; i++)
            must_sys(unlink(mount_path(m, path, NAME, i)));
        must(make(m, 0));
        must_sys(setxattr(mount_path(m, path, NAME, 0), "user.a", value, sizeof(value), 0));
        must_msg(mount_stop(m), "%s", m->trouble);
        must_sys(unlink(m->log));
    }
}

/* Sockets of one base name in two directories: the state of both would be one. */
static void shared(struct mount *m)
{
    char point[PATH_MAX + 64], other[PATH_MAX + 64], more[PATH_MAX * 3], out[4000],
        path[PATH_MAX + 64];
    struct stat st;

    mount_start(m);
    snprintf(point, sizeof(point), "%s/second", m->dir);
    snprintf(other, sizeof(other), "%s/other", m->dir);
    must_sys(mkdir(point, 0755));
    must_sys(mkdir(other, 0755));
    snprintf(more, sizeof(more), "socket=%s/sock,statedir=%s,memory=8M", other, m->state);
    char *argv[] = {NULL, (char[]){"-o"}, more, point, NULL};
    must_int(mount_run(m, argv, out, sizeof(out), START_SECONDS), ==, 1);
    must_msg(strstr(out, m->state) && strstr(out, "another uvmd"), "the state: %s", out);
    char *end = strchr(out, '\n');
    must_msg(end && !end[1], "not one line: %s", out);

    /* The first still has its store. */
    snprintf(path, sizeof(path), "%s/sock.tree/data.mdb", m->state);
    must_sys(stat(path, &st));
    must(make(m, 1));
    must_msg(mount_stop(m), "%s", m->trouble);
    must_sys(rmdir(other)); /* the second has left nothing there */
    must_sys(rmdir(point));
}

/* Killed, it has let go of everything. */
static void killed(struct mount *m)
{
    mount_start(m);
    must_sys(kill(m->daemon, SIGKILL));
    client_wait(m->daemon);
    m->daemon = 0;
    must_sys(umount2(m->mountpoint, MNT_DETACH));
    mount_start(m);
    must_msg(mount_stop(m), "%s", m->trouble);
}

static const struct mount_case cases[] = {
    {"full", full, {.unmounted = true}},
    {"full_of_values", full_of_values, {.unmounted = true}},
    {"shared", shared, {.unmounted = true}},
    {"killed", killed, {.unmounted = true}},
};

HARNESS_MAIN("state", cases)
