/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small helpers of layer 0: units of the page, cleanup attributes, arithmetic.
 */
#ifndef UVMD_UTIL_H
#define UVMD_UTIL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/queue.h>
#include <unistd.h>

#define UVM_PAGE_SHIFT 12
#define UVM_PAGE_SIZE  (1u << UVM_PAGE_SHIFT)
#define UVM_PAGE_MASK  (UVM_PAGE_SIZE - 1)

#define UVM_CLUSTER_PAGES 256 /* limit of one transfer, both directions: 1 MiB */

#define uvm_ptoa(pages)       ((uint64_t)(pages) << UVM_PAGE_SHIFT)
#define uvm_atop(bytes)       ((uint64_t)(bytes) >> UVM_PAGE_SHIFT)
#define uvm_round_page(bytes) (((uint64_t)(bytes) + UVM_PAGE_MASK) & ~(uint64_t)UVM_PAGE_MASK)

#define UVM_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* glibc's sys/queue.h has no _SAFE walks. */
#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next) \
    for ((var) = TAILQ_FIRST(head); (var) && ((next) = TAILQ_NEXT(var, field), 1); (var) = (next))
#endif
#ifndef LIST_FOREACH_SAFE
#define LIST_FOREACH_SAFE(var, head, field, next) \
    for ((var) = LIST_FIRST(head); (var) && ((next) = LIST_NEXT(var, field), 1); (var) = (next))
#endif

#define UVM_CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void uvm_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void uvm_cleanup_fclose(FILE **f)
{
    if (*f)
        fclose(*f);
}

static inline void uvm_cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define CLEANUP_FREE   UVM_CLEANUP(uvm_cleanup_free)
#define CLEANUP_FCLOSE UVM_CLEANUP(uvm_cleanup_fclose)
#define CLEANUP_CLOSE  UVM_CLEANUP(uvm_cleanup_close)

/* Take the value out of a variable that has a cleanup, so that it survives the scope. */
#define UVM_TAKE_FD(fd)       \
    ({                        \
        int fd_taken_ = (fd); \
        (fd) = -1;            \
        fd_taken_;            \
    })
#define UVM_TAKE_PTR(p)               \
    ({                                \
        __typeof__(p) p_taken_ = (p); \
        (p) = NULL;                   \
        p_taken_;                     \
    })

#endif
