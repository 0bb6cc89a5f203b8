/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run allocator of a swap device; swap_slots.h has the picture.
 *
 * A search walks the blocks once round from where the last one ended. In a block it looks for a run
 * that starts there (it may end in the next block: a run is shorter than a block). The block where
 * the search begins is looked at twice, from the middle first and whole at the end; only a look at
 * a whole block may lower its bound.
 */
#include "swap_slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WORD_SLOTS  64u
#define BLOCK_SLOTS 4096u

_Static_assert(UVM_CLUSTER_PAGES < BLOCK_SLOTS, "a run reaches into the next block at most");

static inline uint64_t busy_word(const struct uvm_slotmap *map, uint32_t w)
{
    return map->used[w] | map->flaw[w];
}

/* The bits [from, to) of a word, 0 <= from < to <= 64. */
static inline uint64_t word_mask(uint32_t from, uint32_t to)
{
    return (~0ull << from) & (~0ull >> (WORD_SLOTS - to));
}

/* The first slot in [from, end) that is free (or with busy: that is not), or end. */
static uint32_t next_slot(const struct uvm_slotmap *map, uint32_t from, uint32_t end, bool busy)
{
    uint64_t flip = busy ? 0 : ~0ull;

    for (uint32_t at = from; at < end; at = (at / WORD_SLOTS + 1) * WORD_SLOTS) {
        uint64_t word = busy_word(map, at / WORD_SLOTS) ^ flip;
        word &= ~0ull << (at % WORD_SLOTS);
        if (word) {
            uint32_t slot = at / WORD_SLOTS * WORD_SLOTS + (uint32_t)__builtin_ctzll(word);
            return slot < end ? slot : end;
        }
    }
    return end;
}

/* The first slot of the free slots that end just before `to`, looking back to `from` at most. */
static uint32_t free_back(const struct uvm_slotmap *map, uint32_t from, uint32_t to)
{
    while (to > from) {
        uint32_t w = (to - 1) / WORD_SLOTS;
        uint64_t word = busy_word(map, w) & word_mask(0, to - w * WORD_SLOTS);
        if (word) {
            uint32_t first = (w + 1) * WORD_SLOTS - (uint32_t)__builtin_clzll(word);
            return first > from ? first : from;
        }
        to = w * WORD_SLOTS;
    }
    return from;
}

int uvm_slotmap_init(struct uvm_slotmap *map, uint32_t nslots)
{
    assert(nslots && nslots < UINT32_MAX - BLOCK_SLOTS);
    *map = (struct uvm_slotmap){
        .nslots = nslots,
        .nwords = (nslots + WORD_SLOTS - 1) / WORD_SLOTS,
        .nblocks = (nslots + BLOCK_SLOTS - 1) / BLOCK_SLOTS,
        .top = UVM_CLUSTER_PAGES,
    };
    map->used = calloc(map->nwords, sizeof(*map->used));
    map->flaw = calloc(map->nwords, sizeof(*map->flaw));
    map->longest = calloc(map->nblocks, sizeof(*map->longest));
    if (!map->used || !map->flaw || !map->longest) {
        uvm_slotmap_fini(map);
        return -ENOMEM;
    }
    for (uint32_t b = 0; b < map->nblocks; b++)
        map->longest[b] = UVM_CLUSTER_PAGES;
    return 0;
}

void uvm_slotmap_fini(struct uvm_slotmap *map)
{
    free(map->used);
    free(map->flaw);
    free(map->longest);
    *map = (struct uvm_slotmap){0};
}

/* Look in block b, from slot `from` of it on, for a free run of n that starts there. */
static uint32_t search_block(struct uvm_slotmap *map, uint32_t b, uint32_t from, uint32_t n)
{
    uint32_t start = b * BLOCK_SLOTS;
    uint32_t end = MIN(start + BLOCK_SLOTS, map->nslots);
    uint32_t longest = 0;

    for (uint32_t at = from; (at = next_slot(map, at, end, false)) < end;) {
        uint32_t stop = next_slot(map, at, MIN(at + n, map->nslots), true);
        if (stop - at == n)
            return at;
        longest = MAX(longest, stop - at);
        at = stop;
    }
    if (from == start)
        map->longest[b] = (uint16_t)longest;
    return UVM_SLOTS_NONE;
}

static uint32_t search(struct uvm_slotmap *map, uint32_t n)
{
    uint32_t from = map->next;
    uint32_t b = from / BLOCK_SLOTS;
    uint16_t top = 0;

    if (map->top < n)
        return UVM_SLOTS_NONE;
    for (uint32_t i = 0; i <= map->nblocks; i++) {
        if (map->longest[b] >= n) {
            uint32_t slot = search_block(map, b, from, n);
            if (slot != UVM_SLOTS_NONE)
                return slot;
        }
        if (i) /* by now every block but the first has been seen whole, and it comes last */
            top = MAX(top, map->longest[b]);
        b = b + 1 < map->nblocks ? b + 1 : 0;
        from = b * BLOCK_SLOTS;
    }
    assert(top < n);
    map->top = top;
    return UVM_SLOTS_NONE;
}

