/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs as they are, on vnode/ and anon/: what they rely on shows here, and most of all the times of
 * files, which must not move when write-behind has written them out.
 */
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/util.h"
#include "loopfs.h"

/* Run a script in vnode/ and in anon/, and a second one when nothing is dirty any more. */
static void on_both(struct mount *m, const char *script, const char *settled)
{
    rig_start(m, "exec=yes");
    must_sys(setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1));
    must_sys(setenv("GIT_AUTHOR_NAME", "a", 1));
    must_sys(setenv("GIT_AUTHOR_EMAIL", "a@example.org", 1));
    must_sys(setenv("GIT_COMMITTER_NAME", "a", 1));
    must_sys(setenv("GIT_COMMITTER_EMAIL", "a@example.org", 1));
    must_sys(setenv("LC_ALL", "C", 1));
    for (int vnode = 0; vnode < 2; vnode++) {
        must_sys(setenv("T", vnode ? rig_mnt(m, "%s", "") : m->anon, 1));
        shell(m, script);
        if (vnode) {
            mount_settle(m, "vndirty", 0);
            usleep(1100000); /* what the kernel knows of attributes is no longer good */
        }
        shell(m, settled);
    }
    rig_stop(m);
}

static void git(struct mount *m)
{
    on_both(
        m,
        "if [ ! -d $D/origin ]; then git init -q $D/origin; cd $D/origin;"
        "mkdir a a/b; for i in $(seq 60); do seq $i $((i * 30)) >a/b/$i; done;"
        "head -c 1500000 /dev/urandom >big; ln -s a/b/1 link; git add .; git commit -qm one;"
        "for i in $(seq 3); do echo $i >>a/b/$i; git commit -qam $i; done; git gc -q; fi;"
        "git clone -q --no-hardlinks $D/origin $T/clone; cd $T/clone;"
        "seq 9 >new; echo more >>a/b/7; git mv a/b/8 a/eight; git add .; git commit -qm two;"
        "git checkout -qb side HEAD~2; echo side >>a/b/50; git commit -qam side;"
        "git merge -q --no-edit master 2>&1 || git merge -q --no-edit main;"
        "git fsck --strict --no-dangling; [ -z \"$(git status --porcelain)\" ];"
        /* an index that is not refreshed again: the times in it have to stay true */
        "sleep 1.1; git update-index --really-refresh; git diff-files --quiet",
        "cd $T/clone; git diff-files --quiet; git --no-optional-locks status --porcelain >$D/st;"
        "[ ! -s $D/st ]; git gc -q; git fsck --strict;"
        "git push -q $D/origin side:pushed-$(basename $T); git diff --quiet HEAD");
}

static void make(struct mount *m)
{
    on_both(
        m,
        "mkdir $T/c; cd $T/c;"
        "for i in 1 2 3 4 5; do echo \"int f$i(void); int f$i(void) { return $i; }\" >f$i.c; done;"
        "{ for i in 1 2 3 4 5; do echo \"int f$i(void);\"; done;"
        "echo 'int main(void) { return f1() + f2() + f3() + f4() + f5() - 15; }'; } >main.c;"
        "printf 'p: main.o f1.o f2.o f3.o f4.o f5.o lib.a\\n\\tcc -o $@ main.o lib.a\\n"
        "lib.a: f1.o f2.o f3.o f4.o f5.o\\n\\tar cr $@ $^\\n' >Makefile;"
        "make -j2; ./p; make -q; make | grep 'up to date'",
        "cd $T/c; make -q; make | grep 'up to date'; ./p; touch f3.c; no make -q; make; make -q; "
        "./p;"
        "strip p; ./p");
}

#define SQLITE                                                                                    \
    "python3 -c '\n"                                                                              \
    "import os, sqlite3, sys\n"                                                                   \
    "def db():\n"                                                                                 \
    "    c = sqlite3.connect(os.environ[\"T\"] + \"/test.db\", timeout=20)\n"                     \
    "    c.execute(\"pragma mmap_size=67108864\")\n"                                              \
    "    c.execute(\"pragma synchronous=full\")\n"                                                \
    "    return c\n"                                                                              \
    "c = db()\n"                                                                                  \
    "assert c.execute(\"pragma journal_mode=wal\").fetchone()[0] == \"wal\"\n"                    \
    "if len(sys.argv) == 2:\n"                                                                    \
    "    assert c.execute(\"pragma integrity_check\").fetchone()[0] == \"ok\"\n"                  \
    "    assert c.execute(\"select count(*), sum(length(b)) from t\").fetchone() == (9000, 9000 " \
    "* 900)\n"                                                                                    \
    "    sys.exit(0)\n"                                                                           \
    "c.execute(\"create table t (i integer primary key, w int, b blob)\")\n"                      \
    "c.commit()\n"                                                                                \
    "kids = []\n"                                                                                 \
    "for w in range(3):\n"                                                                        \
    "    kids.append(os.fork())\n"                                                                \
    "    if not kids[-1]:\n"                                                                      \
    "        c = db()\n"                                                                          \
    "        for k in range(30):\n"                                                               \
    "            c.execute(\"begin immediate\")\n"                                                \
    "            c.executemany(\"insert into t values (null, ?, ?)\", [(w, os.urandom(900)) for " \
    "_ in range(100)])\n"                                                                         \
    "            c.commit()\n"                                                                    \
    "            n = c.execute(\"select count(*) from t where w = ?\", (w,)).fetchone()[0]\n"     \
    "            assert n == (k + 1) * 100, (n, k)\n"                                             \
    "        os._exit(0)\n"                                                                       \
    "for k in kids:\n"                                                                            \
    "    assert os.waitpid(k, 0)[1] == 0\n"                                                       \
    "assert c.execute(\"select count(*) from t\").fetchone()[0] == 9000\n"                        \
    "' "

