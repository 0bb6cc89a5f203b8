/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request on the vnode tree on its way from the loop to a worker and to its reply.
 *
 *      handler (loop)  vn_op_new: node found, arguments copied --> vn_op_start
 *      run (worker)    does it, replies, vn_op_free
 *
 * libfuse's arguments end with the handler, so names and values are copied. The node needs no reference:
 * the kernel's look-up keeps it until the reply.
 */
#ifndef UVMD_FUSE_VN_OP_H
#define UVMD_FUSE_VN_OP_H

#include "vn_inode.h"

/* Somebody may change the source behind our back: what the kernel was told is good for so long. */
#define VN_TIMEOUT 1.0 /* seconds */

struct vn_op {
    struct vn_job job;
    void (*run)(struct vn_op *op); /* on a worker, as root; frees the op */
    fuse_req_t req;
    struct vn_node *node;
    struct vn_node *node2; /* rename, link: the other one */
    char *name, *name2;    /* copies, or NULL */
    void *value;           /* a copy, or NULL */
    size_t size;
    off_t off;
    int flags; /* of rename, setxattr; whence; to_set; datasync */
    mode_t mode;
    dev_t rdev;
    struct stat attr;
    int fd; /* create: of the new file; -1 */
    bool has_fi;
    struct fuse_file_info fi;
};

/*
 * vn_op_new: => NULL: replied with an error; otherwise the request counts as in hand until
 * vn_op_free. name, name2: copied; one that is no plain name is refused
 */
struct vn_op *vn_op_new(fuse_req_t req, fuse_ino_t ino, const char *name, const char *name2,
                        void (*run)(struct vn_op *op));
void vn_op_free(struct vn_op *op);

/* vn_op_start: have it run on a worker. vn_op_start_turn: when the node's turn has come; run ends the
 * turn (vn_turn_end) before it replies. */
void vn_op_start(struct vn_op *op);
void vn_op_start_turn(struct vn_op *op);

/* vn_op_end: reply with an error, or success that has nothing to say, and free. => rc: 0 or -errno */
void vn_op_end(struct vn_op *op, int rc);

/* vn_loop: the loop of some request there has been, for work that wants one. */
struct uvm_loop *vn_loop(void);

/* vn_errno: what a caller gets to see of an error of the daemon's: its own limits are not theirs. */
int vn_errno(int rc);

/*
 * vn_show: attributes as a client sees them: the store's, and what the node knows better.
 *
 * => as root: the store may have to be asked again
 */
void vn_show(struct vn_node *node, const struct statx *stx, struct stat *ret);

/* vn_show_ino: the number under which a file of the source is shown. */
uint64_t vn_show_ino(uint64_t dev, uint64_t ino);

/* vn_entry: what a look-up's reply says of a node. */
void vn_entry(struct vn_node *node, const struct statx *stx, struct fuse_entry_param *ret);

/* vn_root_is: whose number is the top directory's own. */
void vn_root_is(const struct statx *stx);

/*
 * Times (struct vn_times).
 *
 *  vn_times_wrote    a client has stored something: now
 *  vn_times_set      a client has set the time of modification; stx: the store afterwards
 *  vn_times_touched  we have changed the file otherwise (mode, links, ...): the stamp follows
 *  vn_times_resized  we have changed its size or blocks: like a write that is on the store already;
 *                    dirty: not all of it
 *  vn_times_foreign  has somebody else changed the file? => false while ours count anyhow
 *  vn_times_foreign_stamp  he has, and we have forgotten what we held: theirs count
 *  vn_times_unset    => true: the store does not have our time of modification yet: that is *ret_mtime
 *  vn_times_put      it has now, unless there was a write since that: gen is that of vn_times_unset
 */
void vn_times_wrote(struct vn_node *node);
void vn_times_set(struct vn_node *node, const struct statx *stx);
void vn_times_touched(struct vn_node *node, const struct statx *stx);
void vn_times_resized(struct vn_node *node, const struct statx *stx, bool dirty);
bool vn_times_foreign(struct vn_node *node, const struct statx *stx);
void vn_times_foreign_stamp(struct vn_node *node, const struct statx *stx);
bool vn_times_unset(struct vn_node *node, struct timespec *ret_mtime, uint64_t *ret_gen);
void vn_times_put(struct vn_node *node, uint64_t gen, const struct statx *stx);

