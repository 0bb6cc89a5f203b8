/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager contract: the operations of an object kind, and the generic routines around them.
 *
 *      fault / pagedaemon / flush
 *               |
 *      uvm_pager_put, uvm_mk_pcluster, uvm_pager_dropcluster, uvm_shareprot     (pager.c,
 * cluster.c)
 *               |
 *      aobj           vnode          device                                      (the vector)
 *               |
 *      pager map --- swap or file
 *
 * Nothing here waits: an operation that needs I/O starts it and returns VM_PAGER_PEND, and the
 * request's function pointer continues on the loop's thread. Lock order and busy pages: page.h.
 */
#ifndef UVMD_PAGER_PAGER_H
#define UVMD_PAGER_PAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "../object.h"
#include "../page.h"
#include "pagermap.h"
#include "swap.h"

enum vm_pager_result {
    VM_PAGER_OK = 0,
    VM_PAGER_BAD,    /* outside of what the object accepts */
    VM_PAGER_FAIL,   /* inside, but there is no such page */
    VM_PAGER_PEND,   /* started; the completion follows */
    VM_PAGER_ERROR,  /* the page exists but could not be had */
    VM_PAGER_AGAIN,  /* a shortage that will pass */
    VM_PAGER_UNLOCK, /* get LOCKED: needs I/O or memory, come again without LOCKED */
    VM_PAGER_REFAULT /* the state has changed: look again */
};

enum {
    PGO_CLEANIT = 0x001,     /* flush: write dirty pages */
    PGO_SYNCIO = 0x002,      /* flush: and wait for it */
    PGO_DEACTIVATE = 0x004,  /* flush: pages become inactive */
    PGO_FREE = 0x008,        /* flush: pages go (not with DEACTIVATE) */
    PGO_ALLPAGES = 0x010,    /* flush: the whole object; get: every page, not only the centre */
    PGO_DOACTCLUST = 0x020,  /* a cluster may take active pages */
    PGO_LOCKED = 0x040,      /* get: without unlocking the object, so without I/O */
    PGO_PDFREECLUST = 0x080, /* put: on success un-busy the cluster, free what is PAGEOUT */
    PGO_REALLOCSWAP = 0x100, /* dropcluster: the slots failed or are not wanted: drop them */
};

/* A transfer between neighbouring pages and a file: vnode_impl.h. */
struct uvm_fileio {
    struct uvm_io io;
    struct uvm_loop *loop;
    struct uvn_backing *backing; /* referenced; NULL: the file is not open */
    uint64_t id;                 /* of the object */
    char *kva;
    uint64_t off, end; /* bytes of the file */
    uint64_t eof;      /* reads: where the file ended when the read began */
    uint64_t epoch;    /* reads: of the vnode, when the read began */
    uint32_t at, len;  /* reads: the pages of the run whose turn it is */
    size_t got;        /* bytes of these */
    bool retrying;     /* reads: page by page */
    int page_error[UVM_CLUSTER_PAGES];
};

/* One run of a get, in flight. */
struct uvm_getrun {
    struct uvm_getreq *req;
    uint32_t first, npages; /* index into pps */
    void *kva;
    union {
        struct uvm_swapio sio;
        struct uvm_fileio fio;
    };
    bool used;
};

#define UVM_GET_RUNS  16  /* runs of one get in flight: enough to keep a disk queue busy */
#define UVM_GET_PAGES 320 /* five windows: a cluster that does not begin on a window's edge */

/*
 * A get that may have to wait. The caller owns the memory until aiodone.
 *
 * pps[i] is the page of pgno + i: a BUSY|FAKE page that the caller has put into the object, or NULL
 * for a page the caller does not want.
 *
 * The caller brings room for one run, and has it back at aiodone: so the pager never waits for the
 * pager map while pages are BUSY. What finds no room besides goes through this one, run after run,
 * cut to its length if need be.
 */
struct uvm_getreq {
    struct uvm_object *uobj;
    struct uvm_loop *loop;
    uint32_t pgno, npages;
    int mapflags;   /* UVMPAGER_MAPIN_RESERVE: of the fault thread */
    void *room;     /* in the pager map; the caller's, lent until aiodone */
    uint32_t nroom; /* pages, > 0 */
    struct vm_page *pps[UVM_GET_PAGES];

    /* rundone: bytes of pps[first .. first+n) are at kva (errors[i]: 0 or -errno); install them.
     * They are gone when it returns. => loop's thread, no lock */
    void (*rundone)(struct uvm_getreq *req, uint32_t first, uint32_t n, const void *kva,
                    const int *errors);
    /* aiodone: every page has been reported; the request is the caller's again. */
    void (*aiodone)(struct uvm_getreq *req);

    /* rundone, of a file: of the vnode, when its bytes were in the file (vnode.h). If it has gone on since,
     * they are not to be kept */
    uint64_t epoch;

    /* the pager's own */
    const struct uvm_getrun_ops *ops; /* getrun.h */
    uint32_t next;
    unsigned inflight;
    bool roomused;
    struct uvm_work work;
    TAILQ_ENTRY(uvm_getreq) link;
    struct uvm_getrun run[UVM_GET_RUNS];
};

