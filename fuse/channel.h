/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How requests reach the loops. A channel reads requests and gives them to libfuse on a loop's
 * thread; replies may be sent by any thread, later. Private to fuse/.
 */
#ifndef UVMD_FUSE_CHANNEL_H
#define UVMD_FUSE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "../daemon/error.h"
#include "../daemon/loop.h"

struct fuse_session;

struct uvm_channel_ops {
    const char *name;
    /* start: begin serving the session on these loops, which do not run yet. => 0 or -errno */
    int (*start)(struct fuse_session *se, struct uvm_loop **loops, unsigned nloops,
                 void (*ended)(void), struct uvm_error *err);
    /* settle: have every loop read until there is nothing to read; waits for them. */
    void (*settle)(void);
    /* quiesce: read no more requests. => any thread */
    void (*quiesce)(void);
    /* stop: free what start made. => the loops have ended, or start has failed */
    void (*stop)(void);
};

extern const struct uvm_channel_ops uvm_channel_dev;

/*
 * The memory that the request being handled lies in. An operation that finishes later and needs the
 * payload takes it over.
 *
 * => urgent: the kernel waits for this request before it can let go of memory or locks
 * => *ret: to be given back with uvm_payload_release; data may have moved: returns where it is now,
 *    or NULL: no memory
 */
struct uvm_payload;
const char *uvm_payload_take(const char *data, size_t len, bool urgent, struct uvm_payload **ret);
void uvm_payload_release(struct uvm_payload *payload);

/* uvm_read_buffer: this loop's buffer for the data of a READ reply, free for use until the handler
 * returns. => UVM_READ_BUFFER_SIZE bytes */
#define UVM_READ_BUFFER_SIZE ((1u << 20) + 2 * 4096)
char *uvm_read_buffer(void);

#endif
