/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree on store: records, names and their order, extended attributes, paths, and what a full
 * store does.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/tree.h"

#define ANON    UVM_INO_ANON
#define SMALL   (1u << 20)
#define TYPE(m) ((uint8_t)((m) >> 12))

static char base[PATH_MAX - 16], dir[PATH_MAX];

/* Around all tests, in the process that outlives a failed one. */
static void make_base(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(base, sizeof(base), "%s/uvmd-tree-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(base));
    snprintf(dir, sizeof(dir), "%s/tree", base);
}

static void remove_base(void)
{
    uvm_tree_remove(dir);
    rmdir(base);
}

static void open_tree(bool fresh, uint64_t mapsize)
{
    struct uvm_error err = {0};
    ck_assert_msg(uvm_tree_open(dir, fresh, mapsize, &err) == 0, "%s", err.msg);
}

static void setup(void)
{
    open_tree(true, 0);
}

static void teardown(void)
{
    uvm_tree_close();
    ck_assert_int_eq(uvm_tree_remove(dir), 0);
    ck_assert_int_eq(access(dir, F_OK), -1);
}

/* Make a file in one transaction, without in-core inodes. */
static int make(uint64_t parent, uint64_t cookie, const char *name, uint32_t mode, uint64_t *ino)
{
    UVM_TREE_TXN(txn);
    struct uvm_attr attr = {.parent = parent, .cookie = cookie, .mode = mode, .nlink = 1};
    struct uvm_dirent ent = {.cookie = cookie, .type = TYPE(mode)};

    snprintf(ent.name, sizeof(ent.name), "%s", name);
    int error = uvm_tree_room();
    if (!error)
        error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_tree_ino_new(&txn, &attr.ino);
    ent.ino = *ino = attr.ino;
    if (!error)
        error = uvm_tree_name_add(&txn, parent, &ent);
    if (!error)
        error = uvm_tree_attr_put(&txn, &attr);
    return error ? error : uvm_tree_commit(&txn);
}

static int drop(uint64_t parent, const char *name)
{
    UVM_TREE_TXN(txn);
    struct uvm_dirent ent;
    struct uvm_attr attr;

    int error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_tree_name_get(&txn, parent, name, &ent);
    if (!error)
        error = uvm_tree_name_del(&txn, parent, &ent);
    if (!error)
        error = uvm_tree_attr_get(&txn, ent.ino, &attr);
    if (!error)
        error = uvm_tree_attr_del(&txn, &attr);
    return error ? error : uvm_tree_commit(&txn);
}

START_TEST(fresh_holds_top)
{
    struct uvm_dirent ent;
    struct uvm_attr attr;
    uint64_t ino;

    ck_assert_int_eq(uvm_tree_name_get(NULL, UVM_INO_ROOT, "anon", &ent), 0);
    ck_assert_uint_eq(ent.ino, ANON);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, ANON, &attr), 0);
    ck_assert_uint_eq(attr.mode, S_IFDIR | 01777);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, UVM_INO_ROOT, &attr), 0);
    ck_assert_uint_eq(attr.mode, S_IFDIR | 0755);
    ck_assert_uint_eq(attr.nlink, 3);
    ck_assert_int_eq(uvm_tree_empty(NULL, ANON), 1);
    ck_assert_int_eq(uvm_tree_empty(NULL, UVM_INO_ROOT), 0);
    ck_assert_int_eq(make(ANON, 3, "a", S_IFREG, &ino), 0);
    ck_assert_uint_eq(ino, UVM_INO_FIRST);
}
END_TEST

/* Other trees' top directories are names of the root without a record. */
START_TEST(top_of_others)
{
    struct uvm_dirent ent, ents[4];
    struct uvm_attr attr;

    ck_assert_int_eq(uvm_tree_top(3, "vnode"), 0);
    ck_assert_int_eq(uvm_tree_top(4, "device"), 0);
    ck_assert_int_eq(uvm_tree_top(3, "vnode"), 0); /* is there already */
    ck_assert_int_eq(uvm_tree_attr_get(NULL, UVM_INO_ROOT, &attr), 0);
    ck_assert_uint_eq(attr.nlink, 5);
    ck_assert_uint_eq(attr.size, 3 * UVM_DIRENT_SIZE);
    ck_assert_int_eq(uvm_tree_name_get(NULL, UVM_INO_ROOT, "vnode", &ent), 0);
    ck_assert_uint_eq(ent.ino, 3);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, 3, &attr), -ENOENT);
    ck_assert_int_eq(uvm_tree_list(UVM_INO_ROOT, 0, UINT64_MAX, ents, 4), 3);
    ck_assert_str_eq(ents[2].name, "device");
    ck_assert_uint_eq(ents[2].type, TYPE(S_IFDIR));
    uvm_tree_close();
    open_tree(false, 0);
    ck_assert_int_eq(uvm_tree_top(4, "device"), 0);
    ck_assert_int_eq(uvm_tree_list(UVM_INO_ROOT, 0, UINT64_MAX, ents, 4), 3);
}
END_TEST

