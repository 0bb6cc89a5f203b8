/* SPDX-License-Identifier: BSD-2-Clause */
/* A vnode object over a temporary file, on the paging core of core.c. */
#include "vnode_rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct uvm_object *rig_obj;
int rig_fd;

static uint64_t next_id = 500000;

/* The smallest block that the file can be read in past the page cache; 0: it cannot. */
static uint32_t direct_block(int fd)
{
    void *page;

    ck_assert_int_eq(posix_memalign(&page, UVM_PAGE_SIZE, UVM_PAGE_SIZE), 0);
    uint32_t block = 0;
    for (uint32_t b = UVM_PAGE_SIZE; b >= 512 && pread(fd, page, b, b) >= 0; b /= 2)
        block = b;
    free(page);
    return block;
}

static int open_again(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static void fill_file(int fd, uint64_t id, uint64_t size)
{
    char page[UVM_PAGE_SIZE];

    for (uint64_t off = 0; off < size; off += UVM_PAGE_SIZE) {
        size_t len = MIN(UVM_PAGE_SIZE, size - off);
        core_pattern(page, id, (uint32_t)uvm_atop(off), 0);
        ck_assert_int_eq(pwrite(fd, page, len, (off_t)off), (ssize_t)len);
    }
    ck_assert_int_eq(fsync(fd), 0);
}

struct uvm_object *rig_vnode(enum rig_mode mode, uint64_t size, int *ret_fd)
{
    const char *tmp = getenv("TMPDIR");
    int fd = open(tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    fill_file(fd, next_id, size);
    int data = mode == RIG_DIRECT ? open_again(fd, O_RDWR | O_DIRECT) : -1;
    uint32_t block = data >= 0 ? direct_block(data) : 0;
    if (!block) {
        if (data >= 0)
            close(data);
        data = open_again(fd, O_RDWR);
    }
    int tail = block ? open_again(fd, O_RDWR) : data;
    ck_assert(data >= 0 && tail >= 0);
    struct uvm_object *uobj = uvn_new(next_id++, size);
    ck_assert_ptr_nonnull(uobj);
    ck_assert(uvn_set_backing(uobj, uvn_backing_new(data, tail, block ? block : 1)));
    *ret_fd = fd;
    return uobj;
}

void rig_up(enum rig_mode mode, uint64_t size)
{
    core_up(RIG_PAGES);
    memset(uvm_pagermap_base(), 0x5a, uvm_pagermap_size()); /* not zeroes by chance */
    uvn_faults(true);
    rig_obj = rig_vnode(mode, size, &rig_fd);
}

void rig_down(void)
{
    uvn_inject_clear();
    core_check_object(rig_obj);
    core_gone(rig_obj);
    core_run();
    ck_assert_uint_eq(uvm_stat_get(vndirty), 0);
    ck_assert_ptr_null(uvn_dirty_next(UINT64_MAX));
    core_down();
    close(rig_fd);
}

uint64_t rig_size(void)
{
    struct stat st;
    ck_assert_int_eq(fstat(rig_fd, &st), 0);
    return (uint64_t)st.st_size;
}

bool rig_file_is(uint32_t pgno, unsigned version, size_t len)
{
    char want[UVM_PAGE_SIZE], have[UVM_PAGE_SIZE] = {0};

    core_pattern(want, rig_obj->id, pgno, version);
    memset(want + len, 0, sizeof(want) - len);
    ck_assert_int_ge(pread(rig_fd, have, sizeof(have), (off_t)uvm_ptoa(pgno)), 0);
    return memcmp(want, have, sizeof(want)) == 0;
}

void rig_store(uint32_t pgno, uint32_t npages, unsigned version)
{
    core_fill(rig_obj, pgno, npages, version);
}

static void flushed(struct uvn_flush *flush, int error)
{
    int *ret = flush->arg;
    ck_assert_int_eq(*ret, 1); /* once */
    *ret = error;
}

int rig_flush(uint32_t start, uint32_t stop, enum uvn_sync sync)
{
    int error = 1;
    struct uvn_flush flush = {.uobj = rig_obj,
                              .loop = &core_loop,
                              .start = start,
                              .stop = stop,
                              .sync = sync,
                              .done = flushed,
                              .arg = &error};

    uvn_flush_start(&flush);
    core_run();
    ck_assert_int_ne(error, 1);
    return error;
}

unsigned rig_flags(uint32_t pgno)
{
    const struct vm_page *pg = core_page(rig_obj, pgno);
    ck_assert_ptr_nonnull(pg);
    return pg->flags;
}

void rig_inject(bool write, uint32_t pgno, uint32_t npages, int error, uint64_t count)
{
    struct uvn_fault rule = {
        .reads = !write,
        .writes = write,
        .error = error,
        .off = uvm_ptoa(pgno),
        .len = uvm_ptoa(npages),
        .count = count,
    };
    ck_assert_int_eq(uvn_inject(&rule), 0);
}
