/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order is checked by counting: each thread counts the locks that it holds of every rank, and an
 * acquire looks at the counts from its own rank on. A count, and not a set of bits, because try-locks
 * may take several of one rank. What fails here (an order that is wrong, a mutex that cannot be used)
 * is a programming error, and aborts in every build.
 */
#include "lock.h"

#include <assert.h>
#include <stdlib.h>

#include "log.h"

/* How many locks of each rank this thread holds. */
static __thread unsigned lock_held[UVM_LR_COUNT];

void uvm_lock_init(struct uvm_lock *lock, enum uvm_lock_rank rank)
{
    if (pthread_mutex_init(&lock->mutex, NULL))
        abort();
    lock->rank = rank;
}

void uvm_lock_destroy(struct uvm_lock *lock)
{
    if (pthread_mutex_destroy(&lock->mutex))
        abort();
}

void uvm_lock_acquire(struct uvm_lock *lock)
{
    for (unsigned r = lock->rank; r < UVM_LR_COUNT; r++) {
        if (lock_held[r]) {
            log_error("lock order: rank %u wanted while rank %u is held", lock->rank, r);
            abort();
        }
    }
    if (pthread_mutex_lock(&lock->mutex))
        abort();
    lock_held[lock->rank]++;
}

bool uvm_lock_try(struct uvm_lock *lock)
{
    if (pthread_mutex_trylock(&lock->mutex))
        return false;
    lock_held[lock->rank]++;
    return true;
}

void uvm_lock_release(struct uvm_lock *lock)
{
    assert(lock_held[lock->rank]);
    lock_held[lock->rank]--;
    if (pthread_mutex_unlock(&lock->mutex))
        abort();
}

void uvm_lock_assert_held(const struct uvm_lock *lock)
{
    assert(lock_held[lock->rank]);
    (void)lock;
}

void uvm_lock_assert_none(void)
{
    for (unsigned r = 0; r < UVM_LR_COUNT; r++)
        assert(!lock_held[r]);
}
