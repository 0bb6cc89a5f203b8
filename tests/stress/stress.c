/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on many files by several processes, against a model in memory, with a uvmd that has the
 * least memory it can have and several times that much data.
 *
 *      stress [-s SEED] [-p PROCESSES] [-f FILES] [-z SIZE_KIB] [-t SECONDS | -n OPERATIONS]
 *             [-m MEMORY] [-w PERCENT] [-e]
 *
 * A run is named by its seed, processes, files and sizes: with those given again, every process does the
 * same to its files. -w makes that share of swap writes fail. -e gives less swap than there is data, so
 * that room runs out all the time. UVM_TEST_ON=DIR runs on a directory.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "worker.h"

static struct {
    uint64_t seed, seconds, operations, size_kib;
    unsigned processes, files, write_errors;
    bool full;
    const char *memory;
    struct mount m;
    struct model *model;
} stress = {
    .seed = 1, .seconds = 40, .size_kib = 2048, .processes = 4, .files = 12, .memory = "8M"};

static void failed(const char *text)
{
    fprintf(stderr, "stress: %s\n", text);
    mount_cleanup(&stress.m);
    exit(EXIT_FAILURE);
}

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || *end || end == text || n < min || n > max) {
        fprintf(stderr, "stress: %s: not a number from %" PRIu64 " to %" PRIu64 "\n", text, min,
                max);
        exit(2);
    }
    return n;
}

static void options(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "s:p:f:z:t:n:m:w:e")) >= 0) {
        if (c == 's')
            stress.seed = number(optarg, 0, UINT64_MAX);
        else if (c == 'p')
            stress.processes = (unsigned)number(optarg, 1, 256);
        else if (c == 'f')
            stress.files = (unsigned)number(optarg, 1, 4096);
        else if (c == 'z')
            stress.size_kib = number(optarg, 256, 1 << 20) & ~3u;
        else if (c == 't')
            stress.seconds = number(optarg, 1, 1000000);
        else if (c == 'n')
            stress.operations = number(optarg, 1, UINT64_MAX);
        else if (c == 'm')
            stress.memory = optarg;
        else if (c == 'w')
            stress.write_errors = (unsigned)number(optarg, 0, 90);
        else if (c == 'e')
            stress.full = true;
        else
            exit(2);
    }
}

static void body(struct mount *m)
{
    struct worker *workers = calloc(stress.processes, sizeof(*workers));
    pid_t *pids = calloc(stress.processes, sizeof(*pids));
    unsigned limit = stress.operations ? 0 : (unsigned)stress.seconds + 60;

    must(workers && pids);
    if (stress.write_errors) {
        char percent[32];
        snprintf(percent, sizeof(percent), "percent=%u", stress.write_errors);
        must_int(mount_call(m, NULL, "fault", "add", "write", percent, NULL), ==, 0);
    }
    for (unsigned i = 0; i < stress.processes; i++) {
        workers[i] = (struct worker){stress.model, m->anon, i, stress.operations, stress.full};
        pids[i] = client_start(worker_main, &workers[i], limit);
    }
    double deadline = client_now() + (double)stress.seconds;
    if (!stress.operations) {
        while (client_now() < deadline && !atomic_load(&stress.model->stop))
            client_pause();
        atomic_store(&stress.model->stop, true);
    }
    for (unsigned i = 0; i < stress.processes; i++)
        client_join(pids[i]);
    printf("%" PRIu64 " operations, %" PRIu64 " MiB compared, %" PRIu64
           " looks at others' files, %" PRIu64 " refusals\n",
           (uint64_t)stress.model->operations, (uint64_t)stress.model->bytes_checked / MIB,
           (uint64_t)stress.model->foreign_checks, (uint64_t)stress.model->refusals);
    static const char *const counters[] = {"pgswapin",   "pgswapout",        "pageouts",
                                           "flt_regen",  "flt_uffd_missing", "flt_uffd_wp",
                                           "flt_pgwait", "flt_noram",        "revokes"};
    for (unsigned i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        printf("%s%s %" PRIu64, i ? ", " : "", counters[i], mount_counter(m, counters[i]));
    printf("\n");
    must_int(mount_counter(m, "cksumerrors"), ==, 0);
}

int main(int argc, char **argv)
{
    const char *skip = harness_skip();
    char swap[32];

    options(argc, argv);
    if (skip) {
        printf("skipped: %s\n", skip);
        return 77;
    }
    client_init(failed);
    uint64_t data = stress.processes * stress.files * stress.size_kib;
    snprintf(swap, sizeof(swap), "%" PRIu64 "K", stress.full ? data / 4 : 2 * data + 16 * KIB);
    struct mount_opts opts = {.memory = stress.memory,
                              .swap = swap,
                              .more = "faults=yes",
                              .seconds =
                                  stress.operations ? 1000000 : (unsigned)stress.seconds + 60};
    stress.model = model_new(stress.seed, stress.processes, stress.files, stress.size_kib * KIB);
    mount_prepare(&stress.m, &opts);
    printf("stress -s %" PRIu64 " -p %u -f %u -z %" PRIu64 ": %" PRIu64 " MiB of data, memory=%s\n",
           stress.seed, stress.processes, stress.files, stress.size_kib, data / KIB, stress.memory);
    if (!stress.m.foreign)
        mount_start(&stress.m);
    bool ok = mount_body(&stress.m, body);
    if (!ok) {
        fprintf(stderr, "stress: %s\n", stress.m.trouble);
        if (stress.m.daemon)
            mount_explain(&stress.m);
    }
    stress.m.trouble[0] = '\0';
    if (stress.m.daemon && !mount_stop(&stress.m)) {
        fprintf(stderr, "stress: %s\n", stress.m.trouble);
        ok = false;
    }
    mount_cleanup(&stress.m);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
