/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running cases: preparation, the body in its process group, the verdict.
 */
#include "harness.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness_impl.h"

#define BODY_SECONDS 60
#define DIE_SECONDS  5

static struct {
    const struct mount_case *cases;
    struct mount m;
} run;

const char *harness_skip(void)
{
    if (getenv("UVM_TEST_ON"))
        return NULL;
    if (geteuid())
        return "needs root";
    if (access("/dev/fuse", R_OK | W_OK))
        return "needs /dev/fuse";
    int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (fd < 0)
        return "needs userfaultfd";
    close(fd);
    return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (remove(path))
        fprintf(stderr, "cannot remove %s: %s\n", path, strerror(errno));
    return 0;
}

void harness_rmtree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

const char *mount_path(const struct mount *m, char buf[PATH_MAX], const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(buf, PATH_MAX, "%s/", m->anon);

    va_start(ap, fmt);
    vsnprintf(buf + n, (size_t)(PATH_MAX - n), fmt, ap);
    va_end(ap);
    return buf;
}

void mount_prepare(struct mount *m, const struct mount_opts *opts)
{
    const char *on = getenv("UVM_TEST_ON"), *base = getenv("UVM_TEST_DIR");

    memset(m, 0, sizeof(*m));
    m->opts = *opts;
    m->foreign = on != NULL;
    if (on)
        base = on;
    snprintf(m->dir, sizeof(m->dir), "%s/uvmtest.XXXXXX", base ? base : "/var/tmp");
    must_msg(mkdtemp(m->dir), "%s: %s", m->dir, strerror(errno));
    must_sys(chmod(m->dir, 0755));
    snprintf(m->mountpoint, PATH_MAX, "%s/mnt", m->dir);
    snprintf(m->anon, PATH_MAX, "%s/mnt%s", m->dir, on ? "" : "/anon");
    snprintf(m->socket, PATH_MAX, "%s/sock", m->dir);
    snprintf(m->state, PATH_MAX, "%s/state", m->dir);
    snprintf(m->swap, PATH_MAX, "%s/swap", m->dir);
    snprintf(m->log, PATH_MAX, "%s/log", m->dir);
    must_sys(mkdir(m->mountpoint, 0755));
    must_sys(mkdir(m->state, 0700));
    if (on)
        must_sys(chmod(m->mountpoint, 01777));
}

/* Kill what is left of a body's group; what cannot even die waits for uvmd, and is let go. */
static void end_group(struct mount *m, pid_t group)
{
    kill(-group, SIGKILL);
    if (!harness_group_ends(group, DIE_SECONDS)) {
        fprintf(stderr, "processes that do not die:\n");
        harness_stacks(group);
        mount_abort(m);
        harness_group_ends(group, DIE_SECONDS);
    }
}

bool mount_body(struct mount *m, void (*body)(struct mount *m))
{
    unsigned seconds = (m->opts.seconds ? m->opts.seconds : BODY_SECONDS) * client_slow();
    int status = 0;

    fflush(NULL);
    pid_t parent = getpid(), pid = must_sys(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        client_defaults();
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
        signal(SIGPIPE, SIG_IGN);
        body(m);
        fflush(NULL);
        _exit(EXIT_SUCCESS);
    }
    setpgid(pid, pid);
    bool ended = client_wait_for(pid, seconds);
    if (!ended && !client_interrupted()) {
        fprintf(stderr, "the body does not end; its processes and uvmd:\n");
        harness_stacks(pid);
        if (m->daemon)
            harness_threads(m->daemon);
    }
    end_group(m, pid);
    if (waitpid(pid, &status, WNOHANG) != pid)
        snprintf(m->trouble, sizeof(m->trouble), "the body cannot be killed");
    else if (!ended && client_interrupted())
        snprintf(m->trouble, sizeof(m->trouble), "interrupted");
    else if (!ended)
        snprintf(m->trouble, sizeof(m->trouble), "the body did not end within %u s", seconds);
    else if (client_report())
        snprintf(m->trouble, sizeof(m->trouble), "%.1900s", client_report());
    else if (WIFSIGNALED(status))
        snprintf(m->trouble, sizeof(m->trouble), "the body died of signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status))
        snprintf(m->trouble, sizeof(m->trouble), "the body ended with %d", WEXITSTATUS(status));
    return !m->trouble[0];
}

START_TEST(run_case)
{
    const struct mount_case *c = &run.cases[_i];
    struct mount *m = &run.m;

    if (client_interrupted())
        ck_abort_msg("%s: interrupted", c->name);
    client_report_clear();
    mount_prepare(m, &c->opts);
    if (!m->foreign && !c->opts.unmounted)
        mount_start(m);
    bool ok = mount_body(m, c->body);
    if (!ok && m->daemon)
        mount_explain(m);
    if (m->daemon) {
        char first[sizeof(m->trouble)];
        memcpy(first, m->trouble, sizeof(first));
        m->trouble[0] = '\0';
        bool stopped = mount_stop(m);
        if (!ok && !stopped)
            fprintf(stderr, "%s: and then: %s\n", c->name, m->trouble);
        if (!ok)
            memcpy(m->trouble, first, sizeof(first));
        ok &= stopped;
    }
    if (!ok)
        ck_abort_msg("%s: %s", c->name, m->trouble);
}
END_TEST

static void failed(const char *text)
{
    ck_abort_msg("%s", text);
}

static void teardown(void)
{
    mount_cleanup(&run.m);
}

int harness_main(const char *name, const struct mount_case *cases, int ncases)
{
    const char *skip = harness_skip();

    if (skip) {
        printf("skipped: %s\n", skip);
        return 77;
    }
    if (!getenv("UVMD") && !getenv("UVM_TEST_ON")) {
        fprintf(stderr, "UVMD is not set: the path of the uvmd to test\n");
        return EXIT_FAILURE;
    }
    client_init(failed);
    run.cases = cases;
    Suite *suite = suite_create(name);
    for (int i = 0; i < ncases; i++) {
        TCase *tc = tcase_create(cases[i].name); /* CK_RUN_CASE=name runs it alone */
        tcase_add_checked_fixture(tc, NULL, teardown);
        tcase_add_loop_test(tc, run_case, i, i + 1);
        suite_add_tcase(suite, tc);
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner,
                            CK_NOFORK); /* the bodies are forked here, with their clean-up */
    srunner_run_all(runner, CK_VERBOSE);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
