/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIZE, as people write and read it: a whole number of bytes with an optional K, M, G or T, each a
 * power of 1024. Two ways back to text: the exact one, which can be parsed again, and the rounded
 * one, for tables.
 */
#ifndef UVMD_SIZE_H
#define UVMD_SIZE_H

#include <stdint.h>

#define UVM_SIZE_MAX_TEXT 24 /* room for any formatted size */

/*
 * uvm_size_parse: the bytes that text names.
 *
 * => 0 and *ret; -EINVAL when text is no SIZE (empty, sign, blank, fraction, unknown unit);
 *    -ERANGE when it does not fit 64 bits
 */
int uvm_size_parse(const char *text, uint64_t *ret);

/*
 * uvm_size_format: bytes with the largest unit that divides them ("64M", "1536K", "4097").
 *
 * => buf has UVM_SIZE_MAX_TEXT bytes; returns buf
 * => uvm_size_parse() of the result is bytes again
 */
char *uvm_size_format(char *buf, uint64_t bytes);

/* uvm_size_human: three digits or so, rounded ("1.5G", "512", "64.0M"). => as uvm_size_format */
char *uvm_size_human(char *buf, uint64_t bytes);

/*
 * uvm_uint_parse: a decimal number without sign or blanks, for the keys that are no sizes.
 *
 * => 0 and *ret; -EINVAL; -ERANGE when it does not fit 64 bits
 */
int uvm_uint_parse(const char *text, uint64_t *ret);

#endif
