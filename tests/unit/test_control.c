/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: the server runs on its thread over a socket in a temporary directory; the
 * clients are the library's call, and raw connections for what a broken client would send.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/control.h"
#include "daemon/page_md.h"
#include "daemon/pager/swap.h"
#include "daemon/reserve.h"
#include "daemon/stats.h"
#include "unit.h"

#define MANY_OBJECTS 4000 /* their list is larger than what a socket buffers */
#define WAIT_MS      10000

static struct uvm_config cfg;
static struct uvm_error err;
static char dir[64];
static char path[UVM_SOCKET_PATH_MAX];
static unsigned nobjects;

static int provide_all(int (*fn)(const struct uvm_control_object *object, void *arg), void *arg)
{
    struct uvm_control_object object = {.size = 8192, .npages = 1, .swapped = 1, .reserved = 2};

    for (unsigned i = 0; i < nobjects; i++) {
        object.id = i + 1;
        object.faults = UINT64_MAX;
        snprintf(object.path, sizeof(object.path), "anon/file-%u", i);
        int error = fn(&object, arg);
        if (error)
            return error;
    }
    return 0;
}

static int provide_one(const char *name, struct uvm_control_object *ret)
{
    if (strcmp(name, "anon/latin\xe9") == 0)
        return -EACCES;
    if (strcmp(name, "anon/a"))
        return -ENOENT;
    ret->id = 42;
    strcpy(ret->path,
           "anon/\xe9\xc3\xa9\xed\xa0\x80\xc0\xaf"); /* Latin-1, UTF-8, surrogate, overlong */
    return 0;
}

static int protected;

static int provide_protect(const char *name, int prot)
{
    if (strcmp(name, "device/d") == 0)
        return -EOPNOTSUPP;
    if (strcmp(name, "anon/a"))
        return -ENOENT;
    protected = prot;
    return 0;
}

static const struct uvm_control_provider provider = {
    .foreach = provide_all, .find = provide_one, .protect = provide_protect};

static void more_status(struct json_object *status)
{
    json_object_object_add(status, "extra", json_object_new_int(7));
}

static void register_all(void)
{
    uvm_control_commands(&cfg);
    uvm_control_register_objects(&provider);
    uvm_control_register_status(more_status);
}

/* sun_path is short, so the directory is in /tmp when TMPDIR is deep. */
static void setup(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/uvm-control.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s.sock", dir);
    uvm_config_init(&cfg);
    strcpy(cfg.mountpoint, "/mnt/u");
    memset(&err, 0, sizeof(err));
    nobjects = 3;
    uvm_reserve_init();
    uvm_swap_init();
    register_all();
    ck_assert_int_eq(uvm_control_start(path, &err), 0);
}

static void teardown(void)
{
    uvm_control_stop();
    uvm_swap_fini();
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing is left */
}

static int call(struct json_object **ret, const char *a0, const char *a1, const char *a2,
                const char *a3)
{
    const char *argv[] = {a0, a1, a2, a3};
    int argc = 0;

    while (argc < 4 && argv[argc])
        argc++;
    *ret = NULL;
    return uvm_control_call(path, argc, argv, ret, &err);
}

static struct json_object *member(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;

    ck_assert_msg(json_object_object_get_ex(object, key, &value), "no %s", key);
    return value;
}

static int raw_connect(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, path);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void raw_send(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        ck_assert_int_gt(n, 0);
        text += n;
        len -= (size_t)n;
    }
}

/* Read a line and not a byte more. => false: end of the connection */
static bool raw_line(int fd, char *line, size_t size)
{
    size_t len = 0;

    for (;;) {
        ssize_t n = recv(fd, line + len, size - len, MSG_PEEK);
        ck_assert_msg(n >= 0 || errno == ECONNRESET, "%s", strerror(errno));
        if (n <= 0)
            return false;
        char *end = memchr(line + len, '\n', (size_t)n);
        size_t take = end ? (size_t)(end + 1 - (line + len)) : (size_t)n;
        ck_assert_int_eq(recv(fd, line + len, take, 0), (ssize_t)take);
        len += take;
        if (end) {
            *end = '\0';
            return true;
        }
        ck_assert_uint_lt(len, size);
    }
}

