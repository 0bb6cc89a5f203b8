/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The windows onto devices: a fixed table, least recently used first.
 *
 *      head   unpinned, long unused --> ... --> just used   tail
 *
 * Mapping and unmapping happen under the lock, which is short: neither touches the device's data. Who
 * finds every window pinned waits for one: the pins are copies under way, at most one a thread of the
 * pool, so with more windows than threads nobody ever waits.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "device.h"

struct devwin {
    TAILQ_ENTRY(devwin) link;
    struct uvm_device *dev; /* NULL: not mapped */
    uint64_t off;           /* bytes */
    size_t len;
    char *kva;
    unsigned pins;
};

TAILQ_HEAD(devwin_list, devwin);

static struct {
    pthread_mutex_t lock; /* a leaf: nothing else is taken under it */
    pthread_cond_t unpinned;
    struct devwin win[UVM_DEVWIN_MAX]; /* (lock) */
    struct devwin_list lru;            /* (lock) */
    bool ready;
} wins = {.lock = PTHREAD_MUTEX_INITIALIZER, .unpinned = PTHREAD_COND_INITIALIZER};

/* => locked */
static void wins_ready(void)
{
    if (wins.ready)
        return;
    TAILQ_INIT(&wins.lru);
    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++)
        TAILQ_INSERT_TAIL(&wins.lru, &wins.win[i], link);
    wins.ready = true;
}

static void win_unmap(struct devwin *win)
{
    assert(!win->pins);
    if (win->dev)
        munmap(win->kva, win->len);
    win->dev = NULL;
}

/* /dev/zero makes new memory at each mapping, as long as the mapping, and counts from its beginning. */
static off_t map_offset(const struct uvm_device *dev, uint64_t off)
{
    bool zero = S_ISCHR(dev->st.st_mode) && dev->st.st_rdev == makedev(1, 5);
    return zero ? 0 : (off_t)off;
}

/* Map a window that is free, or was used longest ago. => NULL and *ret_errno; 0: all are pinned */
static struct devwin *win_map(struct uvm_device *dev, uint64_t off, int *ret_errno)
{
    struct devwin *win;

    *ret_errno = 0;
    TAILQ_FOREACH (win, &wins.lru, link)
        if (!win->pins)
            break;
    if (!win)
        return NULL;
    win_unmap(win);
    win->off = off;
    win->len = (size_t)MIN(uvm_round_page(dev->maxsize) - off, UVM_DEVWIN_SIZE);
    win->kva = mmap(NULL, win->len, PROT_READ | (dev->readonly ? 0 : PROT_WRITE), MAP_SHARED,
                    dev->fd, map_offset(dev, off));
    if (win->kva == MAP_FAILED) {
        *ret_errno = errno;
        return NULL;
    }
    /* It is neither a child's nor a core file's business. */
    madvise(win->kva, win->len, MADV_DONTFORK);
    madvise(win->kva, win->len, MADV_DONTDUMP);
    win->dev = dev;
    return win;
}

static struct devwin *win_find(struct uvm_device *dev, uint64_t off)
{
    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++)
        if (wins.win[i].dev == dev && wins.win[i].off == off)
            return &wins.win[i];
    return NULL;
}

void *uvm_devwin_get(struct uvm_device *dev, uint64_t off, size_t *ret_len)
{
    uint64_t base = off & ~(uint64_t)(UVM_DEVWIN_SIZE - 1);
    struct devwin *win;
    int error = 0;

    assert(off < dev->maxsize);
    pthread_mutex_lock(&wins.lock);
    wins_ready();
    while (!(win = win_find(dev, base)) && !(win = win_map(dev, base, &error)) && !error)
        pthread_cond_wait(&wins.unpinned, &wins.lock);
    if (win) {
        win->pins++;
        TAILQ_REMOVE(&wins.lru, win, link);
        TAILQ_INSERT_TAIL(&wins.lru, win, link);
        *ret_len = win->len - (size_t)(off - base);
    }
    pthread_mutex_unlock(&wins.lock);
    if (!win)
        errno = error;
    return win ? win->kva + (off - base) : NULL;
}

void uvm_devwin_put(void *kva)
{
    const char *at = kva;

    pthread_mutex_lock(&wins.lock);
    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++) {
        struct devwin *win = &wins.win[i];
        if (win->dev && at >= win->kva && at < win->kva + win->len && --win->pins == 0)
            pthread_cond_signal(&wins.unpinned);
    }
    pthread_mutex_unlock(&wins.lock);
}

int uvm_devwin_sync(struct uvm_device *dev)
{
    int error = 0;

    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++) {
        struct devwin *win = &wins.win[i];
        pthread_mutex_lock(&wins.lock);
        bool ours = win->dev == dev;
        win->pins += ours;
        pthread_mutex_unlock(&wins.lock);
        if (!ours)
            continue;
        if (msync(win->kva, win->len, MS_SYNC) && !error && errno != EINVAL)
            error = -errno;
        uvm_devwin_put(win->kva);
    }
    return error;
}

void uvm_devwin_drop(struct uvm_device *dev)
{
    pthread_mutex_lock(&wins.lock);
    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++)
        if (wins.win[i].dev == dev)
            win_unmap(&wins.win[i]);
    pthread_mutex_unlock(&wins.lock);
}

unsigned uvm_devwin_count(void)
{
    unsigned n = 0;

    pthread_mutex_lock(&wins.lock);
    for (unsigned i = 0; i < UVM_DEVWIN_MAX; i++)
        n += wins.win[i].dev != NULL;
    pthread_mutex_unlock(&wins.lock);
    return n;
}
