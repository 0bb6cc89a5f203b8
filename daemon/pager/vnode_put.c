/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page-out to a file: pages [at, at + len) of a cluster, whose bytes are in the pager map.
 *
 *      |  block  |  block  |  block  |  part of one |
 *      |<------- O_DIRECT ---------->|<- buffered ->|
 *      off                          cut            end: the object's size, if that comes first
 *
 * The size is that of the moment at which the transfer starts. It may grow meanwhile: what was
 * beyond it in these pages is zeroes, which the file has there as well. It cannot shrink: changes
 * wait for transfers (vnode_change.c).
 *
 * A transfer counts until the file has the bytes, and not until its pages are let go: then the
 * object may be gone.
 */
#include <string.h>

#include "../log.h"
#include "vnode_impl.h"

static void write_done(struct uvm_io *io);

/* Note how a page that was written alone has ended, or a cluster that was written. => object locked;
 * returns whether it is worth a line in the log */
static bool note_result(struct uvm_vnode *vn, const struct uvm_cluster *cl, int error)
{
    if (!error) {
        if (cl->fio.end > cl->fio.off)
            vn->eof = MAX(vn->eof, cl->fio.end);
        uvn_dirty_wrote(vn, 0);
        return false;
    }
    if (!cl->retrying) /* it may be only one page: the second pass tells */
        return false;
    bool news = !uvn_failing(&vn->uobj);
    vn->error = error;
    vn->error_seq++;
    vn->retry_ns = uvm_now_ns() + UVN_RETRY_NS;
    uvn_dirty_wrote(vn, error);
    uvm_stat_inc(ioerrors);
    return news;
}

static void write_finish(struct uvm_cluster *cl, int error)
{
    struct uvm_object *uobj = cl->uobj;
    struct uvm_vnode *vn = uvm_vnode(uobj);
    struct uvn_backing *backing = cl->fio.backing;

    if (!error) {
        uvm_stat_inc(vnpageouts);
        uvm_stat_add(vnpgout, cl->len);
    }
    uvm_lock_acquire(&uobj->lock);
    bool news = note_result(vn, cl, error);
    vn->nputs--;
    uvn_change_turn(vn);
    uvm_lock_release(&uobj->lock);
    if (news)
        log_warning("object %#llx: page %u cannot be written to its file: %s",
                    (unsigned long long)uobj->id, cl->pps[cl->at]->pgno, strerror(-error));
    uvn_backing_unref(backing);
    uobj->pgops->pgo_aiodone(cl, error);
}

/* Write [from, to) of the file. */
static void write_range(struct uvm_cluster *cl, uint64_t from, uint64_t to, int fd)
{
    struct uvm_fileio *fio = &cl->fio;

    fio->io = (struct uvm_io){
        .done = write_done,
        .buf = fio->kva + (from - fio->off),
        .len = to - from,
        .off = from,
        .fd = fd,
        .write = true,
    };
    uvn_io(fio->loop, &fio->io, fio->id);
}

static void write_done(struct uvm_io *io)
{
    struct uvm_cluster *cl = UVM_CONTAINER_OF(io, struct uvm_cluster, fio.io);
    uint64_t to = io->off + io->len;

    if (io->result || to >= cl->fio.end)
        write_finish(cl, io->result);
    else
        write_range(cl, to, cl->fio.end, cl->fio.backing->tail_fd);
}

/* Nothing of the pages is within the size: a truncate was faster than whoever dirtied them. */
static void write_nothing(struct uvm_fileio *fio)
{
    fio->io = (struct uvm_io){.done = write_done, .off = fio->end};
    uvm_loop_complete(fio->loop, &fio->io);
}

static void write_start(struct uvm_cluster *cl)
{
    const struct uvm_fileio *fio = &cl->fio;
    const struct uvn_backing *backing = fio->backing;
    uint64_t cut = fio->end - fio->end % backing->align;

    if (fio->end <= fio->off)
        write_nothing(&cl->fio);
    else if (cut > fio->off)
        write_range(cl, fio->off, cut, backing->fd);
    else
        write_range(cl, fio->off, fio->end, backing->tail_fd);
}

int uvn_put(struct uvm_object *uobj, struct uvm_cluster *cl)
{
    struct uvm_vnode *vn = uvm_vnode(uobj);
    struct uvm_fileio *fio = &cl->fio;
    uint32_t pgno = cl->pps[cl->at]->pgno;

    uvm_lock_acquire(&uobj->lock);
    bool later = uvn_failing(uobj) && !(cl->flags & PGO_SYNCIO) && !cl->retrying;
    if (later || !vn->backing || uvn_change_blocks(vn, pgno, pgno + cl->len)) {
        uvm_lock_release(&uobj->lock);
        return VM_PAGER_ERROR;
    }
    fio->backing = uvn_backing_ref(vn->backing);
    fio->loop = cl->loop;
    fio->id = uobj->id;
    fio->kva = (char *)cl->kva + uvm_ptoa(cl->at);
    fio->off = uvm_ptoa(pgno);
    fio->end = MIN(fio->off + uvm_ptoa(cl->len), vn->size);
    vn->nputs++;
    uvm_lock_release(&uobj->lock);
    write_start(cl);
    return VM_PAGER_PEND;
}
