/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvmd: parse, set up from the bottom layer to the top, serve until told to stop, take down.
 *
 * The main thread only waits for signals and for the session's end; everything else has its thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/signalfd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "cleaner.h"
#include "config.h"
#include "control.h"
#include "fault.h"
#include "faultd.h"
#include "ledger.h"
#include "log.h"
#include "object.h"
#include "page.h"
#include "pager/pager.h"
#include "pager/pagermap.h"
#include "pager/swap.h"
#include "pager/vnode.h"
#include "pdaemon.h"
#include "pmap/pmap.h"
#include "policy.h"
#include "reserve.h"
#include "revoker.h"
#include "stats.h"
#include "swapjob.h"
#include "trace.h"
#include "util.h"
#include "../fuse/anon.h"
#include "../fuse/dev.h"
#include "../fuse/fs.h"
#include "../fuse/session.h"
#include "../fuse/view.h"
#include "../fuse/vn.h"

enum { EXIT_USAGE = 2 };

static struct {
    struct uvm_config cfg;
    char tree[PATH_MAX + 128]; /* directory of the tree's store; empty: not made */
    sigset_t signals;
    int signal_fd;
    int ended_fd; /* eventfd: the kernel has ended the session */
    bool started; /* until then, a stop also removes the swap files that were made */
} uvmd;

static void notify(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

/* The session's end, on a loop's thread. */
static void session_ended(void)
{
    uint64_t one = 1;
    if (write(uvmd.ended_fd, &one, sizeof(one)) < 0)
        log_error("cannot report the session's end: %s", strerror(errno));
}

static int signals_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    sigemptyset(&uvmd.signals);
    sigaddset(&uvmd.signals, SIGTERM);
    sigaddset(&uvmd.signals, SIGINT);
    sigaddset(&uvmd.signals, SIGHUP); /* the terminal has gone: the mount must not stay */
    sigprocmask(SIG_BLOCK, &uvmd.signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    uvmd.signal_fd = signalfd(-1, &uvmd.signals, SFD_CLOEXEC);
    uvmd.ended_fd = eventfd(0, EFD_CLOEXEC);
    if (uvmd.signal_fd < 0 || uvmd.ended_fd < 0)
        return uvm_fail(err, -errno, "cannot watch for signals: %s", strerror(errno));
    return 0;
}

static int memory_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    uint32_t npages = (uint32_t)uvm_atop(cfg->memory);
    int rc;

    /* What the daemon has touched stays in memory; before the arena, whose pages must come and go.
     */
    if (mlockall(MCL_CURRENT | MCL_ONFAULT))
        log_debug("mlockall: %s", strerror(errno));
    uvm_object_module_init();
    uvm_reserve_init();
    if ((rc = uvm_ledger_init(npages, npages, err)))
        return rc;
    uvm_policy = cfg->policy;
    if ((rc = uvm_page_init(npages, err)))
        return rc;
    /* A page is in one window at most, so as many windows as pages are always enough. */
    if ((rc = pmap_init(PMAP_UFFD, npages, err)))
        return rc;
    uvm_ledger_header()->arena_base = (uint64_t)(uintptr_t)pmap_kva(0);
    if ((rc = uvm_pagermap_init(err)))
        return rc;
    uvm_pager_init();
    return 0;
}

static void swap_down(void)
{
    if (!uvmd.started)
        uvm_swap_discard();
    uvm_swap_fini();
}

static int swap_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    uvm_swap_init();
    uvm_swap_faults(cfg->faults);
    uvn_faults(cfg->faults);
    for (unsigned i = 0; i < cfg->nswap; i++) {
        int rc = uvm_swap_add(&cfg->swap[i], err);
        if (rc) {
            swap_down();
            return rc;
        }
    }
    uvmpd_tune(*cfg->source); /* with swap, it is known what can be promised */
    return 0;
}

static int loops_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return uvm_session_init(cfg->threads, err);
}

/* Last to go: until then, requests are served and pages evicted. */
static int trace_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return 0;
}

static int control_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    uvm_control_commands(cfg);
    uvm_control_register_objects(&uvm_view_provider);
    return uvm_control_start(cfg->socket, err);
}

static void tree_close(void)
{
    uvm_fs_clear();
    uvm_tree_close();
    uvm_tree_remove(uvmd.tree);
}

static int devices_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return uvm_devfs_up(cfg->device, cfg->ndevice, err);
}

static int cleaner_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return *cfg->source ? uvm_cleaner_start(err) : 0;
}

static int source_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return *cfg->source ? uvm_vn_init(cfg->source, cfg->mountpoint, err) : 0;
}

/* The mount is gone, and everything below still works: write the files out. */
static void source_down(void)
{
    uvm_vn_drain();
    uvm_vn_fini();
}

static int tree_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    /* Next to the socket, and named like it: two daemons may share a state directory. */
    const char *base = strrchr(cfg->socket, '/');
    base = base ? base + 1 : cfg->socket;
    size_t len = strlen(base), ext = strlen(".sock");
    if (len > ext && strcmp(base + len - ext, ".sock") == 0)
        len -= ext;
    snprintf(uvmd.tree, sizeof(uvmd.tree), "%s/%.*s.tree", cfg->statedir, (int)len, base);
    int rc = uvm_tree_open(uvmd.tree, true, 0, err);
    if (rc)
        return rc;
    if (*cfg->source)
        rc = uvm_fs_add(&uvm_fs_vnode);
    if (cfg->ndevice && !rc)
        rc = uvm_fs_add(&uvm_fs_device);
    if (rc) {
        tree_close();
        return uvm_fail(err, rc, "%s: %s", uvmd.tree, strerror(-rc));
    }
    uvm_inode_init(&uvm_anon_hooks);
    uvm_dirs_init();
    uvm_view_enable(true);
    return 0;
}

