/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attributes: modes, owners, times, extended attributes, permissions of other users, statfs.
 */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define OTHER 12345 /* a user who owns nothing */

static void enter(struct mount *m)
{
    umask(0);
    must_sys(chdir(m->anon));
}

static struct stat look(const char *name)
{
    struct stat st;
    must_sys(lstat(name, &st));
    return st;
}

static void make(const char *name, mode_t mode)
{
    int fd = must_sys(open(name, O_RDWR | O_CREAT | O_EXCL, mode));
    file_pwrite(fd, "text", 4, 0);
    close(fd);
}

static void modes(struct mount *m)
{
    enter(m);
    make("f", 0600);
    must_sys(chmod("f", 04755));
    must_int(look("f").st_mode & 07777, ==, 04755);
    must_sys(chown("f", 5, 6));
    must_int(look("f").st_uid, ==, 5);
    must_int(look("f").st_gid, ==, 6);
    must_int(look("f").st_mode & 07777, ==,
             0755); /* a new owner does not get the old one's rights */
    must_sys(chmod("f", 02755));
    must_sys(chown("f", (uid_t)-1, 7));
    must_int(look("f").st_uid, ==, 5);
    must_int(look("f").st_mode & 07777, ==, 0755);
    must_sys(mkdir("d", 0700));
    must_sys(chmod("d", 01777));
    must_int(look("d").st_mode & 07777, ==, 01777);
    must_fail(chmod("none", 0600), ENOENT);
    int fd = file_open("f", O_RDONLY);
    must_sys(fchmod(fd, 0444));
    must_int(look("f").st_mode & 07777, ==, 0444);
    close(fd);
}

