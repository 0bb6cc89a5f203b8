/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vnode/ on file systems of many kinds: with blocks of 512 bytes and of a page, without direct transfers,
 * without file handles, stacked, read only. What clients store is on each of them, to the byte.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/util.h"
#include "loopfs.h"

#define NPAGES 2500u /* more than fits into memory */

static struct stat stat_of(const char *path)
{
    struct stat st;
    must_sys(stat(path, &st));
    return st;
}

static void check_source(struct mount *m, const char *name, uint64_t seed, uint64_t npages)
{
    int fd CLEANUP_CLOSE = must_sys(open(rig_src(m, "%s", name), O_RDONLY | O_CLOEXEC));
    file_check(fd, seed, 0, npages);
}

/* A file larger than memory, with an end in the middle of a block. */
static void large(struct mount *m)
{
    char tail[100], got[100];

    memset(tail, 't', sizeof(tail));
    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "large"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, NPAGES * PAGE));
    file_fill(fd, 1, 0, NPAGES);
    file_pwrite(fd, tail, sizeof(tail), NPAGES * PAGE);
    must_sys(fsync(fd));
    must_int(stat_of(rig_src(m, "large")).st_size, ==, NPAGES * PAGE + sizeof(tail));
    check_source(m, "large", 1, NPAGES);
    file_drop(fd);
    file_check(fd, 1, 0, NPAGES);
    must_int(file_pread(fd, got, sizeof(got), NPAGES * PAGE), ==, sizeof(got));
    must(memcmp(got, tail, sizeof(got)) == 0);
}

/* Appended in odd pieces, each of which is on the source, and no byte more, when it is synced. */
static void pieces(struct mount *m)
{
    static const size_t sizes[] = {1, 510, 1, 1, 511, 512, 513, 2047, 4095, 4096, 4097, 12289, 1};
    static char bytes[64 * 1024], got[64 * 1024];
    size_t at = 0;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 + i / 256 + 1);
    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "pieces"), O_RDWR | O_CREAT | O_EXCL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        file_pwrite(fd, bytes + at, sizes[i], (off_t)at);
        at += sizes[i];
        must_sys(i % 2 ? fsync(fd) : fdatasync(fd));
        int src CLEANUP_CLOSE = must_sys(open(rig_src(m, "pieces"), O_RDONLY | O_CLOEXEC));
        must_int(stat_of(rig_src(m, "pieces")).st_size, ==, at);
        must_int(file_pread(src, got, sizeof(got), 0), ==, at);
        must_msg(memcmp(got, bytes, at) == 0, "the source differs after %zu bytes", at);
        file_drop(fd);
        must_int(file_pread(fd, got, sizeof(got), 0), ==, at);
        must_msg(memcmp(got, bytes, at) == 0, "the mount differs after %zu bytes", at);
    }
}

/* Cut and grown again, with a hole: zeroes where they belong, on both sides. */
static void resized(struct mount *m)
{
    static char got[16 * PAGE];

    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "resized"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 16 * PAGE));
    char *map = file_map(fd, 0, 16 * PAGE, PROT_READ | PROT_WRITE);
    memset(map, 'x', 16 * PAGE);
    must_sys(ftruncate(fd, 10 * PAGE + 700));
    must_sys(ftruncate(fd, 16 * PAGE));
    bool hole = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 700, 2 * PAGE) == 0;
    must(hole || errno == EOPNOTSUPP);
    must_sys(msync(map, 16 * PAGE, MS_SYNC));
    int src CLEANUP_CLOSE = must_sys(open(rig_src(m, "resized"), O_RDONLY | O_CLOEXEC));
    must_int(file_pread(src, got, sizeof(got), 0), ==, sizeof(got));
    for (size_t i = 0; i < sizeof(got); i++) {
        bool zero = i >= 10 * PAGE + 700 || (hole && i >= 700 && i < 700 + 2 * PAGE);
        must_msg(got[i] == (zero ? 0 : 'x') && map[i] == got[i], "byte %zu: %d there, %d here", i,
                 got[i], map[i]);
    }
    must_sys(munmap(map, 16 * PAGE));
}

