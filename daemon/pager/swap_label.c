/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and checking of labels; the transfers are the device's (swap_dev.c).
 */
#include "swap_label.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

static uint64_t label_sum(const struct uvm_swaplabel *label)
{
    return XXH3_64bits(label, offsetof(struct uvm_swaplabel, sum));
}

bool uvm_swaplabel_ours(const union uvm_swaplabel_page *page)
{
    const struct uvm_swaplabel *label = &page->label;

    return memcmp(label->magic, UVM_SWAP_LABEL_MAGIC, sizeof(label->magic)) == 0 &&
           label->version == UVM_SWAP_LABEL_VERSION && label->page_size == UVM_PAGE_SIZE &&
           label->sum == label_sum(label);
}

int uvm_swaplabel_make(union uvm_swaplabel_page *page, uint64_t npages)
{
    struct uvm_swaplabel *label = &page->label;

    memset(page, 0, sizeof(*page));
    memcpy(label->magic, UVM_SWAP_LABEL_MAGIC, sizeof(label->magic));
    label->version = UVM_SWAP_LABEL_VERSION;
    label->page_size = UVM_PAGE_SIZE;
    /* Requests this small are not cut short once the kernel's pool is up. */
    if (getrandom(label->uuid, sizeof(label->uuid), 0) != sizeof(label->uuid))
        return -EIO;
    label->uuid[6] = (uint8_t)((label->uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4, */
    label->uuid[8] = (uint8_t)((label->uuid[8] & 0x3f) | 0x80); /* its variant */
    uvm_swaplabel_resize(page, npages);
    return 0;
}

void uvm_swaplabel_resize(union uvm_swaplabel_page *page, uint64_t npages)
{
    page->label.npages = npages;
    page->label.sum = label_sum(&page->label);
}
