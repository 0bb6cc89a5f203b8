/* SPDX-License-Identifier: BSD-2-Clause */
#include "worker.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "content.h"

#define LEN_MAX (256u << 10)

/* How often each operation is chosen, out of their sum. */
static const unsigned weights[OP_COUNT] = {
    [OP_UNLINK] = 3,   [OP_RENAME] = 15,  [OP_REOPEN] = 20, [OP_TRUNCATE] = 12, [OP_PUNCH] = 25,
    [OP_ZERO] = 10,    [OP_PWRITE] = 170, [OP_STORE] = 170, [OP_APPEND] = 30,   [OP_PREAD] = 160,
    [OP_LOAD] = 160,   [OP_DIRECT] = 40,  [OP_FSYNC] = 30,  [OP_DROP] = 120,
};

struct mine {
    struct model_file *f;
    int fd;    /* -1: it does not exist */
    char *map; /* max_size bytes, shared */
};

static struct {
    const struct worker *w;
    struct model *model;
    struct mine *mine;
    char *buf; /* LEN_MAX bytes, aligned */
    uint64_t random, looks;
    uint64_t number; /* of the operation */
} me;

static uint64_t below(uint64_t n)
{
    return n ? content_random(&me.random) % n : 0;
}

static char *name_of(const struct model_file *f, char buf[PATH_MAX])
{
    size_t i = (size_t)(f - me.model->files);
    snprintf(buf, PATH_MAX, "%s/p%u-f%zu%s", me.w->dir, f->process, i % me.model->nfiles,
             f->name ? "-b" : "");
    return buf;
}

static void map(struct mine *mine)
{
    mine->map = file_map(mine->fd, 0, me.model->max_size, PROT_READ | PROT_WRITE);
}

static void unmap(struct mine *mine)
{
    must_sys(munmap(mine->map, me.model->max_size));
}

static void compare(const struct mine *mine, const void *found, uint64_t off, size_t len,
                    const char *how)
{
    if (!model_compare(me.model, mine->f, me.number, found, off, len, how)) {
        atomic_store(&me.model->stop, true);
        must_msg(false, "mismatch, see above");
    }
    atomic_fetch_add(&me.model->bytes_checked, len);
}

static void random_bytes(void *dst, size_t len)
{
    uint64_t word;
    for (size_t i = 0; i < len; i += sizeof(word)) {
        word = content_random(&me.random);
        memcpy((char *)dst + i, &word, MIN(len - i, sizeof(word)));
    }
}

static void do_create(struct mine *mine)
{
    char path[PATH_MAX];

    model_begin(mine->f, me.number, OP_CREATE, 0, 0);
    mine->fd = file_open(name_of(mine->f, path), O_RDWR | O_CREAT | O_EXCL);
    map(mine);
    mine->f->exists = true;
    model_end(mine->f);
}

static void do_unlink(struct mine *mine)
{
    char path[PATH_MAX];
    bool before = below(2);

    if (before)
        unmap(mine);
    must_sys(unlink(name_of(mine->f, path)));
    if (!before) { /* what is mapped lives on */
        uint64_t len = MIN(mine->f->size, LEN_MAX);
        compare(mine, mine->map, 0, len, "load of the unlinked file");
        unmap(mine);
    }
    must_sys(close(mine->fd));
    mine->fd = -1;
    mine->f->exists = false;
    model_resize(mine->f, 0);
}

static void do_rename(struct mine *mine)
{
    char from[PATH_MAX], to[PATH_MAX];

    name_of(mine->f, from);
    mine->f->name ^= 1;
    must_sys(rename(from, name_of(mine->f, to)));
}

static void do_reopen(struct mine *mine)
{
    char path[PATH_MAX];

    unmap(mine);
    must_sys(close(mine->fd));
    mine->fd = file_open(name_of(mine->f, path), O_RDWR);
    map(mine);
}

static void do_zero(struct mine *mine, int mode, uint64_t off, uint64_t len)
{
    struct model_file *f = mine->f;

    if (fallocate(mine->fd, mode, (off_t)off, (off_t)len)) {
        /* some file systems that a run may be on know no zero range */
        must_msg(errno == EOPNOTSUPP && (mode & FALLOC_FL_ZERO_RANGE), "fallocate: %s",
                 strerror(errno));
        return;
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > f->size)
        model_resize(f, off + len);
    if (off < f->size)
        memset(f->shadow + off, 0, MIN(len, f->size - off));
}

