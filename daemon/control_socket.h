/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A listening unix socket with a name, a mode and an owner: made so that nobody else can connect to
 * it at any moment, removed only while the name is still its own. Used by control.c alone.
 */
#ifndef UVMD_CONTROL_SOCKET_H
#define UVMD_CONTROL_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "error.h"

struct uvm_control_socket {
    int fd; /* listening, non-blocking; -1 none */
    struct sockaddr_un addr;
    dev_t dev; /* what the name stood for when it was made */
    ino_t ino;
    bool made_dir;
};

/*
 * uvm_control_socket_make: make the socket (0600) and, if only that is missing, its directory.
 *
 * => contracts of uvm_control_start(); on failure nothing is left behind and fd is -1
 */
int uvm_control_socket_make(struct uvm_control_socket *sock, const char *path,
                            struct uvm_error *err);

/* uvm_control_socket_remove: close it and remove what was made. => twice is allowed */
void uvm_control_socket_remove(struct uvm_control_socket *sock);

#endif
