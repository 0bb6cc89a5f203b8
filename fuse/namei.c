/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Look-up, and the operations that concern one name. All but look-up have the same course:
 *
 *      references on the inodes -> begin -> look -> decide -> change names -> edits -> commit
 *
 * Deciding and changing happen under the tree lock, so nothing moves in between. Commit puts the
 * edited records into the transaction, and into the in-core inodes once it has succeeded.
 */
#include "namei.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

struct uvm_edit *uvm_edit_of(struct uvm_edits *edits, struct uvm_inode *inode)
{
    for (unsigned i = 0; i < edits->n; i++)
        if (edits->edit[i].inode == inode)
            return &edits->edit[i];
    assert(edits->n < UVM_EDITS_MAX);
    struct uvm_edit *edit = &edits->edit[edits->n++];
    *edit = (struct uvm_edit){.inode = inode};
    return edit;
}

int uvm_edits_commit(struct uvm_txn *txn, const struct uvm_edits *edits)
{
    int error = 0;
    for (unsigned i = 0; i < edits->n && !error; i++)
        error = uvm_edit_put(txn, &edits->edit[i], &edits->now);
    if (!error)
        error = uvm_tree_commit(txn);
    for (unsigned i = 0; i < edits->n && !error; i++)
        uvm_edit_done(&edits->edit[i], &edits->now);
    return error;
}

int uvm_namei_dir(struct uvm_inode *dir, struct uvm_attr *ret)
{
    uvm_inode_attr(dir, ret);
    if (ret->ino == UVM_INO_ROOT)
        return -EPERM;
    if (!S_ISDIR(ret->mode))
        return -ENOTDIR;
    return ret->nlink ? 0 : -ENOENT; /* removed, but somebody's working directory */
}

int uvm_namei_lookup(uint64_t parent, const char *name, struct uvm_inode **ret)
{
    struct uvm_dirent ent;
    int error = uvm_tree_name_get(NULL, parent, name, &ent);
    return error ? error : uvm_inode_get(NULL, ent.ino, ret);
}

/* The record of a file about to be made. */
static struct uvm_attr new_attr(const struct uvm_new *what, const struct uvm_attr *dir,
                                const struct uvm_time *now)
{
    struct uvm_attr attr = {
        .parent = dir->ino,
        .cookie = dir->next_cookie,
        .mode = what->mode,
        .uid = what->uid,
        .gid = what->gid,
        .nlink = 1,
        .atime = *now,
        .mtime = *now,
        .ctime = *now,
    };
    if (S_ISDIR(what->mode)) {
        attr.nlink = 2;
        attr.next_cookie = UVM_COOKIE_FIRST;
    } else if (S_ISLNK(what->mode)) {
        attr.size = strlen(what->target);
    } else if (S_ISCHR(what->mode) || S_ISBLK(what->mode)) {
        attr.rdev = what->rdev;
    }
    if (dir->mode & S_ISGID) {
        attr.gid = dir->gid;
        if (S_ISDIR(what->mode))
            attr.mode |= S_ISGID;
    }
    return attr;
}

int uvm_namei_make(uint64_t parent, const char *name, const struct uvm_new *what,
                   struct uvm_inode **ret)
{
    UVM_INODE_REF(dir);
    UVM_TREE_TXN(txn);
    struct uvm_edits edits = {.now = uvm_time_now()};
    struct uvm_attr dattr, attr;
    bool isdir = S_ISDIR(what->mode);

    int error = uvm_tree_room();
    if (!error)
        error = uvm_inode_get(NULL, parent, &dir);
    if (!error)
        error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_namei_dir(dir, &dattr);
    if (!error && isdir && dattr.nlink >= UVM_NLINK_MAX)
        error = -EMLINK;
    if (error)
        return error;

