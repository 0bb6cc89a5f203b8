/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device pager on regular files and /dev/zero: sizes, copies through windows, the bound on windows,
 * and a device that fails under its mapping: an error, never a signal.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/pager/device.h"

#define ID  (1ull << 61 | 1)
#define WIN ((uint64_t)UVM_DEVWIN_SIZE)

static char path[] = "/tmp/uvmd-device-XXXXXX";
static struct uvm_device *dev;
static int fd;

static void make_file(void)
{
    int made = mkstemp(path);
    ck_assert_int_ge(made, 0);
    close(made);
    uvm_object_module_init();
}

static void remove_file(void)
{
    unlink(path);
}

static void setup(void)
{
    dev = NULL;
    fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
    if (dev)
        dev->uobj.pgops->pgo_detach(&dev->uobj);
    ck_assert_uint_eq(uvm_devwin_count(), 0);
    close(fd);
}

static int try_open(const char *what, uint64_t size, struct uvm_error *err)
{
    struct uvm_devspec spec = {.name = "d", .size = size};
    snprintf(spec.path, sizeof(spec.path), "%s", what);
    return uvm_device_open(&spec, ID, &dev, err);
}

static void open_size(uint64_t bytes)
{
    struct uvm_error err = {0};
    ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
    ck_assert_msg(try_open(path, 0, &err) == 0, "%s", err.msg);
}

START_TEST(sizes)
{
    struct uvm_error err = {0};

    ck_assert_int_eq(ftruncate(fd, 10000), 0);
    ck_assert_int_eq(try_open(path, 10001, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "1 to 10000"));
    ck_assert_int_eq(try_open(path, 5000, &err), 0);
    ck_assert_uint_eq(dev->size, 5000);
    dev->uobj.pgops->pgo_detach(&dev->uobj);
    dev = NULL;
    ck_assert_int_eq(try_open("/dev/zero", 0, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "SIZE"));
    ck_assert_int_eq(try_open("/dev/zero", (8ull << 40) + 1, &err), -EINVAL);
    ck_assert_int_eq(try_open("/dev/zero", 1 << 20, &err), 0);
    ck_assert_uint_eq(uvm_device_resize(dev), 1 << 20);
}
END_TEST

START_TEST(what_cannot_be)
{
    struct uvm_error err = {0};
    char missing[sizeof(path) + 8];

    ck_assert_int_eq(try_open("/", 0, &err), -ENODEV);
    snprintf(missing, sizeof(missing), "%s-no", path);
    ck_assert_int_eq(try_open(missing, 0, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, missing));
    ck_assert_int_eq(try_open("/dev/null", 4096, &err), -ENODEV); /* has no memory to map */
    ck_assert_ptr_nonnull(strstr(err.msg, "cannot be mapped"));
    dev = NULL;
}
END_TEST

/* The bytes go through to the file, across the edges of pages and windows. */
START_TEST(bytes_go_through)
{
    static const uint64_t offs[] = {0, 1, 4095, WIN - 3, WIN + 4096, 2 * WIN + 90};
    char wrote[9000], got[9000];
    size_t done;

    open_size(3 * WIN + 100);
    for (unsigned i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
        memset(wrote, 'a' + (int)i, sizeof(wrote));
        ck_assert_int_eq(uvm_device_write(dev, wrote, sizeof(wrote), offs[i], &done), 0);
        ck_assert_uint_eq(done, sizeof(wrote));
        ck_assert_int_eq(uvm_device_read(dev, got, sizeof(got), offs[i], &done), 0);
        ck_assert_mem_eq(got, wrote, sizeof(wrote));
        ck_assert_int_eq(pread(fd, got, sizeof(got), (off_t)offs[i]), sizeof(got));
        ck_assert_mem_eq(got, wrote, sizeof(wrote));
    }
    ck_assert_int_eq(uvm_device_read(dev, got, 100, 3 * WIN, &done), 0); /* the last bytes */
    ck_assert_int_eq(uvm_device_sync(dev), 0);
}
END_TEST

