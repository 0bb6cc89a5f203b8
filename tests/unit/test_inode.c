/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In-core inodes and the operations on names: when an inode and its object live and end, what
 * reaches the store when, and POSIX's rules for links and times.
 */
#define FUSE_USE_VERSION 314
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/inode.h"
#include "fuse/namei.h"

#define ANON UVM_INO_ANON

static char base[PATH_MAX - 16], dir[PATH_MAX];

/* The fake object layer. */
struct uvm_object {
    uint64_t id;
};
static unsigned objects_new, objects_freed;

static struct uvm_object *fake_new(uint64_t id)
{
    struct uvm_object *object = calloc(1, sizeof(*object));
    object->id = id;
    objects_new++;
    return object;
}
static void fake_free(struct uvm_object *object)
{
    objects_freed++;
    free(object);
}
static uint64_t fake_pages(struct uvm_object *object)
{
    return object->id;
}
static const struct uvm_inode_hooks hooks = {fake_new, fake_free, fake_pages, NULL};

static void make_base(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(base, sizeof(base), "%s/uvmd-inode-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(base));
    snprintf(dir, sizeof(dir), "%s/tree", base);
}

static void remove_base(void)
{
    uvm_tree_remove(dir);
    rmdir(base);
}

static void start(bool fresh)
{
    struct uvm_error err = {0};
    ck_assert_msg(uvm_tree_open(dir, fresh, 0, &err) == 0, "%s", err.msg);
    uvm_inode_init(&hooks);
}

static void stop(void)
{
    uvm_inode_fini();
    uvm_tree_close();
}

static void setup(void)
{
    objects_new = objects_freed = 0;
    start(true);
}

static void teardown(void)
{
    stop();
    ck_assert_uint_eq(objects_new, objects_freed);
    ck_assert_int_eq(uvm_tree_remove(dir), 0);
}

static uint64_t make_as(uint64_t parent, const char *name, uint32_t mode, uint32_t uid,
                        uint32_t gid)
{
    UVM_INODE_REF(inode);
    struct uvm_new what = {.mode = mode, .uid = uid, .gid = gid, .target = "target", .rdev = 0x103};
    ck_assert_int_eq(uvm_namei_make(parent, name, &what, &inode), 0);
    return uvm_inode_ino(inode);
}

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
    return make_as(parent, name, mode, 0, 0);
}

static int try_make(uint64_t parent, const char *name, uint32_t mode)
{
    UVM_INODE_REF(inode);
    struct uvm_new what = {.mode = mode};
    return uvm_namei_make(parent, name, &what, &inode);
}

static struct stat stat_of(uint64_t ino)
{
    UVM_INODE_REF(inode);
    struct stat st;
    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    uvm_inode_stat(inode, &st);
    return st;
}

static uint64_t lookup(uint64_t parent, const char *name)
{
    UVM_INODE_REF(inode);
    int error = uvm_namei_lookup(parent, name, &inode);
    ck_assert(error == 0 || error == -ENOENT);
    return error ? 0 : uvm_inode_ino(inode);
}

static int do_link(uint64_t ino, uint64_t parent, const char *name)
{
    UVM_INODE_REF(inode);
    return uvm_namei_link(ino, parent, name, &inode);
}

static int move(uint64_t from, const char *a, uint64_t to, const char *b, unsigned flags)
{
    struct uvm_new who = {.uid = 7, .gid = 8};
    return uvm_namei_rename(from, a, to, b, flags, &who);
}

/* Set all times of a file to long ago, ctime included. */
static void make_old(uint64_t ino)
{
    UVM_INODE_REF(inode);
    struct stat st = {.st_atim.tv_sec = 1000, .st_mtim.tv_sec = 1000, .st_ctim.tv_sec = 1000};
    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    ck_assert_int_eq(
        uvm_inode_setattr(inode, &st,
                          FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME, NULL),
        0);
}

/* Which times have been set since make_old: a string of a, m, c. */
static const char *new_times(uint64_t ino)
{
    static char buf[4][4];
    static unsigned turn;
    struct stat st = stat_of(ino);
    char *at = buf[turn++ % 4], *out = at;
    if (st.st_atim.tv_sec != 1000)
        *at++ = 'a';
    if (st.st_mtim.tv_sec != 1000)
        *at++ = 'm';
    if (st.st_ctim.tv_sec != 1000)
        *at++ = 'c';
    *at = '\0';
    return out;
}

