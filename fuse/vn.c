/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode tree as one of the trees: its table, its files, its beginning and end.
 */
#include "vn.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "../daemon/log.h"
#include "ops_file.h"
#include "view.h"
#include "vn_op.h"

static struct {
    bool up;
    int source_fd;
    char source[PATH_MAX];     /* as the kernel resolves it */
    char mountpoint[PATH_MAX]; /* ours */
} vn = {.source_fd = -1};

static const struct fuse_lowlevel_ops vn_ops = {
    .lookup = vn_op_lookup,
    .getattr = vn_op_getattr,
    .setattr = vn_op_setattr,
    .readlink = vn_op_readlink,
    .mknod = vn_op_mknod,
    .mkdir = vn_op_mkdir,
    .unlink = vn_op_unlink,
    .rmdir = vn_op_rmdir,
    .symlink = vn_op_symlink,
    .rename = vn_op_rename,
    .link = vn_op_link,
    .open = vn_op_open,
    .read = uvm_op_read,
    .write = uvm_op_write,
    .flush = vn_op_flush,
    .release = vn_op_release,
    .fsync = vn_op_fsync,
    .opendir = vn_op_opendir,
    .readdir = vn_op_readdir,
    .readdirplus = vn_op_readdirplus,
    .releasedir = vn_op_releasedir,
    .fsyncdir = vn_op_fsyncdir,
    .statfs = vn_op_statfs,
    .setxattr = vn_op_setxattr,
    .getxattr = vn_op_getxattr,
    .listxattr = vn_op_listxattr,
    .removexattr = vn_op_removexattr,
    .create = vn_op_create,
    .fallocate = vn_op_fallocate,
    .lseek = vn_op_lseek,
};

static uint64_t file_size(void *node)
{
    return uvn_size(atomic_load(&((struct vn_node *)node)->uobj));
}

static void file_wrote(void *node, uint64_t end, bool killpriv)
{
    vn_times_wrote(node); /* the pager has the size, the kernel took the set-id bits away */
}

static void file_accessed(void *node)
{
}

static const struct uvm_file_ops file_ops = {
    .size = file_size,
    .wrote = file_wrote,
    .accessed = file_accessed, /* page-ins do that on the store, in the manner of its mount */
};

static int vn_file(uint64_t ino, struct uvm_file *ret)
{
    struct vn_node *node = vn_find(ino);
    struct uvm_object *uobj = node ? atomic_load(&node->uobj) : NULL;

    if (!uobj)
        return node ? -EBADF : -ENOENT;
    *ret = (struct uvm_file){.ops = &file_ops, .node = node, .uobj = uobj};
    return 0;
}

/* A path of a node's file from the mount on. => false: it has none any more */
static bool path_of(struct vn_node *node, char *buf, size_t len)
{
    char full[PATH_MAX + 1];
    VN_PIN(pin);
    size_t top = strlen(vn.source);

    if (vn_pin(node, &pin))
        return false;
    ssize_t n = readlink(vn_proc(pin.fd).path, full, PATH_MAX);
    if (n < 0)
        return false;
    full[n] = '\0';
    top = top == 1 ? 0 : top; /* the source is the root directory */
    if (strncmp(full, vn.source, top) || full[top] != '/')
        return false;
    return (size_t)snprintf(buf, len, "vnode%s", full + top) < len;
}

static bool describe(struct vn_node *node, struct uvm_control_object *ret)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);

    if (!uobj)
        return false;
    memset(ret, 0, sizeof(*ret));
    if (!path_of(node, ret->path, sizeof(ret->path)))
        ret->path[0] = '\0';
    ret->size = uvn_size(uobj);
    uvm_view_describe(uobj, ret);
    return true;
}

struct walk {
    int (*fn)(const struct uvm_control_object *object, void *arg);
    void *arg;
    int rc;
};

static void walk_one(struct vn_node *node, void *arg)
{
    struct walk *walk = arg;
    struct uvm_control_object object;

    if (!walk->rc && describe(node, &object))
        walk->rc = walk->fn(&object, walk->arg);
}

static int vn_objects(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg)
{
    struct walk walk = {.fn = fn, .arg = arg};
    int rc = vn_foreach(walk_one, &walk);
    return rc ? rc : walk.rc;
}

