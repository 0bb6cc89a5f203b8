/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors are values. A function that can fail returns 0 or a negative errno; one whose failure a
 * person has to read (start-up, configuration, control) also fills a struct uvm_error with one line
 * that names what was wrong and, for a value out of range, the range.
 */
#ifndef UVMD_ERROR_H
#define UVMD_ERROR_H

#define UVM_ERROR_MSG_MAX 512

struct uvm_error {
    int code; /* negative errno; 0 while nothing has failed */
    char msg[UVM_ERROR_MSG_MAX];
};

/*
 * uvm_fail: record an error and hand its code back, so that a caller can `return uvm_fail(...)`.
 *
 * => code: a negative errno
 * => err may be NULL: then only the code travels
 */
int uvm_fail(struct uvm_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
