/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of the control socket that this version has:
 *
 *      status              what runs, on what, since when; warnings
 *      stat                every counter by its name, and the histograms of page-in latency
 *      objects             an array of objects
 *      object PATH         one of them, by its path in the mount
 *      swap ...            swap devices: see control_swap.c
 *      fault add RULE      make swap transfers fail (faults=yes only): see control_fault.c
 *      fault clear
 *      trace start FILE    record what is asked of memory, for the simulator
 *      trace stop
 *      log LEVEL
 *
 * The objects come from whoever registered as the provider. Sizes are bytes, everything else counts
 * pages or events.
 */
#include "control.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "page_md.h"
#include "policy.h"
#include "stats.h"
#include "trace.h"

/* More objects than this make no reply that anybody could use; "object PATH" always works. */
#define OBJECTS_MAX 50000

/* Set before the control thread starts. */
static struct {
    const struct uvm_config *cfg;
    const struct uvm_control_provider *provider;
    uint64_t started; /* uvm_now_ns() */
} cmds;

void uvm_control_register_objects(const struct uvm_control_provider *provider)
{
    cmds.provider = provider;
}

static void add_number(struct json_object *object, const char *key, uint64_t value)
{
    json_object_object_add(object, key, json_object_new_uint64(value));
}

static void add_text(struct json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, uvm_control_json_text(value));
}

static int cmd_status(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    struct json_object *status = json_object_new_object();

    if (argc != 1) {
        json_object_put(status);
        return uvm_fail(err, -EINVAL, "status takes no argument");
    }
    add_text(status, "version", UVMD_VERSION);
    add_number(status, "pid", (uint64_t)getpid());
    add_text(status, "mountpoint", cmds.cfg->mountpoint);
    add_number(status, "uptime", (uvm_now_ns() - cmds.started) / 1000000000u);
    add_number(status, "memory", cmds.cfg->memory);
    add_number(status, "memory_used", uvm_ptoa(uvm_stat_get(npages) - uvm_stat_get(free)));
    add_number(status, "swap", uvm_ptoa(uvm_stat_get(swpages)));
    add_number(status, "swap_used", uvm_ptoa(uvm_stat_get(swpginuse)));
    add_text(status, "transport", uvm_transport_names[cmds.cfg->transport]);
    add_text(status, "policy", uvm_policy->name);
    add_number(status, "threads", cmds.cfg->threads);
    add_text(status, "statedir", cmds.cfg->statedir);
    uvm_control_status_fill(status);
    *ret = status;
    return 0;
}

static void add_counter(const char *name, const char *help, uint64_t value, void *arg)
{
    add_number(arg, name, value);
}

static int cmd_stat(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    if (argc != 1)
        return uvm_fail(err, -EINVAL, "stat takes no argument");
    struct json_object *stat = json_object_new_object();
    struct json_object *hists = json_object_new_object();
    uvm_stats_foreach(add_counter, stat);
    for (unsigned kind = 0; kind < UVM_HIST_KINDS; kind++) {
        const struct uvm_hist *hist = uvm_hist_get((enum uvm_hist_kind)kind);
        struct json_object *buckets = json_object_new_array_ext(UVM_HIST_BUCKETS);
        for (unsigned i = 0; i < UVM_HIST_BUCKETS; i++) {
            uint64_t n = atomic_load_explicit(&hist->bucket[i], memory_order_relaxed);
            json_object_array_add(buckets, json_object_new_uint64(n));
        }
        json_object_object_add(hists, uvm_hist_names[kind], buckets);
    }
    json_object_object_add(stat, "histograms", hists);
    *ret = stat;
    return 0;
}

static const struct {
    const char *name;
    int prot;
} prots[] = {{"rw", UVM_PROT_RW}, {"ro", UVM_PROT_READ}, {"none", UVM_PROT_NONE}};

static const char *prot_name(int prot)
{
    unsigned i = 0;
    while (i < 2 && prots[i].prot != prot)
        i++;
    return prots[i].name;
}

static struct json_object *object_json(const struct uvm_control_object *object)
{
    struct json_object *row = json_object_new_object();

