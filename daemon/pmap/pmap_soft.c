/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The soft pmap: plain memory and one state byte a page, so that everything above can be tested
 * without a userfaultfd. Nothing traps; what the hardware would refuse is checked at the calls.
 *
 *                fill               protect RW
 *      ABSENT ---------> RO or RW <------------> RO / RW
 *         ^                 |       protect READ
 *         +---- remove -----+
 *
 * A page that is removed is filled with a pattern: who reads a hole sees neither the old bytes nor
 * zeroes that happen to be right. Faults are those that a test injects.
 */
#include "pmap_soft.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "../log.h"
#include "../lock.h"
#include "pmap_impl.h"

#define SOFT_HOLE_BYTE 0xdb

static struct {
    uint8_t *base;
    _Atomic uint8_t *state; /* enum pmap_soft_state by apage */
    uint64_t npages;
    struct uvm_lock lock;
    struct pmap_fault faults[PMAP_SOFT_FAULTS]; /* lock; a ring */
    uint32_t head, nfaults;                     /* lock */
} soft;

static int soft_init(struct pmap_arena *arena, uint64_t bytes, struct uvm_error *err)
{
    uint64_t npages = uvm_atop(bytes);
    uint8_t *base = pmap_sparse_alloc(bytes, "soft arena", err);
    _Atomic uint8_t *state = pmap_sparse_alloc(npages, "soft page states", err);

    if (!base || !state) {
        pmap_sparse_free(base, bytes);
        pmap_sparse_free(state, npages);
        return -ENOMEM;
    }
    soft.base = base;
    soft.state = state;
    soft.npages = npages;
    uvm_lock_init(&soft.lock, UVM_LR_ARENA);
    *arena = (struct pmap_arena){.base = base, .bytes = bytes, .arena_fd = -1, .fault_fd = -1};
    return 0;
}

static void soft_fini(struct pmap_arena *arena)
{
    uvm_lock_destroy(&soft.lock);
    pmap_sparse_free(soft.base, arena->bytes);
    pmap_sparse_free(soft.state, soft.npages);
    memset(&soft, 0, sizeof(soft));
}

static const char *soft_features(void)
{
    return "soft";
}

static int soft_fill(uint32_t apage, uint32_t n, const void *src, int prot)
{
    uint8_t *dst = soft.base + uvm_ptoa(apage);

    if (src)
        memcpy(dst, src, uvm_ptoa(n));
    else
        memset(dst, 0, uvm_ptoa(n));
    for (uint32_t i = 0; i < n; i++)
        soft.state[apage + i] = prot == UVM_PROT_RW ? PMAP_SOFT_RW : PMAP_SOFT_RO;
    return 0;
}

static int soft_fill_hole(uint32_t apage, int prot)
{
    return soft.state[apage] == PMAP_SOFT_ABSENT ? soft_fill(apage, 1, NULL, prot) : -EEXIST;
}

static void soft_protect(uint32_t apage, uint32_t n, int prot)
{
    for (uint32_t i = 0; i < n; i++) {
        if (soft.state[apage + i] == PMAP_SOFT_ABSENT) {
            log_error("soft pmap: protect of apage %u, which is absent", apage + i);
            abort();
        }
        soft.state[apage + i] = prot == UVM_PROT_RW ? PMAP_SOFT_RW : PMAP_SOFT_RO;
    }
}

static void soft_remove(uint32_t apage, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (soft.state[apage + i] == PMAP_SOFT_ABSENT)
            continue;
        soft.state[apage + i] = PMAP_SOFT_ABSENT;
        memset(soft.base + uvm_ptoa(apage + i), SOFT_HOLE_BYTE, UVM_PAGE_SIZE);
    }
}

static void soft_wake(uint32_t apage, uint32_t n)
{
    /* Nobody can sleep on plain memory. */
}

static int soft_next_fault(struct pmap_fault *faults, int max)
{
    int got = 0;

    UVM_LOCK_SCOPE(&soft.lock);
    while (got < max && soft.nfaults) {
        faults[got++] = soft.faults[soft.head];
        soft.head = (soft.head + 1) % PMAP_SOFT_FAULTS;
        soft.nfaults--;
    }
    return got;
}

static void soft_assert_absent(uint32_t apage, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (soft.state[apage + i] != PMAP_SOFT_ABSENT) {
            log_error("soft pmap: apage %u is there in a window that is given back", apage + i);
            abort();
        }
    }
}

enum pmap_soft_state pmap_soft_state(uint32_t apage)
{
    assert(apage < soft.npages);
    return (enum pmap_soft_state)soft.state[apage];
}

void pmap_soft_fault(uint32_t apage, enum pmap_fault_kind kind, bool write)
{
    assert(apage < soft.npages);
    UVM_LOCK_SCOPE(&soft.lock);
    assert(soft.nfaults < PMAP_SOFT_FAULTS);
    soft.faults[(soft.head + soft.nfaults++) % PMAP_SOFT_FAULTS] =
        (struct pmap_fault){.apage = apage, .kind = kind, .write = write};
}

const struct pmap_impl pmap_impl_soft = {
    .init = soft_init,
    .fini = soft_fini,
    .features = soft_features,
    .fill = soft_fill,
    .fill_hole = soft_fill_hole,
    .protect = soft_protect,
    .remove = soft_remove,
    .wake = soft_wake,
    .next_fault = soft_next_fault,
    .assert_absent = soft_assert_absent,
};
