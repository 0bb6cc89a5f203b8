/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An operation is done to the file, and to the shadow as far as the file took it. Where a refusal leaves
 * open what the file holds, the file is cut off. A page may be refused only in a full run, and only
 * where the shadow has nothing but zeroes: it may be a hole.
 */
#include "worker_impl.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "content.h"

struct worker_state worker_me;

#define me worker_me

char *worker_name(const struct model_file *f, char buf[PATH_MAX])
{
    char name[NAME_MAX + 1];
    snprintf(buf, PATH_MAX, "%s/%s", model_vnode(me.model, f) ? me.w->vnode : me.w->dir,
             model_name(me.model, f, name));
    return buf;
}

uint64_t worker_below(uint64_t n)
{
    return n ? content_random(&me.random) % n : 0;
}

static void map(struct mine *mine)
{
    mine->map = file_map(mine->fd, 0, me.model->max_size, PROT_READ | PROT_WRITE);
}

static void unmap(struct mine *mine)
{
    must_sys(munmap(mine->map, me.model->max_size));
}

void worker_second_look(const struct model_file *f, uint64_t off)
{
    static const int flags[] = {0, O_DIRECT};
    unsigned char *page = aligned_alloc(PAGE, PAGE);
    uint64_t base = off & ~(uint64_t)(PAGE - 1);
    char path[PATH_MAX];

    for (unsigned k = 0; k < 2 && page; k++) {
        int fd = open(worker_name(f, path), O_RDONLY | O_CLOEXEC | flags[k]);
        memset(page, 0, PAGE);
        ssize_t n = pread(fd, page, PAGE, (off_t)base);
        fprintf(stderr, "  now, %s: %zd bytes of the page,", flags[k] ? "direct" : "cached", n);
        for (uint64_t i = off - base; i < MIN(off - base + 16, PAGE); i++)
            fprintf(stderr, " %02x", page[i]);
        fprintf(stderr, "\n");
        close(fd);
    }
    free(page);
}

static void compare(const struct mine *mine, const void *found, uint64_t off, size_t len,
                    const char *how)
{
    if (!model_compare(me.model, mine->f, me.number, found, off, len, how)) {
        worker_second_look(mine->f, off + model_differ(mine->f, found, off, len));
        atomic_store(&me.model->stop, true);
        must_msg(false, "mismatch, see above");
    }
    atomic_fetch_add(&me.model->bytes_checked, len);
}

/* May room run out for the file? One in vnode/ has that of its source. */
static bool full(const struct mine *mine)
{
    return me.w->full && !model_vnode(me.model, mine->f);
}

/* A page was refused: right only if room may run out, and only for what may be a hole. */
static void refused(const struct mine *mine, uint64_t off, const char *how)
{
    static const unsigned char zeroes[PAGE];
    uint64_t base = off & ~(uint64_t)(PAGE - 1);

    bool hole = memcmp(mine->f->shadow + base, zeroes, PAGE) == 0;
    if (full(mine) && hole) {
        atomic_fetch_add(&me.model->refusals, 1);
        return;
    }
    long long cached = lseek(mine->fd, 0, SEEK_END); /* asks nobody */
    struct stat st;
    must_sys(fstat(mine->fd, &st));
    must_msg(false,
             "-s %" PRIu64 " process %u operation %" PRIu64 ": %s at %" PRIu64
             " of file %u is refused, which %s; size %" PRIu64 ", in the kernel %lld, then %lld",
             me.model->seed, me.w->process, me.number, how, off, (unsigned)(mine - me.mine),
             hole ? "is a hole" : "holds data", (uint64_t)mine->f->size, cached,
             (long long)st.st_size);
}

/* Whatever is at and behind off is not certain any more: cut it off, which makes room, too. */
static void cut(struct mine *mine, uint64_t off)
{
    uint64_t size = MIN(off, mine->f->size);
    must_sys(ftruncate(mine->fd, (off_t)size));
    model_resize(mine->f, size);
}

static void random_bytes(void *dst, size_t len)
{
    uint64_t word;
    for (size_t i = 0; i < len; i += sizeof(word)) {
        word = content_random(&me.random);
        memcpy((char *)dst + i, &word, MIN(len - i, sizeof(word)));
    }
}