START_TEST(test_status)
{
    struct json_object *status;

    uvm_control_set_status("transport", "dev");
    uvm_control_set_status("features", "one");
    uvm_control_set_status("features", "two");
    uvm_log_set_level(UVM_LOG_ERROR);
    uvm_control_warn("bdi of %s", "x");
    ck_assert_int_eq(call(&status, "status", NULL, NULL, NULL), 0);
    ck_assert_str_eq(json_object_get_string(member(status, "version")), UVMD_VERSION);
    ck_assert_str_eq(json_object_get_string(member(status, "policy")), "clock");
    ck_assert_int_eq(json_object_get_int(member(status, "pid")), getpid());
    ck_assert_str_eq(json_object_get_string(member(status, "mountpoint")), "/mnt/u");
    ck_assert_str_eq(json_object_get_string(member(status, "transport")), "dev");
    ck_assert_str_eq(json_object_get_string(member(status, "features")), "two");
    ck_assert_int_eq(json_object_get_int(member(status, "extra")), 7);
    ck_assert_uint_eq(json_object_get_uint64(member(status, "memory")), cfg.memory);
    ck_assert_uint_eq(json_object_get_uint64(member(status, "threads")), cfg.threads);
    member(status, "uptime");
    member(status, "memory_used");
    member(status, "swap");
    member(status, "swap_used");
    struct json_object *warnings = member(status, "warnings");
    ck_assert_uint_eq(json_object_array_length(warnings), 1);
    ck_assert_str_eq(json_object_get_string(json_object_array_get_idx(warnings, 0)), "bdi of x");
    json_object_put(status);
}
END_TEST

static void check_counter(const char *name, const char *help, uint64_t value, void *stat)
{
    ck_assert(json_object_get_uint64(member(stat, name)) == value);
}

START_TEST(test_stat)
{
    struct json_object *stat;

    uvm_stat_set(pgswapout, UINT64_MAX - 1); /* 64 bits all the way */
    uvm_stat_set(faults, 7);
    uvm_hist_add(UVM_HIST_SWAP, 3000);
    ck_assert_int_eq(call(&stat, "stat", NULL, NULL, NULL), 0);
    uvm_stats_foreach(check_counter, stat);
    struct json_object *hists = member(stat, "histograms");
    for (unsigned i = 0; i < UVM_HIST_KINDS; i++)
        ck_assert_uint_eq(json_object_array_length(member(hists, uvm_hist_names[i])),
                          UVM_HIST_BUCKETS);
    ck_assert_int_eq(json_object_get_int(json_object_array_get_idx(member(hists, "swap"), 2)), 1);
    json_object_put(stat);
}
END_TEST

START_TEST(test_objects)
{
    struct json_object *rows;

    ck_assert_int_eq(call(&rows, "objects", NULL, NULL, NULL), 0);
    ck_assert_uint_eq(json_object_array_length(rows), 3);
    struct json_object *row = json_object_array_get_idx(rows, 1);
    ck_assert_str_eq(json_object_get_string(member(row, "path")), "anon/file-1");
    ck_assert(json_object_get_uint64(member(row, "faults")) == UINT64_MAX);
    ck_assert_int_eq(json_object_get_int(member(row, "reserved")), 2);
    json_object_put(rows);

    nobjects = MANY_OBJECTS;
    ck_assert_int_eq(call(&rows, "objects", NULL, NULL, NULL), 0);
    ck_assert_uint_eq(json_object_array_length(rows), MANY_OBJECTS);
    json_object_put(rows);

    nobjects = 1000000;
    ck_assert_int_eq(call(&rows, "objects", NULL, NULL, NULL), -E2BIG);
}
END_TEST