/* The record in the store, as a restarted daemon would find it. */
static struct uvm_attr stored(uint64_t ino)
{
    struct uvm_attr attr = {0};
    ck_assert_int_eq(uvm_tree_attr_get(NULL, ino, &attr), 0);
    return attr;
}

START_TEST(life_of_a_file)
{
    UVM_INODE_REF(inode);
    struct uvm_new what = {.mode = S_IFREG | 0644};
    struct uvm_attr attr;

    ck_assert_int_eq(uvm_namei_make(ANON, "f", &what, &inode), 0);
    uint64_t ino = uvm_inode_ino(inode);
    uvm_inode_remember(inode, 1);
    ck_assert_ptr_nonnull(uvm_inode_object(inode));
    ck_assert_ptr_eq(uvm_inode_object(inode), uvm_inode_object(inode));
    ck_assert_uint_eq(objects_new, 1);
    ck_assert_int_eq(stat_of(ino).st_blocks, (blkcnt_t)ino * 8);
    uvm_inode_put(UVM_TAKE_PTR(inode));

    /* Forgotten, the object stays for the name's sake. */
    uvm_inode_forget(ino, 1);
    ck_assert_uint_eq(objects_freed, 0);
    ck_assert_uint_eq(lookup(ANON, "f"), ino);
    ck_assert_uint_eq(objects_new, 1);

    /* Unlinked while looked up, it lives on; its record has no links. */
    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    uvm_inode_remember(inode, 2);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(uvm_namei_remove(ANON, "f", false), 0);
    ck_assert_uint_eq(objects_freed, 0);
    ck_assert_uint_eq(stored(ino).nlink, 0);
    uvm_inode_wrote(uvm_inode_find(ino), 10, false);
    uvm_inode_forget(ino, 1);
    ck_assert_uint_eq(objects_freed, 0);
    uvm_inode_forget(ino, 1);
    ck_assert_uint_eq(objects_freed, 1);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, ino, &attr), -ENOENT);
    ck_assert_ptr_null(uvm_inode_find(ino));
}
END_TEST

START_TEST(only_files_have_objects)
{
    UVM_INODE_REF(inode);
    uint64_t d = make(ANON, "d", S_IFDIR | 0755);

    ck_assert_int_eq(uvm_inode_get(NULL, d, &inode), 0);
    ck_assert_ptr_null(uvm_inode_object(inode));
    ck_assert_uint_eq(objects_new, 0);
}
END_TEST

START_TEST(unlink_of_a_forgotten_file_ends_it)
{
    struct uvm_attr attr;
    uint64_t ino = make(ANON, "f", S_IFREG);
    ck_assert_int_eq(uvm_namei_remove(ANON, "f", false), 0);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, ino, &attr), -ENOENT);
}
END_TEST

/* The tree refuses transactions: LMDB's begin, for the linker's --wrap. */
int __real_mdb_txn_begin(void *env, void *parent, unsigned flags, void **txn);
int __wrap_mdb_txn_begin(void *env, void *parent, unsigned flags, void **txn);
static bool no_transactions;
#define READ_ONLY 0x20000u

int __wrap_mdb_txn_begin(void *env, void *parent, unsigned flags, void **txn)
{
    if (no_transactions && !(flags & READ_ONLY))
        return ENOMEM;
    return __real_mdb_txn_begin(env, parent, flags, txn);
}

/* What nobody can ask for any more goes, whether or not its record can be deleted; what has a name
 * and is newer than its record stays. */
START_TEST(end_without_a_transaction)
{
    UVM_INODE_REF(inode);
    uint64_t named = make(ANON, "named", S_IFREG | 0644), ino = make(ANON, "f", S_IFREG);

    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    ck_assert_ptr_nonnull(uvm_inode_object(inode));
    uvm_inode_remember(inode, 1);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(uvm_namei_remove(ANON, "f", false), 0);

    no_transactions = true;
    uvm_inode_forget(ino, 1);
    ck_assert_uint_eq(objects_freed, 1);

    ck_assert_int_eq(uvm_inode_get(NULL, named, &inode), 0);
    uvm_inode_set_size(inode, 77);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    no_transactions = false;
    ck_assert_int_eq(stat_of(named).st_size, 77);
    ck_assert_int_eq(uvm_inode_flush_all(), 0);
    ck_assert_uint_eq(stored(named).size, 77);
}
END_TEST

