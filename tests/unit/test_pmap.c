/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pmap, both kinds. What the contract says of bytes, bits and windows runs on both; what only
 * the MMU can do (faults of other threads and of the kernel) runs where the kernel lets us.
 *
 * A "toucher" is a thread that does one access to the arena and may sleep in it; the test plays the
 * fault thread. Every wait has a deadline.
 *
 * The ioctl below stands in for libc's, so that a test can make the n-th copy fail or stop
 * half-way.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/ledger.h"
#include "daemon/pmap/pmap.h"
#include "daemon/pmap/pmap_soft.h"
#include "daemon/util.h"

#define NWINDOWS    16
#define NPAGES      (NWINDOWS * UVM_WINDOW_PAGES)
#define DEADLINE_MS 10000

static const enum pmap_kind kinds[] = {PMAP_SOFT, PMAP_UFFD};
static uint8_t *bytes; /* UVM_CLUSTER_PAGES pages, page i filled with i + 1 (mod 251) */

/* Injection: calls of type UFFD_TYPE and number `nr`, after `skip` good ones, fail `times` times.
 */
#define UFFD_TYPE 0xaa
#define UFFD_COPY 3
#define UFFD_WP   6

static struct {
    unsigned nr;
    int skip;
    int times;
    int error;
    int partial; /* pages to copy of a call that is to stop half-way; 0: none */
    int calls;
    uint32_t watch; /* apage whose modified bit is noted at each call */
    bool modified;
} inject;

struct copy_arg { /* the front of what COPY takes */
    uint64_t dst, src, len, mode;
    int64_t copy;
};

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);

    if (_IOC_TYPE(request) == UFFD_TYPE && inject.nr && _IOC_NR(request) == inject.nr) {
        inject.calls++;
        inject.modified = pmap_is_modified(inject.watch);
        struct copy_arg *cp = arg;
        if (inject.skip > 0) {
            inject.skip--;
        } else if (inject.times > 0) {
            inject.times--;
            errno = inject.error;
            return -1;
        }
        if (inject.partial && cp->len > uvm_ptoa(inject.partial)) {
            struct copy_arg part = *cp;
            part.len = uvm_ptoa(inject.partial);
            long rc = syscall(SYS_ioctl, fd, request, &part);
            cp->copy = part.copy;
            if (rc == 0)
                errno = EAGAIN;
            return -1;
        }
    }
    return (int)syscall(SYS_ioctl, fd, request, arg);
}

static void setup_kind(enum pmap_kind kind)
{
    struct uvm_error err = {0};

    ck_assert_msg(uvm_ledger_init(NPAGES, NWINDOWS, &err) == 0, "%s", err.msg);
    ck_assert_msg(pmap_init(kind, NWINDOWS, &err) == 0, "%s", err.msg);
    bytes = malloc(uvm_ptoa(UVM_CLUSTER_PAGES));
    ck_assert_ptr_nonnull(bytes);
    for (uint32_t i = 0; i < UVM_CLUSTER_PAGES; i++)
        memset(bytes + uvm_ptoa(i), (int)(i % 251 + 1), UVM_PAGE_SIZE);
}

static void setup_uffd(void)
{
    setup_kind(PMAP_UFFD);
}

static void setup_soft(void)
{
    setup_kind(PMAP_SOFT);
}

static void teardown(void)
{
    free(bytes);
    pmap_fini();
    uvm_ledger_fini();
    ck_assert_ptr_null(uvm_md);
}

/* Is every byte of the page this? */
static bool page_is(uint32_t apage, uint8_t byte)
{
    const uint8_t *p = pmap_kva(apage);

    return p[0] == byte && memcmp(p, p + 1, UVM_PAGE_SIZE - 1) == 0;
}