START_TEST(test_object)
{
    static const char *const names[] = {"anon/a", "/anon/a", "/mnt/u/anon/a", "/mnt/u//anon/a"};
    struct json_object *row;

    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(call(&row, "object", names[i], NULL, NULL), 0);
        ck_assert_int_eq(json_object_get_int(member(row, "id")), 42);
        ck_assert_str_eq(json_object_get_string(member(row, "path")),
                         "anon/\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                         "\xef\xbf\xbd\xef\xbf\xbd");
        json_object_put(row);
    }
    ck_assert_int_eq(call(&row, "object", "/mnt/uanon/a", NULL, NULL), -ENOENT);
    ck_assert_str_eq(err.msg, "/mnt/uanon/a: no such object");
    ck_assert_int_eq(call(&row, "object", "anon/latin\xe9", NULL, NULL), -EACCES);
    ck_assert_int_eq(call(&row, "object", NULL, NULL, NULL), -EINVAL);
}
END_TEST

START_TEST(test_protect)
{
    static const struct {
        const char *name;
        int prot;
    } prots[] = {{"none", UVM_PROT_NONE}, {"rw", UVM_PROT_RW}, {"ro", UVM_PROT_READ}};
    struct json_object *row;

    for (unsigned i = 0; i < 3; i++) {
        protected = -1;
        ck_assert_int_eq(call(&row, "protect", "/mnt/u/anon/a", prots[i].name, NULL), 0);
        ck_assert_ptr_null(row);
        ck_assert_int_eq(protected, prots[i].prot);
    }
    ck_assert_int_eq(call(&row, "protect", "anon/a", "wo", NULL), -EINVAL);
    ck_assert_str_eq(err.msg, "protect: wo: not one of rw, ro, none");
    ck_assert_int_eq(call(&row, "protect", "anon/a", NULL, NULL), -EINVAL);
    ck_assert_int_eq(call(&row, "protect", "anon/b", "ro", NULL), -ENOENT);
    ck_assert_str_eq(err.msg, "anon/b: no such object");
    ck_assert_int_eq(call(&row, "protect", "device/d", "ro", NULL), -EOPNOTSUPP);
    ck_assert_str_eq(err.msg, "device/d: a device cannot be protected");
    ck_assert_int_eq(protected, UVM_PROT_READ);
}
END_TEST

START_TEST(test_swap_and_fault)
{
    static const char *const bad[] = {
        "error=EWHAT", "slot=x", "slot=4294967296", "percent=101", "often", "read=1", "error"};
    struct json_object *rows;

    ck_assert_int_eq(call(&rows, "swap", "list", NULL, NULL), 0);
    ck_assert(json_object_is_type(rows, json_type_array));
    ck_assert_uint_eq(json_object_array_length(rows), 0);
    json_object_put(rows);
    ck_assert_int_eq(call(&rows, "swap", "add", NULL, NULL), -EINVAL);
    ck_assert_int_eq(call(&rows, "swap", NULL, NULL, NULL), -EINVAL);

    ck_assert_int_eq(call(&rows, "fault", "add", "read", "error=EIO"), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(err.msg, "without faults=yes"));
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(call(&rows, "fault", "add", bad[i], NULL) == -EINVAL, "%s", bad[i]);
        ck_assert_ptr_nonnull(strstr(err.msg, bad[i]));
    }
    ck_assert_int_eq(call(&rows, "fault", "add", "write", "error=corrupt"), -EINVAL);
    ck_assert_int_eq(call(&rows, "fault", "add", "file", "error=ENOSPC"), -ENOTSUP);
    ck_assert_ptr_nonnull(strstr(err.msg, "without faults=yes"));
    static const char *const bad_file[] = {"error=corrupt", "slot=3", "off=x", "count=-1",
                                           "object="};
    for (unsigned i = 0; i < sizeof(bad_file) / sizeof(bad_file[0]); i++)
        ck_assert_msg(call(&rows, "fault", "add", "file", bad_file[i]) == -EINVAL, "%s",
                      bad_file[i]);
    ck_assert_int_eq(call(&rows, "fault", "clear", "all", NULL), -EINVAL);
    ck_assert_int_eq(call(&rows, "fault", NULL, NULL, NULL), -EINVAL);
}
END_TEST

