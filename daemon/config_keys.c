/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of keys. An entry knows how to parse its value into the structure and how to print it
 * from there; what uvm_config_print() writes, uvm_config_set() reads back to the same.
 *
 * A parse function reports why a value is wrong; the front of the message, with key and value, is
 * put there once, by uvm_config_set(). Values that an INI file cannot carry (control characters,
 * blanks at the ends, a blank before a semicolon) are refused wherever they come from.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "config_trees.h"
#include "config_value.h"
#include "size.h"

const char *const uvm_log_level_names[] = {"error", "warning", "info", "debug"};
const char *const uvm_transport_names[] = {"auto", "dev"};

static int set_mountpoint(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    return uvm_value_path(cfg->mountpoint, sizeof(cfg->mountpoint), value, err);
}

static void print_mountpoint(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%s\n", key, cfg->mountpoint);
}

uint64_t uvm_config_memory_max(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    uint64_t machine = (uint64_t)pages * (uint64_t)size & ~((UINT64_C(1) << 20) - 1);
    return MIN(machine, UVM_MEMORY_MAX);
}

static int set_memory(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    char min[UVM_SIZE_MAX_TEXT], max[UVM_SIZE_MAX_TEXT];
    uint64_t bytes;
    int error = uvm_size_parse(value, &bytes);

    if (error == -EINVAL)
        return uvm_fail(err, -EINVAL, "not a size (a number with K, M, G or T)");
    if (error || bytes < UVM_MEMORY_MIN || bytes > uvm_config_memory_max())
        return uvm_fail(err, -EINVAL, "out of range (%s to %s)",
                        uvm_size_format(min, UVM_MEMORY_MIN),
                        uvm_size_format(max, uvm_config_memory_max()));
    cfg->memory = bytes & ~(uint64_t)UVM_PAGE_MASK;
    return 0;
}

static void print_memory(const struct uvm_config *cfg, const char *key, FILE *out)
{
    char text[UVM_SIZE_MAX_TEXT];

    fprintf(out, "%s=%s\n", key, uvm_size_format(text, cfg->memory));
}

/* The fields after the path, in place. */
static int set_swap_fields(struct uvm_swapspec *spec, char *rest, struct uvm_error *err)
{
    if (rest) {
        const char *size = uvm_value_field(&rest);
        int error = *size ? uvm_size_parse(size, &spec->size) : 0;
        if (error || (*size && spec->size == 0))
            return uvm_fail(err, -EINVAL, "SIZE \"%s\" %s", size,
                            error == -EINVAL ? "is not a size (a number with K, M, G or T)"
                                             : "is out of range (1 to 16777215T)");
    }
    if (rest) {
        const char *prio = uvm_value_field(&rest);
        unsigned n = 0;
        if (*prio && uvm_value_range(&n, prio, 0, UVM_SWAP_PRIO_MAX, NULL))
            return uvm_fail(err, -EINVAL, "PRIO \"%s\" is out of range (0 to %d)", prio,
                            UVM_SWAP_PRIO_MAX);
        spec->prio = (int)n;
    }
    if (rest) {
        const char *force = uvm_value_field(&rest);
        if (strcmp(force, "force") || rest)
            return uvm_fail(err, -EINVAL, "not PATH[:SIZE[:PRIO[:force]]]");
        spec->force = true;
    }
    return 0;
}

int uvm_config_swapspec(const char *value, struct uvm_swapspec *spec, struct uvm_error *err)
{
    char *text CLEANUP_FREE = strdup(value);
    if (!text)
        return uvm_fail(err, -ENOMEM, "out of memory");
    spec->size = 0;
    spec->prio = 0;
    spec->force = false;
    char *rest = text;
    const char *path = uvm_value_field(&rest);
    if (uvm_value_path(spec->path, sizeof(spec->path), path, err) ||
        set_swap_fields(spec, rest, err))
        return -EINVAL;
    return 0;
}

