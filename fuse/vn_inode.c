/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of nodes: finding, counting, letting go, turns.
 */
#include "vn_inode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "../daemon/pager/pager.h"

static struct {
    struct uvm_lock lock;   /* the table's, UVM_LR_INODE */
    struct vn_node *by_key; /* (T) */
    struct vn_node *by_id;  /* (T) */
    uint64_t next_id;       /* (T) */
    struct vn_node *root;   /* (!) */
} table;

/* => table locked */
static struct vn_node *find_id(uint64_t id)
{
    struct vn_node *node;
    HASH_FIND(hh_id, table.by_id, &id, sizeof(id), node);
    return node;
}

/* => table locked */
static struct vn_node *find_key(const struct vn_key *key, unsigned keylen)
{
    struct vn_node *node;
    HASH_FIND(hh_key, table.by_key, key, keylen, node);
    return node;
}

/* => table locked */
static int table_add(struct vn_node *node)
{
    HASH_ADD(hh_id, table.by_id, id, sizeof(node->id), node);
    if (!node->hh_id.tbl)
        return -ENOMEM;
    HASH_ADD_KEYPTR(hh_key, table.by_key, node->key, node->keylen, node);
    if (node->hh_key.tbl)
        return 0;
    HASH_DELETE(hh_id, table.by_id, node);
    return -ENOMEM;
}

/* => table locked */
static void table_del(struct vn_node *node)
{
    HASH_DELETE(hh_id, table.by_id, node);
    HASH_DELETE(hh_key, table.by_key, node);
    node->hh_id.tbl = NULL;
}

static void node_free(struct vn_node *node)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);

    if (uobj)
        uobj->pgops->pgo_detach(uobj);
    uvn_backing_unref(node->backing);
    if (node->fd >= 0)
        close(node->fd);
    vn_mount_put(node->mount);
    uvm_lock_destroy(&node->lock);
    free(node);
}

static void run_gone(struct vn_job *job)
{
    node_free(UVM_CONTAINER_OF(job, struct vn_node, gone));
}

/* => the key is cut to its length; NULL: no memory. The mount's reference is the caller's still */
static struct vn_node *node_new(const struct vn_key *key, unsigned keylen, mode_t mode,
                                struct vn_mount *mount)
{
    struct vn_node *node = calloc(1, sizeof(*node) + keylen);

    if (!node)
        return NULL;
    node->type = mode & S_IFMT;
    node->mount = mount;
    node->fd = -1;
    node->gone.fn = run_gone;
    STAILQ_INIT(&node->turns);
    uvm_lock_init(&node->lock, UVM_LR_INODE);
    node->keylen = keylen;
    memcpy(node->key, key, keylen);
    return node;
}

/* Where a file has no handle, the time of its birth tells it from an older one of its number; the
 * descriptor that the node keeps sees to it that there is none as long as it is known. */
static void key_make(struct vn_key *key, const struct vn_mount *mount, const struct statx *stx,
                     unsigned *ret_len)
{
    key->dev = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
    key->ino = stx->stx_ino;
    if (mount->fd < 0) {
        key->handle.handle_type = -1;
        key->handle.handle_bytes = sizeof(stx->stx_btime.tv_sec) + sizeof(stx->stx_btime.tv_nsec);
        memcpy(key->room, &stx->stx_btime.tv_sec, sizeof(stx->stx_btime.tv_sec));
        memcpy(key->room + sizeof(stx->stx_btime.tv_sec), &stx->stx_btime.tv_nsec,
               sizeof(stx->stx_btime.tv_nsec));
    }
    *ret_len = (unsigned)(offsetof(struct vn_key, room) + key->handle.handle_bytes);
}

/* What identifies a file: its mount, its attributes, its key. => 0 or -errno */
static int identify(int fd, struct vn_mount **ret_mount, struct vn_key *key, unsigned *ret_len,
                    struct statx *stx)
{
    memset(key, 0, sizeof(*key));
    int rc = vn_mount_of(fd, &key->handle, ret_mount);
    if (rc)
        return rc;
    rc = vn_statx(fd, stx);
    if (rc)
        vn_mount_put(*ret_mount);
    else
        key_make(key, *ret_mount, stx, ret_len);
    return rc;
}

/* Count a look-up of a node that is there already. => true: there is one */
static bool count_known(const struct vn_key *key, unsigned keylen, struct vn_node **ret)
{
    UVM_LOCK_SCOPE(&table.lock);
    *ret = find_key(key, keylen);
    if (*ret)
        (*ret)->nlookup++;
    return *ret;
}

int vn_node_of(int fd, struct vn_node **ret, struct statx *stx)
{
    struct vn_mount *mount;
    struct vn_key key;
    unsigned keylen;

    int rc = identify(fd, &mount, &key, &keylen, stx);
    if (rc)
        return rc;
    struct vn_node *node = NULL;
    if (!count_known(&key, keylen, ret)) {
        node = node_new(&key, keylen, stx->stx_mode, mount);
        if (node && mount->fd < 0)
            node->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (!node || (mount->fd < 0 && node->fd < 0))
            rc = node ? -errno : -ENOMEM;
    }
    if (node && !rc) {
        UVM_LOCK_SCOPE(&table.lock);
        *ret = find_key(&key, keylen); /* somebody else may have been faster */
        if (!*ret) {
            node->id = UVM_INO_VNODE_BIT | table.next_id++;
            rc = table_add(node);
        }
        if (!*ret && !rc) {
            *ret = UVM_TAKE_PTR(node);
            mount = NULL;
        }
        if (!rc)
            (*ret)->nlookup++;
    }
    vn_mount_put(mount);
    if (node) {
        node->mount = NULL;
        node_free(node);
    }
    return rc;
}

