/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sources that fail, by injected errors (faults=yes) and for real: full, dead, out of reach. The right error
 * at the right page and for whom it concerns, everybody else undisturbed, nothing lost that can be
 * had again.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/util.h"
#include "loopfs.h"

#define BAD 100u /* the page that cannot be read */

#define fault_add(m, ...) \
    must_int(mount_call(m, NULL, "fault", "add", "file", __VA_ARGS__, NULL), ==, 0)
#define fault_clear(m) must_int(mount_call(m, NULL, "fault", "clear", NULL), ==, 0)

/* "object=N" of a file that is in use. */
static const char *object_of(struct mount *m, const char *path)
{
    static char word[40];
    struct json_object *reply, *id;

    must_int(mount_call(m, &reply, "object", path, NULL), ==, 0);
    must(json_object_object_get_ex(reply, "id", &id));
    snprintf(word, sizeof(word), "object=%" PRIu64, json_object_get_uint64(id));
    json_object_put(reply);
    return word;
}

/* A file with content, not known to the daemon yet. */
static void make_source(struct mount *m, const char *name, uint64_t seed, uint64_t npages)
{
    int fd CLEANUP_CLOSE = file_open(rig_src(m, "%s", name), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, (off_t)(npages * PAGE)));
    file_fill(fd, seed, 0, npages);
}

static void check_source(struct mount *m, const char *name, uint64_t seed, uint64_t npages)
{
    int fd CLEANUP_CLOSE = must_sys(open(rig_src(m, "%s", name), O_RDONLY | O_CLOEXEC));
    file_check(fd, seed, 0, npages);
}

/* Read page after page: all are right but the bad one, if there is one. advice: random has the pages asked for
 * one by one, normal many in one request. */
static void check_pages(int fd, uint64_t npages, bool bad, int advice)
{
    char page[PAGE];

    must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    must(posix_fadvise(fd, 0, 0, advice) == 0);
    for (uint64_t i = 0; i < npages; i++) {
        if (bad && i == BAD) {
            must_fail(pread(fd, page, PAGE, BAD * PAGE), EIO);
            continue;
        }
        must_msg(pread(fd, page, PAGE, (off_t)(i * PAGE)) == PAGE, "page %" PRIu64 ": %s", i,
                 strerror(errno));
        content_check(page, 1, i);
    }
}

static void touch_bad(void *arg)
{
    const char *map = arg;
    uint64_t word;
    must(!client_load(map + BAD * PAGE, &word));
}

static void touch_others(void *arg)
{
    const char *map = arg;
    uint64_t word;

    for (unsigned i = 0; i < 256; i++) {
        if (i == BAD)
            continue;
        must(client_load(map + i * PAGE, &word));
        content_check(map + i * PAGE, 1, i);
    }
}

/* One page of the file cannot be read: who touches it has the error, by mapping and by call. */
static void read_error(struct mount *m)
{
    rig_start(m, "faults=yes");
    make_source(m, "f", 1, 256);
    make_source(m, "g", 2, 3000);
    int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "f"), O_RDWR | O_CLOEXEC));
    int g CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "g"), O_RDWR | O_CLOEXEC));
    fault_add(m, "read", "error=EIO", "off=400K", "len=4K", object_of(m, "vnode/f"));
    uint64_t errors = mount_counter(m, "ioerrors");
    check_pages(fd, 256, true, POSIX_FADV_NORMAL);
    must_int(mount_counter(m, "ioerrors"), >, errors);
    file_check(g, 2, 0, 3000); /* and out of memory goes all of f */
    check_pages(fd, 256, true, POSIX_FADV_RANDOM);
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL) == 0);
    must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    char *map = file_map(fd, 0, 256 * PAGE, PROT_READ);
    pid_t pid[2] = {client_start(touch_bad, map, 20), client_start(touch_others, map, 20)};
    file_check(g, 2, 0, 3000);
    client_join(pid[0]);
    client_join(pid[1]);
    must_sys(munmap(map, 256 * PAGE));
    check_pages(fd, 256, true, POSIX_FADV_NORMAL);

    /* A store to a part of the page needs the rest of it; a whole page does not. */
    must_fail(pwrite(fd, "x", 1, BAD * PAGE + 5), EIO);
    must_sys(fsync(fd)); /* that was no error of writing back */
    fault_clear(m);
    check_pages(fd, 256, false, POSIX_FADV_NORMAL);
    rig_stop(m);
    check_source(m, "f", 1, 256);
}

/* An error that goes away by itself is nobody's. */
static void read_transient(struct mount *m)
{
    rig_start(m, "faults=yes");
    make_source(m, "f", 1, 1000);
    int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "f"), O_RDONLY | O_CLOEXEC));
    for (unsigned i = 0; i < 10; i++) {
        char off[40];
        snprintf(off, sizeof(off), "off=%uK", i * 400);
        fault_add(m, "read", off, "len=4K", "count=1");
    }
    file_check(fd, 1, 0, 1000);
    rig_stop(m);
}

