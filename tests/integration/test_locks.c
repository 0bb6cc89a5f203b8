/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flock and fcntl locks between processes.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define TURNS 500u

struct job {
    const char *path;
    bool posix;
};

static void take(int fd, bool posix, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 100, .l_len = 50};

    if (posix)
        must_sys(fcntl(fd, F_SETLKW, &lock));
    else
        must_sys(flock(fd, type == F_WRLCK ? LOCK_EX : LOCK_UN));
}

/* Without the lock, some of the steps would be lost. */
static void count_up(void *arg)
{
    const struct job *job = arg;
    int fd = file_open(job->path, O_RDWR);
    uint64_t n;

    for (unsigned i = 0; i < TURNS; i++) {
        take(fd, job->posix, F_WRLCK);
        must_int(file_pread(fd, &n, sizeof(n), 0), ==, sizeof(n));
        n++;
        file_pwrite(fd, &n, sizeof(n), 0);
        take(fd, job->posix, F_UNLCK);
    }
    close(fd);
}

static void counting(struct mount *m, bool posix)
{
    char path[PATH_MAX];
    struct job job = {mount_path(m, path, "count"), posix};
    uint64_t n = 0;
    pid_t pid[3];

    int fd = file_open(path, O_RDWR | O_CREAT);
    file_pwrite(fd, &n, sizeof(n), 0);
    for (unsigned i = 0; i < 3; i++)
        pid[i] = client_start(count_up, &job, 30);
    for (unsigned i = 0; i < 3; i++)
        client_join(pid[i]);
    must_int(file_pread(fd, &n, sizeof(n), 0), ==, sizeof(n));
    must_int(n, ==, 3 * TURNS);
    close(fd);
}

static void flock_counting(struct mount *m)
{
    counting(m, false);
}

static void posix_counting(struct mount *m)
{
    counting(m, true);
}

static void hold(void *arg)
{
    const struct job *job = arg;
    int fd = file_open(job->path, O_RDWR);

    take(fd, job->posix, F_WRLCK);
    raise(SIGSTOP);
    pause();
}

/* What a process holds is refused to others, and free when it dies. */
static void held(struct mount *m)
{
    char path[PATH_MAX];
    int status;

    for (unsigned posix = 0; posix < 2; posix++) {
        struct job job = {mount_path(m, path, "held"), posix};
        int fd = file_open(path, O_RDWR | O_CREAT);
        pid_t pid = client_start(hold, &job, 30);
        must_int(waitpid(pid, &status, WUNTRACED), ==, pid);
        must(WIFSTOPPED(status));
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 120, .l_len = 1};
        if (posix) {
            must_fail(fcntl(fd, F_SETLK, &lock), EAGAIN);
            must_sys(fcntl(fd, F_GETLK, &lock));
            must_int(lock.l_type, ==, F_WRLCK);
            must_int(lock.l_start, ==, 100);
            must_int(lock.l_len, ==, 50);
            lock =
                (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 150, .l_len = 9};
            must_sys(fcntl(fd, F_SETLK, &lock)); /* beside it */
        } else {
            must_fail(flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
        }
        must_sys(kill(pid, SIGKILL));
        client_wait(pid);
        take(fd, posix, F_WRLCK);
        close(fd);
    }
}

static const struct mount_case cases[] = {
    {"flock_counting", flock_counting, {0}},
    {"posix_counting", posix_counting, {0}},
    {"held", held, {0}},
};

HARNESS_MAIN("locks", cases)