START_TEST(reopen_keeps_and_fresh_wipes)
{
    struct uvm_dirent ent;
    uint64_t ino, other;

    ck_assert_int_eq(make(ANON, 3, "a", S_IFREG, &ino), 0);
    uvm_tree_close();
    open_tree(false, 0);
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, "a", &ent), 0);
    ck_assert_uint_eq(ent.ino, ino);
    ck_assert_int_eq(make(ANON, 4, "b", S_IFREG, &other), 0);
    ck_assert_uint_eq(other, ino + 1);
    uvm_tree_close();
    open_tree(true, 0);
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, "a", &ent), -ENOENT);
}
END_TEST

START_TEST(abort_leaves_nothing)
{
    struct uvm_dirent ent = {.ino = 99, .cookie = 3, .type = TYPE(S_IFREG), .name = "a"};
    uint64_t before, after;
    {
        UVM_TREE_TXN(txn);
        ck_assert_int_eq(uvm_tree_begin(&txn), 0);
        ck_assert_int_eq(uvm_tree_ino_new(&txn, &before), 0);
        ck_assert_int_eq(uvm_tree_name_add(&txn, ANON, &ent), 0);
        ck_assert_int_eq(uvm_tree_name_get(&txn, ANON, "a", &ent), 0);
        ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, "a", &ent), -ENOENT); /* last commit */
    }
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, "a", &ent), -ENOENT);
    ck_assert_int_eq(uvm_tree_empty(NULL, ANON), 1);
    ck_assert_int_eq(make(ANON, 3, "a", S_IFREG, &after), 0);
    ck_assert_uint_eq(before, after);
}
END_TEST

START_TEST(names)
{
    char longest[UVM_NAME_MAX + 2];
    struct uvm_dirent ent;
    uint64_t a, b, c;

    memset(longest, 'x', sizeof(longest));
    longest[UVM_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, longest, &ent), -ENAMETOOLONG);
    longest[UVM_NAME_MAX] = '\0';
    ck_assert_int_eq(make(ANON, 3, longest, S_IFREG, &a), 0);
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, longest, &ent), 0);
    ck_assert_uint_eq(ent.ino, a);
    ck_assert_str_eq(ent.name, longest);

    ck_assert_int_eq(make(ANON, 4, "b", S_IFDIR, &b), 0);
    ck_assert_int_eq(make(ANON, 5, "b", S_IFREG, &c), -EEXIST);
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, "B", &ent), -ENOENT);
    ck_assert_int_eq(uvm_tree_name_get(NULL, b, "b", &ent), -ENOENT);
    ck_assert_int_eq(uvm_tree_name_at(NULL, ANON, 4, &ent), 0);
    ck_assert_uint_eq(ent.ino, b);
    ck_assert_uint_eq(ent.type, TYPE(S_IFDIR));
    ck_assert_str_eq(ent.name, "b");
    ck_assert_int_eq(drop(ANON, "b"), 0);
    ck_assert_int_eq(uvm_tree_name_at(NULL, ANON, 4, &ent), -ENOENT);
    ck_assert_int_eq(drop(ANON, "b"), -ENOENT);
}
END_TEST