static int set_swap(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    if (cfg->nswap == UVM_SWAP_DEV_MAX)
        return uvm_fail(err, -EINVAL, "too many swap devices (0 to %d)", UVM_SWAP_DEV_MAX);
    struct uvm_swapspec *spec = &cfg->swap[cfg->nswap];
    int rc = uvm_config_swapspec(value, spec, err);
    if (rc)
        return rc;
    for (unsigned i = 0; i < cfg->nswap; i++)
        if (!strcmp(cfg->swap[i].path, spec->path))
            return uvm_fail(err, -EINVAL, "given twice");
    cfg->nswap++;
    return 0;
}

static void print_swap(const struct uvm_config *cfg, const char *key, FILE *out)
{
    for (unsigned i = 0; i < cfg->nswap; i++) {
        const struct uvm_swapspec *spec = &cfg->swap[i];
        char text[UVM_SIZE_MAX_TEXT] = "";
        fprintf(out, "%s=", key);
        for (const char *p = spec->path; *p; p++)
            fprintf(out, "%s%c", strchr(":\\", *p) ? "\\" : "", *p);
        if (spec->size)
            uvm_size_format(text, spec->size);
        if (spec->size || spec->prio || spec->force)
            fprintf(out, ":%s:%d", text, spec->prio);
        fputs(spec->force ? ":force\n" : "\n", out);
    }
}

static int set_socket(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    return uvm_value_path(cfg->socket, sizeof(cfg->socket), value, err);
}

static void print_socket(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%s\n", key, cfg->socket);
}

static int set_statedir(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    return uvm_value_path(cfg->statedir, sizeof(cfg->statedir), value, err);
}

static void print_statedir(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%s\n", key, cfg->statedir);
}

static int set_transport(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    for (unsigned i = 0; i <= UVM_TRANSPORT_DEV; i++) {
        if (!strcmp(value, uvm_transport_names[i])) {
            cfg->transport = (enum uvm_transport)i;
            return 0;
        }
    }
    if (!strcmp(value, "uring"))
        return uvm_fail(err, -EINVAL, "not in this build, use auto or dev");
    return uvm_fail(err, -EINVAL, "neither auto nor dev");
}

static void print_transport(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%s\n", key, uvm_transport_names[cfg->transport]);
}

static int set_policy(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    const struct uvm_pdpolicy *policy = uvm_policy_find(value);
    char names[100];
    size_t len = 0;

    if (policy) {
        cfg->policy = policy;
        return 0;
    }
    for (unsigned i = 0; uvm_policies[i] && len < sizeof(names); i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
                                uvm_policies[i]->name);
    return uvm_fail(err, -EINVAL, "not one of %s", names);
}

static void print_policy(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%s\n", key, cfg->policy->name);
}

static int set_threads(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    return uvm_value_range(&cfg->threads, value, 1, UVM_THREADS_MAX, err);
}

static void print_threads(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%u\n", key, cfg->threads);
}

/* Keys that are yes or no, each with the field of its name. */
#define BOOL_KEY(key)                                                                      \
    static int set_##key(struct uvm_config *cfg, const char *value, struct uvm_error *err) \
    {                                                                                      \
        return uvm_value_bool(&cfg->key, value, err);                                      \
    }                                                                                      \
    static void print_##key(const struct uvm_config *cfg, const char *name, FILE *out)     \
    {                                                                                      \
        fprintf(out, "%s=%s\n", name, cfg->key ? "yes" : "no");                            \
    }

BOOL_KEY(allow_other)
BOOL_KEY(suid)
BOOL_KEY(dev)
BOOL_KEY(exec)
BOOL_KEY(faults)

