/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters, with the names of uvmexp and vmstat -s, 64-bit, and histograms of page-in latency.
 *
 * A counter is a relaxed atomic: it is exact, but two counters read together may be of different
 * moments. Levels (free, active, ...) are kept by the module that owns the quantity; the rest only
 * grow. The list below is the one place that names a counter: what the control socket shows is
 * generated from it.
 */
#ifndef UVMD_STATS_H
#define UVMD_STATS_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* X(name, what it counts) */
#define UVM_COUNTERS(X)                                           \
    X(npages, "pages managed")                                    \
    X(free, "pages free")                                         \
    X(active, "pages active")                                     \
    X(inactive, "pages inactive")                                 \
    X(paging, "pages being paged out")                            \
    X(wired, "pages wired")                                       \
    X(delivered, "pages the client cache may hold")               \
    X(freemin, "minimum free pages")                              \
    X(freetarg, "target free pages")                              \
    X(inactarg, "target inactive pages")                          \
    X(reserved, "pages reserved by objects")                      \
    X(reservemax, "pages that can be reserved")                   \
    X(lent, "pages of zeroes out without a reservation")          \
    X(nswapdev, "swap devices")                                   \
    X(swpages, "swap pages")                                      \
    X(swpginuse, "swap pages in use")                             \
    X(swpgonly, "swap pages in use, not also in memory")          \
    X(swpgbad, "swap pages bad")                                  \
    X(swpgleaving, "swap pages in use on a device being removed") \
    X(objects, "objects")                                         \
    X(faults, "pages asked for by clients")                       \
    X(pageins, "page-in operations from swap")                    \
    X(pgswapin, "pages swapped in")                               \
    X(pageouts, "page-out operations to swap")                    \
    X(pgswapout, "pages swapped out")                             \
    X(vnpageins, "page-in operations from files")                 \
    X(vnpgin, "pages read from files")                            \
    X(vnpageouts, "page-out operations to files")                 \
    X(vnpgout, "pages written to files")                          \
    X(vndirty, "pages of files not yet written")                  \
    X(pdwoke, "times the pagedaemon woke")                        \
    X(pdrevs, "scans of the pagedaemon")                          \
    X(pdscans, "pages scanned")                                   \
    X(pdfreed, "pages freed by the pagedaemon")                   \
    X(pdbusy, "busy pages or objects found by the pagedaemon")    \
    X(pdreact, "pages reactivated")                               \
    X(pdpending, "pages the pagedaemon has started to write")     \
    X(pddeact, "pages deactivated")                               \
    X(pdslots, "swap slots of resident pages given back")         \
    X(pdrefault, "pages back soon after they were evicted")       \
    X(trace_drops, "trace records dropped")                       \
    X(revokes, "revocations")                                     \
    X(pgrevoked, "pages revoked")                                 \
    X(flt_uffd_missing, "stray missing faults in the arena")      \
    X(flt_uffd_wp, "stray write-protect faults in the arena")     \
    X(flt_uffd_minor, "stray minor faults in the arena")          \
    X(flt_pgwait, "requests that waited for a busy page")         \
    X(flt_noram, "requests that waited for a free page")          \
    X(flt_norsrv, "requests that waited for a reservation")       \
    X(flt_vnwait, "requests that waited for files to be written") \
    X(flt_regen, "optimistic copies thrown away")                 \
    X(reserve_fail, "requests refused for want of a reservation") \
    X(ioerrors, "I/O errors of the backing store")                \
    X(cksumerrors, "pages whose checksum was wrong at swap-in")

struct uvm_stats {
#define X(name, help) _Atomic uint64_t name;
    UVM_COUNTERS(X)
#undef X
};

extern struct uvm_stats uvmexp;

#define uvm_stat_inc(name) uvm_stat_add(name, 1)
#define uvm_stat_add(name, n) \
    atomic_fetch_add_explicit(&uvmexp.name, (uint64_t)(n), memory_order_relaxed)
#define uvm_stat_sub(name, n) \
    atomic_fetch_sub_explicit(&uvmexp.name, (uint64_t)(n), memory_order_relaxed)
#define uvm_stat_set(name, n) \
    atomic_store_explicit(&uvmexp.name, (uint64_t)(n), memory_order_relaxed)
#define uvm_stat_get(name) atomic_load_explicit(&uvmexp.name, memory_order_relaxed)

/* uvm_stats_foreach: call fn for every counter, in the order of the list. */
void uvm_stats_foreach(void (*fn)(const char *name, const char *help, uint64_t value, void *arg),
                       void *arg);

/*
 * Histograms of page-in latency by where the page came from. Bucket i counts what took less than
 * 2^i microseconds (and not less than half of that); the last one has no upper bound.
 */
enum uvm_hist_kind { UVM_HIST_HIT, UVM_HIST_ZERO, UVM_HIST_SWAP, UVM_HIST_VNODE, UVM_HIST_KINDS };

#define UVM_HIST_BUCKETS 24

struct uvm_hist {
    _Atomic uint64_t bucket[UVM_HIST_BUCKETS];
};

extern const char *const uvm_hist_names[UVM_HIST_KINDS];

void uvm_hist_add(enum uvm_hist_kind kind, uint64_t ns);
const struct uvm_hist *uvm_hist_get(enum uvm_hist_kind kind);

/* uvm_now_ns: CLOCK_MONOTONIC, in nanoseconds. */
static inline uint64_t uvm_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
