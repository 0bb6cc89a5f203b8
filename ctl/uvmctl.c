/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvmctl: ask a running uvmd. The command line becomes a request as it stands; the table below says
 * which commands there are, how many words they have and how the reply is shown.
 *
 * Exit codes: 0; 1 when uvmd cannot be asked or says no; 2 for a mistake on the command line, found
 * here or by uvmd.
 */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "daemon/control.h"
#include "daemon/size.h"
#include "daemon/util.h"

#define EXIT_USAGE   2
#define INTERVAL_MAX 86400

static const struct command {
    const char *name;
    const char *sub; /* second word, NULL if there is none */
    int min, max;    /* words behind these */
    void (*show)(struct json_object *result);
    const char *usage;
    const char *help;
} commands[] = {
    {"status", NULL, 0, 0, ctl_show_status, "status", "what runs"},
    {"stat", NULL, 0, 0, ctl_show_stat, "stat [-i SECONDS]", "the counters, or their changes"},
    {"objects", NULL, 0, 0, ctl_show_objects, "objects", "the objects and their pages"},
    {"object", NULL, 1, 1, ctl_show_object, "object PATH", "one object"},
    {"protect", NULL, 2, 2, NULL, "protect PATH PROT",
     "let clients do no more than rw, ro or none"},
    {"swap", "list", 0, 0, ctl_show_swap, "swap list", "the swap devices"},
    {"swap", "add", 1, 1, NULL, "swap add SPEC", "add a swap device: PATH[:SIZE[:PRIO[:force]]]"},
    {"swap", "remove", 1, 1, NULL, "swap remove [--cancel] PATH", "remove one, or stop that"},
    {"fault", "add", 0, 8, NULL, "fault add [WORD...]",
     "make transfers of swap or files fail (tests)"},
    {"fault", "clear", 0, 0, NULL, "fault clear", "end that"},
    {"trace", "start", 1, 1, NULL, "trace start FILE", "record what is asked of memory"},
    {"trace", "stop", 0, 0, NULL, "trace stop", "end that"},
    {"log", NULL, 1, 1, NULL, "log LEVEL", "error, warning, info or debug"},
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static int usage(void)
{
    puts("Usage: uvmctl [-s SOCKET] [--json] COMMAND\n\n"
         "  -s SOCKET    the control socket (default: the only one in " UVM_SOCKET_DIR ")\n"
         "  --json       print the result as JSON\n"
         "  -h -V        print this help, print the version\n\nCommands:");
    for (unsigned i = 0; i < NCOMMANDS; i++)
        printf("  %-27s %s\n", commands[i].usage, commands[i].help);
    return EXIT_SUCCESS;
}

static int fail(int code, const char *text)
{
    fprintf(stderr, "uvmctl: %s\n", text);
    return code;
}

static int fail_usage(const char *word, const char *what)
{
    fprintf(stderr, "uvmctl: %s: %s (uvmctl -h shows the usage)\n", word, what);
    return EXIT_USAGE;
}

/* The command of the words. => NULL, and one line on stderr */
static const struct command *find_command(int argc, char **argv)
{
    const struct command *named = NULL;

    if (argc == 0) {
        fail(EXIT_USAGE, "no COMMAND (uvmctl -h shows the usage)");
        return NULL;
    }
    for (unsigned i = 0; i < NCOMMANDS; i++) {
        const struct command *c = &commands[i];
        if (strcmp(argv[0], c->name))
            continue;
        named = c;
        if (c->sub && (argc < 2 || strcmp(argv[1], c->sub)))
            continue;
        int rest = argc - (c->sub ? 2 : 1);
        if (rest >= c->min && rest <= c->max)
            return c;
    }
    if (named)
        fprintf(stderr, "uvmctl: %s: the usage is: uvmctl %s\n", argv[0], named->usage);
    else
        fail_usage(argv[0], "unknown command");
    return NULL;
}

/* The only socket there is. => 0 and path, or an exit code */
static int find_socket(char path[UVM_SOCKET_PATH_MAX])
{
    glob_t found;
    int code = EXIT_SUCCESS;

    int error = glob(UVM_SOCKET_DIR "/*.sock", 0, NULL, &found);
    if (error == GLOB_NOMATCH)
        return fail(EXIT_FAILURE,
                    "no uvmd runs: there is no socket in " UVM_SOCKET_DIR " (-s names another)");
    if (error)
        return fail(EXIT_FAILURE, UVM_SOCKET_DIR ": cannot be read");
    if (found.gl_pathc > 1) {
        fputs("uvmctl: several uvmd run, choose with -s:", stderr);
        for (size_t i = 0; i < found.gl_pathc; i++)
            fprintf(stderr, " %s", found.gl_pathv[i]);
        fputc('\n', stderr);
        code = EXIT_FAILURE;
    } else {
        snprintf(path, UVM_SOCKET_PATH_MAX, "%s", found.gl_pathv[0]);
    }
    globfree(&found);
    return code;
}

struct options {
    const char *socket;
    unsigned interval; /* seconds, 0: once */
    bool json;
    bool cancel; /* swap remove */
};

/* => -1: go on; else the exit code */
static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longopts[] = {{"socket", required_argument, NULL, 's'},
                                             {"json", no_argument, NULL, 'j'},
                                             {"interval", required_argument, NULL, 'i'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, 'V'},
                                             {"cancel", no_argument, NULL, 'c'},
                                             {NULL, 0, NULL, 0}};
    uint64_t n;
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":s:i:hV", longopts, NULL)) != -1) {
        switch (c) {
        case 's':
            o->socket = optarg;
            break;
        case 'i':
            if (uvm_uint_parse(optarg, &n) || n < 1 || n > INTERVAL_MAX) {
                fprintf(stderr, "uvmctl: -i %s: out of range (1 to %d seconds)\n", optarg,
                        INTERVAL_MAX);
                return EXIT_USAGE;
            }
            o->interval = (unsigned)n;
            break;
        case 'j':
            o->json = true;
            break;
        case 'c':
            o->cancel = true;
            break;
        case 'h':
            return usage();
        case 'V':
            puts("uvmctl " UVMD_VERSION);
            return EXIT_SUCCESS;
        case ':':
            return fail_usage(argv[optind - 1], "needs an argument");
        default:
            return fail_usage(argv[optind - 1], "unknown option");
        }
    }
    return -1;
}

