/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model is one shared mapping made before the first fork, and each file's shadow another, which
 * takes memory only where something was written. The last operations of a file are kept in a ring and
 * printed with a mismatch, for a byte alone does not tell how it came about.
 */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>

const char *const model_op_names[OP_COUNT] = {
    "create", "unlink", "rename", "reopen", "truncate", "punch", "zero", "pwrite",
    "store",  "append", "pread",  "load",   "direct",   "fsync", "drop",
};

static void *shared(size_t len)
{
    void *p =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("memory for the model");
        exit(EXIT_FAILURE);
    }
    return p;
}

struct model *model_new(uint64_t seed, unsigned nprocesses, unsigned nfiles, uint64_t max_size)
{
    size_t n = (size_t)nprocesses * nfiles;
    struct model *model = shared(sizeof(*model) + n * sizeof(model->files[0]));

    model->seed = seed;
    model->nprocesses = nprocesses;
    model->nfiles = nfiles;
    model->max_size = max_size;
    for (size_t i = 0; i < n; i++) {
        model->files[i].process = (unsigned)(i / nfiles);
        model->files[i].shadow = shared(max_size);
    }
    return model;
}

struct model_file *model_file(struct model *model, unsigned process, unsigned file)
{
    return &model->files[process * model->nfiles + file];
}

bool model_vnode(const struct model *model, const struct model_file *f)
{
    return (size_t)(f - model->files) % model->nfiles < model->nvnode;
}

char *model_name(const struct model *model, const struct model_file *f, char buf[NAME_MAX + 1])
{
    snprintf(buf, NAME_MAX + 1, "p%u-f%zu%s", f->process,
             (size_t)(f - model->files) % model->nfiles, f->name ? "-b" : "");
    return buf;
}

void model_forget(struct model *model, unsigned process)
{
    for (unsigned i = 0; i < model->nfiles; i++) {
        struct model_file *f = model_file(model, process, i);
        madvise(f->shadow, model->max_size, MADV_REMOVE);
        *f = (struct model_file){.process = process, .shadow = f->shadow};
    }
}

void model_begin(struct model_file *f, uint64_t number, enum model_op op, uint64_t off,
                 uint64_t len)
{
    f->events[f->nevents++ % MODEL_HISTORY] = (struct model_event){number, off, len, op};
    atomic_fetch_add(&f->sequence, 1);
}

void model_end(struct model_file *f)
{
    atomic_fetch_add(&f->sequence, 1);
}

void model_resize(struct model_file *f, uint64_t size)
{
    uint64_t old = f->size;

    if (size < old)
        memset(f->shadow + size, 0, old - size);
    f->size = size;
}

size_t model_differ(const struct model_file *f, const void *found, uint64_t off, size_t len)
{
    const unsigned char *a = f->shadow + off, *b = found;
    size_t i = 0;

    if (memcmp(a, b, len) == 0)
        return len;
    while (a[i] == b[i])
        i++;
    return i;
}

static void print_bytes(const char *what, const unsigned char *p, size_t n)
{
    fprintf(stderr, "  %s", what);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %02x", p[i]);
    fprintf(stderr, "\n");
}

bool model_compare(const struct model *model, const struct model_file *f, uint64_t number,
                   const void *found, uint64_t off, size_t len, const char *how)
{
    size_t i = model_differ(f, found, off, len), wrong = 0;
    const unsigned char *b = found;

    if (i == len)
        return true;
    for (size_t k = i; k < len; k++)
        wrong += b[k] != f->shadow[off + k];
    fprintf(stderr,
            "MISMATCH: -s %" PRIu64 " -p %u: operation %" PRIu64
            " of process %u, file %zu, %s of [%" PRIu64 ", %" PRIu64 "), size %" PRIu64
            ": first at byte %" PRIu64 " (page %" PRIu64 "), %zu wrong\n",
            model->seed, model->nprocesses, number, f->process,
            (size_t)(f - model->files) % model->nfiles, how, off, off + len, (uint64_t)f->size,
            off + i, (off + i) / 4096, wrong);
    print_bytes("expected", f->shadow + off + i, MIN(len - i, 16));
    print_bytes("found   ", b + i, MIN(len - i, 16));
    uint64_t n = MIN(f->nevents, MODEL_HISTORY);
    for (uint64_t k = f->nevents - n; k < f->nevents; k++) {
        const struct model_event *ev = &f->events[k % MODEL_HISTORY];
        fprintf(stderr, "  %8" PRIu64 " %-8s [%" PRIu64 ", %" PRIu64 ")\n", ev->number,
                model_op_names[ev->op], ev->off, ev->off + ev->len);
    }
    return false;
}