    add_text(row, "path", object->path);
    add_number(row, "id", object->id);
    add_number(row, "size", object->size);
    add_number(row, "npages", object->npages);
    add_number(row, "swapped", object->swapped);
    add_number(row, "reserved", object->reserved);
    add_number(row, "delivered", object->delivered);
    add_number(row, "faults", object->faults);
    add_number(row, "pgswapin", object->pgswapin);
    add_number(row, "pgswapout", object->pgswapout);
    add_text(row, "protection", prot_name(object->prot));
    return row;
}

static int add_object(const struct uvm_control_object *object, void *arg)
{
    if (json_object_array_length(arg) == OBJECTS_MAX)
        return -E2BIG;
    return json_object_array_add(arg, object_json(object)) ? -ENOMEM : 0;
}

static int cmd_objects(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    if (argc != 1)
        return uvm_fail(err, -EINVAL, "objects takes no argument");
    struct json_object *rows = json_object_new_array();
    int error = cmds.provider ? cmds.provider->foreach(add_object, rows) : 0;
    if (error) {
        json_object_put(rows);
        if (error == -E2BIG)
            return uvm_fail(err, error, "more objects than a reply can list (0 to %d)",
                            OBJECTS_MAX);
        return uvm_fail(err, error, "objects: %s", strerror(-error));
    }
    *ret = rows;
    return 0;
}

/* Both "anon/a" and "/MOUNTPOINT/anon/a" are understood. => the first */
static const char *inside(const char *path)
{
    const char *root = cmds.cfg->mountpoint;
    size_t len = strlen(root);

    if (strncmp(path, root, len) == 0 && path[len] == '/')
        path += len;
    return path + strspn(path, "/");
}

static int cmd_object(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    if (argc != 2)
        return uvm_fail(err, -EINVAL, "object takes one PATH");
    const char *path = inside(argv[1]);
    struct uvm_control_object *object CLEANUP_FREE = calloc(1, sizeof(*object));
    if (!object)
        return uvm_fail(err, -ENOMEM, "out of memory");
    int error = cmds.provider ? cmds.provider->find(path, object) : -ENOENT;
    if (error == -ENOENT)
        return uvm_fail(err, error, "%.400s: no such object", argv[1]);
    if (error)
        return uvm_fail(err, error, "%.400s: %s", argv[1], strerror(-error));
    *ret = object_json(object);
    return 0;
}

static int cmd_protect(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    unsigned i = 0;

    if (argc != 3)
        return uvm_fail(err, -EINVAL, "protect takes a PATH and one of rw, ro, none");
    while (i < 3 && strcmp(argv[2], prots[i].name))
        i++;
    if (i == 3)
        return uvm_fail(err, -EINVAL, "protect: %.100s: not one of rw, ro, none", argv[2]);
    int error = cmds.provider ? cmds.provider->protect(inside(argv[1]), prots[i].prot) : -ENOENT;
    if (error == -ENOENT)
        return uvm_fail(err, error, "%.400s: no such object", argv[1]);
    if (error == -EOPNOTSUPP)
        return uvm_fail(err, error, "%.400s: a device cannot be protected", argv[1]);
    if (error)
        return uvm_fail(err, error, "%.400s: %s", argv[1], strerror(-error));
    return 0;
}

static int cmd_trace(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    if (argc == 3 && strcmp(argv[1], "start") == 0)
        return uvm_trace_start(argv[2], err);
    if (argc == 2 && strcmp(argv[1], "stop") == 0)
        return uvm_trace_stop(err);
    return uvm_fail(err, -EINVAL, "trace knows only: start FILE, stop");
}

static int cmd_log(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    enum uvm_log_level level;

    if (argc != 2)
        return uvm_fail(err, -EINVAL, "log takes one LEVEL");
    if (uvm_log_level_parse(argv[1], &level))
        return uvm_fail(err, -EINVAL, "log: %.100s: not one of error, warning, info, debug",
                        argv[1]);
    uvm_log_set_level(level);
    return 0;
}

void uvm_control_commands(const struct uvm_config *cfg)
{
    cmds.cfg = cfg;
    cmds.started = uvm_now_ns();
    uvm_control_register("status", cmd_status);
    uvm_control_register("stat", cmd_stat);
    uvm_control_register("objects", cmd_objects);
    uvm_control_register("object", cmd_object);
    uvm_control_register("protect", cmd_protect);
    uvm_control_register("swap", uvm_control_swap);
    uvm_control_register("fault", uvm_control_fault);
    uvm_control_register("trace", cmd_trace);
    uvm_control_register("log", cmd_log);
}
