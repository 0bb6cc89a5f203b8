/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Freezing objects: what clients may do with one, whatever they have mapped.
 *
 *      rw     everything
 *      ro     reading. Writing fails with EROFS: write(2), open for writing, truncate, fallocate
 *      none   nothing: EACCES; a touch of a mapping is SIGBUS
 *
 * The kernel cannot be told to take the right to store from a mapping. So its pages are taken away, with
 * what had been stored up to then:
 *
 *      reads are refused (none) --> revoke: dirty pages come as WRITEs, and are kept
 *                                   --> writes are refused --> revoke again: what slipped in between
 *
 * A store through a mapping that is older than that (the page is read again, and the kernel asks nobody
 * before it is stored to) is refused when the kernel writes it back: fsync and msync say so. The page is
 * then revoked, so that readers soon see the frozen bytes again.
 *
 * On our side of the clients, the object's resident pages are write-protected (pgo_shareprot). Page-out
 * goes on as ever: it changes no bytes.
 */
#ifndef UVMD_PROTECT_H
#define UVMD_PROTECT_H

#include <stdbool.h>
#include <stdint.h>

#include "object.h"

/*
 * uvm_protect_set: let clients do prot (UVM_PROT_*) with the object from now on.
 *
 * => revoke: takes a range of an object from the client cache, may block (revoker.h)
 * => object referenced, not locked; the control thread only: it waits for the kernel, which waits for
 *    loops
 * => 0; -EOPNOTSUPP: objects of this kind cannot be protected; -errno of revoke: what clients hold may
 *    be with them still, though nothing new is allowed
 */
int uvm_protect_set(struct uvm_object *uobj, int prot,
                    int (*revoke)(uint64_t object, uint64_t off, uint64_t len));

/* uvm_protect_get: => UVM_PROT_* */
int uvm_protect_get(const struct uvm_object *uobj);

/* uvm_protect_check: may a client read (write) it now? => any lock; 0, -EACCES or -EROFS */
int uvm_protect_check(const struct uvm_object *uobj, bool write);

/* uvm_protect_check_id: the same for who opens a file, which may have no object yet. => no lock of
 * the objects' rank or above */
int uvm_protect_check_id(uint64_t object, bool write);

#endif
