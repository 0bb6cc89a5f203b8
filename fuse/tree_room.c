/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How full the store is. LMDB never overwrites a page of the last commit, so even a removal first
 * takes pages and gives others back afterwards: a store filled to the last page could not be
 * emptied. So operations that add leave a reserve alone.
 *
 *      |  written so far, with free pages in it  |  never used  |
 *      0                                    last page        mapsize
 *
 * Counting the free pages is a walk; a transaction needs it only near the end of the map. Operations
 * that ask at the same moment may all be let in; the reserve is large against what they take.
 *
 * The file grows as it is written, so what was never used is also bounded by the file system it is
 * on. That bound moves as others use it, and a transaction that meets it fails with ENOSPC; it only
 * enters into what is shown (usage).
 */
#include "tree_db.h"

#define ROOM_FILE_COST   1024       /* bytes of store per file, for estimates */
#define ROOM_RESERVE     (4u << 20) /* bytes of the map that are kept: at most, */
#define ROOM_RESERVE_DIV 4          /* and at most this part of a small map */

/* Pages of the store that can be written again. */
static int count_free(MDB_txn *mdb, uint64_t *ret)
{
    const MDB_dbi free_dbi = 0; /* LMDB's own: transaction -> (count, pages...) */
    TREE_CURSOR(cursor);
    MDB_val key, val;

    *ret = 0;
    int rc = mdb_cursor_open(mdb, free_dbi, &cursor);
    if (!rc)
        rc = mdb_cursor_get(cursor, &key, &val, MDB_FIRST);
    for (; !rc; rc = mdb_cursor_get(cursor, &key, &val, MDB_NEXT)) {
        size_t n = 0;
        memcpy(&n, val.mv_data, MIN(sizeof(n), val.mv_size));
        *ret += n;
    }
    return rc == MDB_NOTFOUND ? 0 : tree_errno(rc);
}

/* Pages up to the last one written, and of the whole map. */
static int count_map(uint64_t *used, uint64_t *all, uint64_t *page_size)
{
    MDB_envinfo info;
    MDB_stat stat;

    int error = tree_errno(mdb_env_info(tree_db.env, &info));
    if (!error)
        error = tree_errno(mdb_env_stat(tree_db.env, &stat));
    if (error)
        return error;
    *page_size = stat.ms_psize;
    *all = tree_db.mapsize / stat.ms_psize;
    *used = MIN(info.me_last_pgno + 1, *all);
    return 0;
}

int uvm_tree_room(void)
{
    TREE_READER(reader);
    uint64_t used, all, page_size, free_pages;

    int error = count_map(&used, &all, &page_size);
    if (error)
        return error;
    uint64_t reserve = MIN(ROOM_RESERVE, tree_db.mapsize / ROOM_RESERVE_DIV) / page_size;
    if (used + reserve <= all)
        return 0;
    error = tree_read_begin(&reader, NULL);
    if (!error)
        error = count_free(reader.mdb, &free_pages);
    if (error)
        return error;
    return free_pages + all - used > reserve ? 0 : -ENOSPC;
}

int uvm_tree_usage(uint64_t *files, uint64_t *files_free)
{
    TREE_READER(reader);
    uint64_t used, all, page_size, free_pages;
    MDB_stat stat;

    int error = count_map(&used, &all, &page_size);
    if (!error)
        error = tree_read_begin(&reader, NULL);
    if (!error)
        error = tree_errno(mdb_stat(reader.mdb, tree_db.inodes, &stat));
    if (!error)
        error = count_free(reader.mdb, &free_pages);
    if (error)
        return error;
    uint64_t grow = MIN(all - used, tree_dir_room(tree_db.dir) / page_size);
    *files = stat.ms_entries;
    *files_free = (free_pages + grow) * page_size / ROOM_FILE_COST;
    return 0;
}
