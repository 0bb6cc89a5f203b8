/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The counters: all of them once, in the manner of vmstat -s, or a row of the telling ones for each
 * interval. In a row, levels stand as they are and everything that only grows as what it grew by.
 */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control.h"
#include "daemon/stats.h"

#define HEADER_EVERY 20 /* rows */

struct find_help {
    const char *name;
    const char *help;
};

static void match_help(const char *name, const char *help, uint64_t value, void *arg)
{
    struct find_help *find = arg;

    if (strcmp(name, find->name) == 0)
        find->help = help;
}

/* The least 2^i that a fraction (in percent) of a histogram's events stayed under; 0: no bound. */
static uint64_t percentile(struct json_object *buckets, uint64_t total, unsigned percent)
{
    size_t n = json_object_array_length(buckets);
    uint64_t seen = 0;

    for (size_t i = 0; i + 1 < n; i++) {
        seen += json_object_get_uint64(json_object_array_get_idx(buckets, i));
        if (seen * 100 >= total * percent)
            return UINT64_C(1) << i;
    }
    return 0;
}

static void show_histogram(const char *kind, struct json_object *buckets)
{
    uint64_t total = 0;

    for (size_t i = 0; i < json_object_array_length(buckets); i++)
        total += json_object_get_uint64(json_object_array_get_idx(buckets, i));
    printf("%20" PRIu64 " page-ins (%s)", total, kind);
    if (total) {
        static const unsigned percents[] = {50, 99};
        for (unsigned i = 0; i < 2; i++) {
            uint64_t us = percentile(buckets, total, percents[i]);
            if (us)
                printf(", p%u < %" PRIu64 " us", percents[i], us);
            else
                printf(", p%u beyond the histogram", percents[i]);
        }
    }
    putchar('\n');
}

void ctl_show_stat(struct json_object *result)
{
    json_object_object_foreach(result, name, value)
    {
        if (json_object_is_type(value, json_type_object)) {
            json_object_object_foreach(value, kind, buckets) show_histogram(kind, buckets);
            continue;
        }
        struct find_help find = {.name = name, .help = name};
        uvm_stats_foreach(match_help, &find);
        printf("%20" PRIu64 " %s\n", json_object_get_uint64(value), find.help);
    }
}

static const struct column {
    const char *counter;
    const char *title;
    int width;
    bool level;
} columns[] = {
    {"free", "free", 8, true},          {"active", "active", 8, true},
    {"inactive", "inact", 8, true},     {"delivered", "deliv", 8, true},
    {"swpginuse", "swpuse", 9, true},   {"faults", "faults", 8, false},
    {"pgswapin", "pgin", 8, false},     {"pageins", "ins", 7, false},
    {"pgswapout", "pgout", 8, false},   {"pageouts", "outs", 6, false},
    {"pdscans", "scans", 8, false},     {"pdfreed", "freed", 8, false},
    {"pgrevoked", "revoked", 8, false}, {"ioerrors", "ioerr", 6, false},
};
#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

static void print_row(struct json_object *before, struct json_object *now)
{
    for (unsigned i = 0; i < NCOLUMNS; i++) {
        const struct column *c = &columns[i];
        uint64_t value = ctl_number(now, c->counter);
        if (!c->level)
            value -= ctl_number(before, c->counter);
        printf("%*" PRIu64 "%c", c->width, value, i + 1 < NCOLUMNS ? ' ' : '\n');
    }
}

static void print_header(void)
{
    for (unsigned i = 0; i < NCOLUMNS; i++)
        printf("%*s%c", columns[i].width, columns[i].title, i + 1 < NCOLUMNS ? ' ' : '\n');
}

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = 1;
}

int ctl_watch_stat(const char *socket, unsigned seconds, bool json)
{
    static const char *const request[] = {"stat"};
    struct sigaction sa = {.sa_handler = on_signal};
    struct json_object *before = NULL;
    struct timespec next;
    int code = EXIT_SUCCESS;

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (unsigned row = 0; !interrupted; row++) {
        struct json_object *now;
        struct uvm_error err;
        if (uvm_control_call(socket, 1, request, &now, &err)) {
            fprintf(stderr, "uvmctl: %s\n", err.msg);
            code = EXIT_FAILURE;
            break;
        }
        if (json)
            ctl_print_json(now);
        else if (row % HEADER_EVERY == 0)
            print_header();
        if (!json && before)
            print_row(before, now);
        json_object_put(before);
        before = now;
        if (fflush(stdout))
            break; /* main reports it */
        next.tv_sec += (time_t)seconds;
        while (!interrupted &&
               clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == EINTR)
            ;
    }
    json_object_put(before);
    return code;
}
