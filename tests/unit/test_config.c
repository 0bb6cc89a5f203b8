/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration parser: every key from a file and from -o, what is refused and with which
 * words, what is derived, and that -n's output gives the same configuration again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "daemon/size.h"
#include "unit.h"

static struct uvm_config cfg, again;
static struct uvm_error err;
static char dir[PATH_MAX / 2];
static char file[PATH_MAX];

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/uvm-config.XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/a.conf", dir);
    uvm_config_init(&cfg);
    memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
    unlink(file);
    rmdir(dir);
}

static void write_file(const char *text)
{
    FILE *out = fopen(file, "w");

    ck_assert_ptr_nonnull(out);
    ck_assert_int_ge(fputs(text, out), 0);
    ck_assert_int_eq(fclose(out), 0);
}

static int parse(struct uvm_config *to, const char *a1, const char *a2, const char *a3,
                 const char *a4)
{
    char *argv[] = {"uvmd", (char *)a1, (char *)a2, (char *)a3, (char *)a4, NULL};
    int argc = 1;

    while (argv[argc])
        argc++;
    return uvm_config_parse_argv(argc, argv, to, &err);
}

/* The message says all of this. */
static void check_message(const char *text)
{
    ck_assert_msg(strstr(err.msg, text), "\"%s\" lacks \"%s\"", err.msg, text);
    ck_assert_ptr_null(strchr(err.msg, '\n'));
}

START_TEST(test_defaults)
{
    ck_assert_int_eq(parse(&cfg, "/nowhere/a/../b//c/", NULL, NULL, NULL), 0);
    ck_assert_str_eq(cfg.mountpoint, "/nowhere/a/../b/c");
    ck_assert_str_eq(cfg.socket, "/run/uvmd/nowhere-a-..-b-c.sock");
    ck_assert_str_eq(cfg.statedir, "/run/uvmd");
    ck_assert_uint_eq(cfg.memory, MIN(UVM_MEMORY_DEFAULT, uvm_config_memory_max()));
    ck_assert_uint_eq(cfg.nswap, 0);
    ck_assert_int_eq(cfg.transport, UVM_TRANSPORT_AUTO);
    ck_assert_str_eq(cfg.policy->name, "clock");
    ck_assert_uint_ge(cfg.threads, 1);
    ck_assert_uint_le(cfg.threads, UVM_THREADS_MAX);
    ck_assert(!cfg.allow_other && !cfg.faults);
    ck_assert_int_eq(cfg.log, UVM_LOG_INFO);
    ck_assert_uint_eq(cfg.drain, 10);
}
END_TEST

START_TEST(test_options)
{
    ck_assert_int_eq(
        parse(&cfg, "-o",
              "rw,nosuid,x-systemd.automount,_netdev,,memory=8M,allow_other,threads=3,"
              "transport=dev,policy=s3fifo,log=debug,drain=0,faults=1,socket=/r/s,statedir=/st",
              "/m", NULL),
        0);
    ck_assert_uint_eq(cfg.memory, 8u << 20);
    ck_assert(cfg.allow_other && cfg.faults);
    ck_assert_uint_eq(cfg.threads, 3);
    ck_assert_int_eq(cfg.transport, UVM_TRANSPORT_DEV);
    ck_assert_str_eq(cfg.policy->name, "s3fifo");
    ck_assert_int_eq(cfg.log, UVM_LOG_DEBUG);
    ck_assert_uint_eq(cfg.drain, 0);
    ck_assert_str_eq(cfg.socket, "/r/s");
    ck_assert_str_eq(cfg.statedir, "/st");
}
END_TEST

/* What mount(8) denies is denied, and the last word counts. */
START_TEST(test_mount_flags)
{
    ck_assert(!cfg.suid && !cfg.dev && cfg.exec);
    ck_assert_int_eq(uvm_config_options(&cfg, "suid,dev,noexec,noatime,defaults", &err), 0);
    ck_assert(cfg.suid && cfg.dev && !cfg.exec);
    ck_assert_int_eq(uvm_config_options(&cfg, "nosuid,nodev,exec", &err), 0);
    ck_assert(!cfg.suid && !cfg.dev && cfg.exec);
    ck_assert_int_eq(uvm_config_options(&cfg, "nosuid,suid=yes,nodev,dev,exec=no", &err), 0);
    ck_assert(cfg.suid && cfg.dev && !cfg.exec);

    write_file("suid=yes\ndev=yes\nexec=yes\n");
    ck_assert_int_eq(parse(&again, "-c", file, "-onodev,noexec,nosuid", "/m"), 0);
    ck_assert(!again.suid && !again.dev && !again.exec);
    ck_assert_int_eq(uvm_config_options(&cfg, "nosuid=yes", &err), -EINVAL);
    check_message("-o nosuid: unknown key");
    ck_assert_int_eq(uvm_config_options(&cfg, "noallow_other", &err), -EINVAL);
    check_message("-o noallow_other: unknown key");
    ck_assert_int_eq(uvm_config_options(&cfg, "ro", &err), -EINVAL); /* not what it would do */
}
END_TEST

