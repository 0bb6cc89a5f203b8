/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of a get. When none is in flight the caller's room is free, so there is always one that can
 * go on.
 */
#include "getrun.h"

#include <assert.h>

/* Find room for a run of *npages, which may have to be shorter. => NULL: when a run has ended */
static void *find_room(struct uvm_getreq *req, uint32_t *npages)
{
    if (req->roomused || *npages > req->nroom) {
        void *kva = uvm_pagermapin(*npages, req->mapflags, NULL);
        if (kva || req->roomused)
            return kva;
    }
    req->roomused = true;
    *npages = MIN(*npages, req->nroom);
    return req->room;
}

/* Start runs until the request has enough in flight, or no more room; end it when there are none
 * left. */
static void advance(struct uvm_getreq *req)
{
    while (req->inflight < UVM_GET_RUNS) {
        while (req->next < req->npages && !req->pps[req->next])
            req->next++;
        if (req->next == req->npages)
            break;
        uint32_t npages = req->ops->length(req, req->next);
        void *kva = find_room(req, &npages);
        if (!kva)
            break;
        struct uvm_getrun *run = req->run;
        while (run->used)
            run++;
        run->used = true;
        run->req = req;
        run->first = req->next;
        run->npages = npages;
        run->kva = kva;
        req->next += npages;
        req->inflight++;
        req->ops->start(run);
    }
    if (req->inflight)
        return;
    if (req->ops->ended)
        req->ops->ended(req);
    req->aiodone(req);
}

void uvm_getrun_begin(struct uvm_getreq *req, const struct uvm_getrun_ops *ops)
{
    uvm_lock_assert_none();
    assert(req->room && req->nroom);
    req->ops = ops;
    req->next = 0;
    req->inflight = 0;
    req->roomused = false;
    for (unsigned i = 0; i < UVM_GET_RUNS; i++)
        req->run[i].used = false;
    advance(req);
}

void uvm_getrun_done(struct uvm_getrun *run, const int *errors)
{
    struct uvm_getreq *req = run->req;

    req->rundone(req, run->first, run->npages, run->kva, errors);
    if (run->kva == req->room)
        req->roomused = false;
    else
        uvm_pagermapout(run->kva, run->npages);
    run->used = false;
    req->inflight--;
    advance(req);
}
