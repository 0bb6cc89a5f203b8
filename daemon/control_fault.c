/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault command: a rule of the fault store (pager/swap.h) from words.
 *
 *      fault add [read] [write] [error=ENAME|corrupt] [slot=N] [nslots=N] [count=N] [percent=N]
 *      fault clear
 *
 * Without read and write a rule is for both, without error= it is EIO, without slots for all,
 * without count for good, without percent for every transfer. Corrupting is for reads.
 */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "pager/swap.h"
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

int uvm_control_fault(int argc, const char **argv, struct json_object **ret, struct uvm_error *err)
{
    struct uvm_swapfault rule = {.error = EIO};

    if (argc < 2 || (strcmp(argv[1], "add") && (strcmp(argv[1], "clear") || argc > 2)))
        return uvm_fail(err, -EINVAL, "fault knows only: add RULE, clear");
    if (strcmp(argv[1], "clear") == 0) {
        uvm_swap_inject_clear();
        return 0;
    }
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
    int error = uvm_swap_inject(&rule);
    if (error == -ENOTSUP)
        return uvm_fail(err, error, "fault: uvmd runs without faults=yes");
    if (error == -ENOSPC)
        return uvm_fail(err, error, "fault: too many rules; drop them with: fault clear");
    if (error)
        return uvm_fail(err, error, "fault: %s", strerror(-error));
    return 0;
}