/* Names: a file that loses its name lives on, one that takes its place is found, lists are whole. */
static void names(struct mount *m)
{
    must_sys(mkdir(rig_mnt(m, "d"), 0755));
    for (int i = 0; i < 200; i++)
        rig_put(rig_mnt(m, "d/f%d", i), "content");
    int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "d/f7"), O_RDWR | O_CLOEXEC));
    char *map = file_map(fd, 0, PAGE, PROT_READ | PROT_WRITE);
    memcpy(map, "CON", 3);
    must_sys(rename(rig_mnt(m, "d/f8"), rig_mnt(m, "d/f7")));
    must(rig_same(rig_mnt(m, "d/f7"), "content"));
    must_sys(msync(map, PAGE, MS_SYNC));
    must(memcmp(map, "CONtent", 7) == 0);
    must_sys(fsync(fd));
    must_sys(fchmod(fd, 0600));
    must_sys(munmap(map, PAGE));
    must_sys(link(rig_mnt(m, "d/f7"), rig_mnt(m, "d/g")));
    must_sys(rename(rig_mnt(m, "d"), rig_mnt(m, "e")));
    must(rig_same(rig_mnt(m, "e/g"), "content"));
    shell(m, "sync $V/e/*; test $(ls $V/e | wc -l) = 200; diff -r $V/e $S/e; rm -r $V/e; no test "
             "-e $S/e");
}

/* A copy has the time that was given to it, also after it has been written out. */
static void times(struct mount *m)
{
    shell(m, "head -c 123457 /dev/urandom >$D/file; touch -d '2001-02-03 04:05:06.5' $D/file;"
             "cp -p $D/file $V/copy; cmp $D/file $V/copy; sync $V/copy;"
             "[ $(stat -c %Y $S/copy) = $(stat -c %Y $D/file) ]");
}

static void exercise(struct mount *m, const struct loopfs *fs)
{
    loopfs_mount(m, fs);
    rig_start(m, NULL);
    large(m);
    pieces(m);
    resized(m);
    names(m);
    times(m);
    must_sys(truncate(rig_mnt(m, "large"), 1000 * PAGE));
    {
        int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "large"), O_RDWR);
        file_fill(fd, 2, 0, 1000);
    }
    rig_stop(m);
    check_source(m, "large", 2, 1000);
    shell(m, "[ $(stat -c %Y $S/copy) = $(stat -c %Y $D/file) ]; cmp $S/copy $D/file");
}

/* And on a disk: when the daemon is killed, what was synced is there. */
static void exercise_disk(struct mount *m, const struct loopfs *fs)
{
    exercise(m, fs);
    rig_start(m, NULL);
    int fd = file_open(rig_mnt(m, "killed"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 300 * PAGE + 77));
    file_fill(fd, 5, 0, 300);
    must_sys(fsync(fd));
    file_fill(fd, 6, 0, 10); /* on its way, or not */
    rig_kill(m);
    close(fd);
    loopfs_unmount(m);
    loopfs_again(m, fs);
    must_int(stat_of(rig_src(m, "killed")).st_size, ==, 300 * PAGE + 77);
    int src CLEANUP_CLOSE = must_sys(open(rig_src(m, "killed"), O_RDONLY | O_CLOEXEC));
    file_check(src, 5, 10, 290);
}

static void ext4(struct mount *m)
{
    exercise_disk(m, &(struct loopfs){.type = "ext4", .mkfs = "mkfs.ext4 -qF -b 1024", .mib = 64});
}

static void ext4_4k(struct mount *m)
{
    exercise_disk(
        m, &(struct loopfs){.type = "ext4", .mkfs = "mkfs.ext4 -qF", .mib = 64, .sector = 4096});
}

