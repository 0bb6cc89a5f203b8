/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap devices that come and go while clients use what lives on them.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define LOADS 2u

/* Start uvmd with devices of such sizes (MiB): DIR/dev0, DIR/dev1, ... */
static void start(struct mount *m, unsigned n, const unsigned *mib, const char *more)
{
    static char opts[PATH_MAX * 3];
    int at = snprintf(opts, sizeof(opts), "%s", more);

    for (unsigned i = 0; i < n; i++)
        at +=
            snprintf(opts + at, sizeof(opts) - (size_t)at, ",swap=%s/dev%u:%uM", m->dir, i, mib[i]);
    m->opts.more = opts;
    mount_start(m);
}

static void stop(struct mount *m)
{
    must_msg(mount_stop(m), "%s", m->trouble);
}

/* The n-th device's path, and behind it a size. */
static const char *dev(const struct mount *m, char buf[PATH_MAX], unsigned n, const char *more)
{
    snprintf(buf, PATH_MAX, "%s/dev%u%s", m->dir, n, more);
    return buf;
}

static uint64_t number(struct json_object *row, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(row, key, &value) ? json_object_get_uint64(value) : 0;
}

/* Begin a job. => its number; 0: refused, errno */
static uint64_t job_begin(const struct mount *m, const char *sub, const char *arg)
{
    struct json_object *result = NULL;
    int error = mount_call(m, &result, "swap", sub, arg, NULL);
    uint64_t id = error ? 0 : number(result, "job");

    json_object_put(result);
    errno = -error;
    return id;
}

/* How a job is: its state in buf. => pages left */
static uint64_t job_look(const struct mount *m, uint64_t id, char buf[32])
{
    struct json_object *result = NULL, *state;
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, id);
    must_int(mount_call(m, &result, "swap", "job", text, NULL), ==, 0);
    must(json_object_object_get_ex(result, "state", &state));
    snprintf(buf, 32, "%s", json_object_get_string(state));
    uint64_t left = number(result, "left");
    json_object_put(result);
    return left;
}

/* Wait for a job to end in this way. => pages left on the device */
static uint64_t job_ends(const struct mount *m, uint64_t id, const char *how)
{
    double until = client_now() + 60 * client_slow();
    char state[32];

    must(id);
    for (;;) {
        uint64_t left = job_look(m, id, state);
        if (strcmp(state, "running")) {
            must_msg(strcmp(state, how) == 0, "the job is %s, want %s", state, how);
            return left;
        }
        must_msg(client_now() < until, "%" PRIu64 " pages are left, and time is over", left);
        client_pause();
    }
}

static void device_add(const struct mount *m, unsigned n, const char *size)
{
    char spec[PATH_MAX];
    job_ends(m, job_begin(m, "add", dev(m, spec, n, size)), "done");
}

/* => pages that it held */
static uint64_t device_remove(const struct mount *m, unsigned n)
{
    struct json_object *result = NULL;
    char path[PATH_MAX], text[32];
    uint64_t id = job_begin(m, "remove", dev(m, path, n, ""));

    must_int(job_ends(m, id, "done"), ==, 0);
    snprintf(text, sizeof(text), "%" PRIu64, id);
    must_int(mount_call(m, &result, "swap", "job", text, NULL), ==, 0);
    uint64_t total = number(result, "total");
    json_object_put(result);
    return total;
}

/* A client that fills, checks and fills again, until it is told to end. */
struct load {
    struct file_job job;
    char path[PATH_MAX];
    int go; /* pipe: its end is closed to end the load */
};

static bool load_on(const struct load *load)
{
    char c;
    return read(load->go, &c, 1) < 0 && errno == EAGAIN;
}

static void load_run(void *arg)
{
    struct load *load = arg;

    do {
        load->job.seed += 10;
        file_job_fill(&load->job);
        file_job_check(&load->job);
        file_job_check_random(&load->job);
    } while (load_on(load));
    file_job_check_read(&load->job);
}

struct loads {
    struct load load[LOADS];
    pid_t pid[LOADS];
    int pipe[2];
};