static bool later(struct timespec a, struct timespec b)
{
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

/* Let the coarse clock of file times move on. */
static void tick(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void times(struct mount *m)
{
    struct timespec set[2] = {{1000000000, 123456789}, {1500000000, 987654321}};
    struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    struct stat a, b;

    enter(m);
    make("f", 0600);
    must_sys(utimensat(AT_FDCWD, "f", set, 0));
    a = look("f");
    must_int(a.st_atim.tv_sec, ==, 1000000000);
    must_int(a.st_atim.tv_nsec, ==, 123456789);
    must_int(a.st_mtim.tv_nsec, ==, 987654321);
    must_int(time(NULL) - a.st_ctim.tv_sec, <=, 5);
    must_sys(utimensat(AT_FDCWD, "f", omit, 0));
    b = look("f");
    must_int(b.st_atim.tv_sec, ==, 1000000000);
    must_int(time(NULL) - b.st_mtim.tv_sec, <=, 5);
    set[0].tv_sec = -100; /* before 1970 */
    must_sys(utimensat(AT_FDCWD, "f", set, 0));
    must_int(look("f").st_atim.tv_sec, ==, -100);

#define MOVES(what, action) \
    a = look("f");          \
    tick();                 \
    action;                 \
    b = look("f");          \
    must_msg(later(b.what, a.what), "%s does not move " #what, #action)
    int fd = file_open("f", O_RDWR);
    MOVES(st_mtim, file_pwrite(fd, "x", 1, 0));
    MOVES(st_ctim, file_pwrite(fd, "x", 1, 0));
    MOVES(st_mtim, must_sys(ftruncate(fd, 100)));
    MOVES(st_ctim, must_sys(fchmod(fd, 0640)));
    MOVES(st_ctim, must_sys(link("f", "g")));
    MOVES(st_ctim, must_sys(unlink("g")));
    MOVES(st_ctim, must_sys(rename("f", "r")); must_sys(rename("r", "f")));
    MOVES(st_ctim, must_sys(setxattr("f", "user.x", "1", 1, 0)));
    MOVES(st_mtim, must_sys(truncate("f", 50)));
    MOVES(st_mtim, close(must_sys(open("f", O_WRONLY | O_TRUNC))));
    char *map = file_map(fd, (must_sys(ftruncate(fd, PAGE)), 0), PAGE, PROT_READ | PROT_WRITE);
    MOVES(st_mtim, map[0] = 1; must_sys(msync(map, PAGE, MS_SYNC)); must_sys(fsync(fd)));
    close(fd);
#undef MOVES
    a = look(".");
    tick();
    make("new", 0600);
    must(later(look(".").st_mtim, a.st_mtim));
    a = look(".");
    tick();
    must_sys(unlink("new"));
    must(later(look(".").st_mtim, a.st_mtim));
}

static void xattrs(struct mount *m)
{
    char buf[70000], list[4096], name[300];

    enter(m);
    make("f", 0600);
    must_sys(setxattr("f", "user.one", "value", 5, XATTR_CREATE));
    must_fail(setxattr("f", "user.one", "value", 5, XATTR_CREATE), EEXIST);
    must_fail(setxattr("f", "user.two", "value", 5, XATTR_REPLACE), ENODATA);
    must_int(getxattr("f", "user.one", buf, sizeof(buf)), ==, 5);
    must(memcmp(buf, "value", 5) == 0);
    must_int(getxattr("f", "user.one", NULL, 0), ==, 5);
    must_fail(getxattr("f", "user.one", buf, 3), ERANGE);
    must_fail(getxattr("f", "user.none", buf, 3), ENODATA);
    must_sys(setxattr("f", "user.empty", "", 0, 0));
    must_int(getxattr("f", "user.empty", buf, sizeof(buf)), ==, 0);
    must_sys(setxattr("f", "trusted.t", "t", 1, 0));
    must_sys(setxattr("f", "security.s", "s", 1, 0));
    ssize_t n = must_sys(listxattr("f", list, sizeof(list)));
    unsigned found = 0;
    for (const char *p = list; p < list + n; p += strlen(p) + 1)
        found += !strcmp(p, "user.one") || !strcmp(p, "user.empty") || !strcmp(p, "trusted.t");
    must_int(found, ==, 3);
    memset(buf, 'v', sizeof(buf));
    must_sys(setxattr("f", "user.big", buf, 65536, 0));
    must_int(getxattr("f", "user.big", buf, sizeof(buf)), ==, 65536);
    must_fail(setxattr("f", "user.big", buf, 65537, 0), E2BIG);
    snprintf(name, sizeof(name), "user.%0250d", 1);
    must_sys(setxattr("f", name, "n", 1, 0));
    must_sys(removexattr("f", name));
    must_fail(removexattr("f", name), ENODATA);
    must_sys(removexattr("f", "user.big"));
    must_sys(link("f", "g"));
    must_int(getxattr("g", "user.one", buf, sizeof(buf)), ==, 5);
    must_sys(mkdir("d", 0700));
    must_sys(setxattr("d", "user.dir", "x", 1, 0));
    must_int(getxattr("d", "user.dir", buf, sizeof(buf)), ==, 1);
}

static void as_other(void *arg)
{
    char buf[8];

    must_sys(setgroups(0, NULL));
    must_sys(setresgid(OTHER, OTHER, OTHER));
    must_sys(setresuid(OTHER, OTHER, OTHER));
    umask(0);
    must_fail(open("private", O_RDONLY), EACCES);
    must_fail(open("readable", O_WRONLY), EACCES);
    int fd = must_sys(open("readable", O_RDONLY));
    must_int(read(fd, buf, 4), ==, 4);
    must_fail(fchmod(fd, 0777), EPERM);
    must_fail(fchown(fd, OTHER, OTHER), EPERM);
    close(fd);
    must_fail(open("closed/f", O_RDONLY), EACCES);
    must_fail(open("closed/n", O_WRONLY | O_CREAT, 0600), EACCES);
    must_fail(unlink("readable"), EPERM); /* anon/ is sticky */
    must_fail(rename("readable", "mine"), EPERM);
    must_fail(setxattr("readable", "user.x", "x", 1, 0), EACCES);
    must_fail(truncate("readable", 0), EACCES);
    fd = must_sys(open("mine", O_RDWR | O_CREAT | O_EXCL, 0600));
    file_pwrite(fd, "x", 1, 0);
    must_int(look("mine").st_uid, ==, OTHER);
    must_fail(chown("mine", 0, (gid_t)-1), EPERM);
    must_sys(chmod("mine", 0400));
    file_pwrite(fd, "y", 1, 0); /* it is open already */
    must_fail(open("mine", O_WRONLY), EACCES);
    close(fd);
    must_sys(mkdir("mydir", 0700));
    fd = must_sys(open("setuid", O_WRONLY)); /* writing takes the set-uid bit away */
    file_pwrite(fd, "z", 1, 0);
    close(fd);
    must_int(look("setuid").st_mode & 07777, ==, 0777);
    must_sys(unlink("mine"));
}

static void permissions(struct mount *m)
{
    enter(m);
    make("private", 0600);
    make("readable", 0644);
    make("setuid", 0600);
    must_sys(chmod("setuid", 04777));
    must_sys(mkdir("closed", 0700));
    make("closed/f", 0666);
    client_run(as_other, NULL, 20);
    must_sys(rmdir("mydir"));
    must_sys(unlink("private"));
}

static void not_root(void *arg)
{
    must_sys(setgroups(0, NULL));
    must_sys(setresgid(OTHER, OTHER, OTHER));
    must_sys(setresuid(OTHER, OTHER, OTHER));
    must_fail(open(arg, O_RDONLY), EACCES);
}

/* Without allow_other, the mount is its owner's alone. */
static void owner_only(struct mount *m)
{
    if (!m->foreign)
        client_run(not_root, m->anon, 10);
}

static void space(struct mount *m)
{
    struct statvfs st, now;
    char page[PAGE] = "x";

    enter(m);
    must_sys(statvfs(".", &st));
    must_int(st.f_bsize, ==, PAGE);
    must_int(st.f_namemax, ==, 255);
    must_int(st.f_blocks, >, 0);
    must_int(st.f_bavail, <=, st.f_blocks);
    must_int(st.f_ffree, >, 0);
    int fd = file_open("f", O_RDWR | O_CREAT);
    for (unsigned i = 0; i < 100; i++)
        file_pwrite(fd, page, PAGE, (off_t)i * 2 * PAGE);
    must_int(look("f").st_blocks, ==, 100 * 8);
    must_int(look("f").st_size, ==, 199 * PAGE);
    must_sys(statvfs(".", &now));
    must_int(st.f_bavail - now.f_bavail, >=, 100);
    must_int(st.f_bavail - now.f_bavail, <=, 400);
    must_sys(ftruncate(fd, 0));
    must_int(look("f").st_blocks, ==, 0);
    must_sys(statvfs(".", &now));
    must_int(now.f_bavail, ==, st.f_bavail);
    close(fd);
}

static const struct mount_case cases[] = {
    {"modes", modes, {0}},           {"times", times, {0}},
    {"xattrs", xattrs, {0}},         {"permissions", permissions, {.more = "allow_other"}},
    {"owner_only", owner_only, {0}}, {"space", space, {.swap = "16M"}},
};

HARNESS_MAIN("attrs", cases)
