/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rename(2) with all its flags.
 *
 *      from/a    to/b      plain, b missing    a's entry moves to b
 *                          plain, b there      b's entry is given a's file, a's entry goes
 *                          RENAME_EXCHANGE     the entries swap their files
 *                          RENAME_WHITEOUT     as plain; a's entry is given a new whiteout
 *
 * Cookies, so that a readdir under way meets every name that exists throughout exactly once: an
 * entry that is given another file keeps its cookie; a name that is new in its directory takes over
 * the cookie of the name it replaces there, and gets a new one only when it comes from elsewhere.
 * So a program that renames what it reads does not meet the same file for ever.
 */
#include "namei.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct rename {
    struct uvm_txn *txn;
    struct uvm_edits edits;
    unsigned flags;
    const struct uvm_new *who;
    struct uvm_inode *from, *to;      /* directories, may be one */
    struct uvm_attr fattr, tattr;     /* of the directories */
    struct uvm_dirent src, dst;       /* as they were */
    bool replace;                     /* dst is there */
    struct uvm_inode *moved, *target; /* the files; target NULL unless replace */
    bool moved_dir, target_dir;
};

static int rename_flags(unsigned flags)
{
    if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    if ((flags & RENAME_EXCHANGE) && flags != RENAME_EXCHANGE)
        return -EINVAL;
    return 0;
}

/* May it happen? => 0 or -errno */
static int rename_check(struct rename *rn)
{
    bool across = rn->from != rn->to;

    if (rn->flags & RENAME_EXCHANGE) {
        if (across && rn->moved_dir && !rn->target_dir && rn->tattr.nlink >= UVM_NLINK_MAX)
            return -EMLINK;
        if (across && rn->target_dir && !rn->moved_dir && rn->fattr.nlink >= UVM_NLINK_MAX)
            return -EMLINK;
        return 0;
    }
    if (rn->replace && rn->moved_dir != rn->target_dir)
        return rn->moved_dir ? -ENOTDIR : -EISDIR;
    if (rn->replace && rn->target_dir) {
        int empty = uvm_tree_empty(rn->txn, rn->dst.ino);
        if (empty <= 0)
            return empty < 0 ? empty : -ENOTEMPTY;
    }
    if (across && rn->moved_dir && !rn->replace && rn->tattr.nlink >= UVM_NLINK_MAX)
        return -EMLINK;
    return 0;
}

/* A file's name moves: its record is to point there if it is a directory or pointed at the old one.
 */
static void rename_hint(struct rename *rn, struct uvm_inode *inode, const struct uvm_dirent *old,
                        uint64_t old_parent, uint64_t parent, uint64_t cookie)
{
    struct uvm_attr attr;
    uvm_inode_attr(inode, &attr);
    if (attr.cookie && (attr.parent != old_parent || attr.cookie != old->cookie))
        return;
    struct uvm_edit *edit = uvm_edit_of(&rn->edits, inode);
    edit->move = true;
    edit->parent = parent;
    edit->cookie = cookie;
}

/* The two parents' edits, with the links that directories moving between them take along. */
static void rename_parents(struct rename *rn, int from_links, int to_links)
{
    struct uvm_edit *edit = uvm_edit_of(&rn->edits, rn->from);
    edit->mtime = true;
    edit->nlink += from_links;
    edit = uvm_edit_of(&rn->edits, rn->to);
    edit->mtime = true;
    edit->nlink += to_links;
}

static int rename_exchange(struct rename *rn)
{
    struct uvm_dirent src = rn->src, dst = rn->dst;
    uint64_t from = rn->fattr.ino, to = rn->tattr.ino;

    src.ino = rn->dst.ino;
    src.type = rn->dst.type;
    dst.ino = rn->src.ino;
    dst.type = rn->src.type;
    int error = uvm_tree_name_set(rn->txn, from, &src);
    if (!error)
        error = uvm_tree_name_set(rn->txn, to, &dst);
    if (error)
        return error;
    rename_parents(rn, rn->target_dir - rn->moved_dir, rn->moved_dir - rn->target_dir);
    uvm_edit_of(&rn->edits, rn->moved);
    uvm_edit_of(&rn->edits, rn->target);
    rename_hint(rn, rn->moved, &rn->src, from, to, dst.cookie);
    rename_hint(rn, rn->target, &rn->dst, to, from, src.cookie);
    return 0;
}

/* Leave a whiteout, the device 0/0, under the old name. */
static int rename_whiteout(struct rename *rn)
{
    struct uvm_time now = rn->edits.now;
    struct uvm_dirent ent = rn->src;
    struct uvm_attr attr = {
        .parent = rn->fattr.ino,
        .cookie = ent.cookie,
        .mode = S_IFCHR,
        .uid = rn->who->uid,
        .gid = rn->fattr.mode & S_ISGID ? rn->fattr.gid : rn->who->gid,
        .nlink = 1,
        .atime = now,
        .mtime = now,
        .ctime = now,
    };
    int error = uvm_tree_ino_new(rn->txn, &attr.ino);
    ent.ino = attr.ino;
    ent.type = uvm_mode_type(attr.mode);
    if (!error)
        error = uvm_tree_attr_put(rn->txn, &attr);
    return error ? error : uvm_tree_name_set(rn->txn, rn->fattr.ino, &ent);
}