/* What is logged of an error that is made on purpose would only alarm. */
static void quiet(void)
{
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

/* ---- a thread that touches the arena ---- */

enum touch_kind { TOUCH_LOAD, TOUCH_STORE, TOUCH_PIPE };

struct toucher {
    pthread_t thread;
    enum touch_kind kind;
    volatile uint8_t *at;
    uint8_t value; /* stored, or what was loaded */
    int fd;        /* TOUCH_PIPE: write the page here */
    ssize_t wrote;
    _Atomic bool done;
};

/* The MMU orders these accesses and the test's, which a sanitizer of threads cannot see. */
#define ORDERED_BY_FAULTS __attribute__((no_sanitize_thread))

ORDERED_BY_FAULTS static void *toucher_main(void *arg)
{
    struct toucher *t = arg;

    if (t->kind == TOUCH_LOAD)
        t->value = *t->at;
    else if (t->kind == TOUCH_STORE)
        *t->at = t->value;
    else
        t->wrote = write(t->fd, (const void *)t->at, UVM_PAGE_SIZE);
    atomic_store(&t->done, true);
    return NULL;
}

static void touch_start(struct toucher *t, enum touch_kind kind, uint32_t apage, uint8_t value)
{
    t->kind = kind;
    t->at = pmap_kva(apage);
    t->value = value;
    atomic_store(&t->done, false);
    ck_assert_int_eq(pthread_create(&t->thread, NULL, toucher_main, t), 0);
}

static void touch_join(struct toucher *t)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    ck_assert_msg(pthread_timedjoin_np(t->thread, NULL, &until) == 0, "the access never ended");
}

/* Wait for one fault, and check it. */
static void expect_fault(uint32_t apage, enum pmap_fault_kind kind, bool write)
{
    struct pollfd p = {.fd = pmap_fault_fd(), .events = POLLIN};
    struct pmap_fault f[4];

    ck_assert_msg(poll(&p, 1, DEADLINE_MS) == 1, "no fault came");
    ck_assert_int_eq(pmap_next_fault(f, 4), 1);
    ck_assert_uint_eq(f[0].apage, apage);
    ck_assert_int_eq(f[0].kind, kind);
    ck_assert_int_eq(f[0].write, write);
    ck_assert_int_eq(pmap_next_fault(f, 4), 0);
}

/* ---- both kinds ---- */

START_TEST(test_enter_read_back)
{
    setup_kind(kinds[_i]);
    ck_assert_int_eq(pmap_enter(3, 2, bytes, UVM_PROT_READ), 0);
    ck_assert_int_eq(pmap_enter(5, 1, bytes + uvm_ptoa(7), UVM_PROT_RW), 0);
    ck_assert(page_is(3, 1));
    ck_assert(page_is(4, 2));
    ck_assert(page_is(5, 8));
    ck_assert(!pmap_is_modified(2));
    ck_assert(!pmap_is_modified(3));
    ck_assert(!pmap_is_modified(4));
    ck_assert(pmap_is_modified(5));
    ck_assert(!pmap_is_modified(6));
    ck_assert_ptr_eq(pmap_kva(4), (uint8_t *)pmap_kva(3) + UVM_PAGE_SIZE);
    teardown();
}
END_TEST

START_TEST(test_enter_unaligned_source)
{
    setup_kind(kinds[_i]);
    ck_assert_int_eq(pmap_enter(0, 1, bytes + 1, UVM_PROT_READ), 0);
    ck_assert_int_eq(memcmp(pmap_kva(0), bytes + 1, UVM_PAGE_SIZE), 0);
    teardown();
}
END_TEST

START_TEST(test_zero)
{
    setup_kind(kinds[_i]);
    ck_assert_int_eq(pmap_zero(1, 200, UVM_PROT_READ), 0);
    ck_assert_int_eq(pmap_zero(300, 100, UVM_PROT_RW), 0);
    for (uint32_t i = 0; i < 200; i++) {
        ck_assert(page_is(1 + i, 0));
        ck_assert(!pmap_is_modified(1 + i));
    }
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert(page_is(300 + i, 0));
        ck_assert(pmap_is_modified(300 + i));
    }
    teardown();
}
END_TEST