START_TEST(test_log)
{
    struct json_object *ret;

    ck_assert_int_eq(call(&ret, "log", "debug", NULL, NULL), 0);
    ck_assert_ptr_null(ret);
    ck_assert_int_eq(call(&ret, "log", "loud", NULL, NULL), -EINVAL);
    ck_assert_str_eq(err.msg, "log: loud: not one of error, warning, info, debug");
    ck_assert_int_eq(call(&ret, "log", NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(call(&ret, "tracer", NULL, NULL, NULL), -EINVAL);
    ck_assert_str_eq(err.msg, "tracer: unknown command");
}
END_TEST

/* A mistake is answered and the connection lives on. */
START_TEST(test_bad_requests)
{
    static const char *const bad[] = {
        "",
        "hello",
        "[]",
        "1",
        "null",
        "{}",
        "{\"cmd\":1}",
        "{\"cmd\":null}",
        "{\"cmd\":\"stat\",\"args\":1}",
        "{\"cmd\":\"object\",\"args\":[1]}",
        "{\"cmd\":\"object\",\"args\":[\"a\\u0000b\"]}",
        "{\"cmd\":\"stat\"} x",
        "{\"cmd\":\"stat\"",
        "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}",
        "{\"cmd\":\"log\",\"args\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
        "\"\",\"\",\"\",\"\",\"\"]}",
        "{\"cmd\":\"\xff\"}",
    };
    int fd = raw_connect();
    char line[512];

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        raw_send(fd, bad[i], strlen(bad[i]));
        raw_send(fd, "\n", 1);
        ck_assert(raw_line(fd, line, sizeof(line)));
        ck_assert_msg(strncmp(line, "{\"ok\":false,\"error\":\"", 21) == 0, "%s: %s", bad[i], line);
        ck_assert_msg(strstr(line, "\"errno\":22}"), "%s: %s", bad[i], line);
    }
    raw_send(fd, "{\"cmd\":\"log\",\"args\":[\"info\"]} \r\n", 33);
    ck_assert(raw_line(fd, line, sizeof(line)));
    ck_assert_str_eq(line, "{\"ok\":true,\"result\":null}");
    close(fd);
}
END_TEST

START_TEST(test_request_too_long)
{
    static char junk[UVM_CONTROL_REQUEST_MAX];
    char line[512];
    int fd = raw_connect();

    memset(junk, 'x', sizeof(junk));
    raw_send(fd, junk, sizeof(junk));
    ck_assert(raw_line(fd, line, sizeof(line)));
    ck_assert_ptr_nonnull(strstr(line, "request too long (1 to 65536 bytes)"));
    ck_assert(!raw_line(fd, line, sizeof(line)));
    close(fd);
}
END_TEST

/* Requests may come in pieces and several at a time; the end of the requests ends nothing. */
START_TEST(test_pieces)
{
    static const char two[] =
        "{\"cmd\":\"log\",\"args\":[\"x\"]}\n{\"cmd\":\"swap\"}\n{\"cmd\":\"sta";
    char line[512];
    int fd = raw_connect();

    for (unsigned i = 0; i < 5; i++)
        raw_send(fd, two + i, 1);
    raw_send(fd, two + 5, sizeof(two) - 1 - 5);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    ck_assert(raw_line(fd, line, sizeof(line)));
    ck_assert_ptr_nonnull(strstr(line, "log: x"));
    ck_assert(raw_line(fd, line, sizeof(line)));
    ck_assert_ptr_nonnull(strstr(line, "swap knows"));
    ck_assert(!raw_line(fd, line, sizeof(line)));
    close(fd);
}
END_TEST

/* One that does not read its replies is held, the others are served; then it gets them all. */
START_TEST(test_slow_client)
{
    static const char ask[] = "{\"cmd\":\"objects\"}\n";
    static char line[MANY_OBJECTS * 256];
    struct json_object *ret;
    int fd = raw_connect();

    nobjects = MANY_OBJECTS;
    for (unsigned i = 0; i < 3; i++)
        raw_send(fd, ask, sizeof(ask) - 1);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(call(&ret, "log", "info", NULL, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(raw_line(fd, line, sizeof(line)));
        ck_assert_ptr_nonnull(strstr(line, "anon/file-3999"));
    }
    close(fd);

    /* One that goes away with its reply half read is nobody's trouble. */
    fd = raw_connect();
    raw_send(fd, ask, sizeof(ask) - 1);
    ck_assert_int_eq(recv(fd, line, 1, 0), 1);
    close(fd);
    ck_assert_int_eq(call(&ret, "log", "info", NULL, NULL), 0);
}
END_TEST

/* With more connections than places, the quietest ones lose theirs. */
START_TEST(test_crowd)
{
    int fds[UVM_CONTROL_CLIENTS_MAX + 8];
    static const char ask[] = "{\"cmd\":\"log\",\"args\":[\"info\"]}\n";
    const unsigned n = sizeof(fds) / sizeof(fds[0]);
    struct json_object *ret;
    char line[512];
    unsigned closed = 0;

    for (unsigned i = 0; i < n; i++) {
        fds[i] = raw_connect();
        raw_send(fds[i], ask, sizeof(ask) - 1);
        ck_assert(raw_line(fds[i], line, sizeof(line)));
    }
    ck_assert_int_eq(call(&ret, "log", "info", NULL, NULL), 0);
    for (unsigned i = 0; i < n; i++) {
        char c;
        if (recv(fds[i], &c, 1, MSG_DONTWAIT) == 0) {
            closed++;
            ck_assert_uint_lt(i, 9); /* the oldest */
        }
        close(fds[i]);
    }
    ck_assert_uint_eq(closed, 9);
}
END_TEST

START_TEST(test_socket_file)
{
    struct stat st;
    char other[UVM_SOCKET_PATH_MAX + 8];

    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_uint_eq(st.st_mode & 07777, 0600);

    /* A directory of its own comes and goes with it. */
    uvm_control_stop();
    umask(077);
    snprintf(other, sizeof(other), "%s/run/s.sock", dir);
    register_all();
    ck_assert_int_eq(uvm_control_start(other, &err), 0);
    *strrchr(other, '/') = '\0';
    ck_assert_int_eq(stat(other, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0755);
    uvm_control_stop();
    ck_assert_int_eq(access(other, F_OK), -1);

    snprintf(other, sizeof(other), "%s/none/below/s.sock", dir);
    ck_assert_int_eq(uvm_control_start(other, &err), -ENOENT);
    char longer[200];
    snprintf(longer, sizeof(longer), "/%0150d", 0);
    ck_assert_int_eq(uvm_control_start(longer, &err), -ENAMETOOLONG);
}
END_TEST

/* A socket somebody listens on is left alone, one that is only a name is not. */
START_TEST(test_in_the_way)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct stat st;

    uvm_control_stop();
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(uvm_control_start(path, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.msg, "another uvmd answers there"));
    ck_assert_int_eq(lstat(path, &st), 0);
    close(fd);

    struct json_object *ret;
    ck_assert_int_eq(call(&ret, "log", "info", NULL, NULL), -ECONNREFUSED);
    register_all();
    ck_assert_int_eq(uvm_control_start(path, &err), 0);
    ck_assert_int_eq(call(&ret, "log", "info", NULL, NULL), 0);

    /* Ours was replaced behind our back: what is there now stays. */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    uvm_control_stop();
    ck_assert_int_eq(uvm_control_start(path, &err), -EEXIST);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(call(&ret, "log", "info", NULL, NULL), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.msg, "no uvmd answers there"));
}
END_TEST

static Suite *control_suite(void)
{
    Suite *suite = suite_create("control");
    TCase *tc = tcase_create("control");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_status);
    tcase_add_test(tc, test_stat);
    tcase_add_test(tc, test_objects);
    tcase_add_test(tc, test_object);
    tcase_add_test(tc, test_protect);
    tcase_add_test(tc, test_swap_and_fault);
    tcase_add_test(tc, test_log);
    tcase_add_test(tc, test_bad_requests);
    tcase_add_test(tc, test_request_too_long);
    tcase_add_test(tc, test_pieces);
    tcase_add_test(tc, test_slow_client);
    tcase_add_test(tc, test_crowd);
    tcase_add_test(tc, test_socket_file);
    tcase_add_test(tc, test_in_the_way);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(control_suite)
