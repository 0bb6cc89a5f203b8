/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening swap devices: what is taken, what is refused and with which words, what is left behind.
 * Mounts are made in a mount namespace of the test's own process; the tests that need one, or a
 * loop device, say so and pass where root or the device is missing.
 */
#include "daemon/pager/swap.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/ledger.h"
#include "daemon/log.h"
#include "daemon/reserve.h"
#include "daemon/stats.h"

#define MIB (1u << 20)

static char dir[200];
static struct uvm_swapspec spec;
static struct uvm_error err;

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/uvm-swapdev-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(uvm_ledger_init(1, 1, &err), 0);
    uvm_reserve_init();
    uvm_swap_init();
    uvm_log_set_level(UVM_LOG_ERROR);
    spec = (struct uvm_swapspec){.size = 2 * MIB};
    snprintf(spec.path, sizeof(spec.path), "%s/swap", dir);
}

static void teardown(void)
{
    char path[256];

    uvm_swap_fini();
    uvm_ledger_fini();
    snprintf(path, sizeof(path), "%s/mnt", dir);
    umount2(path, MNT_DETACH);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/swap", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/link", dir);
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void added(void)
{
    ck_assert_msg(uvm_swap_add(&spec, &err) == 0, "%s", err.msg);
}

static void again(void)
{
    uvm_swap_fini();
    uvm_swap_init();
}

/* It fails so, with one line that names the path and has the word. */
static void refused(int rc, const char *word)
{
    memset(&err, 0, sizeof(err));
    ck_assert_int_eq(uvm_swap_add(&spec, &err), rc);
    ck_assert_msg(strstr(err.msg, word) != NULL, "%s", err.msg);
    ck_assert_msg(strstr(err.msg, spec.path) != NULL, "%s", err.msg);
    ck_assert_ptr_null(strchr(err.msg, '\n'));
}

static bool exists(void)
{
    return access(spec.path, F_OK) == 0;
}

static void put_file(const void *data, size_t len, mode_t mode)
{
    CLEANUP_CLOSE int fd = open(spec.path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    ck_assert_int_eq(fchmod(fd, mode), 0);
}

static struct stat file_stat(void)
{
    struct stat st;

    ck_assert_int_eq(stat(spec.path, &st), 0);
    return st;
}

START_TEST(test_new_file)
{
    spec.size += 100; /* rounds down */
    added();
    struct stat st = file_stat();
    ck_assert_int_eq(st.st_size, 2 * MIB);
    ck_assert_int_ge(st.st_blocks * 512, 2 * MIB); /* not sparse */
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(uvm_swap_pages(), uvm_atop(2 * MIB) - 1);
}
END_TEST

START_TEST(test_reopen)
{
    uint8_t before[64], after[64];

    added();
    again();
    CLEANUP_CLOSE int fd = open(spec.path, O_RDONLY);
    ck_assert_int_eq(pread(fd, before, sizeof(before), 0), sizeof(before));
    spec.size = 0; /* as large as it is */
    added();
    ck_assert_uint_eq(uvm_swap_pages(), uvm_atop(2 * MIB) - 1);
    ck_assert_int_eq(pread(fd, after, sizeof(after), 0), sizeof(after));
    ck_assert_mem_eq(before, after, sizeof(before)); /* the same UUID */
    again();
    spec.size = 4 * MIB;
    added();
    ck_assert_uint_eq(uvm_swap_pages(), uvm_atop(4 * MIB) - 1);
    ck_assert_int_ge(file_stat().st_blocks * 512, 4 * MIB);
    again();
    spec.size = MIB;
    added();
    ck_assert_int_eq(file_stat().st_size, MIB);
    ck_assert_uint_eq(uvm_swap_pages(), uvm_atop(MIB) - 1);
}
END_TEST

START_TEST(test_hole_is_filled)
{
    added();
    again();
    CLEANUP_CLOSE int fd = open(spec.path, O_RDWR);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB, MIB / 2), 0);
    ck_assert_int_lt(file_stat().st_blocks * 512, 2 * MIB);
    added();
    ck_assert_int_ge(file_stat().st_blocks * 512, 2 * MIB);
}
END_TEST

START_TEST(test_something_else)
{
    static const char text[] = "somebody's only copy of something";
    char now[sizeof(text)];

    put_file(text, sizeof(text), 0644);
    refused(-EEXIST, "holds something else");
    CLEANUP_CLOSE int fd = open(spec.path, O_RDONLY);
    ck_assert_int_eq(read(fd, now, sizeof(now)), sizeof(now));
    ck_assert_mem_eq(now, text, sizeof(text));
    ck_assert_int_eq(file_stat().st_size, sizeof(text));
    ck_assert_uint_eq(file_stat().st_mode & 07777, 0644); /* not touched at all */
    spec.force = true;
    added();
    ck_assert_int_eq(file_stat().st_size, 2 * MIB);
    again();
    spec.force = false;
    added(); /* now it is ours */
}
END_TEST

