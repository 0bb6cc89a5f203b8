/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file's descriptors: when they are opened, kept and dropped. Real files and workers, over the paging
 * core of core.h, whose loops run when the test says so.
 */
#include <dirent.h>
#include <errno.h>

#include "../../fuse/vn_op.h"
#include "core.h"

static char dir[] = "/tmp/uvm-vn.XXXXXX";
static int dirfd_;

struct uvm_loop *__wrap_vn_loop(void);
struct uvm_loop *__wrap_vn_loop(void)
{
    return &core_loop;
}

/* What the front end's other parts, which are linked but not used, want of loops. */
void uvm_loop_watch(struct uvm_loop *loop, struct uvm_watch *watch)
{
    ck_abort();
}

void uvm_loop_rearm(struct uvm_loop *loop, struct uvm_watch *watch)
{
    ck_abort();
}

static void setup(void)
{
    struct uvm_error err;
    struct statx stx;

    core_up(64);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dirfd_, 0);
    ck_assert_int_eq(vn_statx(dirfd_, &stx), 0);
    vn_root_is(&stx);
    ck_assert_int_eq(vn_work_start(&err), 0);
    ck_assert_int_eq(vn_table_init(dirfd_, "/nowhere"), 0);
    uvn_set_cleaned(vn_cleaned);
}

static void teardown(void)
{
    uvn_set_cleaned(NULL);
    vn_work_stop();
    vn_table_fini();
    unlinkat(dirfd_, "f", 0);
    rmdir(dir);
    close(dirfd_);
    core_down();
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

/* A file of some pages, and its node with one look-up. */
static struct vn_node *make(uint32_t npages)
{
    struct vn_node *node;
    struct statx stx;
    int fd = openat(dirfd_, "f", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)uvm_ptoa(npages)), 0);
    ck_assert_int_eq(vn_node_of(fd, &node, &stx), 0);
    close(fd);
    return node;
}

/* => whether the kernel may keep what it holds */
static bool open_node(struct vn_node *node, bool writer)
{
    bool keep;
    VN_PIN(pin);

    ck_assert_int_eq(vn_pin(node, &pin), 0);
    ck_assert_int_eq(vn_backing_open(node, pin.fd, writer, &keep), 0);
    return keep;
}

/* The workers' jobs and the loops' work, until there is neither. */
static void run_all(void)
{
    for (int i = 0; i < 5; i++) {
        vn_work_drain();
        core_run();
    }
}

static void forget(struct vn_node *node)
{
    uint64_t id = node->id;
    vn_forget(id, node->nlookup);
    run_all();
    ck_assert_ptr_null(vn_find(id));
}

static void write_page(struct vn_node *node, uint32_t pgno)
{
    char page[UVM_PAGE_SIZE];

    memset(page, 'w', sizeof(page));
    ck_assert_int_eq(core_write(node->uobj, uvm_ptoa(pgno), page, sizeof(page), 0), 0);
    vn_times_wrote(node);
}

static void flush_done(struct uvn_flush *flush, int error)
{
    *(int *)flush->arg = error;
}

static int flush(struct vn_node *node)
{
    int error = 1;
    struct uvm_object *uobj = node->uobj;
    struct uvn_flush flush = {.uobj = uobj,
                              .loop = &core_loop,
                              .stop = UVM_OBJECT_PAGES_MAX,
                              .done = flush_done,
                              .arg = &error};
    uobj->pgops->pgo_reference(uobj); /* clean, it may be all that keeps the node */
    uvn_flush_start(&flush);
    core_run();
    uobj->pgops->pgo_detach(uobj);
    return error;
}

START_TEST(shared_and_dropped)
{
    struct vn_node *node = make(4);
    unsigned before = count_fds();

    open_node(node, false);
    struct uvn_backing *readonly = node->backing;
    ck_assert_int_eq(readonly->tail_fd, -1);
    ck_assert(open_node(node, false)); /* the same descriptors, and what is known is right */
    ck_assert_ptr_eq(node->backing, readonly);
    open_node(node, true);
    ck_assert_ptr_ne(node->backing, readonly);
    ck_assert_int_ge(node->backing->tail_fd, 0);
    ck_assert(node->writable);
    vn_backing_close(node, true);
    open_node(node, true);
    ck_assert_uint_gt(count_fds(), before);
    vn_backing_close(node, true);
    vn_backing_close(node, false);
    ck_assert_ptr_nonnull(node->backing);
    ck_assert(vn_is_open(node));
    vn_backing_close(node, false);
    ck_assert_ptr_null(node->backing);
    ck_assert(!vn_is_open(node));
    ck_assert_uint_eq(count_fds(), before);
    forget(node);
}
END_TEST

