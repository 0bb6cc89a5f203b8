/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control thread: poll() over the listening socket, a wake-up and the clients. Nothing here
 * blocks but the commands themselves.
 *
 *      reading --- a whole line ---> dispatch ---> writing --- all sent ---> reading
 *         |                                           |
 *         +-- end, error --> closed <-- error --------+
 */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "control_socket.h"

#define ACCEPT_PAUSE_MS 200 /* when there are no descriptors left */

struct client {
    int fd;
    bool closing;    /* close when the reply is out */
    uint64_t active; /* when it was heard of last, in turns of the thread */
    size_t in_len;
    char *out; /* the reply being sent, or NULL */
    size_t out_len, out_at;
    char in[UVM_CONTROL_REQUEST_MAX];
};

/* Written by start and stop while the thread does not run; the clients are the thread's. */
static struct {
    bool running;
    int wake; /* eventfd: stop */
    struct uvm_control_socket sock;
    pthread_t thread;
    uint64_t turn;
    struct client *clients[UVM_CONTROL_CLIENTS_MAX];
} control = {.wake = -1};

static void client_close(struct client **slot)
{
    close((*slot)->fd);
    free((*slot)->out);
    free(*slot);
    *slot = NULL;
}

/* Turn one buffered line into a reply. => false: there is none */
static bool client_run(struct client *c)
{
    char *end = memchr(c->in, '\n', c->in_len);
    int error;

    c->out_at = 0;
    if (end) {
        size_t line = (size_t)(end - c->in);
        error = uvm_control_dispatch(c->in, line, &c->out, &c->out_len);
        c->in_len -= line + 1;
        memmove(c->in, end + 1, c->in_len);
    } else if (c->in_len == sizeof(c->in)) {
        struct uvm_error why;
        uvm_fail(&why, -EMSGSIZE, "request too long (1 to %zu bytes)", sizeof(c->in));
        error = uvm_control_refuse(&why, &c->out, &c->out_len);
        c->closing = true;
    } else {
        return false;
    }
    if (error) { /* no memory for a reply: the end of the connection says so */
        c->out = NULL;
        c->closing = true;
    }
    return true;
}

/* => false: the connection is over */
static bool client_send(struct client *c)
{
    while (c->out) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->out_at += (size_t)n;
        if (c->out_at == c->out_len) {
            free(c->out);
            c->out = NULL;
        }
    }
    return !c->closing;
}

/* Take a client as far as it goes without waiting. => false: the connection is over */
static bool client_step(struct client *c)
{
    bool ended = false;

    c->active = control.turn;
    if (!c->out && c->in_len < sizeof(c->in)) {
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        ended = n == 0;
        c->in_len += n > 0 ? (size_t)n : 0;
    }
    do {
        if (!client_send(c))
            return false;
    } while (!c->out && client_run(c));
    /* Lines that came before the end are answered; half a line is not. */
    return c->out || !ended;
}

static struct client **client_place(void)
{
    struct client **quiet = &control.clients[0];

    for (unsigned i = 0; i < UVM_CONTROL_CLIENTS_MAX; i++) {
        if (!control.clients[i])
            return &control.clients[i];
        if (control.clients[i]->active < (*quiet)->active)
            quiet = &control.clients[i];
    }
    client_close(quiet);
    return quiet;
}

/* => false: no descriptor or no memory is left, try later */
static bool accept_client(void)
{
    int fd = accept4(control.sock.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS;
    struct client *c = malloc(sizeof(*c));
    if (!c) {
        close(fd);
        return false;
    }
    /* The buffer stays untouched memory until bytes arrive. */
    c->fd = fd;
    c->closing = false;
    c->active = control.turn;
    c->in_len = 0;
    c->out = NULL;
    *client_place() = c;
    return true;
}

static void *control_main(void *arg)
{
    struct pollfd fds[2 + UVM_CONTROL_CLIENTS_MAX];
    bool accepting = true;

    for (;;) {
        fds[0] = (struct pollfd){.fd = control.wake, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = accepting ? control.sock.fd : -1, .events = POLLIN};
        for (unsigned i = 0; i < UVM_CONTROL_CLIENTS_MAX; i++) {
            const struct client *c = control.clients[i];
            fds[2 + i] =
                (struct pollfd){.fd = c ? c->fd : -1, .events = c && c->out ? POLLOUT : POLLIN};
        }
        int n = poll(fds, sizeof(fds) / sizeof(fds[0]), accepting ? -1 : ACCEPT_PAUSE_MS);
        accepting = true;
        if (n < 0)
            continue; /* EINTR, or ENOMEM that passes */
        if (fds[0].revents)
            break;
        control.turn++;
        for (unsigned i = 0; i < UVM_CONTROL_CLIENTS_MAX; i++)
            if (fds[2 + i].revents && !client_step(control.clients[i]))
                client_close(&control.clients[i]);
        if (fds[1].revents)
            accepting = accept_client();
    }
    for (unsigned i = 0; i < UVM_CONTROL_CLIENTS_MAX; i++)
        if (control.clients[i])
            client_close(&control.clients[i]);
    return NULL;
}

int uvm_control_start(const char *path, struct uvm_error *err)
{
    assert(!control.running);
    int error = uvm_control_socket_make(&control.sock, path, err);
    if (!error) {
        control.wake = eventfd(0, EFD_CLOEXEC);
        error = control.wake < 0 ? -errno : 0;
        if (!error) {
            sigset_t all, old; /* signals are for the main thread */
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, &old);
            error = -pthread_create(&control.thread, NULL, control_main, NULL);
            pthread_sigmask(SIG_SETMASK, &old, NULL);
        }
        if (error)
            uvm_fail(err, error, "control thread: %s", strerror(-error));
    }
    if (error) {
        if (control.wake >= 0)
            close(control.wake);
        control.wake = -1;
        uvm_control_socket_remove(&control.sock);
        return error;
    }
    pthread_setname_np(control.thread, "uvm-control");
    control.running = true;
    return 0;
}

void uvm_control_stop(void)
{
    if (control.running) {
        uint64_t one = 1;
        while (write(control.wake, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
        pthread_join(control.thread, NULL);
        close(control.wake);
        control.wake = -1;
        uvm_control_socket_remove(&control.sock);
        control.running = false;
    }
    uvm_control_forget();
}