START_TEST(test_damaged_label)
{
    added();
    again();
    CLEANUP_CLOSE int fd = open(spec.path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "?", 1, 20), 1);
    fsync(fd);
    refused(-EEXIST, "holds something else");
    ck_assert(exists());
    spec.force = true;
    added();
}
END_TEST

START_TEST(test_empty_file)
{
    put_file("", 0, 0600);
    spec.size = 0;
    refused(-EINVAL, "size is needed");
    spec.size = 2 * MIB;
    added();
}
END_TEST

START_TEST(test_open_mode)
{
    added();
    again();
    ck_assert_int_eq(chmod(spec.path, 0664), 0);
    added();
    ck_assert_uint_eq(file_stat().st_mode & 07777, 0600);
    if (geteuid())
        return;
    again();
    ck_assert_int_eq(chown(spec.path, 12345, 12345), 0);
    ck_assert_int_eq(chmod(spec.path, 0640), 0);
    refused(-EPERM, "chmod 600");
    ck_assert_int_eq(chmod(spec.path, 0600), 0);
    added();
}
END_TEST

START_TEST(test_sizes)
{
    spec.size = 0;
    refused(-EINVAL, "size is needed");
    ck_assert(!exists());
    spec.size = MIB - 1;
    refused(-ERANGE, "too small: 1M to 4T");
    ck_assert(!exists());
    spec.size = 5ull << 40;
    refused(-ERANGE, "too big: 1M to 4T");
    ck_assert(!exists());
    spec.size = MIB;
    spec.prio = UVM_SWAP_PRIO_MAX + 1;
    refused(-ERANGE, "0 to 32767");
    spec.prio = -1;
    refused(-ERANGE, "0 to 32767");
    ck_assert(!exists());
    spec.prio = UVM_SWAP_PRIO_MAX;
    added();
}
END_TEST

START_TEST(test_wrong_paths)
{
    snprintf(spec.path, sizeof(spec.path), "%s", dir);
    refused(-EISDIR, "is a directory");
    snprintf(spec.path, sizeof(spec.path), "%s/no/swap", dir);
    refused(-ENOENT, "No such file");
    snprintf(spec.path, sizeof(spec.path), "/dev/null");
    refused(-ENOTBLK, "neither a file nor a block device");
    ck_assert_uint_eq(uvm_stat_get(nswapdev), 0);
}
END_TEST

START_TEST(test_same_twice)
{
    char path[256];

    added();
    refused(-EEXIST, "already");
    snprintf(path, sizeof(path), "%s/link", dir);
    ck_assert_int_eq(symlink("swap", path), 0);
    snprintf(spec.path, sizeof(spec.path), "%s", path);
    refused(-EEXIST, "already");
    ck_assert_uint_eq(uvm_swap_list(NULL, 0), 1);
}
END_TEST

/* Another process has it: this one must not, until the other ends. */
START_TEST(test_locked)
{
    int up[2], down[2];
    char byte = 0;

    ck_assert_int_eq(pipe(up), 0);
    ck_assert_int_eq(pipe(down), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        byte = uvm_swap_add(&spec, &err) == 0;
        if (write(up[1], &byte, 1) == 1) {
            close(down[1]);
            if (read(down[0], &byte, 1) < 0) /* until the parent says so or is gone */
                _exit(1);
        }
        _exit(0);
    }
    ck_assert_int_eq(read(up[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 1);
    refused(-EBUSY, "in use by another uvmd");
    ck_assert(exists());
    ck_assert_int_eq(write(down[1], "", 1), 1);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    added();
}
END_TEST

START_TEST(test_too_many)
{
    snprintf(spec.path, sizeof(spec.path), "%s/swap", dir);
    spec.size = MIB;
    for (unsigned i = 0; i < UVM_SWAP_DEV_MAX; i++) {
        added();
        unlink(spec.path); /* lives on while open */
    }
    refused(-ENOSPC, "up to 64");
    ck_assert(!exists());
    ck_assert_uint_eq(uvm_swap_pages(), UVM_SWAP_DEV_MAX * (uvm_atop(MIB) - 1));
}
END_TEST

/* A limit of the shell's, told before the kernel's signal comes. */
START_TEST(test_file_size_limit)
{
    struct rlimit limit = {.rlim_cur = MIB, .rlim_max = RLIM_INFINITY};

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = MIB;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    refused(-EFBIG, "file size limit");
    ck_assert(!exists());
}
END_TEST

/* From here on this process's fallocate() fails so. */
static void break_fallocate(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = 4, .filter = code};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

/* A file system without fallocate: zeroes are written, and only where there is nothing. */
START_TEST(test_no_fallocate)
{
    char now[5];

    added();
    again();
    CLEANUP_CLOSE int fd = open(spec.path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, "data", 5, 5 * UVM_PAGE_SIZE + 100), 5);
    ck_assert_int_eq(fsync(fd), 0);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB, MIB / 2), 0);
    break_fallocate(EOPNOTSUPP);
    spec.size = 3 * MIB + 3 * UVM_PAGE_SIZE;
    added();
    ck_assert_int_eq(file_stat().st_size, spec.size);
    ck_assert_int_ge(file_stat().st_blocks * 512, spec.size);
    ck_assert_int_eq(pread(fd, now, sizeof(now), 5 * UVM_PAGE_SIZE + 100), sizeof(now));
    ck_assert_mem_eq(now, "data", 5);
    again();
    ck_assert_int_eq(unlink(spec.path), 0);
    added();
    ck_assert_int_ge(file_stat().st_blocks * 512, spec.size);
}
END_TEST

