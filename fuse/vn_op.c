/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests: made on the loop, ended on a worker.
 */
#include "vn_op.h"

#include <errno.h>
#include <string.h>

#include "../daemon/loop.h"
#include "ops_file.h"

static _Atomic(struct uvm_loop *) some_loop;

struct uvm_loop *vn_loop(void)
{
    return atomic_load(&some_loop);
}

/* The kernel sends none of these; whoever sent one could leave the source with it. */
static bool plain(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static void run_op(struct vn_job *job)
{
    struct vn_op *op = UVM_CONTAINER_OF(job, struct vn_op, job);
    op->run(op);
}

struct vn_op *vn_op_new(fuse_req_t req, fuse_ino_t ino, const char *name, const char *name2,
                        void (*run)(struct vn_op *op))
{
    struct vn_node *node = vn_find(ino);
    struct vn_op *op = NULL;
    int error = ENOENT;

    if (node && ((name && !plain(name)) || (name2 && !plain(name2))))
        error = EINVAL;
    else if (node && !(op = calloc(1, sizeof(*op))))
        error = ENOMEM;
    if (op) {
        op->name = name ? strdup(name) : NULL;
        op->name2 = name2 ? strdup(name2) : NULL;
        if ((name && !op->name) || (name2 && !op->name2)) {
            free(op->name);
            free(op);
            op = NULL;
            error = ENOMEM;
        }
    }
    if (!op) {
        fuse_reply_err(req, error);
        return NULL;
    }
    if (uvm_loop_self())
        atomic_store(&some_loop, uvm_loop_self());
    uvm_file_requests++;
    op->job.fn = run_op;
    op->run = run;
    op->req = req;
    op->node = node;
    op->fd = -1;
    return op;
}

void vn_op_free(struct vn_op *op)
{
    if (op->fd >= 0)
        close(op->fd);
    free(op->name);
    free(op->name2);
    free(op->value);
    free(op);
    uvm_file_requests--;
}

void vn_op_start(struct vn_op *op)
{
    vn_work_submit(&op->job);
}

void vn_op_start_turn(struct vn_op *op)
{
    vn_turn(op->node, &op->job);
}

int vn_errno(int rc)
{
    return rc == -EMFILE ? -ENFILE : rc == -ENOSYS ? -EOPNOTSUPP : rc;
}

void vn_op_end(struct vn_op *op, int rc)
{
    fuse_reply_err(op->req, -vn_errno(rc));
    vn_op_free(op);
}
