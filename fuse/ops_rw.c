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

#include "../daemon/protect.h"
#include "../daemon/reserve.h"
#include "../daemon/revoker.h"
#include "../daemon/rw.h"
#include "channel.h"
#include "fs.h"
#include "ops_file.h"

struct file_io {
    struct uvm_rw rw;
    fuse_req_t req;
    struct uvm_file file; /* the kernel's look-up keeps it: it waits for the reply */
    struct uvm_payload *payload;
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
    struct uvm_file file;
    int error = uvm_fs_of(ino)->file(ino, &file);
    struct file_io *io = error ? NULL : malloc(sizeof(*io));

    if (!io) {
        fuse_reply_err(req, error ? -error : ENOMEM);
        return NULL;
    }
    uvm_file_requests++;
    io->req = req;
    io->file = file;
    io->payload = NULL;
    io->kernel = false;
    io->ended = NULL;
    io->cancelling = false;
    io->done = false;
    io->rw.uobj = file.uobj;
    io->rw.loop = uvm_loop_self();
    io->rw.flags = 0;
    return io;
}

/* Take a range out of the client cache as soon as the request at hand has its reply, which may be
 * now or soon. => as uvm_revoker_range */
static bool revoke_after(uint64_t object, uint64_t from, uint64_t to, uint32_t lent)
{
    uint32_t first = (uint32_t)uvm_atop(from), end = (uint32_t)uvm_atop(uvm_round_page(to));
    return uvm_revoker_range(object, first, end - first, lent);
}

static void read_done(struct uvm_rw *rw, int error)
{
    struct file_io *io = UVM_CONTAINER_OF(rw, struct file_io, rw);

    if (rw->lent && !revoke_after(rw->uobj->id, rw->off, rw->off + rw->len, rw->lent)) {
        uvm_reserve_return(rw->lent);
        error = -ENOSPC;
    }
    if (error) {
        fuse_reply_err(io->req, -error);
    } else {
        io->file.ops->accessed(io->file.node);
        fuse_reply_buf(io->req, rw->dst, rw->len);
    }
    file_io_free(io);
}

void uvm_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct file_io *io = file_io_new(req, ino);
    if (!io)
        return;
    uint64_t eof = io->file.ops->size(io->file.node), from = (uint64_t)off;
    if (from >= eof || !size) {
        fuse_reply_buf(req, NULL, 0);
        file_io_free(io);
        return;
    }
    int denied = uvm_protect_check(io->rw.uobj, false);
    if (denied) {
        fuse_reply_err(req, -denied);
        file_io_free(io);
        return;
    }
    io->rw.off = from;
    io->rw.len = MIN(size, eof - from);
    io->rw.dst = uvm_read_buffer();
    if ((fi->flags & O_ACCMODE) == O_RDONLY)
        io->rw.flags |= UVM_RW_READONLY;
    if (size > UVM_PAGE_SIZE && !(fi->flags & O_DIRECT))
        io->rw.flags |= UVM_RW_AHEAD;
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
    uint64_t object = io->rw.uobj->id; /* which may be gone when the reply is out */

    if (written)
        io->file.ops->wrote(io->file.node, io->kernel ? 0 : io->rw.off + written, false);
    if (error && (io->kernel || !written)) {
        fuse_reply_err(io->req, -error);
        written = 0;
    } else {
        fuse_reply_write(io->req, written);
    }
    /*
     * What a WRITE has not written the kernel no longer takes for up to date, and reads it again,
     * also when it holds bytes of a mapping that have not been written back. Have it write them
     * back first. This cannot be done before the reply, and is not worth waiting for.
     */
    if (error && !io->kernel)
        revoke_after(object, io->rw.off + written, io->rw.off + io->rw.len, 0);
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

/* The request goes on when its handler has returned: see that its bytes are still there then. */
static void write_keep(struct file_io *io)
{
    struct uvm_rw *rw = &io->rw;
    uint64_t from = rw->off + rw->at;
    int flags = io->kernel ? UVM_PAYLOAD_URGENT : 0;
    size_t kept = 0;

    if (!flags && !uvm_write_cached(rw, (uint32_t)uvm_atop(from) + 1))
        flags |= UVM_PAYLOAD_FRESH;
    const char *data =
        uvm_payload_keep(rw->src + rw->at, from, rw->len - rw->at, flags, &io->payload, &kept);
    uvm_write_moved(rw, data, kept);
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
    write_keep(io);
    io->cancel.fn = write_cancel;
    if (!io->kernel)
        fuse_req_interrupt_func(io->req, write_interrupted, io);
}

/* The object is frozen (protect.h). The refused bytes are in the client cache: have them go. */
static void write_denied(struct file_io *io, int error, uint64_t from, size_t size)
{
    uint64_t object = io->rw.uobj->id;

    fuse_reply_err(io->req, -error);
    revoke_after(object, from, from + size, 0);
    file_io_free(io);
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
    int denied = uvm_protect_check(io->rw.uobj, true);
    if (denied) {
        write_denied(io, denied, from, size);
        return;
    }
    io->rw.src = buf;
    io->rw.off = from;
    io->rw.len = size;
    if (io->kernel)
        io->rw.flags |= UVM_RW_FORCE;
    io->rw.done = write_done;
    write_start(io);
}
