/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nodes: the files of the source that the kernel knows, or that have something to be kept for.
 *
 *      (dev, ino, handle) --> node <-- node id
 *                              |
 *              the file itself: by its handle, opened for each operation and closed after it;
 *                               or by a descriptor that stays open, where there are no handles and
 *                               where the handle has no name left to live by
 *
 * So a hundred thousand files that are known cost no descriptors. A node is found again by its key: two
 * names of one file are one node, and a new file with the number of an old one is another node.
 *
 * A node goes when the kernel has no look-up of it and there is no reference: each open handle is one,
 * a backing (descriptors of the pager's, which stay while pages are dirty) is one, and whoever works on
 * it without a request of the kernel's. It is taken out of the table at once, and freed by a worker.
 *
 * Turns. What opens, closes, cuts or cleans a file is a sequence of steps on loops and workers, with
 * system calls in between, and no lock can be held over it. Such work takes its turn: one at a time has
 * the node.
 *
 * Locks. The table's and the nodes' are UVM_LR_INODE; no thread holds two of them, nor one of them over a
 * system call on the source.
 *
 * (!) fixed  (T) the table's lock  (N) the node's lock  (t) whoever has the turn  (a) atomic
 */
#ifndef UVMD_FUSE_VN_INODE_H
#define UVMD_FUSE_VN_INODE_H

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "../daemon/lock.h"
#include "../daemon/pager/vnode.h"
#include "vn.h"
#include "vn_work.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A mount: the source's, or one below it. */
struct vn_mount {
    int id;        /* (!) the kernel's number */
    int fd;        /* (!) a file in it, for handles; -1: it has none that could be used */
    unsigned refs; /* the mounts' lock: nodes, and look-ups under way */
    LIST_ENTRY(vn_mount) link; /* the mounts' lock */
};

/* vn_mounts_init: mountpoint is ours, kept by reference: nothing of it is ever looked into. */
void vn_mounts_init(const char *mountpoint);

/*
 * vn_mount_of: the mount of a file, referenced; and its handle, where it has one.
 *
 * => as root, on a worker; handle has room for MAX_HANDLE_SZ
 * => 0 or -errno; -ELOOP: it is our own
 */
int vn_mount_of(int fd, struct file_handle *handle, struct vn_mount **ret);
void vn_mount_put(struct vn_mount *mount);

/* What tells a file from all others, also from one that had its number before. */
struct vn_key {
    uint64_t dev, ino;
    struct file_handle handle; /* or, type -1, its time of birth */
    unsigned char room[MAX_HANDLE_SZ];
};

/*
 * Times of a file that clients have written. The store's own follow with the page-outs, so they
 * say when the disk was written and not when the file was; so the node has the better ones until the
 * file is changed by somebody else.
 */
struct vn_times {
    bool written; /* since the stamp was taken: ours count whatever the store says */
    bool shown;   /* ours count while the store's are those of the stamp */
    bool stamped; /* the stamp is something */
    uint64_t gen; /* goes up with each write */
    struct timespec mtime, ctime;
    struct {
        struct timespec mtime, ctime;
        uint64_t size;
    } stamp; /* the store's, after our own last change */
};

struct vn_node {
    uint64_t id;            /* (!) */
    mode_t type;            /* (!) S_IFMT */
    struct vn_mount *mount; /* (!) */
    atomic_int fd;          /* set once: a descriptor (O_PATH) that stays; -1: by handle */
    uint64_t nlookup;       /* (T) */
    unsigned refs;          /* (T) */
    bool orphan;            /* (T) vn_drop is to be tried again when other references go */
    UT_hash_handle hh_key;  /* (T) */
    UT_hash_handle hh_id;   /* (T) */

    struct uvm_lock lock;
    _Atomic(struct uvm_object *) uobj; /* set once, in a turn; regular files */
    struct uvn_backing *backing;       /* (t) the object has it too; a reference of our own */
    bool writable;                     /* (t) the backing is */
    unsigned nopen, nwrite;            /* (N) handles, and those of them that can write */
    struct vn_times times;             /* (N) */
    _Atomic bool nocaps; /* (a) it has no file capabilities: the kernel asks before every write */

    bool taken;           /* (N) somebody has the turn */
    struct vn_jobs turns; /* (N) who waits for it */
    struct vn_job settle; /* vn_settle's; queued while settling is set */
    bool settling;        /* (N) */
    struct vn_job gone;   /* frees it */

    unsigned keylen;        /* (!) bytes */
    _Alignas(8) char key[]; /* (!) struct vn_key, cut to length */
};

/* vn_table_init: the source becomes the root, which stays. => 0 or -errno; takes over no descriptor */
int vn_table_init(int source_fd, const char *mountpoint);
/* vn_table_fini: free every node. => the workers have ended */
void vn_table_fini(void);

/* vn_find: the node of an id on which the kernel holds a look-up, or NULL. */
struct vn_node *vn_find(uint64_t id);

/* vn_ref / vn_unref: => vn_unref: any thread, no lock; does not block */
void vn_ref(struct vn_node *node);
void vn_unref(struct vn_node *node);
/* vn_get: the node of an id, referenced, or NULL. */
struct vn_node *vn_get(uint64_t id);

/* vn_forget: the kernel drops look-ups, or never got them. => any thread, no lock; does not block */
void vn_forget(uint64_t id, uint64_t nlookup);

/*
 * vn_node_of: the node of a file, made if need be, with one look-up counted.
 *
 * => as root, on a worker; fd: O_PATH, stays the caller's
 * => stx: its attributes
 * => 0 or -errno; -ELOOP: it is in our own mount
 */
int vn_node_of(int fd, struct vn_node **ret, struct statx *stx);

/* vn_known: the node of a file, referenced, if there is one. => as root, not on a loop */
struct vn_node *vn_known(int fd);

/*
 * vn_drop: let nobody find a node any more that nothing keeps but its backing, and the caller.
 *
 * => the caller has a reference; true: done; false: somebody else has use for it; if he lets go, and no
 *    look-up is left, vn_settle follows
 */
bool vn_drop(struct vn_node *node);

/* vn_settle: have a worker look after a node that has become clean, or is not known to the kernel any
 * more: vn_backing.c. => any thread, no lock; the node stays until this returns */
void vn_settle(struct vn_node *node);

/* vn_foreach: call fn with every node that has an object, referenced. => 0 or -ENOMEM */
int vn_foreach(void (*fn)(struct vn_node *node, void *arg), void *arg);

/*
 * A descriptor (O_PATH) of a node's file for a while.
 *
 * vn_pin => as root, on a worker; 0 or -errno: -ESTALE when the file is gone
 */
struct vn_pin {
    int fd;
    bool own;
};
int vn_pin(struct vn_node *node, struct vn_pin *ret);

static inline void vn_pin_scope_end(struct vn_pin *pin)
{
    if (pin->own)
        close(pin->fd);
}
#define VN_PIN(name) struct vn_pin name UVM_CLEANUP(vn_pin_scope_end) = {.fd = -1}

/* vn_keep: have the node keep a descriptor of its own, for it is about to lose its last name. */
void vn_keep(struct vn_node *node, int fd);

/* vn_proc: the path by which a descriptor is opened or named again. */
struct vn_proc {
    char path[32];
};
struct vn_proc vn_proc(int fd);

/* vn_open_below: a descriptor (O_PATH) by a path that may not lead out nor through links. => or -errno */
int vn_open_below(int dirfd, const char *path);

/* vn_statx: all there is to know of a descriptor. => as root; 0 or -errno */
int vn_statx(int fd, struct statx *ret);

/*
 * vn_turn: have job->fn called on a worker when nobody else has the node's turn; it has it then.
 * vn_turn_end: the next.
 *
 * => any thread, no lock; the node stays: the kernel's look-up or a reference of the job's
 */
void vn_turn(struct vn_node *node, struct vn_job *job);
void vn_turn_end(struct vn_node *node);

#endif
