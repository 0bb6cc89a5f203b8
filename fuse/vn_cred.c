/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Becoming the caller, and root again.
 *
 *      root            all capabilities, fsuid 0, no groups
 *        | groups, fsgid, fsuid; then put the capabilities down (the kernel drops only those of files
 *        | with the fsuid, and keeps for instance the one that shows trusted attributes)
 *      caller          no effective capability
 *        | take the capabilities up, then the rest in any order
 *      root
 *
 * The calls are the kernel's, not the C library's: those would change every thread. A worker that
 * could not become root again must not serve the next caller: the daemon ends.
 *
 * A caller that is root keeps the capabilities: the kernel has checked its own against the file's
 * attributes, and a root without them is beyond what a request says.
 */
#include "vn_work.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../daemon/log.h"

#define GROUPS_USUAL 64

/* What a worker thread has taken on. */
static __thread bool lent_gid, lent_all;

/* The effective capabilities become the permitted ones, or none. */
static int set_capabilities(bool on)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data))
        return -errno;
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i].effective = on ? data[i].permitted : 0;
    return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static int set_groups(size_t n, const gid_t *groups)
{
    return syscall(SYS_setgroups, n, groups) ? -errno : 0;
}

/* The groups of a caller whose process cannot be seen (another pid name space) are none. */
static int take_groups(fuse_req_t req)
{
    gid_t usual[GROUPS_USUAL];
    CLEANUP_FREE gid_t *many = NULL;
    gid_t *groups = usual;
    int n = fuse_req_getgroups(req, GROUPS_USUAL, usual);

    if (n > GROUPS_USUAL) {
        int room = n;
        many = groups = calloc((size_t)room, sizeof(*many));
        if (!many)
            return -ENOMEM;
        n = MIN(fuse_req_getgroups(req, room, many), room);
    }
    return set_groups((size_t)MAX(n, 0), groups);
}

static bool take_gid(gid_t gid)
{
    setfsgid(gid);
    return (gid_t)setfsgid((gid_t)-1) == gid;
}

static bool take_uid(uid_t uid)
{
    setfsuid(uid);
    return (uid_t)setfsuid((uid_t)-1) == uid;
}

int vn_become(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    int rc = 0;

    umask(ctx->umask & 0777);
    if (!ctx->uid) {
        lent_gid = ctx->gid != 0;
        if (lent_gid && !take_gid(ctx->gid))
            rc = -EPERM;
    } else {
        lent_all = true;
        rc = take_groups(req);
        if (!rc && (!take_gid(ctx->gid) || !take_uid(ctx->uid)))
            rc = -EPERM;
        if (!rc)
            rc = set_capabilities(false);
    }
    if (rc)
        vn_become_root();
    return rc;
}

void vn_become_root(void)
{
    bool ok = true;

    if (lent_all)
        ok = !set_capabilities(true) && take_uid(0) && !set_capabilities(true) && take_gid(0) &&
             !set_groups(0, NULL);
    else if (lent_gid)
        ok = take_gid(0);
    if (!ok) {
        log_error("a worker thread cannot become root again: stopping");
        abort();
    }
    lent_gid = lent_all = false;
}
