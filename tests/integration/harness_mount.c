/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting and stopping uvmd, and talking to its control socket. Nothing here touches the mount:
 * whether it is there is read from the mount table.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/mountinfo.h"
#include "daemon/util.h"
#include "harness_impl.h"

#define START_SECONDS  30
#define STOP_SECONDS   30
#define SETTLE_SECONDS 10
#define ARGS_MAX       16

/* The device number's minor of what is mounted on the mount point. => false: nothing */
static bool mounted_minor(const struct mount *m, unsigned *ret_minor)
{
    struct uvm_mount mount;

    if (uvm_mountinfo_find(m->mountpoint, &mount))
        return false;
    *ret_minor = mount.minor;
    return true;
}

bool mount_mounted(const struct mount *m)
{
    unsigned minor;
    return mounted_minor(m, &minor);
}

void mount_abort(const struct mount *m)
{
    char path[64];
    unsigned minor;

    if (!mounted_minor(m, &minor))
        return;
    snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor);
    int fd CLEANUP_CLOSE = open(path, O_WRONLY | O_CLOEXEC);
    /* Where fusectl is not mounted, a forced umount aborts too; it need not succeed beyond that. */
    if (fd < 0 || write(fd, "1", 1) < 0)
        umount2(m->mountpoint, MNT_FORCE);
}

/* => in the new process */
static void exec_uvmd(struct mount *m, char **argv)
{
    int fd = open(m->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    signal(SIGPIPE, SIG_DFL);
    argv[0] = getenv("UVMD");
    if (argv[0])
        execv(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0] ? argv[0] : "UVMD", strerror(errno));
    _exit(126);
}

static pid_t spawn(struct mount *m, char **argv)
{
    fflush(NULL);
    pid_t parent = getpid(), pid = must_sys(fork());
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test program that dies leaves no daemon behind */
    if (getppid() != parent)
        _exit(126);
    exec_uvmd(m, argv);
    return 0;
}

/* => size bytes at most, always a string */
static void read_log(const struct mount *m, char *text, size_t size)
{
    int fd CLEANUP_CLOSE = open(m->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
    text[n > 0 ? n : 0] = '\0';
}

void mount_start(struct mount *m)
{
    char options[PATH_MAX * 4], log[1500];
    const char *level = getenv("UVM_TEST_LOG");
    double deadline = client_now() + START_SECONDS * client_slow();

    int n = snprintf(options, sizeof(options), "memory=%s,socket=%s,statedir=%s,log=%s",
                     m->opts.memory ? m->opts.memory : "8M", m->socket, m->state,
                     level ? level : "warning");
    if (m->opts.swap)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",swap=%s:%s", m->swap,
                      m->opts.swap);
    if (m->opts.more)
        snprintf(options + n, sizeof(options) - (size_t)n, ",%s", m->opts.more);
    char *argv[] = {NULL, (char[]){"-o"}, options, m->mountpoint, NULL};
    m->daemon = spawn(m, argv);
    for (;;) {
        int status;
        if (waitpid(m->daemon, &status, WNOHANG) == m->daemon) {
            m->daemon = 0;
            read_log(m, log, sizeof(log));
            client_fail(__FILE__, __LINE__, "uvmd did not start (status %#x): %s", status, log);
        }
        if (mount_mounted(m) && mount_call(m, NULL, "status", NULL) == 0)
            return;
        if (client_now() > deadline) {
            harness_threads(m->daemon);
            client_fail(__FILE__, __LINE__, "uvmd does not answer after %d s", START_SECONDS);
        }
        client_pause();
    }
}

static void trouble(struct mount *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void trouble(struct mount *m, const char *fmt, ...)
{
    size_t at = strlen(m->trouble);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(m->trouble + at, sizeof(m->trouble) - at, fmt, ap);
    va_end(ap);
}

/* Nothing of a daemon that has ended may be left, and its log must not speak of memory errors. */
static void look_around(struct mount *m)
{
    static const char *const bad[] = {"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
                                      "runtime error:", "Assertion"};
    char log[16384];
    struct stat st;

    if (mount_mounted(m))
        trouble(m, "the mount is still there; ");
    if (lstat(m->socket, &st) == 0)
        trouble(m, "the socket is still there; ");
    DIR *dir = opendir(m->state);
    struct dirent *ent;
    while (dir && (ent = readdir(dir)))
        if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
            trouble(m, "%s is left in the state directory; ", ent->d_name);
    if (dir)
        closedir(dir);
    read_log(m, log, sizeof(log));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *at = strstr(log, bad[i]);
        if (at) {
            trouble(m, "uvmd says: %.1200s", at);
            break;
        }
    }
    if (m->trouble[0])
        fprintf(stderr, "-- log of uvmd, to its end:\n%s--\n", log);
}