static void xfs(struct mount *m)
{
    exercise_disk(m, &(struct loopfs){.type = "xfs", .mkfs = "mkfs.xfs -qf", .mib = 320});
}

static void xfs_4k(struct mount *m)
{
    exercise_disk(
        m, &(struct loopfs){.type = "xfs", .mkfs = "mkfs.xfs -qf", .mib = 320, .sector = 4096});
}

static void tmpfs(struct mount *m)
{
    exercise(m, &(struct loopfs){.type = "tmpfs", .data = "size=64M"});
}

/* Neither direct transfers nor handles. */
static void ramfs(struct mount *m)
{
    exercise(m, &(struct loopfs){.type = "ramfs"});
}

static void overlay(struct mount *m)
{
    char data[PATH_MAX * 3];

    shell(m, "mkdir $D/lower $D/upper $D/work; echo lower >$D/lower/old");
    snprintf(data, sizeof(data), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", m->dir,
             m->dir, m->dir);
    exercise(m, &(struct loopfs){.type = "overlay", .data = data});

    /* A file of the lower layer that is stored to moves to the upper one, under who has it open. */
    rig_start(m, NULL);
    int reader CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "old"), O_RDONLY | O_CLOEXEC));
    char *map = file_map(reader, 0, PAGE, PROT_READ);
    must(memcmp(map, "lower", 5) == 0);
    {
        int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "old"), O_RDWR | O_CLOEXEC));
        file_pwrite(fd, "UPPER", 5, 0);
        must_sys(fsync(fd));
    }
    must(memcmp(map, "UPPER", 5) == 0);
    rig_stop(m);
    shell(m, "[ $(cat $D/lower/old) = lower ]; [ $(cat $D/upper/old) = UPPER ]");
}

/* A source that nobody can write to: it can be read, and every change is refused as the host does. */
static void read_only(struct mount *m)
{
    struct loopfs fs = {.type = "ext4", .mkfs = "mkfs.ext4 -qF", .mib = 64};

    loopfs_mount(m, &fs);
    {
        int fd CLEANUP_CLOSE = file_open(rig_src(m, "f"), O_RDWR | O_CREAT);
        must_sys(ftruncate(fd, NPAGES * PAGE));
        file_fill(fd, 1, 0, NPAGES);
    }
    loopfs_unmount(m);
    fs.flags = MS_RDONLY;
    loopfs_again(m, &fs);
    rig_start(m, NULL);
    {
        int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDONLY);
        file_check(fd, 1, 0, NPAGES);
        must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
        file_check_random(fd, 1, NPAGES, 500);
        must_sys(fsync(fd));
        must_fail(fchmod(fd, 0600), EROFS);
        must_fail(futimens(fd, NULL), EROFS);
    }
    must_fail(open(rig_mnt(m, "f"), O_RDWR), EROFS);
    must_fail(open(rig_mnt(m, "g"), O_RDWR | O_CREAT, 0644), EROFS);
    must_fail(truncate(rig_mnt(m, "f"), 0), EROFS);
    must_fail(unlink(rig_mnt(m, "f")), EROFS);
    must_fail(rename(rig_mnt(m, "f"), rig_mnt(m, "g")), EROFS);
    must_fail(mkdir(rig_mnt(m, "d"), 0755), EROFS);
    must_fail(symlink("f", rig_mnt(m, "l")), EROFS);
    rig_stop(m);
    loopfs_unmount(m); /* nothing is open there */
}

static const struct mount_case cases[] = {
    {"ext4", ext4, {.unmounted = true}},       {"ext4_4k", ext4_4k, {.unmounted = true}},
    {"xfs", xfs, {.unmounted = true}},         {"xfs_4k", xfs_4k, {.unmounted = true}},
    {"tmpfs", tmpfs, {.unmounted = true}},     {"ramfs", ramfs, {.unmounted = true}},
    {"overlay", overlay, {.unmounted = true}}, {"read_only", read_only, {.unmounted = true}},
};

HARNESS_MAIN("vnode_fs", cases)