static int vn_find_path(const char *path, struct uvm_control_object *ret)
{
    path += strlen("vnode");
    path += strspn(path, "/");
    CLEANUP_CLOSE int fd = vn_open_below(vn.source_fd, path);
    if (fd < 0)
        return fd;
    struct vn_node *node = vn_known(fd);
    bool found = node && describe(node, ret);
    if (node)
        vn_unref(node);
    return found ? 0 : -ENOENT;
}

static int vn_object(const char *path, struct uvm_object **ret)
{
    path += strlen("vnode");
    path += strspn(path, "/");
    CLEANUP_CLOSE int fd = vn_open_below(vn.source_fd, path);
    if (fd < 0)
        return fd;
    struct vn_node *node = vn_known(fd);
    struct uvm_object *uobj = node ? atomic_load(&node->uobj) : NULL;
    if (uobj)
        uobj->pgops->pgo_reference(uobj);
    if (node)
        vn_unref(node);
    *ret = uobj;
    return uobj ? 0 : -ENOENT;
}

const struct uvm_fs uvm_fs_vnode = {
    .name = "vnode",
    .top = UVM_INO_VNODE_ROOT,
    .bit = UVM_INO_VNODE_BIT,
    .ops = &vn_ops,
    .missing = EOPNOTSUPP,
    .root = vn_op_root,
    .forget = vn_forget,
    .file = vn_file,
    .objects = vn_objects,
    .find = vn_find_path,
    .object = vn_object,
};

/* Does `path` lie in `dir`, or is it that? Both as the kernel resolves them. */
static bool within(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    len -= len == 1; /* "/" has all */
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static int open_source(const char *source, const char *mountpoint, struct uvm_error *err)
{
    if (!realpath(source, vn.source))
        return uvm_fail(err, -errno, "source: %s: %s", source, strerror(errno));
    snprintf(vn.mountpoint, sizeof(vn.mountpoint), "%s", mountpoint);
    if (within(vn.source, mountpoint))
        return uvm_fail(err, -EINVAL, "source: %s lies inside the mount point %s", source,
                        mountpoint);
    if (within(mountpoint, vn.source))
        return uvm_fail(err, -EINVAL, "source: the mount point %s lies inside %s", mountpoint,
                        source);
    vn.source_fd = open(vn.source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (vn.source_fd < 0)
        return uvm_fail(err, -errno, "source: %s: %s", source, strerror(errno));
    if (access(vn_proc(vn.source_fd).path, F_OK))
        return uvm_fail(err, -errno, "source: /proc/self/fd: %s: /proc has to be mounted",
                        strerror(errno));
    return 0;
}

static void raise_limits(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGXFSZ, SIG_IGN); /* a limit of the daemon's own is an error, not its end */
}

static void close_source(void)
{
    if (vn.source_fd >= 0)
        close(vn.source_fd);
    vn.source_fd = -1;
}

int uvm_vn_init(const char *source, const char *mountpoint, struct uvm_error *err)
{
    struct statx stx;
    int rc = open_source(source, mountpoint, err);

    if (!rc)
        rc = vn_work_start(err);
    if (rc) {
        close_source();
        return rc;
    }
    raise_limits();
    rc = vn_statx(vn.source_fd, &stx);
    if (!rc) {
        vn_root_is(&stx);
        rc = vn_table_init(vn.source_fd, vn.mountpoint);
    }
    vn_handles_init();
    uvn_set_cleaned(vn_cleaned);
    vn.up = true;
    if (rc) {
        uvm_vn_fini();
        return uvm_fail(err, rc, "source: %s: %s", source, strerror(-rc));
    }
    return 0;
}

static void write_out(struct vn_node *node, void *arg)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);
    char path[PATH_MAX] = "";
    int rc = uvn_ndirty(uobj) ? uvn_flush_wait(uobj, UVN_FLUSH) : 0;

    vn_settle(node);
    if (!rc)
        return;
    path_of(node, path, sizeof(path));
    log_error("%s (object %llu): %llu pages cannot be written: %s", path,
              (unsigned long long)node->id, (unsigned long long)uvn_ndirty(uobj), strerror(-rc));
}

void uvm_vn_drain(void)
{
    if (!vn.up)
        return;
    vn_work_drain();
    int rc = vn_foreach(write_out, NULL);
    if (rc)
        log_error("source: not all files have been written out: %s", strerror(-rc));
    vn_work_drain();
}

void uvm_vn_fini(void)
{
    if (!vn.up)
        return;
    vn.up = false;
    uvn_set_cleaned(NULL);
    vn_work_stop();
    vn_handles_fini();
    vn_table_fini();
    close_source();
}
