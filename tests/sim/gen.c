/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generators: patterns that tell policies apart, in proportion to the memory they will meet. Object 1
 * is the hot set, where there is one; references up to the mark warm up.
 */
#include <math.h>
#include <stdlib.h>

#include "sim.h"

static uint64_t rng;

/* The next random number, 0 <= it < n. */
static uint32_t pick(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 32) * n >> 32);
}

static void begin(uint64_t seed)
{
    rng = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned i = 0; i < 16; i++)
        pick(1);
}

static void uniform(struct sim_trace *t, uint64_t object, uint32_t npages, uint64_t n,
                    enum sim_op op)
{
    while (n-- > 0)
        sim_add(t, object, pick(npages), op);
}

/* Zipf: page k of a permutation is referenced in proportion to 1 / (k + 1)^a. */
struct zipf {
    double *sum;
    uint32_t *page;
    uint32_t n;
};

static void zipf_init(struct zipf *z, uint32_t n, double a)
{
    double sum = 0;

    z->n = n;
    z->sum = sim_alloc(n, sizeof(*z->sum));
    z->page = sim_alloc(n, sizeof(*z->page));
    for (uint32_t i = 0; i < n; i++) {
        sum += pow(i + 1, -a);
        z->sum[i] = sum;
        uint32_t k = pick(i + 1);
        z->page[i] = z->page[k];
        z->page[k] = i;
    }
}

static void zipf_free(struct zipf *z)
{
    free(z->sum);
    free(z->page);
}

static uint32_t zipf_pick(const struct zipf *z)
{
    double x = (pick(UINT32_MAX) / (double)UINT32_MAX) * z->sum[z->n - 1];
    uint32_t lo = 0, hi = z->n - 1;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (z->sum[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return z->page[lo];
}

/* 4x memory once, past a hot set of half of memory, which is used once for every `every` pages. A page
 * of the scan takes `pieces` references. */
static void scan_past(struct sim_trace *t, uint32_t npages, uint32_t every, uint32_t pieces,
                      enum sim_op op)
{
    uint32_t hot = npages / 2;

    for (uint32_t i = 0; i < hot; i++)
        sim_add(t, 1, i, op);
    uniform(t, 1, hot, 8ull * hot, op);
    sim_add(t, 0, 0, SIM_MARK);
    for (uint32_t i = 0; i < 4 * npages; i++) {
        for (uint32_t k = 0; k < pieces; k++)
            sim_add(t, 2, i, op);
        if (i % every == 0)
            sim_add(t, 1, pick(hot), op);
    }
}

static void gen_scan(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    begin(seed);
    scan_past(t, npages, 1, 1, SIM_READ);
}

static void gen_scan_fast(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    begin(seed);
    scan_past(t, npages, 8, 1, SIM_READ);
}

static void gen_scan_write(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    begin(seed);
    scan_past(t, npages, 1, 1, SIM_WRITE);
}

static void gen_scan_pieces(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    begin(seed);
    scan_past(t, npages, 1, 8, SIM_WRITE);
}

static void loop(struct sim_trace *t, uint32_t npages, enum sim_op op)
{
    for (unsigned round = 0; round < 10; round++) {
        if (round == 2)
            sim_add(t, 0, 0, SIM_MARK);
        for (uint32_t i = 0; i < npages; i++)
            sim_add(t, 2, i, op);
    }
}

static void gen_loop(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    loop(t, npages + npages / 10, SIM_READ);
}

static void gen_loop_write(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    loop(t, npages + npages / 10, SIM_WRITE);
}

static void gen_loop_double(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    loop(t, 2 * npages, SIM_READ);
}

/* Zipf over 8x memory; one in `writes` references is a store, 0: none. */
static void zipf_over(struct sim_trace *t, uint32_t npages, double a, uint32_t writes)
{
    struct zipf z;

    zipf_init(&z, 8 * npages, a);
    for (uint64_t i = 0; i < 40ull * npages; i++) {
        if (i == 10ull * npages)
            sim_add(t, 0, 0, SIM_MARK);
        sim_add(t, 2, zipf_pick(&z), writes && pick(writes) == 0 ? SIM_WRITE : SIM_READ);
    }
    zipf_free(&z);
}

static void gen_zipf(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    begin(seed);
    zipf_over(t, npages, 0.9, 0);
}

static void gen_zipf_write(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    begin(seed);
    zipf_over(t, npages, 0.9, 3);
}

/* Zipf with stores, over 2x memory, and scans of half of memory through it, again and again elsewhere. */
static void gen_mixed(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    struct zipf z;
    uint32_t scanned = 0, left = 0;

    begin(seed);
    zipf_init(&z, 2 * npages, 0.9);
    for (uint64_t i = 0; i < 40ull * npages; i++) {
        if (i == 10ull * npages)
            sim_add(t, 0, 0, SIM_MARK);
        if (i % (4 * npages) == 0)
            left = npages / 2;
        if (left && pick(3) == 0) {
            sim_add(t, 2, scanned++, SIM_READ);
            left--;
        } else {
            sim_add(t, 1, zipf_pick(&z), pick(4) == 0 ? SIM_WRITE : SIM_READ);
        }
    }
    zipf_free(&z);
}

/* Working sets of 3/4 of memory, one after another, with a few references to the one before. */
static void gen_shift(struct sim_trace *t, uint32_t npages, uint64_t seed)
{
    uint32_t set = npages / 4 * 3;

    begin(seed);
    for (uint32_t phase = 0; phase < 8; phase++) {
        if (phase == 1)
            sim_add(t, 0, 0, SIM_MARK);
        for (uint64_t i = 0; i < 6ull * set; i++) {
            bool old = phase > 0 && pick(16) == 0;
            sim_add(t, 2 + phase - old, pick(set), pick(4) == 0 ? SIM_WRITE : SIM_READ);
        }
    }
}

/* clang-format off */
const struct sim_generator sim_generators[] = {
    {"scan", "a scan of 4x memory past a hot set of half, one hot read a page", gen_scan},
    {"scan-fast", "the same, one hot read for 8 pages", gen_scan_fast},
    {"scan-write", "the same as scan, with stores", gen_scan_write},
    {"scan-pieces", "the same, each page of the scan stored to 8 times in a row", gen_scan_pieces},
    {"loop", "in order over 1.1x memory, again and again", gen_loop},
    {"loop-write", "the same with stores", gen_loop_write},
    {"loop-2x", "in order over 2x memory", gen_loop_double},
    {"zipf", "zipf 0.9 over 8x memory", gen_zipf},
    {"zipf-write", "the same, a third are stores", gen_zipf_write},
    {"mixed", "zipf over 2x memory, a quarter stores, and scans through it", gen_mixed},
    {"shift", "working sets of 3/4 of memory, one after another", gen_shift},
    {NULL, NULL, NULL},
};
/* clang-format on */
