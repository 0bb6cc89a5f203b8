/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-ahead's decisions. Page numbers are added in 64 bits: what lies behind the last page is a
 * request's end as well.
 */
#include "readahead.h"

#include "../util.h"

/* A request that is no more than so many of its kind away has overtaken others, or was overtaken. */
#define NEAR_REQUESTS 2

void uvm_readahead_reset(struct uvm_readahead *ra)
{
    *ra = (struct uvm_readahead){0};
}

enum shape { SEQUENTIAL, NEAR, OTHER };

/* What does a request for [pgno, end) say about the reader? */
static enum shape shape_of(const struct uvm_readahead *ra, uint32_t pgno, uint64_t end)
{
    uint64_t near = NEAR_REQUESTS * (end - pgno);

    if (pgno <= ra->next && end > ra->next)
        return ra->next ? SEQUENTIAL : NEAR; /* the first one of a file: nothing yet */
    if (ra->window && end <= ra->next && ra->next - end <= near)
        return NEAR;
    if (ra->window && pgno > ra->next && pgno - ra->next <= near)
        return NEAR;
    return OTHER;
}

static void halve(struct uvm_readahead *ra)
{
    ra->window /= 2;
    if (ra->window < UVM_READAHEAD_MIN)
        ra->window = 0;
}

uint32_t uvm_readahead_note(struct uvm_readahead *ra, uint32_t pgno, uint32_t npages,
                            uint32_t limit, uint32_t *ret_start)
{
    uint64_t end = MIN((uint64_t)pgno + npages, UINT32_MAX);

    switch (shape_of(ra, pgno, end)) {
    case SEQUENTIAL:
        ra->next = (uint32_t)end;
        break;
    case NEAR:
        ra->next = MAX(ra->next, (uint32_t)end);
        return 0;
    case OTHER:
        halve(ra);
        ra->next = (uint32_t)end;
        ra->end = 0;
        return 0;
    }
    uint64_t start = MAX((uint64_t)ra->end, end);
    if (start >= limit || end + ra->window / 2 < ra->end)
        return 0;
    ra->window = MIN(MAX(2 * ra->window, UVM_READAHEAD_MIN), UVM_READAHEAD_MAX);
    uint32_t n = (uint32_t)MIN(ra->window, limit - start);
    ra->end = (uint32_t)(start + n);
    *ret_start = (uint32_t)start;
    return n;
}
