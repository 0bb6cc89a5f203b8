/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One process of a stress run: random operations on files of its own, and looks at those of others.
 *
 * What it does to its own files follows from the seed, its number and nothing else, so operation n of
 * process p is the same in every run with the same -s and -p. Whom it looks at, and when, comes from
 * another sequence, because what it finds there depends on how far the others are. (In a full run, what
 * is refused depends on the others too, so only the single operations can be had again.)
 */
#ifndef UVMD_TESTS_WORKER_H
#define UVMD_TESTS_WORKER_H

#include "model.h"

struct worker {
    struct model *model;
    const char *dir, *vnode; /* anon/ and vnode/ */
    unsigned process;
    uint64_t operations; /* 0: until the model says stop */
    bool full;  /* there is not room enough for all: refusals are right, for holes in anon/ */
    bool leave; /* leave files dirty at the end */
};

/* worker_main: => struct worker; a mismatch fails the process (client_fail) */
void worker_main(void *arg);

#endif
