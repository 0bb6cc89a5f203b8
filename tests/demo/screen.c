/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread holds `lock` while it draws, and a phase begins and ends under it, so a line is never
 * torn. The block that is redrawn is always DRAWN lines high; whatever is above it stays.
 */
#include "screen.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/control.h"
#include "daemon/stats.h"
#include "daemon/util.h"

#define DRAWN         4 /* lines of the block */
#define TICK_MS       200
#define PLAIN_EVERY_S 5
#define STUCK_AFTER_S 60
#define BAR_WIDTH     32
#define NS            1000000000ull

static struct {
    const char *socket;
    bool tty;
    uint64_t pid; /* of uvmd */
    pthread_t thread;
    _Atomic uint64_t done; /* bytes of the phase */
    _Atomic uint64_t peak; /* the largest memory of uvmd */

    pthread_mutex_t lock; /* what follows, and stdout */
    pthread_cond_t wake;
    bool stopping;
    bool drawn;        /* the block is on the screen */
    const char *phase; /* NULL between phases */
    uint64_t total, begun;
    uint64_t said;                 /* when the last plain line came out */
    uint64_t moved_at, moved_done; /* the watchdog's */
} screen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t number(struct json_object *object, const char *key)
{
    struct json_object *member = NULL;

    json_object_object_get_ex(object, key, &member);
    return json_object_get_uint64(member);
}

static struct json_object *ask(const char *cmd)
{
    struct json_object *result;
    struct uvm_error err;

    if (uvm_control_call(screen.socket, 1, &cmd, &result, &err)) {
        fprintf(stderr, "\nuvmd-demo: %s\n", err.msg);
        exit(EXIT_FAILURE);
    }
    return result;
}

static uint64_t resident(void)
{
    char path[64], line[256];
    uint64_t kb = 0;

    snprintf(path, sizeof(path), "/proc/%" PRIu64 "/status", screen.pid);
    FILE *file CLEANUP_FCLOSE = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %" SCNu64, &kb) == 1)
            break;
    return kb << 10;
}

struct snapshot screen_look(void)
{
    struct json_object *stat = ask("stat");
    struct snapshot s = {
        .npages = number(stat, "npages"),
        .free = number(stat, "free"),
        .active = number(stat, "active"),
        .inactive = number(stat, "inactive"),
        .swpages = number(stat, "swpages"),
        .swpginuse = number(stat, "swpginuse"),
        .pageins = number(stat, "pageins"),
        .pgswapin = number(stat, "pgswapin"),
        .pageouts = number(stat, "pageouts"),
        .pgswapout = number(stat, "pgswapout"),
        .rss = resident(),
    };

    json_object_put(stat);
    if (s.rss > atomic_load(&screen.peak))
        atomic_store(&screen.peak, s.rss);
    return s;
}

/* The phase in one line. */
static void put_phase(void)
{
    uint64_t done = atomic_load(&screen.done);
    uint64_t ns = MAX(uvm_now_ns() - screen.begun, 1);

    printf("%-16s", screen.phase);
    if (screen.tty) {
        unsigned full = screen.total ? (unsigned)(done * BAR_WIDTH / screen.total) : 0;
        putchar('[');
        for (unsigned i = 0; i < BAR_WIDTH; i++)
            putchar(i < full ? '#' : '.');
        printf("] ");
    }
    printf("%4" PRIu64 "/%" PRIu64 " MiB %6.1f s %6.0f MB/s", done >> 20, screen.total >> 20,
           (double)ns / NS, (double)done * 1e3 / (double)ns);
}

