/* SPDX-License-Identifier: BSD-2-Clause */
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
