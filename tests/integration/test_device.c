/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * device/: the names, the bytes of files and loop devices through it, what it refuses, and a device that
 * fails or shrinks while clients map it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "daemon/util.h"
#include "harness.h"

#define NPAGES 600u /* more than a READ, less than a window */

static char *disk(const struct mount *m, char path[PATH_MAX], const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", m->dir, name);
    return path;
}

static char *device(const struct mount *m, char path[PATH_MAX], const char *name)
{
    snprintf(path, PATH_MAX, "%.3000s/device/%s", m->mountpoint, name);
    return path;
}

static int make_disk(const struct mount *m, const char *name, uint64_t npages)
{
    char path[PATH_MAX];
    int fd = file_open(disk(m, path, name), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    return fd;
}

static void start(struct mount *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void start(struct mount *m, const char *fmt, ...)
{
    static char more[PATH_MAX * 2];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(more, sizeof(more), fmt, ap);
    va_end(ap);
    m->opts.more = more;
    mount_start(m);
}

static void stop(struct mount *m)
{
    must_msg(mount_stop(m), "%s", m->trouble);
}

/* A loop device on a file, which goes away with its last user. => a descriptor, and its path; -1 and a
 * message: there is none to be had */
static int loop_open(const struct mount *m, const char *name, bool readonly, char dev[64])
{
    char path[PATH_MAX];
    int file CLEANUP_CLOSE = open(disk(m, path, name), O_RDWR | O_CLOEXEC);
    int control CLEANUP_CLOSE = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    struct loop_config config = {
        .fd = (uint32_t)file,
        .info.lo_flags = LO_FLAGS_AUTOCLEAR | (readonly ? LO_FLAGS_READ_ONLY : 0),
    };

    for (unsigned i = 0; i < 20 && control >= 0; i++) { /* others look for a free one too */
        int n = ioctl(control, LOOP_CTL_GET_FREE);
        if (n < 0)
            break;
        snprintf(dev, 64, "/dev/loop%d", n);
        int fd = open(dev, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
            return fd;
        if (fd >= 0)
            close(fd);
        if (errno != EBUSY)
            break;
    }
    printf("skipped: no loop device: %s\n", strerror(errno));
    return -1;
}

static unsigned count_names(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    must(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void names(struct mount *m)
{
    char path[PATH_MAX], other[PATH_MAX];
    struct stat st;

    int fd = make_disk(m, "disk", 3);
    must_sys(fchmod(fd, 0640));
    must_sys(fchown(fd, 17, 18));
    start(m, "device=one:%s/disk,device=two:%s/disk:5000", m->dir, m->dir);
    must_int(count_names(m->mountpoint), ==, 4);
    must_int(count_names(device(m, path, "")), ==, 4);
    must_sys(stat(m->mountpoint, &st));
    must_int(st.st_nlink, ==, 4);
    must_sys(stat(path, &st));
    must(S_ISDIR(st.st_mode));
    must_sys(stat(device(m, path, "one"), &st));
    must_int(st.st_mode, ==, S_IFREG | 0640);
    must_int(st.st_size, ==, 3 * PAGE);
    must_int(st.st_uid, ==, 17);
    must_int(st.st_gid, ==, 18);
    must_sys(stat(device(m, other, "two"), &st));
    must_int(st.st_size, ==, 5000);

    must_fail(stat(device(m, other, "three"), &st), ENOENT);
    must_fail(open(other, O_CREAT | O_RDWR, 0600), EPERM);
    must_fail(mkdir(other, 0700), EPERM);
    must_fail(unlink(path), EPERM);
    must_fail(chmod(path, 0600), EPERM);
    must_fail(chown(path, 1, 1), EPERM);
    must_fail(truncate(path, 0), EPERM);
    must_sys(truncate(path, 3 * PAGE));
    must_sys(utimensat(AT_FDCWD, path, NULL, 0));
    must_fail(rename(path, other), EPERM);
    must_fail(rename(path, mount_path(m, other, "x")), EXDEV);
    must_fail(link(path, other), EXDEV);
    close(file_open(other, O_CREAT | O_RDWR));
    must_fail(rename(other, path), EXDEV);
    must_fail(rmdir(device(m, path, "")), EPERM);
    snprintf(other, sizeof(other), "%.3000s/else", m->mountpoint);
    path[strlen(path) - 1] = '\0';
    must_fail(rename(path, other), EPERM);
    must_fail(rename(path, m->anon), EPERM);
    must_fail(rmdir(m->anon), EPERM);
    stop(m);
}

/* Bytes go to the file behind it and come from there; a new open sees what others have changed. */
static void bytes(struct mount *m)
{
    char path[PATH_MAX], buf[2 * PAGE];
    int back = make_disk(m, "disk", NPAGES);

    start(m, "device=d:%s/disk", m->dir);
    int fd = file_open(device(m, path, "d"), O_RDWR);
    file_fill(fd, 1, 0, NPAGES);
    must_sys(fsync(fd));
    file_check(back, 1, 0, NPAGES);
    content_fill(buf, 2, 7);
    content_fill(buf + PAGE, 2, 8);
    file_pwrite(fd, buf, sizeof(buf), 7 * PAGE);
    must_sys(fdatasync(fd));
    file_check(back, 2, 7, 2);

    must_fail(pwrite(fd, buf, 1, NPAGES * PAGE), ENOSPC);
    must_int(pwrite(fd, buf, sizeof(buf), (NPAGES - 1) * PAGE), ==, PAGE);
    must_int(pread(fd, buf, sizeof(buf), (NPAGES - 1) * PAGE), ==, PAGE);
    must_int(pread(fd, buf, 1, NPAGES * PAGE), ==, 0);
    must_int(lseek(fd, 0, SEEK_HOLE), ==, NPAGES * PAGE);
    must_int(lseek(fd, 77, SEEK_DATA), ==, 77);
    must_fail(fallocate(fd, 0, 0, PAGE), EOPNOTSUPP);
    must_fail(ftruncate(fd, PAGE), EPERM);
    close(fd);

    file_fill(back, 3, 0, NPAGES);
    fd = file_open(path, O_RDONLY);
    file_check(fd, 3, 0, NPAGES);
    close(fd);
    stop(m);
}

static void check_windows(void *arg)
{
    int fd = file_open(arg, O_RDONLY);

    for (uint64_t at = 0; at < 160 * MIB / PAGE; at += 331)
        file_check(fd, 0, at, 1);
    close(fd);
}

/* More than all windows together, by several at a time; the daemon's memory does not follow. */
static void many_windows(struct mount *m)
{
    char path[PATH_MAX];
    pid_t pids[4];

    close(make_disk(m, "disk", 160 * MIB / PAGE));
    start(m, "device=d:%s/disk", m->dir);
    for (unsigned i = 0; i < 4; i++)
        pids[i] = client_start(check_windows, device(m, path, "d"), 50);
    for (unsigned i = 0; i < 4; i++)
        client_join(pids[i]);
    stop(m);
}

static void shrinks(struct mount *m)
{
    char path[PATH_MAX];
    uint64_t word;
    struct stat st;
    int back = make_disk(m, "disk", NPAGES);

    start(m, "device=d:%s/disk", m->dir);
    int fd = file_open(device(m, path, "d"), O_RDWR);
    char *map = file_map(fd, 0, NPAGES * PAGE, PROT_READ | PROT_WRITE);
    must_sys(madvise(map, NPAGES * PAGE, MADV_RANDOM));
    must(client_load(map, &word));
    must_sys(ftruncate(back, 10 * PAGE));
    must(!client_load(map + 20 * PAGE, &word));
    must(client_load(map + 5 * PAGE, &word));
    close(file_open(path, O_RDONLY));
    must_sys(stat(path, &st));
    must_int(st.st_size, ==, 10 * PAGE);
    must_fail(pwrite(fd, &word, 8, 20 * PAGE), ENOSPC);
    must_int(mount_call(m, NULL, "object", "device/d", NULL), ==, 0);
    stop(m);
}

static void loop_device(struct mount *m)
{
    char path[PATH_MAX], dev[64];
    int back = make_disk(m, "disk", NPAGES);
    int loop = loop_open(m, "disk", false, dev);

    if (loop < 0)
        return;
    start(m, "device=d:%s", dev);
    close(loop);
    int fd = file_open(device(m, path, "d"), O_RDWR);
    file_fill(fd, 1, 0, NPAGES);
    must_sys(fsync(fd));
    file_check(back, 1, 0, NPAGES);
    close(fd);
    stop(m);
}

static void readonly_device(struct mount *m)
{
    char path[PATH_MAX], dev[64];
    int back = make_disk(m, "disk", NPAGES);

    file_fill(back, 4, 0, NPAGES);
    must_sys(fsync(back));
    int loop = loop_open(m, "disk", true, dev);
    if (loop < 0)
        return;
    start(m, "device=d:%s", dev);
    close(loop);
    must_fail(open(device(m, path, "d"), O_RDWR), EROFS);
    must_fail(open(path, O_WRONLY), EROFS);
    int fd = file_open(path, O_RDONLY);
    file_check(fd, 4, 0, NPAGES);
    close(fd);
    stop(m);
}

/* The disk loses its end behind the back of the device, which then gives I/O errors: they are the
 * clients' SIGBUS and errors, and nobody else's. */
static void failing_device(struct mount *m)
{
    char path[PATH_MAX], dev[64], buf[PAGE];
    uint64_t word;
    const uint64_t npages = 40 * MIB / PAGE; /* beyond what is read ahead */
    int back = make_disk(m, "disk", npages);

    file_fill(back, 5, 0, NPAGES);
    must_sys(fsync(back));
    int loop = loop_open(m, "disk", false, dev);
    if (loop < 0)
        return;
    start(m, "device=d:%s", dev);
    int fd = file_open(device(m, path, "d"), O_RDWR);
    char *map = file_map(fd, 0, npages * PAGE, PROT_READ | PROT_WRITE);
    must_sys(madvise(map, npages * PAGE, MADV_RANDOM));
    must(client_load(map, &word));
    must_sys(ftruncate(back, NPAGES * PAGE));
    must(!client_load(map + 4000 * PAGE, &word));
    must_fail(pread(fd, buf, PAGE, 6000 * PAGE), EIO);
    must_int(word, ==, content_word(5, 0, 0));
    must_int(pread(fd, buf, PAGE, 0), ==, PAGE);
    content_check(buf, 5, 0);
    close(fd);
    must_sys(munmap(map, npages * PAGE));
    close(loop);
    stop(m);
}

static void zero_device(struct mount *m)
{
    char path[PATH_MAX];
    struct stat st;

    start(m, "device=zero:/dev/zero:40M");
    int fd = file_open(device(m, path, "zero"), O_RDWR);
    must_sys(fstat(fd, &st));
    must_int(st.st_size, ==, 40 * MIB);
    must_int(st.st_mode, ==, S_IFREG | 0666);
    file_check(fd, 0, 0, NPAGES);
    file_check(fd, 0, 9 * MIB / PAGE, NPAGES);
    must_sys(fsync(fd));
    close(fd);
    stop(m);
}

static void refused(struct mount *m, const char *option, const char *says)
{
    char out[2000], options[PATH_MAX * 3];

    snprintf(options, sizeof(options), "memory=8M,socket=%s,statedir=%s,%s", m->socket, m->state,
             option);
    char *argv[] = {NULL, (char[]){"-o"}, options, m->mountpoint, NULL};
    int status = mount_run(m, argv, out, sizeof(out), 10);
    must_msg(status == 1, "%s: status %d: %s", option, status, out);
    must_msg(strstr(out, says), "%s: not \"%s\": %s", option, says, out);
    must(!mount_mounted(m));
}

static void starts(struct mount *m)
{
    char option[PATH_MAX + 64];

    close(make_disk(m, "disk", 3));
    snprintf(option, sizeof(option), "device=d:%s/disk:13K", m->dir);
    refused(m, option, "SIZE is out of range (1 to 12288)");
    refused(m, "device=d:/nowhere", "/nowhere: No such file");
    refused(m, "device=d:/proc", "neither a device nor a regular file");
    refused(m, "device=d:/dev/zero", "does not tell its size");
    refused(m, "source=/nowhere", "/nowhere: No such file");
    refused(m, "source=/dev/zero", "not a directory");
    snprintf(option, sizeof(option), "source=%s", m->dir);
    refused(m, option, "lies inside");
}

static const struct mount_case cases[] = {
    {"names", names, {.unmounted = true}},
    {"bytes", bytes, {.unmounted = true}},
    {"many_windows", many_windows, {.unmounted = true}},
    {"shrinks", shrinks, {.unmounted = true}},
    {"loop_device", loop_device, {.unmounted = true}},
    {"readonly_device", readonly_device, {.unmounted = true}},
    {"failing_device", failing_device, {.unmounted = true}},
    {"zero_device", zero_device, {.unmounted = true}},
    {"starts", starts, {.unmounted = true}},
};

HARNESS_MAIN("device", cases)
