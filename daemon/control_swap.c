/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap command:
 *
 *      swap list           an array of swap devices
 *      swap add SPEC       begin to add one:    {"job":N}
 *      swap remove PATH    begin to remove one: {"job":N}, or why that cannot be
 *      swap cancel PATH    end its removal soon
 *      swap job N          how a job is: state running, done, failed or cancelled
 *
 * What may take long is a job (swapjob.h), so that other commands go on; who wants its end asks for its
 * state now and then.
 */
#include "control.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "pager/swap.h"
#include "size.h"
#include "swapjob.h"

static void add_number(struct json_object *object, const char *key, uint64_t value)
{
    json_object_object_add(object, key, json_object_new_uint64(value));
}

static void add_text(struct json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, uvm_control_json_text(value));
}

static int swap_list(struct json_object **ret, struct uvm_error *err)
{
    struct uvm_swapinfo *list CLEANUP_FREE = calloc(UVM_SWAP_DEV_MAX, sizeof(*list));

    if (!list)
        return uvm_fail(err, -ENOMEM, "out of memory");
    unsigned n = uvm_swap_list(list, UVM_SWAP_DEV_MAX);
    struct json_object *rows = json_object_new_array();
    for (unsigned i = 0; i < MIN(n, UVM_SWAP_DEV_MAX); i++) {
        struct json_object *row = json_object_new_object();
        add_text(row, "path", list[i].path);
        add_text(row, "type", list[i].block ? "block" : "file");
        add_text(row, "state", list[i].leaving ? "removing" : "in use");
        add_number(row, "prio", (uint64_t)list[i].prio);
        add_number(row, "npages", list[i].npages);
        add_number(row, "inuse", list[i].inuse);
        add_number(row, "bad", list[i].bad);
        add_number(row, "reads", list[i].reads);
        add_number(row, "writes", list[i].writes);
        add_number(row, "errors", list[i].errors);
        json_object_array_add(rows, row);
    }
    *ret = rows;
    return 0;
}

static struct json_object *job_number(uint64_t id)
{
    struct json_object *result = json_object_new_object();
    add_number(result, "job", id);
    return result;
}

static int swap_add(const char *value, struct json_object **ret, struct uvm_error *err)
{
    struct uvm_swapspec *spec CLEANUP_FREE = calloc(1, sizeof(*spec));
    struct uvm_error why = {0};
    uint64_t id;

    if (!spec)
        return uvm_fail(err, -ENOMEM, "out of memory");
    int error = uvm_config_swapspec(value, spec, &why);
    if (error)
        return uvm_fail(err, error, "%.200s: %s", value, why.msg);
    error = uvm_swapjob_add(spec, &id, err);
    if (!error)
        *ret = job_number(id);
    return error;
}

static int swap_remove(const char *path, struct json_object **ret, struct uvm_error *err)
{
    uint64_t id;
    int error = uvm_swapjob_remove(path, &id, err);

    if (!error)
        *ret = job_number(id);
    return error;
}

static int swap_job(const char *number, struct json_object **ret, struct uvm_error *err)
{
    static const char *const states[] = {"running", "done", "failed", "cancelled"};
    struct uvm_swapjob *job CLEANUP_FREE = calloc(1, sizeof(*job));
    uint64_t id;

    if (!job)
        return uvm_fail(err, -ENOMEM, "out of memory");
    if (uvm_uint_parse(number, &id))
        return uvm_fail(err, -EINVAL, "swap job: %.100s: not a number", number);
    if (!uvm_swapjob_get(id, job))
        return uvm_fail(err, -ENOENT, "swap job: %.100s: no such job", number);
    struct json_object *row = job_number(id);
    add_text(row, "op", job->removes ? "remove" : "add");
    add_text(row, "path", job->path);
    add_text(row, "state", states[job->state]);
    if (job->removes) {
        add_number(row, "total", job->total);
        add_number(row, "left", job->left);
        add_number(row, "unreadable", job->unreadable);
    }
    if (job->why.code) {
        add_text(row, "error", job->why.msg);
        add_number(row, "errno", (uint64_t)-job->why.code);
    }
    *ret = row;
    return 0;
}

int uvm_control_swap(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    const char *sub = argc > 1 ? argv[1] : "";

    if (argc == 2 && strcmp(sub, "list") == 0)
        return swap_list(ret, err);
    if (argc == 3 && strcmp(sub, "add") == 0)
        return swap_add(argv[2], ret, err);
    if (argc == 3 && strcmp(sub, "remove") == 0)
        return swap_remove(argv[2], ret, err);
    if (argc == 3 && strcmp(sub, "cancel") == 0)
        return uvm_swapjob_cancel(argv[2], err);
    if (argc == 3 && strcmp(sub, "job") == 0)
        return swap_job(argv[2], ret, err);
    return uvm_fail(err, -EINVAL,
                    "swap knows only: list, add SPEC, remove PATH, cancel PATH, job NUMBER");
}
