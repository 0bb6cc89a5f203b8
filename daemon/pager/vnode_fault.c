/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where transfers to files begin, and errors on request: for tests, and for trying out what a dying
 * disk or a full one does to a load.
 *
 *      uvn_io, ... --> a rule that covers it? --no--> the loop
 *                           \--yes--> its error; the file never sees the transfer
 *
 * The first rule that hits decides.
 */
#include <errno.h>
#include <stdatomic.h>

#include "vnode_impl.h"

#define FAULT_RULES 64u

enum op { OP_READ, OP_WRITE, OP_SYNC };

static struct {
    struct uvm_lock lock;
    bool on;
    struct uvn_fault rule[FAULT_RULES]; /* lock; count 0 is for good */
    _Atomic unsigned nrules;            /* lock; read without it to skip the work */
} faults;

void uvn_faults(bool on)
{
    uvm_lock_init(&faults.lock, UVM_LR_DIRTY);
    faults.on = on;
    faults.nrules = 0;
}

int uvn_inject(const struct uvn_fault *rule)
{
    if (!faults.on)
        return -ENOTSUP;
    if (rule->error <= 0 || (!rule->reads && !rule->writes && !rule->syncs))
        return -EINVAL;
    UVM_LOCK_SCOPE(&faults.lock);
    if (faults.nrules == FAULT_RULES)
        return -ENOSPC;
    faults.rule[faults.nrules] = *rule;
    faults.nrules++;
    return 0;
}

void uvn_inject_clear(void)
{
    if (!faults.on)
        return;
    UVM_LOCK_SCOPE(&faults.lock);
    faults.nrules = 0;
}

static bool covers(const struct uvn_fault *rule, enum op op, const struct uvm_io *io,
                   uint64_t object)
{
    if (!(op == OP_READ ? rule->reads : op == OP_WRITE ? rule->writes : rule->syncs))
        return false;
    if (rule->object && rule->object != object)
        return false;
    if (!rule->len || op == OP_SYNC)
        return true;
    return io->off < rule->off + rule->len && rule->off < io->off + io->len;
}

static void spend(unsigned i)
{
    if (!faults.rule[i].count || --faults.rule[i].count)
        return;
    for (; i + 1 < faults.nrules; i++)
        faults.rule[i] = faults.rule[i + 1];
    faults.nrules--;
}

/* => true: a rule says how the transfer ends, and it has been told */
static bool hit(struct uvm_loop *loop, struct uvm_io *io, uint64_t object, enum op op)
{
    if (!atomic_load_explicit(&faults.nrules, memory_order_relaxed))
        return false;
    UVM_LOCK_SCOPE(&faults.lock);
    for (unsigned i = 0; i < faults.nrules; i++) {
        if (!covers(&faults.rule[i], op, io, object))
            continue;
        io->result = -faults.rule[i].error;
        io->moved = 0;
        spend(i);
        uvm_loop_complete(loop, io);
        return true;
    }
    return false;
}

void uvn_io(struct uvm_loop *loop, struct uvm_io *io, uint64_t object)
{
    if (!hit(loop, io, object, io->write ? OP_WRITE : OP_READ))
        uvm_loop_io(loop, io);
}

void uvn_read_some(struct uvm_loop *loop, struct uvm_io *io, uint64_t object)
{
    if (!hit(loop, io, object, OP_READ))
        uvm_loop_read_some(loop, io);
}

void uvn_sync_io(struct uvm_loop *loop, struct uvm_io *io, uint64_t object, bool all)
{
    if (!hit(loop, io, object, OP_SYNC))
        uvm_loop_sync(loop, io, all);
}