static void loads_start(struct mount *m, struct loads *l, uint64_t npages, unsigned seconds)
{
    must_sys(pipe2(l->pipe, O_CLOEXEC | O_NONBLOCK));
    for (unsigned i = 0; i < LOADS; i++) {
        struct load *load = &l->load[i];
        mount_path(m, load->path, "load%u", i);
        load->job = (struct file_job){load->path, i + 1, npages};
        load->go = l->pipe[0];
    }
    for (unsigned i = 0; i < LOADS; i++)
        l->pid[i] = client_start(load_run, &l->load[i], seconds);
}

static void loads_end(struct loads *l)
{
    must_int(write(l->pipe[1], "xx", LOADS), ==, LOADS); /* a byte for each */
    for (unsigned i = 0; i < LOADS; i++)
        client_join(l->pid[i]);
    close(l->pipe[0]);
    close(l->pipe[1]);
}

/* Two devices, one of which goes while both are in use: no wrong byte. */
static void under_load(struct mount *m)
{
    static const unsigned mib[] = {64, 64};
    struct loads l;
    char path[PATH_MAX];
    struct stat st;

    start(m, 2, mib, "faults=no");
    loads_start(m, &l, client_scale(5000), 90);
    double until = client_now() + 30;
    while (mount_counter(m, "swpginuse") < client_scale(4000) && client_now() < until)
        client_pause();
    must_int(device_remove(m, 0), >, client_scale(1000));
    must_int(mount_counter(m, "nswapdev"), ==, 1);
    must_int(mount_counter(m, "swpgleaving"), ==, 0);
    must_int(mount_counter(m, "swpages"), ==, 64 * MIB / PAGE - 1);
    loads_end(&l);
    must_int(mount_counter(m, "ioerrors"), ==, 0);
    must_sys(stat(dev(m, path, 0, ""), &st)); /* its file is left alone */
    must_int(st.st_size, ==, 64 * MIB);
    device_add(m, 0, ""); /* and may come back */
    must_int(mount_counter(m, "nswapdev"), ==, 2);
    stop(m);
}

/* Twenty times. */
static void cycles(struct mount *m)
{
    static const unsigned mib[] = {64};
    uint64_t moved = 0;
    struct loads l;

    start(m, 1, mib, "faults=no");
    loads_start(m, &l, client_scale(4000), 150);
    for (unsigned i = 0; i < 20; i++) {
        device_add(m, 1 + i % 2, ":48M");
        double until = client_now() + 0.3;
        while (client_now() < until)
            client_pause();
        moved += device_remove(m, 1 + i % 2);
    }
    must_int(moved, >, client_scale(5000));
    loads_end(&l);
    must_int(mount_counter(m, "nswapdev"), ==, 1);
    must_int(mount_counter(m, "swpages"), ==, 64 * MIB / PAGE - 1);
    must_int(mount_counter(m, "ioerrors"), ==, 0);
    must_int(mount_counter(m, "cksumerrors"), ==, 0);
    stop(m);
}

struct filler {
    const char *path;
    uint64_t npages;
    bool must_fit;
};

/* write(2) until there is no room. */
static void fill_up(void *arg)
{
    struct filler *f = arg;
    int fd = file_open(f->path, O_RDWR | O_CREAT);
    char page[PAGE];
    uint64_t i = (uint64_t)lseek(fd, 0, SEEK_END) / PAGE;

    for (; i < f->npages; i++) {
        content_fill(page, 5, i);
        ssize_t n = pwrite(fd, page, PAGE, (off_t)(i * PAGE));
        if (n == PAGE)
            continue;
        must_msg(!f->must_fit && n == -1 && errno == ENOSPC, "page %" PRIu64 ": %s", i,
                 strerror(errno));
        break;
    }
    close(fd);
}

static uint64_t file_pages(const char *path)
{
    struct stat st;
    must_sys(stat(path, &st));
    return (uint64_t)st.st_size / PAGE;
}

