/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sources on file systems of a test's own, made in a file and mounted through a loop device:
 *
 *      DIR/image --> /dev/loopN --> DIR/src, in the mount name space of the body and its daemon
 *
 * So nothing is left of them when the body and the daemon have ended, however they did. A tool or a file
 * system that is missing fails the test: scripts/deps installs them.
 */
#ifndef UVMD_TESTS_LOOPFS_H
#define UVMD_TESTS_LOOPFS_H

#include "vnode_rig.h"

struct loopfs {
    const char *type;    /* of mount(2) */
    const char *mkfs;    /* a command that is given the device; NULL: no device, as for a tmpfs */
    const char *data;    /* options of mount(2) */
    unsigned long mib;   /* of the image */
    unsigned sector;     /* bytes; 0: 512 */
    unsigned long flags; /* of mount(2) */
};

/* loopfs_mount: mount one on DIR/src. => in a body, once; before rig_start */
void loopfs_mount(struct mount *m, const struct loopfs *fs);

/* loopfs_unmount: take it away. => fails the test if anybody has it in use; loopfs_again: what was in
 * it is at DIR/src again */
void loopfs_unmount(struct mount *m);
void loopfs_again(struct mount *m, const struct loopfs *fs);

/* loopfs_die: the file system fails every request from now on. => ext4, xfs */
void loopfs_die(struct mount *m);

/* shell: run a script, with V, A, S and D for DIR/mnt/vnode, DIR/mnt/anon, DIR/src and DIR. It ends at the
 * first command that fails; "no COMMAND" fails if the command does not. => fails the test, with the end
 * of what the script printed, if that fails */
void shell(const struct mount *m, const char *script);

#endif
