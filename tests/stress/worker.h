/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One process of a stress run: random operations on files of its own, and looks at those of others.
 *
 * What it does to its own files follows from the seed, its number and nothing else, so operation n of
 * process p is the same in every run with the same -s and -p. Whom it looks at, and when, comes from
 * another sequence, because what it finds there depends on how far the others are.
 */
#ifndef UVMD_TESTS_WORKER_H
#define UVMD_TESTS_WORKER_H

#include "model.h"

struct worker {
    struct model *model;
    const char *dir;
    unsigned process;
    uint64_t operations; /* 0: until the model says stop */
};

/* worker_main: => struct worker; a mismatch fails the process (client_fail) */
void worker_main(void *arg);

#endif
