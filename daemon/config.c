/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where settings come from: the command line, -o lists and INI files; and what follows from them.
 *
 * inih reads the file through read_line() here, which counts the lines (the library tells its
 * handler none), takes leading blanks away so that an indented key is not the continuation of the
 * line above, and catches lines longer than the library's buffer.
 */
#include "config.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <ini.h>
#include <string.h>

void uvm_config_init(struct uvm_config *cfg)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    memset(cfg, 0, sizeof(*cfg));
    cfg->memory = MIN(UVM_MEMORY_DEFAULT, uvm_config_memory_max());
    cfg->threads = cpus < 1 ? 1 : (unsigned)MIN(cpus, UVM_THREADS_MAX);
    cfg->exec = true;
    cfg->log = UVM_LOG_INFO;
    cfg->drain = UVM_DRAIN_DEFAULT;
    cfg->policy = uvm_policies[0];
}

struct ini_state {
    struct uvm_config *cfg;
    FILE *file;
    const char *path;
    struct uvm_error *err;
    int line;
    int error; /* the first one; later lines are read and ignored */
    int error_line;
};

static char *read_line(char *buf, int size, void *arg)
{
    struct ini_state *st = arg;

    if (!fgets(buf, size, st->file))
        return NULL;
    st->line++;
    size_t len = strlen(buf);
    if (len == 0 || (buf[len - 1] != '\n' && !feof(st->file))) {
        if (!st->error) {
            st->error = uvm_fail(st->err, -EINVAL, "%.300s:%d: longer than %d bytes, or not text",
                                 st->path, st->line, size - 2);
            st->error_line = st->line;
        }
        for (int c = 0; c != EOF && c != '\n';)
            c = getc(st->file);
        buf[0] = '\0';
    }
    size_t blanks = strspn(buf, " \t");
    memmove(buf, buf + blanks, strlen(buf + blanks) + 1);
    return buf;
}

static int handle_key(void *arg, const char *section, const char *key, const char *value)
{
    struct ini_state *st = arg;
    char origin[256];

    if (st->error)
        return 0;
    snprintf(origin, sizeof(origin), "%.200s:%d: ", st->path, st->line);
    if (*section && strcmp(section, "uvmd"))
        st->error = uvm_fail(st->err, -EINVAL, "%sunknown section [%s]", origin, section);
    else
        st->error = uvm_config_set(st->cfg, key, value, origin, st->err);
    st->error_line = st->line;
    return st->error == 0;
}

int uvm_config_file(struct uvm_config *cfg, const char *path, struct uvm_error *err)
{
    FILE *file CLEANUP_FCLOSE = fopen(path, "re");
    struct uvm_error first = {0};

    if (!file)
        return uvm_fail(err, -errno, "%.300s: %s", path, strerror(errno));
    struct ini_state st = {.cfg = cfg, .file = file, .path = path, .err = &first};
    errno = 0;
    int line = ini_parse_stream(read_line, &st, handle_key, &st);
    if (ferror(file)) {
        int error = errno ? -errno : -EIO;
        return uvm_fail(err, error, "%.300s: %s", path, strerror(-error));
    }
    /* The library reports its first bad line, and that may come before a bad value. */
    if (line > 0 && (!st.error || line < st.error_line))
        return uvm_fail(err, -EINVAL, "%.300s:%d: neither KEY=VALUE nor [uvmd]", path, line);
    if (line < 0)
        return uvm_fail(err, -ENOMEM, "%.300s: out of memory", path);
    if (st.error)
        return uvm_fail(err, st.error, "%s", first.msg);
    return 0;
}

/* What mount(8), fstab(5) and systemd pass along with a file system's own options. */
static bool is_mount_option(const char *option)
{
    static const char *const ignored[] = {
        "rw",         "defaults",   "auto",        "noauto",        "user",
        "nouser",     "users",      "owner",       "group",         "_netdev",
        "nofail",     "atime",      "noatime",     "diratime",      "nodiratime",
        "relatime",   "norelatime", "strictatime", "nostrictatime", "lazytime",
        "nolazytime", "async",      "x-*",         "X-*",           "comment=*",
    };

    for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        if (fnmatch(ignored[i], option, 0) == 0)
            return true;
    return false;
}

/* An option of mount(8) that denies what a key allows. => the key, or NULL */
static const char *denied_key(const char *option)
{
    static const char *const keys[] = {"suid", "dev", "exec"};

    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strncmp(option, "no", 2) == 0 && strcmp(option + 2, keys[i]) == 0)
            return keys[i];
    return NULL;
}

static int set_option(struct uvm_config *cfg, char *option, struct uvm_error *err)
{
    const char *denied = denied_key(option);

    if (denied)
        return uvm_config_set(cfg, denied, "no", "-o ", err);
    if (*option == '\0' || is_mount_option(option))
        return 0;
    char *value = strchr(option, '=');
    if (value)
        *value++ = '\0';
    return uvm_config_set(cfg, option, value, "-o ", err);
}

int uvm_config_options(struct uvm_config *cfg, const char *options, struct uvm_error *err)
{
    char *text CLEANUP_FREE = strdup(options);

    if (!text)
        return uvm_fail(err, -ENOMEM, "out of memory");
    for (char *from = text; from;) {
        char *option = from, *to = from;
        while (*from && *from != ',') {
            if (*from == '\\' && from[1] == ',')
                from++;
            else if (*from == '\\' && from[1])
                *to++ = *from++;
            *to++ = *from++;
        }
        from = *from ? from + 1 : NULL;
        *to = '\0';
        int error = set_option(cfg, option, err);
        if (error)
            return error;
    }
    return 0;
}

