/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to vnode*.c.
 */
#ifndef UVMD_PAGER_VNODE_IMPL_H
#define UVMD_PAGER_VNODE_IMPL_H

#include "vnode.h"

#define UVN_RETRY_NS 5000000000ull /* how long a file is left alone whose write has failed */

/* vnode_get.c, vnode_put.c: the operations of the vector. */
int uvn_get(struct uvm_object *uobj, struct uvm_getreq *req, uint32_t *npages, uint32_t centre,
            int flags);
int uvn_put(struct uvm_object *uobj, struct uvm_cluster *cl);

/* uvn_free_pages: free the pages of [start, stop), those that are dirty only if `dirty`; busy ones
 * become RELEASED if so. => object locked */
void uvn_free_pages(struct uvm_vnode *vn, uint32_t start, uint32_t stop, bool dirty);

/* uvn_settle: perhaps nothing is dirty any more: tell whom it concerns. => object locked, unlocked on
 * return */
void uvn_settle(struct uvm_object *uobj);

/* vnode_change.c */

/* uvn_change_blocks: must a transfer of the pages [start, stop) wait for a change? => object locked */
bool uvn_change_blocks(const struct uvm_vnode *vn, uint32_t start, uint32_t stop);
/* uvn_change_wait: wait->work runs when it has ended. => object locked, there is a change */
void uvn_change_wait(struct uvm_vnode *vn, struct uvn_wait *wait);
/* uvn_change_turn: a transfer has ended: a change may have been waiting for it. => object locked */
void uvn_change_turn(struct uvm_vnode *vn);
/* uvn_get_resume: start a page-in that was parked. => posted as req->work */
void uvn_get_resume(struct uvm_work *work);

/* vnode_dirty.c */
void uvn_dirty_init(void);
void uvn_dirtied(struct uvm_object *uobj, uint64_t end); /* pgo_dirtied */
/* uvn_dirty_due: it is due for write-behind now. => object locked */
void uvn_dirty_due(struct uvm_vnode *vn);
/* uvn_unlist: take it off the list. => object locked, or gone; true: it was there */
bool uvn_unlist(struct uvm_vnode *vn);
/* uvn_dirty_wrote: a write has ended like this. => object locked */
void uvn_dirty_wrote(struct uvm_vnode *vn, int error);
/* uvn_dirty_wake: fewer may be dirty. => object locked or not */
void uvn_dirty_wake(void);

/*
 * vnode_fault.c: the one place where transfers to files begin.
 *
 * => as uvm_loop_io, uvm_loop_read_some, uvm_loop_sync; object is for the rules
 */
void uvn_io(struct uvm_loop *loop, struct uvm_io *io, uint64_t object);
void uvn_read_some(struct uvm_loop *loop, struct uvm_io *io, uint64_t object);
void uvn_sync_io(struct uvm_loop *loop, struct uvm_io *io, uint64_t object, bool all);

#endif
