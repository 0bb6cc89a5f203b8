/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's directory: who has it, and what it has room for.
 *
 * Whoever holds an flock on the directory has the store, and is the only one to wipe or remove it;
 * the lock ends with the process, however that ends.
 *
 *      mkdir --> open --> flock --> still the one of that name? --- no: removed meanwhile, again
 *                           |                |
 *                           held: -EBUSY     yes: ours
 */
#include "tree_db.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOCK_TRIES 10 /* each time somebody has removed it; a link that leads nowhere ends here */

static const char *const tree_files[] = {"data.mdb", "lock.mdb"};

/* Open the directory of this name and lock it. => a descriptor; -ENOENT: not there (any more);
 * -EBUSY: somebody has it; -errno */
static int lock_dir(const char *dir)
{
    CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat locked, named;

    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0)
        if (errno != EINTR)
            return errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (fstat(fd, &locked) < 0 || stat(dir, &named) < 0)
        return -errno;
    if (locked.st_dev != named.st_dev || locked.st_ino != named.st_ino)
        return -ENOENT;
    return UVM_TAKE_FD(fd);
}

int tree_dir_open(const char *dir, struct uvm_error *err)
{
    int fd = -ENOENT;

    for (unsigned i = 0; i < LOCK_TRIES && fd == -ENOENT; i++) {
        if (mkdir(dir, 0700) < 0 && errno != EEXIST)
            return uvm_fail(err, -errno, "tree: cannot make %s: %s", dir, strerror(errno));
        fd = lock_dir(dir);
    }
    if (fd == -EBUSY)
        return uvm_fail(err, fd,
                        "tree: %s: another uvmd has it; give this one its own with statedir=, or "
                        "a socket= of another name",
                        dir);
    return fd < 0 ? uvm_fail(err, fd, "tree: cannot lock %s: %s", dir, strerror(-fd)) : fd;
}

int tree_dir_wipe(int fd)
{
    for (size_t i = 0; i < sizeof(tree_files) / sizeof(tree_files[0]); i++)
        if (unlinkat(fd, tree_files[i], 0) < 0 && errno != ENOENT)
            return -errno;
    return 0;
}

uint64_t tree_dir_room(int fd)
{
    struct statvfs fs;

    /* A tmpfs without a bound says that it has no blocks at all. */
    if (fstatvfs(fd, &fs) < 0 || !fs.f_blocks)
        return UINT64_MAX;
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

int uvm_tree_remove(const char *dir)
{
    int fd = lock_dir(dir);

    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
    int error = tree_dir_wipe(fd);
    if (!error && rmdir(dir) < 0 && errno != ENOENT)
        error = -errno;
    close(fd);
    return error;
}
