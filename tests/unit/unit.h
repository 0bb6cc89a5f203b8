/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame of a unit test: one suite a program. A test whose needs the kernel does not meet calls
 * unit_skip() from a probe before the runner starts: exit 77 is "skipped" to meson.
 */
#ifndef UVMD_TESTS_UNIT_H
#define UVMD_TESTS_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define UNIT_SKIP 77

static inline void unit_skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(UNIT_SKIP);
}

#define UNIT_MAIN(suite_fn)                           \
    int main(void)                                    \
    {                                                 \
        SRunner *runner = srunner_create(suite_fn()); \
        srunner_run_all(runner, CK_NORMAL);           \
        int failed = srunner_ntests_failed(runner);   \
        srunner_free(runner);                         \
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;  \
    }

#endif