    attr = new_attr(what, &dattr, &edits.now);
    struct uvm_dirent ent = {.cookie = attr.cookie, .type = uvm_mode_type(attr.mode)};
    if (strlen(name) > UVM_NAME_MAX)
        return -ENAMETOOLONG;
    strcpy(ent.name, name);
    error = uvm_tree_ino_new(&txn, &attr.ino);
    ent.ino = attr.ino;
    if (!error)
        error = uvm_tree_name_add(&txn, parent, &ent);
    if (!error)
        error = uvm_tree_attr_put(&txn, &attr);
    if (!error && S_ISLNK(attr.mode))
        error = uvm_tree_link_put(&txn, attr.ino, what->target);
    if (!error)
        error = uvm_inode_new(&attr, ret);
    if (error)
        return error;

    struct uvm_edit *edit = uvm_edit_of(&edits, dir);
    edit->mtime = true;
    edit->names = 1;
    edit->cookies = 1;
    edit->nlink = isdir;
    error = uvm_edits_commit(&txn, &edits);
    if (error)
        uvm_inode_discard(UVM_TAKE_PTR(*ret));
    return error;
}

int uvm_namei_link(uint64_t ino, uint64_t parent, const char *name, struct uvm_inode **ret)
{
    UVM_INODE_REF(dir);
    UVM_INODE_REF(inode);
    UVM_TREE_TXN(txn);
    struct uvm_edits edits = {.now = uvm_time_now()};
    struct uvm_attr dattr, attr;

    int error = uvm_tree_room();
    if (!error)
        error = uvm_inode_get(NULL, parent, &dir);
    if (!error)
        error = uvm_inode_get(NULL, ino, &inode);
    if (!error)
        error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_namei_dir(dir, &dattr);
    if (error)
        return error;
    uvm_inode_attr(inode, &attr);
    if (S_ISDIR(attr.mode))
        return -EPERM;
    if (!attr.nlink)
        return -ENOENT;
    if (attr.nlink >= UVM_NLINK_MAX)
        return -EMLINK;
    if (strlen(name) > UVM_NAME_MAX)
        return -ENAMETOOLONG;

    struct uvm_dirent ent = {
        .ino = ino, .cookie = dattr.next_cookie, .type = uvm_mode_type(attr.mode)};
    strcpy(ent.name, name);
    error = uvm_tree_name_add(&txn, parent, &ent);
    if (error)
        return error;
    struct uvm_edit *edit = uvm_edit_of(&edits, dir);
    edit->mtime = true;
    edit->names = 1;
    edit->cookies = 1;
    edit = uvm_edit_of(&edits, inode);
    edit->nlink = 1;
    edit->move = !attr.cookie; /* its record has lost the name it pointed at */
    edit->parent = parent;
    edit->cookie = ent.cookie;
    error = uvm_edits_commit(&txn, &edits);
    if (!error)
        *ret = UVM_TAKE_PTR(inode);
    return error;
}

int uvm_namei_remove(uint64_t parent, const char *name, bool directory)
{
    UVM_INODE_REF(dir);
    UVM_INODE_REF(inode);
    UVM_TREE_TXN(txn);
    struct uvm_edits edits = {.now = uvm_time_now()};
    struct uvm_attr dattr, attr;
    struct uvm_dirent ent;

    int error = uvm_inode_get(NULL, parent, &dir);
    if (!error)
        error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_namei_dir(dir, &dattr);
    if (!error)
        error = uvm_tree_name_get(&txn, parent, name, &ent);
    if (!error)
        error = uvm_inode_get(&txn, ent.ino, &inode);
    if (error)
        return error;
    uvm_inode_attr(inode, &attr);
    bool isdir = S_ISDIR(attr.mode);
    if (isdir != directory)
        return isdir ? -EISDIR : -ENOTDIR;
    if (isdir) {
        int empty = uvm_tree_empty(&txn, ent.ino);
        if (empty <= 0)
            return empty < 0 ? empty : -ENOTEMPTY;
    }
    error = uvm_tree_name_del(&txn, parent, &ent);
    if (error)
        return error;

    struct uvm_edit *edit = uvm_edit_of(&edits, dir);
    edit->mtime = true;
    edit->names = -1;
    edit->nlink = -isdir;
    edit = uvm_edit_of(&edits, inode);
    edit->nlink = isdir ? -2 : -1;
    edit->move = attr.parent == parent && attr.cookie == ent.cookie; /* now not known */
    return uvm_edits_commit(&txn, &edits);
}