/* A range of a whole cluster that begins and ends inside windows. */
START_TEST(test_range_across_windows)
{
    const uint32_t at = 10, n = UVM_CLUSTER_PAGES;

    setup_kind(kinds[_i]);
    ck_assert_int_eq(pmap_enter(at, n, bytes, UVM_PROT_RW), 0);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert(page_is(at + i, (uint8_t)(i % 251 + 1)));
        ck_assert(pmap_is_modified(at + i));
    }
    ck_assert(!pmap_is_modified(at - 1));
    ck_assert(!pmap_is_modified(at + n));

    pmap_clear_modify(at + 1, n - 2);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(pmap_is_modified(at + i), i == 0 || i == n - 1);
    pmap_page_protect(at, n, UVM_PROT_RW);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert(pmap_is_modified(at + i));
        ck_assert(page_is(at + i, (uint8_t)(i % 251 + 1)));
    }
    pmap_page_protect(at, n, UVM_PROT_READ);
    ck_assert_msg(pmap_is_modified(at), "write-protecting alone does not forget");
    pmap_page_protect(at, n, UVM_PROT_NONE);
    for (uint32_t i = 0; i < n; i++)
        ck_assert(!pmap_is_modified(at + i));
    ck_assert_int_eq(pmap_enter(at, n, bytes, UVM_PROT_READ), 0);
    ck_assert(page_is(at + n - 1, (uint8_t)((n - 1) % 251 + 1)));
    teardown();
}
END_TEST

/* Pages that are there already, in the middle and at both ends, are replaced. */
START_TEST(test_enter_over_present)
{
    static const uint32_t there[] = {20, 22, 23, 63, 64, 83};

    setup_kind(kinds[_i]);
    for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
        ck_assert_int_eq(pmap_zero(there[i], 1, UVM_PROT_RW), 0);
    ck_assert_int_eq(pmap_enter(20, 64, bytes, UVM_PROT_READ), 0);
    for (uint32_t i = 0; i < 64; i++) {
        ck_assert(page_is(20 + i, (uint8_t)(i + 1)));
        ck_assert_msg(!pmap_is_modified(20 + i), "page %u is modified", i);
    }
    ck_assert_int_eq(pmap_zero(20, 64, UVM_PROT_RW), 0);
    for (uint32_t i = 0; i < 64; i++)
        ck_assert(page_is(20 + i, 0) && pmap_is_modified(20 + i));
    teardown();
}
END_TEST

START_TEST(test_windows)
{
    int owner_a, owner_b;
    uint64_t id;
    uint32_t index;

    setup_kind(kinds[_i]);
    uint32_t a = pmap_window_alloc(7, 3, &owner_a);
    uint32_t b = pmap_window_alloc(8, 4, &owner_b);
    ck_assert_uint_ne(a, b);
    ck_assert_ptr_eq(pmap_window_owner(a, &id, &index), &owner_a);
    ck_assert_uint_eq(id, 7);
    ck_assert_uint_eq(index, 3);
    ck_assert_uint_eq(uvm_ledger_window(a)->object, 7);
    ck_assert_uint_eq(uvm_ledger_window(a)->index, 3);

    uint32_t gen_a = pmap_window_gen(a), gen_b = pmap_window_gen(b);
    pmap_window_free(a);
    ck_assert_uint_eq(pmap_window_gen(a), gen_a + 1);
    ck_assert_uint_eq(pmap_window_gen(b), gen_b);
    ck_assert_ptr_null(pmap_window_owner(a, &id, &index));
    ck_assert_uint_eq(uvm_ledger_window(a)->object, 0);
    ck_assert_uint_eq(uvm_ledger_window(b)->object, 8);

    ck_assert_msg(pmap_window_alloc(9, 0, &owner_b) == a, "the last one freed comes first");
    ck_assert_uint_eq(pmap_window_gen(a), gen_a + 1);
    ck_assert_uint_eq(uvm_ledger_window(a)->object, 9);
    ck_assert_uint_eq(uvm_ledger_window(a)->gen, gen_a + 1);
    teardown();
}
END_TEST

START_TEST(test_windows_all_used)
{
    bool seen[NWINDOWS] = {false};

    setup_kind(kinds[_i]);
    for (int round = 0; round < 3; round++) {
        memset(seen, 0, sizeof(seen));
        for (uint32_t i = 0; i < NWINDOWS; i++) {
            uint32_t w = pmap_window_alloc(1, i, &seen);
            ck_assert_uint_lt(w, NWINDOWS);
            ck_assert_msg(!seen[w], "window %u twice", w);
            seen[w] = true;
        }
        for (uint32_t i = 0; i < NWINDOWS; i++)
            pmap_window_free((i * 5 + (uint32_t)round) % NWINDOWS);
    }
    for (uint32_t i = 0; i < NWINDOWS; i++)
        ck_assert_uint_eq(pmap_window_gen(i), 3);
    teardown();
}
END_TEST