/*
 * A cluster being written: neighbouring pages of one object that has a store of its own, or dirty
 * pages of any anonymous objects with a run of slots. The pages are BUSY, write-protected, in
 * transfer order; page i goes to swslot + i.
 */
struct uvm_cluster {
    struct vm_page *pps[UVM_CLUSTER_PAGES];
    uint32_t npages;
    struct uvm_object *uobj; /* NULL: a swap cluster */
    uint32_t swslot;         /* swap cluster: first slot */
    int flags;               /* PGO_PDFREECLUST, PGO_SYNCIO */
    struct uvm_loop *loop;
    void *room; /* npages of the pager map, which stay the caller's; NULL: the pager sees to it */

    /* done: the cluster has been disposed of; nok pages were written. => loop's thread, no lock */
    void (*done)(struct uvm_cluster *cl, uint32_t nok);
    void *arg;

    int error; /* out: 0, or the last -errno */

    /* the pager's own */
    void *kva;
    uint32_t nok;
    uint32_t at, len; /* the transfer under way: pages [at, at + len) of the cluster */
    bool retrying;    /* it is the second pass, a page at a time */
    union {
        struct uvm_swapio sio;
        struct uvm_fileio fio;
    };
    struct uvm_slotowner owner[UVM_CLUSTER_PAGES];
};

/* The operations of an object kind. NULL: the kind has none, and callers know what that means. */
struct uvm_pagerops {
    const char *name;

    /* pgo_init: once, at start. */
    void (*pgo_init)(void);

    /* pgo_reference: one reference more. => object not locked, caller holds one */
    void (*pgo_reference)(struct uvm_object *uobj);

    /* pgo_detach: one reference less; the last one ends the object, at once or, when pages are
     * busy, when the last of them is released. => object not locked */
    void (*pgo_detach)(struct uvm_object *uobj);

    /* pgo_fault: replaces get where pages are not arena pages (device). => object locked, unlocked
     * on return; VM_PAGER_OK, ERROR or REFAULT */
    int (*pgo_fault)(struct uvm_object *uobj, uint32_t pgno, uint32_t npages, int prot,
                     void **ret_kva);

    /*
     * pgo_flush: clean, deactivate or free the pages of [start, stop).
     *
     * => object locked on entry and exit, queues not; may unlock in between only with CLEANIT
     * => a busy page that is to be freed is RELEASED and goes when its owner lets go
     * => true; false: an I/O error
     */
    bool (*pgo_flush)(struct uvm_object *uobj, uint32_t start, uint32_t stop, int flags);

    /*
     * pgo_get: pages of [pgno, pgno + npages).
     *
     * => LOCKED: object locked on entry and exit. Fills pps[i] where it is NULL with the resident
     *    page, made BUSY, or a BUSY|FAKE page to be zero filled; *npages: how many it gave.
     *    VM_PAGER_OK when the centre page is among them, VM_PAGER_UNLOCK when it needs more
     * => otherwise: object locked on entry, unlocked on return; req->pps holds BUSY|FAKE pages
     *    whose bytes are on the backing store, req->room is room in the pager map. VM_PAGER_PEND,
     *    and rundone/aiodone follow
     */
    int (*pgo_get)(struct uvm_object *uobj, struct uvm_getreq *req, uint32_t *npages,
                   uint32_t centre, int flags);

    /* pgo_asyncget: a client has asked for [pgno, pgno + npages): what is worth bringing in for
     * nobody yet? => object locked; returns how many pages from *ret_start on, 0: none. The caller
     * brings them in (uvm_fault_ahead); that it fails is harmless */
    uint32_t (*pgo_asyncget)(struct uvm_object *uobj, uint32_t pgno, uint32_t npages,
                             uint32_t *ret_start);

    /* pgo_dirtied: a client has stored into busy pages, up to byte `end` of the object (0: not
     * beyond its end). => object locked, before the pages are let go */
    void (*pgo_dirtied)(struct uvm_object *uobj, uint64_t end);

    /* pgo_put: write pages [cl->at, cl->at + cl->len) of a cluster, whose bytes are at cl->kva. Only
     * uvm_pager_put calls it. => no lock; VM_PAGER_PEND: pgo_aiodone follows, never before this
     * returns; VM_PAGER_ERROR: not now */
    int (*pgo_put)(struct uvm_object *uobj, struct uvm_cluster *cl);

    /* pgo_putdone: pages of a cluster have been let go; perhaps the last dirty one. => object locked,
     * unlocked on return */
    void (*pgo_putdone)(struct uvm_object *uobj);

    /* pgo_cluster: the range of pages that may travel with pgno. => object locked */
    void (*pgo_cluster)(struct uvm_object *uobj, uint32_t pgno, uint32_t *ret_lo, uint32_t *ret_hi);

    /* pgo_mk_pcluster: gather a cluster around a page; see uvm_mk_pcluster. NULL: never cluster */
    uint32_t (*pgo_mk_pcluster)(struct uvm_object *uobj, struct vm_page **pps, uint32_t npps,
                                struct vm_page *centre, int flags, uint32_t lo, uint32_t hi);

