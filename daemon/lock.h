/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks with a rank. The order in which a thread may take them is the order of the enum below; a
 * blocking acquire of a rank that is not above everything the thread already holds is a programming
 * error and aborts. A try-lock may be out of order (the pagedaemon comes from the queues to the
 * objects that way): it cannot wait, so it cannot deadlock.
 *
 *      tree -> inode -> object table -> object -> page queues -> free list
 *           -> dirty vnodes -> swap -> reserve -> pager map -> arena -> loop
 *
 * No lock is held across I/O, nor across an access that can fault on the arena: a busy page is.
 */
#ifndef UVMD_LOCK_H
#define UVMD_LOCK_H

#include <pthread.h>
#include <stdbool.h>

#include "util.h"

enum uvm_lock_rank {
    UVM_LR_TREE,
    UVM_LR_INODE,
    UVM_LR_OBJTAB,
    UVM_LR_OBJECT,
    UVM_LR_PAGEQ,
    UVM_LR_FREEQ,
    UVM_LR_DIRTY,
    UVM_LR_SWAP,
    UVM_LR_RESERVE,
    UVM_LR_PAGERMAP,
    UVM_LR_ARENA,
    UVM_LR_LOOP,
    UVM_LR_COUNT
};

struct uvm_lock {
    pthread_mutex_t mutex;
    enum uvm_lock_rank rank;
};

void uvm_lock_init(struct uvm_lock *lock, enum uvm_lock_rank rank);
void uvm_lock_destroy(struct uvm_lock *lock);

/* uvm_lock_acquire: => aborts on a rank that is not above every rank held by this thread */
void uvm_lock_acquire(struct uvm_lock *lock);
bool uvm_lock_try(struct uvm_lock *lock);
void uvm_lock_release(struct uvm_lock *lock);

/* uvm_lock_assert_held: this thread holds some lock of the lock's rank. */
void uvm_lock_assert_held(const struct uvm_lock *lock);

/* uvm_lock_assert_none: this thread holds no lock at all (before anything that may wait). */
void uvm_lock_assert_none(void);

static inline void uvm_lock_scope_end(struct uvm_lock **lock)
{
    if (*lock)
        uvm_lock_release(*lock);
}

#define UVM_SCOPE_NAME_(line) uvm_scope_##line
#define UVM_SCOPE_NAME(line)  UVM_SCOPE_NAME_(line)

/* Hold a lock until the end of the enclosing scope. */
#define UVM_LOCK_SCOPE(lock)                                                            \
    struct uvm_lock *UVM_SCOPE_NAME(__LINE__) UVM_CLEANUP(uvm_lock_scope_end) = (lock); \
    uvm_lock_acquire(UVM_SCOPE_NAME(__LINE__))

#endif