START_TEST(test_vector)
{
    setup_kind(kinds[_i]);
    ck_assert_ptr_nonnull(uvm_md);
    ck_assert_int_eq(pmap_enter(0, 1, bytes, UVM_PROT_READ), 0);
    uvm_md->page_protect(0, 1, UVM_PROT_RW);
    ck_assert(uvm_md->is_modified(0));
    uvm_md->clear_modify(0, 1);
    ck_assert(!uvm_md->is_modified(0));
    ck_assert_ptr_eq(uvm_md->kva(0), pmap_kva(0));
    uvm_md->remove(0, 1);
    uint32_t w = pmap_window_alloc(1, 0, &w);
    uvm_md->window_free(w);
    ck_assert_uint_eq(pmap_window_gen(w), 1);
    teardown();
}
END_TEST

/* ---- programming errors ---- */

static void setup_abort(void)
{
    quiet();
    setup_soft();
}

START_TEST(test_abort_exhausted)
{
    for (uint32_t i = 0; i <= NWINDOWS; i++)
        pmap_window_alloc(1, i, &i);
}
END_TEST

START_TEST(test_abort_double_free)
{
    uint32_t w = pmap_window_alloc(1, 0, &w);
    pmap_window_free(w);
    pmap_window_free(w);
}
END_TEST

START_TEST(test_abort_range)
{
    pmap_enter(NPAGES - 1, 2, bytes, UVM_PROT_READ);
}
END_TEST

START_TEST(test_abort_protect_absent)
{
    pmap_page_protect(0, 1, UVM_PROT_RW);
}
END_TEST

START_TEST(test_abort_window_not_empty)
{
    uint32_t w = pmap_window_alloc(1, 0, &w);
    pmap_zero(w * UVM_WINDOW_PAGES + 9, 1, UVM_PROT_READ);
    pmap_window_free(w);
}
END_TEST

START_TEST(test_init_range)
{
    struct uvm_error err = {0};

    ck_assert_int_eq(pmap_init(PMAP_SOFT, 0, &err), -ERANGE);
    ck_assert_int_eq(err.code, -ERANGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "33554432"));
    ck_assert_int_eq(pmap_init(PMAP_SOFT, (1u << 25) + 1, &err), -ERANGE);
    ck_assert_int_eq(pmap_init(PMAP_SOFT, 1, &err), 0);
    pmap_fini();
}
END_TEST

/* ---- the soft pmap ---- */

START_TEST(test_soft_states)
{
    ck_assert_int_eq(pmap_fault_fd(), -1);
    ck_assert_int_eq(pmap_soft_state(5), PMAP_SOFT_ABSENT);
    ck_assert_int_eq(pmap_enter(5, 1, bytes, UVM_PROT_READ), 0);
    ck_assert_int_eq(pmap_soft_state(5), PMAP_SOFT_RO);
    pmap_page_protect(5, 1, UVM_PROT_RW);
    ck_assert_int_eq(pmap_soft_state(5), PMAP_SOFT_RW);
    pmap_clear_modify(5, 1);
    ck_assert_int_eq(pmap_soft_state(5), PMAP_SOFT_RO);
    pmap_remove(4, 3);
    ck_assert_int_eq(pmap_soft_state(5), PMAP_SOFT_ABSENT);
    ck_assert_msg(!page_is(5, 1) && !page_is(5, 0), "a hole shows neither old bytes nor zeroes");
    ck_assert_int_eq(pmap_zero(5, 1, UVM_PROT_RW), 0);
    ck_assert_int_eq(pmap_soft_state(5), PMAP_SOFT_RW);
    ck_assert(page_is(5, 0));
}
END_TEST

START_TEST(test_soft_faults)
{
    struct pmap_fault f[PMAP_SOFT_FAULTS];

    ck_assert_int_eq(pmap_next_fault(f, 4), 0);
    for (int round = 0; round < 3; round++) { /* round the ring */
        for (uint32_t i = 0; i < 40; i++)
            pmap_soft_fault(i, i & 1 ? PMAP_FAULT_WP : PMAP_FAULT_MISSING, i & 1);
        ck_assert_int_eq(pmap_next_fault(f, 7), 7);
        ck_assert_int_eq(pmap_next_fault(f + 7, PMAP_SOFT_FAULTS - 7), 33);
        for (uint32_t i = 0; i < 40; i++) {
            ck_assert_uint_eq(f[i].apage, i);
            ck_assert_int_eq(f[i].kind, i & 1 ? PMAP_FAULT_WP : PMAP_FAULT_MISSING);
            ck_assert_int_eq(f[i].write, i & 1);
        }
    }
    ck_assert_int_eq(pmap_next_fault(f, 4), 0);
}
END_TEST