START_TEST(restart_keeps_what_the_kernel_holds)
{
    UVM_INODE_REF(inode);
    struct uvm_attr attr;
    uint64_t open_ino = make(ANON, "open", S_IFREG), ino = make(ANON, "f", S_IFREG);
    uint64_t never = make(ANON, "never", S_IFREG);

    ck_assert_int_eq(uvm_inode_get(NULL, open_ino, &inode), 0);
    uvm_inode_remember(inode, 3);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(uvm_inode_get(NULL, never, &inode), 0);
    uvm_inode_remember(inode, 1);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(uvm_namei_remove(ANON, "open", false), 0);
    ck_assert_int_eq(uvm_namei_remove(ANON, "never", false), 0);
    stop();
    start(false);

    /* The kernel still has 3 look-ups on it, which this life has not counted. */
    struct uvm_inode *found = uvm_inode_find(open_ino);
    ck_assert_ptr_nonnull(found);
    ck_assert_ptr_nonnull(uvm_inode_object(found));
    ck_assert_int_eq(uvm_inode_get(NULL, open_ino, &inode), 0);
    uvm_inode_remember(inode, 1);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    uvm_inode_forget(open_ino, 1); /* one that the kernel could not use */
    ck_assert_uint_eq(objects_freed, 0);
    uvm_inode_forget(open_ino, 3);
    ck_assert_uint_eq(objects_freed, 1);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, open_ino, &attr), -ENOENT);

    /* A forgotten file that this life has not met ends all the same. */
    uvm_inode_forget(never, 1);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, never, &attr), -ENOENT);
    ck_assert_uint_eq(lookup(ANON, "f"), ino);
}
END_TEST

START_TEST(what_is_written_when)
{
    UVM_INODE_REF(inode);
    uint64_t ino = make(ANON, "f", S_IFREG | 06777);

    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    uvm_inode_wrote(inode, 100, false);
    ck_assert_uint_eq(stored(ino).size, 100); /* size: at once */
    make_old(ino);
    ck_assert_int_ne(stored(ino).mtime.sec, 1000); /* times: later */
    ck_assert_int_eq(uvm_inode_flush(inode), 0);
    ck_assert_int_eq(stored(ino).mtime.sec, 1000);

    uvm_inode_wrote(inode, 50, false); /* inside: no size change, times only */
    ck_assert_uint_eq(uvm_inode_size(inode), 100);
    ck_assert_str_eq(new_times(ino), "mc");
    ck_assert_int_eq(stored(ino).mtime.sec, 1000);
    ck_assert_int_eq(uvm_inode_flush_all(), 0);
    ck_assert_int_ne(stored(ino).mtime.sec, 1000);

    uvm_inode_set_size(inode, 10);
    ck_assert_uint_eq(stored(ino).size, 10);
    uvm_inode_wrote(inode, 1, true);
    ck_assert_uint_eq(stored(ino).mode, S_IFREG | 0777);

    /* Dropping a dirty inode writes it. */
    make_old(ino);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(stored(ino).ctime.sec, 1000);
}
END_TEST

START_TEST(relatime)
{
    UVM_INODE_REF(inode);
    uint64_t ino = make(ANON, "f", S_IFREG);
    struct stat st = {.st_mtim.tv_sec = 1000, .st_ctim.tv_sec = 1000};
    int set = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME;

    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    st.st_atim.tv_sec = time(NULL) - 60;
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, set, NULL), 0);
    uvm_inode_accessed(inode);
    ck_assert_int_eq(stat_of(ino).st_atim.tv_sec, st.st_atim.tv_sec); /* newer than the change */
    st.st_atim.tv_sec = time(NULL) - 2 * 86400;
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, set, NULL), 0);
    uvm_inode_accessed(inode);
    ck_assert_int_ne(stat_of(ino).st_atim.tv_sec, st.st_atim.tv_sec); /* over a day old */
    make_old(ino);
    uvm_inode_accessed(inode);
    ck_assert_str_eq(new_times(ino), "a"); /* not newer than the change */
}
END_TEST

