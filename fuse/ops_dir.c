/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading directories.
 *
 *      offset   0    1    2 ....... cookie ....... ceiling
 *               .    ..   names, by cookie          not seen: made after the reading began
 *
 * The offset of an entry is its cookie, so reading goes on at the right place whatever was made or
 * removed in between. Names made during a reading would be met by it for ever if the reader makes
 * one for each that it reads; so an open directory has a ceiling, set when reading starts at offset
 * 0.
 *
 * A handle is a number and not an address: one that a former process gave out is not in the table,
 * and is read without a ceiling.
 */
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "../daemon/lock.h"
#include "../daemon/stats.h"

#define DIR_BATCH 32 /* names read from the tree at a time */

struct dir_handle {
    uint64_t fh;      /* key */
    uint64_t ceiling; /* table lock */
    UT_hash_handle hh;
};

static struct {
    struct uvm_lock lock; /* UVM_LR_INODE */
    struct dir_handle *table;
    uint64_t next;
} dirs;

void uvm_dirs_init(void)
{
    uvm_lock_init(&dirs.lock, UVM_LR_INODE);
    dirs.table = NULL;
    dirs.next = uvm_now_ns(); /* none that a former process gave out */
}

void uvm_dirs_fini(void)
{
    struct dir_handle *dir, *next;

    HASH_ITER (hh, dirs.table, dir, next) {
        HASH_DEL(dirs.table, dir);
        free(dir);
    }
    uvm_lock_destroy(&dirs.lock);
}

static struct dir_handle *dir_find(uint64_t fh)
{
    struct dir_handle *dir;
    HASH_FIND(hh, dirs.table, &fh, sizeof(fh), dir);
    return dir;
}

/* The ceiling of a reading; at offset 0 a new one. */
static uint64_t dir_ceiling(uint64_t fh, off_t off, const struct uvm_attr *attr)
{
    UVM_LOCK_SCOPE(&dirs.lock);
    struct dir_handle *dir = dir_find(fh);

    if (!dir)
        return UINT64_MAX;
    if (off == 0)
        dir->ceiling = attr->next_cookie;
    return dir->ceiling;
}

static void dir_close(uint64_t fh)
{
    UVM_LOCK_SCOPE(&dirs.lock);
    struct dir_handle *dir = dir_find(fh);

    if (dir)
        HASH_DEL(dirs.table, dir);
    free(dir);
}

void uvm_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct dir_handle *dir = calloc(1, sizeof(*dir));
    bool added = false;

    if (dir) {
        UVM_LOCK_SCOPE(&dirs.lock);
        dir->fh = dirs.next++;
        dir->ceiling = UINT64_MAX;
        HASH_ADD(hh, dirs.table, fh, sizeof(dir->fh), dir);
        added = dir->hh.tbl != NULL;
    }
    if (!added) {
        free(dir);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    fi->fh = dir->fh;
    if (fuse_reply_open(req, fi))
        dir_close(fi->fh);
}

void uvm_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    dir_close(fi->fh);
    fuse_reply_err(req, 0);
}

/* A reply being filled. */
struct listing {
    fuse_req_t req;
    char *buf;
    size_t size, used;
    bool plus;
    uint64_t *given; /* plus: inodes whose look-ups the reply gives */
    size_t ngiven;
};

/* The smallest entry of a reply: what bounds the number of them. */
#define ENTRY_MIN 32

/* Add one entry. => false: there is no room for it */
static bool listing_add(struct listing *list, const char *name, off_t off,
                        struct fuse_entry_param *entry)
{
    char *at = list->buf + list->used;
    size_t room = list->size - list->used;
    size_t n = list->plus ? fuse_add_direntry_plus(list->req, at, room, name, entry, off)
                          : fuse_add_direntry(list->req, at, room, name, &entry->attr, off);
    if (n > room)
        return false;
    list->used += n;
    return true;
}

static bool listing_dot(struct listing *list, const char *name, off_t off, uint64_t ino)
{
    struct fuse_entry_param entry = {.attr = {.st_ino = ino, .st_mode = S_IFDIR}};
    return listing_add(list, name, off, &entry);
}

/* Add a name; with plus its attributes and a look-up. A file that has just gone is passed over; the
 * top directory of another tree is a name alone (fs.h). */
static bool listing_name(struct listing *list, const struct uvm_dirent *ent)
{
    struct fuse_entry_param entry = {
        .attr = {.st_ino = ent->ino, .st_mode = (mode_t)ent->type << 12}};
    bool plus = list->plus && uvm_fs_of(ent->ino) == &uvm_fs_anon;
    UVM_INODE_REF(inode);

    if (plus) {
        if (uvm_inode_get(NULL, ent->ino, &inode))
            return true;
        uvm_entry_fill(inode, &entry);
    }
    if (!listing_add(list, ent->name, (off_t)ent->cookie, &entry))
        return false;
    if (plus) {
        uvm_inode_remember(inode, 1);
        list->given[list->ngiven++] = ent->ino;
    }
    return true;
}

static int listing_fill(struct listing *list, const struct uvm_attr *attr, off_t off,
                        uint64_t ceiling)
{
    struct uvm_dirent ents[DIR_BATCH];
    uint64_t at = (uint64_t)off;
    int n;

    if (at < 1 && !listing_dot(list, ".", 1, attr->ino))
        return 0;
    if (at < 2 && !listing_dot(list, "..", 2, attr->parent ? attr->parent : attr->ino))
        return 0;
    at = MAX(at, 2u);
    do {
        n = uvm_tree_list(attr->ino, at, ceiling, ents, DIR_BATCH);
        for (int i = 0; i < n; i++) {
            if (!listing_name(list, &ents[i]))
                return 0;
            at = ents[i].cookie;
        }
    } while (n == DIR_BATCH);
    return list->used ? 0 : MIN(n, 0); /* an error shows once nothing is left to say before it */
}

static void read_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           const struct fuse_file_info *fi, bool plus)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    CLEANUP_FREE char *buf = malloc(size);
    CLEANUP_FREE uint64_t *given = plus ? malloc((size / ENTRY_MIN + 1) * sizeof(*given)) : NULL;
    struct uvm_attr attr;

    if (!inode || !buf || (plus && !given) || off < 0) {
        fuse_reply_err(req, off < 0 ? EINVAL : inode ? ENOMEM : ENOENT);
        return;
    }
    uvm_inode_attr(inode, &attr);
    struct listing list = {.req = req, .buf = buf, .size = size, .plus = plus, .given = given};
    int error = listing_fill(&list, &attr, off, dir_ceiling(fi->fh, off, &attr));
    if (error) {
        fuse_reply_err(req, -error);
        return;
    }
    uvm_inode_accessed(inode);
    error = fuse_reply_buf(req, buf, list.used);
    for (size_t i = 0; i < list.ngiven && error; i++)
        uvm_inode_forget(given[i], 1);
}

void uvm_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    read_directory(req, ino, size, off, fi, false);
}

void uvm_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi)
{
    read_directory(req, ino, size, off, fi, true);
}
