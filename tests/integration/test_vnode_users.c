/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vnode/ as somebody else than root: what is made belongs to who makes it, and what the host refuses
 * is refused, by mode, by group, by access control list.
 */
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "daemon/util.h"
#include "vnode_rig.h"

#define UID   12345
#define GID   23456
#define EXTRA 34567

static void as_user(void (*fn)(void *arg), struct mount *m)
{
    rig_as(UID, GID, EXTRA, fn, m);
}

static void must_be(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
    struct stat st;
    must_sys(lstat(path, &st));
    must_int(st.st_uid, ==, uid);
    must_int(st.st_gid, ==, gid);
    must_int(st.st_mode & 07777, ==, mode);
}

static void start(struct mount *m)
{
    must_sys(chmod(m->dir, 0755));
    rig_start(m, "allow_other,suid=yes,exec=yes");
}

static void make_files(void *arg)
{
    struct mount *m = arg;

    umask(027);
    rig_put(rig_mnt(m, "open/f"), "mine");
    must_sys(mkdir(rig_mnt(m, "open/d"), 0777));
    must_sys(mknod(rig_mnt(m, "open/fifo"), S_IFIFO | 0666, 0));
    must_sys(symlink("f", rig_mnt(m, "open/l")));
    must_sys(mkdir(rig_mnt(m, "sgid/d"), 0777));
    rig_put(rig_mnt(m, "sgid/f"), "f");
    must_fail(mknod(rig_mnt(m, "open/dev"), S_IFCHR | 0666, 0x103), EPERM);
    /* A file that even its owner may not open can still be made and written. */
    int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "open/ro"), O_RDWR | O_CREAT | O_EXCL, 0400));
    must_int(write(fd, "bytes", 5), ==, 5);
    must_sys(fsync(fd));
    must_fail(open(rig_mnt(m, "open/ro"), O_RDWR), EACCES);
    must_sys(chmod(rig_mnt(m, "open/ro"), 0440));
    must_sys(chown(rig_mnt(m, "open/ro"), (uid_t)-1, EXTRA));
    must_fail(chown(rig_mnt(m, "open/ro"), 0, (gid_t)-1), EPERM);
    must_fail(chown(rig_mnt(m, "open/ro"), (uid_t)-1, 0), EPERM);
}

static void ownership(struct mount *m)
{
    start(m);
    must_sys(mkdir(rig_src(m, "open"), 0777));
    must_sys(chmod(rig_src(m, "open"), 01777));
    must_sys(mkdir(rig_src(m, "sgid"), 0777));
    must_sys(chown(rig_src(m, "sgid"), 0, 777));
    must_sys(chmod(rig_src(m, "sgid"), 02777));
    as_user(make_files, m);
    must_be(rig_src(m, "open/f"), UID, GID, 0640);
    must_be(rig_src(m, "open/d"), UID, GID, 0750);
    must_be(rig_src(m, "open/fifo"), UID, GID, 0640);
    must_be(rig_src(m, "open/l"), UID, GID, 0777);
    must_be(rig_src(m, "open/ro"), UID, EXTRA, 0440);
    must_be(rig_src(m, "sgid/d"), UID, 777, 02750);
    must_be(rig_src(m, "sgid/f"), UID, 777, 0640);
    /* And root is root again. */
    rig_put(rig_mnt(m, "root"), "root");
    must_be(rig_src(m, "root"), 0, 0, 0644);
    rig_stop(m);
}

