/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for a swap device to be added or removed: uvmd does it, and goes on if this process is
 * killed; here is only who looks on, and asks for the removal to be cancelled when interrupted.
 */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control.h"

#define POLL_NS    50000000
#define TELL_POLLS 20 /* a line a second where lines stay */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = 1;
}

char *ctl_swap_path(const char *arg, bool spec)
{
    char *path = NULL, cwd[PATH_MAX], quoted[2 * PATH_MAX], *to = quoted;

    if (*arg == '/' || !*arg || !getcwd(cwd, sizeof(cwd)))
        return strdup(arg);
    for (const char *p = cwd; *p; p++) {
        if (spec && strchr(":\\", *p))
            *to++ = '\\';
        *to++ = *p;
    }
    *to = '\0';
    return asprintf(&path, "%s/%s", quoted, arg) < 0 ? NULL : path;
}

/* How it goes on: in place on a terminal, else a line now and then. */
static void tell(struct json_object *job, unsigned polls, bool last)
{
    bool terminal = isatty(STDERR_FILENO);

    if (strcmp(ctl_text(job, "op"), "remove") || (!terminal && !last && polls % TELL_POLLS))
        return;
    fprintf(stderr, "%s%s: %" PRIu64 " of %" PRIu64 " pages left%s", terminal ? "\r" : "",
            ctl_text(job, "path"), ctl_number(job, "left"), ctl_number(job, "total"),
            terminal ? "\033[K" : "\n");
    if (terminal && last)
        fputc('\n', stderr);
}

static int call(const char *socket, const char *sub, const char *arg, struct json_object **ret)
{
    const char *argv[] = {"swap", sub, arg};
    struct uvm_error err;
    int error = uvm_control_call(socket, 3, argv, ret, &err);

    if (error)
        fprintf(stderr, "uvmctl: %s\n", err.msg);
    return error;
}

/* What is done about an interruption: a removal is cancelled, an addition goes on. */
static void cancel(const char *socket, struct json_object *job)
{
    struct json_object *none = NULL;

    interrupted = 0;
    if (strcmp(ctl_text(job, "op"), "remove") == 0)
        (void)call(socket, "cancel", ctl_text(job, "path"), &none);
    json_object_put(none);
}

int ctl_swap_wait(const char *socket, struct json_object *result, struct json_object **ret)
{
    struct sigaction act = {.sa_handler = on_signal};
    struct timespec pause = {.tv_nsec = POLL_NS};
    char number[32];

    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    snprintf(number, sizeof(number), "%" PRIu64, ctl_number(result, "job"));
    for (unsigned polls = 0;; polls++) {
        struct json_object *job = NULL;
        if (call(socket, "job", number, &job))
            return -1;
        bool running = strcmp(ctl_text(job, "state"), "running") == 0;
        tell(job, polls, !running);
        if (!running && *ctl_text(job, "error")) {
            fprintf(stderr, "uvmctl: %s\n", ctl_text(job, "error"));
            json_object_put(job);
            return -1;
        }
        if (!running) {
            *ret = job;
            return 0;
        }
        if (interrupted)
            cancel(socket, job);
        json_object_put(job);
        nanosleep(&pause, NULL); /* an interruption ends it early, which is meant */
    }
}
