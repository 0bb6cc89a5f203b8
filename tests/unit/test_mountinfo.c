/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mount table: which line is a mount point's, however its name is written there.
 */
#include <errno.h>
#include <string.h>

#include "daemon/mountinfo.h"
#include "unit.h"

#define ROOT "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

static struct uvm_mount mount;

static int scan(const char *table, const char *path)
{
    FILE *file = fmemopen((char *)table, strlen(table), "r");

    ck_assert_ptr_nonnull(file);
    int rc = uvm_mountinfo_scan(file, path, &mount);
    fclose(file);
    return rc;
}

static void check(unsigned major, unsigned minor, const char *type)
{
    ck_assert_uint_eq(mount.major, major);
    ck_assert_uint_eq(mount.minor, minor);
    ck_assert_str_eq(mount.type, type);
}

START_TEST(finds_the_topmost)
{
    const char *table = ROOT "20 1 0:30 / /m rw - tmpfs none rw\n"
                             "21 1 0:31 / /m/x rw - proc none rw\n"
                             "22 20 0:32 / /m rw shared:2 master:1 - fuse.uvmd uvmd rw,user_id=0\n"
                             "23 1 0:33 /sub /other rw - xfs /dev/b rw\n";

    ck_assert_int_eq(scan(table, "/"), 0);
    check(8, 1, "ext4");
    ck_assert_int_eq(scan(table, "/m"), 0);
    check(0, 32, "fuse.uvmd");
    ck_assert_int_eq(scan(table, "/other"), 0);
    check(0, 33, "xfs");
    ck_assert_int_eq(scan(table, "/sub"), -ENOENT); /* a root is no mount point */
    ck_assert_int_eq(scan(table, "/m/"), -ENOENT);
    ck_assert_int_eq(scan("", "/"), -ENOENT);
}
END_TEST

START_TEST(names_are_unescaped)
{
    const char *table = ROOT "20 1 0:30 / /a\\040b\\011c\\012d\\134e rw - fuse.uvmd uvmd rw\n"
                             "21 1 0:31 / /a\\134040b rw - fuse.uvmd uvmd rw\n"
                             "22 1 0:32 / /\\303\\251\\043 rw - fuse.uvmd uvmd rw\n"
                             "23 1 0:33 / /odd\\9\\04 rw - fuse.uvmd uvmd rw\n";

    ck_assert_int_eq(scan(table, "/a b\tc\nd\\e"), 0);
    check(0, 30, "fuse.uvmd");
    ck_assert_int_eq(scan(table, "/a\\040b"), 0); /* what looks like an escape, and is a name */
    check(0, 31, "fuse.uvmd");
    ck_assert_int_eq(scan(table, "/\xc3\xa9#"), 0);
    check(0, 32, "fuse.uvmd");
    ck_assert_int_eq(scan(table, "/odd\\9\\04"), 0);
    check(0, 33, "fuse.uvmd");
    ck_assert_int_eq(scan(table, "/a b"), -ENOENT);
}
END_TEST

START_TEST(odd_lines_are_passed_over)
{
    char table[8192], name[4096];

    ck_assert_int_eq(scan("\n1\n1 2\n1 2 3 / /m rw - t s o\n1 2 3:4 /\n" ROOT, "/"), 0);
    check(8, 1, "ext4");
    ck_assert_int_eq(scan("1 2 3 / /m rw - t s o\n", "/m"), -ENOENT);
    ck_assert_int_eq(scan("1 2 3:4 / /m rw", "/m"), 0);
    check(3, 4, "unknown");

    memset(name, 'n', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    snprintf(table, sizeof(table), ROOT "20 1 0:30 / %s rw - fuse.uvmd uvmd rw\n", name);
    ck_assert_int_eq(scan(table, name), 0);
    check(0, 30, "fuse.uvmd");
}
END_TEST

START_TEST(of_this_machine)
{
    ck_assert_int_eq(uvm_mountinfo_find("/proc", &mount), 0);
    ck_assert_str_eq(mount.type, "proc");
    ck_assert_int_eq(uvm_mountinfo_find("/proc/self", &mount), -ENOENT);
}
END_TEST

static Suite *mountinfo_suite(void)
{
    Suite *suite = suite_create("mountinfo");
    TCase *tc = tcase_create("mountinfo");

    tcase_add_test(tc, finds_the_topmost);
    tcase_add_test(tc, names_are_unescaped);
    tcase_add_test(tc, odd_lines_are_passed_over);
    tcase_add_test(tc, of_this_machine);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(mountinfo_suite)