static void try_files(void *arg)
{
    struct mount *m = arg;
    char list[300];

    must_fail(open(rig_mnt(m, "private"), O_RDONLY), EACCES);
    must_fail(truncate(rig_mnt(m, "private"), 0), EACCES);
    must_fail(open(rig_mnt(m, "group"), O_RDWR), EACCES);
    must(rig_same(rig_mnt(m, "group"), "group"));
    must_fail(access(rig_mnt(m, "closed/f"), F_OK), EACCES);
    must_fail(open(rig_mnt(m, "closed"), O_RDONLY | O_DIRECTORY), EACCES);
    must_fail(chmod(rig_mnt(m, "open"), 0666), EPERM);
    must_fail(utimensat(AT_FDCWD, rig_mnt(m, "open"), (struct timespec[2]){{1, 1}, {1, 1}}, 0),
              EPERM);
    must_sys(utimensat(AT_FDCWD, rig_mnt(m, "open"), NULL, 0)); /* who may write may touch */
    must_fail(open(rig_mnt(m, "new"), O_RDWR | O_CREAT, 0644), EACCES);
    must_fail(unlink(rig_mnt(m, "sticky/f")), EPERM);
    must_fail(rename(rig_mnt(m, "sticky/f"), rig_mnt(m, "sticky/g")), EPERM);
    must_fail(link(rig_mnt(m, "private"), rig_mnt(m, "sticky/h")), EPERM);

    must_fail(setxattr(rig_mnt(m, "open"), "trusted.x", "x", 1, 0), EPERM);
    must_fail(getxattr(rig_mnt(m, "open"), "trusted.t", list, sizeof(list)), ENODATA);
    ssize_t n = must_sys(listxattr(rig_mnt(m, "open"), list, sizeof(list)));
    for (ssize_t i = 0; i < n; i += (ssize_t)strlen(list + i) + 1)
        must_msg(strncmp(list + i, "trusted.", 8), "%s is listed", list + i);
}

static void refusals(struct mount *m)
{
    start(m);
    rig_put(rig_src(m, "private"), "private");
    must_sys(chmod(rig_src(m, "private"), 0600));
    rig_put(rig_src(m, "group"), "group");
    must_sys(chown(rig_src(m, "group"), 0, EXTRA));
    must_sys(chmod(rig_src(m, "group"), 0640));
    must_sys(mkdir(rig_src(m, "closed"), 0700));
    rig_put(rig_src(m, "closed/f"), "f");
    rig_put(rig_src(m, "open"), "open");
    must_sys(chmod(rig_src(m, "open"), 0666));
    must_sys(setxattr(rig_src(m, "open"), "trusted.t", "t", 1, 0));
    must_sys(mkdir(rig_src(m, "sticky"), 0777));
    must_sys(chmod(rig_src(m, "sticky"), 01777));
    rig_put(rig_src(m, "sticky/f"), "f");
    must_sys(chmod(rig_src(m, "sticky/f"), 0666));
    /* Root first: what it was allowed must not stand for the others. */
    must(rig_same(rig_mnt(m, "private"), "private"));
    must(rig_same(rig_mnt(m, "closed/f"), "f"));
    as_user(try_files, m);
    rig_stop(m);
}

static void write_suid(void *arg)
{
    struct mount *m = arg;
    int fd CLEANUP_CLOSE = must_sys(open(rig_mnt(m, "suid"), O_RDWR | O_CLOEXEC));
    must_int(write(fd, "x", 1), ==, 1);
    must_sys(truncate(rig_mnt(m, "suid2"), 1));
}

/* Set-id bits do not survive a write by another, and nothing else changes with them. */
static void setids(struct mount *m)
{
    start(m);
    for (int i = 0; i < 2; i++) {
        const char *path = rig_src(m, i ? "suid2" : "suid");
        rig_put(path, "program");
        must_sys(chmod(path, 06777));
    }
    as_user(write_suid, m);
    must_be(rig_mnt(m, "suid"), 0, 0, 0777);
    must_be(rig_src(m, "suid"), 0, 0, 0777);
    must_be(rig_src(m, "suid2"), 0, 0, 0777);
    rig_stop(m);
}