/* WAL, whose index is memory that processes share by mapping a file; and pages mapped for reading. */
static void sqlite(struct mount *m)
{
    on_both(m, SQLITE "&& " SQLITE "check", SQLITE "check");
    shell(m, "T=$S; export T; " SQLITE "check"); /* the source by itself */
}

#define LIST "find . ! -type d -printf '%P %y %m %s %T@ %l\\n' | sort"

static void copies(struct mount *m)
{
    on_both(m,
            "if [ ! -d $D/tree ]; then mkdir -p $D/tree/x/y; cd $D/tree;"
            "for i in $(seq 150); do head -c $((i * i * 7)) /dev/urandom >x/$i;"
            "touch -d \"2010-01-01 00:00:$((i % 60)).$i\" x/$i; chmod $((600 + i % 60 / 10)) x/$i; "
            "done;"
            "ln -s ../1 x/y/link; truncate -s 5M x/y/sparse; echo end >>x/y/sparse;"
            "touch -hd '1999-09-09' x/y/link; " LIST " >$D/list; fi;"
            "cp -a $D/tree $T/tree; diff -r $D/tree $T/tree; cd $T/tree; " LIST " | diff $D/list -;"
            "mkdir $T/again; tar --format=posix -c . | tar xC $T/again; cd $T/again; " LIST
            " | diff $D/list -;"
            "diff -r $D/tree $T/again; rm -r $T/again",
            "cd $T/tree; " LIST " | diff $D/list -; diff -r $D/tree .;"
            "mkdir $T/third; tar --format=posix -c . | tar xC $T/third; tar cf $T/tar .; tar df "
            "$T/tar");
    shell(m, "diff -r $D/tree $S/third; cd $S/third; " LIST " | diff $D/list -");
}

static void sorting(struct mount *m)
{
    on_both(m,
            "awk 'BEGIN { srand(3); for (i = 0; i < 150000; i++) print rand(), i }' >$T/in;"
            "sort -S 1M -T $T -n $T/in >$T/out; sort -S 200M -n $T/in | cmp - $T/out;"
            "[ $(ls $T | wc -l) = 2 ]",
            "sort -S 1M -T $T --parallel=2 -k2n -o $T/out $T/out; cmp $T/in $T/out");
}

static void put_record(MDB_env *env, unsigned i)
{
    char text[200];
    MDB_txn *txn;
    MDB_dbi dbi;

    snprintf(text, sizeof(text), "record %u of the table", i);
    MDB_val key = {sizeof(i), &i}, value = {sizeof(text), text};
    must_int(mdb_txn_begin(env, NULL, 0, &txn), ==, 0);
    must_int(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), ==, 0);
    must_int(mdb_put(txn, dbi, &key, &value, 0), ==, 0);
    must_int(mdb_txn_commit(txn), ==, 0);
}

static MDB_env *open_env(const char *path, unsigned flags)
{
    MDB_env *env;

    must_int(mdb_env_create(&env), ==, 0);
    must_int(mdb_env_set_mapsize(env, 16 * MIB), ==, 0);
    must_int(mdb_env_open(env, path, MDB_NOSUBDIR | flags, 0644), ==, 0);
    return env;
}

static void check_records(const char *path, unsigned n)
{
    MDB_env *env = open_env(path, MDB_RDONLY);
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;

    must_int(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), ==, 0);
    must_int(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), ==, 0);
    must_int(mdb_stat(txn, dbi, &stat), ==, 0);
    must_int(stat.ms_entries, ==, n);
    for (unsigned i = 0; i < n; i++) {
        MDB_val key = {sizeof(i), &i}, value;
        unsigned got;
        must_int(mdb_get(txn, dbi, &key, &value), ==, 0);
        must(sscanf(value.mv_data, "record %u of", &got) == 1 && got == i);
    }
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

static void with_lmdb(const char *path, unsigned flags)
{
    MDB_env *env = open_env(path, flags | MDB_NOSYNC);

    for (unsigned i = 0; i < 3000; i++)
        put_record(env, i);
    must_int(mdb_env_sync(env, 1), ==, 0);
    mdb_env_close(env);
    check_records(path, 3000);
}

/* A data base that is a mapping, stored to by write(2), or by the mapping itself. */
static void lmdb(struct mount *m)
{
    char path[PATH_MAX];

    rig_start(m, NULL);
    for (unsigned writemap = 0; writemap < 2; writemap++) {
        with_lmdb(mount_path(m, path, "lmdb%u", writemap), writemap ? MDB_WRITEMAP : 0);
        snprintf(path, sizeof(path), "%s", rig_mnt(m, "lmdb%u", writemap));
        with_lmdb(path, writemap ? MDB_WRITEMAP : 0);
    }
    rig_stop(m);
    check_records(rig_src(m, "lmdb0"), 3000);
    check_records(rig_src(m, "lmdb1"), 3000);
}

#define OPTS                                                               \
    {                                                                      \
        .memory = "16M", .swap = "128M", .seconds = 120, .unmounted = true \
    }

static const struct mount_case cases[] = {
    {"git", git, OPTS},       {"make", make, OPTS},       {"sqlite", sqlite, OPTS},
    {"copies", copies, OPTS}, {"sorting", sorting, OPTS}, {"lmdb", lmdb, OPTS},
};

HARNESS_MAIN("programs", cases)