/* ---- the userfaultfd pmap ---- */

START_TEST(test_wp_fault)
{
    struct toucher t;

    ck_assert_int_eq(pmap_enter(70, 2, bytes, UVM_PROT_READ), 0);
    touch_start(&t, TOUCH_STORE, 70, 99);
    expect_fault(70, PMAP_FAULT_WP, true);
    ck_assert(!atomic_load(&t.done));
    ck_assert(page_is(70, 1));
    ck_assert(!pmap_is_modified(70));
    pmap_page_protect(70, 1, UVM_PROT_RW);
    touch_join(&t);
    ck_assert_uint_eq(*(uint8_t *)pmap_kva(70), 99);
    ck_assert(pmap_is_modified(70));
    ck_assert(!pmap_is_modified(71));
}
END_TEST

START_TEST(test_missing_fault)
{
    struct toucher t;

    touch_start(&t, TOUCH_LOAD, 130, 0);
    expect_fault(130, PMAP_FAULT_MISSING, false);
    ck_assert_int_eq(pmap_enter(128, 4, bytes, UVM_PROT_READ), 0);
    touch_join(&t);
    ck_assert_uint_eq(t.value, 3);

    /* A store to a hole that is entered read-only faults twice. */
    touch_start(&t, TOUCH_STORE, 200, 77);
    expect_fault(200, PMAP_FAULT_MISSING, true);
    ck_assert_int_eq(pmap_enter(200, 1, bytes, UVM_PROT_READ), 0);
    expect_fault(200, PMAP_FAULT_WP, true);
    pmap_page_protect(200, 1, UVM_PROT_RW);
    touch_join(&t);
    ck_assert_uint_eq(*(uint8_t *)pmap_kva(200), 77);

    /* One that is zeroed writable goes through at once. */
    touch_start(&t, TOUCH_STORE, 201, 78);
    expect_fault(201, PMAP_FAULT_MISSING, true);
    ck_assert_int_eq(pmap_zero(201, 1, UVM_PROT_RW), 0);
    touch_join(&t);
    ck_assert_uint_eq(*(uint8_t *)pmap_kva(201), 78);
}
END_TEST

/* Also when the page was protected, whose mark may outlive it. */
START_TEST(test_remove_faults_again)
{
    struct toucher t;

    for (int prot = UVM_PROT_READ; prot <= UVM_PROT_RW; prot += UVM_PROT_RW - UVM_PROT_READ) {
        ck_assert_int_eq(pmap_enter(0, 64, bytes, prot), 0);
        pmap_remove(0, 64);
        touch_start(&t, TOUCH_STORE, 33, 5);
        expect_fault(33, PMAP_FAULT_MISSING, true);
        ck_assert_int_eq(pmap_zero(33, 1, UVM_PROT_RW), 0);
        touch_join(&t);
        ck_assert_uint_eq(((uint8_t *)pmap_kva(33))[0], 5);
        ck_assert_uint_eq(((uint8_t *)pmap_kva(33))[1], 0);
        pmap_remove(33, 1);
    }
    ck_assert_msg(lseek(pmap_arena_fd(), 0, SEEK_DATA) == -1 && errno == ENXIO,
                  "the memory was not given back");
}
END_TEST

START_TEST(test_clear_modify_faults_again)
{
    struct toucher t;

    ck_assert_int_eq(pmap_enter(0, 3, bytes, UVM_PROT_RW), 0);
    *(uint8_t *)pmap_kva(1) = 40;
    pmap_clear_modify(1, 1);
    ck_assert(!pmap_is_modified(1));
    ck_assert(pmap_is_modified(0) && pmap_is_modified(2));
    touch_start(&t, TOUCH_STORE, 1, 41);
    expect_fault(1, PMAP_FAULT_WP, true);
    ck_assert_uint_eq(*(uint8_t *)pmap_kva(1), 40);
    pmap_page_protect(1, 1, UVM_PROT_RW);
    touch_join(&t);
    ck_assert_uint_eq(*(uint8_t *)pmap_kva(1), 41);
    ck_assert(pmap_is_modified(1));
}
END_TEST

