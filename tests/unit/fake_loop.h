/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A loop without a thread or a ring, for tests of what starts transfers: uvm_loop_io() and
 * uvm_loop_complete() queue, and fake_loop_run() does the transfers and calls the handlers. A test
 * that links it gets these two functions from here instead of from the library.
 */
#ifndef UVMD_TESTS_FAKE_LOOP_H
#define UVMD_TESTS_FAKE_LOOP_H

#include "daemon/loop.h"

struct uvm_loop {
    STAILQ_HEAD(, uvm_io) queue;
    unsigned ndone; /* transfers completed so far */
};

#define FAKE_LOOP_INIT(loop) STAILQ_INIT(&(loop)->queue)

/* fake_loop_run: complete what is queued, and what that queues, until nothing is left. */
void fake_loop_run(struct uvm_loop *loop);

#endif