START_TEST(listing_goes_on_where_it_was)
{
    struct uvm_dirent ents[4];
    uint64_t ino;
    char name[16];

    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "f%u", 9 - i);
        ck_assert_int_eq(make(ANON, 3 + i, name, S_IFREG, &ino), 0);
    }
    /* Cookies are numbers, not bytes: 0x100 comes after 0xff. */
    ck_assert_int_eq(make(ANON, 0x100, "z", S_IFREG, &ino), 0);

    ck_assert_int_eq(uvm_tree_list(ANON, 0, UINT64_MAX, ents, 4), 4);
    ck_assert_str_eq(ents[0].name, "f9");
    ck_assert_uint_eq(ents[3].cookie, 6);
    ck_assert_int_eq(drop(ANON, ents[3].name), 0); /* the very name it stopped at */
    ck_assert_int_eq(drop(ANON, "f5"), 0);
    ck_assert_int_eq(uvm_tree_list(ANON, 6, UINT64_MAX, ents, 4), 4);
    ck_assert_str_eq(ents[0].name, "f4");
    ck_assert_int_eq(uvm_tree_list(ANON, ents[3].cookie, UINT64_MAX, ents, 4), 2);
    ck_assert_str_eq(ents[0].name, "f0");
    ck_assert_str_eq(ents[1].name, "z");
    ck_assert_int_eq(uvm_tree_list(ANON, 0, 4, ents, 4), 1); /* below a ceiling */
    ck_assert_int_eq(uvm_tree_list(ANON, 0x100, UINT64_MAX, ents, 4), 0);
    ck_assert_int_eq(uvm_tree_list(ANON, UINT64_MAX, UINT64_MAX, ents, 4), 0);
}
END_TEST

START_TEST(links)
{
    char target[UVM_SYMLINK_MAX + 2], buf[UVM_SYMLINK_MAX + 1];
    struct uvm_attr attr = {.ino = 77, .mode = S_IFLNK | 0777};
    UVM_TREE_TXN(txn);

    memset(target, 't', sizeof(target));
    target[UVM_SYMLINK_MAX + 1] = '\0';
    ck_assert_int_eq(uvm_tree_begin(&txn), 0);
    ck_assert_int_eq(uvm_tree_link_put(&txn, 77, target), -ENAMETOOLONG);
    target[UVM_SYMLINK_MAX] = '\0';
    ck_assert_int_eq(uvm_tree_link_put(&txn, 77, target), 0);
    ck_assert_int_eq(uvm_tree_attr_put(&txn, &attr), 0);
    ck_assert_int_eq(uvm_tree_commit(&txn), 0);
    uvm_tree_end(&txn);
    ck_assert_int_eq(uvm_tree_link_get(77, buf), 0);
    ck_assert_str_eq(buf, target);
    ck_assert_int_eq(uvm_tree_begin(&txn), 0);
    ck_assert_int_eq(uvm_tree_attr_del(&txn, &attr), 0);
    ck_assert_int_eq(uvm_tree_commit(&txn), 0);
    uvm_tree_end(&txn);
    ck_assert_int_eq(uvm_tree_link_get(77, buf), -ENOENT);
}
END_TEST

static int xset(uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
    UVM_TREE_TXN(txn);
    bool added;
    int error = uvm_tree_begin(&txn);
    if (!error)
        error = uvm_tree_xattr_set(&txn, ino, name, value, size, flags, &added);
    if (!error)
        error = uvm_tree_commit(&txn);
    return error ? error : added;
}

