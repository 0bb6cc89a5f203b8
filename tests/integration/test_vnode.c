/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vnode/: what clients do to files is on the source, what happens to the source is seen by clients, and
 * names, links and handles are those of a file system.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "daemon/util.h"
#include "vnode_rig.h"

static struct stat stat_of(const char *path)
{
    struct stat st;
    must_sys(lstat(path, &st));
    return st;
}

/* Every page of a file on the source, or through the mount. */
static void check_file(const char *path, uint64_t seed, uint64_t npages)
{
    int fd CLEANUP_CLOSE = must_sys(open(path, O_RDONLY | O_CLOEXEC));
    file_check(fd, seed, 0, npages);
}

/* What is stored through a mapping and fsync'd is on the source, byte for byte. */
static void edit(struct mount *m)
{
    const uint64_t n = 5000; /* more than fits into memory */

    rig_start(m, NULL);
    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, (off_t)(n * PAGE) + 100));
    file_fill(fd, 7, 0, n);
    file_pwrite(fd, "tail", 4, (off_t)(n * PAGE) + 96);
    must_sys(fsync(fd));
    must_int(stat_of(rig_src(m, "f")).st_size, ==, n * PAGE + 100);
    check_file(rig_src(m, "f"), 7, n);
    file_drop(fd);
    file_check(fd, 7, 0, n);
    char tail[4];
    must_int(file_pread(fd, tail, 4, (off_t)(n * PAGE) + 96), ==, 4);
    must(memcmp(tail, "tail", 4) == 0);
    rig_stop(m);
}

/* Without fsync too, once the daemon has stopped. */
static void stop_writes(struct mount *m)
{
    rig_start(m, NULL);
    {
        int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
        must_sys(ftruncate(fd, 900 * PAGE));
        file_fill(fd, 3, 0, 900);
    }
    rig_stop(m);
    check_file(rig_src(m, "f"), 3, 900);
}

static void kill_after_fsync(struct mount *m)
{
    rig_start(m, NULL);
    int fd = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 700 * PAGE));
    file_fill(fd, 9, 0, 700);
    must_sys(fsync(fd));
    rig_kill(m);
    close(fd);
    check_file(rig_src(m, "f"), 9, 700);
}

/* Somebody else changes the file: the next open has it, also while another has it open. */
static void foreign(struct mount *m)
{
    rig_start(m, NULL);
    rig_put(rig_src(m, "f"), "first");
    must(rig_same(rig_mnt(m, "f"), "first"));
    rig_put(rig_src(m, "f"), "secon"); /* the same size */
    must(rig_same(rig_mnt(m, "f"), "secon"));
    rig_put(rig_src(m, "f"), "longer than that");
    must(rig_same(rig_mnt(m, "f"), "longer than that"));
    rig_put(rig_src(m, "f"), "short");
    must(rig_same(rig_mnt(m, "f"), "short"));

    int held CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "f"), O_RDONLY | O_CLOEXEC));
    char *map = file_map(held, 0, PAGE, PROT_READ);
    must(memcmp(map, "short", 5) == 0);
    rig_put(rig_src(m, "f"), "SHORT");
    must(rig_same(rig_mnt(m, "f"), "SHORT"));
    must(memcmp(map, "SHORT", 5) == 0);
    must_sys(munmap(map, PAGE));

    /* And whoever only asks how long it is by now, as tail -f does. */
    rig_put(rig_src(m, "f"), "SHORT and more");
    struct stat st = {0};
    for (double end = client_now() + 10; st.st_size != 14 && client_now() < end; client_pause())
        must_sys(fstat(held, &st));
    must_int(st.st_size, ==, 14);
    char more[9];
    must_int(file_pread(held, more, 9, 5), ==, 9);
    must(memcmp(more, " and more", 9) == 0);

    /* Our own changes are not somebody else's: what was stored is there, and so is its time. */
    rig_put(rig_mnt(m, "f"), "ours");
    must(rig_same(rig_mnt(m, "f"), "ours"));
    rig_stop(m);
    must(rig_same(rig_src(m, "f"), "ours"));
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* The time of modification is that of the write, not of the page-out; and utimens has the last word. */
static void times(struct mount *m)
{
    const struct timespec set[2] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = 2000, .tv_nsec = 2}};

    rig_start(m, NULL);
    rig_put(rig_mnt(m, "w"), "written");
    rig_put(rig_mnt(m, "s"), "set");
    must_sys(utimensat(AT_FDCWD, rig_mnt(m, "s"), set, 0));
    /* The time of change is known as long as the kernel knows the file. */
    int known CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "w"), O_PATH | O_CLOEXEC));
    struct stat w, now;
    must_sys(fstat(known, &w));
    usleep(20000); /* the clock of file times has moved on */
    for (int i = 0; i < 2; i++) {
        int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, i ? "s" : "w"), O_RDONLY | O_CLOEXEC));
        must_sys(fsync(fd));
    }
    usleep(1100000); /* what the kernel knows of attributes is no longer good */
    must_sys(fstat(known, &now));
    must(same_time(now.st_mtim, w.st_mtim));
    must(same_time(now.st_ctim, w.st_ctim));
    must(same_time(stat_of(rig_mnt(m, "s")).st_mtim, set[1]));
    rig_stop(m);
    must(same_time(stat_of(rig_src(m, "w")).st_mtim, w.st_mtim));
    must(same_time(stat_of(rig_src(m, "s")).st_mtim, set[1]));
}

