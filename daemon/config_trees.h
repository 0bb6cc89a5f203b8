/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys that say which trees there are besides anon/. For the table of keys (config_keys.c).
 */
#ifndef UVMD_CONFIG_TREES_H
#define UVMD_CONFIG_TREES_H

#include "config.h"

int uvm_config_set_source(struct uvm_config *cfg, const char *value, struct uvm_error *err);
void uvm_config_print_source(const struct uvm_config *cfg, const char *key, FILE *out);

/* NAME:PATH[:SIZE]. => the device itself is not looked at: that is for whoever opens it */
int uvm_config_set_device(struct uvm_config *cfg, const char *value, struct uvm_error *err);
void uvm_config_print_device(const struct uvm_config *cfg, const char *key, FILE *out);

#endif