START_TEST(setattr)
{
    UVM_INODE_REF(inode);
    uint64_t ino = make(ANON, "f", S_IFREG | 06755), d = make(ANON, "d", S_IFDIR | 02755);
    struct stat st = {.st_uid = 5, .st_gid = 6}, after;

    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    make_old(ino);
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, FUSE_SET_ATTR_UID, &after), 0);
    ck_assert_uint_eq(after.st_uid, 5);
    ck_assert_uint_eq(after.st_gid, 0);
    ck_assert_uint_eq(after.st_mode, S_IFREG | 0755);
    ck_assert_str_eq(new_times(ino), "c");
    ck_assert_uint_eq(stored(ino).uid, 5);

    /* set-gid without group execution is a lock mark, not a privilege */
    st.st_mode = 06745;
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, FUSE_SET_ATTR_MODE, &after), 0);
    ck_assert_uint_eq(after.st_mode, S_IFREG | 06745);
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, FUSE_SET_ATTR_GID, &after), 0);
    ck_assert_uint_eq(after.st_mode, S_IFREG | 02745);

    /* a mode that comes with the owner stands; nothing at all still sets ctime */
    st.st_mode = S_IFDIR | 04711;
    int set = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_MODE;
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, set, &after), 0);
    ck_assert_uint_eq(after.st_mode, S_IFREG | 04711);
    make_old(ino);
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, 0, NULL), 0);
    ck_assert_str_eq(new_times(ino), "c");
    uvm_inode_put(UVM_TAKE_PTR(inode));

    ck_assert_int_eq(uvm_inode_get(NULL, d, &inode), 0);
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, FUSE_SET_ATTR_UID, &after), 0);
    ck_assert_uint_eq(after.st_mode, S_IFDIR | 02755);
    set = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW;
    make_old(d);
    ck_assert_int_eq(uvm_inode_setattr(inode, &st, set, NULL), 0);
    ck_assert_str_eq(new_times(d), "ac");
    uvm_inode_put(UVM_TAKE_PTR(inode));

    ck_assert_int_eq(uvm_inode_setattr(uvm_inode_find(UVM_INO_ROOT), &st, FUSE_SET_ATTR_MODE, NULL),
                     -EPERM);
}
END_TEST

