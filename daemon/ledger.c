/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ledger (ledger.h has its layout): one sparse memfd, mapped whole.
 *
 * The file is made at its full length at once, slot records for the whole slot space included, so
 * no device that is added later moves anything. Only what has been written takes memory. The length
 * is sealed: no holder of the descriptor can pull the mapping away from under the others.
 *
 * Who reads a record half written is never another thread (each record is guarded by the lock of
 * what it describes) but the process that inherits the memfd after this one was killed between two
 * stores. A killed thread's stores are seen up to some point of program order, so the order the
 * compiler emits is the order that counts: a signal fence on both sides of the fields keeps it.
 */
#include "ledger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define LEDGER_HEADER_SIZE UVM_PAGE_SIZE

static struct {
    int fd;
    uint8_t *base; /* NULL: not made */
    size_t size;   /* bytes */
    struct uvm_ledger_header *header;
    struct uvm_ledger_window *windows;
    struct uvm_ledger_page *pages;
    struct uvm_ledger_slot *slots;
    _Atomic uint32_t seq; /* of the last slot record written */
} ledger = {.fd = -1};

static int ledger_memfd(void)
{
    int fd = memfd_create("uvmd-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
        fd = memfd_create("uvmd-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

static void ledger_layout(struct uvm_ledger_header *h, uint64_t npages, uint64_t nwindows)
{
    h->version = UVM_LEDGER_VERSION;
    h->page_size = UVM_PAGE_SIZE;
    h->npages = npages;
    h->nwindows = nwindows;
    h->windows_off = LEDGER_HEADER_SIZE;
    h->pages_off = h->windows_off + uvm_round_page(nwindows * sizeof(struct uvm_ledger_window));
    h->slots_off = h->pages_off + uvm_round_page(npages * sizeof(struct uvm_ledger_page));
}

int uvm_ledger_init(uint64_t npages, uint64_t nwindows, struct uvm_error *err)
{
    struct uvm_ledger_header h = {0};

    assert(!ledger.base);
    if (npages > UINT32_MAX || nwindows > UINT32_MAX)
        return uvm_fail(err, -EINVAL, "ledger: too many pages or windows: 0 to %u", UINT32_MAX);
    ledger_layout(&h, npages, nwindows);
    uint64_t size = h.slots_off + (uint64_t)UVM_SLOT_MAX * sizeof(struct uvm_ledger_slot);

    CLEANUP_CLOSE int fd = ledger_memfd();
    if (fd < 0)
        return uvm_fail(err, fd, "ledger: memfd_create: %s", strerror(-fd));
    if (ftruncate(fd, (off_t)size) < 0) {
        int rc = -errno;
        return uvm_fail(err, rc, "ledger: cannot size its memfd: %s%s", strerror(-rc),
                        rc == -EFBIG ? " (raise the file size limit, ulimit -f)" : "");
    }
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) {
        int rc = -errno;
        return uvm_fail(err, rc, "ledger: cannot map it: %s%s", strerror(-rc),
                        rc == -ENOMEM ? " (raise the address space limit, ulimit -v)" : "");
    }
    /* Worth having, not needed: a kernel that refuses loses only the protection. */
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);

    ledger.fd = UVM_TAKE_FD(fd);
    ledger.base = p;
    ledger.size = size;
    ledger.header = p;
    ledger.windows = (void *)(ledger.base + h.windows_off);
    ledger.pages = (void *)(ledger.base + h.pages_off);
    ledger.slots = (void *)(ledger.base + h.slots_off);
    atomic_store(&ledger.seq, 0);
    *ledger.header = h;
    atomic_signal_fence(memory_order_seq_cst);
    __atomic_store_n(&ledger.header->magic, UVM_LEDGER_MAGIC, __ATOMIC_RELEASE);
    return 0;
}

void uvm_ledger_fini(void)
{
    if (!ledger.base)
        return;
    munmap(ledger.base, ledger.size);
    close(ledger.fd);
    ledger.base = NULL;
    ledger.fd = -1;
}

int uvm_ledger_fd(void)
{
    return ledger.fd;
}

struct uvm_ledger_header *uvm_ledger_header(void)
{
    return ledger.header;
}

struct uvm_ledger_window *uvm_ledger_window(uint32_t window)
{
    assert(window < ledger.header->nwindows);
    return &ledger.windows[window];
}

struct uvm_ledger_page *uvm_ledger_page(uint32_t page)
{
    assert(page < ledger.header->npages);
    return &ledger.pages[page];
}

struct uvm_ledger_slot *uvm_ledger_slot(uint32_t slot)
{
    assert(slot && slot < UVM_SLOT_MAX);
    return &ledger.slots[slot];
}

bool uvm_ledger_slot_owner(uint32_t slot, uint64_t *object, uint32_t *pgno)
{
    const struct uvm_ledger_slot *r = uvm_ledger_slot(slot);

    *object = __atomic_load_n(&r->object, __ATOMIC_ACQUIRE);
    *pgno = __atomic_load_n(&r->pgno, __ATOMIC_RELAXED);
    return *object != 0;
}

/* The record is nobody's from here, and not before anything that comes earlier. */
static inline void record_open(uint64_t *object)
{
    __atomic_store_n(object, 0, __ATOMIC_RELEASE);
    atomic_signal_fence(memory_order_seq_cst);
}

/* The record is valid from here (object 0: still nobody's), with all that was stored before. */
static inline void record_close(uint64_t *object, uint64_t id)
{
    atomic_signal_fence(memory_order_seq_cst);
    __atomic_store_n(object, id, __ATOMIC_RELEASE);
}

void uvm_ledger_window_set(uint32_t window, uint64_t object, uint32_t index, uint32_t gen)
{
    struct uvm_ledger_window *r = uvm_ledger_window(window);

    record_open(&r->object);
    r->index = index;
    r->gen = gen;
    record_close(&r->object, object);
}

void uvm_ledger_page_set(uint32_t page, uint64_t object, uint32_t pgno, uint32_t apage,
                         uint32_t slot, uint32_t flags)
{
    struct uvm_ledger_page *r = uvm_ledger_page(page);

    record_open(&r->object);
    r->pgno = pgno;
    r->apage = apage;
    r->slot = slot;
    r->flags = flags;
    record_close(&r->object, object);
}

void uvm_ledger_page_clear(uint32_t page)
{
    record_open(&uvm_ledger_page(page)->object);
}

void uvm_ledger_slot_set(uint32_t slot, uint64_t object, uint32_t pgno, uint64_t sum)
{
    struct uvm_ledger_slot *r = uvm_ledger_slot(slot);

    record_open(&r->object);
    __atomic_store_n(&r->pgno, pgno, __ATOMIC_RELAXED); /* uvm_ledger_slot_owner may look on */
    r->seq = atomic_fetch_add_explicit(&ledger.seq, 1, memory_order_relaxed) + 1;
    r->sum = sum;
    record_close(&r->object, object);
}

void uvm_ledger_slot_clear(uint32_t slot, uint32_t nslots)
{
    assert(nslots <= UVM_SLOT_MAX - slot);
    for (uint32_t i = 0; i < nslots; i++)
        record_open(&uvm_ledger_slot(slot + i)->object);
}