START_TEST(windows_are_few)
{
    char byte, got;
    size_t done;
    uint64_t n = 3 * UVM_DEVWIN_MAX;

    open_size(n * WIN);
    for (uint64_t i = 0; i < n; i++) {
        byte = (char)(i + 1);
        ck_assert_int_eq(uvm_device_write(dev, &byte, 1, i * WIN + i, &done), 0);
        ck_assert_uint_le(uvm_devwin_count(), UVM_DEVWIN_MAX);
    }
    for (uint64_t i = 0; i < n; i++) {
        ck_assert_int_eq(uvm_device_read(dev, &got, 1, i * WIN + i, &done), 0);
        ck_assert_int_eq(got, (char)(i + 1));
    }
    ck_assert_uint_eq(uvm_devwin_count(), UVM_DEVWIN_MAX);
}
END_TEST

/* A pinned window stays where it is, whatever else is mapped. */
START_TEST(pinned_stays)
{
    size_t len, done;
    char byte;

    open_size((UVM_DEVWIN_MAX + 8) * WIN);
    char *pinned = uvm_devwin_get(dev, 5, &len);
    ck_assert_ptr_nonnull(pinned);
    ck_assert_uint_eq(len, WIN - 5);
    *pinned = 'x';
    for (uint64_t i = 1; i < UVM_DEVWIN_MAX + 8; i++)
        ck_assert_int_eq(uvm_device_read(dev, &byte, 1, i * WIN, &done), 0);
    ck_assert_int_eq(*pinned, 'x');
    ck_assert_ptr_eq(uvm_devwin_get(dev, 5, &len), pinned);
    uvm_devwin_put(pinned);
    uvm_devwin_put(pinned);
}
END_TEST

static void *get_window(void *arg)
{
    size_t len;
    return uvm_devwin_get(dev, *(uint64_t *)arg, &len);
}

/* Who finds all windows pinned waits for one. */
START_TEST(waits_for_a_window)
{
    void *kva[UVM_DEVWIN_MAX], *got;
    uint64_t off = UVM_DEVWIN_MAX * WIN;
    size_t len;
    pthread_t thread;

    open_size((UVM_DEVWIN_MAX + 1) * WIN);
    for (uint64_t i = 0; i < UVM_DEVWIN_MAX; i++)
        ck_assert_ptr_nonnull(kva[i] = uvm_devwin_get(dev, i * WIN, &len));
    ck_assert_int_eq(pthread_create(&thread, NULL, get_window, &off), 0);
    uvm_devwin_put(kva[7]);
    ck_assert_int_eq(pthread_join(thread, &got), 0);
    ck_assert_ptr_nonnull(got);
    uvm_devwin_put(got);
    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++)
        if (i != 7)
            uvm_devwin_put(kva[i]);
}
END_TEST

/* What is mapped is not there any more: SIGBUS for whoever touches it, an error for us. */
START_TEST(shrunk)
{
    char buf[3 * UVM_PAGE_SIZE] = {0};
    size_t done;

    open_size(16 * UVM_PAGE_SIZE);
    ck_assert_int_eq(uvm_device_read(dev, buf, sizeof(buf), 0, &done), 0);
    ck_assert_int_eq(ftruncate(fd, 5 * UVM_PAGE_SIZE), 0);
    ck_assert_int_eq(uvm_device_read(dev, buf, sizeof(buf), 6 * UVM_PAGE_SIZE, &done), -EIO);
    ck_assert_uint_eq(done, 0);
    ck_assert_int_eq(uvm_device_write(dev, buf, sizeof(buf), 6 * UVM_PAGE_SIZE, &done), -EIO);
    ck_assert_int_eq(uvm_device_read(dev, buf, sizeof(buf), 3 * UVM_PAGE_SIZE, &done), -EIO);
    ck_assert_uint_eq(done, 2 * UVM_PAGE_SIZE); /* what is there comes first */
    ck_assert_uint_eq(uvm_device_resize(dev), 5 * UVM_PAGE_SIZE);
    ck_assert_int_eq(ftruncate(fd, 32 * UVM_PAGE_SIZE), 0);
    ck_assert_uint_eq(uvm_device_resize(dev), 16 * UVM_PAGE_SIZE); /* never more than at first */
    ck_assert_int_eq(uvm_device_read(dev, buf, sizeof(buf), 6 * UVM_PAGE_SIZE, &done), 0);
}
END_TEST

