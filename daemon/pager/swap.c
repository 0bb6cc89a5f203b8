/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slot space: which device has which slots, and which device the next run comes from.
 *
 *      order:  [prio 0: B -> C -> A] [prio 1: D] [prio 5: E -> F]
 *                       |         ^
 *                       '- gave --'   a device that gives a run goes behind those of its priority
 *
 * An allocation walks the order and takes the first run of the full size it finds, so a lower
 * priority gives only what no higher one has. When nobody has it, the whole walk is done again for
 * half the size, and so on: a long run on a slower device beats a short one on a faster, because
 * the length of the transfer is what decides its cost.
 *
 * A device whose writes fail one after another is broken rather than worn: it is passed over while any
 * other has room, and tried again every few seconds.
 *
 * The lock is held for bitmaps and ledger records only. Opening and allocating a device, which may
 * take long, is done before it is taken.
 */
#include "swap_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "../ledger.h"
#include "../lock.h"
#include "../stats.h"
#include "swap_fault.h"

#define SWAP_FAILED_MAX 8u /* failed writes in a row that make a device broken */
#define SWAP_RESUME_NS  5000000000ull

TAILQ_HEAD(swap_order, uvm_swapdevice);

static struct {
    struct uvm_lock lock;                         /* guards all below */
    struct uvm_swapdevice *dev[UVM_SWAP_DEV_MAX]; /* by slot number */
    struct swap_order order;                      /* by priority, then turn */
    unsigned ndev;
    uint32_t next; /* first slot number no device has */
    bool faults;
} swap;

void uvm_swap_init(void)
{
    uvm_lock_init(&swap.lock, UVM_LR_SWAP);
    TAILQ_INIT(&swap.order);
    swap.ndev = 0;
    swap.next = 0;
    swap.faults = false;
    uvm_swapfault_init();
    uvm_stat_set(nswapdev, 0);
    uvm_stat_set(swpages, 0);
    uvm_stat_set(swpginuse, 0);
    uvm_stat_set(swpgbad, 0);
}

static void device_free(struct uvm_swapdevice *dev)
{
    if (dev->store)
        dev->store->ops->close(dev->store);
    uvm_slotmap_fini(&dev->map);
    free(dev->path);
    free(dev);
}

void uvm_swap_fini(void)
{
    for (unsigned i = 0; i < swap.ndev; i++)
        device_free(swap.dev[i]);
    swap.ndev = 0;
    uvm_swapfault_fini();
    uvm_lock_destroy(&swap.lock);
}

void uvm_swap_discard(void)
{
    UVM_LOCK_SCOPE(&swap.lock);
    for (unsigned i = 0; i < swap.ndev; i++)
        if (swap.dev[i]->made)
            uvm_swapdev_remove(swap.dev[i]->path, &swap.dev[i]->id);
}

void uvm_swap_faults(bool on)
{
    UVM_LOCK_SCOPE(&swap.lock);
    swap.faults = on;
}

int uvm_swap_inject(const struct uvm_swapfault *rule)
{
    uvm_lock_acquire(&swap.lock);
    bool on = swap.faults;
    uvm_lock_release(&swap.lock);
    return on ? uvm_swapfault_add(rule) : -ENOTSUP;
}

void uvm_swap_inject_clear(void)
{
    uvm_swapfault_clear();
}

/* Put a device at the end of its priority's turn. => swap lock held, dev not in the order */
static void order_insert(struct uvm_swapdevice *dev)
{
    struct uvm_swapdevice *d;

    TAILQ_FOREACH (d, &swap.order, link) {
        if (d->prio > dev->prio) {
            TAILQ_INSERT_BEFORE(d, dev, link);
            return;
        }
    }
    TAILQ_INSERT_TAIL(&swap.order, dev, link);
}

