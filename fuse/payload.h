/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The payload of a WRITE that waits, wherever it is kept: in a pooled buffer of the channel, or
 * aside in memory of its own. Private to the channel.
 *
 *      aside in all:      0 ------- EASY ------- HARD ------- MAX -------------
 *      fresh              whole     head         head         its first page
 *      over cached data   whole     whole        head         its first page
 *
 * No reading stops for want of this memory, because nobody can choose what is read next from
 * /dev/fuse: it may be the kernel's own WRITE that the waiting ones depend on. So every payload is
 * taken, and what bounds them is how much of each is kept. A write(2) of which less is kept is
 * answered short, which is right for a program to see and to go on from.
 *
 * A short answer makes the kernel forget its pages behind the short end, though a mapping may have
 * stored to them since they were written back last; they are taken back at once, which writes back
 * what is still there, but a reader may come first. Where the client cache had nothing behind the
 * first page, no mapping can have stored; such writes, the fresh ones, are the first to be cut. The
 * others are cut only when it cannot be helped.
 */
#ifndef UVMD_FUSE_PAYLOAD_H
#define UVMD_FUSE_PAYLOAD_H

#include <stdint.h>
#include <sys/queue.h>

#include "channel.h"

/*
 * MAX is what the daemon may be larger than memory= for the sake of writes that wait, about as much
 * as its other buffers and tables take. It has room for 24 whole payloads and 128 heads: enough for
 * as many writers to get on in good steps as one swap device serves. Beyond it, each write that
 * waits costs a page.
 */
#define UVM_ASIDE_EASY (16u << 20)
#define UVM_ASIDE_HARD (24u << 20)
#define UVM_ASIDE_MAX  (32u << 20)
#define UVM_ASIDE_HEAD (64u << 10) /* a step that is worth its system call */

struct uvm_payload {
    SLIST_ENTRY(uvm_payload) link;
    bool pooled;
    size_t size; /* charged unless it is pooled */
    char *mem;
};

/* uvm_payload_buffer: for the pool. => NULL: no memory */
struct uvm_payload *uvm_payload_buffer(size_t size);

/* uvm_payload_aside: copy a payload, or as much of it as there is room for; as uvm_payload_keep. */
struct uvm_payload *uvm_payload_aside(const char *data, uint64_t off, size_t len, int flags,
                                      size_t *ret_len);

/* uvm_payload_free: either kind. */
void uvm_payload_free(struct uvm_payload *payload);

/* uvm_payload_charged: bytes aside now. */
size_t uvm_payload_charged(void);

#endif
