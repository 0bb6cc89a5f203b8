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
#include <string.h>

#include "../ledger.h"
#include "../lock.h"
#include "../reserve.h"
#include "../size.h"
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
    bool faults;
} swap;

void uvm_swap_init(void)
{
    uvm_lock_init(&swap.lock, UVM_LR_SWAP);
    TAILQ_INIT(&swap.order);
    swap.ndev = 0;
    swap.faults = false;
    uvm_swapfault_init();
    uvm_stat_set(nswapdev, 0);
    uvm_stat_set(swpages, 0);
    uvm_stat_set(swpginuse, 0);
    uvm_stat_set(swpgbad, 0);
    uvm_stat_set(swpgleaving, 0);
}

void uvm_swapdevice_free(struct uvm_swapdevice *dev)
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
        uvm_swapdevice_free(swap.dev[i]);
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

/*
 * The first of a run of n numbers that no device has; *largest: how long the longest such run is.
 * => swap lock held; UVM_SLOT_MAX: there is none
 */
static uint32_t find_numbers(uint32_t n, uint32_t *largest)
{
    uint32_t at = 0, found = UVM_SLOT_MAX;

    *largest = 0;
    for (unsigned i = 0; i <= swap.ndev; i++) {
        uint32_t end = i < swap.ndev ? swap.dev[i]->slot0 - 1 : UVM_SLOT_MAX;
        if (found == UVM_SLOT_MAX && end - at >= n)
            found = at;
        *largest = MAX(*largest, end - at);
        if (i < swap.ndev)
            at = swap.dev[i]->slot0 + swap.dev[i]->map.nslots;
    }
    return found;
}

static bool same_id(const struct uvm_swapid *a, const struct uvm_swapid *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->block == b->block;
}

int uvm_swap_check_join(const struct uvm_swapspec *spec, uint64_t *max, struct uvm_error *err)
{
    struct uvm_swapid id;
    bool exists = uvm_swapdev_identify(spec->path, &id);
    uint32_t largest;

    if (spec->prio < 0 || spec->prio > UVM_SWAP_PRIO_MAX)
        return uvm_fail(err, -ERANGE, "%s: priority %d is out of range: 0 to %d", spec->path,
                        spec->prio, UVM_SWAP_PRIO_MAX);
    UVM_LOCK_SCOPE(&swap.lock);
    if (swap.ndev == UVM_SWAP_DEV_MAX)
        return uvm_fail(err, -ENOSPC, "%s: too many swap devices: up to %d", spec->path,
                        UVM_SWAP_DEV_MAX);
    for (unsigned i = 0; exists && i < swap.ndev; i++)
        if (same_id(&swap.dev[i]->id, &id))
            return uvm_fail(err, -EEXIST, "%s: is a swap device already", spec->path);
    (void)find_numbers(0, &largest);
    *max = uvm_ptoa(largest);
    return 0;
}

bool uvm_swap_faulty(void)
{
    UVM_LOCK_SCOPE(&swap.lock);
    return swap.faults;
}

int uvm_swap_join(struct uvm_swapdevice *dev)
{
    uint32_t largest;
    unsigned i;

    UVM_LOCK_SCOPE(&swap.lock);
    uint32_t at = find_numbers(dev->map.nslots + 1, &largest);
    if (swap.ndev == UVM_SWAP_DEV_MAX || at == UVM_SLOT_MAX)
        return -ENOSPC;
    dev->slot0 = at + 1; /* the label has the number before */
    dev->store->slot0 = dev->slot0;
    for (i = swap.ndev++; i > 0 && swap.dev[i - 1]->slot0 > dev->slot0; i--)
        swap.dev[i] = swap.dev[i - 1];
    swap.dev[i] = dev;
    order_insert(dev);
    uvm_stat_inc(nswapdev);
    uvm_reserve_grow(dev->map.nslots, 0);
    return 0;
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
        if (dev->leaving || takes_writes(dev, now) != healthy)
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
    if (dev->leaving) {
        uvm_stat_sub(swpgleaving, nslots);
    } else {
        uvm_stat_sub(swpginuse, nslots);
        uvm_stat_add(swpgbad, bad);
    }
}

void uvm_swap_free(uint32_t slot, uint32_t nslots)
{
    give_back(slot, nslots, false);
}