/* The socket of a mount point: "/mnt/a" has mnt-a.sock. A name too long for an address keeps its
 * end, after a hash of the whole. */
static void default_socket(struct uvm_config *cfg)
{
    const size_t room = sizeof(cfg->socket) - sizeof(UVM_SOCKET_DIR "/.sock");
    const char *tail = cfg->mountpoint + 1;
    char hash[20] = "";

    if (strlen(tail) > room) {
        uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
        for (const char *p = tail; *p; p++)
            h = (h ^ (unsigned char)*p) * 0x100000001b3u;
        snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)h);
        tail += strlen(tail) - (room - strlen(hash));
    }
    snprintf(cfg->socket, sizeof(cfg->socket), UVM_SOCKET_DIR "/%s%s.sock", hash, tail);
    for (char *p = cfg->socket + sizeof(UVM_SOCKET_DIR); *p; p++)
        if (*p == '/')
            *p = '-';
}

int uvm_config_complete(struct uvm_config *cfg, struct uvm_error *err)
{
    if (cfg->mountpoint[0] == '\0')
        return uvm_fail(err, -EINVAL, "no MOUNTPOINT (uvmd -h shows the usage)");
    /* The mount table and the socket's name want the real path; one that does not exist yet is
     * reported later, by uvm_config_check_mountpoint. */
    char *real CLEANUP_FREE = realpath(cfg->mountpoint, NULL);
    if (real)
        snprintf(cfg->mountpoint, sizeof(cfg->mountpoint), "%s", real);
    if (cfg->socket[0] == '\0')
        default_socket(cfg);
    if (cfg->statedir[0] == '\0') {
        int len = (int)(strrchr(cfg->socket, '/') - cfg->socket);
        snprintf(cfg->statedir, sizeof(cfg->statedir), "%.*s", len ? len : 1, cfg->socket);
    }
    return 0;
}

/* The first pass over argv: what is there, before the file and the options are applied. */
struct command_line {
    const char *file;
    const char *options[64];
    unsigned noptions;
    const char *mountpoint;
};

static int scan_argv(int argc, char **argv, struct uvm_config *cfg, struct command_line *cl,
                     struct uvm_error *err)
{
    static const struct option longopts[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
    int c;

    optind = 0; /* 0, not 1: glibc forgets an earlier scan */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":c:o:nhV", longopts, NULL)) != -1) {
        switch (c) {
        case 'c':
            if (cl->file)
                return uvm_fail(err, -EINVAL, "-c %.300s: one configuration file only", optarg);
            cl->file = optarg;
            break;
        case 'o':
            if (cl->noptions == sizeof(cl->options) / sizeof(cl->options[0]))
                return uvm_fail(err, -EINVAL, "too many -o options (0 to %u)", cl->noptions);
            cl->options[cl->noptions++] = optarg;
            break;
        case 'n':
            cfg->action = UVM_ACTION_CHECK;
            break;
        case 'h':
            cfg->action = UVM_ACTION_HELP;
            return UVM_CONFIG_EXIT;
        case 'V':
            cfg->action = UVM_ACTION_VERSION;
            return UVM_CONFIG_EXIT;
        case ':':
            return uvm_fail(err, -EINVAL, "-%c needs an argument (uvmd -h shows the usage)",
                            optopt);
        default:
            if (optopt)
                return uvm_fail(err, -EINVAL, "-%c: unknown option (uvmd -h shows the usage)",
                                optopt);
            return uvm_fail(err, -EINVAL, "%.300s: unknown option (uvmd -h shows the usage)",
                            argv[optind - 1]);
        }
    }
    if (argc - optind > 1)
        return uvm_fail(err, -EINVAL, "%.300s: one MOUNTPOINT only", argv[optind + 1]);
    cl->mountpoint = argv[optind];
    return 0;
}

int uvm_config_parse_argv(int argc, char **argv, struct uvm_config *cfg, struct uvm_error *err)
{
    struct command_line cl = {0};

    uvm_config_init(cfg);
    int error = scan_argv(argc, argv, cfg, &cl, err);
    if (error)
        return error;
    if (cl.file && (error = uvm_config_file(cfg, cl.file, err)))
        return error;
    for (unsigned i = 0; i < cl.noptions; i++)
        if ((error = uvm_config_options(cfg, cl.options[i], err)))
            return error;
    if (cl.mountpoint &&
        (error = uvm_config_set(cfg, "mountpoint", cl.mountpoint, "MOUNTPOINT: ", err)))
        return error;
    if ((error = uvm_config_complete(cfg, err)))
        return error;
    return cfg->action == UVM_ACTION_RUN ? 0 : UVM_CONFIG_EXIT;
}

int uvm_config_exit(const struct uvm_config *cfg, FILE *out)
{
    switch (cfg->action) {
    case UVM_ACTION_HELP:
        fputs("Usage: uvmd [-c FILE] [-o KEY[=VALUE][,KEY[=VALUE]...]] [-n] MOUNTPOINT\n\n"
              "  -c FILE   read the configuration from FILE (INI), before the options of -o\n"
              "  -o LIST   set keys\n"
              "  -n        check the configuration, print it and exit\n"
              "  -h -V     print this help, print the version\n\nKeys (default):\n",
              out);
        uvm_config_help(out);
        break;
    case UVM_ACTION_VERSION:
        fputs("uvmd " UVMD_VERSION "\n", out);
        break;
    case UVM_ACTION_CHECK:
    case UVM_ACTION_RUN:
        uvm_config_print(cfg, out);
        break;
    }
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
