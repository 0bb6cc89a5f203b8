#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
Which file may include which: reads every #include of the tree and checks it against the tables
below. An upper layer includes a lower one, never the reverse; pager/ and pmap/ are blind to each
other; a foreign library's header stays in one room; a private header stays in its module.

    layers.py SOURCE_ROOT       exit 0: all is well; else one line for each include that is not

A file that no table names is an error too: a new module is given its layer here.
"""

import fnmatch
import os
import re
import sys

# The first pattern that matches a path gives its layer.
LAYERS = [
    # 0: of use to everybody, uses nobody
    (0, "daemon/error.*", "daemon/log.*", "daemon/lock.*", "daemon/stats.*", "daemon/util.h", "daemon/size.*",
     "daemon/mountinfo.*", "daemon/trace.*"),
    # 1: pages, objects, their queues and promises, the loops and the record that outlives them
    (1, "daemon/page.*", "daemon/page_md.h", "daemon/object.*", "daemon/objmap.*", "daemon/objtab.*", "daemon/policy.*",
     "daemon/policy_*.c", "daemon/loop.*", "daemon/loop_io.c", "daemon/loop_impl.h", "daemon/ledger.*",
     "daemon/reserve.*"),
    # 2: two halves that know of each other only what page_md.h says
    (2, "daemon/pager/*", "daemon/pmap/*"),
    # 3: the walks, which bring the two together
    (3, "daemon/cleaner.*", "daemon/fault.*", "daemon/faultd.*", "daemon/rw.*", "daemon/read.c", "daemon/write.c", "daemon/space.c", "daemon/protect.*", "daemon/pdaemon.*", "daemon/pdscan.*", "daemon/pdslots.c", "daemon/drain.*", "daemon/swapjob.*",
     "daemon/revoker.*", "daemon/revoker_*"),
    # 4: the ways in. The configuration is here because it knows what a swap specification is
    # (config.h includes pager/swap.h for struct uvm_swapspec); nothing below includes it.
    (4, "fuse/*", "daemon/control*", "daemon/config*"),
    # 5: programs
    (5, "daemon/main.c", "ctl/*", "bench/*", "probes/*"),
    # 6: tests include what they test
    (6, "tests/*"),
]

# Within a layer: the left side does not include the right one.
NEVER = [
    ("daemon/pager/*", "daemon/pmap/*"),
    ("daemon/pmap/*", "daemon/pager/*"),
    ("daemon/config*", "daemon/control*"),
    ("daemon/config*", "fuse/*"),
    ("daemon/control*", "fuse/*"),
    ("fuse/*", "daemon/config*"),
]

# A foreign header, and the only files that may include it.
ROOMS = {
    "liburing.h": ["daemon/loop*"],
    "liburing/*": ["daemon/loop*"],
    "linux/io_uring.h": ["daemon/loop*"],
    "linux/userfaultfd.h": ["daemon/pmap/*"],
    # The inode table's test speaks of attributes in the front end's own constants.
    "fuse_lowlevel.h": ["fuse/*", "tests/unit/test_inode.c"],
    "fuse*.h": ["fuse/*"],
    "linux/fuse.h": ["fuse/*"],
    "lmdb.h": ["fuse/tree*", "tests/integration/test_programs.c"],
    "uthash.h": ["fuse/*"],
    "systemd/*": ["daemon/main.c"],
    "json-c/*": ["daemon/control*", "ctl/*", "tests/*"],
    "ini.h": ["daemon/config*"],
    "xxhash.h": ["daemon/pager/swap*"],
    "check.h": ["tests/*"],
}

# A private header of ours, and the only files that may include it. (A module's own test may.)
PRIVATE = {
    "daemon/loop_impl.h": ["daemon/loop*", "tests/unit/test_loop*"],
    "daemon/objmap.h": ["daemon/obj*.c"],
    "daemon/objtab.h": ["daemon/obj*.c"],
    "daemon/pdscan.h": ["daemon/pd*.c"],
    "daemon/control_socket.h": ["daemon/control*"],
    "daemon/config_value.h": ["daemon/config*"],
    "daemon/pmap/pmap_impl.h": ["daemon/pmap/*"],
    "daemon/pmap/pmap_soft.h": ["daemon/pmap/*", "tests/unit/*"],
    "daemon/pager/swap_*.h": ["daemon/pager/swap*", "tests/unit/test_swap*"],
    "daemon/pager/vnode_impl.h": ["daemon/pager/vnode*"],
    "daemon/pager/getrun.h": ["daemon/pager/*"],
    "fuse/inode_md.h": ["fuse/inode*"],
    "fuse/tree_db.h": ["fuse/tree*"],
    "fuse/vn_*.h": ["fuse/vn*", "tests/unit/test_vn*"],
    "fuse/payload.h": ["fuse/payload.c", "fuse/chan_*.c", "tests/unit/test_payload.c"],
    "tests/*": ["tests/*"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SKIP = {".git", ".ci", "subprojects"}


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, p) for p in patterns)


def layer_of(path):
    for number, *patterns in LAYERS:
        if matches(path, patterns):
            return number
    return None


def rule_for(table, name):
    """The files that may include `name`: the most exact pattern counts; None: it has no rule."""
    if name in table:
        return table[name]
    for pattern, allowed in table.items():
        if fnmatch.fnmatchcase(name, pattern):
            return allowed
    return None


def sources(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIP and not f.startswith("build"))
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), root)


def resolve(root, path, name):
    """The file of ours that an #include names, or None: it is foreign."""
    # The stress suite builds on the integration suite's harness.
    harness = ["tests/integration"] if path.startswith("tests/stress/") else []
    for base in (os.path.dirname(path), *harness, ""):
        found = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(os.path.join(root, found)):
            return found
    return None


def check_own(path, target):
    here, there = layer_of(path), layer_of(target)
    if there is not None and here < there:
        yield f"layer {here} includes {target} of layer {there}"
    for user, used in NEVER:
        if matches(path, [user]) and matches(target, [used]):
            yield f"includes {target}: {user} knows nothing of {used}"
    allowed = rule_for(PRIVATE, target)
    if allowed is not None and not matches(path, allowed):
        yield f"includes {target}, which is private to {' '.join(allowed)}"


def check_foreign(path, name):
    allowed = rule_for(ROOMS, name)
    if allowed is not None and not matches(path, allowed):
        yield f"includes <{name}>, which stays in {' '.join(allowed)}"


def check_file(root, path):
    if layer_of(path) is None:
        yield f"{path}: has no layer: give it one in tests/layers.py"
        return
    with open(os.path.join(root, path), encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            quoted, angled = found.groups()
            target = resolve(root, path, quoted or angled)
            if target:
                faults = check_own(path, target)
            elif quoted:
                faults = [f'includes "{quoted}", which is nowhere']
            else:
                faults = check_foreign(path, angled)
            for fault in faults:
                yield f"{path}:{number}: {fault}"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    nfiles = nfaults = 0
    for path in sources(root):
        nfiles += 1
        for fault in check_file(root, path):
            nfaults += 1
            print(fault)
    if nfiles < 20:
        print(f"{root}: only {nfiles} source files: is this the source tree?")
        return 1
    print(f"{nfiles} files, {nfaults} faults")
    return 1 if nfaults else 0


if __name__ == "__main__":
    sys.exit(main())
