/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which policies there are, and which one is in use.
 */
#include "policy.h"

#include <string.h>

const struct uvm_pdpolicy *const uvm_policies[] = {&uvm_policy_clock, &uvm_policy_s3fifo, NULL};

const struct uvm_pdpolicy *uvm_policy = &uvm_policy_clock;

const struct uvm_pdpolicy *uvm_policy_find(const char *name)
{
    for (unsigned i = 0; uvm_policies[i]; i++)
        if (strcmp(uvm_policies[i]->name, name) == 0)
            return uvm_policies[i];
    return NULL;
}
