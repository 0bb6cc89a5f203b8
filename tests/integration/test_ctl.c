/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvmctl as a person or a script uses it: exit status, what it prints, JSON that says the same.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define OUT_MAX (1u << 20)

/* Run uvmctl with arguments (a shell's words). => its exit status; out: stdout and stderr */
static int ctl(const struct mount *m, char *out, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int ctl(const struct mount *m, char *out, const char *fmt, ...)
{
    char command[PATH_MAX * 2];
    va_list ap;

    must_msg(getenv("UVMCTL") != NULL, "UVMCTL is not set: the path of the uvmctl to test");
    int at = snprintf(command, sizeof(command), "'%s' -s '%s' ", getenv("UVMCTL"), m->socket);
    va_start(ap, fmt);
    at += vsnprintf(command + at, sizeof(command) - (size_t)at, fmt, ap);
    va_end(ap);
    snprintf(command + at, sizeof(command) - (size_t)at, " 2>&1");
    FILE *pipe = popen(command, "re");
    must(pipe != NULL);
    size_t n = fread(out, 1, OUT_MAX - 1, pipe);
    out[n] = '\0';
    int status = pclose(pipe);
    must_msg(WIFEXITED(status), "%s: %s", command, out);
    return WEXITSTATUS(status);
}

static struct json_object *parse(const char *text)
{
    struct json_object *json = json_tokener_parse(text);
    must_msg(json != NULL, "not JSON: %.200s", text);
    return json;
}

static uint64_t field(struct json_object *object, const char *name)
{
    struct json_object *value;
    must_msg(json_object_object_get_ex(object, name, &value), "no %s in %s", name,
             json_object_to_json_string(object));
    return json_object_get_uint64(value);
}

static void asking(struct mount *m)
{
    char path[PATH_MAX], *out = malloc(OUT_MAX);
    struct file_job job = {mount_path(m, path, "dir/some file"), 1, 4000};

    must(out != NULL);
    must_sys(mkdir(mount_path(m, out, "dir"), 0755));
    client_run(file_job_fill, &job, 20);

    must_int(ctl(m, out, "status"), ==, 0);
    must(strstr(out, m->mountpoint) != NULL);
    must_int(ctl(m, out, "--json status"), ==, 0);
    struct json_object *json = parse(out);
    must_int(field(json, "pid"), ==, m->daemon);
    must_int(field(json, "memory"), ==, 8 * MIB);
    json_object_put(json);

    must_int(ctl(m, out, "--json stat"), ==, 0);
    json = parse(out);
    must_int(field(json, "npages"), ==, 8 * MIB / PAGE);
    must_int(field(json, "swpginuse"), >=, 4000 - 8 * MIB / PAGE);
    must_int(field(json, "objects"), ==, 1);
    field(json, "histograms");
    json_object_put(json);
    must_int(ctl(m, out, "stat"), ==, 0);
    must(strstr(out, "swapped out") != NULL);

    must_int(ctl(m, out, "--json object 'anon/dir/some file'"), ==, 0);
    json = parse(out);
    must_int(field(json, "size"), ==, 4000 * PAGE);
    must_int(field(json, "npages") + field(json, "swapped"), ==, 4000);
    must_int(field(json, "reserved"), ==, 4000);
    json_object_put(json);
    must_int(ctl(m, out, "object '%s'", path), ==, 0);
    must(strstr(out, "some file") != NULL);
    must_int(ctl(m, out, "--json objects"), ==, 0);
    json = parse(out);
    must_int(json_object_array_length(json), ==, 1);
    json_object_put(json);

    must_int(ctl(m, out, "--json swap list"), ==, 0);
    json = parse(out);
    must_int(json_object_array_length(json), ==, 1);
    must_int(field(json_object_array_get_idx(json, 0), "npages"), ==, 64 * MIB / PAGE - 1);
    json_object_put(json);
    must_int(ctl(m, out, "swap list"), ==, 0);
    must(strstr(out, m->swap) != NULL);

    must_int(ctl(m, out, "object anon/none"), ==, 1);
    must(strstr(out, "anon/none") != NULL);
    must_int(ctl(m, out, "no-such-command"), ==, 2);
    must_int(ctl(m, out, "fault add read"), ==, 1); /* not without faults=yes */
    must_sys(unlink(path));
    must_int(ctl(m, out, "object 'anon/dir/some file'"), ==, 1);
    free(out);
}

/* An answer comes while everything is in use. */
static void under_load(struct mount *m)
{
    char path[PATH_MAX], *out = malloc(OUT_MAX);
    struct file_job job = {mount_path(m, path, "f"), 1, client_scale(16384)};
    unsigned asked = 0;

    must(out != NULL);
    pid_t pid = client_start(file_job_fill, &job, 60);
    while (!client_wait_for(pid, 0)) {
        must_int(ctl(m, out, "--json %s", asked % 2 ? "objects" : "stat"), ==, 0);
        json_object_put(parse(out));
        asked++;
    }
    client_join(pid);
    must_int(asked, >, 0);
    free(out);
}

/* Names that are not text, and many objects, make replies that can be read all the same. */
static void odd_names(struct mount *m)
{
    char path[PATH_MAX], *out = malloc(OUT_MAX);
    uint64_t n = client_scale(1000);

    must(out != NULL);
    for (uint64_t i = 0; i < n; i++) {
        int fd = file_open(mount_path(m, path, "\xff\"\\\n%" PRIu64, i), O_RDWR | O_CREAT);
        file_pwrite(fd, "x", 1, 0);
        close(fd);
    }
    must_int(ctl(m, out, "--json objects"), ==, 0);
    struct json_object *json = parse(out);
    must_int(json_object_array_length(json), ==, n);
    json_object_put(json);
    must_int(ctl(m, out, "objects"), ==, 0);
    free(out);
}

static const struct mount_case cases[] = {
    {"asking", asking, {.swap = "64M"}},
    {"under_load", under_load, {.swap = "128M"}},
    {"odd_names", odd_names, {.swap = "64M"}},
};

HARNESS_MAIN("ctl", cases)
