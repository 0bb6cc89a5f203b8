/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker becomes the caller and root again, and nobody else does. Who the caller is comes from
 * libfuse, which is taken over here.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../../fuse/vn_work.h"
#include "unit.h"

static struct fuse_ctx ctx;
static gid_t groups[200];
static int ngroups;

const struct fuse_ctx *__wrap_fuse_req_ctx(fuse_req_t req);
const struct fuse_ctx *__wrap_fuse_req_ctx(fuse_req_t req)
{
    return &ctx;
}

int __wrap_fuse_req_getgroups(fuse_req_t req, int size, gid_t list[]);
int __wrap_fuse_req_getgroups(fuse_req_t req, int size, gid_t list[])
{
    if (ngroups > 0)
        memcpy(list, groups, sizeof(gid_t) * (size_t)MIN(size, ngroups));
    return ngroups;
}

static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    ck_assert_int_eq(syscall(SYS_capget, &header, data), 0);
    return data[0].effective || data[1].effective;
}

static void be_sure_of_root(void)
{
    gid_t list[4];
    ck_assert_int_eq(setfsuid((uid_t)-1), 0);
    ck_assert_int_eq(setfsgid((gid_t)-1), 0);
    ck_assert(has_capabilities());
    ck_assert_int_eq(getgroups(4, list), 0);
}

/* What a test does runs on a worker, so that the test's own thread stays what it is. */
struct check {
    struct vn_job job;
    void (*fn)(void);
};

static void run_check(struct vn_job *job)
{
    UVM_CONTAINER_OF(job, struct check, job)->fn();
}

static void on_worker(void (*fn)(void))
{
    struct check check = {.job.fn = run_check, .fn = fn};
    struct uvm_error err;

    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(vn_work_start(&err), 0);
    umask(022);
    vn_work_submit(&check.job);
    vn_work_drain();
    ck_assert_int_eq(umask(022), 022); /* a worker's umask is its own */
    be_sure_of_root();
    vn_work_stop();
}

static void be_user(void)
{
    gid_t list[200];

    VN_AS_CALLER(rc, NULL);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(setfsuid((uid_t)-1), 1234);
    ck_assert_int_eq(setfsgid((gid_t)-1), 2345);
    ck_assert(!has_capabilities());
    ck_assert_int_eq(getgroups(200, list), ngroups > 0 ? ngroups : 0);
    for (int i = 0; i < ngroups; i++)
        ck_assert_int_eq(list[i], groups[i]);
    ck_assert_int_eq(umask(0), 027);
    int fd = open("/etc/shadow", O_RDWR);
    ck_assert(fd < 0 && errno == EACCES);
}

static void be_user_and_root(void)
{
    for (int i = 0; i < 3; i++) {
        be_user();
        be_sure_of_root();
    }
}

START_TEST(a_user)
{
    ctx = (struct fuse_ctx){.uid = 1234, .gid = 2345, .umask = 027};
    ngroups = 3;
    for (int i = 0; i < 200; i++)
        groups[i] = (gid_t)(5000 + i);
    on_worker(be_user_and_root);
    ngroups = 200; /* more than usual */
    on_worker(be_user_and_root);
    ngroups = -ESRCH; /* a process that cannot be seen */
    on_worker(be_user_and_root);
}
END_TEST

static void be_root(void)
{
    VN_AS_CALLER(rc, NULL);
    ck_assert_int_eq(rc, 0);
    ck_assert(has_capabilities());
    ck_assert_int_eq(setfsuid((uid_t)-1), 0);
    ck_assert_int_eq(setfsgid((gid_t)-1), 77);
    ck_assert_int_eq(umask(0), 022);
}

static void be_root_and_back(void)
{
    be_root();
    be_sure_of_root();
}

START_TEST(root_of_another_group)
{
    ctx = (struct fuse_ctx){.uid = 0, .gid = 77, .umask = 022};
    on_worker(be_root_and_back);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("vn_cred");
    TCase *tc = tcase_create("credentials");

    tcase_add_test(tc, a_user);
    tcase_add_test(tc, root_of_another_group);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    if (geteuid())
        unit_skip("becoming somebody needs root");
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
