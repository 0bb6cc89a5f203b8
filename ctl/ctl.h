/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvmctl: what its files share. A reply is a JSON value; a show function turns it into text for
 * people. With --json the value itself is printed and no show function runs.
 */
#ifndef UVMD_CTL_CTL_H
#define UVMD_CTL_CTL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* Members of a reply; what is missing is 0 or "". => the string is the object's */
uint64_t ctl_number(struct json_object *object, const char *key);
const char *ctl_text(struct json_object *object, const char *key);

/* ctl_print_text: a name, with '?' for what would move a terminal's cursor. */
void ctl_print_text(const char *text);

void ctl_show_status(struct json_object *result);
void ctl_show_objects(struct json_object *result);
void ctl_show_object(struct json_object *result);
void ctl_show_swap(struct json_object *result);
void ctl_show_stat(struct json_object *result);

/*
 * ctl_watch_stat: print what each interval has added to the counters, a row an interval, until
 * interrupted (SIGINT, SIGTERM) or stdout fails.
 *
 * => the process's exit code
 */
int ctl_watch_stat(const char *socket, unsigned seconds, bool json);

/*
 * ctl_swap_wait: wait for the end of the job that `swap add` or `swap remove` has begun; tell on stderr
 * how a removal goes on.
 *
 * => result: their reply; on SIGINT or SIGTERM a removal is cancelled, and its end waited for
 * => 0 and *ret, the job's last state, the caller's to put; else -1 and one line on stderr
 */
int ctl_swap_wait(const char *socket, struct json_object *result, struct json_object **ret);

/* ctl_swap_path: the argument of such a command as it means the same in another directory.
 * => spec: it is PATH:SIZE:PRIO, where a colon of the path has a backslash
 * => malloc'd; NULL: no memory */
char *ctl_swap_path(const char *arg, bool spec);

/* ctl_print_json: one value as a line. */
void ctl_print_json(struct json_object *result);

#endif