/* vn_touched: vn_times_touched with the file's attributes of now. => as root, on a worker */
void vn_touched(struct vn_node *node, int fd);

/*
 * Handles: what an open file or directory has besides its node. A number, not an address: one that
 * another process gave out is not in the table.
 */
struct vn_handle {
    uint64_t fh;          /* (!) key */
    struct vn_node *node; /* (!) referenced */
    uint32_t error_seq;   /* the handles' lock; files: which write errors it has been told of */
    bool writer;          /* (!) files */
    int fd;               /* (!) directories: -1 for files */
    off_t at;             /* directories: where fd stands; of whoever serves the handle */
    pthread_mutex_t busy; /* directories: one reader at a time */
    UT_hash_handle hh;    /* the handles' lock */
};

void vn_handles_init(void);
/* vn_handles_fini: close those still open. => the workers have ended */
void vn_handles_fini(void);
/* vn_handle_new: => fd passes over, also on failure; NULL: no memory */
struct vn_handle *vn_handle_new(struct vn_node *node, int fd, bool writer);
/* vn_handle_find: => stays until its release, which the kernel sends last; NULL: there is none */
struct vn_handle *vn_handle_find(uint64_t fh);
/* vn_handle_close: => on a worker */
void vn_handle_close(struct vn_handle *handle);
/* vn_handle_error: a write error that this handle has not been told of. => any thread; 0 or -errno; told: from
 * now on it has */
int vn_handle_error(struct vn_handle *handle, bool told);

/*
 * Backings (vn_backing.c). All in the node's turn, on a worker, as root.
 *
 * vn_backing_open: the object and descriptors for it, to write as well if asked; one more handle.
 *    fd: O_PATH. => 0 or -errno; *ret_keep: what the kernel holds of the file is still right
 * vn_backing_close: one handle less.
 * vn_backing_upgrade: if it has a backing, it is one to write. => whoever asks for it may write
 * vn_backing_clean: have the store's times right if nothing is dirty.
 */
int vn_backing_open(struct vn_node *node, int fd, bool writer, bool *ret_keep);
void vn_backing_close(struct vn_node *node, bool writer);
int vn_backing_upgrade(struct vn_node *node, int fd);
void vn_backing_clean(struct vn_node *node);

/* vn_is_open: has it handles? => any thread; no locks of the inode's rank */
bool vn_is_open(struct vn_node *node);

/* vn_revalidate: somebody else has changed the file: forget what we hold of it that is not newer.
 * => in the node's turn; true: it was so, *stx is the new state */
bool vn_revalidate(struct vn_node *node, int fd, struct statx *stx);

/* vn_cleaned: the pager's report; for uvn_set_cleaned. */
void vn_cleaned(uint64_t id);

/* The operations; one table (vn.c). */
void vn_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void vn_op_root(fuse_req_t req);
void vn_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vn_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                   struct fuse_file_info *fi);
void vn_op_readlink(fuse_req_t req, fuse_ino_t ino);
void vn_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void vn_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void vn_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void vn_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void vn_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void vn_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                  const char *newname, unsigned int flags);
void vn_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void vn_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vn_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_file_info *fi);
void vn_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vn_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vn_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void vn_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vn_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                   struct fuse_file_info *fi);
void vn_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi);
void vn_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vn_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void vn_op_statfs(fuse_req_t req, fuse_ino_t ino);
void vn_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                    size_t size, int flags);
void vn_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void vn_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void vn_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void vn_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                     struct fuse_file_info *fi);
void vn_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);

/* vn_truncate: vn_op_setattr with a size: vn_size.c. => the op is its own from now on */
void vn_truncate(struct vn_op *op);
/* vn_setattr_rest: what else the request sets, and the reply; frees the op. => on a worker, as root,
 * in no turn */
void vn_setattr_rest(struct vn_op *op, int fd);

#endif
