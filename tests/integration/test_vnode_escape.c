/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nothing leads out of the source. Attackers on the host's side and through the mount swap directories,
 * files and symbolic links that point to a canary next to the source, while others look up, open, make,
 * remove, link and move under the same names through the mount.
 *
 *      DIR/src/{a,b,c,d}/{a,b,c,d}      <-- DIR, FILE or LINK, changing all the time
 *      DIR/canary/{a,b,c,d}/...         <-- never read, never changed
 *
 * The attackers themselves never follow a link (a client's kernel follows those of the mount as the
 * client, to wherever it may go anyway), so whatever reaches the canary is the daemon's doing. It is
 * seen by the canary's times, access times too, by its names, and by bytes that come through the mount.
 *
 * It runs for UVM_TEST_SCALE percent of 5 seconds.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "daemon/util.h"
#include "loopfs.h"

#define NAMES    "abcd"
#define CANARY   "CANARY: this is not in the source\n"
#define INNOCENT "innocent bytes of a file in the source\n"

enum { N_LOOKUP, N_OPEN, N_CREATE, N_REMOVE, N_RENAME, N_LINK, N_LIST, N_LINKS_MET, N_COUNTS };
static const char *const count_names[N_COUNTS] = {
    "look-ups", "opens", "creates", "removals", "renames", "links", "lists", "symbolic links met",
};

struct attack {
    struct mount *m;
    const char *top; /* DIR/src or DIR/mnt/vnode */
    uint64_t seed;
    double until;
    _Atomic uint64_t *counts; /* shared: N_COUNTS of them, of calls that worked */
};

