/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ledger: what must be known of the memory and of swap to rebuild everything else, as fixed
 * records in one sparse memfd. It is laid out so that a process that inherits the descriptor (and
 * the arena's) needs one scan of it; nothing that must outlive the process is in malloc memory.
 *
 *      +--------+------------------+----------------+---------------------------+
 *      | header | window records   | page records   | slot records (sparse)     |
 *      +--------+------------------+----------------+---------------------------+
 *
 * Every record is written by the function that makes the change it describes, under the same lock.
 * A record is valid when its object is not 0; the writer stores the object last and clears it
 * first.
 */
#ifndef UVMD_LEDGER_H
#define UVMD_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define UVM_LEDGER_MAGIC   0x52474c444d565547ull
#define UVM_LEDGER_VERSION 1

/* The slot space: slots are 30 bits in an object's map (object.h), 4 TiB of swap. Slot 0 is none.
 */
#define UVM_SLOT_MAX (1u << 30)

struct uvm_ledger_header {
    uint64_t magic;
    uint32_t version;
    uint32_t page_size;
    uint64_t npages;
    uint64_t nwindows;
    uint64_t arena_base; /* address of the arena in the process that made it */
    uint64_t windows_off, pages_off, slots_off; /* bytes from the start */
};

struct uvm_ledger_window { /* by window number */
    uint64_t object;       /* id of the owner, 0: free */
    uint32_t index;        /* which window of the object: pgno / UVM_WINDOW_PAGES */
    uint32_t gen;          /* how often the window has changed hands */
};

enum { UVM_LEDGER_DIRTY = 1 }; /* the page is newer than its slot, or has none */

struct uvm_ledger_page { /* by vm_page number */
    uint64_t object;     /* 0: the page is free or holds nothing yet */
    uint32_t pgno;       /* page index within the object */
    uint32_t apage;      /* where it is: arena page number */
    uint32_t slot;       /* swap slot it also has, 0 none */
    uint32_t flags;      /* UVM_LEDGER_* */
};

struct uvm_ledger_slot { /* by slot number */
    uint64_t object;     /* 0: free */
    uint32_t pgno;
    uint32_t seq; /* order of writing: of two slots of one page the later (mod 2^32) is the page */
    uint64_t sum; /* XXH3 of the page's bytes */
};

_Static_assert(sizeof(struct uvm_ledger_window) == 16, "fixed record");
_Static_assert(sizeof(struct uvm_ledger_page) == 24, "fixed record");
_Static_assert(sizeof(struct uvm_ledger_slot) == 24, "fixed record");

/*
 * uvm_ledger_init: make the memfd and map it, all records free.
 *
 * => 0, or -errno with err filled in
 */
int uvm_ledger_init(uint64_t npages, uint64_t nwindows, struct uvm_error *err);
void uvm_ledger_fini(void);
int uvm_ledger_fd(void);

struct uvm_ledger_header *uvm_ledger_header(void);
struct uvm_ledger_window *uvm_ledger_window(uint32_t window);
struct uvm_ledger_page *uvm_ledger_page(uint32_t page);
struct uvm_ledger_slot *uvm_ledger_slot(uint32_t slot);

/* uvm_ledger_slot_owner: whose page the slot holds, as a hint: the record may change at any time, and what
 * the answer is worth, the object knows. => any lock; false: nobody's */
bool uvm_ledger_slot_owner(uint32_t slot, uint64_t *object, uint32_t *pgno);

/* The writers: whole records, with the order of stores the file's head promises. */
void uvm_ledger_window_set(uint32_t window, uint64_t object, uint32_t index, uint32_t gen);
void uvm_ledger_page_set(uint32_t page, uint64_t object, uint32_t pgno, uint32_t apage,
                         uint32_t slot, uint32_t flags);
void uvm_ledger_page_clear(uint32_t page);
void uvm_ledger_slot_set(uint32_t slot, uint64_t object, uint32_t pgno, uint64_t sum);
void uvm_ledger_slot_clear(uint32_t slot, uint32_t nslots);

#endif