static int mapped_store(struct mount *m, const char *name, const char *text)
{
    int fd = must_sys(open(rig_mnt(m, "%s", name), O_RDWR | O_CLOEXEC));
    char *map = file_map(fd, 0, PAGE, PROT_READ | PROT_WRITE);
    memcpy(map, text, strlen(text));
    must_sys(munmap(map, PAGE));
    return fd;
}

/* As every child does that ends: what its parent is to hear must not be lost in it. */
static void close_it(void *arg)
{
    close(*(int *)arg);
}

/* A page fails to be written: each descriptor that was open hears of it, once, and no other. */
static void write_error_told(struct mount *m, const char *name, int error)
{
    char word[40];

    snprintf(word, sizeof(word), "error=%s", name);
    make_source(m, name, 1, 1);
    rig_put(rig_src(m, "%s.other", name), "other bytes");
    int stored = mapped_store(m, name, "stored bytes");
    int idle = must_sys(open(rig_mnt(m, "%s", name), O_RDWR | O_CLOEXEC));
    int reader = must_sys(open(rig_mnt(m, "%s", name), O_RDONLY | O_CLOEXEC));
    int closes = must_sys(open(rig_mnt(m, "%s", name), O_RDWR | O_CLOEXEC));
    snprintf(word + 30, 10, "%s", "");
    char path[40];
    snprintf(path, sizeof(path), "vnode/%s", name);
    fault_add(m, "write", word, "count=2", object_of(m, path)); /* in its cluster and alone */
    must_fail(fsync(stored), error);
    int later = must_sys(open(rig_mnt(m, "%s", name), O_RDWR | O_CLOEXEC));
    char other_name[40];
    snprintf(other_name, sizeof(other_name), "%s.other", name);
    int other = mapped_store(m, other_name, "OTHER");
    must_sys(fsync(other));
    must_sys(fsync(later)); /* which writes the page */
    must(rig_same(rig_src(m, "%s.other", name), "OTHER bytes"));
    {
        char text[12];
        int src CLEANUP_CLOSE = must_sys(open(rig_src(m, "%s", name), O_RDONLY | O_CLOEXEC));
        must_int(pread(src, text, 12, 0), ==, 12);
        must(memcmp(text, "stored bytes", 12) == 0);
    }
    must_sys(fsync(stored));
    client_run(close_it, &idle, 5);
    must_fail(fdatasync(idle), error);
    must_sys(fsync(idle));
    must_fail(fsync(reader), error);
    must_sys(fsync(reader));
    must_fail(close(closes), error);
    must_sys(close(idle));
    must_sys(close(reader));
    must_sys(close(stored));
    must_sys(close(later));
    must_sys(close(other));
}

static void write_error(struct mount *m)
{
    rig_start(m, "faults=yes");
    write_error_told(m, "EIO", EIO);
    write_error_told(m, "ENOSPC", ENOSPC);
    rig_stop(m);
}

/* The disk's own cache fails: what was written may be lost, so everybody hears of it. */
static void sync_error(struct mount *m)
{
    rig_start(m, "faults=yes");
    rig_put(rig_src(m, "f"), "old content");
    int a CLEANUP_CLOSE = mapped_store(m, "f", "NEW");
    int b CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "f"), O_RDWR | O_CLOEXEC));
    fault_add(m, "sync", "error=EIO", "count=1");
    must_fail(fsync(a), EIO);
    must_sys(fsync(a));
    must_fail(fsync(b), EIO);
    must_sys(fsync(b));
    rig_stop(m);
    must(rig_same(rig_src(m, "f"), "NEW content"));
}

static void use_anon(void *arg)
{
    struct mount *m = arg;
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "anon"), 77, 4096};

    for (int i = 0; i < 2; i++) {
        file_job_fill(&job);
        file_job_check(&job);
        must_sys(unlink(path));
    }
}

/* A file cannot be written for long: what was stored stays, and nobody else is held up. */
static void write_broken(struct mount *m)
{
    rig_start(m, "faults=yes");
    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    int good CLEANUP_CLOSE = file_open(rig_mnt(m, "good"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 400 * PAGE));
    must_sys(ftruncate(good, 3000 * PAGE));
    fault_add(m, "write", "error=ENOSPC", object_of(m, "vnode/f"));
    file_fill(fd, 3, 0, 400);
    must_fail(fsync(fd), ENOSPC);
    client_run(use_anon, m, 30);
    for (uint64_t seed = 1; seed < 3; seed++) {
        file_fill(good, seed, 0, 3000);
        must_sys(fsync(good));
        check_source(m, "good", seed, 3000);
    }
    must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    file_check(fd, 3, 0, 400);
    must_fail(fsync(fd), ENOSPC);
    fault_clear(m);
    /* What write-behind has tried meanwhile may be to tell once more. */
    must(fsync(fd) == 0 || errno == ENOSPC);
    must_sys(fsync(fd));
    check_source(m, "f", 3, 400);
    must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    file_check(fd, 3, 0, 400);
    rig_stop(m);
}

