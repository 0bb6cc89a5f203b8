/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading directories while they change: every name that is there all the time is seen exactly once,
 * and one that was gone before the reading began is never seen.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "harness.h"

#define NAMES 10000u

static unsigned names;
static unsigned char *seen; /* by number */

static void enter(struct mount *m)
{
    must_sys(chdir(m->anon));
    names = (unsigned)client_scale(NAMES);
    seen = calloc(names, 1);
    must(seen != NULL);
}

static void fill(const char *dir)
{
    char name[64];

    must_sys(mkdir(dir, 0755));
    for (unsigned i = 0; i < names; i++) {
        snprintf(name, sizeof(name), "%s/name-%u", dir, i);
        close(file_open(name, O_RDWR | O_CREAT | O_EXCL));
    }
}

/* Note an entry. => its number, or -1: "." or ".." */
static int note(const struct dirent *ent)
{
    unsigned i;

    if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, ".."))
        return -1;
    if (sscanf(ent->d_name, "name-%u", &i) != 1)
        return -1;
    must_int(i, <, names);
    must_msg(!seen[i]++, "%s is seen twice", ent->d_name);
    must_int(ent->d_type, ==, DT_REG);
    return (int)i;
}

static void whole(struct mount *m)
{
    unsigned dots = 0, n = 0;
    struct dirent *ent;
    struct stat st;

    enter(m);
    fill("d");
    DIR *dir = opendir("d");
    must(dir != NULL);
    while ((ent = readdir(dir))) {
        dots += ent->d_name[0] == '.';
        n += note(ent) >= 0;
        if (ent->d_name[0] != '.' && n % 100 == 0) {
            must_sys(fstatat(dirfd(dir), ent->d_name, &st, 0));
            must_int(st.st_ino, ==, ent->d_ino);
        }
    }
    must_int(n, ==, names);
    must_int(dots, ==, 2);

    /* Again from the start, from a place in the middle, and with an entry made in between. */
    memset(seen, 0, names);
    rewinddir(dir);
    close(file_open("d/name-0x", O_RDWR | O_CREAT));
    must_sys(unlink("d/name-0x"));
    for (n = 0; n < names / 2 && (ent = readdir(dir));)
        n += note(ent) >= 0;
    long where = telldir(dir);
    ent = readdir(dir);
    must(ent != NULL);
    char next[256];
    snprintf(next, sizeof(next), "%s", ent->d_name);
    while (readdir(dir))
        ;
    seekdir(dir, where);
    ent = readdir(dir);
    must(ent && strcmp(ent->d_name, next) == 0);
    for (; ent; ent = readdir(dir))
        n += note(ent) >= 0;
    must_int(n, ==, names);
    closedir(dir);
}

/* rm -r: remove what has been read while reading on. */
static void removing(struct mount *m)
{
    unsigned n = 0;
    struct dirent *ent;

    enter(m);
    fill("d");
    DIR *dir = opendir("d");
    must(dir != NULL);
    while ((ent = readdir(dir))) {
        if (note(ent) < 0)
            continue;
        must_sys(unlinkat(dirfd(dir), ent->d_name, 0));
        n++;
    }
    must_int(n, ==, names);
    closedir(dir);
    must_sys(rmdir("d"));
}

struct churn {
    const char *anon;
    _Atomic bool stop;
};

/* Odd names go and come back all the time, and new ones come. */
static void churn(void *arg)
{
    struct churn *c = arg;
    uint64_t state = 5;
    char name[64], other[64];

    must_sys(chdir(c->anon));
    for (unsigned k = 0; !atomic_load(&c->stop); k++) {
        unsigned i = (unsigned)(content_random(&state) % names) | 1;
        snprintf(name, sizeof(name), "d/name-%u", i);
        snprintf(other, sizeof(other), "d/other-%u", k % 64);
        if (unlink(name))
            close(file_open(name, O_RDWR | O_CREAT));
        if (k % 3 == 0 && rename(name, other))
            must_int(errno, ==, ENOENT);
        if (k % 5 == 0)
            unlink(other);
    }
}

static void changing(struct mount *m)
{
    struct churn *c =
        mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct dirent *ent;

    enter(m);
    must(c != MAP_FAILED);
    c->anon = m->anon;
    fill("d");
    pid_t pid = client_start(churn, c, 40);
    for (unsigned round = 0; round < 10; round++) {
        unsigned even = 0;
        memset(seen, 0, names);
        DIR *dir = opendir("d");
        must(dir != NULL);
        while ((ent = readdir(dir))) {
            unsigned i;
            if (sscanf(ent->d_name, "name-%u", &i) != 1 || i % 2)
                continue;
            even += note(ent) >= 0;
        }
        closedir(dir);
        must_int(even, ==, (names + 1) / 2);
    }
    atomic_store(&c->stop, true);
    client_join(pid);
}

/* A reading that makes a name for each that it sees ends all the same. */
static void growing(struct mount *m)
{
    struct dirent *ent;
    unsigned n = 0;
    char name[64];

    if (m->foreign)
        return;
    enter(m);
    must_sys(mkdir("d", 0755));
    close(file_open("d/first", O_RDWR | O_CREAT));
    DIR *dir = opendir("d");
    must(dir != NULL);
    while ((ent = readdir(dir))) {
        snprintf(name, sizeof(name), "d/made-%u", n++);
        close(file_open(name, O_RDWR | O_CREAT));
        must_int(n, <, 1000);
    }
    closedir(dir);
}

static const struct mount_case cases[] = {
    {"whole", whole, {0}},
    {"removing", removing, {0}},
    {"changing", changing, {0}},
    {"growing", growing, {0}},
};

HARNESS_MAIN("dirs", cases)