/* All room is used up: a new device makes more, and a fill that has failed goes on. */
static void add_when_full(struct mount *m)
{
    static const unsigned mib[] = {16};
    char path[PATH_MAX];
    struct filler f = {mount_path(m, path, "f"), 9500, false};

    start(m, 1, mib, "faults=no");
    client_run(fill_up, &f, 40);
    uint64_t had = file_pages(path);
    must_int(had, <, 9500);
    must_int(had, >, 4000);
    device_add(m, 1, ":32M");
    f.must_fit = true;
    client_run(fill_up, &f, 40);
    must_int(file_pages(path), ==, 9500);
    struct file_job job = {path, 5, 9500};
    client_run(file_job_check, &job, 40);

    /* Now neither can go; and then the smaller can, when the rest is gone. */
    char name[PATH_MAX];
    uint64_t left = mount_counter(m, "reservemax") - mount_counter(m, "reserved");
    must_int(left, <, 4095);
    must_int(job_begin(m, "remove", dev(m, name, 0, "")), ==, 0);
    must_int(errno, ==, ENOSPC);
    must_int(job_begin(m, "remove", dev(m, name, 1, "")), ==, 0);
    must_int(errno, ==, ENOSPC);
    must_int(mount_counter(m, "nswapdev"), ==, 2);
    client_run(file_job_check_random, &job, 40);
    must_sys(truncate(path, 5000 * PAGE));
    job.npages = 5000;
    device_remove(m, 0);
    client_run(file_job_check, &job, 40);
    stop(m);
}

/* The only device, and memory is enough for all that there is. */
static void last_device(struct mount *m)
{
    static const unsigned mib[] = {64};
    char path[PATH_MAX], other[PATH_MAX];
    struct file_job big = {mount_path(m, path, "big"), 1, 8000};
    struct file_job small = {mount_path(m, other, "small"), 2, 700};

    start(m, 1, mib, "faults=no");
    client_run(file_job_fill, &small, 40);
    client_run(file_job_fill, &big, 40); /* which drives the small one out */
    must_int(mount_counter(m, "swpginuse"), >, 6000);
    must_sys(unlink(path));
    double until = client_now() + 20;
    while (mount_counter(m, "reserved") > 900 && client_now() < until)
        client_pause();
    must_int(mount_counter(m, "swpginuse"), >, 100);
    device_remove(m, 0);
    must_int(mount_counter(m, "nswapdev"), ==, 0);
    must_int(mount_counter(m, "swpages"), ==, 0);
    client_run(file_job_check, &small, 40);
    client_run(file_job_check_random, &small, 40);
    stop(m);
}

/* Slots that cannot be read: the removal fails and says of how many pages, and the device stays. */
static void unreadable(struct mount *m)
{
    static const unsigned mib[] = {32, 64};
    char path[PATH_MAX], name[PATH_MAX];
    struct file_job job = {mount_path(m, path, "f"), 3, 8000};
    struct json_object *result = NULL;
    char text[32];

    start(m, 2, mib, "faults=yes");
    client_run(file_job_fill, &job, 40);
    must_int(mount_call(m, NULL, "fault", "add", "read", "slot=500", "nslots=3", NULL), ==, 0);
    uint64_t id = job_begin(m, "remove", dev(m, name, 0, ""));
    must_int(job_ends(m, id, "failed"), ==, 3);
    snprintf(text, sizeof(text), "%" PRIu64, id);
    must_int(mount_call(m, &result, "swap", "job", text, NULL), ==, 0);
    must_int(number(result, "unreadable"), ==, 3);
    must_int(number(result, "errno"), ==, EIO);
    json_object_put(result);
    must_int(mount_counter(m, "nswapdev"), ==, 2);
    must_int(mount_counter(m, "swpages"), ==, 96 * MIB / PAGE - 2);
    must_int(mount_call(m, NULL, "fault", "clear", NULL), ==, 0);
    client_run(file_job_check, &job, 40); /* nothing is lost */
    device_remove(m, 0);
    client_run(file_job_check_random, &job, 40);
    stop(m);
}

/* uvmctl as a person runs it. => its pid; what it prints goes to fd */
static pid_t uvmctl(const struct mount *m, int fd, const char *a, const char *b, const char *c)
{
    pid_t pid = fork();

    if (pid)
        return must_sys(pid);
    client_defaults();
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(getenv("UVMCTL"), "uvmctl", "-s", m->socket, "swap", a, b, c, NULL);
    _exit(127);
}

