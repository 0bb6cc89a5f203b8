/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead: which pages beyond those asked for are worth having, from the shape of the requests.
 *
 *      requests    [....][....][....]               sequential: each begins where one ended
 *                            next -^        |
 *                            |<-- window -->|       doubles with each, up to a bound
 *                                   ^ half of it before the end of what has been read ahead: a
 *                                     reader that gets here has the next window started
 *
 * A single request says nothing, also the first one of a file: the second one in a row turns it on.
 * A request that is not sequential halves the window, and one that is too small is off: random
 * readers get what they ask for and nothing else. The kernel sends the requests of one sequential
 * reader side by side, and several loops take them: a request a little before or behind its turn says
 * nothing either way.
 *
 * It decides only; whoever asks does the I/O.
 */
#ifndef UVMD_PAGER_READAHEAD_H
#define UVMD_PAGER_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define UVM_READAHEAD_MIN 32u   /* pages: the first window */
#define UVM_READAHEAD_MAX 1024u /* pages: four clusters keep a disk's queue busy */

struct uvm_readahead {
    uint32_t next;   /* the page after the last request: a request that begins here is sequential */
    uint32_t window; /* pages, 0: off */
    uint32_t end;    /* the page after what has been read ahead */
};

/*
 * uvm_readahead_note: a request for [pgno, pgno + npages) has come in.
 *
 * => limit: the first page beyond the end of the file
 * => returns how many pages to bring in from *ret_start on, at most UVM_READAHEAD_MAX and none at or
 *    beyond limit; 0: none now
 */
uint32_t uvm_readahead_note(struct uvm_readahead *ra, uint32_t pgno, uint32_t npages,
                            uint32_t limit, uint32_t *ret_start);

/* uvm_readahead_reset: a seek, or memory is short: begin anew. */
void uvm_readahead_reset(struct uvm_readahead *ra);

#endif
