/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon under test.
 *
 *      DIR/            mkdtemp in UVM_TEST_DIR, removed at the end
 *        mnt/          the mount point
 *        state/        statedir=, has to be empty again after the stop
 *        swap          swap=
 *        sock          the control socket
 *        log           stdout and stderr of uvmd
 *
 * A case starts uvmd, runs its body in a process group of its own under a time limit, ends that group,
 * stops uvmd, and looks for what is left behind. All of it happens whether the body fails or not.
 *
 * With UVM_TEST_ON=DIR no daemon is started: bodies run in DIR, on whatever file system that is.
 * That shows whether an expectation is right (on a tmpfs) when uvmd does not meet it.
 *
 * Environment: UVMD, UVMCTL: the programs; UVM_TEST_DIR: where to make DIR (a file system with
 * O_DIRECT; /var/tmp); UVM_TEST_SCALE: sizes in percent; UVM_TEST_LOG: log level of uvmd.
 */
#ifndef UVMD_TESTS_HARNESS_H
#define UVMD_TESTS_HARNESS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

struct json_object;

struct mount_opts {
    const char *memory; /* "64M"; NULL: the minimum, 8M */
    const char *swap;   /* size of a swap file; NULL: none */
    const char *more;   /* more of -o */
    unsigned seconds;   /* for the body; 0: 60 */
    int status;         /* what uvmd ends with */
    bool unmounted;     /* the body starts uvmd itself, if at all */
};

struct mount {
    struct mount_opts opts;
    char dir[PATH_MAX / 2];
    char mountpoint[PATH_MAX], anon[PATH_MAX], socket[PATH_MAX], state[PATH_MAX], swap[PATH_MAX],
        log[PATH_MAX];
    pid_t daemon;       /* 0: not running, or not our child */
    bool foreign;       /* UVM_TEST_ON */
    char trouble[2000]; /* what the stop found wrong; empty: nothing */
};

struct mount_case {
    const char *name;
    void (*body)(struct mount *m);
    struct mount_opts opts;
};

/* harness_main: run the cases as a Check suite. => exit status; 77 where the kernel has not what is
 * needed */
int harness_main(const char *suite, const struct mount_case *cases, int ncases);

#define HARNESS_MAIN(suite, cases)                                                    \
    int main(void)                                                                    \
    {                                                                                 \
        return harness_main(suite, cases, (int)(sizeof(cases) / sizeof((cases)[0]))); \
    }

/* harness_skip: => why there can be no mount here, or NULL */
const char *harness_skip(void);

/* mount_prepare: make DIR and fill in *m. mount_cleanup: end and remove whatever is left of it. */
void mount_prepare(struct mount *m, const struct mount_opts *opts);
void mount_cleanup(struct mount *m);

/* mount_start: start uvmd and wait until it answers. => fails the test if it does not */
void mount_start(struct mount *m);

/* mount_stop: SIGTERM, wait, see what is left behind. => true, or false and m->trouble */
bool mount_stop(struct mount *m);

/* mount_explain: print the counters and the log of uvmd, for whoever looks into a failure. => stderr */
void mount_explain(const struct mount *m);

/* mount_body: run body in a process group under its time limit. => true, or false and m->trouble */
bool mount_body(struct mount *m, void (*body)(struct mount *m));

/* mount_mounted: => a file system is mounted on the mount point; never touches it */
bool mount_mounted(const struct mount *m);

/* mount_abort: end the FUSE connection by force. */
void mount_abort(const struct mount *m);

/*
 * mount_run: run uvmd with arguments of one's own, and wait for its end.
 *
 * => argv[0] is put in place; what it printed (stdout and stderr) goes to out
 * => its exit status, 128 + signal, or -1: still there after the seconds, then it is killed
 */
int mount_run(struct mount *m, char **argv, char *out, size_t size, unsigned seconds);

/* mount_counter: a counter by its name. => 0 with UVM_TEST_ON */
uint64_t mount_counter(const struct mount *m, const char *name);

/* mount_settle: wait until a counter has a value. => fails the test after some seconds */
void mount_settle(const struct mount *m, const char *name, uint64_t value);

/* mount_call: a command of the control socket; arguments end with NULL. => 0 or -errno; result, if
 * wanted, is put by the caller */
int mount_call(const struct mount *m, struct json_object **result, const char *cmd, ...)
    __attribute__((sentinel));

/* mount_path: DIR/mnt/anon/NAME in a buffer of the caller. => buf */
const char *mount_path(const struct mount *m, char buf[PATH_MAX], const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* mount_rss: VmRSS of uvmd in bytes; 0 when it is a sanitizer build, whose memory says nothing. */
uint64_t mount_rss(const struct mount *m);

#endif
