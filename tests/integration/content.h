/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Content that can be checked: every 64-bit word of a file is a function of a seed and of its place, so a
 * page that is another's, old or torn is told apart from the right one.
 */
#ifndef UVMD_TESTS_CONTENT_H
#define UVMD_TESTS_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE       4096u
#define PAGE_WORDS (PAGE / sizeof(uint64_t))

/* content_word: never 0. */
uint64_t content_word(uint64_t seed, uint64_t pgno, size_t i);

/* content_random: the next of a sequence. */
uint64_t content_random(uint64_t *state);

/* content_permute: a permutation of 0 .. n-1, to be freed. */
uint32_t *content_permute(uint32_t n, uint64_t seed);

void content_fill(void *page, uint64_t seed, uint64_t pgno);

/* content_check: fail unless the page is what content_fill made, or (seed 0) zeroes. */
void content_check(const void *page, uint64_t seed, uint64_t pgno);

/* content_is: the same as a question. */
bool content_is(const void *page, uint64_t seed, uint64_t pgno);

/* file_open: => a descriptor; O_CLOEXEC, mode 0644 */
int file_open(const char *path, int flags);

/* file_map: => length bytes from off on, shared */
void *file_map(int fd, off_t off, size_t len, int prot);

/* file_pwrite / file_pread: all of it, whatever interrupts. => pread: until the end of file */
void file_pwrite(int fd, const void *buf, size_t len, off_t off);
size_t file_pread(int fd, void *buf, size_t len, off_t off);

/* file_drop: have the kernel write back and forget what it holds of the file. => it is not mapped;
 * returns how many pages it still holds */
uint64_t file_drop(int fd);

/* file_fill: pages [pgno, pgno + n) through a mapping; file_check: verify them. => the file is
 * large enough */
void file_fill(int fd, uint64_t seed, uint64_t pgno, uint64_t n);
void file_check(int fd, uint64_t seed, uint64_t pgno, uint64_t n);

/* file_check_random: some of the first n pages in random order, without read-ahead. */
void file_check_random(int fd, uint64_t seed, uint64_t n, uint64_t some);

/* A whole file, for client_run. */
struct file_job {
    const char *path;
    uint64_t seed, npages;
};
void file_job_fill(void *job);         /* create, set the size, fill through a mapping, drop */
void file_job_check(void *job);        /* drop, verify in order through a mapping */
void file_job_check_random(void *job); /* drop, verify pages at random through a mapping */
void file_job_check_read(void *job);   /* drop, verify with read(2) */

#endif
