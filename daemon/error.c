/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one place where an error's line is put together. It is cut off at the size of the buffer and
 * never allocated, so that a failure for want of memory can be told like any other.
 */
#include "error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

int uvm_fail(struct uvm_error *err, int code, const char *fmt, ...)
{
    assert(code < 0);
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}