static void tree_down(void)
{
    uvm_dirs_fini();
    uvm_inode_fini();
    tree_close();
}

static int pdaemon_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return uvmpd_start(err);
}

static int faultd_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return uvm_faultd_start(err);
}

static int swapjobs_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    return uvm_swapjob_start(err);
}

static int mount_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    struct uvm_error warning = {0};
    struct uvm_session_config session = {
        .mountpoint = cfg->mountpoint,
        .allow_other = cfg->allow_other,
        .suid = cfg->suid,
        .dev = cfg->dev,
        .exec = cfg->exec,
        .ended = session_ended,
    };
    int rc = uvm_session_start(&session, err);
    if (rc)
        return rc;
    if (uvm_bdi_tune(cfg->mountpoint, &warning))
        uvm_control_warn("%s", warning.msg);
    uvm_control_set_status("transport", uvm_session_transport());
    uvm_control_set_status("features", pmap_features());
    return 0;
}

static int revoker_up(const struct uvm_config *cfg, struct uvm_error *err)
{
    static const struct uvm_revoker_ops ops = {
        .revoke = uvm_session_revoke,
        .settle = uvm_session_settle,
    };
    return uvm_revoker_start(&ops, err);
}

/*
 * From the bottom to the top; taken down in the other order. The control socket comes before what
 * it reports on, because it keeps a second daemon of the same name out of the first one's state.
 * The revoker comes after the mount, so that it ends while requests are still served: it may be
 * waiting for one.
 */
static const struct {
    int (*up)(const struct uvm_config *cfg, struct uvm_error *err);
    void (*down)(void);
} steps[] = {
    {uvm_config_check_mountpoint, NULL},
    {uvm_config_check_source, NULL},
    {signals_up, NULL},
    {memory_up, NULL},
    {trace_up, uvm_trace_fini},
    {loops_up, uvm_session_fini},
    {swap_up, swap_down},
    {control_up, uvm_control_stop},
    {devices_up, uvm_devfs_down},
    {tree_up, tree_down},
    {pdaemon_up, uvmpd_stop},
    {faultd_up, uvm_faultd_stop},
    {swapjobs_up, uvm_swapjob_stop},
    {cleaner_up, uvm_cleaner_stop},
    {source_up, source_down},
    {mount_up, uvm_session_stop},
    {revoker_up, uvm_revoker_stop},
};

enum { NSTEPS = sizeof(steps) / sizeof(steps[0]) };

static void teardown(unsigned nsteps)
{
    uvm_view_enable(false);
    while (nsteps-- > 0)
        if (steps[nsteps].down)
            steps[nsteps].down();
}

static int setup(const struct uvm_config *cfg, struct uvm_error *err)
{
    for (unsigned i = 0; i < NSTEPS; i++) {
        int rc = steps[i].up(cfg, err);
        if (rc) {
            teardown(i);
            return rc;
        }
    }
    return 0;
}

/* Wait for a signal or the session's end. => true: a signal; false: ended, or the time is over */
static bool wait_signal(int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = uvmd.signal_fd, .events = POLLIN},
                            {.fd = uvmd.ended_fd, .events = POLLIN}};
    struct signalfd_siginfo info;

    for (;;) {
        int n = poll(fds, 2, timeout_ms);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || (fds[1].revents & POLLIN))
            return false;
        if (read(uvmd.signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
            log_info("signal %u: stopping", info.ssi_signo);
            return true;
        }
    }
}

/* The mount goes first, while everything below still serves it. */
static void drain(const struct uvm_config *cfg)
{
    notify("STOPPING=1");
    if (uvm_session_unmount(false) == 0)
        return;
    log_info("%s is in use: detached, waiting up to %u s for its clients", cfg->mountpoint,
             cfg->drain);
    int rc = uvm_session_unmount(true);
    if (rc)
        log_error("cannot unmount %s: %s", cfg->mountpoint, strerror(-rc));
    if (wait_signal((int)cfg->drain * 1000))
        log_info("not waiting any longer: what clients still map is gone");
}

/* The session has ended without us. => true: the connection was aborted; false: it was unmounted */
static bool session_gone(const struct uvm_config *cfg)
{
    bool aborted = uvm_session_mounted();

    if (aborted)
        log_error("%s: the kernel has aborted the connection: stopping", cfg->mountpoint);
    else
        log_info("%s has been unmounted: stopping", cfg->mountpoint);
    return aborted;
}

static int report(const char *who, const struct uvm_error *err)
{
    fprintf(stderr, "%s: %s\n", who, err->msg);
    return err->code == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct uvm_error err = {0};
    int null;

    /* Descriptors 0 to 2 must be taken, or what is written to stderr lands in the ledger. */
    do
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (null >= 0 && null <= STDERR_FILENO);
    if (null >= 0)
        close(null);

    int rc = uvm_config_parse_argv(argc, argv, &uvmd.cfg, &err);
    if (rc == UVM_CONFIG_EXIT)
        return uvm_config_exit(&uvmd.cfg, stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
    if (rc)
        return report("uvmd", &err);
    uvm_log_set_level(uvmd.cfg.log);
    rc = setup(&uvmd.cfg, &err);
    if (rc) {
        report("uvmd", &err);
        return EXIT_FAILURE;
    }
    uvmd.started = true;
    log_info("serving %s", uvmd.cfg.mountpoint);
    notify("READY=1");
    bool aborted = false;
    if (wait_signal(-1))
        drain(&uvmd.cfg);
    else
        aborted = session_gone(&uvmd.cfg);
    teardown(NSTEPS);
    return aborted ? EXIT_FAILURE : EXIT_SUCCESS;
}
