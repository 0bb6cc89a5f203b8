/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of a payload is kept aside: payload.h's table. The charge is one atomic number, raised
 * before the memory is taken, so that loops which set aside at the same time keep to it together.
 *
 * Large pieces are mapped one by one: a heap that has once held many would not give them back.
 */
#include "payload.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>

#include "../daemon/util.h"

static struct {
    _Atomic size_t charged;
} aside;

/* => NULL: no memory */
static char *memory_take(size_t size)
{
    if (size < UVM_ASIDE_HEAD)
        return malloc(size);
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mem == MAP_FAILED ? NULL : mem;
}

static void memory_give(char *mem, size_t size)
{
    if (size < UVM_ASIDE_HEAD)
        free(mem);
    else if (munmap(mem, size))
        abort();
}

static struct uvm_payload *payload_new(size_t size, bool pooled)
{
    struct uvm_payload *payload = calloc(1, sizeof(*payload));
    if (!payload)
        return NULL;
    payload->pooled = pooled;
    payload->size = size;
    payload->mem = memory_take(size);
    if (!payload->mem) {
        free(payload);
        return NULL;
    }
    return payload;
}

struct uvm_payload *uvm_payload_buffer(size_t size)
{
    return payload_new(size, true);
}

/* How much of a payload may be kept when so much is aside already. A cut is between pages. */
static size_t aside_size(size_t charged, uint64_t off, size_t len, int flags)
{
    size_t limit = flags & UVM_PAYLOAD_FRESH ? UVM_ASIDE_EASY : UVM_ASIDE_HARD;

    if (charged + len <= limit)
        return len;
    size_t head = charged + UVM_ASIDE_HEAD <= UVM_ASIDE_MAX ? UVM_ASIDE_HEAD : UVM_PAGE_SIZE;
    return MIN(len, uvm_ptoa(uvm_atop(off + head)) - off);
}

struct uvm_payload *uvm_payload_aside(const char *data, uint64_t off, size_t len, int flags,
                                      size_t *ret_len)
{
    size_t charged = aside.charged, size;

    do
        size = aside_size(charged, off, len, flags);
    while (!atomic_compare_exchange_weak(&aside.charged, &charged, charged + size));
    struct uvm_payload *payload = payload_new(size, false);
    if (!payload) {
        aside.charged -= size;
        return NULL;
    }
    memcpy(payload->mem, data, size);
    *ret_len = size;
    return payload;
}

void uvm_payload_free(struct uvm_payload *payload)
{
    if (!payload->pooled)
        aside.charged -= payload->size;
    memory_give(payload->mem, payload->size);
    free(payload);
}

size_t uvm_payload_charged(void)
{
    return aside.charged;
}