/* Is there room for one more, and for how large a one, label included? */
static int check_join(const struct uvm_swapspec *spec, uint64_t *max, struct uvm_error *err)
{
    struct uvm_swapid id;
    bool exists = uvm_swapdev_identify(spec->path, &id);

    if (spec->prio < 0 || spec->prio > UVM_SWAP_PRIO_MAX)
        return uvm_fail(err, -ERANGE, "%s: priority %d is out of range: 0 to %d", spec->path,
                        spec->prio, UVM_SWAP_PRIO_MAX);
    UVM_LOCK_SCOPE(&swap.lock);
    if (swap.ndev == UVM_SWAP_DEV_MAX)
        return uvm_fail(err, -ENOSPC, "%s: too many swap devices: up to %d", spec->path,
                        UVM_SWAP_DEV_MAX);
    for (unsigned i = 0; exists && i < swap.ndev; i++) {
        const struct uvm_swapid *has = &swap.dev[i]->id;
        if (has->dev == id.dev && has->ino == id.ino && has->block == id.block)
            return uvm_fail(err, -EEXIST, "%s: is a swap device already", spec->path);
    }
    *max = uvm_ptoa(UVM_SLOT_MAX - swap.next);
    return 0;
}

/* Give a device its slots. => -ENOSPC: others have taken them meanwhile */
static int join(struct uvm_swapdevice *dev)
{
    UVM_LOCK_SCOPE(&swap.lock);
    if (swap.ndev == UVM_SWAP_DEV_MAX || dev->map.nslots >= UVM_SLOT_MAX - swap.next)
        return -ENOSPC;
    dev->slot0 = swap.next + 1; /* the label has the number before */
    dev->store->slot0 = dev->slot0;
    swap.next = dev->slot0 + dev->map.nslots;
    swap.dev[swap.ndev++] = dev;
    order_insert(dev);
    uvm_stat_inc(nswapdev);
    uvm_stat_add(swpages, dev->map.nslots);
    return 0;
}

/* Stack the stores of a device. => takes the descriptor when it succeeds */
static int make_store(struct uvm_swapdevice *dev, int fd)
{
    dev->store = uvm_store_file(fd);
    if (!dev->store)
        return -ENOMEM;
    uvm_lock_acquire(&swap.lock);
    bool faulty = swap.faults;
    uvm_lock_release(&swap.lock);
    if (faulty) {
        struct uvm_store *top = uvm_store_fault(dev->store);
        if (!top)
            return -ENOMEM;
        dev->store = top;
    }
    return 0;
}

int uvm_swap_add(const struct uvm_swapspec *spec, struct uvm_error *err)
{
    struct uvm_swapdev opened;
    uint64_t max = 0;

    int rc = check_join(spec, &max, err);
    if (!rc)
        rc = uvm_swapdev_open(spec, max, &opened, err);
    if (rc)
        return rc;

    struct uvm_swapdevice *dev = calloc(1, sizeof(*dev));
    if (!dev) {
        uvm_swapdev_abandon(&opened, spec->path);
        return uvm_fail(err, -ENOMEM, "%s: no memory", spec->path);
    }
    dev->prio = spec->prio;
    dev->id = opened.id;
    dev->made = opened.made;
    dev->path = strdup(spec->path);
    rc = dev->path ? uvm_slotmap_init(&dev->map, (uint32_t)opened.npages - 1) : -ENOMEM;
    if (!rc)
        rc = make_store(dev, opened.fd);
    if (!rc)
        rc = join(dev);
    if (!rc)
        return 0;
    /* With a store the descriptor is the store's; a second one outlives it to remove the file. */
    if (dev->store)
        opened.fd = fcntl(opened.fd, F_DUPFD_CLOEXEC, 0);
    device_free(dev);
    uvm_swapdev_abandon(&opened, spec->path);
    return uvm_fail(err, rc, "%s: no room for another swap device: %s", spec->path, strerror(-rc));
}

/* => swap lock held; NULL: no device has the slot */
static struct uvm_swapdevice *device_of(uint32_t slot)
{
    for (unsigned i = 0; i < swap.ndev; i++)
        if (slot - swap.dev[i]->slot0 < swap.dev[i]->map.nslots)
            return swap.dev[i];
    return NULL;
}

struct uvm_swapdevice *uvm_swap_device(uint32_t slot, uint32_t nslots)
{
    UVM_LOCK_SCOPE(&swap.lock);
    struct uvm_swapdevice *dev = device_of(slot);

