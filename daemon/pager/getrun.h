/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop under a pager's get: cut the pages wanted into runs, each of which is one transfer, and
 * keep several in flight.
 *
 *      pps   P P P . P P P P P . . P        length() says where a run ends
 *            `-+-'   `-+-' `+'     |
 *             run     run   run   run       start() starts it; uvm_getrun_done() when it has ended
 *
 * A get never waits for the pager map, because its pages are BUSY: it has the room that its caller
 * brought, takes more while there is some, and a run that finds none follows in the footsteps of one
 * that ends.
 */
#ifndef UVMD_PAGER_GETRUN_H
#define UVMD_PAGER_GETRUN_H

#include "pager.h"

struct uvm_getrun_ops {
    /* length: how many pages from pps[i] on, which is wanted, one transfer can bring; at most
     * UVM_CLUSTER_PAGES */
    uint32_t (*length)(const struct uvm_getreq *req, uint32_t i);

    /* start: bring the run's pages to run->kva. => loop's thread, no lock; uvm_getrun_done follows,
     * never before this returns */
    void (*start)(struct uvm_getrun *run);

    /* ended: the last run has been reported; aiodone follows at once. May be NULL. => no lock */
    void (*ended)(struct uvm_getreq *req);
};

/* uvm_getrun_begin: work through the whole request. => no lock; rundone and aiodone follow */
void uvm_getrun_begin(struct uvm_getreq *req, const struct uvm_getrun_ops *ops);

/* uvm_getrun_done: the run's bytes are at run->kva; errors[i]: 0 or -errno. => loop's thread, no lock;
 * the run is gone when it returns, and perhaps the request */
void uvm_getrun_done(struct uvm_getrun *run, const int *errors);

#endif
