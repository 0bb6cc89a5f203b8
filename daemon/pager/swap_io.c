/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transfers of runs of slots.
 *
 *      put:  checksums and ledger records -> write ------------------------------> done
 *      get:  read the run -> all sums right --------------------------------------> done
 *                         -> some pages wrong -> read each of those alone, once ---> done
 *                                                 wrong again: reported, slot suspect
 *
 * Between the two passes of a get page_error[] says what was wrong the first time, and for 0 that
 * the page has come right; `retry` is the page whose turn it is. A first-pass error is forgotten
 * when the second read is good.
 */
#include "swap_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "../ledger.h"
#include "../stats.h"

#define count(field, n) atomic_fetch_add_explicit(&(field), (n), memory_order_relaxed)

/* Start the transfer of n slots of the run, from page at on. */
static void start(struct uvm_swapdevice *dev, struct uvm_swapio *sio, uint32_t at, uint32_t n)
{
    sio->io.buf = (char *)sio->buf + uvm_ptoa(at);
    sio->io.len = uvm_ptoa(n);
    sio->io.off = uvm_ptoa(sio->slot + at - dev->slot0 + 1);
    sio->io.write = sio->write;
    sio->io.result = 0;
    if (sio->write) {
        count(dev->writes, 1);
        dev->store->ops->write(dev->store, sio->loop, &sio->io);
    } else {
        count(dev->reads, 1);
        dev->store->ops->read(dev->store, sio->loop, &sio->io);
    }
}

static struct uvm_swapdevice *begin(struct uvm_swapio *sio, struct uvm_loop *loop, bool write)
{
    assert(sio->nslots && sio->nslots <= UVM_CLUSTER_PAGES);
    assert(!((uintptr_t)sio->buf & UVM_PAGE_MASK)); /* O_DIRECT */
    sio->loop = loop;
    sio->write = write;
    sio->error = 0;
    sio->retry = 0;
    return uvm_swap_device(sio->slot, sio->nslots);
}

/* What a transfer brought for page i of a run: 0, -EIO or -EILSEQ. */
static int page_result(const struct uvm_swapio *sio, uint32_t i)
{
    const char *page = (const char *)sio->buf + uvm_ptoa(i);

    if (sio->io.result)
        return -EIO;
    if (XXH3_64bits(page, UVM_PAGE_SIZE) != uvm_ledger_slot(sio->slot + i)->sum)
        return -EILSEQ;
    return 0;
}

static void put_done(struct uvm_io *io)
{
    struct uvm_swapio *sio = UVM_CONTAINER_OF(io, struct uvm_swapio, io);
    struct uvm_swapdevice *dev = uvm_swap_device(sio->slot, sio->nslots);

    dev->store->ops->finish(dev->store, io);
    sio->error = io->result;
    uvm_swap_wrote(dev, sio->error != 0);
    if (sio->error) {
        count(dev->errors, 1);
        uvm_stat_inc(ioerrors);
    } else {
        uvm_stat_inc(pageouts);
        uvm_stat_add(pgswapout, sio->nslots);
    }
    sio->done(sio);
}

void uvm_swap_put(struct uvm_swapio *sio, struct uvm_loop *loop, const struct uvm_slotowner *owner)
{
    struct uvm_swapdevice *dev = begin(sio, loop, true);

    for (uint32_t i = 0; i < sio->nslots; i++) {
        assert(owner[i].object);
        uint64_t sum = XXH3_64bits((const char *)sio->buf + uvm_ptoa(i), UVM_PAGE_SIZE);
        uvm_ledger_slot_set(sio->slot + i, owner[i].object, owner[i].pgno, sum);
    }
    sio->io.done = put_done;
    start(dev, sio, 0, sio->nslots);
}

/* Every page is settled: add up. => the last use of sio here */
static void get_finish(struct uvm_swapio *sio)
{
    uint32_t good = 0;

    for (uint32_t i = 0; i < sio->nslots; i++) {
        if (!sio->page_error[i])
            good++;
        else if (sio->error != -EIO) /* a disk that fails is worse news than one bad page */
            sio->error = sio->page_error[i];
    }
    uvm_stat_add(pgswapin, good);
    sio->done(sio);
}

static void get_retry_done(struct uvm_io *io);

/* Read the next page that was wrong alone, or end. */
static void get_retry(struct uvm_swapdevice *dev, struct uvm_swapio *sio)
{
    while (sio->retry < sio->nslots && !sio->page_error[sio->retry])
        sio->retry++;
    if (sio->retry == sio->nslots) {
        get_finish(sio);
        return;
    }
    sio->io.done = get_retry_done;
    start(dev, sio, sio->retry, 1);
}

static void get_retry_done(struct uvm_io *io)
{
    struct uvm_swapio *sio = UVM_CONTAINER_OF(io, struct uvm_swapio, io);
    struct uvm_swapdevice *dev = uvm_swap_device(sio->slot, sio->nslots);
    uint32_t i = sio->retry++;

    dev->store->ops->finish(dev->store, io);
    sio->page_error[i] = page_result(sio, i);
    if (sio->page_error[i]) {
        count(dev->errors, 1);
        uvm_stat_inc(ioerrors);
        if (sio->page_error[i] == -EILSEQ)
            uvm_stat_inc(cksumerrors);
        uvm_swap_suspect(dev, sio->slot + i);
    }
    get_retry(dev, sio);
}

static void get_done(struct uvm_io *io)
{
    struct uvm_swapio *sio = UVM_CONTAINER_OF(io, struct uvm_swapio, io);
    struct uvm_swapdevice *dev = uvm_swap_device(sio->slot, sio->nslots);
    bool wrong = false;

    dev->store->ops->finish(dev->store, io);
    for (uint32_t i = 0; i < sio->nslots; i++) {
        sio->page_error[i] = page_result(sio, i);
        wrong |= sio->page_error[i] != 0;
    }
    if (wrong)
        count(dev->errors, 1);
    get_retry(dev, sio);
}

void uvm_swap_get(struct uvm_swapio *sio, struct uvm_loop *loop)
{
    struct uvm_swapdevice *dev = begin(sio, loop, false);

    uvm_stat_inc(pageins);
    sio->io.done = get_done;
    start(dev, sio, 0, sio->nslots);
}
