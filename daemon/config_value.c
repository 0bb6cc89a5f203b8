/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values of several keys: fields, paths, numbers, yes and no. Nothing here touches the file system;
 * whether a path exists is asked by whoever opens it.
 */
#include "config_value.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "size.h"
#include "util.h"

char *uvm_value_field(char **rest)
{
    char *from = *rest, *to = *rest, *field = *rest;

    while (*from && *from != ':') {
        if (*from == '\\' && from[1])
            from++;
        *to++ = *from++;
    }
    *rest = *from ? from + 1 : NULL;
    *to = '\0';
    return field;
}

int uvm_value_path(char *dst, size_t size, const char *value, struct uvm_error *err)
{
    char cwd[PATH_MAX] = "";
    size_t len = 0;

    if (*value == '\0')
        return uvm_fail(err, -EINVAL, "the path is empty");
    if (*value != '/' && !getcwd(cwd, sizeof(cwd)))
        return uvm_fail(err, -EINVAL, "working directory: %s", strerror(errno));
    const char *parts[] = {cwd, value};
    for (unsigned i = 0; i < 2; i++) {
        for (const char *p = parts[i]; *p;) {
            size_t n = strcspn(p, "/");
            if (n && !(n == 1 && *p == '.')) {
                if (len + n + 2 > size)
                    return uvm_fail(err, -EINVAL, "longer than %zu bytes", size - 1);
                dst[len++] = '/';
                memcpy(dst + len, p, n);
                len += n;
            }
            p += n + (p[n] == '/');
        }
    }
    if (len == 0)
        dst[len++] = '/';
    dst[len] = '\0';
    return 0;
}

int uvm_value_range(unsigned *dst, const char *value, unsigned min, unsigned max,
                    struct uvm_error *err)
{
    uint64_t n;
    int error = uvm_uint_parse(value, &n);

    if (error == -EINVAL)
        return uvm_fail(err, -EINVAL, "not a number");
    if (error || n < min || n > max)
        return uvm_fail(err, -EINVAL, "out of range (%u to %u)", min, max);
    *dst = (unsigned)n;
    return 0;
}

int uvm_value_bool(bool *dst, const char *value, struct uvm_error *err)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};

    for (unsigned i = 0; i < 4; i++) {
        if (!strcasecmp(value, yes[i]) || !strcasecmp(value, no[i])) {
            *dst = !strcasecmp(value, yes[i]);
            return 0;
        }
    }
    return uvm_fail(err, -EINVAL, "neither yes nor no");
}