/* Nobody asks: write-behind goes on trying until it can. */
static void write_recovers(struct mount *m)
{
    rig_start(m, "faults=yes");
    fault_add(m, "write", "error=EIO");
    {
        int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
        must_sys(ftruncate(fd, 50 * PAGE));
        file_fill(fd, 4, 0, 50);
        must_fail(fsync(fd), EIO);
    }
    must_int(mount_counter(m, "vndirty"), ==, 50);
    fault_clear(m);
    mount_settle(m, "vndirty", 0);
    check_source(m, "f", 4, 50);
    rig_stop(m);
}

static const struct loopfs small = {.type = "ext4", .mkfs = "mkfs.ext4 -qF -m 0", .mib = 16};

/* Leave a MiB of the file system. */
static void fill_up(struct mount *m)
{
    shell(m, "dd if=/dev/zero of=$S/ballast bs=64k || true; sync $S/ballast;"
             "truncate -s -1M $S/ballast; sync $S");
}

/* A file's room is free when the kernel has forgotten the file, a moment after it was removed. */
static void sync_when_room(int fd)
{
    for (unsigned i = 0; fsync(fd); i++) {
        must_msg(errno == ENOSPC && i < 500, "fsync: %s", strerror(errno));
        usleep(20000);
    }
}

/* The file system is full, for real; and then it is not any more. */
static void full(struct mount *m)
{
    loopfs_mount(m, &small);
    fill_up(m);
    rig_start(m, NULL);
    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 400 * PAGE));
    file_fill(fd, 5, 0, 400);
    must_fail(fsync(fd), ENOSPC);
    must_fail(fsync(fd), ENOSPC);
    client_run(use_anon, m, 30);
    must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    file_check(fd, 5, 0, 400);
    int made = open(rig_mnt(m, "empty"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    must(made >= 0 || errno == ENOSPC); /* names do not wait for it */
    close(made);
    must_sys(unlink(rig_mnt(m, "ballast")));
    sync_when_room(fd);
    check_source(m, "f", 5, 400);

    /* write(2) beyond what may be dirty hears of it, too, and does not wait for ever. */
    fill_up(m);
    char page[PAGE];
    int more CLEANUP_CLOSE = file_open(rig_mnt(m, "more"), O_RDWR | O_CREAT | O_EXCL);
    ssize_t n = PAGE;
    for (uint64_t i = 0; i < 4000 && n == PAGE; i++) {
        content_fill(page, 6, i);
        n = pwrite(more, page, PAGE, (off_t)(i * PAGE));
    }
    must(n < 0 && errno == ENOSPC);
    must_sys(unlink(rig_mnt(m, "more")));
    rig_stop(m);
}

/* It is still full when the daemon is told to stop: it stops, and says what is lost. */
static void full_stop(struct mount *m)
{
    loopfs_mount(m, &small);
    fill_up(m);
    rig_start(m, NULL);
    {
        int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "lost"), O_RDWR | O_CREAT | O_EXCL);
        must_sys(ftruncate(fd, 400 * PAGE));
        file_fill(fd, 5, 0, 400);
    }
    rig_stop(m);
    shell(m, "grep 'lost.*No space left' $D/log");
    loopfs_unmount(m);
}

