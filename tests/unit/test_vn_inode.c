/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of nodes on a real directory: identity, counts, descriptors, turns. */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../../fuse/vn_op.h"
#include "unit.h"

static char dir[] = "/tmp/uvm-vn.XXXXXX";
static int dirfd_;

static _Atomic unsigned settled;

void __real_vn_settle(struct vn_node *node);
void __wrap_vn_settle(struct vn_node *node);
void __wrap_vn_settle(struct vn_node *node)
{
    settled++;
    __real_vn_settle(node);
}

static void setup(void)
{
    struct uvm_error err;
    struct statx stx;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dirfd_, 0);
    ck_assert_int_eq(vn_statx(dirfd_, &stx), 0);
    vn_root_is(&stx);
    ck_assert_int_eq(vn_work_start(&err), 0);
    ck_assert_int_eq(vn_table_init(dirfd_, "/nowhere"), 0);
}

static void teardown(void)
{
    vn_work_stop();
    vn_table_fini();
    DIR *list = opendir(dir);
    struct dirent *ent;
    while (list && (ent = readdir(list)))
        unlinkat(dirfd_, ent->d_name, 0);
    closedir(list);
    rmdir(dir);
    close(dirfd_);
}

static void make(const char *name)
{
    int fd = openat(dirfd_, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* A look-up of a name. */
static struct vn_node *look(const char *name)
{
    struct vn_node *node = NULL;
    struct statx stx;
    int fd = openat(dirfd_, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(vn_node_of(fd, &node, &stx), 0);
    close(fd);
    return node;
}

static unsigned count_fds(void)
{
    DIR *list = opendir("/proc/self/fd");
    unsigned n = 0;
    while (readdir(list))
        n++;
    closedir(list);
    return n;
}

START_TEST(one_file_one_node)
{
    make("a");
    struct vn_node *a = look("a");
    ck_assert_ptr_eq(look("a"), a);
    ck_assert_int_eq(linkat(dirfd_, "a", dirfd_, "b", 0), 0);
    ck_assert_int_eq(renameat(dirfd_, "a", dirfd_, "c"), 0);
    ck_assert_ptr_eq(look("b"), a);
    ck_assert_ptr_eq(look("c"), a);
    ck_assert_ptr_eq(vn_find(a->id), a);
    ck_assert_uint_eq(a->nlookup, 4);
    ck_assert(a->id & UVM_INO_VNODE_BIT);
    ck_assert_ptr_eq(look("."), vn_find(UVM_INO_VNODE_ROOT));
}
END_TEST

/* The store is asked, then our last page-out makes the file longer and it is closed: what it said is old. */
START_TEST(shown_late)
{
    struct uvm_vnode vnode = {.size = 5};
    struct statx stx;
    struct stat st;

    make("a");
    struct vn_node *a = look("a");
    uvm_lock_init(&vnode.uobj.lock, UVM_LR_OBJECT);
    atomic_store(&a->uobj, &vnode.uobj);
    int fd = openat(dirfd_, "a", O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(vn_statx(fd, &stx), 0);
    ck_assert_int_eq(write(fd, "hello", 5), 5);
    close(fd);
    vn_show(a, &stx, &st);
    ck_assert_int_eq(st.st_size, 5);
    atomic_store(&a->uobj, NULL);
    uvm_lock_destroy(&vnode.uobj.lock);
}
END_TEST

/* Inode numbers come back at once on many file systems; nodes do not. */
START_TEST(a_new_file_is_another)
{
    uint64_t ids[50];

    for (int i = 0; i < 50; i++) {
        make("f");
        ids[i] = look("f")->id;
        for (int k = 0; k < i; k++)
            ck_assert_uint_ne(ids[i], ids[k]);
        ck_assert_int_eq(unlinkat(dirfd_, "f", 0), 0);
    }
}
END_TEST

START_TEST(forgotten)
{
    make("f");
    uint64_t id = look("f")->id;
    look("f");
    vn_forget(id, 1);
    ck_assert_ptr_nonnull(vn_find(id));
    struct vn_node *ref = vn_get(id);
    vn_forget(id, 1);
    ck_assert_ptr_eq(vn_find(id), ref); /* the reference keeps it, and a look-up finds it again */
    ck_assert_ptr_eq(look("f"), ref);
    vn_unref(ref);
    ck_assert_ptr_eq(vn_find(id), ref);
    vn_work_drain(); /* a worker may have looked after it */
    vn_forget(id, 1);
    ck_assert_ptr_null(vn_find(id));
    ck_assert_uint_ne(look("f")->id, id);
    vn_forget(UVM_INO_VNODE_ROOT, 1000); /* the root stays */
    ck_assert_ptr_nonnull(vn_find(UVM_INO_VNODE_ROOT));
}
END_TEST

/* A node that only its backing keeps is let go of by the last who has another reference. */
START_TEST(dropped)
{
    make("f");
    struct vn_node *node = look("f");
    uint64_t id = node->id;

    vn_ref(node);              /* the backing's */
    vn_ref(node);              /* ours */
    ck_assert(!vn_drop(node)); /* the kernel knows it */
    vn_forget(id, 1);
    vn_work_drain();
    vn_ref(node);              /* somebody else's */
    ck_assert(!vn_drop(node)); /* he might want it */
    settled = 0;
    vn_unref(node); /* ours, which leaves two */
    ck_assert_uint_eq(settled, 0);
    vn_unref(node); /* his */
    vn_work_drain();
    ck_assert_uint_eq(settled, 1);
    vn_ref(node);
    ck_assert(vn_drop(node));
    ck_assert_ptr_null(vn_find(id));
    vn_unref(node);
    vn_unref(node);
    ck_assert_uint_eq(settled, 1);
}
END_TEST

START_TEST(no_descriptors)
{
    char name[20];
    unsigned before = count_fds();

    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        make(name);
        struct vn_node *node = look(name);
        VN_PIN(pin);
        ck_assert_int_eq(vn_pin(node, &pin), 0);
        ck_assert(pin.own);
    }
    ck_assert_uint_le(count_fds(), before + 1);
}
END_TEST

/* Without a name the handle need not do; who keeps a descriptor is found. */
START_TEST(kept)
{
    struct statx stx;
    struct stat st;

    make("f");
    struct vn_node *node = look("f");
    int fd = openat(dirfd_, "f", O_PATH | O_CLOEXEC);
    ck_assert_int_eq(fstat(fd, &st), 0);
    vn_keep(node, fd);
    vn_keep(node, fd);
    close(fd);
    ck_assert_int_eq(unlinkat(dirfd_, "f", 0), 0);
    VN_PIN(pin);
    ck_assert_int_eq(vn_pin(node, &pin), 0);
    ck_assert_int_eq(vn_statx(pin.fd, &stx), 0);
    ck_assert_uint_eq(stx.stx_ino, st.st_ino);
    ck_assert_uint_eq(stx.stx_nlink, 0);
    unsigned with = count_fds();
    vn_forget(node->id, 1);
    vn_work_drain();
    ck_assert_uint_eq(count_fds(), with - 1);
}
END_TEST

START_TEST(gone_is_stale)
{
    make("f");
    struct vn_node *node = look("f");
    ck_assert_int_eq(unlinkat(dirfd_, "f", 0), 0);
    VN_PIN(pin);
    ck_assert_int_eq(vn_pin(node, &pin), -ESTALE);
}
END_TEST

/* Where handles cannot be opened, nodes keep descriptors, and are found by them. */
START_TEST(without_handles)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    struct uvm_error err;

    vn_work_stop();
    vn_table_fini();
    ck_assert_int_eq(syscall(SYS_capget, &header, data), 0);
    data[0].effective &= ~(1u << CAP_DAC_READ_SEARCH);
    ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
    ck_assert_int_eq(vn_work_start(&err), 0);
    ck_assert_int_eq(vn_table_init(dirfd_, "/nowhere"), 0);

    unsigned before = count_fds();
    make("a");
    struct vn_node *a = look("a");
    ck_assert_int_eq(linkat(dirfd_, "a", dirfd_, "b", 0), 0);
    ck_assert_ptr_eq(look("b"), a);
    ck_assert_uint_eq(count_fds(), before + 1);
    ck_assert_int_eq(unlinkat(dirfd_, "a", 0), 0);
    make("a");
    ck_assert_ptr_ne(look("a"), a);
    {
        VN_PIN(pin);
        ck_assert_int_eq(vn_pin(a, &pin), 0);
        ck_assert(!pin.own);
    }
    vn_forget(a->id, 2);
    vn_work_drain();
    ck_assert_uint_eq(count_fds(), before + 1);

    /* And when there are no more, that is said. */
    struct rlimit limit = {.rlim_cur = count_fds() + 20, .rlim_max = count_fds() + 20};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int rc = 0;
    for (int i = 0; i < 100 && !rc; i++) {
        struct vn_node *node;
        struct statx stx;
        char name[20];
        snprintf(name, sizeof(name), "n%d", i);
        ck_assert_int_eq(mknodat(dirfd_, name, S_IFREG | 0644, 0), 0);
        int fd = openat(dirfd_, name, O_PATH | O_CLOEXEC);
        rc = fd < 0 ? -errno : vn_node_of(fd, &node, &stx);
        if (fd >= 0)
            close(fd);
    }
    ck_assert_int_eq(vn_errno(rc), -ENFILE);
}
END_TEST

struct turn {
    struct vn_job job;
    struct vn_node *node;
    int *at;
    int seen;
    _Atomic int *running;
};

static void run_turn(struct vn_job *job)
{
    struct turn *turn = UVM_CONTAINER_OF(job, struct turn, job);
    ck_assert_int_eq(atomic_fetch_add(turn->running, 1), 0); /* alone */
    turn->seen = (*turn->at)++;
    usleep(200);
    atomic_fetch_sub(turn->running, 1);
    vn_turn_end(turn->node);
}

START_TEST(turns_one_at_a_time)
{
    struct turn turns[40];
    _Atomic int running = 0;
    int at = 0;

    make("f");
    struct vn_node *node = look("f");
    for (int i = 0; i < 40; i++) {
        turns[i] = (struct turn){
            .job.fn = run_turn, .node = node, .at = &at, .seen = -1, .running = &running};
        vn_turn(node, &turns[i].job);
    }
    vn_work_drain();
    ck_assert_int_eq(at, 40);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(turns[i].seen, i); /* and in order */
    ck_assert(!node->taken);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("vn_inode");
    TCase *tc = tcase_create("nodes");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_file_one_node);
    tcase_add_test(tc, shown_late);
    tcase_add_test(tc, a_new_file_is_another);
    tcase_add_test(tc, forgotten);
    tcase_add_test(tc, dropped);
    tcase_add_test(tc, no_descriptors);
    tcase_add_test(tc, kept);
    tcase_add_test(tc, gone_is_stale);
    tcase_add_test(tc, without_handles);
    tcase_add_test(tc, turns_one_at_a_time);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    if (geteuid())
        unit_skip("file handles need root");
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
