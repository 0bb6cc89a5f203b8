/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: requests and replies as lines of JSON over a unix stream socket.
 *
 *      -> {"cmd":"object","args":["anon/a"]}
 *      <- {"ok":true,"result":{...}}
 *      <- {"ok":false,"error":"anon/a: no such object","errno":2}
 *
 *      uvmctl --- uvm_control_call ~~~ socket ~~~ control thread --- commands --- providers
 *                 (control_client.c)              (control.c)    (control_cmds.c)  (upper layers)
 *
 * One thread serves every client. A client has at most one request in hand: while its reply is not
 * gone, nothing more is read from it, so what a client can make the daemon hold is one request and
 * one reply. When all places are taken, a new client takes that of the one that has been quiet
 * longest. Commands run on the control thread, one after another, and may take any lock.
 *
 * What the daemon's layers know of themselves reaches this one through functions they register.
 */
#ifndef UVMD_CONTROL_H
#define UVMD_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "error.h"

struct json_object;

#define UVM_CONTROL_REQUEST_MAX (64u << 10) /* bytes of a request, its newline included */
#define UVM_CONTROL_REPLY_MAX   (16u << 20) /* bytes of a reply */
#define UVM_CONTROL_ARGS_MAX    16
#define UVM_CONTROL_CLIENTS_MAX 32

/*
 * uvm_control_start: make the socket, its directory (0755) too if only that is missing, and serve
 * it on a thread of its own.
 *
 * => the socket has mode 0600 from its first moment; one that nobody answers on is replaced
 * => commands have been registered
 * => 0, or -errno with the path in err: -EADDRINUSE when another daemon answers there
 */
int uvm_control_start(const char *path, struct uvm_error *err);

/* uvm_control_stop: end the thread and remove the socket, and its directory if uvm_control_start
 * made it and it is empty. => does nothing when not started; forgets every registration */
void uvm_control_stop(void);

/*
 * A command. On success *ret is its result, owned by the caller; NULL stands for null.
 *
 * => on the control thread; argv[0] is the command, argc >= 1
 * => 0, or -errno with err filled in; -EINVAL is a mistake in the request
 */
typedef int uvm_control_fn(int argc, const char **argv, struct json_object **ret,
                           struct uvm_error *err);

/* uvm_control_register: => before uvm_control_start; cmd is kept, not copied; aborts when full */
void uvm_control_register(const char *cmd, uvm_control_fn *fn);

/*
 * uvm_control_commands: register the commands of control_cmds.c: status, stat, objects, object,
 * protect, swap, fault, trace, log.
 *
 * => cfg outlives the control thread
 */
void uvm_control_commands(const struct uvm_config *cfg);

/* uvm_control_set_status: a line of status that does not change often ("features", "transport").
 * => any thread; both are copied; an old value is replaced */
void uvm_control_set_status(const char *key, const char *value);

/* uvm_control_register_status: fn adds keys to every status. => before uvm_control_start */
void uvm_control_register_status(void (*fn)(struct json_object *status));

/* uvm_control_warn: log a warning and keep it in the status for good. => any thread */
void uvm_control_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* An object, as objects and object show it. Unless it says bytes, a number is of pages. */
struct uvm_control_object {
    char path[PATH_MAX]; /* within the mount, "anon/dir/file"; empty when it has no name any more */
    uint64_t id;
    uint64_t size;                                 /* bytes */
    uint64_t npages, swapped, reserved, delivered; /* resident, swap slots, reservations */
    uint64_t faults, pgswapin, pgswapout;
    int prot; /* UVM_PROT_*: what clients may do with it */
};

/* The layer that knows the objects. */
struct uvm_control_provider {
    /* foreach: call fn for every object until it returns other than 0. => fn allocates, but waits
     * for nothing: the provider may hold locks; returns what fn returned last, or -errno */
    int (*foreach)(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg);
    /* find: the object of a path within the mount. => 0, -ENOENT or another -errno */
    int (*find)(const char *path, struct uvm_control_object *ret);
    /* protect: let clients do prot (UVM_PROT_*) with the object of a path; may block. => 0, -ENOENT,
     * -EOPNOTSUPP: not with an object of its kind, or another -errno */
    int (*protect)(const char *path, int prot);
};

/* uvm_control_register_objects: => before uvm_control_start; provider is kept */
void uvm_control_register_objects(const struct uvm_control_provider *provider);

/*
 * uvm_control_call: the client's side: one request, one reply.
 *
 * => *ret: the result, which the caller puts (json_object_put); NULL is null
 * => -errno with one line in err: of the connection, or what the daemon answered
 */
int uvm_control_call(const char *path, int argc, const char *const *argv, struct json_object **ret,
                     struct uvm_error *err);

/*
 * uvm_control_json_text: a JSON string of bytes that need not be UTF-8 (names of files): what is
 * not becomes U+FFFD, so that a reply can always be read.
 */
struct json_object *uvm_control_json_text(const char *text);

/* The seams between the files of this module. */

/* uvm_control_dispatch: run the command of one request line and render the reply, a line too.
 * => 0 and a malloc'd *reply, or -ENOMEM; a bad request is a reply, not a failure */
int uvm_control_dispatch(const char *line, size_t len, char **reply, size_t *reply_len);
/* uvm_control_refuse: the reply that tells an error. => as uvm_control_dispatch */
int uvm_control_refuse(const struct uvm_error *why, char **reply, size_t *reply_len);
/* uvm_control_fault: the fault command (control_fault.c). */
uvm_control_fn uvm_control_fault;
/* uvm_control_swap: the swap command (control_swap.c). */
uvm_control_fn uvm_control_swap;
/* uvm_control_status_fill: what set_status, register_status and warn have left. */
void uvm_control_status_fill(struct json_object *status);
/* uvm_control_forget: drop all registrations, status lines and warnings. => no control thread */
void uvm_control_forget(void);

#endif
