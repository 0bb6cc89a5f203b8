/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the policies are measured against: LRU, which has no idea, and OPT, which knows the future.
 *
 * OPT has the pages in memory in a heap, by their next use, the furthest first. A use moves the page's
 * entry to a later time, which is a new entry; the old one is known by its time and thrown away when it
 * comes up.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

void sim_note(struct sim_count *c, const struct sim_trace *t, const struct sim_ref *ref, bool hit)
{
    bool hot = t->pages[ref->key].object == 1;

    c->refs++;
    c->hot += hot;
    c->misses += !hit;
    c->hot_misses += hot && !hit;
}

void sim_lru(const struct sim_trace *t, uint32_t npages, struct sim_count *ret)
{
    uint32_t head = t->nkeys, used = 0;
    uint32_t *next = sim_alloc(head + 1u, sizeof(*next));
    uint32_t *prev = sim_alloc(head + 1u, sizeof(*prev));
    uint8_t *state = sim_alloc(head, 1); /* 1: in memory, 2: dirty */

    next[head] = prev[head] = head;
    memset(ret, 0, sizeof(*ret));
    for (uint64_t i = 0; i < t->nrefs; i++) {
        uint32_t key = t->refs[i].key;
        if (t->refs[i].op == SIM_MARK) {
            memset(ret, 0, sizeof(*ret));
            continue;
        }
        sim_note(ret, t, &t->refs[i], state[key]);
        if (!state[key] && used == npages) {
            uint32_t old = next[head];
            ret->writes += state[old] == 2;
            state[old] = 0;
            next[head] = next[old];
            prev[next[old]] = head;
            used--;
        }
        if (state[key]) {
            next[prev[key]] = next[key];
            prev[next[key]] = prev[key];
        } else {
            state[key] = 1;
            used++;
        }
        if (t->refs[i].op == SIM_WRITE)
            state[key] = 2;
        prev[key] = prev[head];
        next[key] = head;
        next[prev[head]] = key;
        prev[head] = key;
    }
    free(next);
    free(prev);
    free(state);
}

struct use {
    uint64_t when;
    uint32_t key;
};

struct heap {
    struct use *uses;
    uint64_t n;
};

static void heap_push(struct heap *h, struct use use)
{
    uint64_t at = h->n++;
    while (at > 0 && h->uses[(at - 1) / 2].when < use.when) {
        h->uses[at] = h->uses[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->uses[at] = use;
}

static struct use heap_pop(struct heap *h)
{
    struct use top = h->uses[0], last = h->uses[--h->n];
    uint64_t at = 0, child;
    while ((child = 2 * at + 1) < h->n) {
        if (child + 1 < h->n && h->uses[child + 1].when > h->uses[child].when)
            child++;
        if (h->uses[child].when <= last.when)
            break;
        h->uses[at] = h->uses[child];
        at = child;
    }
    h->uses[at] = last;
    return top;
}

/* When each reference's page is used next; UINT64_MAX less the key: never, and no two alike. */
static uint64_t *next_uses(const struct sim_trace *t)
{
    uint64_t *next = sim_alloc(t->nrefs, sizeof(*next));
    uint64_t *last = sim_alloc(t->nkeys, sizeof(*last));

    for (uint32_t key = 0; key < t->nkeys; key++)
        last[key] = UINT64_MAX - key;
    for (uint64_t i = t->nrefs; i-- > 0;) {
        if (t->refs[i].op == SIM_MARK)
            continue;
        next[i] = last[t->refs[i].key];
        last[t->refs[i].key] = i;
    }
    free(last);
    return next;
}

void sim_opt(const struct sim_trace *t, uint32_t npages, struct sim_count *ret)
{
    uint64_t *next = next_uses(t);
    uint64_t *when = sim_alloc(t->nkeys, sizeof(*when)); /* the page's next use; 0: not in memory */
    uint8_t *dirty = sim_alloc(t->nkeys, 1);
    struct heap heap = {.uses = sim_alloc(t->nrefs, sizeof(struct use))};
    uint32_t used = 0;

    memset(ret, 0, sizeof(*ret));
    for (uint64_t i = 0; i < t->nrefs; i++) {
        uint32_t key = t->refs[i].key;
        if (t->refs[i].op == SIM_MARK) {
            memset(ret, 0, sizeof(*ret));
            continue;
        }
        sim_note(ret, t, &t->refs[i], when[key]);
        if (!when[key] && used == npages) {
            struct use old;
            do
                old = heap_pop(&heap);
            while (when[old.key] != old.when);
            when[old.key] = 0;
            ret->writes += dirty[old.key];
            dirty[old.key] = 0;
            used--;
        }
        used += !when[key];
        when[key] = next[i];
        dirty[key] |= t->refs[i].op == SIM_WRITE;
        heap_push(&heap, (struct use){.when = next[i], .key = key});
    }
    free(next);
    free(when);
    free(dirty);
    free(heap.uses);
}
