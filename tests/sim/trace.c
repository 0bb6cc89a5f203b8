/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traces in memory: made reference by reference, read from a file, or filtered by a client's cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/trace.h"
#include "sim.h"

void *sim_grow(void *mem, uint64_t n, uint64_t size)
{
    void *p = reallocarray(mem, n, size);
    if (!p) {
        fprintf(stderr, "sim: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return p;
}

void *sim_alloc(uint64_t n, uint64_t size)
{
    void *p = sim_grow(NULL, n + 1, size); /* never nothing */
    memset(p, 0, (n + 1) * size);
    return p;
}

void sim_trace_free(struct sim_trace *t)
{
    free(t->refs);
    free(t->pages);
    free(t->table);
    memset(t, 0, sizeof(*t));
}

/* Where the key of a page is, or belongs. => the table is not full */
static uint32_t *place(const struct sim_trace *t, uint64_t object, uint32_t pgno)
{
    uint64_t h = (object * 0x9e3779b97f4a7c15u + pgno) * 0xd6e8feb86659fd93u;
    uint32_t at = (uint32_t)(h >> 32) & (t->ntable - 1);

    while (t->table[at]) {
        const struct sim_page *page = &t->pages[t->table[at] - 1];
        if (page->object == object && page->pgno == pgno)
            break;
        at = (at + 1) & (t->ntable - 1);
    }
    return &t->table[at];
}

static void grow_keys(struct sim_trace *t)
{
    t->keyroom = t->keyroom ? 2 * t->keyroom : 1024;
    t->pages = sim_grow(t->pages, t->keyroom, sizeof(*t->pages));
    t->ntable = 2 * t->keyroom;
    free(t->table);
    t->table = sim_alloc(t->ntable, sizeof(*t->table));
    for (uint32_t key = 0; key < t->nkeys; key++)
        *place(t, t->pages[key].object, t->pages[key].pgno) = key + 1;
}

static uint32_t key_of(struct sim_trace *t, uint64_t object, uint32_t pgno)
{
    if (t->nkeys == t->keyroom)
        grow_keys(t);
    uint32_t *at = place(t, object, pgno);
    if (!*at) {
        t->pages[t->nkeys] = (struct sim_page){.object = object, .pgno = pgno};
        *at = ++t->nkeys;
    }
    return *at - 1;
}

static void add_ref(struct sim_trace *t, uint32_t key, enum sim_op op)
{
    if (t->nrefs == t->room) {
        t->room = t->room ? 2 * t->room : 4096;
        t->refs = sim_grow(t->refs, t->room, sizeof(*t->refs));
    }
    t->refs[t->nrefs++] = (struct sim_ref){.key = key, .op = (uint8_t)op};
}

void sim_add(struct sim_trace *t, uint64_t object, uint32_t pgno, enum sim_op op)
{
    add_ref(t, op == SIM_MARK ? 0 : key_of(t, object, pgno), op);
}

static int load_record(struct sim_trace *t, const struct uvm_trace_record *r)
{
    switch (r->op) {
    case UVM_TRACE_READ:
    case UVM_TRACE_WRITE:
        for (uint32_t i = 0; i < r->npages; i++)
            sim_add(t, r->object, r->pgno + i, r->op == UVM_TRACE_READ ? SIM_READ : SIM_WRITE);
        return 0;
    case UVM_TRACE_EVICT:
        t->evicted += r->npages;
        return 0;
    case UVM_TRACE_DROPS:
        t->dropped += r->object;
        return 0;
    default:
        return -EINVAL;
    }
}

int sim_load(struct sim_trace *t, const char *path)
{
    FILE *f CLEANUP_FCLOSE = fopen(path, "re");
    struct uvm_trace_header head;
    struct uvm_trace_record r;
    size_t n;

    if (!f)
        return -errno;
    if (fread(&head, 1, sizeof(head), f) != sizeof(head) ||
        memcmp(head.magic, UVM_TRACE_MAGIC, sizeof(head.magic)) ||
        head.version != UVM_TRACE_VERSION)
        return ferror(f) ? -EIO : -EINVAL;
    t->npages = head.npages;
    while ((n = fread(&r, 1, sizeof(r), f)) == sizeof(r))
        if (load_record(t, &r))
            return -EINVAL;
    if (ferror(f))
        return -EIO;
    return n ? -EINVAL : 0;
}

/* The client's cache: keys in the order of their last use. */
struct client {
    uint32_t *next, *prev; /* rings through keys; nkeys is the head: next is the oldest */
    uint8_t *state;        /* 0: not there, 1: clean, 2: dirty */
};

static void client_unlink(struct client *c, uint32_t key)
{
    c->next[c->prev[key]] = c->next[key];
    c->prev[c->next[key]] = c->prev[key];
}

static void client_append(struct client *c, uint32_t head, uint32_t key)
{
    c->prev[key] = c->prev[head];
    c->next[key] = head;
    c->next[c->prev[head]] = key;
    c->prev[head] = key;
}

void sim_client(const struct sim_trace *t, uint32_t npages, struct sim_trace *to)
{
    uint32_t head = t->nkeys, held = 0;
    struct client c = {
        .next = sim_alloc(head + 1u, sizeof(uint32_t)),
        .prev = sim_alloc(head + 1u, sizeof(uint32_t)),
        .state = sim_alloc(head, 1),
    };

    c.next[head] = c.prev[head] = head;
    for (uint32_t key = 0; key < t->nkeys; key++) /* the same keys */
        key_of(to, t->pages[key].object, t->pages[key].pgno);
    to->npages = t->npages;
    for (uint64_t i = 0; i < t->nrefs; i++) {
        const struct sim_ref *ref = &t->refs[i];
        if (ref->op == SIM_MARK) {
            add_ref(to, 0, SIM_MARK);
            continue;
        }
        if (c.state[ref->key]) {
            client_unlink(&c, ref->key);
        } else {
            add_ref(to, ref->key, SIM_READ); /* also for a store: the kernel reads the page first */
            c.state[ref->key] = 1;
            held++;
        }
        if (ref->op == SIM_WRITE)
            c.state[ref->key] = 2;
        client_append(&c, head, ref->key);
        if (held > npages) {
            uint32_t old = c.next[head];
            if (c.state[old] == 2)
                add_ref(to, old, SIM_WRITE);
            client_unlink(&c, old);
            c.state[old] = 0;
            held--;
        }
    }
    free(c.next);
    free(c.prev);
    free(c.state);
}
