/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is denied is one atomic byte of the object, looked at by every request before it starts, and by a
 * write(2) again before each window: it may have waited for long.
 */
#include "protect.h"

#include <errno.h>
#include <stdatomic.h>

#include "pager/pager.h"

#define DENY_READ  UVM_PROT_READ
#define DENY_WRITE (UVM_PROT_RW & ~UVM_PROT_READ)

int uvm_protect_get(const struct uvm_object *uobj)
{
    return UVM_PROT_RW & ~atomic_load(&uobj->denied);
}

int uvm_protect_check(const struct uvm_object *uobj, bool write)
{
    unsigned denied = atomic_load(&uobj->denied);

    if (!(denied & (write ? DENY_WRITE : DENY_READ)))
        return 0;
    return denied & DENY_READ ? -EACCES : -EROFS;
}

/* No object has ever been protected: then nobody needs to be looked up. */
static _Atomic bool protect_used;

int uvm_protect_check_id(uint64_t object, bool write)
{
    struct uvm_object *uobj = protect_used ? uvm_object_lookup(object) : NULL;
    int error = uobj ? uvm_protect_check(uobj, write) : 0;

    if (uobj)
        uobj->pgops->pgo_detach(uobj);
    return error;
}

/* => what revoke said, where that means that pages are still out */
static int revoke_all(struct uvm_object *uobj,
                      int (*revoke)(uint64_t object, uint64_t off, uint64_t len))
{
    int error = revoke(uobj->id, 0, uvm_ptoa(UVM_OBJECT_PAGES_MAX));
    return error == -ENOENT ? 0 : error;
}

int uvm_protect_set(struct uvm_object *uobj, int prot,
                    int (*revoke)(uint64_t object, uint64_t off, uint64_t len))
{
    unsigned old = atomic_load(&uobj->denied), now = UVM_PROT_RW & ~(unsigned)prot;

    uvm_lock_assert_none();
    if (!uobj->pgops->pgo_shareprot)
        return -EOPNOTSUPP;
    protect_used = true;
    if (!(now & ~old)) { /* nothing is taken away */
        atomic_store(&uobj->denied, (uint8_t)now);
        return 0;
    }
    atomic_store(&uobj->denied, (uint8_t)((now & DENY_READ) | (now & old & DENY_WRITE)));
    int error = revoke_all(uobj, revoke);
    atomic_store(&uobj->denied, (uint8_t)now);
    {
        /* Also for none: to take our own pages' memory away would be to forget them. */
        UVM_LOCK_SCOPE(&uobj->lock);
        uobj->pgops->pgo_shareprot(uobj, 0, UVM_OBJECT_PAGES_MAX, UVM_PROT_READ);
    }
    int again = revoke_all(uobj, revoke);
    return error ? error : again;
}
