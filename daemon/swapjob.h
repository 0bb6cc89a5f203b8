/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Adding and removing swap devices while uvmd runs: jobs that may take long, for whoever asks for them
 * and must not wait himself (the control thread).
 *
 *      add     open, allocate, label, join          one job at a time, on a loop of its own that is
 *      remove  leave, drain, gone (or stay)         made for the first of them
 *
 * A job has a number, under which its state can be asked for until some later jobs have begun.
 */
#ifndef UVMD_SWAPJOB_H
#define UVMD_SWAPJOB_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "pager/swap.h"

enum uvm_swapjob_state { UVM_JOB_RUNNING, UVM_JOB_DONE, UVM_JOB_FAILED, UVM_JOB_CANCELLED };

struct uvm_swapjob {
    uint64_t id; /* from 1 on */
    enum uvm_swapjob_state state;
    bool removes; /* else it adds */
    char path[UVM_SWAP_PATH_MAX];
    uint32_t total, left; /* of a removal: pages the device held, and holds */
    uint32_t unreadable;  /* of a removal that failed: those that could not be read */
    struct uvm_error why; /* of one that has failed or was cancelled */
};

/* uvm_swapjob_start: from now on there may be jobs. => page-out works */
int uvm_swapjob_start(struct uvm_error *err);

/* uvm_swapjob_stop: no more; one that runs is cancelled or finished first. => page-out still works */
void uvm_swapjob_stop(void);

/*
 * uvm_swapjob_add / uvm_swapjob_remove: begin one.
 *
 * => any thread; 0 and its number, or -errno and err: -EBUSY, another one runs; of remove also what
 *    uvm_swap_leave refuses for
 */
int uvm_swapjob_add(const struct uvm_swapspec *spec, uint64_t *id, struct uvm_error *err);
int uvm_swapjob_remove(const char *path, uint64_t *id, struct uvm_error *err);

/* uvm_swapjob_cancel: end the removal of that device soon; what has moved stays where it is.
 * => -ENOENT: it is not being removed */
int uvm_swapjob_cancel(const char *path, struct uvm_error *err);

/* uvm_swapjob_get: how a job is. => false: no job has that number, or it was too long ago */
bool uvm_swapjob_get(uint64_t id, struct uvm_swapjob *ret);

#endif
