/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several swap devices: priorities, taking turns, and a device that is full or failing beside one
 * that is not.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define DEVICES_MAX 3

/* Start uvmd with devices of such sizes (MiB) and priorities. */
static void start(struct mount *m, unsigned n, const unsigned *mib, const unsigned *prio,
                  bool faults)
{
    static char more[PATH_MAX * 3];
    int at = snprintf(more, sizeof(more), "faults=%s", faults ? "yes" : "no");

    for (unsigned i = 0; i < n; i++)
        at += snprintf(more + at, sizeof(more) - (size_t)at, ",swap=%s/dev%u:%uM:%u", m->dir, i,
                       mib[i], prio[i]);
    m->opts.more = more;
    mount_start(m);
}

/* A number of every device, in the order of the configuration. */
static void listed(const struct mount *m, const char *name, uint64_t ret[DEVICES_MAX])
{
    struct json_object *rows = NULL, *path, *value;
    unsigned k;

    must_int(mount_call(m, &rows, "swap", "list", NULL), ==, 0);
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        must(json_object_object_get_ex(row, "path", &path));
        must(json_object_object_get_ex(row, name, &value));
        const char *base = strrchr(json_object_get_string(path), '/');
        must(base && sscanf(base, "/dev%u", &k) == 1 && k < DEVICES_MAX);
        ret[k] = json_object_get_uint64(value);
    }
    json_object_put(rows);
}

static void stop(struct mount *m)
{
    must_msg(mount_stop(m), "%s", m->trouble);
}

static void filled(struct mount *m, uint64_t mib)
{
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "f"), 1, mib * MIB / PAGE};

    client_run(file_job_fill, &job, 40);
    client_run(file_job_check, &job, 40);
    client_run(file_job_check_random, &job, 40);
    must_int(mount_counter(m, "ioerrors"), ==, 0);
}

static void same_priority(struct mount *m)
{
    static const unsigned mib[] = {32, 32, 16}, prio[] = {3, 3, 3};
    uint64_t inuse[DEVICES_MAX];

    start(m, 3, mib, prio, false);
    must_int(mount_counter(m, "nswapdev"), ==, 3);
    must_int(mount_counter(m, "swpages"), ==, 80 * MIB / PAGE - 3);
    filled(m, 40);
    listed(m, "inuse", inuse);
    for (unsigned i = 0; i < 3; i++) /* about a third each */
        must_int(inuse[i], >=, 8 * MIB / PAGE);
    must_int(inuse[0] + inuse[1] + inuse[2], ==, mount_counter(m, "swpginuse"));
    stop(m);
}

static void other_priority(struct mount *m)
{
    static const unsigned mib[] = {32, 16, 32}, prio[] = {2, 0, 1};
    uint64_t inuse[DEVICES_MAX];

    start(m, 3, mib, prio, false);
    filled(m, 20);
    listed(m, "inuse", inuse);
    must_int(inuse[1], >=, 10 * MIB / PAGE); /* 0 is the highest */
    must_int(inuse[0] + inuse[2], ==, 0);
    char path[PATH_MAX];
    must_sys(unlink(mount_path(m, path, "f")));
    mount_settle(m, "swpginuse", 0);

    filled(m, 40); /* the first is not enough */
    listed(m, "inuse", inuse);
    must_int(inuse[1], >=, 15 * MIB / PAGE);
    must_int(inuse[2], >=, 10 * MIB / PAGE);
    must_int(inuse[0], ==, 0);
    must_sys(unlink(path));
    mount_settle(m, "swpginuse", 0);

    filled(m, 76);
    listed(m, "inuse", inuse);
    must_int(inuse[0], >, 0);
    stop(m);
}

/* The first device stops taking writes: the second takes over, and nothing is lost. */
static void taking_over(struct mount *m)
{
    static const unsigned mib[] = {16, 64}, prio[] = {0, 1};
    uint64_t inuse[DEVICES_MAX], bad[DEVICES_MAX];
    char path[PATH_MAX], other[PATH_MAX];
    struct file_job job = {mount_path(m, path, "f"), 1, 4000};
    struct file_job more = {mount_path(m, other, "g"), 2, 8000};

    start(m, 2, mib, prio, true);
    client_run(file_job_fill, &job, 40);
    /* Slots are numbered over all devices, this one's first. */
    must_int(mount_call(m, NULL, "fault", "add", "write", "slot=1", "nslots=4095", NULL), ==, 0);
    client_run(file_job_fill, &more, 60);
    client_run(file_job_check, &job, 40);
    client_run(file_job_check, &more, 40);
    listed(m, "inuse", inuse);
    listed(m, "bad", bad);
    must_int(inuse[1], >, 0);
    must_int(bad[1], ==, 0);
    must_int(bad[0] + bad[1], ==, mount_counter(m, "swpgbad"));
    must_int(mount_call(m, NULL, "fault", "clear", NULL), ==, 0);
    client_run(file_job_check_random, &job, 40);
    stop(m);
}

static const struct mount_case cases[] = {
    {"same_priority", same_priority, {.unmounted = true}},
    {"other_priority", other_priority, {.unmounted = true, .seconds = 90}},
    {"taking_over", taking_over, {.unmounted = true, .seconds = 90}},
};

HARNESS_MAIN("swapdevs", cases)