START_TEST(kept_while_dirty)
{
    struct vn_node *node = make(4);
    unsigned before = count_fds();
    struct stat st;

    open_node(node, true);
    write_page(node, 5); /* and the file is longer */
    vn_backing_close(node, true);
    run_all();
    ck_assert_ptr_nonnull(node->backing);
    ck_assert(open_node(node, false)); /* nobody else's are newer */
    vn_backing_close(node, false);
    ck_assert_int_eq(flush(node), 0);
    run_all();
    ck_assert_ptr_null(node->backing);
    ck_assert_uint_eq(count_fds(), before);
    ck_assert_int_eq(fstatat(dirfd_, "f", &st, 0), 0);
    ck_assert_int_eq(st.st_size, 6 * UVM_PAGE_SIZE);
    ck_assert_int_eq(st.st_mtim.tv_sec, node->times.mtime.tv_sec);
    ck_assert_int_eq(st.st_mtim.tv_nsec, node->times.mtime.tv_nsec);
    ck_assert(open_node(node, false));
    vn_backing_close(node, false);
    forget(node);
}
END_TEST

/* A page-in that is under way at the last close; another opens and closes before it ends. */
START_TEST(dropped_after_page_in)
{
    struct vn_node *node = make(4);
    char page[UVM_PAGE_SIZE];
    struct core_req req;

    for (int twice = 0; twice < 2; twice++) {
        open_node(node, false);
        core_start_read(&req, node->uobj, uvm_ptoa((uint32_t)twice), page, sizeof(page), 0);
        vn_backing_close(node, false);
        ck_assert_ptr_nonnull(node->backing);
        if (twice) {
            open_node(node, false);
            vn_backing_close(node, false);
        }
        run_all();
        ck_assert_uint_eq(req.ndone, 1);
        ck_assert_int_eq(req.error, 0);
        ck_assert_ptr_null(node->backing);
    }
    forget(node);
}
END_TEST

/* Without a name, without a handle: nobody will ask for what is dirty. */
START_TEST(orphan)
{
    struct vn_node *node = make(4);
    uint64_t id = node->id;
    unsigned before = count_fds();

    open_node(node, true);
    write_page(node, 1);
    vn_backing_close(node, true);
    ck_assert_int_eq(unlinkat(dirfd_, "f", 0), 0);
    run_all();
    ck_assert_ptr_nonnull(vn_find(id)); /* the kernel may */
    vn_forget(id, 1);
    run_all();
    ck_assert_ptr_null(vn_find(id));
    ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* Forgotten, but with a name: the dirty page is for whoever opens it next. */
START_TEST(forgotten_while_dirty)
{
    struct vn_node *node = make(4);
    uint64_t id = node->id;

    open_node(node, true);
    write_page(node, 1);
    vn_backing_close(node, true);
    vn_forget(id, 1);
    run_all();
    ck_assert_ptr_eq(vn_find(id), node);
    ck_assert_int_eq(flush(node), 0);
    run_all();
    ck_assert_ptr_null(vn_find(id));
}
END_TEST

static void change_size(off_t size)
{
    int fd = openat(dirfd_, "f", O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    close(fd);
}

START_TEST(changed_by_another)
{
    struct vn_node *node = make(4);
    struct statx stx;
    VN_PIN(pin);

    open_node(node, false);
    change_size(100);
    ck_assert(!open_node(node, false)); /* also while it is open */
    ck_assert_uint_eq(uvn_size(node->uobj), 100);
    ck_assert(open_node(node, false));
    change_size(200);
    ck_assert_int_eq(vn_pin(node, &pin), 0);
    ck_assert(vn_revalidate(node, pin.fd, &stx));
    ck_assert_uint_eq(uvn_size(node->uobj), 200);
    ck_assert(!vn_revalidate(node, pin.fd, &stx));
    for (int i = 0; i < 3; i++)
        vn_backing_close(node, false);
    change_size(300);
    ck_assert(!open_node(node, false));
    ck_assert_uint_eq(uvn_size(node->uobj), 300);
    vn_backing_close(node, false);
    forget(node);
}
END_TEST

/* Cut by another while something was dirty: what its size must be tells. */
START_TEST(cut_while_dirty)
{
    struct vn_node *node = make(4);

    uvn_set_cleaned(NULL);
    open_node(node, true);
    write_page(node, 1);
    ck_assert_int_eq(flush(node), 0);
    change_size(0);
    vn_backing_clean(node);
    ck_assert_uint_eq(uvn_size(node->uobj), 0);
    vn_backing_close(node, true);
    forget(node);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("vn_backing");
    TCase *tc = tcase_create("backing");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, shared_and_dropped);
    tcase_add_test(tc, kept_while_dirty);
    tcase_add_test(tc, dropped_after_page_in);
    tcase_add_test(tc, orphan);
    tcase_add_test(tc, forgotten_while_dirty);
    tcase_add_test(tc, changed_by_another);
    tcase_add_test(tc, cut_while_dirty);
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
