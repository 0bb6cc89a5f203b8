/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of the mount. The main thread alone starts, unmounts and stops; revoke and settle are the
 * revoker's, which runs from after the start until before the stop. So nothing in `session` changes
 * while somebody else looks at it, and it has no lock.
 *
 *      start     mount(2) -> libfuse takes the descriptor -> INIT is answered -> channel -> loops run
 *      unmount   the mount leaves the name space; loops and connection go on: clients are served
 *      stop      no more requests are read -> those in hand end -> loops end -> channel is freed ->
 *                libfuse closes the descriptor, and with it the connection
 *
 * stop undoes any part of start. Each of its steps needs what the later ones take away: a request in
 * hand its loop, its reply the connection. What is still mounted is detached before all of them, because
 * a mount without a server hangs whoever meets it.
 *
 * The daemon never waits on its own mount: umount2(2), which may, is called by a child process.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "../daemon/log.h"
#include "../daemon/loop.h"
#include "../daemon/pager/pagermap.h"
#include "../daemon/util.h"
#include "channel.h"
#include "fs.h"
#include "ops_file.h"

#define MAX_TRANSFER   (1u << 20) /* of one READ or WRITE: a cluster */
#define MAX_BACKGROUND 64         /* of the kernel's read-ahead and write-back together */

/* How long the stop waits for requests in hand, and how often it looks. */
#define STOP_WAIT_MS 5000
#define STOP_STEP_MS 5

_Atomic unsigned uvm_file_requests;

static struct {
    struct fuse_session *se;
    const struct uvm_channel_ops *channel;
    struct uvm_loop *loops[64];
    unsigned nloops;
    unsigned running; /* loops whose thread runs */
    char mountpoint[4096];
    bool mounted;
} session;

static void want(struct fuse_conn_info *conn, unsigned cap, bool on)
{
    if (on)
        conn->want |= conn->capable & cap;
    else
        conn->want &= ~cap;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    conn->max_write = MAX_TRANSFER;
    conn->max_readahead = MAX_TRANSFER;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
    conn->time_gran = 1;
    want(conn, FUSE_CAP_ASYNC_READ, true);
    /* O_DIRECT writes that wait would take up the kernel's background requests, and its write-back
     * would wait behind them; and it would make EIO of a short one. */
    want(conn, FUSE_CAP_ASYNC_DIO, false);
    want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
    /* A list that new files inherit stands instead of the umask, so the kernel must not apply that. */
    want(conn, FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK, uvm_fs_acl());
    want(conn, FUSE_CAP_READDIRPLUS, true);
    want(conn, FUSE_CAP_READDIRPLUS_AUTO, true);
    want(conn, FUSE_CAP_CACHE_SYMLINKS, true);
    /* The client cache is right until we say otherwise: our own mtime is no reason to drop it. */
    want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
    want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
    /* The kernel truncates and clears set-id bits with SETATTR. */
    want(conn, FUSE_CAP_ATOMIC_O_TRUNC, false);
    want(conn, FUSE_CAP_HANDLE_KILLPRIV, false);
    want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
    /* A copy is cheaper than a pipe here. */
    want(conn, FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE, false);
}

/*
 * Mount by mount(2) on a descriptor of our own, not through libfuse: the errors have names, and the
 * descriptor is one that can outlive the process. => the descriptor, or -errno
 */
static int mount_device(const struct uvm_session_config *cfg, struct uvm_error *err)
{
    CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[128];

    if (fd < 0 && errno == ENOENT)
        return uvm_fail(err, -ENOENT, "/dev/fuse is missing: load the fuse module (modprobe fuse)");
    if (fd < 0)
        return uvm_fail(err, -errno, "/dev/fuse: %s: run as root, or allow the device to this user",
                        strerror(errno));
    snprintf(options, sizeof(options),
             "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s", fd, geteuid(),
             getegid(), cfg->allow_other ? ",allow_other" : "");
    unsigned long flags =
        (cfg->suid ? 0 : MS_NOSUID) | (cfg->dev ? 0 : MS_NODEV) | (cfg->exec ? 0 : MS_NOEXEC);
    if (mount("uvmd", cfg->mountpoint, "fuse.uvmd", flags, options)) {
        int code = -errno;
        return uvm_fail(err, code, "cannot mount on %s: %s%s", cfg->mountpoint, strerror(-code),
                        code == -EPERM ? ": mounting needs CAP_SYS_ADMIN, run as root" : "");
    }
    session.mounted = true;
    return UVM_TAKE_FD(fd);
}