/* Set or clear the bits of n slots, a word at a time. */
static void set_bits(uint64_t *bits, uint32_t slot, uint32_t n, bool on)
{
    for (uint32_t at = slot, end = slot + n; at < end; at = (at / WORD_SLOTS + 1) * WORD_SLOTS) {
        uint32_t w = at / WORD_SLOTS;
        uint64_t mask = word_mask(at % WORD_SLOTS, MIN(end - w * WORD_SLOTS, WORD_SLOTS));
        bits[w] = on ? bits[w] | mask : bits[w] & ~mask;
    }
}

static uint32_t count_bits(const uint64_t *bits, uint32_t slot, uint32_t n)
{
    uint32_t count = 0;

    for (uint32_t at = slot, end = slot + n; at < end; at = (at / WORD_SLOTS + 1) * WORD_SLOTS) {
        uint32_t w = at / WORD_SLOTS;
        uint64_t mask = word_mask(at % WORD_SLOTS, MIN(end - w * WORD_SLOTS, WORD_SLOTS));
        count += (uint32_t)__builtin_popcountll(bits[w] & mask);
    }
    return count;
}

/* Raise the bounds of all blocks in which a run within the free slots [from, to) can start. */
static void raise_bounds(struct uvm_slotmap *map, uint32_t from, uint32_t to)
{
    for (uint32_t at = from; at < to; at = (at / BLOCK_SLOTS + 1) * BLOCK_SLOTS) {
        uint16_t run = (uint16_t)MIN(to - at, UVM_CLUSTER_PAGES);
        uint32_t b = at / BLOCK_SLOTS;
        map->longest[b] = MAX(map->longest[b], run);
        map->top = MAX(map->top, run);
    }
}

uint32_t uvm_slotmap_alloc(struct uvm_slotmap *map, uint32_t n)
{
    assert(n && n <= UVM_CLUSTER_PAGES);
    uint32_t slot = search(map, n);
    if (slot == UVM_SLOTS_NONE)
        return slot;
    set_bits(map->used, slot, n, true);
    map->inuse += n;
    map->next = slot + n < map->nslots ? slot + n : 0;
    return slot;
}

bool uvm_slotmap_allocated(const struct uvm_slotmap *map, uint32_t slot, uint32_t n)
{
    return slot < map->nslots && n <= map->nslots - slot && count_bits(map->used, slot, n) == n;
}

uint32_t uvm_slotmap_free(struct uvm_slotmap *map, uint32_t slot, uint32_t n)
{
    assert(n && uvm_slotmap_allocated(map, slot, n));
    uint32_t bad = count_bits(map->flaw, slot, n);

    set_bits(map->used, slot, n, false);
    map->inuse -= n;
    map->bad += bad;

    /* Every free run that has grown: bad slots may cut what was freed into several. */
    uint32_t end = slot + n;
    uint32_t from = free_back(map, slot > UVM_CLUSTER_PAGES ? slot - UVM_CLUSTER_PAGES : 0, slot);
    while ((from = next_slot(map, from, end, false)) < end) {
        uint32_t to = next_slot(map, from, MIN(end + UVM_CLUSTER_PAGES, map->nslots), true);
        raise_bounds(map, from, to);
        from = to;
    }
    return bad;
}

void uvm_slotmap_bad(struct uvm_slotmap *map, uint32_t slot, uint32_t n)
{
    assert(n && uvm_slotmap_allocated(map, slot, n));
    set_bits(map->flaw, slot, n, true);
    set_bits(map->used, slot, n, false);
    map->inuse -= n;
    map->bad += n;
}

void uvm_slotmap_suspect(struct uvm_slotmap *map, uint32_t slot)
{
    assert(uvm_slotmap_allocated(map, slot, 1));
    set_bits(map->flaw, slot, 1, true);
}

uint32_t uvm_slotmap_next(const struct uvm_slotmap *map, uint32_t from, bool *suspect)
{
    for (uint32_t at = from; at < map->nslots; at = (at / WORD_SLOTS + 1) * WORD_SLOTS) {
        uint32_t w = at / WORD_SLOTS;
        uint64_t word = map->used[w] & ~0ull << at % WORD_SLOTS;
        if (!word)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(word);
        *suspect = map->flaw[w] >> bit & 1;
        return w * WORD_SLOTS + bit;
    }
    return UVM_SLOTS_NONE;
}
