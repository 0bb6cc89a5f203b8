/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects: what a pager pages, and the map from page indices to where the pages are.
 *
 * The map is a radix tree whose leaves are windows' worth of entries. It grows with the highest
 * page touched (a small object is one leaf, nothing else) and holds nothing for what was never
 * touched, so an object of 8 TiB costs what its touched pages cost: 4.6 bytes a page when they lie
 * together.
 *
 *      object --> node --> node --> leaf: 64 entries, one arena window (or none)
 *
 * An entry is one 32-bit word:
 *
 *      EMPTY          never touched, or given back: no reservation
 *      HOLE           read as zeroes by a client: holds a reservation, nothing else
 *      PAGE(number)   resident: the vm_page of that number (which may also have a slot)
 *      SLOT(number)   paged out: the bytes are in that swap slot and nowhere else
 *
 * Everything but EMPTY holds one reservation (reserve.h).
 *
 * An object may be backed: it has a store of its own, a file. Then EMPTY means that the bytes are
 * there, HOLE and SLOT do not occur, and nothing holds a reservation.
 *
 * Field locks: (!) fixed  (O) the object's lock  (a) atomic  (T) the object table's lock
 */
#ifndef UVMD_OBJECT_H
#define UVMD_OBJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lock.h"
#include "loop.h"
#include "page.h"
#include "page_md.h"

#define UVM_OBJECT_PAGES_MAX (1u << 31) /* 8 TiB */

struct uvm_pagerops;

typedef uint32_t uvm_entry;

enum uvm_entry_tag { UVM_E_EMPTY, UVM_E_HOLE, UVM_E_PAGE, UVM_E_SLOT };

static inline uvm_entry uvm_entry_make(enum uvm_entry_tag tag, uint32_t value)
{
    return (value << 2) | (uint32_t)tag;
}
static inline enum uvm_entry_tag uvm_entry_tag(uvm_entry e)
{
    return (enum uvm_entry_tag)(e & 3);
}
static inline uint32_t uvm_entry_value(uvm_entry e)
{
    return e >> 2;
}
static inline struct vm_page *uvm_entry_page(uvm_entry e)
{
    return uvm_entry_tag(e) == UVM_E_PAGE ? uvm_page_at(uvm_entry_value(e)) : NULL;
}

struct uvm_leaf {
    uvm_entry entry[UVM_WINDOW_PAGES]; /* (O) */
    uint64_t delivered;                /* (O) pages the client cache may hold */
    uint64_t revoking;                 /* (O) holes whose revocation is under way */
    uint64_t allocated; /* (O) pages promised by fallocate: their holes are not taken back */
    uint32_t index;     /* (!) pgno / UVM_WINDOW_PAGES */
    uint32_t window;    /* (O) arena window, UVM_NOWINDOW while nothing is resident */
    uint8_t nused;      /* (O) entries that are not EMPTY */
    uint8_t nresident;  /* (O) entries that are PAGE */
};

/* Somebody who waits for a busy page of a range. */
struct uvm_objwait {
    struct uvm_work work;
    struct uvm_loop *loop;
    uint32_t pgno, npages;
    TAILQ_ENTRY(uvm_objwait) link;
};

struct uvm_object {
    struct uvm_lock lock;
    const struct uvm_pagerops *pgops;  /* (!) */
    uint64_t id;                       /* (!) never 0, never reused */
    bool backed;                       /* (!) EMPTY pages are on the object's own backing store */
    _Atomic uint8_t denied;            /* (a) what clients may not do: see protect.h */
    _Atomic uint32_t refs;             /* (a) the last detach starts the end */
    bool dying;                        /* (O) free it when the last busy page goes (KILLME) */
    void *root;                        /* (O) leaf (height 0) or node */
    unsigned height;                   /* (O) */
    uint64_t nresident;                /* (O) PAGE entries */
    uint64_t nswapped;                 /* (O) SLOT entries */
    uint64_t nreserved;                /* (O) entries that are not EMPTY */
    uint64_t ndirty;                   /* (O) pages whose bytes are nowhere else (page.c) */
    uint32_t lastpgno;                 /* (O) where the last page-in ended: is it a sequence? */
    TAILQ_HEAD(, uvm_objwait) waiters; /* (O) */
    _Atomic uint64_t faults, pageins, pgswapin, pgswapout; /* (a) */
    struct uvm_object *left, *right;                       /* (T) objtab.c */
};

void uvm_object_module_init(void);

/* uvm_object_new: an empty object with one reference, in the table. => NULL: no memory */
struct uvm_object *uvm_object_new(uint64_t id, const struct uvm_pagerops *pgops);

