/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the worker: its state, and the operations on one file of its own.
 *
 *      worker.c        which operation, where, on which file; looking at others
 *      worker_ops.c    doing it, in the file and in the model
 *
 * In a full run (struct worker) room runs out: then a write may be short, and a page that is a hole may be
 * refused, stored to or read. A page that holds data never is.
 */
#ifndef UVMD_TESTS_WORKER_IMPL_H
#define UVMD_TESTS_WORKER_IMPL_H

#include <limits.h>

#include "worker.h"

#define LEN_MAX (256u << 10) /* bytes of one operation */

struct mine {
    struct model_file *f;
    int fd;    /* -1: it does not exist */
    char *map; /* max_size bytes, shared */
};

struct worker_state {
    const struct worker *w;
    struct model *model;
    struct mine *mine;
    char *buf; /* LEN_MAX bytes, aligned */
    uint64_t random, looks;
    uint64_t number; /* of the operation */
};

extern struct worker_state worker_me;

/* worker_below: a number below n from the replayable sequence; 0 for 0. */
uint64_t worker_below(uint64_t n);

/* worker_name: the path of a file. => buf */
char *worker_name(const struct model_file *f, char buf[PATH_MAX]);

/* worker_second_look: after a mismatch: what do the kernel's cache and uvmd itself hold there? => stderr */
void worker_second_look(const struct model_file *f, uint64_t off);

void worker_create(struct mine *mine);

/* worker_operate: one operation on a file that exists, in the file and in the model. */
void worker_operate(struct mine *mine, enum model_op op, uint64_t off, size_t len);

/* worker_final: every byte of the file, from behind the kernel's cache. */
void worker_final(struct mine *mine);

/* worker_leave: store to the file at some places, and leave it so. */
void worker_leave(struct mine *mine);

#endif