static int rename_move(struct rename *rn)
{
    bool whiteout = rn->flags & RENAME_WHITEOUT, within = rn->from == rn->to;
    bool fresh = !rn->replace && (whiteout || !within); /* the new name needs a new cookie */
    uint64_t from = rn->fattr.ino, to = rn->tattr.ino;
    struct uvm_dirent ent = rn->dst;

    ent.ino = rn->src.ino;
    ent.type = rn->src.type;
    if (!rn->replace)
        ent.cookie = fresh ? rn->tattr.next_cookie : rn->src.cookie;
    int error = whiteout ? rename_whiteout(rn) : uvm_tree_name_del(rn->txn, from, &rn->src);
    if (!error)
        error = rn->replace ? uvm_tree_name_set(rn->txn, to, &ent)
                            : uvm_tree_name_add(rn->txn, to, &ent);
    if (error)
        return error;

    rename_parents(rn, -rn->moved_dir, rn->moved_dir - rn->target_dir);
    uvm_edit_of(&rn->edits, rn->from)->names -= !whiteout;
    uvm_edit_of(&rn->edits, rn->to)->names += !rn->replace;
    uvm_edit_of(&rn->edits, rn->to)->cookies = fresh;
    uvm_edit_of(&rn->edits, rn->moved);
    rename_hint(rn, rn->moved, &rn->src, from, to, ent.cookie);
    if (rn->replace) {
        uvm_edit_of(&rn->edits, rn->target)->nlink = rn->target_dir ? -2 : -1;
        rename_hint(rn, rn->target, &rn->dst, to, 0, 0);
    }
    return 0;
}

/* Look at both names and take references on their files. => 1: nothing is to be done */
static int rename_look(struct rename *rn, const char *from_name, const char *to_name)
{
    int error = uvm_namei_dir(rn->from, &rn->fattr);
    if (!error)
        error = uvm_namei_dir(rn->to, &rn->tattr);
    if (!error)
        error = uvm_tree_name_get(rn->txn, rn->fattr.ino, from_name, &rn->src);
    if (error)
        return error;
    error = uvm_tree_name_get(rn->txn, rn->tattr.ino, to_name, &rn->dst);
    if (error && error != -ENOENT)
        return error;
    rn->replace = !error;
    if (!rn->replace && (rn->flags & RENAME_EXCHANGE))
        return -ENOENT;
    if (rn->replace && (rn->flags & RENAME_NOREPLACE))
        return -EEXIST;
    if (rn->replace && rn->src.ino == rn->dst.ino)
        return 1; /* two names of one file stay as they are */
    if (!rn->replace)
        snprintf(rn->dst.name, sizeof(rn->dst.name), "%s", to_name);
    error = uvm_inode_get(rn->txn, rn->src.ino, &rn->moved);
    if (!error && rn->replace)
        error = uvm_inode_get(rn->txn, rn->dst.ino, &rn->target);
    if (error)
        return error;
    rn->moved_dir = S_ISDIR(uvm_inode_mode(rn->moved));
    rn->target_dir = rn->replace && S_ISDIR(uvm_inode_mode(rn->target));
    return 0;
}

static int rename_run(struct rename *rn, const char *from_name, const char *to_name)
{
    UVM_TREE_TXN(txn);
    rn->txn = &txn;

    int error = uvm_tree_begin(&txn);
    if (!error)
        error = rename_look(rn, from_name, to_name);
    if (error)
        return MIN(error, 0);
    error = rename_check(rn);
    if (!error)
        error = rn->flags & RENAME_EXCHANGE ? rename_exchange(rn) : rename_move(rn);
    return error ? error : uvm_edits_commit(&txn, &rn->edits);
}

int uvm_namei_rename(uint64_t from, const char *from_name, uint64_t to, const char *to_name,
                     unsigned flags, const struct uvm_new *who)
{
    struct rename rn = {.edits.now = uvm_time_now(), .flags = flags, .who = who};

    int error = rename_flags(flags);
    if (!error && (flags & RENAME_WHITEOUT))
        error = uvm_tree_room();
    if (!error)
        error = uvm_inode_get(NULL, from, &rn.from);
    if (!error)
        error = uvm_inode_get(NULL, to, &rn.to);
    if (!error)
        error = rename_run(&rn, from_name, to_name);
    uvm_inode_put(rn.target); /* after the transaction: the last one out may begin one */
    uvm_inode_put(rn.moved);
    uvm_inode_put(rn.to);
    uvm_inode_put(rn.from);
    return error;
}
