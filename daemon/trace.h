/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recording what is asked of memory, for the simulator (tests/sim).
 *
 *      loops, pagedaemon --> ring of records, lock-free --> writer thread --> FILE
 *      uvm_trace()             \_ full: dropped, counted
 *
 * A file is a struct uvm_trace_header and records; numbers are the machine's own. What was dropped is
 * told by a record too, about where it is missing. Records of different threads are in the order in
 * which they got their place in the ring.
 */
#ifndef UVMD_TRACE_H
#define UVMD_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define UVM_TRACE_MAGIC   "uvmtrace"
#define UVM_TRACE_VERSION 1u

enum uvm_trace_op {
    UVM_TRACE_READ = 'R',  /* a client's READ */
    UVM_TRACE_WRITE = 'W', /* a WRITE of a client, or of its kernel */
    UVM_TRACE_EVICT = 'E', /* pages that the daemon's own policy let go */
    UVM_TRACE_DROPS = 'D', /* object: so many records are missing here */
};

struct uvm_trace_header {
    char magic[8];
    uint32_t version;
    uint32_t npages; /* memory=, in pages */
};

struct uvm_trace_record {
    uint64_t object;
    uint32_t pgno;
    uint16_t npages; /* 1 or more */
    uint8_t op;      /* UVM_TRACE_* */
    uint8_t zero;
};

/*
 * uvm_trace_start: record into a new file.
 *
 * => path absolute; it must not exist, nor be in a FUSE mount, which may be ours
 * => 0; -EINVAL, -EBUSY (a trace is being recorded), or another -errno; with err filled in
 * => one thread at a time (the control thread), as uvm_trace_stop
 */
int uvm_trace_start(const char *path, struct uvm_error *err);

/* uvm_trace_stop: write out what is in the ring, and close the file. => 0; -ENOENT: nothing is being
 * recorded; -errno: of the file, whose end is missing then; with err filled in */
int uvm_trace_stop(struct uvm_error *err);

/* uvm_trace_fini: stop without a word. => no loop runs any more */
void uvm_trace_fini(void);

extern _Atomic bool uvm_trace_on;

/* uvm_trace_put: the slow half of uvm_trace. */
void uvm_trace_put(uint64_t object, uint64_t pgno, uint64_t npages, enum uvm_trace_op op);

/* uvm_trace: record, if a trace is on. => any thread, under any lock; neither waits nor allocates */
static inline void uvm_trace(uint64_t object, uint64_t pgno, uint64_t npages, enum uvm_trace_op op)
{
    if (__builtin_expect(atomic_load_explicit(&uvm_trace_on, memory_order_relaxed), 0))
        uvm_trace_put(object, pgno, npages, op);
}

#endif
