/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transfers of the fake loop: pread and pwrite, with the real loop's promises about short ones.
 * `moved` tells a transfer that is to be done from one that is only to be completed.
 */
#include "fake_loop.h"

#include <errno.h>
#include <unistd.h>

#define COMPLETE_ONLY SIZE_MAX

static void queue(struct uvm_loop *loop, struct uvm_io *io, int kind)
{
    io->kind = kind;
    io->moved = 0;
    STAILQ_INSERT_TAIL(&loop->queue, io, link);
}

void uvm_loop_io(struct uvm_loop *loop, struct uvm_io *io)
{
    queue(loop, io, UVM_IO_ALL);
}

void uvm_loop_read_some(struct uvm_loop *loop, struct uvm_io *io)
{
    queue(loop, io, UVM_IO_SOME);
}

void uvm_loop_sync(struct uvm_loop *loop, struct uvm_io *io, bool all)
{
    queue(loop, io, all ? UVM_IO_SYNC : UVM_IO_DATASYNC);
}

void uvm_loop_complete(struct uvm_loop *loop, struct uvm_io *io)
{
    io->moved = COMPLETE_ONLY;
    STAILQ_INSERT_TAIL(&loop->queue, io, link);
}

static int transfer(struct uvm_io *io)
{
    if (io->kind == UVM_IO_SYNC || io->kind == UVM_IO_DATASYNC)
        return fsync(io->fd) ? -errno : 0;
    while (io->moved < io->len) {
        char *buf = (char *)io->buf + io->moved;
        size_t len = io->len - io->moved;
        off_t off = (off_t)(io->off + io->moved);
        ssize_t n = io->write ? pwrite(io->fd, buf, len, off) : pread(io->fd, buf, len, off);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            io->moved += (size_t)n;
        if (n >= 0 && io->kind == UVM_IO_SOME)
            return 0;
        if (n == 0)
            return -ENODATA;
    }
    return 0;
}

void fake_loop_run(struct uvm_loop *loop)
{
    while (!STAILQ_EMPTY(&loop->queue)) {
        struct uvm_io *io = STAILQ_FIRST(&loop->queue);
        STAILQ_REMOVE_HEAD(&loop->queue, link);
        if (io->moved == COMPLETE_ONLY)
            io->moved = 0;
        else
            io->result = transfer(io);
        loop->ndone++;
        io->done(io);
    }
}
