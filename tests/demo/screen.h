/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the demonstration shows: the phase with its progress, and uvmd's counters below it.
 *
 * On a terminal a thread redraws both five times a second; elsewhere a phase is one line when it
 * ends, and one every few seconds while it lasts. The same thread is the watchdog: when nothing
 * has moved for a minute, it says so and ends the program.
 *
 *      demo.c --- phase, done (atomics) ---> screen thread --- stat, status ---> control socket
 */
#ifndef UVMD_DEMO_SCREEN_H
#define UVMD_DEMO_SCREEN_H

#include <stdint.h>

/* What one look at uvmd found. */
struct snapshot {
    uint64_t npages, free, active, inactive;
    uint64_t swpages, swpginuse;
    uint64_t pageins, pgswapin, pageouts, pgswapout;
    uint64_t rss; /* bytes, the arena's resident pages included */
};

/* screen_start: find uvmd and begin to draw. => ends the program when uvmd does not answer */
void screen_start(const char *socket);

/* screen_look: ask uvmd now. => as screen_start */
struct snapshot screen_look(void);

/* screen_phase: a phase of total bytes begins; name is kept. */
void screen_phase(const char *name, uint64_t total);

/* screen_advance: bytes more of the phase are done. */
void screen_advance(uint64_t bytes);

/* screen_phase_end: => the phase's result stays on the screen */
void screen_phase_end(void);

/* screen_stop: end the thread. => the largest memory of uvmd that was seen, in bytes */
uint64_t screen_stop(void);

#endif
