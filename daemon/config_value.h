/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kinds of values that several keys share. Each parser fills err with the reason alone; the
 * caller (config_keys.c) knows the key.
 */
#ifndef UVMD_CONFIG_VALUE_H
#define UVMD_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

/*
 * uvm_value_field: take the next field of FIELD[:FIELD...], in place.
 *
 * => *rest moves behind the ':', or becomes NULL after the last field
 * => a backslash makes the next character plain, so that a path may hold ':'
 */
char *uvm_value_field(char **rest);

/*
 * uvm_value_path: an absolute path, from the working directory where value is relative; without
 * doubled and trailing slashes and "." components. ".." stays: it may cross a symbolic link.
 *
 * => 0, or -EINVAL when it is empty or does not fit size bytes
 */
int uvm_value_path(char *dst, size_t size, const char *value, struct uvm_error *err);

/* uvm_value_range: a number of min to max. => 0 or -EINVAL */
int uvm_value_range(unsigned *dst, const char *value, unsigned min, unsigned max,
                    struct uvm_error *err);

/* uvm_value_bool: yes/no, true/false, on/off, 1/0 in any case. => 0 or -EINVAL */
int uvm_value_bool(bool *dst, const char *value, struct uvm_error *err);

#endif
