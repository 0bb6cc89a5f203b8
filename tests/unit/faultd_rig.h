/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rig of test_faultd.c: the memory, a loop and the fault thread, pages in states that last only a
 * moment in real life, and touchers.
 *
 * Three calls are taken over through the linker (--wrap), so that something can happen in the middle of
 * others: a read about to copy from the arena (pmap_kva: on_copy), the fault thread having asked whose
 * window it is (pmap_window_owner: on_owner), and having heard how a page-in ended (uvm_fault_start:
 * on_faulted). A hook runs once.
 *
 * The functions on pages are for any thread but the loop's. One that is BUSY is its caller's.
 */
#ifndef UVMD_TESTS_FAULTD_RIG_H
#define UVMD_TESTS_FAULTD_RIG_H

#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/fault.h"
#include "daemon/faultd.h"
#include "daemon/ledger.h"
#include "daemon/pager/pagermap.h"
#include "daemon/pmap/pmap.h"
#include "daemon/reserve.h"
#include "daemon/rw.h"
#include "daemon/stats.h"

#define NPAGES     512u
#define NSLOTS     511u
#define DEADLINE_S 20
#define TIMEOUT_S  60

/* For what also runs on other threads, where Check's own asserts may not be used. */
#define MUST(cond)                                                                   \
    do {                                                                             \
        if (!(cond)) {                                                               \
            fprintf(stderr, "%s:%d: it must hold: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

#define WAIT_FOR(cond)                                                            \
    do {                                                                          \
        uint64_t end_ns = uvm_now_ns() + DEADLINE_S * 1000000000ull;              \
        while (!(cond)) {                                                         \
            if (uvm_now_ns() > end_ns) {                                          \
                fprintf(stderr, "%s:%d: never: %s\n", __FILE__, __LINE__, #cond); \
                abort();                                                          \
            }                                                                     \
            sched_yield();                                                        \
        }                                                                         \
    } while (0)

extern struct uvm_loop *loop; /* the one that serves requests */
extern struct uvm_object *uobj, *other;

typedef void (*hook_fn)(void);

extern _Atomic(hook_fn) on_copy, on_owner, on_faulted;

enum touch_kind { TOUCH_LOAD, TOUCH_STORE, TOUCH_PIPE };

struct toucher {
    pthread_t thread;
    enum touch_kind kind;
    volatile uint64_t *at;
    uint64_t
        page[UVM_PAGE_SIZE / sizeof(uint64_t)]; /* LOAD: what was there; STORE: [0] goes there */
    int fd;                                     /* PIPE: the page goes there */
    ssize_t wrote;
    _Atomic bool ended;
};

#define STORED 0x5a5a5a5a12345678ull

void faulted(struct uvm_fault *fault, int error);
void setup(void);
void teardown(void);
void sem_take(sem_t *sem);
bool is_pattern(const void *page, const struct uvm_object *o, uint32_t pgno, unsigned version);
bool is_zero(const uint8_t *page);
uvm_entry entry_of(struct uvm_object *o, uint32_t pgno);
struct vm_page *page_of(struct uvm_object *o, uint32_t pgno);
uint16_t flags_of(struct vm_page *pg);
struct vm_page *add_busy(struct uvm_object *o, uint32_t pgno);
void let_go(struct vm_page *pg);
void fill_busy(struct vm_page *pg, unsigned version);
uint32_t install(struct uvm_object *o, uint32_t pgno, uint32_t n, unsigned version);
void free_pages(struct uvm_object *o, uint32_t pgno, uint32_t n);
bool evict(struct uvm_object *o, uint32_t pgno);
struct vm_page *claim(struct uvm_object *o, uint32_t pgno);
void put_claimed(struct vm_page **pages, uint32_t n);
void page_out(struct uvm_object *o, uint32_t pgno, uint32_t n);
int read_pages(struct uvm_object *o, uint32_t pgno, uint32_t n, void *dst);
void check_page(struct uvm_object *o, uint32_t pgno, unsigned version);
void touch_start(struct toucher *t, enum touch_kind kind, uint32_t apage);
void touch_end(struct toucher *t);
void touch(struct toucher *t, enum touch_kind kind, uint32_t apage);
void check_stored(uint32_t pgno);
void check_dirty(uint32_t pgno);
uint32_t swapped_page(void);

#endif
