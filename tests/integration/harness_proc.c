/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking at processes from outside: who of a group is still there, and where in the kernel.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "daemon/util.h"
#include "harness_impl.h"

/* => the state letter of a process of the group, or 0: not of the group, or gone */
static char group_state(const char *pid, pid_t group)
{
    char path[64 + NAME_MAX], line[1024];

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    FILE *file CLEANUP_FCLOSE = fopen(path, "re");
    if (!file || !fgets(line, sizeof(line), file))
        return 0;
    const char *end = strrchr(line, ')'); /* the name may hold anything */
    char state;
    int pgrp;
    if (!end || sscanf(end + 1, " %c %*d %d", &state, &pgrp) != 2 || pgrp != group)
        return 0;
    return state;
}

/* Call fn for every live process of a group. => how many */
static unsigned each_of(pid_t group, void (*fn)(pid_t pid))
{
    DIR *dir = opendir("/proc");
    struct dirent *ent;
    unsigned n = 0;

    while (dir && (ent = readdir(dir))) {
        char state = isdigit((unsigned char)ent->d_name[0]) ? group_state(ent->d_name, group) : 0;
        if (!state || state == 'Z' || state == 'X')
            continue;
        n++;
        if (fn)
            fn((pid_t)atoi(ent->d_name));
    }
    if (dir)
        closedir(dir);
    return n;
}

bool harness_group_ends(pid_t group, unsigned seconds)
{
    double deadline = client_now() + seconds;

    while (each_of(group, NULL)) {
        if (client_now() > deadline)
            return false;
        client_pause();
    }
    return true;
}

static void print_file(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void print_file(const char *fmt, ...)
{
    char path[PATH_MAX], text[8192];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    int fd CLEANUP_CLOSE = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    if (n > 0)
        fprintf(stderr, "%.*s%s", (int)n, text, text[n - 1] == '\n' ? "" : "\n");
}

void harness_threads(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    struct dirent *ent;
    while (dir && (ent = readdir(dir))) {
        if (ent->d_name[0] == '.')
            continue;
        fprintf(stderr, "-- %d/%s ", pid, ent->d_name);
        print_file("/proc/%d/task/%s/comm", pid, ent->d_name);
        print_file("/proc/%d/task/%s/stack", pid, ent->d_name);
    }
    if (dir)
        closedir(dir);
}

void harness_stacks(pid_t group)
{
    each_of(group, harness_threads);
}