static void do_pwrite(struct mine *mine, int fd, uint64_t off, size_t len)
{
    random_bytes(me.buf, len);
    file_pwrite(fd, me.buf, len, (off_t)off);
    if (off + len > mine->f->size)
        model_resize(mine->f, off + len);
    memcpy(mine->f->shadow + off, me.buf, len);
}

static void do_store(struct mine *mine, uint64_t off, size_t len)
{
    if (off >= mine->f->size)
        return;
    len = MIN(len, mine->f->size - off);
    random_bytes(me.buf, len);
    memcpy(mine->map + off, me.buf, len);
    memcpy(mine->f->shadow + off, me.buf, len);
}

static void do_pread(struct mine *mine, int fd, uint64_t off, size_t len, const char *how)
{
    uint64_t size = mine->f->size;
    size_t want = off < size ? MIN(len, size - off) : 0;
    size_t n = file_pread(fd, me.buf, len, (off_t)off);

    must_msg(n == want, "-s %" PRIu64 " process %u operation %" PRIu64 ": %s of %zu at %" PRIu64
             " gives %zu, want %zu", me.model->seed, me.w->process, me.number, how, len, off, n, want);
    compare(mine, me.buf, off, n, how);
}

static void do_direct(struct mine *mine, uint64_t off, size_t len)
{
    char path[PATH_MAX];
    int fd = open(name_of(mine->f, path), O_RDWR | O_CLOEXEC | O_DIRECT);

    off &= ~(uint64_t)(PAGE - 1);
    len = MIN((len + PAGE - 1) & ~(size_t)(PAGE - 1), LEN_MAX);
    len = MIN(len, me.model->max_size - off);
    if (fd < 0) {
        must_int(errno, ==, EINVAL); /* as on file systems without it */
        return;
    }
    if (below(2))
        do_pwrite(mine, fd, off, len);
    else
        do_pread(mine, fd, off, len, "direct read");
    close(fd);
}

