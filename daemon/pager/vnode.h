/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager: objects whose backing store is a file.
 *
 *      read     absent pages --> one read per run --> arena          (read-ahead: readahead.h)
 *      write    dirty pages <-- WRITE;  they leave in clusters of neighbours:
 *               pagedaemon, fsync, write-behind --> uvn_flush / pgo_put --> O_DIRECT write
 *
 * The file's size while the object lives is the object's: bytes that clients have written beyond the
 * end of the file are in dirty pages first. A page-out never goes beyond it: whole blocks are written
 * with O_DIRECT, the rest of the last block through a second, buffered descriptor, so the file never
 * gets longer than what clients wrote. What lies beyond the end of the file but within the size reads
 * as zeroes.
 *
 * A page whose write fails stays dirty (P1) and is tried again later; the error is kept, and every
 * open descriptor gets it once (uvn_error_since).
 *
 * Pages of a vnode hold no reservation and no slot: their entries are EMPTY or PAGE.
 *
 * pgo_flush never writes, because it never waits: FREE drops pages, dirty or not; DEACTIVATE is as for
 * any object; CLEANIT makes dirty pages due for write-behind at once (and then FREE spares them).
 * Whoever wants to know when they are written, and how that went, uses a struct uvn_flush.
 */
#ifndef UVMD_PAGER_VNODE_H
#define UVMD_PAGER_VNODE_H

#include "../stats.h"
#include "pager.h"
#include "readahead.h"

/*
 * The descriptors of a file, counted: a transfer holds a reference, so they can be replaced by
 * better ones (read only by read-write) while transfers are under way.
 */
struct uvn_backing {
    _Atomic unsigned refs; /* (a) the last one closes */
    int fd;                /* (!) O_DIRECT where the file system has it */
    int tail_fd;    /* (!) buffered, for what is no whole block; may be fd itself; -1 read only */
    uint32_t align; /* (!) bytes: block of a direct transfer; 1 when fd is buffered */
};

/* uvn_backing_new: => one reference; takes over the descriptors, also when it fails; NULL: no memory
 * => align: a power of two, at most a page: where the file system wants more, fd is buffered */
struct uvn_backing *uvn_backing_new(int fd, int tail_fd, uint32_t align);
struct uvn_backing *uvn_backing_ref(struct uvn_backing *backing);
void uvn_backing_unref(struct uvn_backing *backing); /* NULL is allowed */

struct uvn_change;

/* Somebody who waits for the end of a change. */
struct uvn_wait {
    struct uvm_work work;
    struct uvm_loop *loop;
    TAILQ_ENTRY(uvn_wait) link;
};

struct uvm_vnode {
    struct uvm_object uobj;      /* first: a vnode's object is the vnode */
    struct uvn_backing *backing; /* (O) NULL: the file is not open, and nothing is dirty */
    uint64_t size;               /* (O) bytes */
    uint64_t eof;                /* (O) bytes that the file has; what is absent beyond is zero */
    uint64_t epoch;              /* (O) counts when the file's bytes change but by page-out */
    uint64_t retry_ns;           /* (O) a write failed: leave it alone until then; 0: none did */
    unsigned ngets, nputs;       /* (O) page-ins and transfers to the file under way */
    int error;                   /* (O) of the last failed write */
    uint32_t error_seq;          /* (O) counts failures: who saw which */
    struct uvm_readahead ra;     /* (O) */
    struct uvn_change *change;   /* (O) under way, or waiting for transfers to end */
    TAILQ_HEAD(, uvn_change) changes; /* (O) those that wait for it */
    TAILQ_HEAD(, uvm_getreq) parked;  /* (O) page-ins that wait for it */
    TAILQ_HEAD(, uvn_wait) waits;     /* (O) others that do */
    bool listed;                      /* (D) and (O): on the list of dirty vnodes */
    bool cleaning;                    /* (D) write-behind has it in hand */
    bool failing;                     /* (D) its last write has failed */
    uint64_t dirty_since_ns;          /* (D) when its oldest dirty page became so */
    uint64_t resume_ns;               /* (D) write-behind leaves it alone until then */
    TAILQ_ENTRY(uvm_vnode) link;      /* (D) the dirty list's lock */
};

static inline struct uvm_vnode *uvm_vnode(struct uvm_object *uobj)
{
    return (struct uvm_vnode *)uobj;
}

/* uvn_new: a vnode object with one reference, in the object table, without backing. => or NULL */
struct uvm_object *uvn_new(uint64_t id, uint64_t size);