START_TEST(test_swap)
{
    ck_assert_int_eq(
        uvm_config_options(&cfg, "swap=/a,swap=/b:1G,swap=/c::7,swap=/d:2M:32767:force", &err), 0);
    ck_assert_int_eq(uvm_config_options(&cfg, "swap=/e\\,f\\:g\\\\h=:4K", &err), 0);
    ck_assert_uint_eq(cfg.nswap, 5);
    ck_assert_str_eq(cfg.swap[0].path, "/a");
    ck_assert_uint_eq(cfg.swap[0].size, 0);
    ck_assert_int_eq(cfg.swap[0].prio, 0);
    ck_assert(!cfg.swap[0].force);
    ck_assert_uint_eq(cfg.swap[1].size, 1u << 30);
    ck_assert_uint_eq(cfg.swap[2].size, 0);
    ck_assert_int_eq(cfg.swap[2].prio, 7);
    ck_assert_uint_eq(cfg.swap[3].size, 2u << 20);
    ck_assert_int_eq(cfg.swap[3].prio, 32767);
    ck_assert(cfg.swap[3].force);
    ck_assert_str_eq(cfg.swap[4].path, "/e,f:g\\h=");
    ck_assert_uint_eq(cfg.swap[4].size, 4096);
}
END_TEST

START_TEST(test_swap_bound)
{
    char option[32];

    for (unsigned i = 0; i < UVM_SWAP_DEV_MAX; i++) {
        snprintf(option, sizeof(option), "swap=/s%u", i);
        ck_assert_int_eq(uvm_config_options(&cfg, option, &err), 0);
    }
    ck_assert_int_eq(uvm_config_options(&cfg, "swap=/more", &err), -EINVAL);
    check_message("too many swap devices (0 to 64)");
    ck_assert_uint_eq(cfg.nswap, UVM_SWAP_DEV_MAX);
}
END_TEST

