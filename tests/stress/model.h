/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model of a stress run: what every byte of every file has to be, in memory that all processes
 * share.
 *
 *      model --- file 0 ... file n-1        file = size, sequence, history, shadow bytes
 *
 * A file belongs to one process, which alone changes it and its model. Others only look: the sequence is odd
 * while an operation is under way and grows with each, so a comparison counts only if it was even and
 * the same before and after (a seqlock). Beyond the size, the shadow is zero.
 */
#ifndef UVMD_TESTS_MODEL_H
#define UVMD_TESTS_MODEL_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_HISTORY 24 /* operations remembered of each file */

enum model_op {
    OP_CREATE,
    OP_UNLINK,
    OP_RENAME,
    OP_REOPEN,
    OP_TRUNCATE,
    OP_PUNCH,
    OP_ZERO,
    OP_PWRITE,
    OP_STORE,
    OP_APPEND,
    OP_PREAD,
    OP_LOAD,
    OP_DIRECT,
    OP_FSYNC,
    OP_DROP,
    OP_COUNT
};

extern const char *const model_op_names[OP_COUNT];

struct model_event {
    uint64_t number; /* of the process's operation */
    uint64_t off, len;
    uint32_t op;
};

struct model_file {
    _Atomic uint64_t sequence;
    _Atomic uint64_t size;
    _Atomic bool exists;
    unsigned name; /* it is renamed to and fro: the current one */
    unsigned process;
    uint64_t nevents;
    struct model_event events[MODEL_HISTORY];
    unsigned char *shadow; /* max_size bytes */
};

struct model {
    unsigned nprocesses, nfiles; /* nfiles of each process */
    unsigned nvnode;             /* the first of them: in vnode/ */
    uint64_t seed, max_size;
    _Atomic bool stop;
    _Atomic uint64_t operations, bytes_checked, foreign_checks, refusals;
    struct model_file files[];
};

/* model_new: => in shared memory, zeroed; every file is absent */
struct model *model_new(uint64_t seed, unsigned nprocesses, unsigned nfiles, uint64_t max_size);

struct model_file *model_file(struct model *model, unsigned process, unsigned file);

/* model_vnode: is it one of those in vnode/? */
bool model_vnode(const struct model *model, const struct model_file *f);

/* model_name: its current name in its directory. => buf */
char *model_name(const struct model *model, const struct model_file *f, char buf[NAME_MAX + 1]);

/* model_forget: all files of a process are absent again. */
void model_forget(struct model *model, unsigned process);

/* model_begin / model_end: an operation on a file, by its owner. => begin notes it in the history */
void model_begin(struct model_file *f, uint64_t number, enum model_op op, uint64_t off,
                 uint64_t len);
void model_end(struct model_file *f);

/* model_resize: the size changes; what is cut off is zero when it comes back. */
void model_resize(struct model_file *f, uint64_t size);

/*
 * model_compare: whether bytes that were read are those of the model; else print all there is to know
 * (seed, operation, file, offset, expected, found, history) and return false.
 */
bool model_compare(const struct model *model, const struct model_file *f, uint64_t number,
                   const void *found, uint64_t off, size_t len, const char *how);

/* model_differ: => the first byte that differs, or len */
size_t model_differ(const struct model_file *f, const void *found, uint64_t off, size_t len);

#endif