/* Load a range of the mapping, page by page, and compare. */
static void load(struct mine *mine, uint64_t off, uint64_t len, const char *how)
{
    uint64_t end = MIN(off + len, mine->f->size);

    while (off < end) {
        size_t n = (size_t)MIN(end - off, PAGE - off % PAGE);
        if (client_copy(me.buf, mine->map + off, n))
            compare(mine, me.buf, off, n, how);
        else
            refused(mine, off, how);
        off += n;
    }
}

static void read_range(struct mine *mine, int fd, uint64_t off, size_t len, const char *how)
{
    uint64_t size = mine->f->size, end = MIN(off + len, size);
    bool single = false; /* page by page from here on */

    while (off < end) {
        ssize_t n = pread(fd, me.buf, single ? MIN(len, PAGE - off % PAGE) : len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ENOSPC && !single) { /* a direct read is refused as a whole */
            single = true;
            continue;
        }
        if (n < 0 && errno == ENOSPC) { /* the page at off itself: read past it */
            refused(mine, off, how);
            uint64_t next = (off & ~(uint64_t)(PAGE - 1)) + PAGE;
            len -= (size_t)MIN(len, next - off);
            off = next;
            continue;
        }
        must_msg(n > 0 && off + (uint64_t)n <= end,
                 "-s %" PRIu64 " process %u operation %" PRIu64 ": %s of %zu at %" PRIu64
                 " gives %zd (%s), size %" PRIu64,
                 me.model->seed, me.w->process, me.number, how, len, off, n,
                 n < 0 ? strerror(errno) : "ok", size);
        compare(mine, me.buf, off, (size_t)n, how);
        off += (uint64_t)n;
        len -= (size_t)n;
    }
}

void worker_create(struct mine *mine)
{
    char path[PATH_MAX];

    model_begin(mine->f, me.number, OP_CREATE, 0, 0);
    mine->fd = file_open(worker_name(mine->f, path), O_RDWR | O_CREAT | O_EXCL);
    map(mine);
    mine->f->exists = true;
    model_end(mine->f);
}

