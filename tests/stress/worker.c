/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker draws an operation by its weight, then a place. Two sequences of random numbers: one for what
 * it does to its own files, drawn in the same order in every run whatever the others do; one for the
 * looks at others' files, whose outcome depends on time.
 */
#include "worker_impl.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

#include "client.h"
#include "content.h"

#define me          worker_me
#define LOOK_ONE_IN 12 /* operations: then somebody else's file is looked at */

/* How often each operation is chosen, out of their sum. */
static const unsigned weights[OP_COUNT] = {
    [OP_UNLINK] = 3, [OP_RENAME] = 15,  [OP_REOPEN] = 20, [OP_TRUNCATE] = 12, [OP_PUNCH] = 25,
    [OP_ZERO] = 10,  [OP_PWRITE] = 170, [OP_STORE] = 170, [OP_APPEND] = 30,   [OP_PREAD] = 160,
    [OP_LOAD] = 160, [OP_DIRECT] = 40,  [OP_FSYNC] = 30,  [OP_DROP] = 120,
};

static enum model_op choose(void)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < OP_COUNT; i++)
        sum += weights[i];
    uint64_t at = worker_below(sum);
    for (unsigned i = 0; i < OP_COUNT; i++) {
        if (at < weights[i])
            return (enum model_op)i;
        at -= weights[i];
    }
    return OP_PREAD;
}

/* A place: anywhere or near the end, of any alignment or of pages, short more often than long. */
static void place(const struct model_file *f, uint64_t *ret_off, size_t *ret_len)
{
    uint64_t max = me.model->max_size, size = f->size;
    uint64_t off = worker_below(worker_below(4) ? max : MIN(size + 1, max));
    uint64_t len = 1 + worker_below(worker_below(worker_below(4) ? 2 * PAGE : LEN_MAX));

    if (worker_below(3) == 0) {
        off &= ~(uint64_t)(PAGE - 1);
        len = (len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    }
    len = MIN(len, LEN_MAX);
    *ret_off = off;
    *ret_len = (size_t)MIN(len, max - off);
}

static void operate(void)
{
    struct mine *mine = &me.mine[worker_below(me.model->nfiles)];
    enum model_op op = choose();
    uint64_t off;
    size_t len;

    if (mine->fd < 0) {
        worker_create(mine);
        return;
    }
    place(mine->f, &off, &len);
    if (op == OP_APPEND)
        off = MIN(mine->f->size, me.model->max_size - len);
    model_begin(mine->f, me.number, op, off, len);
    worker_operate(mine, op, off, len);
    model_end(mine->f);
}

/* Read a stretch of a file by its name. => what came, and *how */
static size_t look(const char *path, uint64_t off, size_t len, const char **how)
{
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        *how = NULL;
        return 0;
    }
    if (content_random(&me.looks) % 2) {
        *how = "foreign read";
        n = file_pread(fd, me.buf, len, (off_t)off);
    } else {
        *how = "foreign load";
        char *p = file_map(fd, 0, me.model->max_size, PROT_READ);
        n = client_copy(me.buf, p + off, len) ? len : 0;
        must_sys(munmap(p, me.model->max_size));
    }
    if (content_random(&me.looks) % 4 == 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return n;
}

/* Look at somebody's file. It counts only if its owner did nothing meanwhile. */
static void look_at_others(void)
{
    struct model *model = me.model;
    uint64_t which = content_random(&me.looks) % (model->nprocesses * model->nfiles);
    struct model_file *f = &model->files[which];
    uint64_t sequence = atomic_load(&f->sequence), size = f->size;
    char path[PATH_MAX];
    const char *how;

    if (sequence % 2 || !f->exists || !size)
        return;
    uint64_t off = content_random(&me.looks) % size;
    size_t len = 1 + content_random(&me.looks) % (16 * PAGE);
    len = MIN(len, size - off);
    size_t n = look(worker_name(f, path), off, len, &how);
    if (!how)
        return;
    bool wrong = n != len || model_differ(f, me.buf, off, n) != n;
    atomic_thread_fence(memory_order_seq_cst);
    if (!wrong || atomic_load(&f->sequence) != sequence) {
        atomic_fetch_add(&model->foreign_checks, !wrong);
        return;
    }
    if (!model_compare(model, f, me.number, me.buf, off, n, how))
        worker_second_look(f, off + model_differ(f, me.buf, off, n));
    atomic_store(&model->stop, true);
    must_msg(false,
             "process %u: %s of [%" PRIu64 ", +%zu) of process %u's file %" PRIu64
             " gives %zu bytes, or wrong ones",
             me.w->process, how, off, len, f->process, which % model->nfiles, n);
}

void worker_main(void *arg)
{
    me.w = arg;
    me.model = me.w->model;
    me.random = me.model->seed * 1000003 + me.w->process;
    me.looks = ~me.random;
    me.mine = calloc(me.model->nfiles, sizeof(*me.mine));
    me.buf = aligned_alloc(PAGE, LEN_MAX);
    must(me.mine && me.buf);
    for (unsigned i = 0; i < me.model->nfiles; i++)
        me.mine[i] = (struct mine){.f = model_file(me.model, me.w->process, i), .fd = -1};
    while (!atomic_load(&me.model->stop) && (!me.w->operations || me.number < me.w->operations)) {
        operate();
        if (content_random(&me.looks) % LOOK_ONE_IN == 0)
            look_at_others();
        me.number++;
        atomic_fetch_add(&me.model->operations, 1);
    }
    for (unsigned i = 0; i < me.model->nfiles; i++)
        if (me.mine[i].fd >= 0)
            worker_final(&me.mine[i]);
    for (unsigned i = 0; i < me.model->nvnode && me.w->leave; i++)
        if (me.mine[i].fd >= 0)
            worker_leave(&me.mine[i]);
}