/* The kernel touches a hole in a system call of ours. (It holds the pipe's lock meanwhile, so the
 * pipe cannot be looked at.) */
START_TEST(test_kernel_fault)
{
    static uint8_t got[UVM_PAGE_SIZE];
    struct toucher t;
    int p[2];

    ck_assert_int_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
    t.fd = p[1];
    touch_start(&t, TOUCH_PIPE, 65, 0);
    expect_fault(65, PMAP_FAULT_MISSING, false);
    ck_assert(!atomic_load(&t.done));
    ck_assert_int_eq(pmap_enter(64, 2, bytes + uvm_ptoa(16), UVM_PROT_READ), 0);
    touch_join(&t);
    ck_assert_int_eq(t.wrote, UVM_PAGE_SIZE);
    ck_assert_int_eq(read(p[0], got, sizeof(got)), UVM_PAGE_SIZE);
    ck_assert_int_eq(memcmp(got, bytes + uvm_ptoa(17), sizeof(got)), 0);
    close(p[0]);
    close(p[1]);
}
END_TEST

START_TEST(test_wake_tries_again)
{
    struct toucher t;

    touch_start(&t, TOUCH_LOAD, 8, 0);
    expect_fault(8, PMAP_FAULT_MISSING, false);
    pmap_wake(0, 64);
    expect_fault(8, PMAP_FAULT_MISSING, false);
    ck_assert_int_eq(pmap_zero(8, 1, UVM_PROT_READ), 0);
    touch_join(&t);
    ck_assert_uint_eq(t.value, 0);
}
END_TEST

START_TEST(test_many_faults)
{
    enum { N = 8 };
    struct toucher t[N];
    uint32_t seen = 0;
    struct pmap_fault f[3];

    for (uint32_t i = 0; i < N; i++)
        touch_start(&t[i], TOUCH_LOAD, i * UVM_WINDOW_PAGES, 0);
    while (seen != (1u << N) - 1) {
        struct pollfd p = {.fd = pmap_fault_fd(), .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, DEADLINE_MS), 1);
        int got = pmap_next_fault(f, 3);
        ck_assert_int_ge(got, 0);
        for (int i = 0; i < got; i++) {
            ck_assert_int_eq(f[i].kind, PMAP_FAULT_MISSING);
            ck_assert_uint_eq(f[i].apage % UVM_WINDOW_PAGES, 0);
            seen |= 1u << f[i].apage / UVM_WINDOW_PAGES;
        }
    }
    for (uint32_t i = 0; i < N; i++) {
        ck_assert_int_eq(pmap_enter(i * UVM_WINDOW_PAGES, 1, bytes + uvm_ptoa(i), UVM_PROT_READ),
                         0);
        touch_join(&t[i]);
        ck_assert_uint_eq(t[i].value, i + 1);
    }
}
END_TEST

#define RACE_STORES 400

ORDERED_BY_FAULTS static void *race_main(void *arg)
{
    volatile uint32_t *word = arg;

    for (uint32_t i = 1; i <= RACE_STORES; i++)
        *word = i;
    return NULL;
}

/* A page that is not modified is what it was when the modification was last forgotten. */
START_TEST(test_no_store_is_missed)
{
    volatile uint32_t *word = pmap_kva(5);
    uint32_t saved = 0, rounds = 0;
    pthread_t thread;

    ck_assert_int_eq(pmap_zero(5, 1, UVM_PROT_READ), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, race_main, (void *)word), 0);
    uint64_t left = 100000000;
    while (saved != RACE_STORES && left--) {
        struct pmap_fault f;
        if (pmap_next_fault(&f, 1) == 1) {
            ck_assert_int_eq(f.kind, PMAP_FAULT_WP);
            ck_assert_msg(*word == saved, "clean, yet %u is not %u", *word, saved);
            pmap_page_protect(5, 1, UVM_PROT_RW);
        }
        if (pmap_is_modified(5)) {
            pmap_clear_modify(5, 1);
            saved = *word;
            rounds++;
        }
    }
    ck_assert_uint_eq(saved, RACE_STORES);
    ck_assert_uint_gt(rounds, 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(*word, RACE_STORES);
}
END_TEST

