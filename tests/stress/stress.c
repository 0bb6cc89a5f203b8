/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on many files by several processes, against a model in memory, with a uvmd that has the
 * least memory it can have and several times that much data.
 *
 *      stress [-s SEED] [-p PROCESSES] [-f FILES] [-z SIZE_KIB] [-t SECONDS | -n OPERATIONS]
 *             [-m MEMORY] [-w PERCENT] [-e] [-v PERCENT] [-k]
 *
 * A run is named by its seed, processes, files and sizes: with those given again, every process does the
 * same to its files. -w makes that share of swap writes fail. -e gives less swap than there is data, so
 * that room runs out all the time. -v puts that share of each process's files into vnode/; when uvmd has
 * been stopped, with some of them dirty, they are compared with the model once more, on the source.
 * -k has one more process, which is killed again and again. UVM_TEST_ON=DIR runs on a directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "daemon/util.h"
#include "harness.h"
#include "worker.h"

static struct {
    uint64_t seed, seconds, operations, size_kib;
    unsigned processes, files, write_errors, vnode_share;
    bool full, kill;
    const char *memory;
    char source[PATH_MAX], vnode[PATH_MAX + 8];
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

    while ((c = getopt(argc, argv, "s:p:f:z:t:n:m:w:ev:k")) >= 0) {
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
        else if (c == 'v')
            stress.vnode_share = (unsigned)number(optarg, 0, 100);
        else if (c == 'e')
            stress.full = true;
        else if (c == 'k')
            stress.kill = true;
        else
            exit(2);
    }
}

static struct worker worker_of(unsigned process)
{
    return (struct worker){.model = stress.model,
                           .dir = stress.m.anon,
                           .vnode = stress.vnode,
                           .process = process,
                           .operations = stress.operations,
                           .full = stress.full,
                           .leave = stress.vnode_share > 0};
}

/* The process that is killed: it does as the others do, and then what it made is removed. */
static struct victim {
    struct worker worker;
    pid_t pid;    /* 0: none */
    double until; /* it lives so long */
    uint64_t random;
} victim;

static void victim_end(void)
{
    char name[NAME_MAX + 1], path[PATH_MAX + NAME_MAX + 16];

    if (!victim.pid)
        return;
    must_sys(kill(victim.pid, SIGKILL));
    client_wait(victim.pid);
    victim.pid = 0;
    for (unsigned i = 0; i < stress.files * 2; i++) {
        struct model_file *f = model_file(stress.model, stress.processes, i / 2);
        f->name = i % 2;
        snprintf(path, sizeof(path), "%s/%s",
                 model_vnode(stress.model, f) ? stress.vnode : stress.m.anon,
                 model_name(stress.model, f, name));
        must(unlink(path) == 0 || errno == ENOENT);
    }
    model_forget(stress.model, stress.processes);
}

static void victim_turn(void)
{
    if (!stress.kill || (victim.pid && client_now() < victim.until))
        return;
    victim_end();
    victim.worker = worker_of(stress.processes);
    victim.until = client_now() + 0.05 + (double)(content_random(&victim.random) % 1000) / 1000;
    victim.pid = client_start(worker_main, &victim.worker, 60);
}

/* The file on the source, without uvmd, against the model. => what is wrong is printed */
static bool same_on_source(const struct model_file *f)
{
    char name[NAME_MAX + 1], path[PATH_MAX + NAME_MAX + 2];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", stress.source, model_name(stress.model, f, name));
    int fd CLEANUP_CLOSE = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && !f->exists)
        return true;
    if (fd < 0 || !f->exists || fstat(fd, &st) || st.st_size != (off_t)f->size) {
        fprintf(stderr, "%s on the source: %s, size %lld; want %s, size %" PRIu64 "\n", name,
                fd < 0 ? strerror(errno) : "is there", fd < 0 ? -1 : (long long)st.st_size,
                f->exists ? "there" : "absent", (uint64_t)f->size);
        return false;
    }
    unsigned char *bytes CLEANUP_FREE = malloc(f->size + 1);
    must(bytes && file_pread(fd, bytes, f->size + 1, 0) == f->size);
    return model_compare(stress.model, f, UINT64_MAX, bytes, 0, f->size, "read on the source");
}

static bool source_right(void)
{
    bool ok = true;
    uint64_t n = 0;

    for (unsigned p = 0; p < stress.processes; p++) {
        for (unsigned i = 0; i < stress.model->nvnode; i++) {
            const struct model_file *f = model_file(stress.model, p, i);
            ok &= same_on_source(f);
            n += f->size;
        }
    }
    if (stress.model->nvnode)
        printf("%" PRIu64 " MiB on the source %s\n", n / MIB, ok ? "are right" : "are WRONG");
    return ok;
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
        workers[i] = worker_of(i);
        pids[i] = client_start(worker_main, &workers[i], limit);
    }
    double deadline = client_now() + (double)stress.seconds;
    if (!stress.operations) {
        while (client_now() < deadline && !atomic_load(&stress.model->stop)) {
            victim_turn();
            client_pause();
        }
        victim_end();
        atomic_store(&stress.model->stop, true);
    }
    for (unsigned i = 0; i < stress.processes; i++)
        client_join(pids[i]);
    printf("%" PRIu64 " operations, %" PRIu64 " MiB compared, %" PRIu64
           " looks at others' files, %" PRIu64 " refusals\n",
           (uint64_t)stress.model->operations, (uint64_t)stress.model->bytes_checked / MIB,
           (uint64_t)stress.model->foreign_checks, (uint64_t)stress.model->refusals);
    static const char *const counters[] = {
        "pgswapin",    "pgswapout",  "pageouts",   "flt_regen", "flt_uffd_missing",
        "flt_uffd_wp", "flt_pgwait", "flt_noram",  "revokes",   "vnpgin",
        "vnpgout",     "vnpageouts", "flt_vnwait", "vndirty"};
    for (unsigned i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        printf("%s%s %" PRIu64, i ? ", " : "", counters[i], mount_counter(m, counters[i]));
    printf("\n");
    must_int(mount_counter(m, "cksumerrors"), ==, 0);
}

/* => m->opts.more, which lasts as long as the program */
static void prepare_source(struct mount *m)
{
    static char more[PATH_MAX + 32] = "faults=yes";

    snprintf(stress.source, sizeof(stress.source), "%s", m->anon);
    snprintf(stress.vnode, sizeof(stress.vnode), "%s", m->anon);
    m->opts.more = more;
    if (m->foreign || !stress.vnode_share)
        return;
    snprintf(stress.source, sizeof(stress.source), "%s/src", m->dir);
    snprintf(stress.vnode, sizeof(stress.vnode), "%s/vnode", m->mountpoint);
    snprintf(more, sizeof(more), "faults=yes,source=%s", stress.source);
    must_sys(mkdir(stress.source, 0755));
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
                              .seconds =
                                  stress.operations ? 1000000 : (unsigned)stress.seconds + 60};
    stress.model =
        model_new(stress.seed, stress.processes + stress.kill, stress.files, stress.size_kib * KIB);
    stress.model->nprocesses = stress.processes;
    stress.model->nvnode = stress.files * stress.vnode_share / 100;
    mount_prepare(&stress.m, &opts);
    prepare_source(&stress.m);
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
    ok = ok && source_right();
    mount_cleanup(&stress.m);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
