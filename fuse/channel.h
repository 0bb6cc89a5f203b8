/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How requests reach the loops. A channel reads requests and gives them to libfuse on a loop's
 * thread; replies may be sent by any thread, later. Private to fuse/.
 */
#ifndef UVMD_FUSE_CHANNEL_H
#define UVMD_FUSE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

enum {
    UVM_PAYLOAD_URGENT = 1, /* the kernel waits for this request before it can let go of memory or
                               locks: nothing may be in its way */
    UVM_PAYLOAD_FRESH =
        4, /* the client cache has nothing behind the first page: a short answer loses
                               nothing */
};

/*
 * uvm_payload_keep: keep the payload of the request being handled, or what is still needed of it,
 * until it is released. For a request that has not ended when its handler is about to return.
 *
 * => on the handler's thread; data lies in the request, and belongs at off in the file
 * => returns where the bytes are from now on, or NULL: no memory (never if it is urgent)
 * => *ret_len: how many of them are kept: less than len, up to the end of a page, only if it is
 *    not urgent; the request must then be answered short
 */
struct uvm_payload;
const char *uvm_payload_keep(const char *data, uint64_t off, size_t len, int flags,
                             struct uvm_payload **ret, size_t *ret_len);
void uvm_payload_release(struct uvm_payload *payload);

/* uvm_read_buffer: this loop's buffer for the data of a READ reply, free for use until the handler
 * returns. => UVM_READ_BUFFER_SIZE bytes */
#define UVM_READ_BUFFER_SIZE ((1u << 20) + 2 * 4096)
char *uvm_read_buffer(void);

#endif
