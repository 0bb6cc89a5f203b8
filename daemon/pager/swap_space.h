/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disk space of swap files. A swap file has every block it will ever need before its first use:
 * a page-out must not find the disk full (P1), so a hole in a swap file would be a promise broken.
 */
#ifndef UVMD_PAGER_SWAP_SPACE_H
#define UVMD_PAGER_SWAP_SPACE_H

#include <stdint.h>

#include "../error.h"

/*
 * uvm_swapspace_set: make a regular file exactly size bytes long, with no hole in it.
 *
 * => fd: opened O_RDWR | O_DIRECT; size: a multiple of the page size
 * => bytes that are there and stay within size keep their value
 * => on failure the file has its old length again, and err names path and, when the disk is too
 *    small, what is needed and what is free
 */
int uvm_swapspace_set(int fd, const char *path, uint64_t size, struct uvm_error *err);

#endif