/* A file without a name lives on for who has it open or mapped, and is gone afterwards. */
static void unlinked(struct mount *m)
{
    rig_start(m, NULL);
    int fd = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 300 * PAGE));
    file_fill(fd, 5, 0, 300);
    must_sys(unlink(rig_mnt(m, "f")));
    must_fail(access(rig_src(m, "f"), F_OK), ENOENT);
    file_drop(fd);
    file_check(fd, 5, 0, 300);
    must_sys(ftruncate(fd, 400 * PAGE));
    file_fill(fd, 6, 0, 400);
    must_sys(fsync(fd));
    struct stat st;
    must_sys(fstat(fd, &st));
    must_int(st.st_nlink, ==, 0);
    must_int(st.st_size, ==, 400 * PAGE);
    must_sys(fchmod(fd, 0600));
    file_check(fd, 6, 0, 400);
    close(fd);

    /* A directory that somebody is in. */
    must_sys(mkdir(rig_mnt(m, "d"), 0755));
    int dir CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "d"), O_PATH | O_DIRECTORY));
    must_sys(rmdir(rig_mnt(m, "d")));
    must_fail(openat(dir, "x", O_RDWR | O_CREAT, 0644), ENOENT);
    must_sys(fstat(dir, &st));
    rig_stop(m);
}

static void links(struct mount *m)
{
    rig_start(m, NULL);
    rig_put(rig_mnt(m, "a"), "one");
    must_sys(link(rig_mnt(m, "a"), rig_mnt(m, "b")));
    must_sys(link(rig_src(m, "a"), rig_src(m, "c")));
    struct stat a = stat_of(rig_mnt(m, "a")), b = stat_of(rig_mnt(m, "b"));
    must_int(a.st_ino, ==, b.st_ino);
    must_int(a.st_ino, ==, stat_of(rig_mnt(m, "c")).st_ino);
    must_int(b.st_nlink, >=, 2);

    int fa CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "a"), O_RDWR | O_CLOEXEC));
    int fc CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "c"), O_RDWR | O_CLOEXEC));
    char *ma = file_map(fa, 0, PAGE, PROT_READ | PROT_WRITE),
         *mc = file_map(fc, 0, PAGE, PROT_READ);
    memcpy(ma, "two", 3);
    must(memcmp(mc, "two", 3) == 0);
    must_sys(unlink(rig_mnt(m, "a")));
    must_sys(msync(ma, PAGE, MS_SYNC));
    must(rig_same(rig_src(m, "b"), "two"));

    must_sys(symlink("b", rig_mnt(m, "l")));
    must_sys(linkat(AT_FDCWD, rig_mnt(m, "l"), AT_FDCWD, rig_mnt(m, "l2"), 0));
    must(S_ISLNK(stat_of(rig_src(m, "l2")).st_mode));
    must(rig_same(rig_mnt(m, "l2"), "two"));
    rig_stop(m);
}

