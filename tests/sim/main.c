/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sim: a table of miss ratios, a line for each trace, a column for each policy.
 *
 *      sim [-m PAGES] [-c PAGES] [-s SEED] [-g NAME,...] [FILE...]
 *
 * Without FILE, the generators run (-g: only some); a FILE is what "uvmctl trace" has recorded. -m:
 * memory (4096 pages; for a FILE, what the daemon had). -c: a client cache of so many pages in front.
 * The columns are percents: misses of all references and, on a line "(hot)", of those to the hot
 * set; "(out)" is dirty pages evicted for 100 references.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/size.h"
#include "sim.h"

#define COLUMNS 8

static struct {
    uint32_t npages, client; /* 0: not given */
    uint64_t seed;
    const char *only;
} opt = {.seed = 1};

static double percent(uint64_t part, uint64_t of)
{
    return of ? 100.0 * (double)part / (double)of : 0;
}

static void print_row(const char *name, const char *what, const double *value, unsigned n)
{
    char label[64];
    snprintf(label, sizeof(label), "%s%s", name, what);
    printf("%-24s", label);
    for (unsigned i = 0; i < n; i++)
        printf(" %8.2f", value[i]);
    putchar('\n');
}

static void replay(const char *name, const struct sim_trace *trace, uint32_t npages)
{
    struct sim_count counts[COLUMNS] = {0};
    double misses[COLUMNS] = {0}, hot[COLUMNS] = {0}, out[COLUMNS] = {0};
    struct sim_trace filtered = {0};
    unsigned n = 0;
    bool writes = false;

    if (opt.client) {
        sim_client(trace, opt.client, &filtered);
        trace = &filtered;
    }
    for (; uvm_policies[n]; n++)
        sim_policy(uvm_policies[n], trace, npages, &counts[n]);
    sim_lru(trace, npages, &counts[n++]);
    sim_opt(trace, npages, &counts[n++]);
    for (unsigned i = 0; i < n; i++) {
        misses[i] = percent(counts[i].misses, counts[i].refs);
        hot[i] = percent(counts[i].hot_misses, counts[i].hot);
        out[i] = percent(counts[i].writes, counts[i].refs);
        writes |= counts[i].writes;
    }
    print_row(name, "", misses, n);
    if (counts[0].hot)
        print_row(name, " (hot)", hot, n);
    if (writes)
        print_row(name, " (out)", out, n);
    sim_trace_free(&filtered);
}

static void print_head(void)
{
    printf("%-24s", "percent");
    for (unsigned i = 0; uvm_policies[i]; i++)
        printf(" %8s", uvm_policies[i]->name);
    printf(" %8s %8s\n", "lru", "opt");
}

/* Is name in the list of -g? */
static bool wanted(const char *name)
{
    size_t len = strlen(name);

    for (const char *p = opt.only; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (strncmp(p, name, len) == 0 && (p[len] == ',' || !p[len]))
            return true;
    return !opt.only;
}

static int run_generators(void)
{
    uint32_t npages = opt.npages ? opt.npages : 4096;
    unsigned n = 0;

    print_head();
    for (const struct sim_generator *g = sim_generators; g->name; g++) {
        if (!wanted(g->name))
            continue;
        struct sim_trace trace = {0};
        g->make(&trace, npages, opt.seed);
        replay(g->name, &trace, npages);
        sim_trace_free(&trace);
        n++;
    }
    if (!n)
        fprintf(stderr, "sim: -g %s: no such generator\n", opt.only);
    return n ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_file(const char *path)
{
    struct sim_trace trace = {0};
    int error = sim_load(&trace, path);

    if (error) {
        fprintf(stderr, "sim: %s: %s\n", path,
                error == -EINVAL ? "not a whole trace" : strerror(-error));
    } else {
        uint32_t npages = opt.npages ? opt.npages : trace.npages;
        printf("%s: %" PRIu64 " references to %" PRIu32 " pages, memory %" PRIu32
               " pages; the daemon "
               "evicted %" PRIu64 "; %" PRIu64 " records missing\n",
               path, trace.nrefs, trace.nkeys, npages, trace.evicted, trace.dropped);
        if (!trace.nrefs || !npages)
            error = 0;
        else
            replay("", &trace, npages);
    }
    sim_trace_free(&trace);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int usage(FILE *out, int status)
{
    fprintf(out,
            "Usage: sim [-m PAGES] [-c PAGES] [-s SEED] [-g NAME,...] [FILE...]\n\nGenerators:\n");
    for (const struct sim_generator *g = sim_generators; g->name; g++)
        fprintf(out, "  %-12s %s\n", g->name, g->what);
    return status;
}

/* => false: not a number from 1 on */
static bool parse_pages(const char *text, uint32_t *ret)
{
    uint64_t n;

    if (uvm_uint_parse(text, &n) || n < 1 || n > UINT32_MAX / 16)
        return false;
    *ret = (uint32_t)n;
    return true;
}

int main(int argc, char **argv)
{
    int c, status = EXIT_SUCCESS;
    bool ok = true;

    while (ok && (c = getopt(argc, argv, "m:c:s:g:h")) != -1) {
        if (c == 'h')
            return usage(stdout, EXIT_SUCCESS);
        else if (c == 'm')
            ok = parse_pages(optarg, &opt.npages) && opt.npages >= 16;
        else if (c == 'c')
            ok = parse_pages(optarg, &opt.client);
        else if (c == 's')
            ok = !uvm_uint_parse(optarg, &opt.seed);
        else if (c == 'g')
            opt.only = optarg;
        else
            ok = false;
    }
    if (!ok)
        return usage(stderr, 2);
    if (optind == argc)
        return run_generators();
    print_head();
    for (int i = optind; i < argc; i++)
        if (run_file(argv[i]))
            status = EXIT_FAILURE;
    return status;
}