void uvm_swap_markbad(uint32_t slot, uint32_t nslots)
{
    give_back(slot, nslots, true);
}

bool uvm_swap_same(const char *a, const char *b)
{
    struct uvm_swapid ida, idb;

    return strcmp(a, b) == 0 ||
           (uvm_swapdev_identify(a, &ida) && uvm_swapdev_identify(b, &idb) && same_id(&ida, &idb));
}

/* The device of that name; one that has it also by another name. => swap lock held */
static struct uvm_swapdevice *device_named(const char *path, const struct uvm_swapid *id)
{
    for (unsigned i = 0; i < swap.ndev; i++)
        if (strcmp(swap.dev[i]->path, path) == 0)
            return swap.dev[i];
    for (unsigned i = 0; id && i < swap.ndev; i++)
        if (same_id(&swap.dev[i]->id, id))
            return swap.dev[i];
    return NULL;
}

int uvm_swap_leave(const char *path, struct uvm_swapleave *ret, struct uvm_error *err)
{
    struct uvm_swapid id;
    bool exists = uvm_swapdev_identify(path, &id);
    char size[UVM_SIZE_MAX_TEXT];
    uint64_t missing;

    UVM_LOCK_SCOPE(&swap.lock);
    struct uvm_swapdevice *dev = device_named(path, exists ? &id : NULL);
    if (!dev)
        return uvm_fail(err, -ENOENT, "%s: is not a swap device", path);
    if (dev->leaving)
        return uvm_fail(err, -EBUSY, "%s: is being removed already", path);
    if (!uvm_reserve_shrink(dev->map.nslots, dev->map.bad, &missing))
        return uvm_fail(err, -ENOSPC,
                        "%s: cannot be removed: %s more of memory or swap is needed for what is "
                        "promised to objects",
                        path, uvm_size_human(size, uvm_ptoa(missing)));
    dev->leaving = true;
    uvm_stat_sub(swpginuse, dev->map.inuse);
    uvm_stat_add(swpgleaving, dev->map.inuse);
    *ret = (struct uvm_swapleave){
        .slot0 = dev->slot0, .nslots = dev->map.nslots, .inuse = dev->map.inuse};
    snprintf(ret->path, sizeof(ret->path), "%s", dev->path);
    return 0;
}

void uvm_swap_stay(uint32_t slot0)
{
    UVM_LOCK_SCOPE(&swap.lock);
    struct uvm_swapdevice *dev = device_of(slot0);

    assert(dev && dev->leaving);
    dev->leaving = false;
    uvm_stat_sub(swpgleaving, dev->map.inuse);
    uvm_stat_add(swpginuse, dev->map.inuse);
    uvm_reserve_grow(dev->map.nslots, dev->map.bad);
}

uint32_t uvm_swap_left(uint32_t slot0)
{
    UVM_LOCK_SCOPE(&swap.lock);
    const struct uvm_swapdevice *dev = device_of(slot0);

    return dev ? dev->map.inuse : 0;
}

uint32_t uvm_swap_next(uint32_t slot, bool *suspect)
{
    UVM_LOCK_SCOPE(&swap.lock);
    const struct uvm_swapdevice *dev = device_of(slot);
    uint32_t next = dev ? uvm_slotmap_next(&dev->map, slot - dev->slot0, suspect) : UVM_SLOTS_NONE;

    return next == UVM_SLOTS_NONE ? 0 : dev->slot0 + next;
}

bool uvm_swap_gone(uint32_t slot0)
{
    struct uvm_swapdevice *dev;
    {
        UVM_LOCK_SCOPE(&swap.lock);
        dev = device_of(slot0);
        assert(dev && dev->leaving);
        if (dev->map.inuse)
            return false;
        unsigned i = 0;
        while (swap.dev[i] != dev)
            i++;
        swap.ndev--;
        memmove(&swap.dev[i], &swap.dev[i + 1], (swap.ndev - i) * sizeof(swap.dev[0]));
        TAILQ_REMOVE(&swap.order, dev, link);
        uvm_stat_sub(nswapdev, 1);
    }
    /* A transfer has allocated slots until it has ended: there is none. */
    uvm_swapdevice_free(dev);
    return true;
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
            .leaving = dev->leaving,
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
        if (!swap.dev[i]->leaving)
            pages += swap.dev[i]->map.nslots - swap.dev[i]->map.bad;
    return pages;
}