static void rename_over(struct mount *m)
{
    char path[PATH_MAX];

    rig_start(m, NULL);
    rig_put(rig_mnt(m, "old"), "old bytes");
    rig_put(rig_mnt(m, "new"), "new bytes");
    int old CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "old"), O_RDWR | O_CLOEXEC));
    char *map = file_map(old, 0, PAGE, PROT_READ | PROT_WRITE);
    memcpy(map, "OLD", 3);
    must_sys(rename(rig_mnt(m, "new"), rig_mnt(m, "old")));
    must_sys(msync(map, PAGE, MS_SYNC));
    must(memcmp(map, "OLD bytes", 9) == 0);
    must(rig_same(rig_mnt(m, "old"), "new bytes"));
    must_sys(fsync(old));
    /* What replaces a file is written long before it is old. */
    for (double end = client_now() + 3; !rig_same(rig_src(m, "old"), "new bytes"); client_pause())
        must(client_now() < end);

    /* A source that is changed in the same way, under a file that is open here. */
    int held CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "old"), O_RDONLY | O_CLOEXEC));
    rig_put(rig_src(m, "newer"), "newer bytes");
    must_sys(rename(rig_src(m, "newer"), rig_src(m, "old")));
    usleep(1100000);
    must(rig_same(rig_mnt(m, "old"), "newer bytes"));
    char bytes[9];
    must_int(file_pread(held, bytes, 9, 0), ==, 9);
    must(memcmp(bytes, "new bytes", 9) == 0);
    must_sys(fchmod(held, 0600));

    rig_put(rig_mnt(m, "x"), "x");
    must_sys(renameat2(AT_FDCWD, rig_mnt(m, "x"), AT_FDCWD, rig_mnt(m, "old"), RENAME_EXCHANGE));
    must(rig_same(rig_mnt(m, "old"), "x"));
    must_fail(renameat2(AT_FDCWD, rig_mnt(m, "x"), AT_FDCWD, rig_mnt(m, "old"), RENAME_NOREPLACE),
              EEXIST);
    must_fail(rename(rig_mnt(m, "x"), mount_path(m, path, "x")), EXDEV);
    rig_stop(m);
}

/* Sizes: cut in the middle of a page under a mapping, grown again: zeroes, here and on the source. */
static void sizes(struct mount *m)
{
    char page[PAGE] = {0};

    rig_start(m, NULL);
    int fd CLEANUP_CLOSE = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, 64 * PAGE));
    char *map = file_map(fd, 0, 64 * PAGE, PROT_READ | PROT_WRITE);
    memset(map, 'x', 64 * PAGE);
    must_sys(ftruncate(fd, 10 * PAGE + 10));
    must_int(stat_of(rig_src(m, "f")).st_size, ==, 10 * PAGE + 10);
    must_sys(ftruncate(fd, 20 * PAGE));
    for (int i = 0; i < 2; i++) {
        must(map[10 * PAGE + 9] == 'x' && map[10 * PAGE + 10] == 0);
        must(memcmp(map + 11 * PAGE, page, PAGE) == 0);
        must_sys(msync(map, 20 * PAGE, MS_SYNC));
        must_sys(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    }
    int src CLEANUP_CLOSE = must_sys(open(rig_src(m, "f"), O_RDONLY | O_CLOEXEC));
    must_int(file_pread(src, page, PAGE, 10 * PAGE), ==, PAGE);
    must(page[9] == 'x' && page[10] == 0 && page[PAGE - 1] == 0);
    memset(page, 0, PAGE);
    must_int(stat_of(rig_src(m, "f")).st_size, ==, 20 * PAGE);

    /* A hole punched across pages that are in memory; the rest stays. */
    memset(map, 'y', 20 * PAGE);
    must_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 3 * PAGE));
    must(map[99] == 'y' && map[100] == 0 && map[3 * PAGE + 99] == 0 && map[3 * PAGE + 100] == 'y');
    must(memcmp(map + PAGE, page, PAGE) == 0);
    must_int(lseek(fd, PAGE, SEEK_DATA), ==, 3 * PAGE);
    must_int(lseek(fd, 0, SEEK_HOLE), ==, PAGE);
    must_int(lseek(fd, 4 * PAGE, SEEK_HOLE), ==, 20 * PAGE);
    must_sys(fallocate(fd, 0, 20 * PAGE, PAGE + 1));
    must_int(stat_of(rig_mnt(m, "f")).st_size, ==, 21 * PAGE + 1);
    must_sys(fallocate(fd, FALLOC_FL_ZERO_RANGE, 5 * PAGE + 1, PAGE));
    must(map[5 * PAGE] == 'y' && map[5 * PAGE + 1] == 0 && map[6 * PAGE + 1] == 'y');
    must_fail(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE), EOPNOTSUPP);

    /* What has been stored through the mapping is no hole, though the kernel has told nobody yet. */
    must_sys(ftruncate(fd, 50 * PAGE));
    map[40 * PAGE] = 'z';
    must_int(lseek(fd, 30 * PAGE, SEEK_DATA), ==, 40 * PAGE);
    must_int(lseek(fd, 40 * PAGE, SEEK_HOLE), ==, 41 * PAGE);

    /* By name, with nobody having it open; and O_TRUNC. */
    rig_put(rig_mnt(m, "g"), "0123456789");
    must_sys(truncate(rig_mnt(m, "g"), 4));
    must(rig_same(rig_mnt(m, "g"), "0123"));
    rig_put(rig_mnt(m, "g"), "abc");
    must_int(stat_of(rig_mnt(m, "g")).st_size, ==, 3);

    /* By name, under somebody who has it open only to read: the rest of the last page is written. */
    rig_put(rig_src(m, "h"), "0123456789");
    int reader CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "h"), O_RDONLY | O_CLOEXEC));
    must_int(file_pread(reader, page, 10, 0), ==, 10);
    must_sys(truncate(rig_mnt(m, "h"), 4));
    must_sys(truncate(rig_mnt(m, "h"), 8));
    must_int(file_pread(reader, page, 10, 0), ==, 8);
    must(memcmp(page, "0123\0\0\0\0", 8) == 0);
    must_sys(fsync(reader));
    mount_settle(m, "vndirty", 0);
    rig_stop(m);
    must(rig_same(rig_src(m, "g"), "abc"));
}