static int make_session(const struct uvm_session_config *cfg, struct uvm_error *err)
{
    struct fuse_lowlevel_ops ops = uvm_dispatch_ops; /* libfuse keeps a copy */
    char *argv[] = {"uvmd", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    char name[32];

    ops.init = op_init;
    session.se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
    fuse_opt_free_args(&args);
    if (!session.se)
        return uvm_fail(err, -ENOMEM, "libfuse refused the session");
    int fd = mount_device(cfg, err);
    if (fd < 0)
        return fd;
    /* libfuse takes over a descriptor that is mounted already when it is named like this. */
    snprintf(name, sizeof(name), "/dev/fd/%d", fd);
    if (fuse_session_mount(session.se, name)) {
        close(fd);
        return uvm_fail(err, -EINVAL, "libfuse refused the descriptor of the mount");
    }
    return 0;
}

/* The first request is INIT: answer it here, so that the mount is in service when start returns. */
static int answer_init(struct uvm_error *err)
{
    struct fuse_buf buf = {0};
    int rc;

    do
        rc = fuse_session_receive_buf(session.se, &buf);
    while (rc == -EINTR);
    if (rc > 0)
        fuse_session_process_buf(session.se, &buf);
    free(buf.mem);
    if (rc <= 0)
        return uvm_fail(err, rc < 0 ? rc : -ENODEV, "the kernel ended the session before it began");
    return 0;
}

int uvm_session_init(unsigned threads, struct uvm_error *err)
{
    int rc = 0;
    unsigned ncpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);

    for (unsigned i = 0; i < threads && !rc; i++) {
        char name[16];
        snprintf(name, sizeof(name), "uvm-loop-%u", i % 1000);
        rc = uvm_loop_new(name, (int)(i % ncpus), &session.loops[i], err);
        if (!rc) {
            session.nloops++;
            uvm_loop_register(session.loops[i], uvm_pagermap_base(), uvm_pagermap_size());
        }
    }
    if (rc)
        uvm_session_fini();
    return rc;
}

void uvm_session_fini(void)
{
    for (unsigned i = 0; i < session.nloops; i++) {
        uvm_loop_free(session.loops[i]);
        session.loops[i] = NULL;
    }
    session.nloops = 0;
}

int uvm_session_start(const struct uvm_session_config *cfg, struct uvm_error *err)
{
    snprintf(session.mountpoint, sizeof(session.mountpoint), "%s", cfg->mountpoint);
    session.channel = &uvm_channel_dev;
    int rc = make_session(cfg, err);
    if (!rc)
        rc = answer_init(err);
    if (!rc)
        rc = session.channel->start(session.se, session.loops, session.nloops, cfg->ended, err);
    while (session.running < session.nloops && !rc) {
        rc = uvm_loop_start(session.loops[session.running]);
        if (rc)
            uvm_fail(err, rc, "cannot start a loop: %s", strerror(-rc));
        else
            session.running++;
    }
    if (rc)
        uvm_session_stop();
    return rc;
}

int uvm_session_unmount(bool detach)
{
    int status;

    if (!session.mounted)
        return 0;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(umount2(session.mountpoint, detach ? MNT_DETACH : 0) ? errno : 0);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    /* EINVAL: it is no mount point any more; somebody else has unmounted it. */
    if (code && code != EINVAL)
        return -code;
    session.mounted = false;
    return 0;
}

bool uvm_session_mounted(void)
{
    unsigned major, minor;
    return uvm_mount_device(session.mountpoint, &major, &minor) == 0;
}

/* Requests in hand need page-out and time, nothing of clients; the bound is for a broken disk. */
static void let_requests_end(void)
{
    for (unsigned waited = 0; uvm_file_requests && waited < STOP_WAIT_MS; waited += STOP_STEP_MS)
        usleep(STOP_STEP_MS * 1000);
    if (uvm_file_requests)
        log_warning("%u requests have not ended after %u s: their clients get an error",
                    uvm_file_requests, STOP_WAIT_MS / 1000);
}

static int abandon(const struct uvm_fs *fs, void *arg)
{
    if (fs->abandon)
        fs->abandon();
    return 0;
}

void uvm_session_stop(void)
{
    if (session.mounted)
        uvm_session_unmount(true);
    if (session.running) {
        session.channel->quiesce();
        let_requests_end();
    }
    for (unsigned i = 0; i < session.running; i++)
        uvm_loop_stop(session.loops[i]);
    for (unsigned i = 0; i < session.running; i++)
        uvm_loop_join(session.loops[i]);
    session.running = 0;
    uvm_fs_foreach(abandon, NULL);
    session.channel->stop();
    if (session.se)
        fuse_session_destroy(session.se);
    session.se = NULL;
}

int uvm_session_revoke(uint64_t ino, uint64_t off, uint64_t len)
{
    return fuse_lowlevel_notify_inval_inode(session.se, ino, (off_t)off, (off_t)len);
}

void uvm_session_settle(void)
{
    session.channel->settle();
}

const char *uvm_session_transport(void)
{
    return session.channel ? session.channel->name : "none";
}
