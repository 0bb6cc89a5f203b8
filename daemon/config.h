/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration: one table of keys, one parser.
 *
 *      -c FILE      [uvmd]            --+
 *                   memory=256M         |
 *                                       +--> uvm_config_set(key, value) --> struct uvm_config
 *      -o memory=256M,swap=/s:1G      --+            (config_keys.c)             |
 *                                                                                v
 *                                            -n: uvm_config_print, again an INI file
 *
 * The file is read first and the -o options after it, in the order of the command line, so a
 * command line overrides its file; swap= adds up. What nobody set is derived at the end
 * (uvm_config_complete): the socket from the mount point, the state directory from the socket.
 *
 * All of it runs before any thread does; afterwards the configuration does not change.
 */
#ifndef UVMD_CONFIG_H
#define UVMD_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"
#include "log.h"
#include "pager/devspec.h"
#include "pager/swap.h"
#include "policy.h"

#define UVM_MEMORY_DEFAULT  (256ull << 20)
#define UVM_MEMORY_MIN      (8ull << 20)
#define UVM_MEMORY_MAX      (128ull << 30) /* the arena's windows; and no more than the machine has */
#define UVM_THREADS_MAX     64
#define UVM_DRAIN_DEFAULT   10
#define UVM_DRAIN_MAX       3600
#define UVM_SOCKET_PATH_MAX 108 /* sun_path, its final NUL included */
#define UVM_SOCKET_DIR      "/run/uvmd"

enum uvm_transport { UVM_TRANSPORT_AUTO, UVM_TRANSPORT_DEV };

/* What the command line asks for. */
enum uvm_config_action {
    UVM_ACTION_RUN,
    UVM_ACTION_CHECK,  /* -n */
    UVM_ACTION_HELP,   /* -h */
    UVM_ACTION_VERSION /* -V */
};

struct uvm_config {
    enum uvm_config_action action;
    char mountpoint[PATH_MAX]; /* absolute */
    uint64_t memory;           /* bytes, whole pages */
    struct uvm_swapspec swap[UVM_SWAP_DEV_MAX];
    unsigned nswap;
    char socket[UVM_SOCKET_PATH_MAX];
    enum uvm_transport transport;
    const struct uvm_pdpolicy *policy;
    unsigned threads;
    bool allow_other;
    bool suid, dev, exec; /* what the mount honours, as for mount(8) */
    enum uvm_log_level log;
    bool faults;    /* put the fault store under swap (uvm_swap_faults) */
    unsigned drain; /* seconds to wait for clients at the stop */
    char statedir[PATH_MAX];
    char source[PATH_MAX]; /* absolute; empty: no vnode/ */
    struct uvm_devspec device[UVM_DEVICES_MAX];
    unsigned ndevice;
};

#define UVM_CONFIG_EXIT 1

/* uvm_config_init: the defaults that depend on nothing else. => the structure is large: keep it
 * off the stack */
void uvm_config_init(struct uvm_config *cfg);

/*
 * uvm_config_parse_argv: initialize cfg and fill it from a command line.
 *
 * => 0: run; cfg is complete
 * => UVM_CONFIG_EXIT: nothing is wrong, but uvm_config_exit() is all there is to do (-n -h -V)
 * => -EINVAL: a usage error, one line in err; any other -errno: a file could not be read
 */
int uvm_config_parse_argv(int argc, char **argv, struct uvm_config *cfg, struct uvm_error *err);

/* uvm_config_swapspec: PATH[:SIZE[:PRIO[:force]]] as swap= has it. => 0, or -EINVAL, -ENOMEM and err,
 * which does not name the value */
int uvm_config_swapspec(const char *value, struct uvm_swapspec *spec, struct uvm_error *err);

/* uvm_config_exit: print what cfg->action asks for. => 0, or -EIO when out took it not */
int uvm_config_exit(const struct uvm_config *cfg, FILE *out);

/*
 * uvm_config_set: set one key; the only way into the structure.
 *
 * => origin: what precedes "key=value" in a message, verbatim: "uvmd.conf:12: " or "-o "
 * => value NULL: the key stands alone, which only yes/no keys allow
 * => 0, or -EINVAL with the reason and, where there is one, the range in err
 */
int uvm_config_set(struct uvm_config *cfg, const char *key, const char *value, const char *origin,
                   struct uvm_error *err);

/*
 * uvm_config_options: set what an -o argument lists. Commas separate, "\," is a comma of a value.
 *
 * => options of mount(8) and fstab(5): nosuid, nodev and noexec set the key they deny to no, so that
 *    the last one wins; those that mean nothing here are passed over
 */
int uvm_config_options(struct uvm_config *cfg, const char *options, struct uvm_error *err);

/* uvm_config_file: set what an INI file says. => 0, -EINVAL, or -errno of reading it */
int uvm_config_file(struct uvm_config *cfg, const char *path, struct uvm_error *err);

/* uvm_config_complete: derive what is unset. => -EINVAL without a mount point */
int uvm_config_complete(struct uvm_config *cfg, struct uvm_error *err);

/* uvm_config_print: every key as key=value, an INI file that gives the same configuration. */
void uvm_config_print(const struct uvm_config *cfg, FILE *out);

/* uvm_config_help: a line for every key. */
void uvm_config_help(FILE *out);

/* uvm_config_memory_max: the machine's memory in whole MiB, up to UVM_MEMORY_MAX; bytes. */
uint64_t uvm_config_memory_max(void);

/*
 * uvm_config_check_mountpoint: whether a file system can be mounted there.
 *
 * => before uvmd mounts anything: it asks a FUSE mount that is there whether it answers
 * => 0; -ENOENT, -ENOTDIR, -EBUSY (already a mount point), -ENOTCONN (a FUSE mount whose server
 *    is gone), or what stat(2) gave; err names the path and the remedy
 */
int uvm_config_check_mountpoint(const struct uvm_config *cfg, struct uvm_error *err);

/* uvm_config_check_source: whether source= is a directory. => 0, also when it is not set; or -errno with
 * the path in err */
int uvm_config_check_source(const struct uvm_config *cfg, struct uvm_error *err);

/* uvm_log_level_parse: "error", "warning", "info" or "debug". => 0 or -EINVAL */
int uvm_log_level_parse(const char *text, enum uvm_log_level *ret);
extern const char *const uvm_log_level_names[UVM_LOG_DEBUG + 1];
extern const char *const uvm_transport_names[UVM_TRANSPORT_DEV + 1];

#endif
