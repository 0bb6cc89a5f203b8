/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One scanner for digits serves sizes and plain numbers. strtoull is not used: it takes blanks,
 * signs and other bases, which are mistakes in a configuration.
 */
#include "size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char units[] = "KMGT";

/* Consume decimal digits at *text; => -EINVAL without any. */
static int scan_digits(const char **text, uint64_t *ret)
{
    const char *p = *text;
    uint64_t value = 0;

    if (*p < '0' || *p > '9')
        return -EINVAL;
    bool over = false;
    for (; *p >= '0' && *p <= '9'; p++) {
        over |= __builtin_mul_overflow(value, (uint64_t)10, &value);
        over |= __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    }
    *text = p;
    *ret = value;
    return over ? -ERANGE : 0;
}

int uvm_uint_parse(const char *text, uint64_t *ret)
{
    uint64_t value;
    int error = scan_digits(&text, &value);

    if (error == -EINVAL || *text != '\0')
        return -EINVAL;
    if (!error)
        *ret = value;
    return error;
}

int uvm_size_parse(const char *text, uint64_t *ret)
{
    uint64_t value;
    int error = scan_digits(&text, &value);

    if (error == -EINVAL)
        return error;
    if (*text != '\0') {
        char upper = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;
        const char *unit = strchr(units, upper);
        if (!unit || text[1] != '\0')
            return -EINVAL;
        unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (value > UINT64_MAX >> shift)
            error = -ERANGE;
        value <<= shift;
    }
    if (!error)
        *ret = value;
    return error;
}

char *uvm_size_format(char *buf, uint64_t bytes)
{
    unsigned unit = 0;

    while (bytes && unit < sizeof(units) - 1 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    if (unit)
        snprintf(buf, UVM_SIZE_MAX_TEXT, "%" PRIu64 "%c", bytes, units[unit - 1]);
    else
        snprintf(buf, UVM_SIZE_MAX_TEXT, "%" PRIu64, bytes);
    return buf;
}

char *uvm_size_human(char *buf, uint64_t bytes)
{
    double value = (double)bytes;
    unsigned unit = 0;

    /* 1023.95 and more would print as 1024.0 of the smaller unit. */
    while (value >= (unit ? 1023.95 : 1024) && unit < sizeof(units) - 1) {
        value /= 1024;
        unit++;
    }
    if (unit)
        snprintf(buf, UVM_SIZE_MAX_TEXT, "%.1f%c", value, units[unit - 1]);
    else
        snprintf(buf, UVM_SIZE_MAX_TEXT, "%" PRIu64, bytes);
    return buf;
}