/* uvm_object_init: the same in zeroed memory of the caller's, which uvm_object_free frees: for a
 * pager whose object has more to it and begins with this. */
void uvm_object_init(struct uvm_object *uobj, uint64_t id, const struct uvm_pagerops *pgops,
                     bool backed);

/* uvm_entry_paged_out: are the page's bytes on a backing store and nowhere else? */
static inline bool uvm_entry_paged_out(const struct uvm_object *uobj, uvm_entry e)
{
    return uvm_entry_tag(e) == (uobj->backed ? UVM_E_EMPTY : UVM_E_SLOT);
}

/* uvm_entry_unreserved: must a reservation be had before a client may hold the page? */
static inline bool uvm_entry_unreserved(const struct uvm_object *uobj, uvm_entry e)
{
    return !uobj->backed && uvm_entry_tag(e) == UVM_E_EMPTY;
}

/* uvm_object_lookup: the object of that id with a reference more, or NULL (none, or dying).
 * => give the reference back with pgo_detach */
struct uvm_object *uvm_object_lookup(uint64_t id);

/* uvm_object_next: the object with the smallest id above `id`, referenced; NULL: no more.
 * => in the time of a look-up, however far apart the ids are */
struct uvm_object *uvm_object_next(uint64_t id);

/* uvm_object_unref: drop one reference. => true: it was the last, and the object has left the
 * table: the caller (pgo_detach) frees its pages */
bool uvm_object_unref(struct uvm_object *uobj);

/* uvm_object_free: => no pages, no references, not in the table */
void uvm_object_free(struct uvm_object *uobj);

/* uvm_leaf_lookup: the leaf that covers pgno, or NULL. => object locked */
struct uvm_leaf *uvm_leaf_lookup(struct uvm_object *uobj, uint32_t pgno);

/* uvm_leaf_make: the same, made if missing. => object locked; NULL: no memory */
struct uvm_leaf *uvm_leaf_make(struct uvm_object *uobj, uint32_t pgno);

/* uvm_leaf_next: the first leaf with index >= `index`, or NULL. => object locked */
struct uvm_leaf *uvm_leaf_next(struct uvm_object *uobj, uint32_t index);

/* uvm_leaf_prune: free the leaf if all its entries are EMPTY. => object locked */
void uvm_leaf_prune(struct uvm_object *uobj, struct uvm_leaf *leaf);

/*
 * uvm_entry_set: the one way to change an entry; keeps every count that depends on it.
 *
 * => object locked; the reservation and the slot that the old entry held are the caller's business
 * => when the last PAGE of a leaf goes, its window is given back
 */
void uvm_entry_set(struct uvm_object *uobj, struct uvm_leaf *leaf, uint32_t pgno, uvm_entry e);

/* uvm_entry_get: EMPTY where there is no leaf. => object locked */
uvm_entry uvm_entry_get(struct uvm_object *uobj, uint32_t pgno);

/*
 * uvm_object_addpage: a page in hand becomes the BUSY|FAKE page pgno of the object, with a place in
 * the arena. The entry becomes PAGE; a slot it had goes to the page, which keeps it until filled.
 *
 * => object locked; the entry is HOLE or SLOT: whoever adds a page has reserved it (or EMPTY, of an
 *    object that is backed)
 */
void uvm_object_addpage(struct uvm_object *uobj, struct uvm_leaf *leaf, uint32_t pgno,
                        struct vm_page *pg, const char *owner);

/* uvm_object_subpage: a busy page whose memory is gone from the arena leaves the object and is in
 * hand; the entry becomes what is left: SLOT with the page's slot, else `rest` (HOLE or EMPTY;
 * always EMPTY if the object is backed).
 * => object locked; wakes waiters; the slot must hold the page's bytes if it has one */
void uvm_object_subpage(struct vm_page *pg, enum uvm_entry_tag rest);

/* uvm_delivered_set / clear: bookkeeping of what the client cache may hold; mask: bit i is page i
 * of the leaf. => object locked */
void uvm_delivered_set(struct uvm_leaf *leaf, uint64_t mask);
void uvm_delivered_clear(struct uvm_leaf *leaf, uint64_t mask);

/* uvm_object_wait: queue a waiter for busy pages of its range, and mark them WANTED.
 * => object locked; at least one page of the range is busy; work.fn runs when one of them stops
 * being busy: look again then */
void uvm_object_wait(struct uvm_object *uobj, struct uvm_objwait *wait);

/* uvm_object_wakeup: a WANTED page stopped being busy, or is gone. => object locked */
void uvm_object_wakeup(struct uvm_object *uobj, uint32_t pgno, uint32_t npages);

#endif