struct vn_node *vn_known(int fd)
{
    struct vn_mount *mount;
    struct vn_key key;
    struct statx stx;
    unsigned keylen;

    if (identify(fd, &mount, &key, &keylen, &stx))
        return NULL;
    vn_mount_put(mount);
    UVM_LOCK_SCOPE(&table.lock);
    struct vn_node *node = find_key(&key, keylen);
    if (node)
        node->refs++;
    return node;
}

int vn_table_init(int source_fd, const char *mountpoint)
{
    struct statx stx;

    uvm_lock_init(&table.lock, UVM_LR_INODE);
    table.by_key = table.by_id = table.root = NULL;
    table.next_id = 1;
    vn_mounts_init(mountpoint);
    int rc = vn_node_of(source_fd, &table.root, &stx);
    if (rc)
        return rc;
    UVM_LOCK_SCOPE(&table.lock);
    HASH_DELETE(hh_id, table.by_id, table.root);
    table.root->id = UVM_INO_VNODE_ROOT;
    HASH_ADD(hh_id, table.by_id, id, sizeof(table.root->id), table.root);
    return table.root->hh_id.tbl ? 0 : -ENOMEM;
}

void vn_table_fini(void)
{
    struct vn_node *node, *next;

    HASH_ITER (hh_id, table.by_id, node, next) {
        table_del(node);
        if (!node->taken) /* else it waits for a disk that does not answer, with the pager in it */
            node_free(node);
    }
    uvm_lock_destroy(&table.lock);
}

struct vn_node *vn_find(uint64_t id)
{
    UVM_LOCK_SCOPE(&table.lock);
    return find_id(id);
}

struct vn_node *vn_get(uint64_t id)
{
    UVM_LOCK_SCOPE(&table.lock);
    struct vn_node *node = find_id(id);
    if (node)
        node->refs++;
    return node;
}

void vn_ref(struct vn_node *node)
{
    UVM_LOCK_SCOPE(&table.lock);
    node->refs++;
}

/* => table locked; true: the node is out of the table, and the caller submits its end */
static bool let_go(struct vn_node *node)
{
    if (node->nlookup || node->refs)
        return false;
    if (node->hh_id.tbl)
        table_del(node);
    return true;
}

void vn_unref(struct vn_node *node)
{
    uvm_lock_acquire(&table.lock);
    assert(node->refs);
    node->refs--;
    bool gone = let_go(node);
    bool orphan = !gone && node->orphan && !node->nlookup && node->refs == 1;
    if (orphan) {
        node->orphan = false;
        node->refs++;
    }
    uvm_lock_release(&table.lock);
    if (gone)
        vn_work_submit(&node->gone);
    if (!orphan)
        return;
    vn_settle(node);
    vn_unref(node);
}

void vn_forget(uint64_t id, uint64_t nlookup)
{
    if (id == UVM_INO_VNODE_ROOT)
        return;
    uvm_lock_acquire(&table.lock);
    struct vn_node *node = find_id(id);
    bool last = false, kept = false;
    if (node) {
        node->nlookup -= MIN(nlookup, node->nlookup);
        last = !node->nlookup;
        kept = node->refs;
        node->refs += last;
    }
    uvm_lock_release(&table.lock);
    if (!last)
        return;
    if (kept)
        vn_settle(node);
    vn_unref(node);
}

bool vn_drop(struct vn_node *node)
{
    UVM_LOCK_SCOPE(&table.lock);
    bool drop = !node->nlookup && node->refs == 2;
    node->orphan = !drop;
    if (drop)
        table_del(node);
    return drop;
}

int vn_foreach(void (*fn)(struct vn_node *node, void *arg), void *arg)
{
    CLEANUP_FREE struct vn_node **list = NULL;
    size_t n = 0;

    {
        struct vn_node *node, *next;
        UVM_LOCK_SCOPE(&table.lock);
        list = malloc((HASH_CNT(hh_id, table.by_id) + 1) * sizeof(*list));
        if (!list)
            return -ENOMEM;
        HASH_ITER (hh_id, table.by_id, node, next) {
            if (!atomic_load(&node->uobj))
                continue;
            node->refs++;
            list[n++] = node;
        }
    }
    for (size_t i = 0; i < n; i++) {
        fn(list[i], arg);
        vn_unref(list[i]);
    }
    return 0;
}

void vn_turn(struct vn_node *node, struct vn_job *job)
{
    {
        UVM_LOCK_SCOPE(&node->lock);
        if (node->taken) {
            STAILQ_INSERT_TAIL(&node->turns, job, link);
            return;
        }
        node->taken = true;
    }
    vn_work_submit(job);
}

void vn_turn_end(struct vn_node *node)
{
    struct vn_job *next;
    {
        UVM_LOCK_SCOPE(&node->lock);
        next = STAILQ_FIRST(&node->turns);
        if (next)
            STAILQ_REMOVE_HEAD(&node->turns, link);
        else
            node->taken = false;
    }
    if (next)
        vn_work_submit(next);
}
