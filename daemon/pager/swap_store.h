/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap store: what keeps the pages of one swap device. Swap sees every store through this vector;
 * the stores are a file or block device, and the fault store, which sits on another.
 *
 *      swap_io ---read, write---> fault store ---read, write---> file store ---> loop
 *      swap_io <--------------------- io->done, on the loop's thread -----------'
 *         '------finish--------> fault store ---finish---------> file store
 *
 * A transfer is the caller's struct uvm_io with done, buf, len, off and write filled in; a store
 * fills in what it needs beside (fd). Only one store of a stack starts the transfer, so a stacked
 * store that must see the bytes that were read, to change them, has its turn in finish.
 */
#ifndef UVMD_PAGER_SWAP_STORE_H
#define UVMD_PAGER_SWAP_STORE_H

#include <stdint.h>

#include "../loop.h"

struct uvm_store;

struct uvm_store_ops {
    /*
     * read, write: start a transfer; off and len are multiples of the page size.
     *
     * => loop's own thread; io->done follows there, always, and never before this returns
     * => no lock held; nothing is allocated (P6)
     */
    void (*read)(struct uvm_store *store, struct uvm_loop *loop, struct uvm_io *io);
    void (*write)(struct uvm_store *store, struct uvm_loop *loop, struct uvm_io *io);

    /* finish: a transfer is complete, look it over: may change io->result and the bytes read.
     * => called once, from io->done, before anybody looks at either; must not block
     * => also for a transfer that a store above has failed and that never came here */
    void (*finish)(struct uvm_store *store, struct uvm_io *io);

    /* close: no transfer is under way; frees the store and those under it. */
    void (*close)(struct uvm_store *store);
};

struct uvm_store {
    const struct uvm_store_ops *ops;
    uint32_t slot0; /* slot of the page after the label; set once, when the device joins swap */
};

/* uvm_store_file: a store on a descriptor (file or block device), which it then owns.
 * => NULL: no memory, and the descriptor is still the caller's */
struct uvm_store *uvm_store_file(int fd);

#endif