/*
 * uvn_set_backing: give it descriptors (the reference passes over), or take them away with NULL.
 *
 * => NULL only when nothing is dirty and no transfer is under way: false, nothing done, otherwise
 */
bool uvn_set_backing(struct uvm_object *uobj, struct uvn_backing *backing);

/* uvn_failing: has a write failed so lately that another attempt would be too soon? => object
 * locked */
static inline bool uvn_failing(struct uvm_object *uobj)
{
    return uvm_vnode(uobj)->retry_ns && uvm_vnode(uobj)->retry_ns > uvm_now_ns();
}

uint64_t uvn_size(struct uvm_object *uobj);
uint64_t uvn_ndirty(struct uvm_object *uobj);

/*
 * uvn_error_since: has a write failed since *seq? Reported once to each holder of a seq.
 *
 * => 0, or -errno; *seq is up to date then. uvn_error_seq gives a new holder its start
 */
int uvn_error_since(struct uvm_object *uobj, uint32_t *seq);
uint32_t uvn_error_seq(struct uvm_object *uobj);

/*
 * A flush under way: clean [start, stop) to the file.
 *
 *      room in the pager map --> gather a cluster from `at` on --> put --+--> next
 *                                                                        +--> nothing left, none in
 *                                                 flight: fsync if asked --> done
 *
 * The pager map is had before pages are made BUSY, so nobody waits for it with a busy page. Pages
 * that somebody else is writing are waited for: when done runs, all that was dirty when the flush
 * began is in the file, or an error says that it is not. It goes through the range once, so it ends
 * however fast clients store behind it.
 */
struct uvn_flush {
    /* the caller's */
    struct uvm_object *uobj; /* referenced until done */
    struct uvm_loop *loop;   /* this thread's */
    uint32_t start, stop;    /* pages; a stop beyond the end is the end */
    enum uvn_sync { UVN_FLUSH, UVN_FDATASYNC, UVN_FSYNC } sync; /* and then have the file synced */
    /* done: 0 or the first -errno. => loop's thread, no lock; the flush is the caller's again; may
     * run before uvn_flush_start returns */
    void (*done)(struct uvn_flush *flush, int error);
    void *arg;

    /* the pager's own, or the caller's from uvn_flush_state_new: then nothing is allocated */
    struct uvn_flush_state *state;
};

/* uvn_flush_start: => no lock held; without memory for its state it ends with -ENOMEM
 * => never between uvn_change_begin and _end of the same vnode: it waits for the end */
void uvn_flush_start(struct uvn_flush *flush);

/* uvn_flush_state_new: memory for flushes, one at a time, that must not allocate. => or NULL */
struct uvn_flush_state *uvn_flush_state_new(void);
void uvn_flush_state_free(struct uvn_flush_state *state); /* NULL is allowed */

/*
 * uvn_flush_wait: flush all of it, for a thread that is no loop's: blocks. => never on a loop's thread;
 * uvn_set_loop has been called
 */
int uvn_flush_wait(struct uvm_object *uobj, enum uvn_sync sync);

/* uvn_set_loop: the loop on which uvn_flush_wait works (the cleaner's); NULL: there is none. */
void uvn_set_loop(struct uvm_loop *loop);

/*
 * A change of size, or any change of the file's blocks from outside of the pager:
 *
 *      begin:  no transfer starts any more; those under way are waited for; if the file is to become
 *              shorter, size is set; begun()
 *      then    the caller changes the file (ftruncate, fallocate), blocking, in a thread of its own;
 *              transfers outside of [from, to) go on meanwhile
 *      end:    if that went well, the whole pages of [from, to) are freed, dirty or not; if not, they
 *              stay, and so does the size. All transfers go on
 *
 * So a page-out under way can never lengthen the file after a truncate, and nobody reads what was
 * there before. The edges' partial pages are the caller's business: after the end, because a page-in
 * of them waits for it. Changes of one vnode take turns.
 */
struct uvn_change {
    /* the caller's */
    struct uvm_object *uobj; /* referenced until the end */
    struct uvm_loop *loop;   /* any; begun runs there */
    uint64_t from, to;       /* bytes; to UINT64_MAX: all that follows */
    uint64_t size;           /* the new size; UVN_SAME_SIZE: it stays */
    void (*begun)(
        struct uvn_change *change); /* => loop's thread, no lock, never before begin returns */
    void *arg;

    /* the pager's own */
    struct uvm_work work;
    bool running;
    uint64_t old_size, old_eof;
    TAILQ_ENTRY(uvn_change) link;
};

#define UVN_SAME_SIZE UINT64_MAX

