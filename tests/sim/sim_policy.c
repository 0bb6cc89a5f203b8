/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One of the daemon's policies over a trace, with the calls that the daemon makes:
 *
 *      reference            in memory                        not in memory
 *      READ, page clean     dequeue, enqueue(FIRST)          entered, enqueue(INACTIVE), and as a hit
 *      READ, page dirty     the mark                            (fault.c, then read.c)
 *      WRITE                dequeue, enqueue(ACTIVE)         entered, enqueue(ACTIVE)   (write.c)
 *
 * and when no page is free: balance, scan_begin, scan_next, dequeue, evicted, as pdscan.c and pager.c.
 * Transfers take no time, and one page is freed when one is needed, unlike in the daemon, which keeps a
 * twentieth of memory free: what is compared is the choice.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/stats.h"
#include "sim.h"

struct memory {
    const struct sim_trace *trace;
    struct vm_page *frames;
    struct vm_pagelist free;
    struct vm_page **page; /* by key */
    uint32_t *key;         /* by frame */
    struct sim_count *count;
};

static void evict(struct memory *m)
{
    uvm_policy->balance();
    uvm_policy->scan_begin();
    struct vm_page *pg = uvm_policy->scan_next();
    assert(pg); /* all of memory is queued */
    uint32_t key = m->key[pg - m->frames];
    uvm_policy->dequeue(pg);
    if (uvm_policy->evicted)
        uvm_policy->evicted(pg, m->trace->pages[key].object);
    m->count->writes += !(pg->flags & PG_CLEAN);
    m->page[key] = NULL;
    pg->flags = 0;
    pg->pqstate = 0;
    __atomic_store_n(&pg->referenced, 0, __ATOMIC_RELAXED);
    TAILQ_INSERT_HEAD(&m->free, pg, pageq);
}

static struct vm_page *bring_in(struct memory *m, uint32_t key)
{
    if (TAILQ_EMPTY(&m->free))
        evict(m);
    struct vm_page *pg = TAILQ_FIRST(&m->free);
    TAILQ_REMOVE(&m->free, pg, pageq);
    m->page[key] = pg;
    m->key[pg - m->frames] = key;
    pg->pgno = m->trace->pages[key].pgno;
    pg->flags = PG_CLEAN;
    if (uvm_policy->entered)
        uvm_policy->entered(pg, m->trace->pages[key].object);
    return pg;
}

static void refer(struct memory *m, const struct sim_ref *ref)
{
    struct vm_page *pg = m->page[ref->key];

    sim_note(m->count, m->trace, ref, pg);
    if (!pg) {
        pg = bring_in(m, ref->key);
        if (ref->op == SIM_READ)
            uvm_policy->enqueue(pg, UVM_Q_INACTIVE);
    }
    if (ref->op == SIM_WRITE) {
        uvm_policy->dequeue(pg);
        pg->flags &= (uint16_t)~PG_CLEAN;
        uvm_policy->enqueue(pg, UVM_Q_ACTIVE);
    } else if (pg->flags & PG_CLEAN) {
        uvm_policy->dequeue(pg);
        uvm_policy->enqueue(pg, UVM_Q_FIRST);
    } else {
        uvm_page_reference(pg);
    }
}

void sim_policy(const struct uvm_pdpolicy *policy, const struct sim_trace *t, uint32_t npages,
                struct sim_count *ret)
{
    struct memory m = {
        .trace = t,
        .frames = sim_alloc(npages, sizeof(struct vm_page)),
        .page = sim_alloc(t->nkeys, sizeof(struct vm_page *)),
        .key = sim_alloc(npages, sizeof(uint32_t)),
        .count = ret,
    };

    TAILQ_INIT(&m.free);
    for (uint32_t i = 0; i < npages; i++)
        TAILQ_INSERT_TAIL(&m.free, &m.frames[i], pageq);
    uvm_policy = policy;
    if (uvm_policy->init(npages))
        abort();
    memset(ret, 0, sizeof(*ret));
    for (uint64_t i = 0; i < t->nrefs; i++) {
        if (t->refs[i].op == SIM_MARK)
            memset(ret, 0, sizeof(*ret));
        else
            refer(&m, &t->refs[i]);
    }
    if (uvm_policy->fini)
        uvm_policy->fini();
    free(m.frames);
    free(m.page);
    free(m.key);
}