    /* pgo_shareprot: bound what clients may do with resident pages; see uvm_shareprot. */
    void (*pgo_shareprot)(struct uvm_object *uobj, uint32_t start, uint32_t stop, int prot);

    /* pgo_aiodone: a transfer that pgo_put began has ended; see uvm_pager_aiodone. */
    void (*pgo_aiodone)(struct uvm_cluster *cl, int error);

    /*
     * pgo_releasepg: free a BUSY|RELEASED page that its owner lets go.
     *
     * => object locked, queues not
     * => true: the object lives, still locked; false: it was the last page of a dying object, which
     *    is gone and unlocked
     */
    bool (*pgo_releasepg)(struct vm_page *pg);
};

extern const struct uvm_pagerops uvm_aobj_pagerops, uvm_vnode_pagerops;

/* The registry: one slot a kind of object. */
enum uvm_pager_kind { UVM_PAGER_AOBJ, UVM_PAGER_DEVICE, UVM_PAGER_VNODE, UVM_PAGER_KINDS };

/* uvm_pager_init: call the pgo_init of every pager that the build has. */
void uvm_pager_init(void);

/* uvm_pager: the operations of a kind; NULL: this build has no such pager. */
const struct uvm_pagerops *uvm_pager(enum uvm_pager_kind kind);

/*
 * uvm_mk_pcluster: gather dirty pages on both sides of a page into one cluster.
 *
 * => object locked; queues locked by this call; centre is BUSY, write-protected and dirty already
 * => lo, hi: what pgo_cluster allows; npps: room in pps. When the room is too small for hi - lo,
 * the cluster is the centre alone
 * => stops on each side at the first page that is absent, busy, wired, clean, or (without
 *    DOACTCLUST) not inactive
 * => members are BUSY, dirty and write-protected (one call a run); returns how many pages pps has,
 *    in ascending order
 */
uint32_t uvm_mk_pcluster(struct uvm_object *uobj, struct vm_page **pps, uint32_t npps,
                         struct vm_page *centre, int flags, uint32_t lo, uint32_t hi);

/* uvm_pager_protect: write-protect pages about to be written, one call a run of neighbours in the arena:
 * from here on their bytes do not change (P5). => BUSY and marked dirty: the pmap forgets stores */
void uvm_pager_protect(struct vm_page **pps, uint32_t n);

/*
 * uvm_pager_put: write a cluster out.
 *
 * => no lock held; pages BUSY and write-protected; the cluster is the pager's until done
 * => a failed cluster is tried again one page at a time; a page that fails alone stays dirty and
 *    becomes active, and the slot it was to go to is marked bad. Nothing is allocated, here or on
 *    the retry
 * => an object's cluster: what has been written is clean and becomes inactive, or is free if it is
 *    PAGEOUT. SYNCIO: somebody waits for it: try also when the store has failed just before
 * => VM_PAGER_PEND: done follows; otherwise nothing has happened, and the caller drops the cluster.
 *    VM_PAGER_AGAIN: the pager map is full; VM_PAGER_ERROR: the object takes no page-out for a
 *    while, because its file is being cut or has just failed
 */
int uvm_pager_put(struct uvm_cluster *cl);

/* uvm_pager_aiodone: the transfer of [cl->at, cl->at + cl->len) has ended. => loop's thread, no lock */
void uvm_pager_aiodone(struct uvm_cluster *cl, int error);

/*
 * uvm_pager_dropcluster: let go of the pages of a cluster, except pg.
 *
 * => objects are locked here, one at a time: the caller holds no lock
 * => pg: the page the caller keeps, still BUSY; NULL: none
 * => REALLOCSWAP: the pages' slots are dropped, bad ones having been marked before; the pages are
 *    dirty and become active
 * => PDFREECLUST: the write succeeded: PAGEOUT pages are freed (their bytes are in their slot or
 *    file), others are clean and become inactive
 * => neither: the pages become active as they are
 * => WANTED pages wake their waiters; RELEASED pages are freed through pgo_releasepg, and an object
 *    that dies of that is not touched again
 */
void uvm_pager_dropcluster(struct vm_page **pps, uint32_t npages, struct vm_page *pg, int flags);

/* uvm_pager_deactivate: the active pages of [start, stop) become inactive, as pgo_flush with DEACTIVATE
 * has it. => object locked, queues not */
void uvm_pager_deactivate(struct uvm_object *uobj, uint32_t start, uint32_t stop);

/* uvm_shareprot: set the protection of the resident pages of [start, stop). => object locked; a
 * busy page is left to its owner */
void uvm_shareprot(struct uvm_object *uobj, uint32_t start, uint32_t stop, int prot);

/*
 * uvm_page_letgo: the owner of a busy page is done with it: un-busy, wake, or free if RELEASED.
 *
 * => object locked; true: still locked; false: the object is gone
 */
bool uvm_page_letgo(struct vm_page *pg, enum uvm_pageq where);

/* uao_create: an anonymous object. => NULL: no memory */
struct uvm_object *uao_create(uint64_t id);

#endif
