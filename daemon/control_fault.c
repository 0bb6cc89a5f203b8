/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault command: a rule of the fault store (pager/swap.h), or of the vnode pager (pager/vnode.h),
 * from words.
 *
 *      fault add [read] [write] [error=ENAME|corrupt] [slot=N] [nslots=N] [count=N] [percent=N]
 *      fault add file [read] [write] [sync] [error=ENAME] [object=N] [off=SIZE] [len=SIZE] [count=N]
 *      fault clear
 *
 * Without read and write (and sync) a rule is for all of them, without error= it is EIO, without slots
 * or len for everything, without count for good, without percent for every transfer. Corrupting is for
 * reads.
 */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "pager/swap.h"
#include "pager/vnode.h"
#include "size.h"

/* "EIO" or any other name of errno(3). => 0: no such name */
static int errno_by_name(const char *name)
{
    for (int e = 1; e < 134; e++) {
        const char *known = strerrorname_np(e);
        if (known && strcasecmp(name, known) == 0)
            return e;
    }
    return 0;
}

static int fault_number(const char *word, const char *value, uint64_t max, uint64_t *ret,
                        struct uvm_error *err)
{
    int error = uvm_uint_parse(value, ret);

    if (error == -EINVAL)
        return uvm_fail(err, -EINVAL, "fault: %.100s: not a number", word);
    if (error || *ret > max)
        return uvm_fail(err, -EINVAL, "fault: %.100s: out of range (0 to %" PRIu64 ")", word, max);
    return 0;
}

/* One word of a rule: read, write, error=ENAME, error=corrupt, slot=N, nslots=N, count=N,
 * percent=N. */
static int fault_word(struct uvm_swapfault *rule, const char *word, struct uvm_error *err)
{
    const char *value = strchr(word, '=');
    size_t len = value ? (size_t)(value++ - word) : strlen(word);
    uint64_t n = 0;
    int error = 0;

#define WORD_IS(text) (len == sizeof(text) - 1 && strncmp(word, text, len) == 0)
    if (!value && WORD_IS("read")) {
        rule->reads = true;
    } else if (!value && WORD_IS("write")) {
        rule->writes = true;
    } else if (value && WORD_IS("error")) {
        rule->corrupt = strcmp(value, "corrupt") == 0;
        rule->error = rule->corrupt ? 0 : errno_by_name(value);
        if (!rule->error && !rule->corrupt)
            return uvm_fail(err, -EINVAL, "fault: %.100s: neither the name of an errno nor corrupt",
                            word);
    } else if (value && WORD_IS("slot")) {
        error = fault_number(word, value, UINT32_MAX, &n, err);
        rule->slot = (uint32_t)n;
    } else if (value && WORD_IS("nslots")) {
        error = fault_number(word, value, UINT32_MAX, &n, err);
        rule->nslots = (uint32_t)n;
    } else if (value && WORD_IS("count")) {
        error = fault_number(word, value, UINT64_MAX, &rule->count, err);
    } else if (value && WORD_IS("percent")) {
        error = fault_number(word, value, 100, &n, err);
        rule->percent = (unsigned)n;
    } else {
        error = uvm_fail(
            err, -EINVAL,
            "fault: %.100s: not one of read write error= slot= nslots= count= percent=", word);
    }
#undef WORD_IS
    return error;
}

/* => 0, or the rule was refused */
static int fault_refused(int error, struct uvm_error *err)
{
    if (error == -ENOTSUP)
        return uvm_fail(err, error, "fault: uvmd runs without faults=yes");
    if (error == -ENOSPC)
        return uvm_fail(err, error, "fault: too many rules; drop them with: fault clear");
    return error ? uvm_fail(err, error, "fault: %s", strerror(-error)) : 0;
}

/* One word of a rule for files. */
static int file_word(struct uvn_fault *rule, const char *word, struct uvm_error *err)
{
    const char *value = strchr(word, '=');

    if (strcmp(word, "read") == 0) {
        rule->reads = true;
    } else if (strcmp(word, "write") == 0) {
        rule->writes = true;
    } else if (strcmp(word, "sync") == 0) {
        rule->syncs = true;
    } else if (strncmp(word, "error=", 6) == 0) {
        rule->error = errno_by_name(value + 1);
        if (!rule->error)
            return uvm_fail(err, -EINVAL, "fault: %.100s: not the name of an errno", word);
    } else if (strncmp(word, "object=", 7) == 0) {
        return fault_number(word, value + 1, UINT64_MAX, &rule->object, err);
    } else if (strncmp(word, "count=", 6) == 0) {
        return fault_number(word, value + 1, UINT64_MAX, &rule->count, err);
    } else if (strncmp(word, "off=", 4) == 0 || strncmp(word, "len=", 4) == 0) {
        if (uvm_size_parse(value + 1, *word == 'o' ? &rule->off : &rule->len))
            return uvm_fail(err, -EINVAL, "fault: %.100s: not a size", word);
    } else {
        return uvm_fail(
            err, -EINVAL,
            "fault: %.100s: not one of read write sync error= object= off= len= count=", word);
    }
    return 0;
}

static int fault_file(int argc, const char **argv, struct uvm_error *err)
{
    struct uvn_fault rule = {.error = EIO};

    for (int i = 0; i < argc; i++) {
        int error = file_word(&rule, argv[i], err);
        if (error)
            return error;
    }
    if (!rule.reads && !rule.writes && !rule.syncs)
        rule.reads = rule.writes = rule.syncs = true;
    return fault_refused(uvn_inject(&rule), err);
}

int uvm_control_fault(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    struct uvm_swapfault rule = {.error = EIO};

    if (argc < 2 || (strcmp(argv[1], "add") && (strcmp(argv[1], "clear") || argc > 2)))
        return uvm_fail(err, -EINVAL, "fault knows only: add RULE, clear");
    if (strcmp(argv[1], "clear") == 0) {
        uvm_swap_inject_clear();
        uvn_inject_clear();
        return 0;
    }
    if (argc > 2 && strcmp(argv[2], "file") == 0)
        return fault_file(argc - 3, argv + 3, err);
    for (int i = 2; i < argc; i++) {
        int error = fault_word(&rule, argv[i], err);
        if (error)
            return error;
    }
    if (rule.corrupt && rule.writes)
        return uvm_fail(err, -EINVAL, "fault: error=corrupt is for reads only");
    if (!rule.reads && !rule.writes) {
        rule.reads = true;
        rule.writes = !rule.corrupt;
    }
    return fault_refused(uvm_swap_inject(&rule), err);
}
