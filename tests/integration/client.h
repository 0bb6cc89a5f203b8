/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Client processes, and how a failure in one of them reaches the test program.
 *
 *      test program --- body (own process group) --- client
 *           |             |                            |  must(...) fails: text into the shared
 *           |             +------ client_join ---------+  page (the first one wins), exit status 1
 *           +-- ends the group, cleans up, reports the text to Check
 *
 * Only bodies and clients touch the mount. Each of them has an alarm, so one that hangs dies; if it
 * cannot even die, the harness aborts the FUSE connection.
 */
#ifndef UVMD_TESTS_CLIENT_H
#define UVMD_TESTS_CLIENT_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/*
 * client_init: make the shared page. => once, by the test program; the caller is never a client
 *
 * => failed: what a failure in the test program itself does; it does not return
 */
void client_init(void (*failed)(const char *text));

/* client_report: what the first failure said, or NULL; client_report_clear: forget it. */
const char *client_report(void);
void client_report_clear(void);

/* client_fail: report and end this process; in the test program itself, fail the running test. */
void client_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

#define must(expr)                                                  \
    do {                                                            \
        if (!(expr))                                                \
            client_fail(__FILE__, __LINE__, "not true: %s", #expr); \
    } while (0)

#define must_msg(expr, ...)                               \
    do {                                                  \
        if (!(expr))                                      \
            client_fail(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

/* must_int: compare two integers, and say what they were. */
#define must_int(a, op, b)                                                                         \
    do {                                                                                           \
        int64_t a_ = (int64_t)(a), b_ = (int64_t)(b);                                              \
        if (!(a_ op b_))                                                                           \
            client_fail(__FILE__, __LINE__, "%s is %" PRId64 ", want %s %s (%" PRId64 ")", #a, a_, \
                        #op, #b, b_);                                                              \
    } while (0)

/* must_sys: a system call that has to work. => its result */
#define must_sys(call)                                                         \
    ({                                                                         \
        __typeof__(call) r_ = (call);                                          \
        if (r_ == (__typeof__(r_))-1)                                          \
            client_fail(__FILE__, __LINE__, "%s: %s", #call, strerror(errno)); \
        r_;                                                                    \
    })

/* must_fail: a system call that has to fail in this way. */
#define must_fail(call, error)                                                               \
    do {                                                                                     \
        errno = 0;                                                                           \
        int64_t r_ = (int64_t)(call);                                                        \
        int e_ = errno;                                                                      \
        if (r_ != -1 || e_ != (error))                                                       \
            client_fail(__FILE__, __LINE__, "%s gives %" PRId64 " (%s), want %s", #call, r_, \
                        r_ == -1 ? strerror(e_) : "success", strerror(error));               \
    } while (0)

/* client_scale: n times UVM_TEST_SCALE percent (100; 40 in a sanitizer build), at least 1. */
uint64_t client_scale(uint64_t n);

/* client_slow: what time limits are multiplied with: 1, more in a sanitizer build. */
unsigned client_slow(void);

/* client_start: run fn in a process of its own, for at most `seconds`. => its pid */
pid_t client_start(void (*fn)(void *arg), void *arg, unsigned seconds);

/* client_wait: => the wait status */
int client_wait(pid_t pid);

/* client_join: wait, and fail as the client has failed. */
void client_join(pid_t pid);

/* client_run: both. */
void client_run(void (*fn)(void *arg), void *arg, unsigned seconds);

/*
 * client_wait_for: wait for a process without reaping it.
 *
 * => false: still there after `seconds`, or the test program has been told to end (once)
 */
bool client_wait_for(pid_t pid, unsigned seconds);

/* client_interrupted: the test program was told to end (SIGTERM, SIGINT): clean up and do. */
bool client_interrupted(void);

/* client_defaults: undo in a child what client_init did to signals. */
void client_defaults(void);

/* client_pause: a breath of a loop that waits for a condition, bounded by its own deadline. */
void client_pause(void);

/* client_now: seconds since some moment. */
double client_now(void);

/*
 * Touching memory that may not be there.
 *
 * => false: SIGBUS
 * => one thread; after the first call the process has a SIGBUS handler, which lets any other
 *    SIGBUS end the process
 */
bool client_load(const void *p, uint64_t *ret);
bool client_store(void *p, uint64_t value);
bool client_copy(void *dst, const void *src, size_t len);

#endif