/* The mapping itself raises the signal: what the copies are spared is real. */
START_TEST(shrunk_touch)
{
    size_t len;

    open_size(4 * UVM_PAGE_SIZE);
    volatile char *kva = uvm_devwin_get(dev, 2 * UVM_PAGE_SIZE, &len);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    signal(SIGBUS, SIG_DFL); /* a sanitizer has a handler of its own */
    ck_assert_int_eq(*kva, 0);
}
END_TEST

START_TEST(fault_op)
{
    struct uvm_object *uobj;
    void *kva;

    open_size(10 * UVM_PAGE_SIZE);
    uobj = &dev->uobj;
    ck_assert_ptr_null(uobj->pgops->pgo_get);
    ck_assert_ptr_null(uobj->pgops->pgo_put);
    ck_assert_ptr_null(uobj->pgops->pgo_shareprot);
    ck_assert_ptr_eq(uvm_pager(UVM_PAGER_DEVICE), uobj->pgops);
    uvm_lock_acquire(&uobj->lock);
    ck_assert_int_eq(uobj->pgops->pgo_fault(uobj, 3, 7, UVM_PROT_RW, &kva), VM_PAGER_OK);
    uvm_devwin_put(kva);
    uvm_lock_acquire(&uobj->lock);
    ck_assert_int_eq(uobj->pgops->pgo_fault(uobj, 3, 8, UVM_PROT_RW, &kva), VM_PAGER_ERROR);
    uvm_lock_acquire(&uobj->lock);
    ck_assert_int_eq(uobj->pgops->pgo_fault(uobj, 10, 1, UVM_PROT_READ, &kva), VM_PAGER_ERROR);
    dev->readonly = true;
    uvm_lock_acquire(&uobj->lock);
    ck_assert_int_eq(uobj->pgops->pgo_fault(uobj, 0, 1, UVM_PROT_RW, &kva), VM_PAGER_ERROR);
    uvm_lock_assert_none();
}
END_TEST

START_TEST(zero_device)
{
    struct uvm_error err = {0};
    char buf[5000];
    size_t done;

    ck_assert_int_eq(try_open("/dev/zero", 2 * WIN, &err), 0);
    memset(buf, 1, sizeof(buf));
    ck_assert_int_eq(uvm_device_read(dev, buf, sizeof(buf), WIN - 100, &done), 0);
    for (unsigned i = 0; i < sizeof(buf); i++)
        ck_assert_int_eq(buf[i], 0);
    ck_assert_int_eq(uvm_device_sync(dev), 0);
}
END_TEST

static Suite *device_suite(void)
{
    Suite *suite = suite_create("device");
    TCase *tc = tcase_create("core");

    tcase_add_unchecked_fixture(tc, make_file, remove_file);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, sizes);
    tcase_add_test(tc, what_cannot_be);
    tcase_add_test(tc, bytes_go_through);
    tcase_add_test(tc, windows_are_few);
    tcase_add_test(tc, pinned_stays);
    tcase_add_test(tc, waits_for_a_window);
    tcase_add_test(tc, shrunk);
    tcase_add_test_raise_signal(tc, shrunk_touch, SIGBUS);
    tcase_add_test(tc, fault_op);
    tcase_add_test(tc, zero_device);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(device_suite)