/* The bit is set before a page is writable, and cleared after it is protected. */
START_TEST(test_order_of_bit_and_protection)
{
    inject.watch = 6;
    inject.nr = UFFD_COPY;
    ck_assert_int_eq(pmap_enter(6, 1, bytes, UVM_PROT_RW), 0);
    ck_assert(inject.calls == 1 && inject.modified);
    inject.nr = UFFD_WP;
    inject.modified = false;
    pmap_clear_modify(6, 1);
    ck_assert(inject.calls == 2 && inject.modified && !pmap_is_modified(6));
    inject.modified = false;
    pmap_page_protect(6, 1, UVM_PROT_RW);
    ck_assert(inject.calls == 3 && inject.modified);
}
END_TEST

START_TEST(test_partial_copies_resume)
{
    inject.nr = UFFD_COPY;
    inject.partial = 7;
    ck_assert_int_eq(pmap_enter(10, 100, bytes, UVM_PROT_READ), 0);
    ck_assert_int_ge(inject.calls, 100 / 7);
    for (uint32_t i = 0; i < 100; i++)
        ck_assert(page_is(10 + i, (uint8_t)(i + 1)));
}
END_TEST

START_TEST(test_busy_kernel_is_tried_again)
{
    inject.nr = UFFD_COPY;
    inject.times = 50;
    inject.error = EAGAIN;
    ck_assert_int_eq(pmap_enter(0, 3, bytes, UVM_PROT_READ), 0);
    ck_assert_int_eq(inject.calls, 51);
    ck_assert(page_is(2, 3));

    inject.nr = UFFD_WP;
    inject.times = 50;
    pmap_page_protect(0, 3, UVM_PROT_RW);
    ck_assert_int_eq(inject.times, 0);
    *(uint8_t *)pmap_kva(2) = 9; /* would sleep for ever */
    ck_assert(pmap_is_modified(2));
}
END_TEST

/* A failure in the middle leaves nothing of the range. */
START_TEST(test_failed_enter_undone)
{
    static const struct {
        int error, rc;
    } cases[] = {{ENOMEM, -ENOMEM}, {EAGAIN, -EAGAIN}, {ENOENT, -EFAULT}};

    quiet();
    ck_assert_int_eq(pmap_enter(9, 1, bytes, UVM_PROT_RW), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        inject.nr = UFFD_COPY;
        inject.partial = 16;
        inject.skip = 2;
        inject.times = 1 << 30;
        inject.error = cases[i].error;
        ck_assert_int_eq(pmap_enter(10, 100, bytes, UVM_PROT_RW), cases[i].rc);
        for (uint32_t k = 10; k < 110; k++)
            ck_assert(!pmap_is_modified(k));
        ck_assert_int_eq(lseek(pmap_arena_fd(), uvm_ptoa(10), SEEK_DATA), -1);
        ck_assert_msg(page_is(9, 1) && pmap_is_modified(9), "the neighbour is left alone");
    }
}
END_TEST

START_TEST(test_abort_protect_fails)
{
    quiet();
    ck_assert_int_eq(pmap_zero(0, 1, UVM_PROT_RW), 0);
    inject.nr = UFFD_WP;
    inject.times = 1 << 30;
    inject.error = ENOENT;
    pmap_clear_modify(0, 1);
}
END_TEST