START_TEST(xattrs)
{
    static char big[UVM_XATTR_MAX + 1], back[UVM_XATTR_MAX];
    char buf[64];

    memset(big, 'v', sizeof(big));
    ck_assert_int_eq(xset(20, "user.a", "one", 3, 0), 1);
    ck_assert_int_eq(xset(20, "user.a", "other", 5, XATTR_CREATE), -EEXIST);
    ck_assert_int_eq(xset(20, "user.b", "x", 1, XATTR_REPLACE), -ENODATA);
    ck_assert_int_eq(xset(20, "user.a", "two", 3, XATTR_REPLACE), 0);
    ck_assert_int_eq(xset(20, "user.empty", "", 0, 0), 1);
    ck_assert_int_eq(xset(20, "trusted.t", "t", 1, 0), 1);
    ck_assert_int_eq(xset(21, "user.a", "of 21", 5, 0), 1);
    ck_assert_int_eq(xset(20, "user.big", big, UVM_XATTR_MAX + 1, 0), -E2BIG);
    ck_assert_int_eq(xset(20, "user.big", big, UVM_XATTR_MAX, 0), 1);

    ck_assert_int_eq(uvm_tree_xattr_get(20, "user.a", buf, sizeof(buf)), 3);
    ck_assert_mem_eq(buf, "two", 3);
    ck_assert_int_eq(uvm_tree_xattr_get(20, "user.a", buf, 2), -ERANGE);
    ck_assert_int_eq(uvm_tree_xattr_get(20, "user.a", NULL, 0), 3);
    ck_assert_int_eq(uvm_tree_xattr_get(20, "user.none", buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(uvm_tree_xattr_get(20, "user.empty", buf, sizeof(buf)), 0);
    ck_assert_int_eq(uvm_tree_xattr_get(20, "user.big", back, sizeof(back)), UVM_XATTR_MAX);
    ck_assert_mem_eq(back, big, UVM_XATTR_MAX);

    static const char all[] = "trusted.t\0user.a\0user.big\0user.empty";
    static const char some[] = "user.a\0user.big\0user.empty";
    ck_assert_int_eq(uvm_tree_xattr_list(20, buf, sizeof(buf), true), sizeof(all));
    ck_assert_mem_eq(buf, all, sizeof(all));
    ck_assert_int_eq(uvm_tree_xattr_list(20, buf, sizeof(buf), false), sizeof(some));
    ck_assert_mem_eq(buf, some, sizeof(some));
    ck_assert_int_eq(uvm_tree_xattr_list(20, NULL, 0, true), sizeof(all));
    ck_assert_int_eq(uvm_tree_xattr_list(20, buf, sizeof(all) - 1, true), -ERANGE);

    struct uvm_attr attr = {.ino = 20, .mode = S_IFREG, .nxattr = 4};
    UVM_TREE_TXN(txn);
    ck_assert_int_eq(uvm_tree_begin(&txn), 0);
    ck_assert_int_eq(uvm_tree_xattr_del(&txn, 20, "user.none"), -ENODATA);
    ck_assert_int_eq(uvm_tree_xattr_del(&txn, 20, "user.a"), 0);
    ck_assert_int_eq(uvm_tree_attr_put(&txn, &attr), 0);
    ck_assert_int_eq(uvm_tree_attr_del(&txn, &attr), 0); /* takes what is left along */
    ck_assert_int_eq(uvm_tree_commit(&txn), 0);
    uvm_tree_end(&txn);
    ck_assert_int_eq(uvm_tree_xattr_list(20, buf, sizeof(buf), true), 0);
    ck_assert_int_eq(uvm_tree_xattr_get(21, "user.a", buf, sizeof(buf)), 5);
}
END_TEST

START_TEST(paths)
{
    uint64_t d, f, got;
    char buf[64];

    ck_assert_int_eq(make(ANON, 3, "dir", S_IFDIR, &d), 0);
    ck_assert_int_eq(make(d, 3, "file", S_IFREG, &f), 0);
    ck_assert_int_eq(uvm_tree_path(f, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/dir/file");
    ck_assert_int_eq(uvm_tree_path(UVM_INO_ROOT, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "");
    ck_assert_int_eq(uvm_tree_path(f, buf, sizeof("anon/dir/file")), 0);
    ck_assert_int_eq(uvm_tree_path(f, buf, sizeof("anon/dir/file") - 1), -ENAMETOOLONG);
    ck_assert_int_eq(uvm_tree_path(12345, buf, sizeof(buf)), -ENOENT);

    ck_assert_int_eq(uvm_tree_resolve("//anon/dir//file/", &got), 0);
    ck_assert_uint_eq(got, f);
    ck_assert_int_eq(uvm_tree_resolve("", &got), 0);
    ck_assert_uint_eq(got, UVM_INO_ROOT);
    ck_assert_int_eq(uvm_tree_resolve("anon/none", &got), -ENOENT);
    ck_assert_int_eq(uvm_tree_resolve("anon/dir/file/x", &got), -ENOTDIR);
}
END_TEST

START_TEST(lost_hint_is_searched_for)
{
    struct uvm_dirent second = {.cookie = 9, .type = TYPE(S_IFREG), .name = "second"};
    struct uvm_dirent first;
    uint64_t f;
    char buf[64];
    UVM_TREE_TXN(txn);

    ck_assert_int_eq(make(ANON, 3, "first", S_IFREG, &f), 0);
    ck_assert_int_eq(uvm_tree_begin(&txn), 0);
    ck_assert_int_eq(uvm_tree_name_get(&txn, ANON, "first", &first), 0);
    ck_assert_int_eq(uvm_tree_name_del(&txn, ANON, &first), 0);
    second.ino = f;
    ck_assert_int_eq(uvm_tree_name_add(&txn, ANON, &second), 0);
    ck_assert_int_eq(uvm_tree_commit(&txn), 0);
    uvm_tree_end(&txn);
    ck_assert_int_eq(uvm_tree_path(f, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/second");
}
END_TEST

/* A full store refuses what it cannot hold, keeps what it has, and is usable again after deletions.
 */
START_TEST(full_store)
{
    uint64_t ino, files, room;
    struct uvm_dirent ent;
    char name[64];
    unsigned made = 0;
    int error = 0;

    uvm_tree_close();
    open_tree(true, SMALL);
    for (; made < 100000; made++) {
        snprintf(name, sizeof(name), "a rather long name to fill the store with, number %u", made);
        error = make(ANON, 3 + made, name, S_IFREG, &ino);
        if (error)
            break;
    }
    ck_assert_int_eq(error, -ENOSPC);
    ck_assert_uint_gt(made, 100);
    ck_assert_int_eq(uvm_tree_name_get(NULL, ANON, name, &ent), -ENOENT);
    ck_assert_int_eq(uvm_tree_usage(&files, &room), 0);
    ck_assert_uint_eq(files, made + 2);
    ck_assert_uint_le(room, SMALL / 1024); /* as a file costs */
    uint64_t full = room;
    for (unsigned i = 0; i < made; i++) {
        snprintf(name, sizeof(name), "a rather long name to fill the store with, number %u", i);
        ck_assert_int_eq(drop(ANON, name), 0);
    }
    ck_assert_int_eq(uvm_tree_empty(NULL, ANON), 1);
    ck_assert_int_eq(uvm_tree_usage(&files, &room), 0);
    ck_assert_uint_eq(files, 2);
    ck_assert_uint_gt(room, full + 100); /* pages that can be written again count */
    ck_assert_int_eq(make(ANON, 3, "again", S_IFREG, &ino), 0);
}
END_TEST

START_TEST(open_errors)
{
    struct uvm_error err = {0};
    char path[PATH_MAX + 16];

    uvm_tree_close();
    snprintf(path, sizeof(path), "%s/no/such", dir);
    ck_assert_int_eq(uvm_tree_open(path, true, 0, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, path));
    ck_assert_int_eq(uvm_tree_remove(path), 0);
    open_tree(true, 0);
}
END_TEST

/* Somebody else has the directory: nothing in it is touched. */
START_TEST(directory_is_locked)
{
    struct uvm_error err = {0};
    char store[PATH_MAX + 16];

    snprintf(store, sizeof(store), "%s/data.mdb", dir);
    int other = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(other, 0);
    ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), -1); /* an open store has the lock */
    ck_assert_int_eq(errno, EWOULDBLOCK);
    uvm_tree_close();

    ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), 0);
    ck_assert_int_eq(uvm_tree_open(dir, true, 0, &err), -EBUSY);
    ck_assert_ptr_nonnull(strstr(err.msg, dir));
    ck_assert_ptr_nonnull(strstr(err.msg, "another uvmd"));
    ck_assert_int_eq(uvm_tree_remove(dir), -EBUSY);
    ck_assert_int_eq(access(store, F_OK), 0);

    /* A name that has gone to another directory, and one that leads nowhere. */
    char moved[PATH_MAX + 16];
    snprintf(moved, sizeof(moved), "%s.moved", dir);
    ck_assert_int_eq(rename(dir, moved), 0);
    open_tree(true, 0);
    uvm_tree_close();
    ck_assert_int_eq(uvm_tree_remove(dir), 0);
    ck_assert_int_eq(symlink("nowhere", dir), 0);
    ck_assert_int_eq(uvm_tree_open(dir, true, 0, &err), -ENOENT);
    ck_assert_int_eq(unlink(dir), 0);
    ck_assert_int_eq(rename(moved, dir), 0);

    close(other);
    open_tree(true, 0);
}
END_TEST

static Suite *tree_suite(void)
{
    Suite *suite = suite_create("tree");
    TCase *tc = tcase_create("tree");

    tcase_add_unchecked_fixture(tc, make_base, remove_base);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, fresh_holds_top);
    tcase_add_test(tc, top_of_others);
    tcase_add_test(tc, reopen_keeps_and_fresh_wipes);
    tcase_add_test(tc, abort_leaves_nothing);
    tcase_add_test(tc, names);
    tcase_add_test(tc, listing_goes_on_where_it_was);
    tcase_add_test(tc, links);
    tcase_add_test(tc, xattrs);
    tcase_add_test(tc, paths);
    tcase_add_test(tc, lost_hint_is_searched_for);
    tcase_add_test(tc, full_store);
    tcase_add_test(tc, open_errors);
    tcase_add_test(tc, directory_is_locked);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(tree_suite)
