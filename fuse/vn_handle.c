/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of handles.
 */
#include <errno.h>

#include "vn_op.h"

static struct {
    struct uvm_lock lock; /* the handles' lock, UVM_LR_INODE */
    struct vn_handle *table;
    uint64_t next;
} handles;

void vn_handles_init(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    uvm_lock_init(&handles.lock, UVM_LR_INODE);
    handles.table = NULL;
    /* none that another process gave out */
    handles.next = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void handle_free(struct vn_handle *handle)
{
    if (handle->fd >= 0)
        close(handle->fd);
    pthread_mutex_destroy(&handle->busy);
    free(handle);
}

void vn_handles_fini(void)
{
    struct vn_handle *handle, *next;

    HASH_ITER (hh, handles.table, handle, next) {
        HASH_DEL(handles.table, handle);
        handle_free(handle);
    }
    uvm_lock_destroy(&handles.lock);
}

struct vn_handle *vn_handle_new(struct vn_node *node, int fd, bool writer)
{
    struct uvm_object *uobj = atomic_load(&node->uobj);
    struct vn_handle *handle = calloc(1, sizeof(*handle));

    if (!handle) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    handle->node = node;
    handle->fd = fd;
    handle->writer = writer;
    handle->error_seq = uobj ? uvn_error_seq(uobj) : 0;
    pthread_mutex_init(&handle->busy, NULL);

    uvm_lock_acquire(&handles.lock);
    handle->fh = handles.next++;
    HASH_ADD(hh, handles.table, fh, sizeof(handle->fh), handle);
    bool added = handle->hh.tbl;
    uvm_lock_release(&handles.lock);
    if (!added) {
        handle_free(handle);
        return NULL;
    }
    vn_ref(node);
    return handle;
}

struct vn_handle *vn_handle_find(uint64_t fh)
{
    struct vn_handle *handle;
    UVM_LOCK_SCOPE(&handles.lock);
    HASH_FIND(hh, handles.table, &fh, sizeof(fh), handle);
    return handle;
}

void vn_handle_close(struct vn_handle *handle)
{
    struct vn_node *node = handle->node;

    uvm_lock_acquire(&handles.lock);
    HASH_DEL(handles.table, handle);
    uvm_lock_release(&handles.lock);
    handle_free(handle);
    vn_unref(node);
}

int vn_handle_error(struct vn_handle *handle, bool told)
{
    struct uvm_object *uobj = atomic_load(&handle->node->uobj);
    UVM_LOCK_SCOPE(&handles.lock);
    uint32_t seq = handle->error_seq;
    int error = uobj ? uvn_error_since(uobj, &seq) : 0;

    if (told)
        handle->error_seq = seq;
    return error;
}
