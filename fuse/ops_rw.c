/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing files. A READ that can be served at once takes nothing from the heap; one
 * that must wait, and a WRITE that must wait for long, carry on in a request of their own.
 *
 * A READ's bytes go through the loop's own buffer: they are copied there and replied in one step,
 * so the buffer is free again whenever the loop turns to something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../daemon/revoker.h"
#include "../daemon/rw.h"
#include "channel.h"
#include "ops_file.h"

struct file_io {
    struct uvm_rw rw;
    fuse_req_t req;
    struct uvm_inode *inode; /* the kernel's look-up keeps it: it waits for the reply */
    struct uvm_payload *payload;
    bool direct; /* write: through O_DIRECT */
    bool kernel; /* write: the kernel writes back, no time or size is news */
    bool *ended; /* set when the request ends while it is being started */
    /* A write(2) that waits can be interrupted; on the loop's thread unless it says otherwise. */
    struct uvm_work cancel;
    _Atomic bool cancelling; /* cancel is posted, by any thread; it frees the request then */
    bool done;
};

void uvm_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (!uvm_inode_find(ino)) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    uvm_open_flags(fi);
    fuse_reply_open(req, fi);
}

void uvm_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}

void uvm_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    /* Anonymous memory has nothing to wait for: what the kernel held has just been written to us.
     */
    struct uvm_inode *inode = uvm_inode_find(ino);
    fuse_reply_err(req, inode ? -uvm_inode_flush(inode) : ENOENT);
}

static void file_io_free(struct file_io *io)
{
    uvm_file_requests--;
    free(io);
}

/* The object and request of a transfer. => NULL: replied with an error */
static struct file_io *file_io_new(fuse_req_t req, fuse_ino_t ino)
{
    struct uvm_inode *inode = uvm_inode_find(ino);
    struct uvm_object *uobj = inode ? uvm_inode_object(inode) : NULL;
    struct file_io *io = uobj ? malloc(sizeof(*io)) : NULL;

    if (!io) {
        fuse_reply_err(req, !inode ? ENOENT : ENOMEM);
        return NULL;
    }
    uvm_file_requests++;
    io->req = req;
    io->inode = inode;
    io->payload = NULL;
    io->kernel = io->direct = false;
    io->ended = NULL;
    io->cancelling = false;
    io->done = false;
    io->rw.uobj = uobj;
    io->rw.loop = uvm_loop_self();
    io->rw.flags = 0;
    return io;
}

/* Zeroes without a reservation are taken back as soon as they are out. => false: they may not go
 * out */
static bool revoke_after(const struct uvm_rw *rw)
{
    uint32_t first = (uint32_t)uvm_atop(rw->off);
    uint32_t end = (uint32_t)uvm_atop(uvm_round_page(rw->off + rw->len));
    return uvm_revoker_range(rw->uobj->id, first, end - first);
}

static void read_done(struct uvm_rw *rw, int error)
{
    struct file_io *io = UVM_CONTAINER_OF(rw, struct file_io, rw);

    if (!error && rw->unreserved && !revoke_after(rw))
        error = -ENOSPC;
    if (error) {
        fuse_reply_err(io->req, -error);
    } else {
        uvm_inode_accessed(io->inode);
        fuse_reply_buf(io->req, rw->dst, rw->len);
    }
    file_io_free(io);
}

void uvm_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct file_io *io = file_io_new(req, ino);
    if (!io)
        return;
    uint64_t eof = uvm_inode_size(io->inode), from = (uint64_t)off;
    if (from >= eof || !size) {
        fuse_reply_buf(req, NULL, 0);
        file_io_free(io);
        return;
    }
    io->rw.off = from;
    io->rw.len = MIN(size, eof - from);
    io->rw.dst = uvm_read_buffer();
    if ((fi->flags & O_ACCMODE) == O_RDONLY)
        io->rw.flags |= UVM_RW_READONLY;
    io->rw.done = read_done;
    uvm_read(&io->rw);
}

/* The kernel says that nobody waits for the answer any more. => any thread, under the request's
 * lock */
static void write_interrupted(fuse_req_t req, void *data)
{
    struct file_io *io = data;
    if (!atomic_exchange(&io->cancelling, true))
        uvm_loop_post(io->rw.loop, &io->cancel);
}

static void write_cancel(struct uvm_work *work)
{
    struct file_io *io = UVM_CONTAINER_OF(work, struct file_io, cancel);
    bool done = io->done;

    io->cancelling = false;
    if (done)
        file_io_free(io);
    else
        uvm_write_cancel(&io->rw);
}

static void write_reply(struct file_io *io, int error)
{
    /* A write that ran out of room in the middle has written what came before. */
    size_t written = error ? io->rw.at : io->rw.len;

    if (written)
        uvm_inode_wrote(io->inode, io->kernel ? 0 : io->rw.off + written, false);
    /* The kernel makes EIO of a short direct write. */
    if (error && (io->kernel || io->direct || !written))
        fuse_reply_err(io->req, -error);
    else
        fuse_reply_write(io->req, written);
}

static void write_done(struct uvm_rw *rw, int error)
{
    struct file_io *io = UVM_CONTAINER_OF(rw, struct file_io, rw);

    if (io->ended)
        *io->ended = true;
    else
        fuse_req_interrupt_func(io->req, NULL, NULL); /* from here on nobody posts the cancel */
    uvm_payload_release(io->payload);
    write_reply(io, error);
    io->done = true;
    if (!io->cancelling)
        file_io_free(io);
}

/* Start the write, and be ready for an interruption if it has to wait. */
static void write_start(struct file_io *io)
{
    bool ended = false;

    io->ended = &ended;
    uvm_write(&io->rw);
    if (ended)
        return;
    io->ended = NULL;
    io->cancel.fn = write_cancel;
    if (!io->kernel)
        fuse_req_interrupt_func(io->req, write_interrupted, io);
}

void uvm_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                  struct fuse_file_info *fi)
{
    uint64_t from = (uint64_t)off;

    if (!size) {
        fuse_reply_write(req, 0);
        return;
    }
    if (from >= UVM_FILE_SIZE_MAX || size > UVM_FILE_SIZE_MAX - from) {
        fuse_reply_err(req, EFBIG);
        return;
    }
    struct file_io *io = file_io_new(req, ino);
    if (!io)
        return;
    io->kernel = fi->writepage;
    io->direct = !io->kernel && (fi->flags & O_DIRECT);
    io->rw.src = uvm_payload_take(buf, size, io->kernel, &io->payload);
    if (!io->rw.src) {
        fuse_reply_err(req, ENOMEM);
        file_io_free(io);
        return;
    }
    io->rw.off = from;
    io->rw.len = size;
    if (io->kernel)
        io->rw.flags |= UVM_RW_FORCE;
    io->rw.done = write_done;
    write_start(io);
}