int uvm_log_level_parse(const char *text, enum uvm_log_level *ret)
{
    for (int i = UVM_LOG_ERROR; i <= UVM_LOG_DEBUG; i++) {
        if (!strcmp(text, uvm_log_level_names[i])) {
            *ret = (enum uvm_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int set_log(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    if (uvm_log_level_parse(value, &cfg->log))
        return uvm_fail(err, -EINVAL, "not one of error, warning, info, debug");
    return 0;
}

static void print_log(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%s\n", key, uvm_log_level_names[cfg->log]);
}

static int set_drain(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    return uvm_value_range(&cfg->drain, value, 0, UVM_DRAIN_MAX, err);
}

static void print_drain(const struct uvm_config *cfg, const char *key, FILE *out)
{
    fprintf(out, "%s=%u\n", key, cfg->drain);
}

/* clang-format off */
static const struct config_key {
    const char *name;
    int (*set)(struct uvm_config *cfg, const char *value, struct uvm_error *err);
    void (*print)(const struct uvm_config *cfg, const char *key, FILE *out);
    bool alone; /* may stand without a value: then it is "yes" */
    const char *usage;
    const char *help;
} keys[] = {
    {"mountpoint", set_mountpoint, print_mountpoint, false, "PATH", "the mount point, when the command line names none"},
    {"memory", set_memory, print_memory, false, "SIZE", "bound on the memory for pages (256M)"},
    {"swap", set_swap, print_swap, false, "PATH[:SIZE[:PRIO]]", "a swap file or block device; may be repeated"},
    {"source", uvm_config_set_source, uvm_config_print_source, false, "DIR", "the files that vnode/ shows (none)"},
    {"device", uvm_config_set_device, uvm_config_print_device, false, "NAME:PATH[:SIZE]", "a device for device/; may be repeated"},
    {"socket", set_socket, print_socket, false, "PATH", "the control socket (" UVM_SOCKET_DIR "/NAME.sock)"},
    {"statedir", set_statedir, print_statedir, false, "PATH", "where names and attributes are kept (the socket's directory)"},
    {"transport", set_transport, print_transport, false, "auto|dev", "how FUSE requests travel (auto)"},
    {"policy", set_policy, print_policy, false, "clock|s3fifo", "which page goes when memory is short (clock)"},
    {"threads", set_threads, print_threads, false, "N", "loop threads (one for each CPU)"},
    {"allow_other", set_allow_other, print_allow_other, true, "yes|no", "let other users in (no)"},
    {"suid", set_suid, print_suid, true, "yes|no", "honour set-id bits of files (no)"},
    {"dev", set_dev, print_dev, true, "yes|no", "honour device files (no)"},
    {"exec", set_exec, print_exec, true, "yes|no", "let programs of the mount be executed (yes)"},
    {"log", set_log, print_log, false, "LEVEL", "error, warning, info or debug (info)"},
    {"drain", set_drain, print_drain, false, "SECONDS", "how long a stop waits for clients (10)"},
    {"faults", set_faults, print_faults, true, "yes|no", "allow injected swap errors, for tests (no)"},
};
/* clang-format on */
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

/* What is wrong with the characters of a value, or NULL. */
static const char *bad_text(const char *value)
{
    for (const char *p = value; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "holds a control character";
        if (*p == ' ' && (p == value || p[1] == '\0'))
            return "begins or ends with a blank";
        if (*p == ' ' && p[1] == ';')
            return "holds \" ;\", which begins a comment";
    }
    return NULL;
}

int uvm_config_set(struct uvm_config *cfg, const char *key, const char *value, const char *origin,
                   struct uvm_error *err)
{
    for (unsigned i = 0; i < NKEYS; i++) {
        if (strcmp(key, keys[i].name))
            continue;
        if (!value && !keys[i].alone)
            return uvm_fail(err, -EINVAL, "%s%s: needs a value (%s=%s)", origin, key, key,
                            keys[i].usage);
        const char *bad = value ? bad_text(value) : NULL;
        if (bad) /* the value itself would garble the line */
            return uvm_fail(err, -EINVAL, "%s%s: the value %s", origin, key, bad);
        struct uvm_error why = {0};
        if (keys[i].set(cfg, value ? value : "yes", &why))
            return uvm_fail(err, -EINVAL, "%s%s=%.200s: %.200s", origin, key, value ? value : "yes",
                            why.msg);
        return 0;
    }
    return uvm_fail(err, -EINVAL, "%s%.100s: unknown key", origin, key);
}

void uvm_config_print(const struct uvm_config *cfg, FILE *out)
{
    for (unsigned i = 0; i < NKEYS; i++)
        keys[i].print(cfg, keys[i].name, out);
}

void uvm_config_help(FILE *out)
{
    for (unsigned i = 0; i < NKEYS; i++) {
        int n = fprintf(out, "  %s=%s", keys[i].name, keys[i].usage);
        fprintf(out, "%*s%s\n", n < 30 ? 30 - n : 1, "", keys[i].help);
    }
}