/* uvmd's counters in three lines, each with what begins and what ends it. */
static void put_counters(const char *begin, const char *end)
{
    struct snapshot s = screen_look();

    printf("%smemory %" PRIu64 "/%" PRIu64 " MiB: %" PRIu64 " pages active, %" PRIu64
           " inactive; swap %" PRIu64 "/%" PRIu64 " MiB%s",
           begin, uvm_ptoa(s.npages - s.free) >> 20, uvm_ptoa(s.npages) >> 20, s.active, s.inactive,
           uvm_ptoa(s.swpginuse) >> 20, uvm_ptoa(s.swpages) >> 20, end);
    printf("%spaged out %" PRIu64 " pages in %" PRIu64 " writes, %.0f each%s", begin, s.pgswapout,
           s.pageouts, s.pageouts ? (double)s.pgswapout / (double)s.pageouts : 0.0, end);
    printf("%spaged in  %" PRIu64 " pages in %" PRIu64 " reads%s", begin, s.pgswapin, s.pageins,
           end);
}

static void draw(void)
{
    if (screen.drawn)
        printf("\033[%dA", DRAWN);
    put_phase();
    printf("\033[K\n");
    put_counters("  ", "\033[K\n");
    screen.drawn = true;
    fflush(stdout);
}

static void say(void)
{
    put_phase();
    putchar('\n');
    put_counters("    ", "\n");
    fflush(stdout);
    screen.said = uvm_now_ns();
}

static void watch(void)
{
    uint64_t now = uvm_now_ns(), done = atomic_load(&screen.done);

    if (done != screen.moved_done) {
        screen.moved_done = done;
        screen.moved_at = now;
    } else if (now - screen.moved_at > STUCK_AFTER_S * NS) {
        fprintf(stderr, "\nuvmd-demo: %s: nothing has moved for %d s at %" PRIu64 " MiB\n",
                screen.phase, STUCK_AFTER_S, done >> 20);
        _exit(EXIT_FAILURE); /* the other thread hangs in a fault: only the end gets it out */
    }
}

static void *screen_main(void *arg)
{
    pthread_mutex_lock(&screen.lock);
    while (!screen.stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + TICK_MS * 1000000ull;
        until.tv_sec += (time_t)(ns / NS);
        until.tv_nsec = (long)(ns % NS);
        pthread_cond_timedwait(&screen.wake, &screen.lock, &until);
        if (screen.stopping || !screen.phase)
            continue;
        if (screen.tty)
            draw();
        else if (uvm_now_ns() - screen.said > PLAIN_EVERY_S * NS)
            say();
        else
            screen_look(); /* for the peak */
        watch();
    }
    pthread_mutex_unlock(&screen.lock);
    return NULL;
}

void screen_start(const char *socket)
{
    pthread_condattr_t attr;

    screen.socket = socket;
    screen.tty = isatty(STDOUT_FILENO);
    struct json_object *status = ask("status");
    screen.pid = number(status, "pid");
    json_object_put(status);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&screen.wake, &attr);
    pthread_condattr_destroy(&attr);
    int error = pthread_create(&screen.thread, NULL, screen_main, NULL);
    if (error) {
        fprintf(stderr, "uvmd-demo: cannot make a thread: %s\n", strerror(error));
        exit(EXIT_FAILURE);
    }
}

void screen_phase(const char *name, uint64_t total)
{
    pthread_mutex_lock(&screen.lock);
    screen.phase = name;
    screen.total = total;
    atomic_store(&screen.done, 0);
    screen.begun = screen.said = screen.moved_at = uvm_now_ns();
    screen.moved_done = 0;
    screen.drawn = false;
    pthread_mutex_unlock(&screen.lock);
}

void screen_advance(uint64_t bytes)
{
    atomic_fetch_add_explicit(&screen.done, bytes, memory_order_relaxed);
}

void screen_phase_end(void)
{
    pthread_mutex_lock(&screen.lock);
    if (screen.tty)
        draw();
    else
        say();
    screen.phase = NULL;
    pthread_mutex_unlock(&screen.lock);
}

uint64_t screen_stop(void)
{
    pthread_mutex_lock(&screen.lock);
    screen.stopping = true;
    pthread_cond_signal(&screen.wake);
    pthread_mutex_unlock(&screen.lock);
    pthread_join(screen.thread, NULL);
    return atomic_load(&screen.peak);
}