static int ends(pid_t pid)
{
    must(client_wait_for(pid, 30 * client_slow()));
    int status = client_wait(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reads of the device are slow enough to be interrupted: memory is held by nobody, but there is much. */
static void cancelled(struct mount *m)
{
    static const unsigned mib[] = {160, 256};
    char path[PATH_MAX], name[PATH_MAX], log[PATH_MAX], text[4000], state[32];
    struct file_job job = {mount_path(m, path, "f"), 4, 60000};
    struct loads l;

    start(m, 2, mib, "faults=no");
    client_run(file_job_fill, &job, 60);
    loads_start(m, &l, 3000, 120); /* they want memory, so it takes its time */
    dev(m, name, 0, "");

    uint64_t id = job_begin(m, "remove", name);
    must(id);
    must_int(job_begin(m, "remove", name), ==, 0); /* one at a time */
    must_int(errno, ==, EBUSY);
    must_int(mount_counter(m, "nswapdev"), ==, 2); /* others are answered meanwhile */
    must_int(mount_call(m, NULL, "swap", "cancel", name, NULL), ==, 0);
    must_int(job_ends(m, id, "cancelled"), >, 0);
    must_int(mount_call(m, NULL, "swap", "cancel", name, NULL), ==, -ENOENT);
    must_int(mount_counter(m, "swpages"), ==, 416 * MIB / PAGE - 2);

    /* And by Ctrl-C. */
    snprintf(log, sizeof(log), "%s/ctl.out", m->dir);
    int fd = must_sys(open(log, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    pid_t pid = uvmctl(m, fd, "remove", name, NULL);
    double until = client_now() + 20;
    while (!mount_counter(m, "swpgleaving") && client_now() < until)
        client_pause();
    must_sys(kill(pid, SIGINT));
    must_int(ends(pid), ==, 1);
    ssize_t n = must_sys(pread(fd, text, sizeof(text) - 1, 0));
    text[n] = '\0';
    must_msg(strstr(text, "pages left") && strstr(text, "removal cancelled"), "%s", text);
    must_int(mount_counter(m, "swpgleaving"), ==, 0);
    job_look(m, id + 1, state);
    must(strcmp(state, "cancelled") == 0);

    /* Then it is let be, and waited for. */
    loads_end(&l);
    must_int(ends(uvmctl(m, fd, "remove", name, NULL)), ==, 0);
    must_int(mount_counter(m, "nswapdev"), ==, 1);
    must_int(ends(uvmctl(m, fd, "remove", "--cancel", name)), ==, 1); /* it is not being removed */
    must_int(ends(uvmctl(m, fd, "add", name, NULL)), ==, 0);
    must_int(mount_counter(m, "nswapdev"), ==, 2);
    must_int(ends(uvmctl(m, fd, "add", name, NULL)), ==, 1); /* it is one already */
    must_int(ends(uvmctl(m, fd, "add", "/x:nonsense", NULL)), ==, 2);
    client_run(file_job_check, &job, 60);
    close(fd);
    unlink(log);
    stop(m);
}

/* uvmd is told to stop in the middle of a removal. */
static void stopped(struct mount *m)
{
    static const unsigned mib[] = {128, 160};
    char path[PATH_MAX], name[PATH_MAX];
    struct file_job job = {mount_path(m, path, "f"), 6, 30000};

    start(m, 2, mib, "faults=no");
    client_run(file_job_fill, &job, 60);
    must(job_begin(m, "remove", dev(m, name, 0, "")));
    stop(m);
}

static const struct mount_case cases[] = {
    {"under_load", under_load, {.unmounted = true, .seconds = 120}},
    {"cycles", cycles, {.unmounted = true, .seconds = 180}},
    {"add_when_full", add_when_full, {.unmounted = true, .seconds = 120}},
    {"last_device", last_device, {.unmounted = true, .seconds = 90}},
    {"unreadable", unreadable, {.unmounted = true, .seconds = 90}},
    {"cancelled", cancelled, {.unmounted = true, .seconds = 200}},
    {"stopped", stopped, {.unmounted = true, .seconds = 90}},
};

HARNESS_MAIN("swaplive", cases)