START_TEST(test_descriptors)
{
    ck_assert_int_ge(pmap_arena_fd(), 0);
    ck_assert_int_ge(pmap_fault_fd(), 0);
    ck_assert_int_eq(fcntl(pmap_arena_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(fcntl(pmap_fault_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(fcntl(pmap_fault_fd(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_ptr_nonnull(strstr(pmap_features(), "missing wp"));
    ck_assert_int_eq(lseek(pmap_arena_fd(), 0, SEEK_END), uvm_ptoa(NPAGES));
}
END_TEST

/* The largest arena: 8 TiB of address space, and its last page works. */
#ifdef __SANITIZE_THREAD__
#define LARGEST (1u << 20) /* the sanitizer keeps most of the address space to itself */
#else
#define LARGEST (1u << 25)
#endif

START_TEST(test_largest_arena)
{
    const uint32_t n = LARGEST;
    struct uvm_error err = {0};

    ck_assert_msg(pmap_init(PMAP_UFFD, n, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(pmap_zero(n * UVM_WINDOW_PAGES - 3, 3, UVM_PROT_RW), 0);
    memset(pmap_kva(n * UVM_WINDOW_PAGES - 1), 3, UVM_PAGE_SIZE);
    ck_assert(page_is(n * UVM_WINDOW_PAGES - 1, 3));
    ck_assert(pmap_is_modified(n * UVM_WINDOW_PAGES - 1));
    ck_assert_uint_eq(pmap_window_gen(n - 1), 0);
    pmap_fini();
}
END_TEST

/* Whoever may not use it is told what to do. */
START_TEST(test_not_permitted)
{
    struct uvm_error err = {0};

    if (geteuid() == 0 && setresuid(65534, 65534, 65534))
        return;
    if (pmap_init(PMAP_UFFD, 1, &err) == 0) {
        pmap_fini(); /* this host lets everybody */
        return;
    }
    ck_assert_int_eq(err.code, -EPERM);
    ck_assert_ptr_nonnull(strstr(err.msg, "/dev/userfaultfd"));
    ck_assert_ptr_nonnull(strstr(err.msg, "CAP_SYS_PTRACE"));
    ck_assert_ptr_nonnull(strstr(err.msg, "vm.unprivileged_userfaultfd"));
    ck_assert_ptr_null(uvm_md);
}
END_TEST

static void add_uffd_cases(Suite *s)
{
    TCase *tc = tcase_create("uffd");
    tcase_add_checked_fixture(tc, setup_uffd, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, test_wp_fault);
    tcase_add_test(tc, test_missing_fault);
    tcase_add_test(tc, test_remove_faults_again);
    tcase_add_test(tc, test_clear_modify_faults_again);
    tcase_add_test(tc, test_kernel_fault);
    tcase_add_test(tc, test_wake_tries_again);
    tcase_add_test(tc, test_many_faults);
    tcase_add_test(tc, test_no_store_is_missed);
    tcase_add_test(tc, test_order_of_bit_and_protection);
    tcase_add_test(tc, test_partial_copies_resume);
    tcase_add_test(tc, test_busy_kernel_is_tried_again);
    tcase_add_test(tc, test_failed_enter_undone);
    tcase_add_test_raise_signal(tc, test_abort_protect_fails, SIGABRT);
    tcase_add_test(tc, test_descriptors);
    suite_add_tcase(s, tc);

    tc = tcase_create("uffd init");
    tcase_add_test(tc, test_largest_arena);
    suite_add_tcase(s, tc);
}

static bool have_uffd(void)
{
    struct uvm_error err = {0};

    if (pmap_init(PMAP_UFFD, 1, &err)) {
        printf("skipped: the uffd cases: %s\n", err.msg);
        return false;
    }
    pmap_fini();
    return true;
}

static Suite *pmap_suite(void)
{
    Suite *s = suite_create("pmap");
    bool uffd = have_uffd();

    TCase *tc = tcase_create("both");
    int n = uffd ? 2 : 1;
    tcase_add_loop_test(tc, test_enter_read_back, 0, n);
    tcase_add_loop_test(tc, test_enter_unaligned_source, 0, n);
    tcase_add_loop_test(tc, test_zero, 0, n);
    tcase_add_loop_test(tc, test_range_across_windows, 0, n);
    tcase_add_loop_test(tc, test_enter_over_present, 0, n);
    tcase_add_loop_test(tc, test_windows, 0, n);
    tcase_add_loop_test(tc, test_windows_all_used, 0, n);
    tcase_add_loop_test(tc, test_vector, 0, n);
    suite_add_tcase(s, tc);

    tc = tcase_create("soft");
    tcase_add_checked_fixture(tc, setup_soft, teardown);
    tcase_add_test(tc, test_soft_states);
    tcase_add_test(tc, test_soft_faults);
    suite_add_tcase(s, tc);

    tc = tcase_create("errors");
    tcase_add_checked_fixture(tc, setup_abort, NULL);
    tcase_add_test_raise_signal(tc, test_abort_exhausted, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_double_free, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_range, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_protect_absent, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_window_not_empty, SIGABRT);
    suite_add_tcase(s, tc);

    tc = tcase_create("init");
    tcase_add_test(tc, test_init_range);
    tcase_add_test(tc, test_not_permitted);
    suite_add_tcase(s, tc);

    if (uffd)
        add_uffd_cases(s);
    return s;
}

UNIT_MAIN(pmap_suite)