static void run_program(void *arg)
{
    struct mount *m = arg;
    int status;
    pid_t pid = must_sys(fork());

    must_fail(open(rig_mnt(m, "program"), O_RDONLY), EACCES);
    if (!pid) {
        execl(rig_mnt(m, "program"), "true", NULL);
        _exit(errno == EACCES ? 13 : 99);
    }
    must(waitpid(pid, &status, 0) == pid);
    must_int(status, ==, 0);
}

static void execute_only(struct mount *m)
{
    char copy[PATH_MAX * 2];

    start(m);
    snprintf(copy, sizeof(copy), "cp /bin/true %s", rig_src(m, "program"));
    must_int(system(copy), ==, 0);
    must_sys(chmod(rig_src(m, "program"), 0711));
    as_user(run_program, m);
    rig_stop(m);
}

struct acl {
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entries[5];
};

/* rw for the owner and for one user more, nothing for all others. */
static struct acl acl_for(uid_t uid)
{
    return (struct acl){
        .header = {.a_version = POSIX_ACL_XATTR_VERSION},
        .entries = {{.e_tag = ACL_USER_OBJ, .e_perm = 7, .e_id = ACL_UNDEFINED_ID},
                    {.e_tag = ACL_USER, .e_perm = 7, .e_id = uid},
                    {.e_tag = ACL_GROUP_OBJ, .e_perm = 0, .e_id = ACL_UNDEFINED_ID},
                    {.e_tag = ACL_MASK, .e_perm = 7, .e_id = ACL_UNDEFINED_ID},
                    {.e_tag = ACL_OTHER, .e_perm = 0, .e_id = ACL_UNDEFINED_ID}},
    };
}

static void use_acl(void *arg)
{
    struct mount *m = arg;

    umask(077); /* which the inherited list stands instead of */
    must(rig_same(rig_mnt(m, "granted/f"), "f"));
    rig_put(rig_mnt(m, "granted/mine"), "mine");
    must_fail(open(rig_mnt(m, "refused"), O_RDONLY), EACCES);
    must_fail(access(rig_mnt(m, "refused"), R_OK), EACCES);
    /* A tree without lists, next to it, is nobody's less for that; and the umask holds there. */
    char path[PATH_MAX];
    rig_put(mount_path(m, path, "a"), "anon");
    must(rig_same(path, "anon"));
    must_be(path, UID, GID, 0600);
    must_fail(getxattr(path, "system.posix_acl_access", NULL, 0), ENODATA);
}

static void lists(struct mount *m)
{
    struct acl acl = acl_for(UID);

    start(m);
    must_sys(mkdir(rig_src(m, "granted"), 0700));
    rig_put(rig_src(m, "granted/f"), "f");
    must_sys(chmod(rig_src(m, "granted/f"), 0600));
    must_sys(setxattr(rig_src(m, "granted/f"), "system.posix_acl_access", &acl, sizeof(acl), 0));
    /* And through the mount. */
    must_sys(setxattr(rig_mnt(m, "granted"), "system.posix_acl_access", &acl, sizeof(acl), 0));
    must_sys(setxattr(rig_mnt(m, "granted"), "system.posix_acl_default", &acl, sizeof(acl), 0));
    acl = acl_for(UID + 1);
    rig_put(rig_src(m, "refused"), "refused");
    must_sys(setxattr(rig_src(m, "refused"), "system.posix_acl_access", &acl, sizeof(acl), 0));
    must_sys(chmod(m->anon, 01777));
    as_user(use_acl, m);
    must_int(getxattr(rig_src(m, "granted/mine"), "system.posix_acl_access", NULL, 0), ==,
             sizeof(acl));
    must_be(rig_src(m, "granted/mine"), UID, GID, 0640);
    rig_stop(m);
}

static const struct mount_case cases[] = {
    {"ownership", ownership, {.unmounted = true}},
    {"refusals", refusals, {.unmounted = true}},
    {"setids", setids, {.unmounted = true}},
    {"execute_only", execute_only, {.unmounted = true}},
    {"lists", lists, {.unmounted = true}},
};

HARNESS_MAIN("vnode_users", cases)
