/* SPDX-License-Identifier: BSD-2-Clause */
/* Which times of a file count: ours, the store's, somebody else's. */
#include "../../fuse/vn_op.h"
#include "unit.h"

static struct vn_node *node;

static void setup(void)
{
    node = calloc(1, sizeof(*node));
    ck_assert_ptr_nonnull(node);
    uvm_lock_init(&node->lock, UVM_LR_INODE);
}

static void teardown(void)
{
    uvm_lock_destroy(&node->lock);
    free(node);
}

/* A regular file of the store, of this time and size. */
static struct statx store(int64_t time, uint64_t size)
{
    return (struct statx){
        .stx_mode = S_IFREG | 0644,
        .stx_size = size,
        .stx_mtime = {.tv_sec = time},
        .stx_ctime = {.tv_sec = time},
    };
}

static int64_t shown_mtime(const struct statx *stx)
{
    struct stat st;
    vn_show(node, stx, &st);
    return st.st_mtim.tv_sec;
}

static int64_t shown_ctime(const struct statx *stx)
{
    struct stat st;
    vn_show(node, stx, &st);
    return st.st_ctim.tv_sec;
}

START_TEST(untouched_shows_the_store)
{
    struct statx a = store(10, 5), b = store(20, 5);

    vn_times_foreign_stamp(node, &a);
    ck_assert(!vn_times_foreign(node, &a));
    ck_assert_int_eq(shown_mtime(&a), 10);
    ck_assert(vn_times_foreign(node, &b));
    ck_assert_int_eq(shown_mtime(&b), 20);
}
END_TEST

START_TEST(same_times_another_size)
{
    struct statx a = store(10, 5), b = store(10, 6);

    vn_times_foreign_stamp(node, &a);
    ck_assert(vn_times_foreign(node, &b));
}
END_TEST

START_TEST(written_is_ours_until_clean)
{
    struct statx a = store(10, 5), out = store(99, 5), stamped = store(100, 5),
                 theirs = store(200, 5);
    struct timespec mtime;
    uint64_t gen;

    vn_times_foreign_stamp(node, &a);
    ck_assert(!vn_times_unset(node, &mtime, &gen));
    vn_times_wrote(node);
    ck_assert(!vn_times_foreign(node, &out)); /* a page-out */
    int64_t ours = shown_mtime(&out);
    ck_assert_int_gt(ours, 1000000);
    ck_assert(vn_times_unset(node, &mtime, &gen));
    ck_assert_int_eq(mtime.tv_sec, ours);
    vn_times_put(node, gen, &stamped);
    ck_assert(!vn_times_unset(node, &mtime, &gen));
    ck_assert_int_eq(shown_ctime(&stamped), ours);
    ck_assert(!vn_times_foreign(node, &stamped));
    ck_assert(vn_times_foreign(node, &theirs));
    ck_assert_int_eq(shown_mtime(&theirs), 200);
    ck_assert_int_eq(shown_ctime(&theirs), 200);
    vn_times_foreign_stamp(node, &theirs);
    ck_assert_int_eq(shown_ctime(&theirs), 200);
}
END_TEST

/* A write while the time of an earlier one was being put on the store. */
START_TEST(write_beside_the_stamp)
{
    struct statx stamped = store(100, 5);
    struct timespec mtime;
    uint64_t gen;

    vn_times_wrote(node);
    ck_assert(vn_times_unset(node, &mtime, &gen));
    vn_times_wrote(node);
    vn_times_put(node, gen, &stamped);
    ck_assert(vn_times_unset(node, &mtime, &gen));
    ck_assert(!vn_times_foreign(node, &stamped));
}
END_TEST

/* utimens has the last word, also when the page-out comes after it. */
START_TEST(set_while_dirty)
{
    struct statx set = store(50, 5);
    struct timespec mtime;
    uint64_t gen;

    vn_times_wrote(node);
    vn_times_set(node, &set);
    ck_assert_int_eq(shown_mtime(&set), 50);
    ck_assert(vn_times_unset(node, &mtime, &gen));
    ck_assert_int_eq(mtime.tv_sec, 50);
}
END_TEST

/* chmod and the like: a new time of change that is ours; the bytes are what they were. */
START_TEST(touched)
{
    struct statx a = store(10, 5), b = store(10, 5), c = store(10, 5);

    b.stx_ctime.tv_sec = 30;
    c.stx_ctime.tv_sec = 40;
    vn_times_foreign_stamp(node, &a);
    vn_times_touched(node, &b);
    ck_assert(!vn_times_foreign(node, &b));
    ck_assert_int_eq(shown_ctime(&b), 30);
    ck_assert(vn_times_foreign(node, &c));
    /* Of a file that somebody else has written before, the stamp stays old. */
    struct statx d = store(60, 5);
    vn_times_touched(node, &d);
    ck_assert(vn_times_foreign(node, &d));
}
END_TEST

START_TEST(resized)
{
    struct statx a = store(10, 5), b = store(20, 0), out = store(30, 0);
    struct timespec mtime;
    uint64_t gen;

    vn_times_foreign_stamp(node, &a);
    vn_times_resized(node, &b, false);
    ck_assert(!vn_times_foreign(node, &b));
    ck_assert(!vn_times_unset(node, &mtime, &gen));
    vn_times_resized(node, &b, true); /* an edge is dirty: its page-out is ours too */
    ck_assert(!vn_times_foreign(node, &out));
    ck_assert_int_eq(shown_mtime(&out), 20);
    ck_assert(vn_times_unset(node, &mtime, &gen));
    ck_assert_int_eq(mtime.tv_sec, 20);
}
END_TEST

START_TEST(numbers)
{
    struct statx root = {.stx_dev_major = 8, .stx_dev_minor = 1, .stx_ino = 2};
    const uint64_t dev = 8ull << 32 | 1, other = 8ull << 32 | 2;

    vn_root_is(&root);
    ck_assert_uint_eq(vn_show_ino(dev, 2), UVM_INO_VNODE_ROOT);
    ck_assert_uint_eq(vn_show_ino(dev, 77), UVM_INO_VNODE_BIT | 77);
    ck_assert_uint_ne(vn_show_ino(other, 77), vn_show_ino(dev, 77));
    ck_assert_uint_ne(vn_show_ino(other, 2), vn_show_ino(other, 77));
    ck_assert(vn_show_ino(other, 2) & UVM_INO_VNODE_BIT);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("vn_times");
    TCase *tc = tcase_create("times");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, untouched_shows_the_store);
    tcase_add_test(tc, same_times_another_size);
    tcase_add_test(tc, written_is_ours_until_clean);
    tcase_add_test(tc, write_beside_the_stamp);
    tcase_add_test(tc, set_while_dirty);
    tcase_add_test(tc, touched);
    tcase_add_test(tc, resized);
    tcase_add_test(tc, numbers);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(suite)
