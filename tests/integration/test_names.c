/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names: making, linking, renaming and removing everything a tree can hold, as on a tmpfs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

static void enter(struct mount *m)
{
    umask(0);
    must_sys(chdir(m->anon));
}

static void make(const char *name, const char *text)
{
    int fd = file_open(name, O_WRONLY | O_CREAT | O_EXCL);
    file_pwrite(fd, text, strlen(text), 0);
    close(fd);
}

static void holds(const char *name, const char *text)
{
    char buf[64];
    int fd = file_open(name, O_RDONLY);
    size_t n = file_pread(fd, buf, sizeof(buf), 0);
    must_msg(n == strlen(text) && memcmp(buf, text, n) == 0, "%s holds %.*s, want %s", name, (int)n,
             buf, text);
    close(fd);
}

static nlink_t links(const char *name)
{
    struct stat st;
    must_sys(lstat(name, &st));
    return st.st_nlink;
}

static ino_t number(const char *name)
{
    struct stat st;
    must_sys(lstat(name, &st));
    return st.st_ino;
}

static void create(struct mount *m)
{
    struct stat st;
    char name[300];

    enter(m);
    int fd = must_sys(open("f", O_RDWR | O_CREAT | O_EXCL, 0640));
    must_sys(fstat(fd, &st));
    must(S_ISREG(st.st_mode));
    must_int(st.st_mode & 07777, ==, 0640);
    must_int(st.st_nlink, ==, 1);
    must_int(st.st_size, ==, 0);
    must_int(st.st_blocks, ==, 0);
    must_int(st.st_uid, ==, geteuid());
    close(fd);
    must_fail(open("f", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    must_fail(open("none", O_RDWR), ENOENT);
    must_fail(open("none/f", O_RDWR | O_CREAT, 0600), ENOENT);
    must_fail(open("f/f", O_RDWR | O_CREAT, 0600), ENOTDIR);
    must_fail(open(".", O_RDWR), EISDIR);
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    make(name, "longest");
    holds(name, "longest");
    must_sys(unlink(name));
    name[255] = 'n';
    name[256] = '\0';
    must_fail(open(name, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
    make("\xff\xfe \n", "any bytes");
    holds("\xff\xfe \n", "any bytes");

    umask(027);
    close(must_sys(open("masked", O_RDWR | O_CREAT, 0666)));
    must_sys(stat("masked", &st));
    must_int(st.st_mode & 07777, ==, 0640);
    umask(0);

    fd = must_sys(open("f", O_RDWR));
    file_pwrite(fd, "12345", 5, 0);
    close(must_sys(open("f", O_WRONLY | O_TRUNC)));
    must_sys(fstat(fd, &st));
    must_int(st.st_size, ==, 0);
    close(fd);
}

static void directories(struct mount *m)
{
    struct stat st;

    enter(m);
    nlink_t before = links(".");
    must_sys(mkdir("d", 0751));
    must_sys(stat("d", &st));
    must(S_ISDIR(st.st_mode));
    must_int(st.st_mode & 07777, ==, 0751);
    must_int(st.st_nlink, ==, 2);
    must_int(links("."), ==, before + 1);
    must_fail(mkdir("d", 0700), EEXIST);
    must_sys(mkdir("d/e", 0700));
    must_int(links("d"), ==, 3);
    must_fail(rmdir("d"), ENOTEMPTY);
    must_fail(unlink("d"), EISDIR);
    make("d/f", "x");
    must_fail(rmdir("d/f"), ENOTDIR);
    must_sys(rmdir("d/e"));
    must_int(links("d"), ==, 2);
    must_fail(rmdir("d"), ENOTEMPTY);
    must_fail(rmdir("d/."), EINVAL);
    must_sys(unlink("d/f"));

    int fd = must_sys(open("d", O_RDONLY | O_DIRECTORY)); /* removed while open */
    must_sys(rmdir("d"));
    must_int(links("."), ==, before);
    must_sys(fstat(fd, &st));
    must_int(st.st_nlink, ==, 0);
    must_fail(openat(fd, "f", O_RDWR | O_CREAT, 0600), ENOENT);
    must_fail(mkdirat(fd, "e", 0700), ENOENT);
    close(fd);

    must_sys(mkdir("deep", 0700));
    must_sys(chdir("deep"));
    for (unsigned i = 0; i < 100; i++) {
        must_sys(mkdir("deep", 0700));
        must_sys(chdir("deep"));
    }
    for (unsigned i = 0; i < 100; i++) {
        must_sys(chdir(".."));
        must_sys(rmdir("deep"));
    }
    must_sys(chdir(".."));
    must_sys(mkdir("g", 02755)); /* group of a set-gid directory */
    must_sys(chown("g", (uid_t)-1, 1234));
    must_sys(chmod("g", 02755));
    make("g/f", "");
    must_sys(stat("g/f", &st));
    must_int(st.st_gid, ==, 1234);
    must_sys(mkdir("g/d", 0700));
    must_sys(stat("g/d", &st));
    must_int(st.st_gid, ==, 1234);
    must(st.st_mode & S_ISGID);
}

static void hard_links(struct mount *m)
{
    enter(m);
    make("a", "one");
    must_sys(link("a", "b"));
    must_int(links("a"), ==, 2);
    must_int(number("a"), ==, number("b"));
    must_fail(link("a", "b"), EEXIST);
    must_sys(mkdir("d", 0700));
    must_fail(link("d", "e"), EPERM);
    must_sys(link("b", "d/c"));
    must_sys(unlink("a"));
    must_int(links("b"), ==, 2);
    holds("d/c", "one");
    int fd = file_open("b", O_RDWR);
    must_sys(unlink("b"));
    must_sys(unlink("d/c"));
    struct stat st;
    must_sys(fstat(fd, &st));
    must_int(st.st_nlink, ==, 0);
    file_pwrite(fd, "two", 3, 0);
    char buf[8];
    must_int(file_pread(fd, buf, 8, 0), ==, 3);
    must(memcmp(buf, "two", 3) == 0);
    close(fd);
}

static void symlinks(struct mount *m)
{
    char target[4096], buf[5000];
    struct stat st;

    enter(m);
    make("file", "text");
    must_sys(symlink("file", "l"));
    holds("l", "text");
    must_int(readlink("l", buf, sizeof(buf)), ==, 4);
    must_sys(lstat("l", &st));
    must(S_ISLNK(st.st_mode));
    must_int(st.st_size, ==, 4);
    must_fail(symlink("x", "l"), EEXIST);
    must_fail(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
    must_sys(symlink("loop", "loop"));
    must_fail(open("loop", O_RDONLY), ELOOP);
    must_sys(symlink("nowhere", "dangling"));
    must_fail(open("dangling", O_RDONLY), ENOENT);
    memset(target, 't', sizeof(target));
    target[4095] = '\0';
    must_sys(symlink(target, "long"));
    must_int(readlink("long", buf, sizeof(buf)), ==, 4095);
    must(memcmp(buf, target, 4095) == 0);
    must_sys(lchown("l", 77, 78));
    must_sys(lstat("l", &st));
    must_int(st.st_uid, ==, 77);
    must_sys(stat("l", &st));
    must_int(st.st_uid, ==, 0);
    must_sys(unlink("l"));
    holds("file", "text");
}

static void special(struct mount *m)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "sock"};
    struct stat st;
    char c = 0;

    enter(m);
    must_sys(mkfifo("fifo", 0600));
    must_sys(stat("fifo", &st));
    must(S_ISFIFO(st.st_mode));
    int fd = must_sys(open("fifo", O_RDWR));
    must_int(write(fd, "f", 1), ==, 1);
    must_int(read(fd, &c, 1), ==, 1);
    must_int(c, ==, 'f');
    close(fd);
    int a = must_sys(socket(AF_UNIX, SOCK_STREAM, 0)),
        b = must_sys(socket(AF_UNIX, SOCK_STREAM, 0));
    must_sys(bind(a, (struct sockaddr *)&addr, sizeof(addr)));
    must_sys(listen(a, 1));
    must_sys(connect(b, (struct sockaddr *)&addr, sizeof(addr)));
    must_sys(stat("sock", &st));
    must(S_ISSOCK(st.st_mode));
    close(a);
    close(b);
    must_sys(mknod("reg", S_IFREG | 0600, 0));
    must_int(links("reg"), ==, 1);
    must_sys(unlink("fifo"));
    must_sys(unlink("sock"));
}

static void rename_plain(struct mount *m)
{
    enter(m);
    make("a", "a");
    ino_t a = number("a");
    must_sys(rename("a", "b"));
    must_fail(access("a", F_OK), ENOENT);
    must_int(number("b"), ==, a);
    make("c", "c");
    must_sys(rename("b", "c")); /* over a file */
    holds("c", "a");
    must_sys(link("c", "d"));
    must_sys(rename("c", "d")); /* two names of one file: nothing happens */
    must_int(links("c"), ==, 2);
    must_fail(rename("none", "e"), ENOENT);

    must_sys(mkdir("d1", 0700));
    must_sys(mkdir("d2", 0700));
    must_fail(rename("c", "d1"), EISDIR);
    must_fail(rename("d1", "c"), ENOTDIR);
    make("d2/f", "f");
    must_fail(rename("d1", "d2"), ENOTEMPTY);
    must_sys(rename("d2", "d1")); /* over an empty directory */
    holds("d1/f", "f");
    must_fail(rename("d1", "d1/inside"), EINVAL);
    must_sys(mkdir("d3", 0700));
    nlink_t top = links(".");
    must_sys(rename("d1", "d3/d1"));
    must_int(links("."), ==, top - 1);
    must_int(links("d3"), ==, 3);
    must_int(number("d3/d1/.."), ==, number("d3"));
    must_fail(rename("d3", "d3/d1/x"), EINVAL);
    must_fail(rename("d3/d1", "d3"), ENOTEMPTY);

    make("open", "old");
    int fd = file_open("open", O_RDONLY);
    make("over", "new");
    must_sys(rename("over", "open"));
    char buf[3];
    must_int(file_pread(fd, buf, 3, 0), ==, 3);
    must(memcmp(buf, "old", 3) == 0);
    close(fd);
}

static void rename_flags(struct mount *m)
{
    enter(m);
    make("a", "a");
    make("b", "b");
    must_sys(mkdir("d", 0700));
    make("d/f", "f");
    must_fail(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
    holds("b", "b");
    must_sys(renameat2(AT_FDCWD, "a", AT_FDCWD, "n", RENAME_NOREPLACE));
    holds("n", "a");

    must_sys(renameat2(AT_FDCWD, "n", AT_FDCWD, "b", RENAME_EXCHANGE));
    holds("n", "b");
    holds("b", "a");
    must_fail(renameat2(AT_FDCWD, "n", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
    must_sys(mkdir("e", 0700));
    nlink_t d = links("d"), e = links("e");
    must_sys(mkdir("e/sub", 0700));
    must_sys(renameat2(AT_FDCWD, "d/f", AT_FDCWD, "e/sub", RENAME_EXCHANGE)); /* file, directory */
    holds("e/sub", "f");
    must_int(links("d"), ==, d + 1);
    must_int(links("e"), ==, e);
    must_int(number("d/f/.."), ==, number("d"));
    must_fail(renameat2(AT_FDCWD, "d", AT_FDCWD, "d/f", RENAME_EXCHANGE), EINVAL);
    must_fail(renameat2(AT_FDCWD, "b", AT_FDCWD, "n", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
    int r = renameat2(AT_FDCWD, "b", AT_FDCWD, "w", RENAME_WHITEOUT);
    if (r == 0) {
        struct stat st;
        must_sys(lstat("b", &st));
        must(S_ISCHR(st.st_mode) && st.st_rdev == 0);
        holds("w", "a");
    } else {
        must_int(errno, ==, EINVAL);
        holds("b", "a");
    }
}

static const struct mount_case cases[] = {
    {"create", create, {0}},
    {"directories", directories, {0}},
    {"hard_links", hard_links, {0}},
    {"symlinks", symlinks, {0}},
    {"special", special, {0}},
    {"rename_plain", rename_plain, {0}},
    {"rename_flags", rename_flags, {0}},
};

HARNESS_MAIN("names", cases)
