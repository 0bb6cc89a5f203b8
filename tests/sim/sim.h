/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulator of page replacement.
 *
 *      generator  --+                                     +--> LRU, OPT        (sim_ref.c)
 *      recorded   --+--> struct sim_trace --> [client] ---+
 *      (gen.c, trace.c)                                   +--> daemon/policy_*.c  (sim_policy.c)
 *
 * A trace is a sequence of references to pages; a page is a key, small and dense, so that every model
 * has its state in arrays. [client] is an LRU cache in front, as the kernel's cache of the files is:
 * what comes out is what a daemon behind it gets to see (sim_client).
 *
 * The policies are the daemon's own files. They get the calls that the daemon's request paths make: see
 * sim_policy.c for which.
 */
#ifndef UVMD_TESTS_SIM_H
#define UVMD_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/policy.h"

enum sim_op {
    SIM_READ,
    SIM_WRITE,
    SIM_MARK, /* the end of the warm-up: counters start from here */
};

struct sim_ref {
    uint32_t key;
    uint8_t op; /* enum sim_op */
};

struct sim_page {
    uint64_t object;
    uint32_t pgno;
};

struct sim_trace {
    struct sim_ref *refs;
    uint64_t nrefs, room;
    struct sim_page *pages; /* by key */
    uint32_t nkeys, keyroom;
    uint32_t *table; /* hash of pages, keys + 1 */
    uint32_t ntable;
    uint32_t npages; /* recorded: the daemon's memory; 0: not */
    uint64_t evicted,
        dropped; /* recorded: pages that the daemon evicted; records that are missing */
};

/* What a model counts: references, and those to object 1, which generators call the hot set. */
struct sim_count {
    uint64_t refs, misses;
    uint64_t hot, hot_misses;
    uint64_t writes; /* dirty pages evicted */
};

/* Memory is what runs out first in a simulation, and then it ends: these exit. */
void *sim_alloc(uint64_t n, uint64_t size);
void *sim_grow(void *mem, uint64_t n, uint64_t size);

/* trace.c */
void sim_trace_free(struct sim_trace *t);
/* sim_add: one reference at the end. */
void sim_add(struct sim_trace *t, uint64_t object, uint32_t pgno, enum sim_op op);
/* sim_load: what uvmctl trace has recorded. => 0, or -errno; -EINVAL: it is no trace, or is cut off in
 * the middle of a record */
int sim_load(struct sim_trace *t, const char *path);
/* sim_client: what a cache of npages with LRU replacement, which writes back what it evicts, lets
 * through. => appended to `to`, which is empty */
void sim_client(const struct sim_trace *t, uint32_t npages, struct sim_trace *to);

/* gen.c */
struct sim_generator {
    const char *name, *what;
    void (*make)(struct sim_trace *t, uint32_t npages, uint64_t seed);
};
/* sim_generators: an entry without a name ends them. */
extern const struct sim_generator sim_generators[];

/* The models: replay the trace with memory for npages. */
void sim_lru(const struct sim_trace *t, uint32_t npages, struct sim_count *ret);
/* sim_opt: Belady's: of the pages in memory, the one whose next use is furthest goes. */
void sim_opt(const struct sim_trace *t, uint32_t npages, struct sim_count *ret);
void sim_policy(const struct uvm_pdpolicy *policy, const struct sim_trace *t, uint32_t npages,
                struct sim_count *ret);

/* sim_note: count one reference; mark: reset. => common to the models */
void sim_note(struct sim_count *c, const struct sim_trace *t, const struct sim_ref *ref, bool hit);

#endif
