/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The client's side of the control socket: connect, one line there, one line back. A daemon that
 * accepts but does not answer is given up after CALL_TIMEOUT seconds of silence.
 */
#include "control.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define CALL_TIMEOUT 30

static void put_json(struct json_object **object)
{
    json_object_put(*object);
}

static int fail_io(const char *path, int error, struct uvm_error *err)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return uvm_fail(err, -error, "%s: no uvmd answers there", path);
    case EAGAIN:
        return uvm_fail(err, -ETIMEDOUT, "%s: uvmd does not answer", path);
    case EPIPE:
    case ECONNRESET:
        return uvm_fail(err, -error, "%s: uvmd closed the connection", path);
    default:
        return uvm_fail(err, -error, "%s: %s", path, strerror(error));
    }
}

/* => a connected descriptor or -errno */
static int call_connect(const char *path, struct uvm_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = CALL_TIMEOUT};

    if (strlen(path) >= sizeof(addr.sun_path))
        return uvm_fail(err, -ENAMETOOLONG, "socket %.300s: too long (1 to %zu bytes)", path,
                        sizeof(addr.sun_path) - 1);
    strcpy(addr.sun_path, path);
    int fd CLEANUP_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return fail_io(path, errno, err);
    return UVM_TAKE_FD(fd);
}

static int call_send(int fd, const char *path, int argc, const char *const *argv,
                     struct uvm_error *err)
{
    struct json_object *request UVM_CLEANUP(put_json) = json_object_new_object();
    struct json_object *args = json_object_new_array();

    json_object_object_add(request, "cmd", json_object_new_string(argv[0]));
    for (int i = 1; i < argc; i++)
        json_object_array_add(args, json_object_new_string(argv[i]));
    json_object_object_add(request, "args", args);
    const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
    char *line CLEANUP_FREE = NULL;
    int len = text ? asprintf(&line, "%s\n", text) : -1;
    if (len < 0) {
        line = NULL;
        return uvm_fail(err, -ENOMEM, "out of memory");
    }
    if ((size_t)len > UVM_CONTROL_REQUEST_MAX)
        return uvm_fail(err, -EMSGSIZE, "request too long (1 to %u bytes)",
                        UVM_CONTROL_REQUEST_MAX);
    for (int at = 0; at < len;) {
        ssize_t n = send(fd, line + at, (size_t)(len - at), MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return fail_io(path, errno, err);
        at += n > 0 ? (int)n : 0;
    }
    return 0;
}

/* Read and parse the reply as it comes. => 0 and *ret */
static int call_receive(int fd, const char *path, struct json_object **ret, struct uvm_error *err)
{
    struct json_tokener *tok = json_tokener_new();
    char buf[16384];
    int error = tok ? 0 : uvm_fail(err, -ENOMEM, "out of memory");

    *ret = NULL;
    while (!error && !*ret) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            error = fail_io(path, n ? errno : ECONNRESET, err);
            break;
        }
        *ret = json_tokener_parse_ex(tok, buf, (int)n);
        if (!*ret && json_tokener_get_error(tok) != json_tokener_continue)
            error = uvm_fail(err, -EPROTO, "%s: the reply is not JSON", path);
    }
    if (tok)
        json_tokener_free(tok);
    return error;
}

int uvm_control_call(const char *path, int argc, const char *const *argv, struct json_object **ret,
                     struct uvm_error *err)
{
    struct json_object *reply UVM_CLEANUP(put_json) = NULL;
    struct json_object *ok, *part = NULL, *code = NULL;
    int fd CLEANUP_CLOSE = call_connect(path, err);

    if (fd < 0)
        return fd;
    int error = call_send(fd, path, argc, argv, err);
    if (error || (error = call_receive(fd, path, &reply, err)))
        return error;
    if (!json_object_object_get_ex(reply, "ok", &ok))
        return uvm_fail(err, -EPROTO, "%s: not a reply of uvmd", path);
    if (json_object_get_boolean(ok)) {
        json_object_object_get_ex(reply, "result", &part);
        *ret = json_object_get(part);
        return 0;
    }
    json_object_object_get_ex(reply, "error", &part);
    json_object_object_get_ex(reply, "errno", &code);
    error = json_object_get_int(code);
    return uvm_fail(err, error > 0 ? -error : -EPROTO, "%s",
                    part ? json_object_get_string(part) : "failed");
}
