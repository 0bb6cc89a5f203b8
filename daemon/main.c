/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uvmd: parse, set up from the bottom layer to the top, serve until told to stop, take down.
 *
 * The main thread only waits for signals and for the session's end; everything else has its thread.
 */
#include <errno.h>
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
#include "pdaemon.h"
#include "pmap/pmap.h"
#include "reserve.h"
#include "revoker.h"
#include "stats.h"
#include "util.h"
#include "../fuse/anon.h"
#include "../fuse/ops.h"
#include "../fuse/session.h"

enum { EXIT_USAGE = 2 };

static struct {
    struct uvm_config cfg;
    char tree[PATH_MAX + 128]; /* directory of the tree's store; empty: not made */
    sigset_t signals;
    int signal_fd;
    int ended_fd; /* eventfd: the kernel has ended the session */
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

static int setup_signals(struct uvm_error *err)
{
    sigemptyset(&uvmd.signals);
    sigaddset(&uvmd.signals, SIGTERM);
    sigaddset(&uvmd.signals, SIGINT);
    sigprocmask(SIG_BLOCK, &uvmd.signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    uvmd.signal_fd = signalfd(-1, &uvmd.signals, SFD_CLOEXEC);
    uvmd.ended_fd = eventfd(0, EFD_CLOEXEC);
    if (uvmd.signal_fd < 0 || uvmd.ended_fd < 0)
        return uvm_fail(err, -errno, "cannot watch for signals: %s", strerror(errno));
    return 0;
}

static int setup_memory(const struct uvm_config *cfg, struct uvm_error *err)
{
    uint32_t npages = (uint32_t)uvm_atop(cfg->memory);
    int rc;

    uvm_object_module_init();
    uvm_reserve_init();
    if ((rc = uvm_ledger_init(npages, npages, err)))
        return rc;
    if ((rc = uvm_page_init(npages, err)))
        return rc;
    /* A page is in one window at most, so as many windows as pages are always enough. */
    if ((rc = pmap_init(PMAP_UFFD, npages, err)))
        return rc;
    uvm_ledger_header()->arena_base = (uint64_t)(uintptr_t)pmap_kva(0);
    if ((rc = uvm_pagermap_init(err)))
        return rc;
    uvm_pager_init();
    uvmpd_tune();
    return 0;
}

static int setup_swap(const struct uvm_config *cfg, struct uvm_error *err)
{
    uvm_swap_init();
    uvm_swap_faults(cfg->faults);
    for (unsigned i = 0; i < cfg->nswap; i++) {
        int rc = uvm_swap_add(&cfg->swap[i], err);
        if (rc)
            return rc;
    }
    return 0;
}

static int setup_tree(const struct uvm_config *cfg, struct uvm_error *err)
{
    /* Next to the socket, and named like it: two daemons may share a state directory. */
    const char *base = strrchr(cfg->socket, '/');
    base = base ? base + 1 : cfg->socket;
    int len = (int)strcspn(base, ".");
    snprintf(uvmd.tree, sizeof(uvmd.tree), "%s/%.*s.tree", cfg->statedir, len, base);
    int rc = uvm_tree_open(uvmd.tree, true, 0, err);
    if (rc)
        return rc;
    uvm_inode_init(&uvm_anon_hooks);
    uvm_dirs_init();
    return 0;
}

static int setup_control(const struct uvm_config *cfg, struct uvm_error *err)
{
    uvm_control_commands(cfg);
    uvm_control_register_objects(&uvm_anon_provider);
    return uvm_control_start(cfg->socket, err);
}

static int setup_mount(const struct uvm_config *cfg, struct uvm_error *err)
{
    struct uvm_error warning = {0};
    struct uvm_session_config session = {
        .mountpoint = cfg->mountpoint,
        .allow_other = cfg->allow_other,
        .threads = cfg->threads,
        .pin = true,
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

static int setup(const struct uvm_config *cfg, struct uvm_error *err)
{
    int rc = uvm_config_check_mountpoint(cfg, err);
    if (!rc)
        rc = setup_signals(err);
    if (!rc)
        rc = setup_memory(cfg, err);
    if (!rc)
        rc = setup_swap(cfg, err);
    /* The control socket comes before the mount: it is what tells a second daemon to keep out. */
    if (!rc)
        rc = setup_control(cfg, err);
    if (!rc)
        rc = setup_tree(cfg, err);
    if (!rc)
        rc = uvmpd_start(err);
    if (!rc)
        rc = uvm_faultd_start(err);
    if (!rc)
        rc = uvm_revoker_start(uvm_session_revoke, err);
    if (!rc)
        rc = setup_mount(cfg, err);
    return rc;
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

static void teardown(void)
{
    uvm_control_stop();
    uvm_session_stop();
    uvm_session_close();
    uvm_revoker_stop();
    uvmpd_stop();
    uvm_faultd_stop();
    uvm_dirs_fini();
    uvm_inode_fini();
    uvm_tree_close();
    if (uvmd.tree[0])
        uvm_tree_remove(uvmd.tree);
    uvm_swap_fini();
}

static int report(const char *who, const struct uvm_error *err)
{
    fprintf(stderr, "%s: %s\n", who, err->msg);
    return err->code == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct uvm_error err = {0};

    int rc = uvm_config_parse_argv(argc, argv, &uvmd.cfg, &err);
    if (rc == UVM_CONFIG_EXIT)
        return uvm_config_exit(&uvmd.cfg, stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
    if (rc)
        return report("uvmd", &err);
    uvm_log_set_level(uvmd.cfg.log);
    rc = setup(&uvmd.cfg, &err);
    if (rc) {
        teardown();
        report("uvmd", &err);
        return EXIT_FAILURE;
    }
    log_info("serving %s", uvmd.cfg.mountpoint);
    notify("READY=1");
    if (wait_signal(-1))
        drain(&uvmd.cfg);
    teardown();
    return EXIT_SUCCESS;
}