/* The pages that were to make the file longer are dropped before they are written: it gets its size. */
static void punched_end(struct mount *m)
{
    static const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
    char page[4 * PAGE];
    struct stat st;

    rig_start(m, NULL);
    memset(page, 'x', sizeof(page));
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        int fd = must_sys(open(rig_mnt(m, "end%u", i), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
        file_pwrite(fd, page, sizeof(page), 0);
        must_sys(fallocate(fd, modes[i], PAGE, 3 * PAGE));
        must_sys(fsync(fd));
        must_sys(close(fd));
        must_sys(stat(rig_src(m, "end%u", i), &st));
        must_int(st.st_size, ==, sizeof(page));
        must_sys(stat(rig_mnt(m, "end%u", i), &st));
        must_int(st.st_size, ==, sizeof(page));
    }
    rig_stop(m);
}

static void xattrs(struct mount *m)
{
    char value[70000], list[200];

    rig_start(m, NULL);
    rig_put(rig_mnt(m, "f"), "f");
    must_sys(setxattr(rig_mnt(m, "f"), "user.a", "value", 5, XATTR_CREATE));
    must_fail(setxattr(rig_mnt(m, "f"), "user.a", "value", 5, XATTR_CREATE), EEXIST);
    must_int(getxattr(rig_src(m, "f"), "user.a", value, sizeof(value)), ==, 5);
    must_sys(setxattr(rig_src(m, "f"), "user.b", "", 0, 0));
    must_int(getxattr(rig_mnt(m, "f"), "user.b", value, sizeof(value)), ==, 0);
    must_int(getxattr(rig_mnt(m, "f"), "user.a", NULL, 0), ==, 5);
    must_fail(getxattr(rig_mnt(m, "f"), "user.a", value, 2), ERANGE);
    must_int(listxattr(rig_mnt(m, "f"), list, sizeof(list)), >=, 14);
    must_sys(setxattr(rig_mnt(m, "f"), "trusted.t", "t", 1, 0));
    must_int(getxattr(rig_src(m, "f"), "trusted.t", value, sizeof(value)), ==, 1);
    must_sys(removexattr(rig_mnt(m, "f"), "user.a"));
    must_fail(getxattr(rig_mnt(m, "f"), "user.a", value, sizeof(value)), ENODATA);
    must_sys(symlink("f", rig_mnt(m, "l")));
    must_sys(lsetxattr(rig_mnt(m, "l"), "trusted.l", "l", 1, 0));
    must_int(lgetxattr(rig_src(m, "l"), "trusted.l", value, sizeof(value)), ==, 1);
    must_fail(getxattr(rig_src(m, "f"), "trusted.l", value, sizeof(value)), ENODATA);
    rig_stop(m);
}

#define NAMES 10000

/* Each name once, whatever the size of replies; and so when they are removed on the way. */
static void many_names(struct mount *m)
{
    static bool seen[NAMES];
    unsigned n = 0, i;

    rig_start(m, NULL);
    must_sys(mkdir(rig_src(m, "d"), 0755));
    for (i = 0; i < NAMES; i++)
        must_sys(mknod(rig_src(m, "d/name-%u", i), S_IFREG | 0644, 0));
    for (int remove = 0; remove < 2; remove++) {
        DIR *dir = opendir(rig_mnt(m, "d"));
        const struct dirent *ent;
        must(dir);
        memset(seen, 0, sizeof(seen));
        for (n = 0; (ent = readdir(dir));) {
            if (ent->d_name[0] == '.')
                continue;
            must(sscanf(ent->d_name, "name-%u", &i) == 1 && i < NAMES && !seen[i]);
            seen[i] = true;
            n++;
            if (remove)
                must_sys(unlinkat(dirfd(dir), ent->d_name, 0));
            else if (i % 100 == 0)
                must_int(ent->d_ino, ==, stat_of(rig_mnt(m, "d/name-%u", i)).st_ino);
        }
        must_sys(closedir(dir));
        must_int(n, ==, NAMES);
    }
    must_sys(rmdir(rig_mnt(m, "d")));
    must_fail(access(rig_src(m, "d"), F_OK), ENOENT);
    rig_stop(m);
}

/* Descriptors of the daemon's in the source, that of the source itself apart. */
static unsigned count_descriptors(const struct mount *m)
{
    char path[64], target[PATH_MAX + 1];
    const char *below = rig_src(m, "%s", "");
    struct dirent *ent;
    unsigned n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)m->daemon);
    DIR *dir = opendir(path);
    must(dir);
    while ((ent = readdir(dir))) {
        ssize_t len = readlinkat(dirfd(dir), ent->d_name, target, PATH_MAX);
        target[MAX(len, 0)] = '\0';
        n += strncmp(target, below, strlen(below)) == 0;
    }
    closedir(dir);
    return n;
}

