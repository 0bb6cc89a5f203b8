/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The label: the first page of a swap device, which says that the device is uvmd's.
 *
 *      magic | version | page size | UUID | pages of the device, label included | checksum | zeroes
 *
 * It is what keeps a mistyped path from destroying somebody's data: a device without it is used
 * only when it is empty or by force. It is in the byte order of the machine.
 */
#ifndef UVMD_PAGER_SWAP_LABEL_H
#define UVMD_PAGER_SWAP_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "../util.h"

#define UVM_SWAP_LABEL_MAGIC   "uvmdswap"
#define UVM_SWAP_LABEL_VERSION 1u

struct uvm_swaplabel {
    char magic[8];
    uint32_t version;
    uint32_t page_size;
    uint8_t uuid[16];
    uint64_t npages;
    uint64_t sum; /* XXH3 of the fields before it */
};

union uvm_swaplabel_page {
    struct uvm_swaplabel label;
    uint8_t bytes[UVM_PAGE_SIZE];
};

_Static_assert(sizeof(union uvm_swaplabel_page) == UVM_PAGE_SIZE, "one page");

/* uvm_swaplabel_ours: => the page is a label this version can use, and undamaged */
bool uvm_swaplabel_ours(const union uvm_swaplabel_page *page);

/* uvm_swaplabel_make: a label with a new UUID. => 0 or -errno */
int uvm_swaplabel_make(union uvm_swaplabel_page *page, uint64_t npages);

/* uvm_swaplabel_resize: the same device, another size. */
void uvm_swaplabel_resize(union uvm_swaplabel_page *page, uint64_t npages);

#endif
