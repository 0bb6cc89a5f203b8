/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a uvmd: by a signal while nobody, somebody or everybody uses the mount, by two signals,
 * by umount, by force. Nothing is left behind, and no client hangs.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "content.h"
#include "daemon/mountinfo.h"
#include "harness.h"

#define NPAGES 4096u

static void wait_stopped(pid_t pid)
{
    int status;
    must_int(waitpid(pid, &status, WUNTRACED), ==, pid);
    must_msg(WIFSTOPPED(status), "%s", client_report() ? client_report() : "the client has ended");
}

/* Wait for uvmd after something has ended it. */
static void wait_end(struct mount *m, unsigned seconds)
{
    must_msg(client_wait_for(m->daemon, seconds * client_slow()), "uvmd is there after %u s",
             seconds);
    must_msg(mount_stop(m), "%s",
             m->trouble); /* the signal goes nowhere; status and remains count */
}

static void idle(struct mount *m)
{
    mount_start(m);
    double start = client_now();
    kill(m->daemon, SIGINT);
    wait_end(m, 10);
    must(client_now() - start < 5 * client_slow());
    mount_start(m);
    must_msg(mount_stop(m), "%s", m->trouble);
}

/* Hold a file open and mapped; after SIGCONT finish the work on it. */
static void holder(void *arg)
{
    char path[PATH_MAX];
    int fd = file_open(mount_path(arg, path, "held"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, NPAGES * PAGE));
    char *map = file_map(fd, 0, NPAGES * PAGE, PROT_READ | PROT_WRITE);
    for (uint64_t i = 0; i < NPAGES; i++)
        content_fill(map + i * PAGE, 1, i);
    raise(SIGSTOP);
    must_sys(msync(map, NPAGES * PAGE, MS_SYNC));
    must_sys(madvise(map, NPAGES * PAGE, MADV_DONTNEED));
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    for (uint64_t i = 0; i < NPAGES; i++)
        content_check(map + i * PAGE, 1, i);
}

/* A stop waits for the client that still works, which sees no error, and then ends. */
static void draining(struct mount *m)
{
    mount_start(m);
    pid_t pid = client_start(holder, m, 30);
    wait_stopped(pid);
    kill(m->daemon, SIGTERM);
    must(!client_wait_for(m->daemon, 1));
    must(!mount_mounted(m)); /* nobody new comes in */
    must_sys(kill(pid, SIGCONT));
    client_join(pid);
    wait_end(m, 10);
}

static void held_on(void *arg)
{
    char path[PATH_MAX];
    int fd = file_open(mount_path(arg, path, "held"), O_RDWR | O_CREAT);
    uint64_t word;

    must_sys(ftruncate(fd, NPAGES * PAGE));
    char *map = file_map(fd, 0, NPAGES * PAGE, PROT_READ | PROT_WRITE);
    content_fill(map, 1, 0);
    raise(SIGSTOP);
    must(!client_load(map + 4000 * PAGE, &word)); /* an error, not a hang */
    must(pread(fd, &word, 8, 3000 * PAGE) < 0);
    must_int(errno, ==, ENOTCONN);
}

/* Who does not let go is waited for as long as drain= says, and not after a second signal. */
static void giving_up(struct mount *m)
{
    for (unsigned second = 0; second < 2; second++) {
        m->opts.more = second ? "drain=1000" : "drain=1";
        mount_start(m);
        pid_t pid = client_start(held_on, m, 30);
        wait_stopped(pid);
        kill(m->daemon, SIGTERM);
        if (second) {
            must(!client_wait_for(m->daemon, 1));
            kill(m->daemon, SIGTERM);
        }
        wait_end(m, 10);
        must_sys(kill(pid, SIGCONT));
        client_join(pid);
    }
}