START_TEST(xattrs)
{
    UVM_INODE_REF(inode);
    uint64_t ino = make(ANON, "f", S_IFREG);
    char buf[16];

    ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
    make_old(ino);
    ck_assert_int_eq(uvm_inode_xattr_get(inode, "user.a", buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(uvm_inode_xattr_list(inode, buf, sizeof(buf), true), 0);
    ck_assert_str_eq(new_times(ino), "");
    ck_assert_int_eq(uvm_inode_xattr_set(inode, "user.a", "1", 1, 0), 0);
    ck_assert_str_eq(new_times(ino), "c");
    ck_assert_int_eq(uvm_inode_xattr_set(inode, "user.a", "22", 2, 0), 0);
    ck_assert_int_eq(uvm_inode_xattr_set(inode, "user.a", "3", 1, XATTR_CREATE), -EEXIST);
    ck_assert_uint_eq(stored(ino).nxattr, 1);
    ck_assert_int_eq(uvm_inode_xattr_get(inode, "user.a", buf, sizeof(buf)), 2);
    ck_assert_int_eq(uvm_inode_xattr_list(inode, buf, sizeof(buf), false), 7);
    ck_assert_int_eq(uvm_inode_xattr_del(inode, "user.b"), -ENODATA);
    ck_assert_int_eq(uvm_inode_xattr_del(inode, "user.a"), 0);
    ck_assert_uint_eq(stored(ino).nxattr, 0);
    ck_assert_int_eq(uvm_inode_xattr_set(inode, "system.posix_acl_access", "", 0, 0), -EOPNOTSUPP);
    ck_assert_int_eq(uvm_inode_xattr_get(inode, "system.posix_acl_access", buf, 1), -EOPNOTSUPP);

    ck_assert_int_eq(uvm_inode_xattr_set(inode, "user.a", "1", 1, 0), 0);
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(uvm_namei_remove(ANON, "f", false), 0);
    ck_assert_int_eq(uvm_tree_xattr_get(ino, "user.a", buf, sizeof(buf)), -ENODATA);
}
END_TEST

START_TEST(make_rules)
{
    uint64_t plain = make(ANON, "plain", S_IFDIR | 0755);
    struct stat st;

    make_old(ANON);
    make_old(plain);
    uint64_t f = make_as(plain, "f", S_IFREG | 0640, 3, 4);
    st = stat_of(f);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
    ck_assert_uint_eq(st.st_uid, 3);
    ck_assert_uint_eq(st.st_gid, 4);
    ck_assert_uint_eq(st.st_nlink, 1);
    ck_assert_str_eq(new_times(f), "amc");
    ck_assert_str_eq(new_times(plain), "mc");
    ck_assert_str_eq(new_times(ANON), "");
    ck_assert_uint_eq(stat_of(plain).st_nlink, 2);

    uint64_t d = make(plain, "d", S_IFDIR | 0700);
    ck_assert_uint_eq(stat_of(plain).st_nlink, 3);
    ck_assert_uint_eq(stored(plain).nlink, 3);
    ck_assert_uint_eq(stat_of(d).st_nlink, 2);
    ck_assert_int_eq(stat_of(plain).st_size, 2 * UVM_DIRENT_SIZE);
    ck_assert_int_eq(stat_of(make(plain, "l", S_IFLNK | 0777)).st_size, 6);
    ck_assert_uint_eq(stat_of(make(plain, "c", S_IFCHR | 0600)).st_rdev, 0x103);
    ck_assert_uint_eq(stat_of(make(plain, "p", S_IFIFO | 0600)).st_rdev, 0);

    uint64_t sg = make_as(ANON, "sg", S_IFDIR | 02755, 0, 42);
    st = stat_of(make_as(sg, "f", S_IFREG | 0644, 3, 4));
    ck_assert_uint_eq(st.st_gid, 42);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0644);
    st = stat_of(make_as(sg, "d", S_IFDIR | 0755, 3, 4));
    ck_assert_uint_eq(st.st_gid, 42);
    ck_assert_uint_eq(st.st_mode, S_IFDIR | 02755);

    ck_assert_int_eq(try_make(plain, "f", S_IFREG), -EEXIST);
    ck_assert_int_eq(try_make(f, "x", S_IFREG), -ENOTDIR);
    ck_assert_int_eq(try_make(UVM_INO_ROOT, "x", S_IFDIR), -EPERM);
    char longname[UVM_NAME_MAX + 2];
    memset(longname, 'n', sizeof(longname));
    longname[UVM_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(try_make(plain, longname, S_IFREG), -ENAMETOOLONG);
    longname[UVM_NAME_MAX] = '\0';
    ck_assert_int_eq(try_make(plain, longname, S_IFREG), 0);

    uvm_inode_remember(uvm_inode_find(d), 1); /* somebody's working directory */
    ck_assert_int_eq(uvm_namei_remove(plain, "d", true), 0);
    ck_assert_int_eq(try_make(d, "x", S_IFREG), -ENOENT);
}
END_TEST

START_TEST(link_rules)
{
    uint64_t f = make(ANON, "f", S_IFREG), d = make(ANON, "d", S_IFDIR | 0755);
    uint64_t l = make(ANON, "l", S_IFLNK | 0777);
    char buf[64];

    make_old(f);
    make_old(d);
    ck_assert_int_eq(do_link(f, d, "g"), 0);
    ck_assert_uint_eq(stat_of(f).st_nlink, 2);
    ck_assert_str_eq(new_times(f), "c");
    ck_assert_str_eq(new_times(d), "mc");
    ck_assert_int_eq(do_link(f, d, "g"), -EEXIST);
    ck_assert_int_eq(do_link(d, ANON, "e"), -EPERM);
    ck_assert_int_eq(do_link(f, UVM_INO_ROOT, "e"), -EPERM);
    ck_assert_int_eq(do_link(l, ANON, "m"), 0); /* of the symbolic link itself */
    ck_assert_uint_eq(lookup(ANON, "m"), l);

    /* The name its record pointed at goes; it is found under the other. */
    ck_assert_int_eq(uvm_namei_remove(ANON, "f", false), 0);
    ck_assert_uint_eq(stat_of(f).st_nlink, 1);
    ck_assert_int_eq(uvm_inode_path(f, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/d/g");
    ck_assert_int_eq(do_link(f, ANON, "h"), 0);
    ck_assert_int_eq(uvm_inode_path(f, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/h");

    UVM_INODE_REF(inode);
    ck_assert_int_eq(uvm_inode_get(NULL, f, &inode), 0);
    struct uvm_time now = uvm_time_now();
    struct uvm_edit edit = {.inode = inode, .nlink = (int)UVM_NLINK_MAX - 2};
    uvm_edit_done(&edit, &now);
    ck_assert_int_eq(do_link(f, ANON, "i"), -EMLINK);
    edit.nlink = -edit.nlink - 2;
    uvm_edit_done(&edit, &now);
    ck_assert_int_eq(do_link(f, ANON, "i"), -ENOENT);
}
END_TEST

START_TEST(remove_rules)
{
    uint64_t d = make(ANON, "d", S_IFDIR | 0755), f = make(d, "f", S_IFREG);

    ck_assert_int_eq(uvm_namei_remove(ANON, "d", false), -EISDIR);
    ck_assert_int_eq(uvm_namei_remove(d, "f", true), -ENOTDIR);
    ck_assert_int_eq(uvm_namei_remove(ANON, "d", true), -ENOTEMPTY);
    ck_assert_int_eq(uvm_namei_remove(d, "none", false), -ENOENT);
    ck_assert_int_eq(uvm_namei_remove(UVM_INO_ROOT, "anon", true), -EPERM);
    ck_assert_int_eq(do_link(f, ANON, "g"), 0);
    make_old(f);
    make_old(d);
    ck_assert_int_eq(uvm_namei_remove(d, "f", false), 0);
    ck_assert_str_eq(new_times(f), "c");
    ck_assert_str_eq(new_times(d), "mc");
    ck_assert_int_eq(stat_of(d).st_size, 0);
    make_old(ANON);
    ck_assert_int_eq(uvm_namei_remove(ANON, "d", true), 0);
    ck_assert_str_eq(new_times(ANON), "mc");
    ck_assert_uint_eq(stat_of(ANON).st_nlink, 2);
    ck_assert_uint_eq(lookup(ANON, "d"), 0);
}
END_TEST

START_TEST(rename_files)
{
    uint64_t a = make(ANON, "a", S_IFREG), b = make(ANON, "b", S_IFREG);
    uint64_t d = make(ANON, "d", S_IFDIR | 0755);
    struct uvm_attr attr;
    char buf[64];

    /* across, into nothing */
    make_old(ANON), make_old(d), make_old(a);
    ck_assert_int_eq(move(ANON, "a", d, "x", 0), 0);
    ck_assert_str_eq(new_times(ANON), "mc");
    ck_assert_str_eq(new_times(d), "mc");
    ck_assert_str_eq(new_times(a), "c");
    ck_assert_uint_eq(lookup(ANON, "a"), 0);
    ck_assert_uint_eq(lookup(d, "x"), a);
    ck_assert_int_eq(uvm_inode_path(a, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/d/x");
    ck_assert_int_eq(stat_of(d).st_size, UVM_DIRENT_SIZE);

    /* over another file, which ends */
    ck_assert_int_eq(move(d, "x", ANON, "b", RENAME_NOREPLACE), -EEXIST);
    ck_assert_int_eq(move(d, "x", ANON, "b", 0), 0);
    ck_assert_uint_eq(lookup(ANON, "b"), a);
    ck_assert_int_eq(uvm_tree_attr_get(NULL, b, &attr), -ENOENT);
    ck_assert_int_eq(uvm_inode_path(a, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/b");

    /* two names of one file: nothing happens */
    ck_assert_int_eq(do_link(a, d, "y"), 0);
    make_old(ANON), make_old(d), make_old(a);
    ck_assert_int_eq(move(ANON, "b", d, "y", 0), 0);
    ck_assert_uint_eq(lookup(ANON, "b"), a);
    ck_assert_uint_eq(lookup(d, "y"), a);
    ck_assert_str_eq(new_times(ANON), "");
    ck_assert_str_eq(new_times(a), "");
    ck_assert_int_eq(move(ANON, "b", ANON, "b", 0), 0);

    /* over one of several names: the other stays */
    make(ANON, "c", S_IFREG);
    make_old(a);
    ck_assert_int_eq(move(ANON, "c", ANON, "b", 0), 0);
    ck_assert_uint_eq(stat_of(a).st_nlink, 1);
    ck_assert_str_eq(new_times(a), "c");
    ck_assert_int_eq(uvm_inode_path(a, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/d/y");

    ck_assert_int_eq(move(ANON, "none", ANON, "x", 0), -ENOENT);
    ck_assert_int_eq(move(ANON, "b", ANON, "none", RENAME_EXCHANGE), -ENOENT);
    ck_assert_int_eq(move(ANON, "b", d, "y", RENAME_EXCHANGE | RENAME_NOREPLACE), -EINVAL);
    ck_assert_int_eq(move(ANON, "b", d, "y", 1u << 10), -EINVAL);
    ck_assert_int_eq(move(ANON, "b", UVM_INO_ROOT, "y", 0), -EPERM);
    ck_assert_int_eq(move(UVM_INO_ROOT, "anon", ANON, "y", 0), -EPERM);
}
END_TEST

START_TEST(rename_directories)
{
    uint64_t p = make(ANON, "p", S_IFDIR | 0755), q = make(ANON, "q", S_IFDIR | 0755);
    uint64_t d = make(p, "d", S_IFDIR | 0755), e = make(q, "e", S_IFDIR | 0755);
    uint64_t f = make(e, "f", S_IFREG);
    char buf[64];

    make(q, "file", S_IFREG);
    ck_assert_int_eq(move(p, "d", q, "e", 0), -ENOTEMPTY);
    ck_assert_int_eq(move(p, "d", q, "file", 0), -ENOTDIR);
    ck_assert_int_eq(move(q, "file", p, "d", 0), -EISDIR);
    ck_assert_int_eq(uvm_namei_remove(e, "f", false), 0);
    ck_assert_int_eq(move(p, "d", q, "e", 0), 0); /* over an empty one */
    ck_assert_uint_eq(stat_of(p).st_nlink, 2);
    ck_assert_uint_eq(stat_of(q).st_nlink, 3);
    ck_assert_uint_eq(lookup(q, "e"), d);
    ck_assert_ptr_null(uvm_inode_find(e));

    f = make(d, "f", S_IFREG);
    ck_assert_int_eq(move(q, "e", p, "d", 0), 0); /* across, into nothing */
    ck_assert_uint_eq(stat_of(p).st_nlink, 3);
    ck_assert_uint_eq(stat_of(q).st_nlink, 2);
    ck_assert_uint_eq(stored(d).parent, p);
    ck_assert_int_eq(uvm_inode_path(f, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/p/d/f");

    make(p, "g", S_IFDIR | 0755);
    ck_assert_int_eq(move(p, "d", p, "g", 0), 0); /* within, over an empty one */
    ck_assert_uint_eq(stat_of(p).st_nlink, 3);
    ck_assert_uint_eq(stat_of(ANON).st_nlink, 4);
}
END_TEST

START_TEST(rename_exchange)
{
    uint64_t p = make(ANON, "p", S_IFDIR | 0755), q = make(ANON, "q", S_IFDIR | 0755);
    uint64_t d = make(p, "d", S_IFDIR | 0755), f = make(q, "f", S_IFREG);
    struct uvm_dirent ent;
    char buf[64];

    make_old(d), make_old(f), make_old(p), make_old(q);
    ck_assert_int_eq(move(p, "d", q, "f", RENAME_EXCHANGE), 0);
    ck_assert_uint_eq(lookup(p, "d"), f);
    ck_assert_uint_eq(lookup(q, "f"), d);
    ck_assert_int_eq(uvm_tree_name_get(NULL, q, "f", &ent), 0);
    ck_assert_uint_eq(ent.type, S_IFDIR >> 12);
    ck_assert_uint_eq(stat_of(p).st_nlink, 2);
    ck_assert_uint_eq(stat_of(q).st_nlink, 3);
    ck_assert_str_eq(new_times(d), "c");
    ck_assert_str_eq(new_times(f), "c");
    ck_assert_str_eq(new_times(p), "mc");
    ck_assert_str_eq(new_times(q), "mc");
    ck_assert_int_eq(uvm_inode_path(d, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/q/f");
    ck_assert_int_eq(uvm_inode_path(f, buf, sizeof(buf)), 0);
    ck_assert_str_eq(buf, "anon/p/d");
    ck_assert_int_eq(move(q, "f", q, "f", RENAME_EXCHANGE), 0);
    ck_assert_int_eq(move(ANON, "p", ANON, "q", RENAME_EXCHANGE), 0);
    ck_assert_uint_eq(lookup(ANON, "q"), p);
}
END_TEST

START_TEST(rename_whiteout)
{
    uint64_t f = make(ANON, "f", S_IFREG), d = make(ANON, "d", S_IFDIR | 0755);
    struct stat st;

    ck_assert_int_eq(move(ANON, "f", d, "g", RENAME_WHITEOUT), 0);
    ck_assert_uint_eq(lookup(d, "g"), f);
    st = stat_of(lookup(ANON, "f"));
    ck_assert_uint_eq(st.st_mode, S_IFCHR);
    ck_assert_uint_eq(st.st_rdev, 0);
    ck_assert_uint_eq(st.st_uid, 7);
    ck_assert_int_eq(stat_of(ANON).st_size, 2 * UVM_DIRENT_SIZE);
    ck_assert_int_eq(move(d, "g", d, "h", RENAME_WHITEOUT | RENAME_NOREPLACE), 0);
    ck_assert_uint_eq(lookup(d, "h"), f);
    ck_assert_int_eq(stat_of(d).st_size, 2 * UVM_DIRENT_SIZE);
}
END_TEST

/* A reader that renames, or replaces, what it reads meets every name once. */
START_TEST(rename_under_a_reader)
{
    struct uvm_dirent ent;
    uint64_t at = 0;
    unsigned seen = 0;
    char name[16];

    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        make(ANON, name, S_IFREG);
    }
    while (uvm_tree_list(ANON, at, UINT64_MAX, &ent, 1) == 1) {
        ck_assert_uint_lt(seen, 20);
        seen++;
        at = ent.cookie;
        snprintf(name, sizeof(name), "g%u", seen);
        ck_assert_int_eq(move(ANON, ent.name, ANON, name, 0), 0);
        make(ANON, "tmp", S_IFREG);
        ck_assert_int_eq(move(ANON, "tmp", ANON, name, 0), 0);
    }
    ck_assert_uint_eq(seen, 20);
    ck_assert_int_eq(stat_of(ANON).st_size, 20 * UVM_DIRENT_SIZE);
}
END_TEST

static void count_object(struct uvm_inode *inode, struct uvm_object *object, void *arg)
{
    ck_assert_uint_eq(uvm_inode_ino(inode), object->id);
    ck_assert_uint_eq(uvm_inode_size(inode), 0); /* no lock is held here */
    ++*(unsigned *)arg;
}

START_TEST(objects_and_paths)
{
    UVM_INODE_REF(inode);
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "f%u", i);
        uint64_t ino = make(ANON, name, S_IFREG);
        ck_assert_int_eq(uvm_inode_get(NULL, ino, &inode), 0);
        if (i)
            ck_assert_ptr_nonnull(uvm_inode_object(inode));
        uvm_inode_put(UVM_TAKE_PTR(inode));
    }
    ck_assert_int_eq(uvm_inode_foreach_object(count_object, &n), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(uvm_inode_by_path("anon/f1", &inode), 0);
    ck_assert_uint_eq(uvm_inode_ino(inode), lookup(ANON, "f1"));
    uvm_inode_put(UVM_TAKE_PTR(inode));
    ck_assert_int_eq(uvm_inode_by_path("anon/none", &inode), -ENOENT);
}
END_TEST

#define ROUNDS 300

/* Two loops at work: names of one directory, writes to one file, and its look-ups. */
static void *worker(void *arg)
{
    unsigned who = *(unsigned *)arg;
    uint64_t shared = lookup(ANON, "shared");
    char a[16], b[16];

    snprintf(a, sizeof(a), "a%u", who);
    snprintf(b, sizeof(b), "b%u", who);
    for (unsigned i = 0; i < ROUNDS; i++) {
        UVM_INODE_REF(inode);
        ck_assert_int_eq(uvm_inode_get(NULL, shared, &inode), 0);
        uvm_inode_remember(inode, 1);
        uvm_inode_wrote(inode, who + 2 * (i + 1), false);
        make(ANON, a, S_IFREG);
        ck_assert_int_eq(do_link(shared, ANON, b), 0);
        ck_assert_int_eq(move(ANON, a, ANON, b, 0), 0);
        ck_assert_int_eq(uvm_namei_remove(ANON, b, false), 0);
        uvm_inode_forget(shared, 1);
    }
    return NULL;
}

START_TEST(threads)
{
    unsigned who[2] = {0, 1};
    uint64_t shared = make(ANON, "shared", S_IFREG);
    pthread_t thread[2];

    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, worker, &who[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_uint_eq(stat_of(shared).st_nlink, 1);
    ck_assert_int_eq(stat_of(shared).st_size, 2 * ROUNDS + 1);
    ck_assert_uint_eq(stored(shared).size, 2 * ROUNDS + 1);
    ck_assert_uint_eq(stored(shared).nlink, 1);
    ck_assert_int_eq(stat_of(ANON).st_size, UVM_DIRENT_SIZE);
}
END_TEST

static Suite *inode_suite(void)
{
    const TTest *const tests[] = {life_of_a_file,
                                  only_files_have_objects,
                                  unlink_of_a_forgotten_file_ends_it,
                                  end_without_a_transaction,
                                  restart_keeps_what_the_kernel_holds,
                                  what_is_written_when,
                                  relatime,
                                  setattr,
                                  xattrs,
                                  make_rules,
                                  link_rules,
                                  remove_rules,
                                  rename_files,
                                  rename_directories,
                                  rename_exchange,
                                  rename_whiteout,
                                  rename_under_a_reader,
                                  objects_and_paths,
                                  threads};
    Suite *suite = suite_create("inode");
    TCase *tc = tcase_create("inode");

    tcase_add_unchecked_fixture(tc, make_base, remove_base);
    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tc, tests[i]);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(inode_suite)
