/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: one line on stderr per event, with the syslog prefix that journald understands when
 * stderr goes to the journal. The data path logs nothing: it counts (stats.h).
 */
#ifndef UVMD_LOG_H
#define UVMD_LOG_H

enum uvm_log_level { UVM_LOG_ERROR, UVM_LOG_WARNING, UVM_LOG_INFO, UVM_LOG_DEBUG };

/* uvm_log_set_level: events above this level are dropped. => any thread */
void uvm_log_set_level(enum uvm_log_level level);

/* uvm_log: write one line; the message carries no newline. => any thread, errno is kept */
void uvm_log(enum uvm_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   uvm_log(UVM_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) uvm_log(UVM_LOG_WARNING, __VA_ARGS__)
#define log_info(...)    uvm_log(UVM_LOG_INFO, __VA_ARGS__)
#define log_debug(...)   uvm_log(UVM_LOG_DEBUG, __VA_ARGS__)

#endif
