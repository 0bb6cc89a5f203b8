/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the harness: what its two files share.
 */
#ifndef UVMD_TESTS_HARNESS_IMPL_H
#define UVMD_TESTS_HARNESS_IMPL_H

#include <stdbool.h>
#include <sys/types.h>

/* harness_rmtree: remove a directory with what is in it, on this file system only. */
void harness_rmtree(const char *path);

/* harness_group_ends: wait until all processes of a group have ended. => false: some have not */
bool harness_group_ends(pid_t group, unsigned seconds);

/* harness_stacks: print where in the kernel the processes of a group are; harness_threads: the
 * threads of a process. => stderr */
void harness_stacks(pid_t group);
void harness_threads(pid_t pid);

#endif
