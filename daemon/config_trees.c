/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of the trees. A value is checked as far as it goes without looking at the machine, so that -n
 * says what is wrong with it; whether the source is there is looked at when the daemon starts.
 */
#include "config_trees.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "config_value.h"
#include "size.h"

int uvm_config_set_source(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    return uvm_value_path(cfg->source, sizeof(cfg->source), value, err);
}

void uvm_config_print_source(const struct uvm_config *cfg, const char *key, FILE *out)
{
    if (*cfg->source)
        fprintf(out, "%s=%s\n", key, cfg->source);
}

int uvm_config_check_source(const struct uvm_config *cfg, struct uvm_error *err)
{
    struct stat st;

    if (!*cfg->source)
        return 0;
    if (stat(cfg->source, &st))
        return uvm_fail(err, -errno, "source=%.300s: %s", cfg->source, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return uvm_fail(err, -ENOTDIR, "source=%.300s: not a directory", cfg->source);
    return 0;
}

static int set_device_name(struct uvm_config *cfg, struct uvm_devspec *spec, const char *name,
                           struct uvm_error *err)
{
    if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || strchr(name, '/'))
        return uvm_fail(err, -EINVAL, "NAME \"%.100s\" is no name of a file", name);
    if (strlen(name) > UVM_DEVICE_NAME_MAX)
        return uvm_fail(err, -EINVAL, "NAME is longer than %d bytes", UVM_DEVICE_NAME_MAX);
    for (unsigned i = 0; i < cfg->ndevice; i++)
        if (!strcmp(cfg->device[i].name, name))
            return uvm_fail(err, -EINVAL, "NAME \"%.100s\" is given twice", name);
    strcpy(spec->name, name);
    return 0;
}

int uvm_config_set_device(struct uvm_config *cfg, const char *value, struct uvm_error *err)
{
    if (cfg->ndevice == UVM_DEVICES_MAX)
        return uvm_fail(err, -EINVAL, "too many devices (0 to %d)", UVM_DEVICES_MAX);
    char *text CLEANUP_FREE = strdup(value);
    if (!text)
        return uvm_fail(err, -ENOMEM, "out of memory");
    struct uvm_devspec *spec = &cfg->device[cfg->ndevice];
    char *rest = text;
    const char *name = uvm_value_field(&rest);
    const char *path = rest ? uvm_value_field(&rest) : NULL;
    const char *size = rest ? uvm_value_field(&rest) : "";
    if (!path || rest)
        return uvm_fail(err, -EINVAL, "not NAME:PATH[:SIZE]");
    if (set_device_name(cfg, spec, name, err) ||
        uvm_value_path(spec->path, sizeof(spec->path), path, err))
        return -EINVAL;
    spec->size = 0;
    int error = *size ? uvm_size_parse(size, &spec->size) : 0;
    if (error == -EINVAL)
        return uvm_fail(err, -EINVAL, "SIZE \"%.100s\" is not a size (a number with K, M, G or T)",
                        size);
    if (error || (*size && (!spec->size || spec->size > UVM_DEVICE_SIZE_MAX)))
        return uvm_fail(err, -EINVAL, "SIZE \"%.100s\" is out of range (1 to 8T)", size);
    cfg->ndevice++;
    return 0;
}

static void print_field(const char *text, FILE *out)
{
    for (; *text; text++)
        fprintf(out, "%s%c", strchr(":\\", *text) ? "\\" : "", *text);
}

void uvm_config_print_device(const struct uvm_config *cfg, const char *key, FILE *out)
{
    for (unsigned i = 0; i < cfg->ndevice; i++) {
        const struct uvm_devspec *spec = &cfg->device[i];
        char text[UVM_SIZE_MAX_TEXT];
        fprintf(out, "%s=", key);
        print_field(spec->name, out);
        fputc(':', out);
        print_field(spec->path, out);
        if (spec->size)
            fprintf(out, ":%s", uvm_size_format(text, spec->size));
        fputc('\n', out);
    }
}