    assert(dev && uvm_slotmap_allocated(&dev->map, slot - dev->slot0, nslots));
    return dev;
}

void uvm_swap_suspect(struct uvm_swapdevice *dev, uint32_t slot)
{
    UVM_LOCK_SCOPE(&swap.lock);
    uvm_slotmap_suspect(&dev->map, slot - dev->slot0);
}

/* Does the device take writes, as far as is known? One that has failed is tried again now and then. */
static bool takes_writes(const struct uvm_swapdevice *dev, uint64_t now)
{
    return dev->failed < SWAP_FAILED_MAX || now >= dev->resume_ns;
}

/* A run of n slots from the devices that do, or do not, take writes. => swap lock held; 0: none */
static uint32_t alloc_run(uint32_t n, bool healthy, uint64_t now)
{
    struct uvm_swapdevice *dev;

    TAILQ_FOREACH (dev, &swap.order, link) {
        if (takes_writes(dev, now) != healthy)
            continue;
        uint32_t slot = uvm_slotmap_alloc(&dev->map, n);
        if (slot == UVM_SLOTS_NONE)
            continue;
        TAILQ_REMOVE(&swap.order, dev, link);
        order_insert(dev);
        uvm_stat_add(swpginuse, n);
        return dev->slot0 + slot;
    }
    return 0;
}

uint32_t uvm_swap_alloc(uint32_t *nslots, bool lessok)
{
    uint64_t now = uvm_now_ns();

    assert(*nslots && *nslots <= UVM_CLUSTER_PAGES);
    UVM_LOCK_SCOPE(&swap.lock);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (uint32_t n = *nslots; n; n = lessok ? n / 2 : 0) {
            uint32_t slot = alloc_run(n, pass == 0, now);
            if (!slot)
                continue;
            *nslots = n;
            return slot;
        }
    }
    return 0;
}

void uvm_swap_wrote(struct uvm_swapdevice *dev, bool failed)
{
    if (!failed) {
        dev->failed = 0;
        return;
    }
    if (++dev->failed >= SWAP_FAILED_MAX)
        dev->resume_ns = uvm_now_ns() + SWAP_RESUME_NS;
}

/* Take slots from their owners. */
static void give_back(uint32_t slot, uint32_t nslots, bool markbad)
{
    UVM_LOCK_SCOPE(&swap.lock);
    struct uvm_swapdevice *dev = device_of(slot);
    uint32_t bad = nslots;

    assert(dev);
    uvm_ledger_slot_clear(slot, nslots); /* before anybody else can have them */
    if (markbad)
        uvm_slotmap_bad(&dev->map, slot - dev->slot0, nslots);
    else
        bad = uvm_slotmap_free(&dev->map, slot - dev->slot0, nslots);
    uvm_stat_sub(swpginuse, nslots);
    uvm_stat_add(swpgbad, bad);
}

void uvm_swap_free(uint32_t slot, uint32_t nslots)
{
    give_back(slot, nslots, false);
}

void uvm_swap_markbad(uint32_t slot, uint32_t nslots)
{
    give_back(slot, nslots, true);
}

unsigned uvm_swap_list(struct uvm_swapinfo *list, unsigned max)
{
    UVM_LOCK_SCOPE(&swap.lock);
    for (unsigned i = 0; i < swap.ndev && i < max; i++) {
        struct uvm_swapdevice *dev = swap.dev[i];
        list[i] = (struct uvm_swapinfo){
            .prio = dev->prio,
            .npages = dev->map.nslots,
            .inuse = dev->map.inuse,
            .bad = dev->map.bad,
            .reads = atomic_load(&dev->reads),
            .writes = atomic_load(&dev->writes),
            .errors = atomic_load(&dev->errors),
            .block = dev->id.block,
        };
        snprintf(list[i].path, sizeof(list[i].path), "%s", dev->path);
    }
    return swap.ndev;
}

uint64_t uvm_swap_pages(void)
{
    uint64_t pages = 0;

    UVM_LOCK_SCOPE(&swap.lock);
    for (unsigned i = 0; i < swap.ndev; i++)
        pages += swap.dev[i]->map.nslots - swap.dev[i]->map.bad;
    return pages;
}
