/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of vnode/ share: a source beside the mount, and clients that act as other users. */
#include "vnode_rig.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/util.h"

#define PATHS 8 /* that are in use at a time */

static const char *path_in(const char *top, const char *fmt, va_list ap)
{
    static char paths[PATHS][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % PATHS];

    size_t n = (size_t)snprintf(path, PATH_MAX, "%s/", top);
    vsnprintf(path + n, PATH_MAX - n, fmt, ap);
    return path;
}

const char *rig_src(const struct mount *m, const char *fmt, ...)
{
    char top[PATH_MAX];
    va_list ap;

    snprintf(top, sizeof(top), "%s/src", m->dir);
    va_start(ap, fmt);
    const char *path = path_in(top, fmt, ap);
    va_end(ap);
    return path;
}

const char *rig_mnt(const struct mount *m, const char *fmt, ...)
{
    char top[PATH_MAX + 8];
    va_list ap;

    snprintf(top, sizeof(top), "%s/vnode", m->mountpoint);
    va_start(ap, fmt);
    const char *path = path_in(top, fmt, ap);
    va_end(ap);
    return path;
}

void rig_start(struct mount *m, const char *more)
{
    static char options[PATH_MAX + 200];

    if (mkdir(rig_src(m, "%s", ""), 0755) && errno != EEXIST)
        client_fail(__FILE__, __LINE__, "%s: %s", rig_src(m, "."), strerror(errno));
    snprintf(options, sizeof(options), "drain=1,source=%s/src%s%s", m->dir, more ? "," : "",
             more ? more : "");
    m->opts.more = options;
    mount_start(m);
}

void rig_stop(struct mount *m)
{
    must_msg(mount_stop(m), "%s", m->trouble);
}

void rig_kill(struct mount *m)
{
    must_sys(kill(m->daemon, SIGKILL));
    must(waitpid(m->daemon, NULL, 0) == m->daemon);
    m->daemon = 0;
    mount_abort(m);
    must_sys(umount2(m->mountpoint, MNT_DETACH));
}

void rig_put(const char *path, const char *text)
{
    int fd CLEANUP_CLOSE = must_sys(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    file_pwrite(fd, text, strlen(text), 0);
}

bool rig_same(const char *path, const char *text)
{
    int fd CLEANUP_CLOSE = must_sys(open(path, O_RDONLY | O_CLOEXEC));
    char *buf CLEANUP_FREE = malloc(strlen(text) + 2);
    must(buf);
    size_t n = file_pread(fd, buf, strlen(text) + 1, 0);
    return n == strlen(text) && memcmp(buf, text, n) == 0;
}

struct as {
    uid_t uid;
    gid_t gid, extra;
    void (*fn)(void *arg);
    void *arg;
};

static void become(void *arg)
{
    struct as *as = arg;
    must_sys(setgroups(1, &as->extra));
    must_sys(setresgid(as->gid, as->gid, as->gid));
    must_sys(setresuid(as->uid, as->uid, as->uid));
    as->fn(as->arg);
}

void rig_as(uid_t uid, gid_t gid, gid_t extra, void (*fn)(void *arg), void *arg)
{
    struct as as = {.uid = uid, .gid = gid, .extra = extra, .fn = fn, .arg = arg};
    client_run(become, &as, 60);
}