static void do_unlink(struct mine *mine)
{
    char path[PATH_MAX];
    bool before = worker_below(2);

    if (before)
        unmap(mine);
    must_sys(unlink(worker_name(mine->f, path)));
    if (!before) { /* what is mapped lives on */
        load(mine, 0, LEN_MAX, "load of the unlinked file");
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

    worker_name(mine->f, from);
    mine->f->name ^= 1;
    must_sys(rename(from, worker_name(mine->f, to)));
}

static void do_reopen(struct mine *mine)
{
    char path[PATH_MAX];

    unmap(mine);
    must_sys(close(mine->fd));
    mine->fd = file_open(worker_name(mine->f, path), O_RDWR);
    map(mine);
}

static void do_zero(struct mine *mine, int mode, uint64_t off, uint64_t len)
{
    struct model_file *f = mine->f;

    if (fallocate(mine->fd, mode, (off_t)off, (off_t)len)) {
        /* Some file systems that a run may be on know no zero range. */
        if (errno == EOPNOTSUPP && (mode & FALLOC_FL_ZERO_RANGE))
            return;
        must_msg(full(mine) && errno == ENOSPC, "fallocate: %s", strerror(errno));
        atomic_fetch_add(&me.model->refusals, 1);
        cut(mine, off);
        return;
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > f->size)
        model_resize(f, off + len);
    if (off < f->size)
        memset(f->shadow + off, 0, MIN(len, f->size - off));
}

/* Has a write failed for want of room? The kernel makes EIO of a direct one that was short. */
static bool no_room(const struct mine *mine, bool direct)
{
    return full(mine) && (errno == ENOSPC || (direct && errno == EIO));
}

static void do_pwrite(struct mine *mine, int fd, uint64_t off, size_t len)
{
    size_t at = 0;

    random_bytes(me.buf, len);
    while (at < len) {
        ssize_t n = pwrite(fd, me.buf + at, len - at, (off_t)(off + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && no_room(mine, fd != mine->fd))
            break;
        must_msg(n > 0, "pwrite of %zu at %" PRIu64 ": %s", len - at, off + at, strerror(errno));
        at += (size_t)n;
    }
    if (at && off + at > mine->f->size)
        model_resize(mine->f, off + at);
    memcpy(mine->f->shadow + off, me.buf, at);
    if (at < len) {
        atomic_fetch_add(&me.model->refusals, 1);
        cut(mine, off + at);
    }
}

static void do_store(struct mine *mine, uint64_t off, size_t len)
{
    size_t at = 0;

    if (off >= mine->f->size)
        return;
    len = MIN(len, mine->f->size - off);
    random_bytes(me.buf, len);
    while (at < len) {
        size_t n = MIN(len - at, PAGE - (off + at) % PAGE);
        if (!client_copy(mine->map + off + at, me.buf + at, n)) {
            refused(mine, off + at, "store");
            cut(mine, off + at);
            return;
        }
        memcpy(mine->f->shadow + off + at, me.buf + at, n);
        at += n;
    }
}

static void do_direct(struct mine *mine, uint64_t off, size_t len)
{
    char path[PATH_MAX];
    int fd = open(worker_name(mine->f, path), O_RDWR | O_CLOEXEC | O_DIRECT);

    off &= ~(uint64_t)(PAGE - 1);
    len = MIN((len + PAGE - 1) & ~(size_t)(PAGE - 1), LEN_MAX);
    len = MIN(len, me.model->max_size - off);
    if (fd < 0) {
        must_int(errno, ==, EINVAL); /* as on file systems without it */
        return;
    }
    if (worker_below(2))
        do_pwrite(mine, fd, off, len);
    else
        read_range(mine, fd, off, len, "direct read");
    close(fd);
}

static void do_drop(struct mine *mine)
{
    unmap(mine);
    must_sys(fsync(mine->fd));
    must(posix_fadvise(mine->fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    map(mine);
}

static void do_truncate(struct mine *mine, uint64_t off)
{
    must_sys(ftruncate(mine->fd, (off_t)off));
    model_resize(mine->f, off);
}

void worker_operate(struct mine *mine, enum model_op op, uint64_t off, size_t len)
{
    switch (op) {
    case OP_UNLINK:
        return do_unlink(mine);
    case OP_RENAME:
        return do_rename(mine);
    case OP_REOPEN:
        return do_reopen(mine);
    case OP_TRUNCATE:
        return do_truncate(mine, off);
    case OP_PUNCH:
        return do_zero(mine, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
    case OP_ZERO:
        return do_zero(mine, FALLOC_FL_ZERO_RANGE | (worker_below(2) ? FALLOC_FL_KEEP_SIZE : 0),
                       off, len);
    case OP_PWRITE:
    case OP_APPEND:
        return do_pwrite(mine, mine->fd, off, len);
    case OP_STORE:
        return do_store(mine, off, len);
    case OP_PREAD:
        return read_range(mine, mine->fd, off, len, "read");
    case OP_LOAD:
        return load(mine, off, len, "load");
    case OP_DIRECT:
        return do_direct(mine, off, len);
    case OP_FSYNC:
        must_sys(fsync(mine->fd));
        return;
    default:
        return do_drop(mine);
    }
}

void worker_final(struct mine *mine)
{
    do_drop(mine);
    must_int(lseek(mine->fd, 0, SEEK_END), ==, (uint64_t)mine->f->size);
    for (uint64_t off = 0; off < mine->f->size; off += LEN_MAX)
        read_range(mine, mine->fd, off, LEN_MAX, "final read");
    load(mine, 0, mine->f->size, "final load");
}

void worker_leave(struct mine *mine)
{
    uint64_t max = me.model->max_size;

    worker_operate(mine, OP_PWRITE, worker_below(max - LEN_MAX), 1 + (size_t)worker_below(LEN_MAX));
    worker_operate(mine, OP_STORE, worker_below(mine->f->size), LEN_MAX);
    if (worker_below(4) == 0)
        worker_operate(mine, OP_TRUNCATE, worker_below(max), 0);
}
