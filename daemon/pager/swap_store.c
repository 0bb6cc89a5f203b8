/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store on a file or a block device: the loop does all the work.
 */
#include "swap_store.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "../util.h"

struct file_store {
    struct uvm_store store;
    int fd;
};

static void file_io(struct uvm_store *store, struct uvm_loop *loop, struct uvm_io *io)
{
    assert(!(io->off & UVM_PAGE_MASK) && !(io->len & UVM_PAGE_MASK));
    io->fd = UVM_CONTAINER_OF(store, struct file_store, store)->fd;
    uvm_loop_io(loop, io);
}

static void file_finish(struct uvm_store *store, struct uvm_io *io)
{
}

static void file_close(struct uvm_store *store)
{
    struct file_store *fs = UVM_CONTAINER_OF(store, struct file_store, store);

    close(fs->fd);
    free(fs);
}

static const struct uvm_store_ops file_ops = {
    .read = file_io,
    .write = file_io,
    .finish = file_finish,
    .close = file_close,
};

struct uvm_store *uvm_store_file(int fd)
{
    struct file_store *fs = calloc(1, sizeof(*fs));

    if (!fs)
        return NULL;
    fs->store.ops = &file_ops;
    fs->fd = fd;
    return &fs->store;
}