/* uvn_change_begin: => any thread, no lock held */
void uvn_change_begin(struct uvn_change *change);
/* uvn_change_end: => any thread, no lock held; ok: the file has been changed */
void uvn_change_end(struct uvn_change *change, bool ok);

/*
 * uvn_invalidate: the file has changed behind our back: forget clean pages and take its new size.
 * Dirty pages stay: they are newer, and the size is not less than it was if there are any.
 *
 * => no lock held; a page-in under way reads again
 */
void uvn_invalidate(struct uvm_object *uobj, uint64_t size);

/*
 * uvn_invalidate_seen: the same, by what the file said after nothing was dirty and the size was `seen`.
 *
 * => false, nothing done: the size is another now, so a page-out may have made the file longer since it
 * was asked
 */
bool uvn_invalidate_seen(struct uvm_object *uobj, uint64_t seen, uint64_t size);

/*
 * uvn_set_cleaned: fn is told, on whatever thread and under no lock, when nothing of a vnode is dirty
 * any more: times can be set on the file, descriptors closed.
 *
 * => it may have become dirty again, or be gone, by then
 */
void uvn_set_cleaned(void (*fn)(uint64_t id));

/* uvn_init: once, after uvm_page_init and before any vnode (uvm_pager_init calls it). */
void uvn_init(void);

/*
 * Bounds on dirty vnode pages, of memory: write-behind begins at the first, write(2) waits at the
 * second. What the second allows is not promised to anonymous objects: a file that cannot be written
 * must not take the room of their stores.
 */
uint64_t uvn_dirty_background(void);
uint64_t uvn_dirty_max(void);

/* uvn_dirty_limit: how many may be dirty at the very most: with what a broken file leaves to others
 * (uvn_dirty_wait), and what the writes under way bring when they were let in. */
uint64_t uvn_dirty_limit(void);

/*
 * A write that waits until fewer pages are dirty. Pages of writes that have been let in count as dirty ones
 * until they are (uvn_dirty_came), or many writes at once would not be bounded by anything.
 *
 * A vnode whose last write failed has no more room than uvn_dirty_max; others have an eighth more while
 * there is such a one, so that a broken file does not stop them.
 */
struct uvn_dirtywait {
    struct uvm_work work; /* called on loop, with error set */
    struct uvm_loop *loop;
    struct uvm_object *uobj; /* referenced */
    uint32_t npages;         /* that it may make dirty */
    uint64_t deadline_ns;    /* uvm_now_ns() at which it has waited long enough; 0: never */
    int error; /* out: 0: go on; -errno: nothing can be written any more, of any file that is dirty, or
                * the deadline is over and this file cannot be written */
    TAILQ_ENTRY(uvn_dirtywait) link;
};

/* uvn_dirty_wait: => no object locked; false: go on; true: work follows
 * => whoever goes on says uvn_dirty_came when its pages are dirty, or do not come */
bool uvn_dirty_wait(struct uvn_dirtywait *wait);
void uvn_dirty_came(uint32_t npages); /* => no object locked */

/* uvn_dirty_cancel: stop waiting. => true: work will not run; false: it is on its way, or was never
 * to come */
bool uvn_dirty_cancel(struct uvn_dirtywait *wait);

/* For write-behind (cleaner.c): */

/* uvn_set_kick: what to call, under locks, when more than uvn_dirty_background are dirty. */
void uvn_set_kick(void (*kick)(void));

/*
 * uvn_dirty_next: the vnode that has been dirty for longest, since before `before`, and is not in hand
 * or failing.
 *
 * => referenced, and in hand until uvn_dirty_done; NULL: none
 */
struct uvm_object *uvn_dirty_next(uint64_t before);

/* uvn_dirty_done: it has been flushed, by a flush that began at `began` and ended like this. => drops the
 * reference */
void uvn_dirty_done(struct uvm_object *uobj, uint64_t began, int error);

/* uvn_dirty_expire: let those go whose deadline is over. */
void uvn_dirty_expire(void);

/* Injected errors: vnode_fault.c. */
struct uvn_fault {
    bool reads, writes, syncs;
    int error;         /* positive errno */
    uint64_t object;   /* its id; 0: all */
    uint64_t off, len; /* bytes of the file that the rule covers; len 0: all */
    uint64_t count;    /* how many transfers it hits before it is spent; 0: for good */
};

/* uvn_faults: from now on rules are heeded. uvn_inject: add one. => 0, -EINVAL, -ENOTSUP (uvn_faults
 * was not called), -ENOSPC */
void uvn_faults(bool on);
int uvn_inject(const struct uvn_fault *rule);
void uvn_inject_clear(void);

#endif
