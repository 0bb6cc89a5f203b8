/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replies as text: keys and values in two columns, arrays as tables with the name last, because
 * names have any length. Sizes are rounded; --json has the exact numbers.
 */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/size.h"
#include "daemon/util.h"

uint64_t ctl_number(struct json_object *object, const char *key)
{
    struct json_object *member = NULL;

    json_object_object_get_ex(object, key, &member);
    return json_object_get_uint64(member);
}

const char *ctl_text(struct json_object *object, const char *key)
{
    struct json_object *member = NULL;

    json_object_object_get_ex(object, key, &member);
    return member ? json_object_get_string(member) : "";
}

void ctl_print_text(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

void ctl_print_json(struct json_object *result)
{
    puts(json_object_to_json_string_ext(result,
                                        JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void print_size(const char *label, uint64_t bytes)
{
    char text[UVM_SIZE_MAX_TEXT];

    printf("%-12s %s\n", label, uvm_size_human(text, bytes));
}

static void print_uptime(uint64_t s)
{
    printf("%-12s ", "uptime");
    if (s >= 86400)
        printf("%" PRIu64 "d ", s / 86400);
    printf("%02u:%02u:%02u\n", (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60),
           (unsigned)(s % 60));
}

/* "memory" and "memory_used" are one line; what this version does not know comes as it is. */
static void print_status_line(struct json_object *status, const char *key,
                              struct json_object *value)
{
    if (strcmp(key, "uptime") == 0) {
        print_uptime(json_object_get_uint64(value));
    } else if (strcmp(key, "memory") == 0 || strcmp(key, "swap") == 0) {
        char used[UVM_SIZE_MAX_TEXT], all[UVM_SIZE_MAX_TEXT], used_key[32];
        snprintf(used_key, sizeof(used_key), "%s_used", key);
        printf("%-12s %s of %s used\n", key, uvm_size_human(used, ctl_number(status, used_key)),
               uvm_size_human(all, json_object_get_uint64(value)));
    } else if (strcmp(key, "warnings") == 0) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            printf("%-12s ", "warning");
            ctl_print_text(json_object_get_string(json_object_array_get_idx(value, i)));
            putchar('\n');
        }
    } else if (strcmp(key, "memory_used") && strcmp(key, "swap_used")) {
        printf("%-12s ", key);
        ctl_print_text(json_object_get_string(value));
        putchar('\n');
    }
}

void ctl_show_status(struct json_object *result)
{
    json_object_object_foreach(result, key, value) print_status_line(result, key, value);
}

/* One cell: pages as a size, right-aligned. */
static void print_pages(struct json_object *row, const char *key)
{
    char text[UVM_SIZE_MAX_TEXT];

    printf("%9s ", uvm_size_human(text, uvm_ptoa(ctl_number(row, key))));
}

static void print_name(const char *path)
{
    ctl_print_text(*path ? path : "(unlinked)");
    putchar('\n');
}

void ctl_show_objects(struct json_object *result)
{
    char text[UVM_SIZE_MAX_TEXT];

    printf("%9s %9s %9s %9s %9s %10s %s\n", "SIZE", "RESIDENT", "DELIVERED", "SWAPPED", "RESERVED",
           "FAULTS", "PATH");
    for (size_t i = 0; i < json_object_array_length(result); i++) {
        struct json_object *row = json_object_array_get_idx(result, i);
        printf("%9s ", uvm_size_human(text, ctl_number(row, "size")));
        print_pages(row, "npages");
        print_pages(row, "delivered");
        print_pages(row, "swapped");
        print_pages(row, "reserved");
        printf("%10" PRIu64 " ", ctl_number(row, "faults"));
        print_name(ctl_text(row, "path"));
    }
}

void ctl_show_object(struct json_object *result)
{
    printf("%-12s ", "path");
    print_name(ctl_text(result, "path"));
    printf("%-12s %" PRIu64 "\n", "id", ctl_number(result, "id"));
    print_size("size", ctl_number(result, "size"));
    printf("%-12s %s\n", "protection", ctl_text(result, "protection"));
    print_size("resident", uvm_ptoa(ctl_number(result, "npages")));
    print_size("delivered", uvm_ptoa(ctl_number(result, "delivered")));
    print_size("swapped", uvm_ptoa(ctl_number(result, "swapped")));
    print_size("reserved", uvm_ptoa(ctl_number(result, "reserved")));
    printf("%-12s %" PRIu64 "\n", "faults", ctl_number(result, "faults"));
    printf("%-12s %" PRIu64 "\n", "pgswapin", ctl_number(result, "pgswapin"));
    printf("%-12s %" PRIu64 "\n", "pgswapout", ctl_number(result, "pgswapout"));
}

void ctl_show_swap(struct json_object *result)
{
    printf("%-5s %9s %9s %9s %5s %10s %10s %7s %-8s %s\n", "TYPE", "SIZE", "USED", "BAD", "PRIO",
           "READS", "WRITES", "ERRORS", "STATE", "PATH");
    for (size_t i = 0; i < json_object_array_length(result); i++) {
        struct json_object *row = json_object_array_get_idx(result, i);
        printf("%-5s ", ctl_text(row, "type"));
        print_pages(row, "npages");
        print_pages(row, "inuse");
        print_pages(row, "bad");
        printf("%5" PRIu64 " %10" PRIu64 " %10" PRIu64 " %7" PRIu64 " ", ctl_number(row, "prio"),
               ctl_number(row, "reads"), ctl_number(row, "writes"), ctl_number(row, "errors"));
        printf("%-8s ", ctl_text(row, "state"));
        print_name(ctl_text(row, "path"));
    }
}
