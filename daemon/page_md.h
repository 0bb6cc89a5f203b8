/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine-independent layers need of the pmap, as a vector that the pmap installs: the
 * pagers and the pages are blind to pmap/, as pmap/ is to them.
 */
#ifndef UVMD_PAGE_MD_H
#define UVMD_PAGE_MD_H

#include <stdbool.h>
#include <stdint.h>

#define UVM_WINDOW_PAGES 64u
#define UVM_NOWINDOW     UINT32_MAX

enum { UVM_PROT_NONE = 0, UVM_PROT_READ = 1, UVM_PROT_RW = 3 };

/* Contracts: pmap/pmap.h, function of the same name. */
struct uvm_md_ops {
    void (*page_protect)(uint32_t apage, uint32_t n, int prot);
    void (*remove)(uint32_t apage, uint32_t n);
    bool (*is_modified)(uint32_t apage);
    void (*clear_modify)(uint32_t apage, uint32_t n);
    void *(*kva)(uint32_t apage);
    uint32_t (*window_alloc)(uint64_t id, uint32_t index, void *owner);
    void (*window_free)(uint32_t window);
};

extern const struct uvm_md_ops *uvm_md;

#endif
