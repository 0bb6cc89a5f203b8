/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop device has its clear-on-last-close flag set before it is mounted, so it needs nobody who
 * detaches it; and mounts are made in a name space that dies with the last process in it.
 */
#include "loopfs.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/util.h"

#define SHUTDOWN     _IOR('X', 125, uint32_t) /* ext4 and xfs */
#define SHUTDOWN_NOW 2u                       /* without writing the log */

static const char *image(const struct mount *m)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/image", m->dir);
    return path;
}

/* => an open device, free: someone else may take it first, then the next one is asked for */
static int loop_attach(const struct mount *m, unsigned sector, char *ret_path, size_t size)
{
    int ctl CLEANUP_CLOSE = must_sys(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    int fd CLEANUP_CLOSE = must_sys(open(image(m), O_RDWR | O_CLOEXEC));
    struct loop_config config = {.fd = (uint32_t)fd,
                                 .block_size = sector,
                                 .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO};

    for (int i = 0; i < 100; i++) {
        snprintf(ret_path, size, "/dev/loop%d", must_sys(ioctl(ctl, LOOP_CTL_GET_FREE)));
        int dev = must_sys(open(ret_path, O_RDWR | O_CLOEXEC));
        if (ioctl(dev, LOOP_CONFIGURE, &config) == 0)
            return dev;
        must_msg(errno == EBUSY, "%s: %s", ret_path, strerror(errno));
        close(dev);
    }
    client_fail(__FILE__, __LINE__, "no loop device");
}

static void attach_and_mount(struct mount *m, const struct loopfs *fs, bool make)
{
    char dev[64] = "none", cmd[500];
    int fd CLEANUP_CLOSE = -1;

    if (fs->mkfs)
        fd = loop_attach(m, fs->sector, dev, sizeof(dev));
    if (fs->mkfs && make) {
        snprintf(cmd, sizeof(cmd), "%s %s", fs->mkfs, dev);
        shell(m, cmd);
    }
    must_msg(mount(dev, rig_src(m, "%s", ""), fs->type, fs->flags, fs->data) == 0, "%s: %s",
             fs->type, strerror(errno));
}

void loopfs_mount(struct mount *m, const struct loopfs *fs)
{
    must_sys(unshare(CLONE_NEWNS));
    must_sys(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    must_sys(mkdir(rig_src(m, "%s", ""), 0755));
    if (fs->mkfs) {
        int fd CLEANUP_CLOSE = must_sys(open(image(m), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        must_sys(ftruncate(fd, (off_t)(fs->mib * MIB)));
    }
    attach_and_mount(m, fs, true);
    must_sys(chmod(rig_src(m, "%s", ""), 0755));
}

void loopfs_unmount(struct mount *m)
{
    must_sys(umount2(rig_src(m, "%s", ""), 0));
}

void loopfs_again(struct mount *m, const struct loopfs *fs)
{
    attach_and_mount(m, fs, false);
}

void loopfs_die(struct mount *m)
{
    int fd CLEANUP_CLOSE = must_sys(open(rig_src(m, "%s", ""), O_RDONLY | O_CLOEXEC));
    must_sys(ioctl(fd, SHUTDOWN, &(uint32_t){SHUTDOWN_NOW}));
}

void shell(const struct mount *m, const char *script)
{
    static const char no[] = "no() { if \"$@\"; then return 1; fi; };"; /* -e lets a ! pass */
    char out[PATH_MAX], text[8000];

    must_int(snprintf(text, sizeof(text), "%s%s", no, script), <, sizeof(text));
    snprintf(out, sizeof(out), "%s/script.out", m->dir);
    must_sys(setenv("V", rig_mnt(m, "%s", ""), 1));
    must_sys(setenv("A", m->anon, 1));
    must_sys(setenv("S", rig_src(m, "%s", ""), 1));
    must_sys(setenv("D", m->dir, 1));
    fflush(NULL);
    pid_t pid = must_sys(fork());
    if (!pid) {
        int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
            _exit(126);
        execlp("bash", "bash", "-euo", "pipefail", "-c", text, NULL);
        _exit(127);
    }
    int status = client_wait(pid);
    if (!status)
        return;
    int fd CLEANUP_CLOSE = open(out, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n = fd >= 0 ? pread(fd, text, 1500, MAX(0, end - 1500)) : 0;
    text[MAX(n, 0)] = '\0';
    client_fail(__FILE__, __LINE__, "a script fails (%#x): %.100s...: %s", (unsigned)status, script,
                text);
}
