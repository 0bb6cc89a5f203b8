/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An inode's object is made by the anonymous pager at its first use and detached when the inode ends;
 * st_blocks are its reservations, and the mount's size is all that can be promised. Objects are listed
 * by way of their inodes, which know names and sizes; an object whose file has no name any more is
 * shown without a path.
 */
#include "anon.h"

#include <errno.h>

#include "../daemon/pager/pager.h"
#include "../daemon/reserve.h"
#include "view.h"

static void anon_object_free(struct uvm_object *uobj)
{
    uobj->pgops->pgo_detach(uobj);
}

static uint64_t anon_object_pages(struct uvm_object *uobj)
{
    UVM_LOCK_SCOPE(&uobj->lock);
    return uobj->nreserved;
}

const struct uvm_inode_hooks uvm_anon_hooks = {
    .object_new = uao_create,
    .object_free = anon_object_free,
    .object_pages = anon_object_pages,
    .space = uvm_reserve_space,
};

static void describe(struct uvm_inode *inode, struct uvm_object *uobj,
                     struct uvm_control_object *ret)
{
    if (uvm_inode_path(uvm_inode_ino(inode), ret->path, sizeof(ret->path)))
        ret->path[0] = '\0'; /* unlinked, and still in use */
    ret->size = uvm_inode_size(inode);
    uvm_view_describe(uobj, ret);
}

struct walk {
    int (*fn)(const struct uvm_control_object *object, void *arg);
    void *arg;
    int rc;
};

static void walk_one(struct uvm_inode *inode, struct uvm_object *uobj, void *arg)
{
    struct walk *walk = arg;
    struct uvm_control_object object;

    if (walk->rc)
        return;
    describe(inode, uobj, &object);
    walk->rc = walk->fn(&object, walk->arg);
}

int uvm_anon_objects(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg)
{
    struct walk walk = {.fn = fn, .arg = arg};
    int rc = uvm_inode_foreach_object(walk_one, &walk);
    return rc ? rc : walk.rc;
}

int uvm_anon_object(const char *path, struct uvm_object **ret)
{
    UVM_INODE_REF(inode);
    int rc = uvm_inode_by_path(path, &inode);
    if (rc)
        return rc;
    struct uvm_object *uobj = uvm_inode_object(inode);
    if (!uobj)
        return -ENOENT;
    uobj->pgops->pgo_reference(uobj);
    *ret = uobj;
    return 0;
}

int uvm_anon_find(const char *path, struct uvm_control_object *ret)
{
    UVM_INODE_REF(inode);
    int rc = uvm_inode_by_path(path, &inode);
    if (rc)
        return rc;
    struct uvm_object *uobj = uvm_inode_object(inode);
    if (!uobj)
        return -ENOENT;
    describe(inode, uobj, ret);
    return 0;
}