/* Open relative to a directory without following any link, and never above it. */
static int open_inside(int dir, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC | O_NOFOLLOW,
        .mode = flags & O_CREAT ? 0666 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static unsigned pick(struct attack *at, unsigned n)
{
    return (unsigned)(content_random(&at->seed) >> 20) % n;
}

static const char *pick_name(struct attack *at)
{
    static const char names[][2] = {"a", "b", "c", "d"};
    return names[pick(at, 4)];
}

/* A directory of the tree, two times out of three a lower one. */
static int pick_dir(struct attack *at, int top)
{
    char path[8] = ".";

    if (pick(at, 3))
        snprintf(path, sizeof(path), "%s", pick_name(at));
    return open_inside(top, path, O_PATH | O_DIRECTORY);
}

static bool count(struct attack *at, int what, int rc)
{
    if (rc >= 0)
        at->counts[what]++;
    return rc >= 0;
}

static void make_link(struct attack *at, int dir, const char *name)
{
    char target[PATH_MAX];

    switch (pick(at, 5)) {
    case 0:
        snprintf(target, sizeof(target), "%s/canary/%s", at->m->dir, pick_name(at));
        break;
    case 1:
        snprintf(target, sizeof(target), "%s/canary", at->m->dir);
        break;
    case 2:
        snprintf(target, sizeof(target), "../canary/%s", pick_name(at));
        break;
    case 3:
        snprintf(target, sizeof(target), "../../canary");
        break;
    default:
        snprintf(target, sizeof(target), "..");
    }
    symlinkat(target, dir, name);
}

/* Have something else under a name. Directories seldom move to others, for each such move makes
 * the tree deeper. */
static void swap_names(struct attack *at, int dir, int dir2)
{
    const char *name = pick_name(at), *name2 = pick_name(at);
    unsigned flags = pick(at, 2) ? RENAME_EXCHANGE : 0;
    struct stat st;

    if (pick(at, 16) && (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || S_ISDIR(st.st_mode) ||
                         fstatat(dir2, name2, &st, AT_SYMLINK_NOFOLLOW) || S_ISDIR(st.st_mode)))
        dir2 = dir;
    count(at, N_RENAME, renameat2(dir, name, dir2, name2, flags));
}

static void remove_name(struct attack *at, int dir)
{
    const char *name = pick_name(at);
    int rc = unlinkat(dir, name, 0);

    if (rc && errno == EISDIR)
        rc = unlinkat(dir, name, AT_REMOVEDIR);
    count(at, N_REMOVE, rc);
}

static void read_file(int fd, const char *what)
{
    char bytes[200] = "", *map;
    struct stat st;

    if (pread(fd, bytes, sizeof(bytes) - 1, 0) > 0)
        must_msg(!strstr(bytes, "CANARY"), "%s has read the canary", what);
    if (fstat(fd, &st) || !st.st_size ||
        (map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
        return;
    if (client_copy(bytes, map, sizeof(bytes) - 1))
        must_msg(!strstr(bytes, "CANARY"), "%s has mapped the canary", what);
    munmap(map, PAGE);
}

static void use_file(struct attack *at, int dir)
{
    int flags = pick(at, 4) ? O_RDWR | O_CREAT | (pick(at, 4) ? 0 : O_TRUNC) : O_RDWR;
    int fd CLEANUP_CLOSE = open_inside(dir, pick_name(at), flags);

    if (!count(at, flags & O_CREAT ? N_CREATE : N_OPEN, fd))
        return;
    read_file(fd, at->top);
    switch (pick(at, 6)) {
    case 0:
        fchmod(fd, 0600 | (mode_t)pick(at, 64));
        break;
    case 1:
        futimens(fd, NULL);
        break;
    case 2:
        fsetxattr(fd, "user.attack", "x", 1, 0);
        break;
    case 3:
        if (ftruncate(fd, pick(at, 3) * 3000))
            return;
        break;
    default:
        if (pwrite(fd, INNOCENT, strlen(INNOCENT), 0) > 0 && !pick(at, 8))
            fsync(fd);
    }
}

static void list_dir(struct attack *at, int dir)
{
    char buf[4000];
    int fd CLEANUP_CLOSE = open_inside(dir, pick_name(at), O_RDONLY | O_DIRECTORY);

    if (!count(at, N_LIST, fd))
        return;
    ssize_t n = syscall(SYS_getdents64, fd, buf, sizeof(buf));
    if (n > 0)
        must_msg(!memmem(buf, (size_t)n, "only-in-the-canary", 18), "%s lists the canary", at->top);
}

static void look(struct attack *at, int dir)
{
    struct stat st;

    if (!count(at, N_LOOKUP, fstatat(dir, pick_name(at), &st, AT_SYMLINK_NOFOLLOW)))
        return;
    at->counts[N_LINKS_MET] += S_ISLNK(st.st_mode);
}

static void attack(void *arg)
{
    struct attack *at = arg;
    int top CLEANUP_CLOSE = must_sys(open(at->top, O_PATH | O_DIRECTORY | O_CLOEXEC));

    umask(0);
    while (client_now() < at->until) {
        int dir CLEANUP_CLOSE = pick_dir(at, top);
        int dir2 CLEANUP_CLOSE = pick_dir(at, top);
        if (dir < 0 || dir2 < 0) {
            remove_name(at, top);
            mkdirat(top, pick_name(at), 0777);
            continue;
        }
        /* The directories in hand may be others' by now. */
        switch (pick(at, 16)) {
        case 0:
        case 8:
            mkdirat(dir, pick_name(at), 0777);
            break;
        case 1:
        case 9:
            make_link(at, dir, pick_name(at));
            break;
        case 2:
            remove_name(at, dir);
            break;
        case 3:
        case 4:
            swap_names(at, dir, dir2);
            break;
        case 5:
            count(at, N_LINK, linkat(dir, pick_name(at), dir2, pick_name(at), 0));
            break;
        case 6:
            list_dir(at, dir);
            break;
        case 7:
            look(at, dir);
            break;
        default:
            use_file(at, dir);
        }
    }
}

/* The same as a user whom the host may refuse. */
static void attack_as_user(void *arg)
{
    must_sys(setresgid(12345, 12345, 12345));
    must_sys(setresuid(12345, 12345, 12345));
    attack(arg);
}

static void make_canary(struct mount *m)
{
    char path[PATH_MAX * 2];
    const char *at = NAMES;

    snprintf(path, sizeof(path), "%s/canary", m->dir);
    must_sys(mkdir(path, 0777));
    must_sys(chmod(path, 0777));
    snprintf(path, sizeof(path), "%s/canary/only-in-the-canary", m->dir);
    rig_put(path, CANARY);
    for (; *at; at++) {
        snprintf(path, sizeof(path), "%s/canary/%c", m->dir, *at);
        must_sys(mkdir(path, 0777));
        must_sys(chmod(path, 0777));
        snprintf(path, sizeof(path), "%s/canary/%c/only-in-the-canary", m->dir, *at);
        rig_put(path, CANARY);
        for (const char *file = NAMES; *file; file++) {
            snprintf(path, sizeof(path), "%s/canary/%c/%c", m->dir, *at, *file);
            rig_put(path, CANARY);
            must_sys(chmod(path, 0666));
        }
    }
}

/* The canary as it is, byte by byte where that leaves no trace. An access is later than the times that
 * are set first, so relatime shows it. => to be freed */
static char *canary_state(struct mount *m, bool first)
{
    char cmd[PATH_MAX * 2];
    size_t size = 64 * 1024;
    char *state = calloc(1, size);

    must(state);
    snprintf(cmd, sizeof(cmd),
             "cd %s && %s find canary -printf '%%p %%y %%i %%m %%n %%s %%A@ %%T@ %%C@\\n' | sort",
             m->dir,
             first ? "find canary -depth -exec touch -ad 2001-01-01 {} + && find canary -type d "
                     "-exec touch -ad 2035-01-01 {} + &&"
                   : "");
    FILE *pipe = popen(cmd, "r");
    must(pipe);
    size_t n = fread(state, 1, size - 1, pipe);
    must_int(pclose(pipe), ==, 0);
    must(n > 1000);
    return state;
}

/* Say which line it is. */
static void must_be_same(const char *before, const char *after)
{
    size_t i = 0, line = 0;

    for (; before[i] && before[i] == after[i]; i++)
        if (before[i] == '\n')
            line = i + 1;
    must_msg(!before[i] && !after[i], "the canary was %.120s..., is %.120s...", before + line,
             after + line);
}

static void escape(struct mount *m)
{
    const double seconds = (double)client_scale(500) / 100;
    _Atomic uint64_t *counts =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(counts != MAP_FAILED);
    rig_start(m, "allow_other");
    must_sys(chmod(rig_src(m, "."), 0777));
    make_canary(m);
    for (const char *at = NAMES; *at; at++)
        must_sys(mkdir(rig_src(m, "%c", *at), 0777));
    char *before CLEANUP_FREE = canary_state(m, true);

    struct attack attacks[6];
    pid_t pids[6];
    for (unsigned i = 0; i < 6; i++) {
        attacks[i] = (struct attack){
            .m = m,
            .top = strdup(i < 2 ? rig_src(m, ".") : rig_mnt(m, ".")),
            .seed = i + (uint64_t)(client_now() * 1000) * 8,
            .until = client_now() + seconds,
            .counts = counts + (i < 2 ? 2 * N_COUNTS : 0),
        };
        pids[i] =
            client_start(i == 5 ? attack_as_user : attack, &attacks[i], (unsigned)seconds + 30);
    }
    for (unsigned i = 0; i < 6; i++)
        client_join(pids[i]);
    for (unsigned i = 0; i < N_COUNTS; i++) {
        printf("%s%" PRIu64 " %s", i ? ", " : "through the mount: ", counts[i], count_names[i]);
        must(counts[i] || i == N_LINK);
    }
    printf("\n");
    rig_stop(m);
    char *after CLEANUP_FREE = canary_state(m, false);
    must_be_same(before, after);
    shell(m, "no grep -rqs CANARY $S; rm -rf $S"); /* whose paths may be too long for others */
}

static const struct mount_case cases[] = {
    {"escape", escape, {.seconds = 300, .unmounted = true}},
};

HARNESS_MAIN("vnode_escape", cases)
