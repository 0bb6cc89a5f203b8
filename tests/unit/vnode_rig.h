/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vnode on a file without a name, on the fixture of core.h. The file's first bytes are patterns of
 * version 0, as core_fill makes them.
 */
#ifndef UVMD_TESTS_VNODE_RIG_H
#define UVMD_TESTS_VNODE_RIG_H

#include "core.h"
#include "daemon/pager/vnode.h"

#define RIG_PAGES 2048u /* of memory */

/* How the file is opened: past the page cache, or as on a file system that cannot do that. */
enum rig_mode { RIG_DIRECT, RIG_BUFFERED, RIG_MODES };

/* rig_up: => one vnode, rig_obj, on a file of `size` bytes, rig_fd; rig_down checks that nothing is lost */
void rig_up(enum rig_mode mode, uint64_t size);
void rig_down(void);

/* rig_vnode: another one. => the caller drops its reference */
struct uvm_object *rig_vnode(enum rig_mode mode, uint64_t size, int *ret_fd);

extern struct uvm_object *rig_obj;
extern int rig_fd; /* buffered; of the test's own */

/* rig_size: the length of the file. rig_file_is: page pgno of the file, as far as it goes, is the
 * pattern of that version, and nothing but zeroes from byte `len` on. */
uint64_t rig_size(void);
bool rig_file_is(uint32_t pgno, unsigned version, size_t len);

/* rig_store: store patterns into pages, which are then dirty. */
void rig_store(uint32_t pgno, uint32_t npages, unsigned version);

/* rig_flush: flush, run to its end. => what done was given */
int rig_flush(uint32_t start, uint32_t stop, enum uvn_sync sync);

/* rig_flags: of a resident page. */
unsigned rig_flags(uint32_t pgno);

/* rig_inject: fail transfers of [off, off + len), `count` times (0: for good). */
void rig_inject(bool write, uint32_t pgno, uint32_t npages, int error, uint64_t count);

#endif