/* Files that are only known cost no descriptors, nor do those that have been closed and written. */
static void few_descriptors(struct mount *m)
{
    const struct rlimit few = {.rlim_cur = 100, .rlim_max = 100};
    unsigned i;

    must_sys(setrlimit(RLIMIT_NOFILE, &few));
    rig_start(m, NULL);
    for (i = 0; i < 3000; i++)
        rig_put(rig_src(m, "f%u", i), "content");
    for (i = 0; i < 3000; i++)
        must_int(stat_of(rig_mnt(m, "f%u", i)).st_size, ==, 7);
    for (i = 0; i < 3000; i += 7)
        must(rig_same(rig_mnt(m, "f%u", i), "content"));
    rig_put(rig_mnt(m, "f1"), "written");
    for (i = 1000; i < 1100; i++) { /* read-ahead goes on when the file is closed */
        static char some[64 * PAGE];
        must_sys(truncate(rig_src(m, "f%u", i), 8 * MIB));
        int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "f%u", i), O_RDONLY | O_CLOEXEC));
        must_int(read(fd, some, PAGE), ==, PAGE);
        must_int(read(fd, some, sizeof(some)), ==, sizeof(some));
    }
    must_int(count_descriptors(m), >, 0); /* of f1, which is dirty */
    for (double end = client_now() + 20; count_descriptors(m); client_pause())
        must_msg(client_now() < end, "%u descriptors", count_descriptors(m));
    rig_stop(m);
    must(rig_same(rig_src(m, "f1"), "written"));
}

/* A source that would have the daemon wait for itself. */
static void refused(struct mount *m)
{
    static const struct {
        const char *source, *says;
    } bad[] = {
        {"none", "No such file"}, {"file", "ot a directory"},   {"", "mount point"},
        {"mnt", "mount point"},   {"mnt/below", "mount point"},
    };
    char options[PATH_MAX * 3], path[PATH_MAX], out[2000];

    snprintf(path, sizeof(path), "%s/file", m->dir);
    rig_put(path, "no directory");
    snprintf(path, sizeof(path), "%s/mnt/below", m->dir);
    must_sys(mkdir(path, 0755));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(options, sizeof(options), "memory=8M,socket=%s,statedir=%s,source=%s/%s",
                 m->socket, m->state, m->dir, bad[i].source);
        char *argv[] = {NULL, (char[]){"-o"}, options, m->mountpoint, NULL};
        int status = mount_run(m, argv, out, sizeof(out), 20);
        must_msg(status == 1, "source=%s: status %d: %s", bad[i].source, status, out);
        must_msg(strstr(out, "source") && strstr(out, bad[i].says) &&
                     strchr(out, '\n') == out + strlen(out) - 1,
                 "source=%s says: %s", bad[i].source, out);
    }
    must_sys(rmdir(path));
}

