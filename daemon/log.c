/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line is put together on the stack and leaves in one write(2): no lock, no buffer of stdio's. So
 * lines of several threads stay whole, and a thread may log with any lock held. A line that is too
 * long is cut off.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

static _Atomic int log_level = UVM_LOG_INFO;

void uvm_log_set_level(enum uvm_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void uvm_log(enum uvm_log_level level, const char *fmt, ...)
{
    /* RFC 5424 severities, as sd-daemon(3) reads them from a line's prefix. */
    static const char *const prefix[] = {"<3>", "<4>", "<6>", "<7>"};
    static const char *const word[] = {"error: ", "warning: ", "", "debug: "};

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;

    int saved = errno;
    char line[LOG_LINE_MAX];
    int at = snprintf(line, sizeof(line), "%suvmd: %s",
                      getenv("JOURNAL_STREAM") ? prefix[level] : "", word[level]);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + at, sizeof(line) - (size_t)at - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)at + (n > 0 ? (size_t)n : 0);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    /* One write a line keeps lines of several threads whole; a closed stderr has no remedy. */
    if (write(STDERR_FILENO, line, len) < 0)
        (void)0;
    errno = saved;
}
