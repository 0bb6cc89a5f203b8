/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Getting hold of a node's file.
 */
#include "vn_op.h"

#include <errno.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

struct vn_proc vn_proc(int fd)
{
    struct vn_proc proc;
    snprintf(proc.path, sizeof(proc.path), "/proc/self/fd/%d", fd);
    return proc;
}

int vn_statx(int fd, struct statx *ret)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT,
                 STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, ret)
               ? -errno
               : 0;
}

/* By what the pager has open of it. => -1: nothing */
static int pin_by_backing(struct vn_node *node)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);
    struct uvn_backing *backing = NULL;

    if (uobj) {
        UVM_LOCK_SCOPE(&uobj->lock);
        if (uvm_vnode(uobj)->backing)
            backing = uvn_backing_ref(uvm_vnode(uobj)->backing);
    }
    if (!backing)
        return -1;
    int fd = open(vn_proc(backing->fd).path, O_PATH | O_CLOEXEC);
    uvn_backing_unref(backing);
    return fd;
}

int vn_pin(struct vn_node *node, struct vn_pin *ret)
{
    struct vn_key *key = (struct vn_key *)node->key;

    ret->fd = node->fd;
    if (ret->fd >= 0)
        return 0;
    ret->fd = open_by_handle_at(node->mount->fd, &key->handle, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int rc = -errno;
    /* Not every file system finds one without a name, though it is there as long as it is open. */
    if (ret->fd < 0 && rc == -ESTALE)
        ret->fd = pin_by_backing(node);
    ret->own = ret->fd >= 0;
    return ret->own ? 0 : vn_errno(rc);
}

void vn_keep(struct vn_node *node, int fd)
{
    int none = -1, copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    /* Without a descriptor to spare the handle may do still, as long as the file is open. */
    if (copy >= 0 && !atomic_compare_exchange_strong(&node->fd, &none, copy))
        close(copy);
}

int vn_open_below(int dirfd, const char *path)
{
    struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}