static int ask(const char *socket, const struct command *cmd, int argc, char **argv, bool json)
{
    struct json_object *result;
    struct uvm_error err;
    int error = uvm_control_call(socket, argc, (const char *const *)argv, &result, &err);

    if (error)
        return fail(error == -EINVAL ? EXIT_USAGE : EXIT_FAILURE, err.msg);
    if (json)
        ctl_print_json(result);
    else if (cmd->show)
        cmd->show(result);
    json_object_put(result);
    return EXIT_SUCCESS;
}

/* swap add, swap remove: begin, and wait for the end. => the exit code */
static int ask_swap(const char *socket, const struct command *cmd, char **argv,
                    const struct options *o)
{
    bool removes = strcmp(cmd->sub, "remove") == 0;
    char *arg CLEANUP_FREE = ctl_swap_path(argv[2], !removes);
    const char *words[] = {"swap", o->cancel ? "cancel" : cmd->sub, arg};
    struct json_object *result, *job = NULL;
    struct uvm_error err;

    if (o->cancel && !removes)
        return fail_usage("--cancel", "is for swap remove");
    if (!arg)
        return fail(EXIT_FAILURE, "out of memory");
    int error = uvm_control_call(socket, 3, words, &result, &err);
    if (error)
        return fail(error == -EINVAL ? EXIT_USAGE : EXIT_FAILURE, err.msg);
    error = o->cancel ? 0 : ctl_swap_wait(socket, result, &job);
    if (!error && o->json)
        ctl_print_json(job);
    json_object_put(result);
    json_object_put(job);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    char found[UVM_SOCKET_PATH_MAX];
    int code = parse_options(argc, argv, &o);

    if (code >= 0)
        return fflush(stdout) ? EXIT_FAILURE : code;
    argc -= optind;
    argv += optind;
    const struct command *cmd = find_command(argc, argv);
    if (!cmd)
        return EXIT_USAGE;
    if (o.interval && cmd->show != ctl_show_stat)
        return fail_usage("-i", "is for stat");
    bool swaps = cmd->sub && !cmd->show && strcmp(cmd->name, "swap") == 0;
    if (o.cancel && !swaps)
        return fail_usage("--cancel", "is for swap remove");
    if (!o.socket) {
        code = find_socket(found);
        if (code)
            return code;
        o.socket = found;
    }
    if (swaps)
        code = ask_swap(o.socket, cmd, argv, &o);
    else
        code = o.interval ? ctl_watch_stat(o.socket, o.interval, o.json)
                          : ask(o.socket, cmd, argc, argv, o.json);
    if (code == EXIT_SUCCESS && (fflush(stdout) || ferror(stdout)))
        return fail(EXIT_FAILURE, "standard output: write error");
    return code;
}