bool mount_stop(struct mount *m)
{
    int status = 0;

    kill(m->daemon, SIGTERM);
    bool ended = client_wait_for(m->daemon, STOP_SECONDS * client_slow());
    if (!ended) {
        fprintf(stderr, "uvmd does not stop:\n");
        harness_threads(m->daemon);
        mount_abort(m);
        kill(m->daemon, SIGKILL);
        client_wait_for(m->daemon, START_SECONDS);
        trouble(m, "uvmd did not stop within %u s; ", STOP_SECONDS * client_slow());
    }
    if (waitpid(m->daemon, &status, WNOHANG) != m->daemon)
        trouble(m, "uvmd cannot be killed; ");
    else if (ended && WIFSIGNALED(status))
        trouble(m, "uvmd died of signal %d (%s); ", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (ended && WEXITSTATUS(status) != m->opts.status)
        trouble(m, "uvmd ended with %d, want %d; ", WEXITSTATUS(status), m->opts.status);
    m->daemon = 0;
    look_around(m);
    return !m->trouble[0];
}

void mount_cleanup(struct mount *m)
{
    if (!m->dir[0])
        return;
    if (m->daemon && !mount_stop(m))
        fprintf(stderr, "%s\n", m->trouble);
    if (mount_mounted(m)) {
        mount_abort(m);
        umount2(m->mountpoint, MNT_DETACH);
    }
    harness_rmtree(m->dir);
    m->dir[0] = '\0';
}

int mount_run(struct mount *m, char **argv, char *out, size_t size, unsigned seconds)
{
    int status;

    unlink(m->log);
    pid_t pid = spawn(m, argv);
    bool ended = client_wait_for(pid, seconds * client_slow());
    if (!ended) {
        kill(pid, SIGTERM);
        if (!client_wait_for(pid, STOP_SECONDS * client_slow()))
            kill(pid, SIGKILL);
    }
    status = client_wait(pid);
    read_log(m, out, size);
    return !ended ? -1 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int mount_call(const struct mount *m, struct json_object **result, const char *cmd, ...)
{
    const char *argv[ARGS_MAX] = {cmd};
    struct json_object *reply = NULL;
    struct uvm_error err = {0};
    int argc = 1;
    va_list ap;

    va_start(ap, cmd);
    while (argc < ARGS_MAX && (argv[argc] = va_arg(ap, const char *)))
        argc++;
    va_end(ap);
    int error = uvm_control_call(m->socket, argc, argv, &reply, &err);
    if (result && !error)
        *result = reply;
    else
        json_object_put(reply);
    return error;
}

void mount_explain(const struct mount *m)
{
    struct json_object *stat = NULL;
    char log[16384];

    read_log(m, log, sizeof(log));
    fprintf(stderr, "-- log of uvmd:\n%s-- counters:\n", log);
    if (mount_call(m, &stat, "stat", NULL))
        return;
    json_object_object_foreach(stat, key, value)
    {
        if (json_object_get_type(value) == json_type_int && json_object_get_uint64(value))
            fprintf(stderr, "%s %" PRIu64 ", ", key, json_object_get_uint64(value));
    }
    fprintf(stderr, "the others 0\n");
    json_object_put(stat);
}

uint64_t mount_counter(const struct mount *m, const char *name)
{
    struct json_object *stat = NULL, *value;

    if (m->foreign)
        return 0;
    int error = mount_call(m, &stat, "stat", NULL);
    must_msg(error == 0, "uvmctl stat: %s", strerror(-error));
    must_msg(json_object_object_get_ex(stat, name, &value), "no counter %s", name);
    uint64_t n = json_object_get_uint64(value);
    json_object_put(stat);
    return n;
}

void mount_settle(const struct mount *m, const char *name, uint64_t value)
{
    double deadline = client_now() + SETTLE_SECONDS * client_slow();

    if (m->foreign)
        return;
    while (mount_counter(m, name) != value) {
        must_msg(client_now() < deadline, "%s stays at %" PRIu64 ", want %" PRIu64, name,
                 mount_counter(m, name), value);
        client_pause();
    }
}

uint64_t mount_rss(const struct mount *m)
{
    char path[64], line[PATH_MAX];
    uint64_t kib = 0;

    snprintf(path, sizeof(path), "/proc/%d/maps", m->daemon);
    FILE *maps CLEANUP_FCLOSE = fopen(path, "re");
    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, "/libasan.") || strstr(line, "/libtsan."))
            return 0;
    snprintf(path, sizeof(path), "/proc/%d/status", m->daemon);
    FILE *status CLEANUP_FCLOSE = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "VmRSS: %" SCNu64 " kB", &kib) == 1)
            break;
    return kib * KIB;
}
