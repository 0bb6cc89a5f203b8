/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading directories: a descriptor for each open handle, read with getdents64; the offset of an entry
 * is what the source's file system says, so reading goes on at the right place whatever was made
 * or removed in between.
 *
 *      handle.fd  [ e1 e2 e3 e4 e5 ]   what does not fit into the reply is read again: the next
 *      reply      [ E1 E2 E3 ]         request comes with the offset after E3
 *
 * With attributes (readdirplus) each entry gives the kernel a look-up. A file that has just gone is passed
 * over. Finding out about entries is done as root: whether the caller may use them the kernel asks
 * when they are used.
 */
#include "vn_op.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

/* The smallest entry of a reply: what bounds the number of them. */
#define ENTRY_MIN 32
/* Room for one entry of the longest name at least; and a bound on what one request has us do. */
#define BATCH_MIN 512
#define BATCH_MAX (64u << 10)

static void run_opendir(struct vn_op *op)
{
    VN_PIN(pin);
    int fd = -1, rc = vn_pin(op->node, &pin);

    if (!rc) {
        VN_AS_CALLER(me, op->req);
        rc = me;
        if (!rc) {
            fd = open(vn_proc(pin.fd).path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            rc = fd < 0 ? -errno : 0;
        }
    }
    struct vn_handle *handle = rc ? NULL : vn_handle_new(op->node, fd, false);
    if (!rc && !handle)
        rc = -ENOMEM;
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    op->fi.fh = handle->fh;
    if (fuse_reply_open(op->req, &op->fi))
        vn_handle_close(handle);
    vn_op_free(op);
}

static void start_dir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                      void (*run)(struct vn_op *op))
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run);
    if (!op)
        return;
    op->fi = *fi;
    vn_op_start(op);
}

void vn_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    start_dir(req, ino, fi, run_opendir);
}

static void run_releasedir(struct vn_op *op)
{
    struct vn_handle *handle = vn_handle_find(op->fi.fh);

    if (handle)
        vn_handle_close(handle);
    vn_op_end(op, 0);
}

void vn_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    start_dir(req, ino, fi, run_releasedir);
}

/* A reply being filled. */
struct listing {
    struct vn_op *op;
    struct vn_handle *handle;
    uint64_t dev; /* of the directory */
    bool plus;
    char *buf;
    size_t used;
    uint64_t *given; /* plus: nodes whose look-ups the reply gives */
    size_t ngiven;
};

static bool is_dot(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

static uint64_t entry_ino(const struct listing *list, const struct dirent64 *ent)
{
    if (list->op->node->id == UVM_INO_VNODE_ROOT && !strcmp(ent->d_name, ".."))
        return UVM_INO_ROOT;
    return vn_show_ino(list->dev, ent->d_ino);
}

/* Add one entry. => 1: there is no room for it; 0: added, or gone; -errno */
static int listing_add(struct listing *list, const struct dirent64 *ent)
{
    struct fuse_entry_param entry = {
        .attr = {.st_ino = entry_ino(list, ent), .st_mode = (mode_t)ent->d_type << 12}};
    size_t room = list->op->size - list->used;
    char *at = list->buf + list->used;
    fuse_req_t req = list->op->req;
    struct vn_node *node = NULL;
    struct statx stx;
    size_t n = list->plus ? fuse_add_direntry_plus(req, NULL, 0, ent->d_name, NULL, 0)
                          : fuse_add_direntry(req, NULL, 0, ent->d_name, NULL, 0);

    if (n > room)
        return 1;
    if (list->plus && !is_dot(ent->d_name)) {
        CLEANUP_CLOSE int fd =
            openat(list->handle->fd, ent->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        int rc = fd < 0 ? -errno : vn_node_of(fd, &node, &stx);
        if (rc == -ENOENT || rc == -ESTALE)
            return 0;
        /* The name is there all the same (ELOOP: our own mount): without a look-up. */
        if (!rc) {
            vn_entry(node, &stx, &entry);
            list->given[list->ngiven++] = entry.ino;
        }
    }
    if (list->plus)
        fuse_add_direntry_plus(req, at, room, ent->d_name, &entry, ent->d_off);
    else
        fuse_add_direntry(req, at, room, ent->d_name, &entry.attr, ent->d_off);
    list->used += n;
    return 0;
}

static int seek_to(struct vn_handle *handle, off_t off)
{
    if (handle->at == off)
        return 0;
    if (lseek(handle->fd, off, SEEK_SET) < 0)
        return -errno;
    handle->at = off;
    return 0;
}

/* => handle->busy held */
static int listing_fill(struct listing *list)
{
    size_t batch = MAX(MIN(list->plus ? list->op->size / 4 : list->op->size, BATCH_MAX), BATCH_MIN);
    CLEANUP_FREE char *ents = malloc(batch);
    int rc = ents ? seek_to(list->handle, list->op->off) : -ENOMEM;
    bool full = false;

    while (!rc && !full) {
        ssize_t n = getdents64(list->handle->fd, ents, batch);
        if (n <= 0) {
            rc = n ? -errno : 0;
            break;
        }
        for (ssize_t i = 0; i < n && !rc && !full;) {
            struct dirent64 *ent = (struct dirent64 *)(ents + i);
            full = listing_add(list, ent);
            i += ent->d_reclen;
            list->handle->at =
                full ? -1 : ent->d_off; /* -1: the descriptor is ahead of the reply */
        }
    }
    return list->used ? 0 : rc; /* an error shows once nothing is left to say before it */
}

static void run_readdir(struct vn_op *op)
{
    struct vn_handle *handle = vn_handle_find(op->fi.fh);
    CLEANUP_FREE char *buf = malloc(op->size);
    CLEANUP_FREE uint64_t *given = malloc((op->size / ENTRY_MIN + 1) * sizeof(*given));
    struct listing list = {
        .op = op, .handle = handle, .plus = op->flags, .buf = buf, .given = given};
    const struct vn_key *key = (const struct vn_key *)op->node->key;

    if (!handle || !buf || !given) {
        vn_op_end(op, handle ? -ENOMEM : -EBADF);
        return;
    }
    list.dev = key->dev;
    pthread_mutex_lock(&handle->busy);
    int rc = listing_fill(&list);
    pthread_mutex_unlock(&handle->busy);
    if (rc) {
        vn_op_end(op, rc);
        return;
    }
    rc = fuse_reply_buf(op->req, buf, list.used);
    for (size_t i = 0; i < list.ngiven && rc; i++)
        vn_forget(given[i], 1);
    vn_op_free(op);
}

static void start_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                          struct fuse_file_info *fi, bool plus)
{
    struct vn_op *op = vn_op_new(req, ino, NULL, NULL, run_readdir);
    if (!op)
        return;
    op->fi = *fi;
    op->size = size;
    op->off = off;
    op->flags = plus;
    vn_op_start(op);
}

void vn_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                   struct fuse_file_info *fi)
{
    start_readdir(req, ino, size, off, fi, false);
}

void vn_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    start_readdir(req, ino, size, off, fi, true);
}
