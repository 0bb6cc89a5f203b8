/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extended attributes: the source's own, of all name spaces that the host lets the caller have.
 */
#include "vn_op.h"

#include <errno.h>
#include <limits.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/xattr.h>

/* Answer a question with n bytes of buf, with their number, or with the error n. */
static void reply_value(struct vn_op *op, const char *buf, ssize_t n)
{
    if (n < 0) {
        vn_op_end(op, (int)n);
        return;
    }
    if (!op->size)
        fuse_reply_xattr(op->req, (size_t)n);
    else
        fuse_reply_buf(op->req, buf, (size_t)n);
    vn_op_free(op);
}

/* Before each write the kernel asks for this one, to drop it. */
static bool is_caps(const char *name)
{
    return strcmp(name, XATTR_NAME_CAPS) == 0;
}

static bool is_acl(const char *name)
{
    static const char prefix[] = "system.posix_acl_";
    return name && strncmp(name, prefix, sizeof(prefix) - 1) == 0;
}

static void run_get(struct vn_op *op)
{
    CLEANUP_FREE char *buf = op->size ? malloc(op->size) : NULL;
    VN_PIN(pin);
    ssize_t n = vn_pin(op->node, &pin);

    if (!n && op->size && !buf)
        n = -ENOMEM;
    if (!n) {
        VN_AS_CALLER(me, op->req);
        n = me;
        if (!n && op->name)
            n = getxattr(vn_proc(pin.fd).path, op->name, buf, op->size);
        else if (!n)
            n = listxattr(vn_proc(pin.fd).path, buf, op->size);
        if (n < 0 && !me)
            n = -errno;
    }
    if (n == -EOPNOTSUPP && is_acl(op->name))
        n = -ENODATA; /* a file system without lists: see d_getxattr */
    if (op->name && n == -ENODATA && is_caps(op->name))
        atomic_store(&op->node->nocaps, true);
    reply_value(op, buf, n);
}

void vn_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct vn_node *node = is_caps(name) ? vn_find(ino) : NULL;

    if (node && atomic_load(&node->nocaps)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_get);
    if (!op)
        return;
    op->size = MIN(size, XATTR_SIZE_MAX);
    op->name = strdup(name);
    if (op->name)
        vn_op_start(op);
    else
        vn_op_end(op, -ENOMEM);
}

void vn_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_get);
    if (!op)
        return;
    op->size = MIN(size, XATTR_LIST_MAX);
    vn_op_start(op);
}

static void run_set(struct vn_op *op)
{
    VN_PIN(pin);
    int rc = vn_pin(op->node, &pin);

    if (!rc) {
        VN_AS_CALLER(me, op->req);
        const struct vn_proc proc = vn_proc(pin.fd);
        rc = me;
        if (!rc && op->value)
            rc = setxattr(proc.path, op->name, op->value, op->size, op->flags);
        else if (!rc)
            rc = removexattr(proc.path, op->name);
        if (rc && !me)
            rc = -errno;
    }
    atomic_store(&op->node->nocaps, false);
    if (!rc)
        vn_touched(op->node, pin.fd);
    vn_op_end(op, rc);
}

/* => value NULL: remove */
static void start_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                      size_t size, int flags)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_set);
    if (!op)
        return;
    op->name = strdup(name);
    op->size = size;
    op->flags = flags;
    op->value = value ? malloc(size ? size : 1) : NULL;
    if (!op->name || (value && !op->value)) {
        vn_op_end(op, -ENOMEM);
        return;
    }
    if (size)
        memcpy(op->value, value, size);
    vn_op_start(op);
}

void vn_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                    size_t size, int flags)
{
    start_set(req, ino, name, value, size, flags);
}

void vn_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    start_set(req, ino, name, NULL, 0, 0);
}
