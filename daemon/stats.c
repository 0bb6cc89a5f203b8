/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The counters are one structure, made from the list in the header; walking them expands the list
 * again, so a counter that is added there appears everywhere. A latency's bucket is the number of
 * significant bits of its microseconds.
 */
#include "stats.h"

struct uvm_stats uvmexp;

static struct uvm_hist hists[UVM_HIST_KINDS];

const char *const uvm_hist_names[UVM_HIST_KINDS] = {
    [UVM_HIST_HIT] = "hit",
    [UVM_HIST_ZERO] = "zero",
    [UVM_HIST_SWAP] = "swap",
    [UVM_HIST_VNODE] = "vnode",
};

void uvm_stats_foreach(void (*fn)(const char *name, const char *help, uint64_t value, void *arg),
                       void *arg)
{
#define X(name, help) fn(#name, help, uvm_stat_get(name), arg);
    UVM_COUNTERS(X)
#undef X
}

void uvm_hist_add(enum uvm_hist_kind kind, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned b = us ? 64 - (unsigned)__builtin_clzll(us) : 0;
    if (b >= UVM_HIST_BUCKETS)
        b = UVM_HIST_BUCKETS - 1;
    atomic_fetch_add_explicit(&hists[kind].bucket[b], 1, memory_order_relaxed);
}

const struct uvm_hist *uvm_hist_get(enum uvm_hist_kind kind)
{
    return &hists[kind];
}