START_TEST(test_relative_paths)
{
    char want[PATH_MAX + 16], cwd[PATH_MAX];

    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
    ck_assert_int_eq(uvm_config_options(&cfg, "swap=./s:1M", &err), 0);
    snprintf(want, sizeof(want), "%s/s", cwd);
    ck_assert_str_eq(cfg.swap[0].path, want);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(test_trees)
{
    ck_assert_int_eq(uvm_config_check_source(&cfg, &err), 0);
    ck_assert_int_eq(uvm_config_options(
                         &cfg, "source=/a,source=/tmp//,device=d:/dev/zero:10K,device=e:/x:", &err),
                     0);
    ck_assert_str_eq(cfg.source, "/tmp"); /* the last one counts; devices add up */
    ck_assert_uint_eq(cfg.ndevice, 2);
    ck_assert_str_eq(cfg.device[0].name, "d");
    ck_assert_str_eq(cfg.device[0].path, "/dev/zero");
    ck_assert_uint_eq(cfg.device[0].size, 10240);
    ck_assert_uint_eq(cfg.device[1].size, 0);
    ck_assert_int_eq(uvm_config_check_source(&cfg, &err), 0);

    ck_assert_int_eq(uvm_config_options(&cfg, "source=/dev/null", &err), 0);
    ck_assert_int_eq(uvm_config_check_source(&cfg, &err), -ENOTDIR);
    check_message("source=/dev/null: not a directory");
    snprintf(cfg.source, sizeof(cfg.source), "%s/missing", dir);
    ck_assert_int_eq(uvm_config_check_source(&cfg, &err), -ENOENT);
    check_message(cfg.source);
}
END_TEST

START_TEST(test_device_bound)
{
    char option[64];

    for (unsigned i = 0; i <= UVM_DEVICES_MAX; i++) {
        snprintf(option, sizeof(option), "device=d%u:/dev/zero:1M", i);
        int error = uvm_config_options(&cfg, option, &err);
        ck_assert_int_eq(error, i < UVM_DEVICES_MAX ? 0 : -EINVAL);
    }
    check_message("too many devices (0 to 64)");
}
END_TEST

START_TEST(test_bad_options)
{
    static const struct {
        const char *option;
        const char *says;
    } bad[] = {
        {"memory=1K", "-o memory=1K: out of range (8M to "},
        {"memory=8388607", "out of range (8M to "},
        {"memory=1000000T", "out of range (8M to "},
        {"memory=99999999999999999999T", "out of range (8M to "},
        {"memory=lots", "memory=lots: not a size"},
        {"memory=", "not a size"},
        {"memory", "-o memory: needs a value (memory=SIZE)"},
        {"nonsense=1", "-o nonsense: unknown key"},
        {"source=", "the path is empty"},
        {"source", "-o source: needs a value (source=DIR)"},
        {"device=a", "-o device=a: not NAME:PATH[:SIZE]"},
        {"device=a:/b:1M:2", "not NAME:PATH[:SIZE]"},
        {"device=:/b", "NAME \"\" is no name of a file"},
        {"device=.:/b", "NAME \".\" is no name of a file"},
        {"device=..:/b", "NAME \"..\" is no name of a file"},
        {"device=a/b:/b", "NAME \"a/b\" is no name of a file"},
        {"device=a:/b,device=a:/c", "NAME \"a\" is given twice"},
        {"device=a:", "the path is empty"},
        {"device=a:/b:x", "SIZE \"x\" is not a size"},
        {"device=a:/b:0", "SIZE \"0\" is out of range (1 to 8T)"},
        {"device=a:/b:9T", "SIZE \"9T\" is out of range (1 to 8T)"},
        {"ro", "ro: unknown key"},
        {"threads=0", "threads=0: out of range (1 to 64)"},
        {"threads=65", "out of range (1 to 64)"},
        {"threads=x", "not a number"},
        {"drain=3601", "drain=3601: out of range (0 to 3600)"},
        {"transport=uring", "transport=uring: not in this build, use auto or dev"},
        {"transport=tcp", "neither auto nor dev"},
        {"policy=lru", "policy=lru: not one of clock, s3fifo"},
        {"log=loud", "not one of error, warning, info, debug"},
        {"allow_other=maybe", "neither yes nor no"},
        {"swap=", "the path is empty"},
        {"swap=:1G", "the path is empty"},
        {"swap=/a:x", "SIZE \"x\" is not a size"},
        {"swap=/a:0", "SIZE \"0\" is out of range (1 to 16777215T)"},
        {"swap=/a:99999999999999999999", "is out of range (1 to 16777215T)"},
        {"swap=/a:1G:32768", "PRIO \"32768\" is out of range (0 to 32767)"},
        {"swap=/a:1G:-1", "PRIO \"-1\" is out of range (0 to 32767)"},
        {"swap=/a:1G:0:gently", "not PATH[:SIZE[:PRIO[:force]]]"},
        {"swap=/a:1G:0:force:more", "not PATH[:SIZE[:PRIO[:force]]]"},
        {"swap=/a,swap=//a/", "given twice"},
        {"swap=/a\nb", "-o swap: the value holds a control character"},
        {"swap= /a", "begins or ends with a blank"},
        {"swap=/a ;b", "begins a comment"},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uvm_config_init(&cfg);
        int error = uvm_config_options(&cfg, bad[i].option, &err);
        ck_assert_msg(error == -EINVAL, "%s: %d", bad[i].option, error);
        check_message(bad[i].says);
        err.msg[0] = '\0';
    }
}
END_TEST

START_TEST(test_socket_too_long)
{
    char option[400];

    snprintf(option, sizeof(option), "socket=/%0*d", 106, 0);
    ck_assert_int_eq(uvm_config_options(&cfg, option, &err), 0);
    snprintf(option, sizeof(option), "socket=/%0*d", 107, 0);
    ck_assert_int_eq(uvm_config_options(&cfg, option, &err), -EINVAL);
    check_message("longer than 107 bytes");
}
END_TEST

/* Long mount points have sockets that fit, and different ones. */
START_TEST(test_socket_of_long_mountpoint)
{
    char path[300];

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(parse(&cfg, path, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(strlen(cfg.socket), UVM_SOCKET_PATH_MAX - 1);
    ck_assert_str_eq(cfg.socket + strlen(cfg.socket) - 9, "xxxx.sock");
    path[1] = 'y';
    ck_assert_int_eq(parse(&again, path, NULL, NULL, NULL), 0);
    ck_assert_str_ne(cfg.socket, again.socket);

    path[93] = '\0'; /* the longest name that needs no hash: 92 bytes */
    ck_assert_int_eq(parse(&cfg, path, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(strlen(cfg.socket), UVM_SOCKET_PATH_MAX - 1);
    ck_assert(strncmp(cfg.socket, "/run/uvmd/yxxxx", 15) == 0);
}
END_TEST

START_TEST(test_file)
{
    write_file("# a comment\n"
               "; another\n"
               "memory = 16M ; and one behind a value\n"
               "\n"
               "[uvmd]\n"
               "swap=/a:1G\n"
               "  swap = /b:2G:1\n"
               "allow_other=Yes\n"
               "mountpoint=/m\n");
    ck_assert_int_eq(parse(&cfg, "-c", file, "-o", "memory=32M,swap=/c"), 0);
    ck_assert_uint_eq(cfg.memory, 32u << 20); /* the command line wins */
    ck_assert_uint_eq(cfg.nswap, 3);          /* and adds */
    ck_assert_str_eq(cfg.swap[1].path, "/b");
    ck_assert_str_eq(cfg.swap[2].path, "/c");
    ck_assert(cfg.allow_other);
    ck_assert_str_eq(cfg.mountpoint, "/m");
    ck_assert_int_eq(parse(&cfg, "-c", file, "/other", NULL), 0);
    ck_assert_str_eq(cfg.mountpoint, "/other");
}
END_TEST

START_TEST(test_bad_file)
{
    static char long_line[5000];
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        {"log=info\n\nmemory=1K\nthreads=0\n", "a.conf:3: memory=1K: out of range (8M to "},
        {"[uvmd]\ncolour=red\n", "a.conf:2: colour: unknown key"},
        {"[other]\nmemory=8M\n", "a.conf:2: unknown section [other]"},
        {"memory=8M\nnonsense\nthreads=0\n", "a.conf:2: neither KEY=VALUE nor [uvmd]"},
        {"threads=0\nnonsense\n", "a.conf:1: threads=0: out of range (1 to 64)"},
        {"[uvmd\n", "a.conf:1: neither KEY=VALUE nor [uvmd]"},
        {"allow_other\n", "a.conf:1: neither KEY=VALUE nor [uvmd]"},
        {"rw=1\n", "a.conf:1: rw: unknown key"},
        {long_line, "a.conf:1: longer than"},
    };

    memset(long_line, 'x', sizeof(long_line) - 1);
    memcpy(long_line, "swap=/", 6);
    strcpy(long_line + sizeof(long_line) - 16, "\nmemory=8M\n");
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(bad[i].text);
        uvm_config_init(&cfg);
        int error = uvm_config_file(&cfg, file, &err);
        ck_assert_msg(error == -EINVAL, "%s: %d", bad[i].text, error);
        check_message(bad[i].says);
        err.msg[0] = '\0';
    }
    unlink(file);
    ck_assert_int_eq(uvm_config_file(&cfg, file, &err), -ENOENT);
    check_message("a.conf: No such file or directory");
    ck_assert_int_eq(uvm_config_file(&cfg, dir, &err), -EISDIR);
}
END_TEST

START_TEST(test_round_trip)
{
    ck_assert_int_eq(
        parse(&cfg, "-o",
              "memory=8200K,swap=/a\\:b\\,c:1536K:3:force,swap=/d,swap=/e::2,allow_other,threads=7,"
              "transport=dev,policy=s3fifo,log=warning,drain=99,faults=yes,suid,dev,noexec,source=/"
              "src/./a/,"
              "device=one:/dev/sd\\:a,device=t\\:wo:/dev/zero:1536K,socket=/run/"
              "x,statedir=/var/x",
              "/mnt/with blank", NULL),
        0);
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    uvm_config_print(&cfg, out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(parse(&again, "-c", file, NULL, NULL), 0);
    ck_assert_mem_eq(&cfg, &again, sizeof(cfg));
}
END_TEST

START_TEST(test_command_line)
{
    ck_assert_int_eq(parse(&cfg, "-n", "/m", NULL, NULL), UVM_CONFIG_EXIT);
    ck_assert_int_eq(cfg.action, UVM_ACTION_CHECK);
    ck_assert_int_eq(parse(&cfg, "-h", NULL, NULL, NULL), UVM_CONFIG_EXIT);
    ck_assert_int_eq(cfg.action, UVM_ACTION_HELP);
    ck_assert_int_eq(parse(&cfg, "--version", NULL, NULL, NULL), UVM_CONFIG_EXIT);
    ck_assert_int_eq(cfg.action, UVM_ACTION_VERSION);
    ck_assert_int_eq(parse(&cfg, NULL, NULL, NULL, NULL), -EINVAL);
    check_message("no MOUNTPOINT");
    ck_assert_int_eq(parse(&cfg, "/a", "/b", NULL, NULL), -EINVAL);
    check_message("/b: one MOUNTPOINT only");
    ck_assert_int_eq(parse(&cfg, "-x", "/a", NULL, NULL), -EINVAL);
    check_message("-x: unknown option");
    ck_assert_int_eq(parse(&cfg, "--colour", "/a", NULL, NULL), -EINVAL);
    check_message("--colour: unknown option");
    ck_assert_int_eq(parse(&cfg, "/a", "-o", NULL, NULL), -EINVAL);
    check_message("-o needs an argument");
    ck_assert_int_eq(parse(&cfg, "-n", "-o", "memory=1", "/a"), -EINVAL);
    check_message("-o memory=1: out of range");
    ck_assert_int_eq(parse(&cfg, "", NULL, NULL, NULL), -EINVAL);
    check_message("the path is empty");
}
END_TEST

START_TEST(test_exit_output)
{
    static const enum uvm_config_action actions[] = {UVM_ACTION_CHECK, UVM_ACTION_HELP,
                                                     UVM_ACTION_VERSION};
    static const char *const begins[] = {"mountpoint=", "Usage: uvmd ", "uvmd "};

    for (unsigned i = 0; i < 3; i++) {
        char *text = NULL;
        size_t len;
        FILE *out = open_memstream(&text, &len);
        cfg.action = actions[i];
        ck_assert_int_eq(uvm_config_exit(&cfg, out), 0);
        fclose(out);
        ck_assert_msg(strncmp(text, begins[i], strlen(begins[i])) == 0, "%s", text);
        free(text);
    }
    FILE *full = fopen("/dev/full", "w");
    ck_assert_ptr_nonnull(full);
    ck_assert_int_eq(uvm_config_exit(&cfg, full), -EIO);
    fclose(full);
}
END_TEST

START_TEST(test_mountpoint)
{
    snprintf(cfg.mountpoint, sizeof(cfg.mountpoint), "%s", dir);
    ck_assert_int_eq(uvm_config_check_mountpoint(&cfg, &err), 0);

    snprintf(cfg.mountpoint, sizeof(cfg.mountpoint), "%s/none", dir);
    ck_assert_int_eq(uvm_config_check_mountpoint(&cfg, &err), -ENOENT);
    check_message("/none: no such mount point");

    write_file("");
    snprintf(cfg.mountpoint, sizeof(cfg.mountpoint), "%s", file);
    ck_assert_int_eq(uvm_config_check_mountpoint(&cfg, &err), -ENOTDIR);
    check_message("a.conf: not a directory");
    snprintf(cfg.mountpoint, sizeof(cfg.mountpoint), "%s/a.conf/below", dir);
    ck_assert_int_eq(uvm_config_check_mountpoint(&cfg, &err), -ENOTDIR);

    strcpy(cfg.mountpoint, "/proc");
    ck_assert_int_eq(uvm_config_check_mountpoint(&cfg, &err), -EBUSY);
    check_message("/proc: already a mount point (proc)");
}
END_TEST

START_TEST(test_mountpoint_real_path)
{
    char link[PATH_MAX], real[PATH_MAX];

    ck_assert_ptr_nonnull(realpath(dir, real));
    snprintf(link, sizeof(link), "%s/link", dir);
    ck_assert_int_eq(symlink(".", link), 0);
    int error = parse(&cfg, link, NULL, NULL, NULL);
    unlink(link);
    ck_assert_int_eq(error, 0);
    ck_assert_str_eq(cfg.mountpoint, real);
}
END_TEST

static Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = tcase_create("config");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_defaults);
    tcase_add_test(tc, test_options);
    tcase_add_test(tc, test_mount_flags);
    tcase_add_test(tc, test_swap);
    tcase_add_test(tc, test_swap_bound);
    tcase_add_test(tc, test_relative_paths);
    tcase_add_test(tc, test_trees);
    tcase_add_test(tc, test_device_bound);
    tcase_add_test(tc, test_bad_options);
    tcase_add_test(tc, test_socket_too_long);
    tcase_add_test(tc, test_socket_of_long_mountpoint);
    tcase_add_test(tc, test_file);
    tcase_add_test(tc, test_bad_file);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_command_line);
    tcase_add_test(tc, test_exit_output);
    tcase_add_test(tc, test_mountpoint);
    tcase_add_test(tc, test_mountpoint_real_path);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(config_suite)
