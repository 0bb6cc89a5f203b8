/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a request line to a reply line: the table of commands, and what status gathers.
 *
 * The table is complete before the control thread starts and does not change while it runs; status
 * lines and warnings come from any thread, under a lock of their own under which nothing else is
 * taken.
 */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define COMMANDS_MAX  32
#define PROVIDERS_MAX 16
#define STATUS_MAX    32
#define WARNINGS_MAX  32
#define JSON_DEPTH    8

static struct {
    struct {
        const char *cmd;
        uvm_control_fn *fn;
    } commands[COMMANDS_MAX];
    unsigned ncommands;
    void (*providers[PROVIDERS_MAX])(struct json_object *status);
    unsigned nproviders;

    pthread_mutex_t lock; /* what follows */
    struct {
        char key[64];
        char value[256];
    } status[STATUS_MAX];
    unsigned nstatus;
    char warnings[WARNINGS_MAX][256];
    unsigned nwarnings;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

void uvm_control_register(const char *cmd, uvm_control_fn *fn)
{
    assert(registry.ncommands < COMMANDS_MAX);
    registry.commands[registry.ncommands].cmd = cmd;
    registry.commands[registry.ncommands++].fn = fn;
}

void uvm_control_register_status(void (*fn)(struct json_object *status))
{
    assert(registry.nproviders < PROVIDERS_MAX);
    registry.providers[registry.nproviders++] = fn;
}

void uvm_control_set_status(const char *key, const char *value)
{
    unsigned i = 0;

    pthread_mutex_lock(&registry.lock);
    while (i < registry.nstatus && strcmp(registry.status[i].key, key))
        i++;
    assert(i < STATUS_MAX);
    if (i == registry.nstatus)
        registry.nstatus++;
    snprintf(registry.status[i].key, sizeof(registry.status[i].key), "%s", key);
    snprintf(registry.status[i].value, sizeof(registry.status[i].value), "%s", value);
    pthread_mutex_unlock(&registry.lock);
}

void uvm_control_warn(const char *fmt, ...)
{
    char text[sizeof(registry.warnings[0])];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_warning("%s", text);
    pthread_mutex_lock(&registry.lock);
    if (registry.nwarnings < WARNINGS_MAX) /* more are in the log only */
        memcpy(registry.warnings[registry.nwarnings++], text, sizeof(text));
    pthread_mutex_unlock(&registry.lock);
}

void uvm_control_forget(void)
{
    pthread_mutex_lock(&registry.lock);
    registry.ncommands = 0;
    registry.nproviders = 0;
    registry.nstatus = 0;
    registry.nwarnings = 0;
    pthread_mutex_unlock(&registry.lock);
}

void uvm_control_status_fill(struct json_object *status)
{
    struct json_object *warnings = json_object_new_array();

    for (unsigned i = 0; i < registry.nproviders; i++)
        registry.providers[i](status);
    pthread_mutex_lock(&registry.lock);
    for (unsigned i = 0; i < registry.nstatus; i++)
        json_object_object_add(status, registry.status[i].key,
                               uvm_control_json_text(registry.status[i].value));
    for (unsigned i = 0; i < registry.nwarnings; i++)
        json_object_array_add(warnings, uvm_control_json_text(registry.warnings[i]));
    pthread_mutex_unlock(&registry.lock);
    json_object_object_add(status, "warnings", warnings);
}

/* The length of the well-formed UTF-8 sequence at p, 0 if there is none. */
static unsigned utf8_len(const unsigned char *p)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;

    if (n < 2)
        return n;
    uint32_t code = *p & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) /* the NUL at the end as well */
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || code >> 11 == 0xd800 >> 11 ? 0 : n;
}

struct json_object *uvm_control_json_text(const char *text)
{
    char *clean CLEANUP_FREE = malloc(strlen(text) * 3 + 1), *to = clean;

    if (!clean)
        return NULL;
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        unsigned n = utf8_len(p);
        memcpy(to, n ? (const char *)p : "\xef\xbf\xbd", n ? n : 3);
        to += n ? n : 3;
        p += n ? n : 1;
    }
    return json_object_new_string_len(clean, (int)(to - clean));
}