/* The disk fills up while the file is being allocated. */
START_TEST(test_fallocate_fails)
{
    added();
    again();
    break_fallocate(ENOSPC);
    spec.size = 3 * MIB;
    refused(-ENOSPC, "does not fit");
    ck_assert_int_eq(file_stat().st_size, 2 * MIB);
    ck_assert_int_eq(unlink(spec.path), 0);
    refused(-ENOSPC, "does not fit");
    ck_assert(!exists());
}
END_TEST

/* A file system of a kind on dir/mnt, seen by nobody else. => false: not allowed here */
static bool private_mount(const char *type, const char *options)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/mnt", dir);
    if (mkdir(path, 0700) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(type, path, type, 0, options) < 0) {
        printf("not run: mount of %s: %s\n", type, strerror(errno));
        return false;
    }
    snprintf(spec.path, sizeof(spec.path), "%s/mnt/swap", dir);
    return true;
}

START_TEST(test_disk_full)
{
    if (!private_mount("tmpfs", "size=4M,mode=0700"))
        return;
    spec.size = 8 * MIB;
    memset(&err, 0, sizeof(err));
    if (uvm_swap_add(&spec, &err) == -EINVAL) {
        printf("not run: tmpfs without O_DIRECT\n");
        return;
    }
    refused(-ENOSPC, "does not fit on the disk: 8.0M needed, 4.0M free");
    ck_assert(!exists());
    spec.size = 2 * MIB;
    added();
    again();
    spec.size = 16 * MIB; /* and growing: it stays as it was */
    refused(-ENOSPC, "does not fit");
    ck_assert_int_eq(file_stat().st_size, 2 * MIB);
    spec.size = 0;
    added();
}
END_TEST

START_TEST(test_no_direct_io)
{
    if (!private_mount("ramfs", NULL))
        return;
    refused(-EINVAL, "no O_DIRECT");
    ck_assert(!exists());
}
END_TEST

/* A loop device on the swap path's file that goes when it is closed. => -1: none here */
static int loop_device(uint64_t size, char *path, size_t pathlen)
{
    CLEANUP_CLOSE int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int n = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
    if (n < 0)
        return -1;
    CLEANUP_CLOSE int file = open(spec.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(file, (off_t)size), 0);
    snprintf(path, pathlen, "/dev/loop%d", n);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (uint32_t)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

START_TEST(test_block_device)
{
    char path[64];
    struct uvm_swapinfo info;
    CLEANUP_CLOSE int fd = loop_device(2 * MIB, path, sizeof(path));

    if (fd < 0) {
        printf("not run: loop device: %s\n", strerror(errno));
        return;
    }
    snprintf(spec.path, sizeof(spec.path), "%s", path);
    spec.size = 4 * MIB;
    refused(-ENOSPC, "it has 2M");
    ck_assert_int_eq(pwrite(fd, "x", 1, 65536 + 64), 1); /* where a label of btrfs would be */
    ck_assert_int_eq(fsync(fd), 0);
    spec.size = 0;
    refused(-EEXIST, "holds something else");
    spec.force = true;
    added();
    ck_assert_uint_eq(uvm_swap_pages(), uvm_atop(2 * MIB) - 1);
    uvm_swap_list(&info, 1);
    ck_assert(info.block);
    refused(-EEXIST, "already");
    again();
    spec.force = false;
    added(); /* by its label */
    again();
    CLEANUP_CLOSE int excl = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
    ck_assert_int_ge(excl, 0);
    refused(-EBUSY, "in use");
}
END_TEST

static Suite *dev_suite(void)
{
    Suite *s = suite_create("swap_dev");
    TCase *tc = tcase_create("swap_dev");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_new_file);
    tcase_add_test(tc, test_reopen);
    tcase_add_test(tc, test_hole_is_filled);
    tcase_add_test(tc, test_something_else);
    tcase_add_test(tc, test_damaged_label);
    tcase_add_test(tc, test_empty_file);
    tcase_add_test(tc, test_open_mode);
    tcase_add_test(tc, test_sizes);
    tcase_add_test(tc, test_wrong_paths);
    tcase_add_test(tc, test_same_twice);
    tcase_add_test(tc, test_locked);
    tcase_add_test(tc, test_too_many);
    tcase_add_test(tc, test_file_size_limit);
    tcase_add_test(tc, test_no_fallocate);
    tcase_add_test(tc, test_fallocate_fails);
    tcase_add_test(tc, test_disk_full);
    tcase_add_test(tc, test_no_direct_io);
    tcase_add_test(tc, test_block_device);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(dev_suite)
