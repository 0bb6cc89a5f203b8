/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What processes do to a mount: fork with a mapping, die in the middle of a fault, be interrupted.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define NPAGES 4096u
#define KILLS  60u

struct half {
    char *map;
    uint64_t seed, first;
};

static void store_half(void *arg)
{
    const struct half *half = arg;

    for (uint64_t i = half->first; i < NPAGES; i += 2)
        content_fill(half->map + i * PAGE, half->seed, i);
    for (uint64_t i = half->first; i < NPAGES; i += 2)
        content_check(half->map + i * PAGE, half->seed, i);
}

/* A mapping made before the fork is shared after it. */
static void forked(struct mount *m)
{
    char path[PATH_MAX];
    int fd = file_open(mount_path(m, path, "fork"), O_RDWR | O_CREAT);

    must_sys(ftruncate(fd, NPAGES * PAGE));
    char *map = file_map(fd, 0, NPAGES * PAGE, PROT_READ | PROT_WRITE);
    content_fill(map, 1, 0);
    for (uint64_t round = 1; round <= 3; round++) {
        struct half child = {map, round, 1}, own = {map, round, 0};
        pid_t pid = client_start(store_half, &child, 30);
        store_half(&own);
        client_join(pid);
        for (uint64_t i = 0; i < NPAGES; i++)
            content_check(map + i * PAGE, round, i);
        must_sys(madvise(map, NPAGES * PAGE, MADV_DONTNEED));
        must_sys(msync(map, NPAGES * PAGE, MS_SYNC));
        must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    }
    /* A private mapping shows the file until it is stored to, and never changes it. */
    char *own = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must(own != MAP_FAILED);
    content_check(own + 7 * PAGE, 3, 7);
    content_fill(own + 7 * PAGE, 4, 7);
    content_check(map + 7 * PAGE, 3, 7);
    must_sys(munmap(own, NPAGES * PAGE));
    must_sys(munmap(map, NPAGES * PAGE));
    close(fd);
}

struct victim {
    char path[PATH_MAX];
    bool writes;
    uint64_t seed;
};

/* Fault for ever, at random places. Only ever stores what is there already. */
static void fault_on(void *arg)
{
    const struct victim *v = arg;
    int fd = file_open(v->path, O_RDWR);
    uint64_t state = v->seed;
    char page[PAGE];

    for (;;) {
        char *map = file_map(fd, 0, NPAGES * PAGE, PROT_READ | PROT_WRITE);
        must_sys(madvise(map, NPAGES * PAGE, MADV_RANDOM));
        for (unsigned i = 0; i < 200; i++) {
            uint64_t pgno = content_random(&state) % NPAGES;
            if (v->writes && i % 2) {
                content_fill(page, 9, pgno);
                file_pwrite(fd, page, PAGE, (off_t)(pgno * PAGE));
            } else if (v->writes) {
                content_fill(map + pgno * PAGE, 9, pgno);
            } else {
                content_check(map + pgno * PAGE, 9, pgno);
            }
        }
        must_sys(munmap(map, NPAGES * PAGE));
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
}

static void killed(struct mount *m)
{
    char path[PATH_MAX];
    struct file_job job = {mount_path(m, path, "kill"), 9, NPAGES};
    struct victim v[2] = {{.writes = false}, {.writes = true}};
    uint64_t state = 4711;

    client_run(file_job_fill, &job, 30);
    for (unsigned i = 0; i < client_scale(KILLS); i++) {
        pid_t pid[2];
        for (unsigned k = 0; k < 2; k++) {
            memcpy(v[k].path, path, sizeof(path));
            v[k].seed = i * 2 + k;
            pid[k] = client_start(fault_on, &v[k], 30);
        }
        usleep((useconds_t)(content_random(&state) % 30000));
        for (unsigned k = 0; k < 2; k++) {
            must_sys(kill(pid[k], SIGKILL));
            int status = client_wait(pid[k]);
            must_msg(!client_report(), "%s", client_report());
            must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        }
    }
    client_run(file_job_check, &job, 30);
    client_run(file_job_check_read, &job, 30);
    must_sys(unlink(path));
    mount_settle(m, "reserved", 0);
}

static volatile sig_atomic_t ticks;

static void on_tick(int sig)
{
    ticks++;
}

/* Signals without SA_RESTART: the kernel interrupts the requests under way (FUSE INTERRUPT). */
static void be_interrupted(void *arg)
{
    const struct file_job *job = arg;
    struct sigaction sa = {.sa_handler = on_tick};
    char buf[32 * PAGE];
    int fd = file_open(job->path, O_RDWR);

    must_sys(sigaction(SIGUSR1, &sa, NULL));
    timer_t timer;
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec spec = {{0, 300000}, {0, 300000}};
    must_sys(timer_create(CLOCK_MONOTONIC, &ev, &timer));
    must_sys(timer_settime(timer, 0, &spec, NULL));
    double end = client_now() + 2;
    for (uint64_t at = 0; client_now() < end; at = (at + 32) % job->npages) {
        must_int(file_pread(fd, buf, sizeof(buf), (off_t)(at * PAGE)), ==, sizeof(buf));
        for (uint64_t i = 0; i < 32; i++)
            content_check(buf + i * PAGE, job->seed, at + i);
        file_pwrite(fd, buf, sizeof(buf), (off_t)(at * PAGE));
        if (at % 256 == 0)
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        char *map = file_map(fd, (off_t)(at * PAGE), 32 * PAGE, PROT_READ | PROT_WRITE);
        content_check(map + 31 * PAGE, job->seed, at + 31);
        must_sys(munmap(map, 32 * PAGE));
    }
    must_sys(timer_delete(timer));
    must(ticks > 10);
    close(fd);
}

static void interrupted(struct mount *m)
{
    char path[2][PATH_MAX];
    struct file_job job[2];
    pid_t pid[2];

    for (unsigned i = 0; i < 2; i++) {
        job[i] = (struct file_job){mount_path(m, path[i], "int%u", i), 70 + i, NPAGES};
        client_run(file_job_fill, &job[i], 30);
    }
    for (unsigned i = 0; i < 2; i++)
        pid[i] = client_start(be_interrupted, &job[i], 30);
    for (unsigned i = 0; i < 2; i++)
        client_join(pid[i]);
    for (unsigned i = 0; i < 2; i++)
        client_run(file_job_check, &job[i], 30);
}

static const struct mount_case cases[] = {
    {"forked", forked, {.swap = "64M"}},
    {"killed", killed, {.swap = "64M"}},
    {"interrupted", interrupted, {.swap = "64M"}},
};

HARNESS_MAIN("process", cases)