/* The reply as a line. => consumes the object */
static int render(struct json_object *object, char **reply, size_t *reply_len)
{
    const char *text = json_object_to_json_string_length(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, reply_len);
    int error = -ENOMEM;

    if (text && *reply_len >= UVM_CONTROL_REPLY_MAX) {
        error = -EMSGSIZE;
    } else if (text && (*reply = malloc(*reply_len + 1))) {
        memcpy(*reply, text, *reply_len);
        (*reply)[(*reply_len)++] = '\n';
        error = 0;
    }
    json_object_put(object);
    return error;
}

int uvm_control_refuse(const struct uvm_error *why, char **reply, size_t *reply_len)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "ok", json_object_new_boolean(false));
    json_object_object_add(object, "error", uvm_control_json_text(why->msg));
    json_object_object_add(object, "errno", json_object_new_int(-why->code));
    return render(object, reply, reply_len);
}

/* Split a request into words. => strings stay the request's */
static int request_words(struct json_object *request, const char **argv, int *argc,
                         struct uvm_error *err)
{
    struct json_object *cmd, *args = NULL;

    if (!json_object_is_type(request, json_type_object) ||
        !json_object_object_get_ex(request, "cmd", &cmd) ||
        (json_object_object_get_ex(request, "args", &args) &&
         !json_object_is_type(args, json_type_array)))
        return uvm_fail(err, -EINVAL, "not a request: {\"cmd\":\"...\",\"args\":[\"...\"]}");
    size_t nargs = args ? json_object_array_length(args) : 0;
    if (nargs > UVM_CONTROL_ARGS_MAX)
        return uvm_fail(err, -EINVAL, "too many args (0 to %d)", UVM_CONTROL_ARGS_MAX);
    for (size_t i = 0; i <= nargs; i++) {
        struct json_object *word = i ? json_object_array_get_idx(args, i - 1) : cmd;
        if (!json_object_is_type(word, json_type_string) ||
            strlen(json_object_get_string(word)) != (size_t)json_object_get_string_len(word))
            return uvm_fail(err, -EINVAL, "not a request: %s is not a string",
                            i ? "an arg" : "cmd");
        argv[i] = json_object_get_string(word);
    }
    *argc = (int)nargs + 1;
    argv[nargs + 1] = NULL;
    return 0;
}

static int run(struct json_object *request, struct json_object **ret, struct uvm_error *err)
{
    const char *argv[UVM_CONTROL_ARGS_MAX + 2];
    int argc = 0;
    int error = request_words(request, argv, &argc, err);

    if (error)
        return error;
    for (unsigned i = 0; i < registry.ncommands; i++)
        if (strcmp(argv[0], registry.commands[i].cmd) == 0)
            return registry.commands[i].fn(argc, argv, ret, err);
    return uvm_fail(err, -EINVAL, "%.100s: unknown command", argv[0]);
}

int uvm_control_dispatch(const char *line, size_t len, char **reply, size_t *reply_len)
{
    struct uvm_error why = {0};
    struct json_object *result = NULL;
    struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
    int error;

    if (!tok)
        return -ENOMEM;
    while (len && strchr(" \t\r", line[len - 1]))
        len--;
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    struct json_object *request = json_tokener_parse_ex(tok, line, (int)len);
    if (!request || json_tokener_get_parse_end(tok) != len)
        error = uvm_fail(&why, -EINVAL, "not JSON");
    else
        error = run(request, &result, &why);
    json_object_put(request);
    json_tokener_free(tok);
    if (!error) {
        struct json_object *object = json_object_new_object();
        json_object_object_add(object, "ok", json_object_new_boolean(true));
        json_object_object_add(object, "result", result);
        error = render(object, reply, reply_len);
        if (error != -EMSGSIZE)
            return error;
        uvm_fail(&why, error, "the reply is too long (1 to %u bytes)", UVM_CONTROL_REPLY_MAX);
    } else if (why.code == 0) {
        uvm_fail(&why, error, "%s", strerror(-error));
    }
    return uvm_control_refuse(&why, reply, reply_len);
}
