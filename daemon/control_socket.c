/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket as a name in the file system.
 *
 * Two daemons that start on the same path at the same time are kept apart by a lock on the
 * directory, held from the test whether anybody answers until the new socket listens:
 *
 *      lock directory --- connect? --- yes: another uvmd ---> error
 *                             |
 *                             +------- refused: stale ------> unlink, bind, listen, unlock
 */
#include "control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "config.h"
#include "util.h"

#define BACKLOG 32

/* Make the directory of the socket and lock it. => a descriptor, or -errno with err */
static int lock_directory(struct uvm_control_socket *sock, const char *path, struct uvm_error *err)
{
    char dir[UVM_SOCKET_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = slash ? (int)(slash - path) : 0;

    snprintf(dir, sizeof(dir), "%.*s", len ? len : 1, slash ? path : ".");
    sock->made_dir = mkdir(dir, 0755) == 0;
    if (!sock->made_dir && errno != EEXIST)
        return uvm_fail(err, -errno, "control socket directory %s: %s", dir, strerror(errno));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return uvm_fail(err, -errno, "control socket directory %s: %s", dir, strerror(errno));
    if (sock->made_dir)
        (void)fchmod(fd, 0755); /* whatever the umask is; narrower still works for root */
    while (flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR) {
            int error = -errno;
            close(fd);
            return uvm_fail(err, error, "control socket directory %s: %s", dir, strerror(-error));
        }
    }
    return fd;
}

/* A socket of a daemon that died is removed; everything else that is in the way stays. */
static int clear_stale(struct uvm_control_socket *sock, const char *path, struct uvm_error *err)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        if (errno == ENOENT)
            return 0;
        return uvm_fail(err, -errno, "control socket %s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode))
        return uvm_fail(err, -EEXIST, "control socket %s: something else has that name", path);
    int fd CLEANUP_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uvm_fail(err, -errno, "control socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&sock->addr, sizeof(sock->addr)) == 0 || errno == EAGAIN)
        return uvm_fail(err, -EADDRINUSE,
                        "control socket %s: another uvmd answers there; give this one its own "
                        "with socket=",
                        path);
    if (errno != ECONNREFUSED)
        return uvm_fail(err, -errno, "control socket %s: %s", path, strerror(errno));
    if (unlink(path) < 0)
        return uvm_fail(err, -errno, "control socket %s: %s", path, strerror(errno));
    return 0;
}

/* => 0 with sock->fd, or -errno */
static int make_socket(struct uvm_control_socket *sock, const char *path, struct uvm_error *err)
{
    int dir CLEANUP_CLOSE = lock_directory(sock, path, err);
    if (dir < 0)
        return dir;
    int error = clear_stale(sock, path, err);
    if (error)
        return error;
    int fd CLEANUP_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* The name in the file system takes the descriptor's mode, so there is no moment at which
     * others could connect. */
    if (fd < 0 || fchmod(fd, 0600) < 0)
        return uvm_fail(err, -errno, "control socket %s: %s", path, strerror(errno));
    if (bind(fd, (struct sockaddr *)&sock->addr, sizeof(sock->addr)) < 0)
        return uvm_fail(err, -errno, "control socket %s: %s", path, strerror(errno));
    struct stat st;
    if (listen(fd, BACKLOG) < 0 || lstat(path, &st) < 0) {
        error = -errno;
        unlink(path);
        return uvm_fail(err, error, "control socket %s: %s", path, strerror(-error));
    }
    sock->dev = st.st_dev;
    sock->ino = st.st_ino;
    sock->fd = UVM_TAKE_FD(fd);
    return 0;
}

void uvm_control_socket_remove(struct uvm_control_socket *sock)
{
    const char *path = sock->addr.sun_path;
    struct stat st;

    if (sock->fd >= 0) {
        /* Somebody may have put another one there; while this one listens, no uvmd has. */
        if (lstat(path, &st) == 0 && st.st_dev == sock->dev && st.st_ino == sock->ino)
            unlink(path);
        close(sock->fd);
        sock->fd = -1;
    }
    if (sock->made_dir) {
        char dir[UVM_SOCKET_PATH_MAX];
        const char *slash = strrchr(path, '/');
        snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 0, path);
        rmdir(dir); /* not empty: others use it */
        sock->made_dir = false;
    }
}

int uvm_control_socket_make(struct uvm_control_socket *sock, const char *path,
                            struct uvm_error *err)
{
    memset(sock, 0, sizeof(*sock));
    sock->fd = -1;
    if (strlen(path) >= sizeof(sock->addr.sun_path))
        return uvm_fail(err, -ENAMETOOLONG, "control socket %.300s: too long (1 to %zu bytes)",
                        path, sizeof(sock->addr.sun_path) - 1);
    sock->addr.sun_family = AF_UNIX;
    strcpy(sock->addr.sun_path, path);
    int error = make_socket(sock, path, err);
    if (error)
        uvm_control_socket_remove(sock);
    return error;
}