static void busy_client(void *arg)
{
    char path[PATH_MAX], page[PAGE];
    struct mount *m = arg;
    uint64_t state = (uint64_t)getpid(), word;
    int fd = open(mount_path(m, path, "busy"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return;
    if (ftruncate(fd, NPAGES * PAGE))
        return;
    char *map = file_map(fd, 0, NPAGES * PAGE, PROT_READ | PROT_WRITE);
    raise(SIGSTOP);
    for (;;) {
        uint64_t pgno = content_random(&state) % NPAGES;
        if (!client_load(map + pgno * PAGE, &word) || !client_store(map + pgno * PAGE, 1))
            break;
        content_fill(page, 1, pgno);
        if (pwrite(fd, page, PAGE, (off_t)(pgno * PAGE)) != PAGE)
            break;
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
}

enum end { BY_SIGNAL, BY_ABORT, BY_LAZY_UMOUNT };

/* Ended in the middle of requests of every kind. */
static void end_under_load(struct mount *m, enum end end)
{
    pid_t pid[3];

    m->opts.more = "drain=1";
    m->opts.status = end == BY_ABORT ? 1 : 0;
    mount_start(m);
    for (unsigned i = 0; i < 3; i++)
        pid[i] = client_start(busy_client, m, 30);
    for (unsigned i = 0; i < 3; i++)
        wait_stopped(pid[i]);
    for (unsigned i = 0; i < 3; i++)
        must_sys(kill(pid[i], SIGCONT));
    must(!client_wait_for(m->daemon, 1));
    if (end == BY_SIGNAL)
        kill(m->daemon, SIGTERM); /* drain=1 ends it */
    else if (end == BY_ABORT)
        mount_abort(m); /* nobody asked uvmd for it: it says that it failed */
    else
        must_sys(umount2(m->mountpoint, MNT_DETACH));
    for (unsigned i = 0; i < 3 && end == BY_LAZY_UMOUNT; i++)
        kill(pid[i], SIGKILL); /* the session ends with its last user */
    wait_end(m, 20);
    for (unsigned i = 0; i < 3; i++)
        client_wait(pid[i]);
}

static void signal_under_load(struct mount *m)
{
    end_under_load(m, BY_SIGNAL);
}

static void abort_under_load(struct mount *m)
{
    end_under_load(m, BY_ABORT);
}

static void detach_under_load(struct mount *m)
{
    end_under_load(m, BY_LAZY_UMOUNT);
}

static void by_umount(struct mount *m)
{
    mount_start(m);
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "f"), 1, NPAGES};
    client_run(file_job_fill, &job, 20);
    must_sys(umount2(m->mountpoint, 0));
    wait_end(m, 10);
}

/* Killed hard, it leaves a dead mount, and the next one says how to go on. */
static void killed(struct mount *m)
{
    char out[4000], options[PATH_MAX * 3];
    struct stat st;
    int status;

    mount_start(m);
    must_sys(stat(m->mountpoint, &st)); /* from now on the kernel knows what its root looks like */
    kill(m->daemon, SIGKILL);
    status = client_wait(m->daemon);
    m->daemon = 0;
    must(WIFSIGNALED(status));
    must(mount_mounted(m));
    snprintf(options, sizeof(options), "socket=%s,statedir=%s,memory=8M", m->socket, m->state);
    char *argv[] = {NULL, (char[]){"-o"}, options, m->mountpoint, NULL};
    must_int(mount_run(m, argv, out, sizeof(out), 20), ==, 1);
    must_msg(strstr(out, "umount"), "%s", out);
    must_sys(umount2(m->mountpoint, MNT_DETACH));
    mount_start(m); /* over the old socket and state */
    must_msg(mount_stop(m), "%s", m->trouble);
}

/* A knob of the mount's backing device. */
static long bdi_knob(const struct mount *m, const char *name)
{
    char path[PATH_MAX], text[32] = "";
    struct uvm_mount mount;

    must_int(uvm_mountinfo_find(m->mountpoint, &mount), ==, 0);
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/%s", mount.major, mount.minor, name);
    int fd = file_open(path, O_RDONLY);
    must_sys(read(fd, text, sizeof(text) - 1));
    close(fd);
    return strtol(text, NULL, 10);
}

/* The knobs are set when the mount already answers: it is in service then. */
static void wait_tuned(const struct mount *m)
{
    double deadline = client_now() + 10 * client_slow();
    while (bdi_knob(m, "read_ahead_kb") != 1024 && client_now() < deadline)
        client_pause();
    must_int(bdi_knob(m, "read_ahead_kb"), ==, 1024);
}

/* A mount point whose name the mount table does not show as it is: uvmd knows its mount all the same,
 * and an abort from an unmount. */
static void odd_name(struct mount *m)
{
    must_sys(unshare(CLONE_NEWNS)); /* who cleans up does not know this mount point */
    must_sys(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    snprintf(m->mountpoint, sizeof(m->mountpoint), "%s/a b\\c\\040d", m->dir);
    must_sys(mkdir(m->mountpoint, 0755));
    mount_start(m);
    wait_tuned(m);
    mount_abort(m);
    m->opts.status = 1;
    wait_end(m, 10);
    m->opts.status = 0;
    mount_start(m);
    wait_tuned(m); /* an unmount before the session has begun is a start that failed */
    must_sys(umount2(m->mountpoint, 0));
    wait_end(m, 10);
}

/* READY=1 comes when the mount answers, STOPPING=1 at the stop. */
static void notified(struct mount *m)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char path[PATH_MAX + 64], text[256];
    struct stat st;

    snprintf(path, sizeof(path), "%s/notify", m->dir);
    must_int(strlen(path), <, sizeof(addr.sun_path));
    memcpy(addr.sun_path, path, strlen(path));
    int fd = must_sys(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must_sys(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
    must_sys(
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){10, 0}, sizeof(struct timeval)));
    must_sys(setenv("NOTIFY_SOCKET", path, 1));
    mount_start(m);
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    if (n < 0) /* a build without systemd does not notify, and one with it may be about to */
        n = recv(fd, text, sizeof(text) - 1, 0);
    if (n > 0) {
        text[n] = '\0';
        must_msg(strstr(text, "READY=1"), "first comes: %s", text);
        must_sys(stat(m->anon, &st));
    }
    must_msg(mount_stop(m), "%s", m->trouble);
    if (n > 0) {
        n = must_sys(recv(fd, text, sizeof(text) - 1, 0));
        text[n] = '\0';
        must_msg(strstr(text, "STOPPING=1"), "then comes: %s", text);
    }
    must_sys(unsetenv("NOTIFY_SOCKET"));
    close(fd);
}

static const struct mount_case cases[] = {
    {"idle", idle, {.unmounted = true, .swap = "16M"}},
    {"draining", draining, {.unmounted = true, .swap = "64M"}},
    {"giving_up", giving_up, {.unmounted = true, .swap = "64M"}},
    {"signal_under_load", signal_under_load, {.unmounted = true, .swap = "64M"}},
    {"abort_under_load", abort_under_load, {.unmounted = true, .swap = "64M"}},
    {"detach_under_load", detach_under_load, {.unmounted = true, .swap = "64M"}},
    {"by_umount", by_umount, {.unmounted = true, .swap = "64M"}},
    {"killed", killed, {.unmounted = true, .swap = "16M"}},
    {"odd_name", odd_name, {.unmounted = true}},
    {"notified", notified, {.unmounted = true}},
};

HARNESS_MAIN("stop", cases)