static void do_drop(struct mine *mine)
{
    unmap(mine);
    must_sys(fsync(mine->fd));
    must(posix_fadvise(mine->fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    map(mine);
}

/* A place: anywhere or near the end, of any alignment or of pages, short more often than long. */
static void place(const struct model_file *f, uint64_t *ret_off, size_t *ret_len)
{
    uint64_t max = me.model->max_size, off = below(4) ? below(max) : below(MIN(f->size + 1, max));
    uint64_t len = 1 + below(below(4) ? 2 * PAGE : LEN_MAX);

    if (below(3) == 0) {
        off &= ~(uint64_t)(PAGE - 1);
        len = (len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    }
    *ret_off = off;
    *ret_len = (size_t)MIN(MIN(len, LEN_MAX), max - off);
}

static enum model_op choose(void)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < OP_COUNT; i++)
        sum += weights[i];
    uint64_t at = below(sum);
    for (unsigned i = 0; i < OP_COUNT; i++) {
        if (at < weights[i])
            return (enum model_op)i;
        at -= weights[i];
    }
    return OP_PREAD;
}

static void change(struct mine *mine, enum model_op op, uint64_t off, size_t len)
{
    struct model_file *f = mine->f;

    switch (op) {
    case OP_UNLINK:
        do_unlink(mine);
        break;
    case OP_RENAME:
        do_rename(mine);
        break;
    case OP_TRUNCATE:
        must_sys(ftruncate(mine->fd, (off_t)off));
        model_resize(f, off);
        break;
    case OP_PUNCH:
        do_zero(mine, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
        break;
    case OP_ZERO:
        do_zero(mine, FALLOC_FL_ZERO_RANGE | (below(2) ? FALLOC_FL_KEEP_SIZE : 0), off, len);
        break;
    case OP_PWRITE:
    case OP_APPEND:
        do_pwrite(mine, mine->fd, off, len);
        break;
    case OP_STORE:
        do_store(mine, off, len);
        break;
    case OP_DIRECT:
        do_direct(mine, off, len);
        break;
    default:
        break;
    }
}

static void look(struct mine *mine, enum model_op op, uint64_t off, size_t len)
{
    switch (op) {
    case OP_REOPEN:
        do_reopen(mine);
        break;
    case OP_PREAD:
        do_pread(mine, mine->fd, off, len, "read");
        break;
    case OP_LOAD:
        if (off < mine->f->size)
            compare(mine, mine->map + off, off, MIN(len, mine->f->size - off), "load");
        break;
    case OP_FSYNC:
        must_sys(fsync(mine->fd));
        break;
    default:
        do_drop(mine);
        break;
    }
}

static void operate(void)
{
    struct mine *mine = &me.mine[below(me.model->nfiles)];
    enum model_op op = choose();
    uint64_t off;
    size_t len;

    if (mine->fd < 0) {
        do_create(mine);
        return;
    }
    place(mine->f, &off, &len);
    if (op == OP_APPEND)
        off = MIN(mine->f->size, me.model->max_size - len);
    model_begin(mine->f, me.number, op, off, len);
    if (op == OP_REOPEN || op == OP_PREAD || op == OP_LOAD || op == OP_FSYNC || op == OP_DROP)
        look(mine, op, off, len);
    else
        change(mine, op, off, len);
    model_end(mine->f);
}

/* Read a stretch of somebody else's file. It counts only if its owner did nothing meanwhile. */
static void look_at_others(void)
{
    struct model *model = me.model;
    struct model_file *f = &model->files[content_random(&me.looks) %
                                         (model->nprocesses * model->nfiles)];
    uint64_t sequence = atomic_load(&f->sequence), size = f->size;
    char path[PATH_MAX];

    if (sequence % 2 || !f->exists || !size)
        return;
    uint64_t off = content_random(&me.looks) % size;
    size_t len = 1 + content_random(&me.looks) % (16 * PAGE), n = 0;
    len = MIN(len, size - off);
    int fd = open(name_of(f, path), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    const char *how = "foreign read";
    if (content_random(&me.looks) % 2) {
        n = file_pread(fd, me.buf, len, (off_t)off);
    } else {
        how = "foreign load";
        char *p = file_map(fd, 0, model->max_size, PROT_READ);
        n = client_copy(me.buf, p + off, len) ? len : 0;
        must_sys(munmap(p, model->max_size));
    }
    if (content_random(&me.looks) % 4 == 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    bool wrong = n != len || model_differ(f, me.buf, off, n) != n;
    atomic_thread_fence(memory_order_seq_cst);
    if (!wrong || atomic_load(&f->sequence) != sequence) {
        atomic_fetch_add(&model->foreign_checks, !wrong);
        return;
    }
    model_compare(model, f, me.number, me.buf, off, n, how);
    must_msg(false, "process %u: %s of [%" PRIu64 ", +%zu) of process %u's file gives %zu bytes or "
             "wrong ones", me.w->process, how, off, len, f->process, n);
}

/* Every byte of every file of one's own, from behind the kernel's cache. */
static void final_check(void)
{
    for (unsigned i = 0; i < me.model->nfiles; i++) {
        struct mine *mine = &me.mine[i];
        if (mine->fd < 0)
            continue;
        do_drop(mine);
        must_int(lseek(mine->fd, 0, SEEK_END), ==, (uint64_t)mine->f->size);
        for (uint64_t off = 0; off < mine->f->size; off += LEN_MAX)
            do_pread(mine, mine->fd, off, LEN_MAX, "final read");
        compare(mine, mine->map, 0, mine->f->size, "final load");
    }
}

void worker_main(void *arg)
{
    me.w = arg;
    me.model = me.w->model;
    me.random = me.model->seed * 1000003 + me.w->process;
    me.looks = ~me.random;
    me.mine = calloc(me.model->nfiles, sizeof(*me.mine));
    me.buf = aligned_alloc(PAGE, LEN_MAX + PAGE);
    must(me.mine && me.buf);
    for (unsigned i = 0; i < me.model->nfiles; i++)
        me.mine[i] = (struct mine){.f = model_file(me.model, me.w->process, i), .fd = -1};
    while (!atomic_load(&me.model->stop) &&
           (!me.w->operations || me.number < me.w->operations)) {
        operate();
        if (content_random(&me.looks) % 12 == 0)
            look_at_others();
        me.number++;
        atomic_fetch_add(&me.model->operations, 1);
    }
    final_check();
}
