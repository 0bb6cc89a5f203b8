/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon with a source: DIR/src, shown as DIR/mnt/vnode. Cases start it themselves (unmounted), since
 * the source must be there first.
 */
#ifndef UVMD_TESTS_VNODE_RIG_H
#define UVMD_TESTS_VNODE_RIG_H

#include "content.h"
#include "harness.h"

/* rig_start: make the source if need be, and start uvmd on it; rig_stop: stop it, without trouble.
 * => more: options, or NULL */
void rig_start(struct mount *m, const char *more);
void rig_stop(struct mount *m);

/* rig_kill: SIGKILL, and take the dead mount away. */
void rig_kill(struct mount *m);

/* rig_src, rig_mnt: the path of a file on the source, and through the mount; in a few buffers that take
 * turns. */
const char *rig_src(const struct mount *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *rig_mnt(const struct mount *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* rig_put: make or replace a file's bytes by open, write, close; rig_same: has a file these bytes? */
void rig_put(const char *path, const char *text);
bool rig_same(const char *path, const char *text);

/* rig_as: run fn as another user, with one more group. */
void rig_as(uid_t uid, gid_t gid, gid_t extra, void (*fn)(void *arg), void *arg);

#endif