/* The mount shown below its own source is not looked into, by name or by list. */
static void own_mount(struct mount *m)
{
    struct dirent *ent;
    unsigned n = 0;

    rig_start(m, NULL);
    must_sys(mkdir(rig_src(m, "loop"), 0755));
    must_sys(mkdir(rig_src(m, "other"), 0755));
    must_sys(mount(m->mountpoint, rig_src(m, "loop"), NULL, MS_BIND, NULL));
    must_sys(mount("none", rig_src(m, "other"), "tmpfs", 0, "size=1M"));
    must_fail(access(rig_mnt(m, "loop"), F_OK), ELOOP);
    DIR *dir = opendir(rig_mnt(m, "."));
    must(dir);
    while ((ent = readdir(dir)))
        n++;
    closedir(dir);
    must_int(n, ==, 4);
    /* Another file system below is no trouble. */
    rig_put(rig_mnt(m, "other/f"), "elsewhere");
    must(rig_same(rig_mnt(m, "other/f"), "elsewhere"));
    must_fail(rename(rig_mnt(m, "other/f"), rig_mnt(m, "f")), EXDEV);
    int fd = must_sys(open(rig_mnt(m, "other/f"), O_RDONLY | O_CLOEXEC));
    must_sys(fsync(fd));
    close(fd);
    must(rig_same(rig_src(m, "other/f"), "elsewhere"));
    must_sys(umount2(rig_src(m, "loop"), MNT_DETACH));
    must_sys(umount2(rig_src(m, "other"), MNT_DETACH));
    rig_stop(m);
}

/* No room on the source: fsync says so each time, what was stored stays, and can be saved or dropped. */
static void full(struct mount *m)
{
    const uint64_t n = 512, more = 1024; /* pages: that fit, and that do not */

    must_sys(mkdir(rig_src(m, "%s", ""), 0755));
    must_sys(mount("none", rig_src(m, "%s", ""), "tmpfs", 0, "size=3M"));
    rig_start(m, "memory=32M");
    int fd = file_open(rig_mnt(m, "f"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, (off_t)((n + more) * PAGE)));
    file_fill(fd, 4, 0, n + more);
    must_fail(fsync(fd), ENOSPC);
    must_fail(fsync(fd), ENOSPC);
    file_check(fd, 4, 0, n + more);
    must_sys(ftruncate(fd, (off_t)(n * PAGE)));
    if (fsync(fd)) /* of an attempt of write-behind since the last one */
        must_sys(fsync(fd));
    close(fd);
    check_file(rig_src(m, "f"), 4, n);

    fd = file_open(rig_mnt(m, "g"), O_RDWR | O_CREAT | O_EXCL);
    must_sys(ftruncate(fd, (off_t)(more * PAGE)));
    file_fill(fd, 5, 0, more);
    must_fail(fsync(fd), ENOSPC);
    close(fd);
    must_sys(unlink(rig_mnt(m, "g")));
    mount_settle(m, "vndirty", 0);
    rig_stop(m);
    must_sys(umount2(rig_src(m, "%s", ""), MNT_DETACH));
}

static const struct mount_case cases[] = {
    {"edit", edit, {.unmounted = true}},
    {"stop_writes", stop_writes, {.unmounted = true}},
    {"kill_after_fsync", kill_after_fsync, {.unmounted = true}},
    {"foreign", foreign, {.unmounted = true}},
    {"times", times, {.unmounted = true}},
    {"unlinked", unlinked, {.unmounted = true}},
    {"links", links, {.unmounted = true}},
    {"rename_over", rename_over, {.unmounted = true}},
    {"sizes", sizes, {.unmounted = true}},
    {"punched_end", punched_end, {.unmounted = true}},
    {"xattrs", xattrs, {.unmounted = true}},
    {"many_names", many_names, {.unmounted = true}},
    {"few_descriptors", few_descriptors, {.unmounted = true}},
    {"refused", refused, {.unmounted = true}},
    {"own_mount", own_mount, {.unmounted = true}},
    {"full", full, {.unmounted = true}},
};

HARNESS_MAIN("vnode", cases)
