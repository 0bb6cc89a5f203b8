/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client is a fork that ends by its exit status, its alarm, or with its parent. What failed is text
 * in a shared page that the first to fail takes with one compare-and-swap, so the cause is told and not
 * what followed from it.
 *
 * An access that may meet SIGBUS leaves the handler by siglongjmp, and only while one is expected: any
 * other SIGBUS ends the process.
 */
#include "client.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW_BUILD 1
#else
#define SLOW_BUILD 0
#endif

struct report {
    _Atomic int state; /* 0 none, 1 being written, 2 there */
    char text[4000];
};

static struct report *report;
static pid_t program; /* the test program itself */
static void (*program_failed)(const char *text);

static volatile sig_atomic_t interrupted; /* 1: signalled, 2: and somebody has been woken by it */

static sigjmp_buf bus_back;
static volatile sig_atomic_t bus_expected;

static void on_end(int sig)
{
    if (!interrupted)
        interrupted = 1;
}

bool client_interrupted(void)
{
    return interrupted;
}

void client_defaults(void)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    interrupted = 0;
}

void client_init(void (*failed)(const char *text))
{
    report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) {
        perror("mmap");
        exit(EXIT_FAILURE);
    }
    program = getpid();
    program_failed = failed;
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction sa = {.sa_handler = on_end}; /* no SA_RESTART: it wakes client_wait_for */
    sigemptyset(&sa.sa_mask);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
}

const char *client_report(void)
{
    return atomic_load(&report->state) == 2 ? report->text : NULL;
}

void client_report_clear(void)
{
    atomic_store(&report->state, 0);
}

void client_fail(const char *file, int line, const char *fmt, ...)
{
    const char *base = strrchr(file, '/');
    char text[sizeof(report->text)];
    int none = 0;
    va_list ap;

    int n = snprintf(text, sizeof(text), "%s:%d: ", base ? base + 1 : file, line);
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
    va_end(ap);
    if (getpid() == program)
        program_failed(text);
    if (atomic_compare_exchange_strong(&report->state, &none, 1)) {
        memcpy(report->text, text, sizeof(text));
        atomic_store(&report->state, 2);
    }
    _exit(EXIT_FAILURE);
}

uint64_t client_scale(uint64_t n)
{
    const char *env = getenv("UVM_TEST_SCALE");
    uint64_t percent = env ? strtoull(env, NULL, 10) : SLOW_BUILD ? 40 : 100;
    uint64_t scaled = n * percent / 100;
    return scaled ? scaled : 1;
}

unsigned client_slow(void)
{
    return SLOW_BUILD ? 4 : 1;
}

pid_t client_start(void (*fn)(void *arg), void *arg, unsigned seconds)
{
    fflush(NULL);
    pid_t parent = getpid(), pid = must_sys(fork());
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    client_defaults();
    signal(SIGALRM, SIG_DFL);
    alarm(seconds * client_slow());
    fn(arg);
    fflush(NULL);
    _exit(EXIT_SUCCESS);
}

int client_wait(pid_t pid)
{
    int status;
    pid_t r;

    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    must_msg(r == pid, "waitpid: %s", strerror(errno));
    return status;
}

void client_join(pid_t pid)
{
    int status = client_wait(pid);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (client_report()) /* its own words are there already */
        client_fail(__FILE__, __LINE__, "%s", client_report());
    if (WIFSIGNALED(status))
        client_fail(__FILE__, __LINE__, "a client died of signal %d (%s)", WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
    client_fail(__FILE__, __LINE__, "a client ended with status %d", WEXITSTATUS(status));
}

void client_run(void (*fn)(void *arg), void *arg, unsigned seconds)
{
    client_join(client_start(fn, arg, seconds));
}

bool client_wait_for(pid_t pid, unsigned seconds)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    double deadline = client_now() + seconds;
    int n = 0;

    if (fd < 0)
        return errno == ESRCH;
    do {
        double left = deadline - client_now();
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        n = interrupted == 1 ? 0 : poll(&pfd, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
        if (interrupted == 1) {
            interrupted = 2;
            n = 0;
        }
    } while (n < 0 && errno == EINTR);
    close(fd);
    return n == 1;
}

void client_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

double client_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void on_bus(int sig)
{
    if (bus_expected)
        siglongjmp(bus_back, 1);
    signal(SIGBUS, SIG_DFL); /* the same access again ends the process */
}

static void catch_bus(void)
{
    static pid_t caught;
    struct sigaction sa = {.sa_handler = on_bus};

    if (caught == getpid())
        return;
    sigemptyset(&sa.sa_mask);
    must_sys(sigaction(SIGBUS, &sa, NULL));
    caught = getpid();
}

bool client_load(const void *p, uint64_t *ret)
{
    catch_bus();
    if (sigsetjmp(bus_back, 1)) {
        bus_expected = 0;
        return false;
    }
    bus_expected = 1;
    *ret = *(const volatile uint64_t *)p;
    bus_expected = 0;
    return true;
}

bool client_store(void *p, uint64_t value)
{
    catch_bus();
    if (sigsetjmp(bus_back, 1)) {
        bus_expected = 0;
        return false;
    }
    bus_expected = 1;
    *(volatile uint64_t *)p = value;
    bus_expected = 0;
    return true;
}

bool client_copy(void *dst, const void *src, size_t len)
{
    catch_bus();
    if (sigsetjmp(bus_back, 1)) {
        bus_expected = 0;
        return false;
    }
    bus_expected = 1;
    memcpy(dst, src, len);
    bus_expected = 0;
    return true;
}