/* Whatever a client does on a source that is dead, it ends. => how many calls have failed */
static void use_dead(void *arg)
{
    struct mount *m = arg;
    uint64_t word;
    char buf[PAGE];

    int fd = open(rig_mnt(m, "f"), O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        void *map = mmap(NULL, 900 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(map != MAP_FAILED);
        for (unsigned i = 0; i < 900; i += 50)
            client_load((char *)map + i * PAGE, &word);
        client_store(map, 1);
        msync(map, 900 * PAGE, MS_SYNC);
        if (pwrite(fd, buf, PAGE, 0) == PAGE)
            must(fsync(fd) < 0);
    }
    must(mkdir(rig_mnt(m, "newdir"), 0755) < 0);
    must(open(rig_mnt(m, "new"), O_RDWR | O_CREAT, 0644) < 0);
    must(rename(rig_mnt(m, "f"), rig_mnt(m, "renamed")) < 0);
    must(truncate(rig_mnt(m, "g"), 5) < 0);
    int dir = open(rig_mnt(m, "."), O_RDONLY | O_DIRECTORY);
    if (dir >= 0)
        fsync(dir);
}

static void dies(struct mount *m, const struct loopfs *fs)
{
    uint64_t word;

    loopfs_mount(m, fs);
    rig_start(m, NULL);
    make_source(m, "f", 1, 900);
    make_source(m, "g", 2, 100);
    shell(m, "sync -f $S");
    int fd = must_sys(open(rig_mnt(m, "f"), O_RDWR | O_CLOEXEC));
    char *map = file_map(fd, 0, 900 * PAGE, PROT_READ | PROT_WRITE);
    must_sys(madvise(map, 900 * PAGE, MADV_RANDOM));
    must(client_load(map, &word));
    int g = must_sys(open(rig_mnt(m, "g"), O_RDWR | O_CLOEXEC));
    file_fill(g, 3, 0, 100);
    loopfs_die(m);
    must(!client_load(map + 800 * PAGE, &word)); /* not in memory, and never will be */
    must_fail(fsync(g), EIO);
    file_check(g, 3, 0, 100); /* what is in memory is still there */
    client_run(use_dead, m, 30);
    client_run(use_anon, m, 30);
    must_sys(munmap(map, 900 * PAGE));
    close(fd);
    close(g);
    rig_stop(m);
}

static void dies_ext4(struct mount *m)
{
    dies(m, &small);
}

static void dies_xfs(struct mount *m)
{
    dies(m, &(struct loopfs){.type = "xfs", .mkfs = "mkfs.xfs -qf", .mib = 320});
}

/* The mount that the source is in is taken away: who has it open keeps it. */
static void detached(struct mount *m)
{
    loopfs_mount(m, &small);
    rig_start(m, NULL);
    make_source(m, "f", 1, 900);
    int fd = must_sys(open(rig_mnt(m, "f"), O_RDWR | O_CLOEXEC));
    file_fill(fd, 2, 0, 900);
    must_sys(umount2(rig_src(m, "."), MNT_DETACH));
    must_fail(access(rig_src(m, "f"), F_OK), ENOENT);
    must_sys(fsync(fd));
    file_drop(fd);
    file_check(fd, 2, 0, 900);
    rig_put(rig_mnt(m, "new"), "new");
    must(rig_same(rig_mnt(m, "new"), "new"));
    close(fd);
    rig_stop(m);
    loopfs_again(m, &small);
    must(rig_same(rig_src(m, "new"), "new"));
    check_source(m, "f", 2, 900);
    loopfs_unmount(m); /* the first mount is gone, too, or its device could not have been taken */
}

static void as_nobody(void *arg)
{
    struct mount *m = arg;
    must_fail(open(rig_mnt(m, "f"), O_RDONLY), EACCES);
}

/* The source is renamed, closed to others, and another directory takes its name. */
static void moved(struct mount *m)
{
    must_sys(chmod(m->dir, 0755));
    rig_start(m, "allow_other");
    rig_put(rig_src(m, "f"), "first");
    int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "f"), O_RDWR | O_CLOEXEC));
    file_pwrite(fd, "FIRST", 5, 0);
    shell(m, "mv $D/src $D/elsewhere; mkdir $D/src; echo impostor >$D/src/f");
    must_sys(fsync(fd));
    rig_put(rig_mnt(m, "g"), "second");
    must(rig_same(rig_mnt(m, "f"), "FIRST"));
    shell(m,
          "[ $(cat $D/elsewhere/f) = FIRST ]; [ $(cat $D/src/f) = impostor ]; no test -e $D/src/g;"
          "chmod 000 $D/elsewhere");
    usleep(1100000);
    rig_as(12345, 12345, 12345, as_nobody, m);
    must(rig_same(rig_mnt(m, "f"), "FIRST"));
    rig_stop(m);
    shell(m, "[ $(cat $D/elsewhere/g) = second ]");
}

static const struct mount_case cases[] = {
    {"read_error", read_error, {.unmounted = true}},
    {"read_transient", read_transient, {.unmounted = true}},
    {"write_error", write_error, {.unmounted = true}},
    {"sync_error", sync_error, {.unmounted = true}},
    {"write_broken", write_broken, {.swap = "64M", .unmounted = true}},
    {"write_recovers", write_recovers, {.unmounted = true}},
    {"full", full, {.swap = "64M", .unmounted = true}},
    {"full_stop", full_stop, {.unmounted = true}},
    {"dies_ext4", dies_ext4, {.swap = "64M", .unmounted = true}},
    {"dies_xfs", dies_xfs, {.swap = "64M", .unmounted = true}},
    {"detached", detached, {.unmounted = true}},
    {"moved", moved, {.unmounted = true}},
};

HARNESS_MAIN("vnode_errors", cases)
