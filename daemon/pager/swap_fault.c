/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault store. A transfer is matched against the rules in the order they were added; the first
 * that hits decides. Errors are decided before the transfer starts, and the store below never sees
 * it; corruption after the bytes have come (finish). Chance is a seeded generator: the same
 * transfers in the same order meet the same faults.
 */
#include "swap_fault.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../lock.h"

#define FAULT_RULES 64u

struct fault_store {
    struct uvm_store store;
    struct uvm_store *lower;
};

static struct {
    struct uvm_lock lock;                   /* guards all below; rank swap, held with no other */
    struct uvm_swapfault rule[FAULT_RULES]; /* in order; count 0 is for good */
    _Atomic unsigned nrules;                /* read without the lock to skip the work */
    uint64_t rng;
} faults;

void uvm_swapfault_init(void)
{
    uvm_lock_init(&faults.lock, UVM_LR_SWAP);
    atomic_store(&faults.nrules, 0);
    faults.rng = 0x9e3779b97f4a7c15ull;
}

void uvm_swapfault_fini(void)
{
    uvm_lock_destroy(&faults.lock);
}

int uvm_swapfault_add(const struct uvm_swapfault *rule)
{
    UVM_LOCK_SCOPE(&faults.lock);
    unsigned n = atomic_load(&faults.nrules);

    if (rule->error < 0 || rule->percent > 100 || (!rule->reads && !rule->writes))
        return -EINVAL;
    if (!rule->error && (!rule->corrupt || !rule->reads || rule->writes))
        return -EINVAL;
    if (n == FAULT_RULES)
        return -ENOSPC;
    faults.rule[n] = *rule;
    atomic_store(&faults.nrules, n + 1);
    return 0;
}

void uvm_swapfault_clear(void)
{
    UVM_LOCK_SCOPE(&faults.lock);
    atomic_store(&faults.nrules, 0);
}

static bool chance(unsigned percent)
{
    if (!percent || percent == 100)
        return true;
    faults.rng ^= faults.rng << 13;
    faults.rng ^= faults.rng >> 7;
    faults.rng ^= faults.rng << 17;
    return (faults.rng >> 33) % 100 < percent;
}

/* The rule is about one of the n slots from slot on. */
static bool covers(const struct uvm_swapfault *rule, uint32_t slot, uint32_t n)
{
    return !rule->nslots ||
           (slot < (uint64_t)rule->slot + rule->nslots && rule->slot < (uint64_t)slot + n);
}

static void spend(unsigned i)
{
    struct uvm_swapfault *rule = &faults.rule[i];
    unsigned n = atomic_load(&faults.nrules);

    if (!rule->count || --rule->count)
        return;
    for (; i + 1 < n; i++)
        faults.rule[i] = faults.rule[i + 1];
    atomic_store(&faults.nrules, n - 1);
}

/* The first rule that hits a transfer of n slots from slot on. => false: none does */
static bool match(uint32_t slot, uint32_t n, bool write, bool corrupt, struct uvm_swapfault *ret)
{
    UVM_LOCK_SCOPE(&faults.lock);
    for (unsigned i = 0; i < atomic_load(&faults.nrules); i++) {
        const struct uvm_swapfault *rule = &faults.rule[i];
        if (!(write ? rule->writes : rule->reads) || (!rule->error) != corrupt)
            continue;
        if (!covers(rule, slot, n) || !chance(rule->percent))
            continue;
        *ret = *rule;
        spend(i);
        return true;
    }
    return false;
}

static uint32_t io_slot(const struct uvm_store *store, const struct uvm_io *io)
{
    return store->slot0 + (uint32_t)uvm_atop(io->off) - 1;
}

static void fault_io(struct uvm_store *store, struct uvm_loop *loop, struct uvm_io *io)
{
    struct fault_store *fs = UVM_CONTAINER_OF(store, struct fault_store, store);
    struct uvm_swapfault rule;

    if (atomic_load_explicit(&faults.nrules, memory_order_relaxed) &&
        match(io_slot(store, io), (uint32_t)uvm_atop(io->len), io->write, false, &rule)) {
        io->result = -rule.error;
        uvm_loop_complete(loop, io);
        return;
    }
    if (io->write)
        fs->lower->ops->write(fs->lower, loop, io);
    else
        fs->lower->ops->read(fs->lower, loop, io);
}

/* Flip a bit in every page of the transfer that the rule covers. */
static void corrupt_pages(const struct uvm_swapfault *rule, uint32_t slot, struct uvm_io *io)
{
    for (uint32_t i = 0; i < uvm_atop(io->len); i++) {
        if (covers(rule, slot + i, 1))
            ((uint8_t *)io->buf)[uvm_ptoa(i) + (slot + i) % UVM_PAGE_SIZE] ^= 0x10;
    }
}

static void fault_finish(struct uvm_store *store, struct uvm_io *io)
{
    struct fault_store *fs = UVM_CONTAINER_OF(store, struct fault_store, store);
    uint32_t slot = io_slot(store, io);
    struct uvm_swapfault rule;

    fs->lower->ops->finish(fs->lower, io);
    if (io->write || io->result || !atomic_load_explicit(&faults.nrules, memory_order_relaxed))
        return;
    if (match(slot, (uint32_t)uvm_atop(io->len), false, true, &rule))
        corrupt_pages(&rule, slot, io);
}

static void fault_close(struct uvm_store *store)
{
    struct fault_store *fs = UVM_CONTAINER_OF(store, struct fault_store, store);

    fs->lower->ops->close(fs->lower);
    free(fs);
}

static const struct uvm_store_ops fault_ops = {
    .read = fault_io,
    .write = fault_io,
    .finish = fault_finish,
    .close = fault_close,
};

struct uvm_store *uvm_store_fault(struct uvm_store *lower)
{
    struct fault_store *fs = calloc(1, sizeof(*fs));

    if (!fs)
        return NULL;
    fs->store.ops = &fault_ops;
    fs->lower = lower;
    return &fs->store;
}
