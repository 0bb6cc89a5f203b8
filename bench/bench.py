#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run benchmark cases for uvmd and its rivals in turn, and write one table.

Every round runs every rival once, in an order that turns with the rounds, so that a machine that gets
slower or faster meets them all alike. What is compared is the ratio within a round; the table shows
medians over the rounds. Absolute figures are of one machine and one day.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FILE_MB = 1024
RANDOM_PAGES = 20000
MEMORY = "64M"
ORDER_TIMEOUT = 600


def run(*argv, **kwargs):
    return subprocess.run([str(a) for a in argv], check=True, timeout=ORDER_TIMEOUT, **kwargs)


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def wait_mounted(path, server):
    deadline = time.monotonic() + 30
    while not os.path.ismount(path):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{path}: not mounted")
        time.sleep(0.02)


class Native:
    """The backing file system itself."""

    name = "native"

    def __init__(self, work, _tools):
        self.root = work / "source"

    def start(self):
        return self.root

    def stop(self):
        pass


class Server:
    """A FUSE server over the source directory, started anew for every run: nothing is cached."""

    def __init__(self, work, tools):
        self.work, self.tools = work, tools
        self.mount = work / f"mnt-{self.name}"
        self.mount.mkdir()
        self.server = None

    def start(self):
        self.server = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL)
        wait_mounted(self.mount, self.server)
        return self.inside()

    def inside(self):
        return self.mount

    def stop(self):
        run("umount", self.mount)
        self.server.wait(30)


class Passthrough(Server):
    """libfuse's passthrough_ll, as its examples build it, with its cache options at their best."""

    name = "passthrough_ll"

    def command(self):
        source = self.work / "source"
        return [self.tools / "passthrough_ll", "-f", "-o", f"source={source},cache=always", self.mount]


class Uvmd(Server):
    name = "uvmd"

    def command(self):
        source, state = self.work / "source", self.work / "state"
        state.mkdir(exist_ok=True)
        return [self.tools / "uvmd", "-o",
                f"memory={MEMORY},source={source},socket={state}/uvmd.sock,log=error", self.mount]

    def inside(self):
        return self.mount / "vnode"


class Cases:
    """Each case: what one rival does in one round. => (MB/s, p50 us, p99 us)"""

    def __init__(self, tools):
        self.touch = tools / "touch"

    def client(self, *argv):
        out = run(self.touch, *argv, capture_output=True, text=True).stdout.split()
        return float(out[0]), int(out[1]), int(out[2])

    def vnode_read_seq(self, root):
        return self.client("read-seq", root / "data")

    def vnode_read_random(self, root):
        return self.client("read-random", root / "data", RANDOM_PAGES)

    def vnode_write_seq(self, root):
        path = root / "new"
        result = self.client("write-seq", path, FILE_MB << 20)
        path.unlink()
        return result


CASES = {
    "vnode-read-seq": (Cases.vnode_read_seq, "cold sequential mapped read"),
    "vnode-read-random": (Cases.vnode_read_random, "cold random mapped 4 KiB reads, MADV_RANDOM"),
    "vnode-write-seq": (Cases.vnode_write_seq, "sequential write(2) of a new file and fsync"),
}
RIVALS = [Native, Passthrough, Uvmd]


def make_source(work):
    (work / "source").mkdir()
    with open(work / "source" / "data", "wb") as out:
        for _ in range(FILE_MB):
            out.write(os.urandom(1 << 20))
        os.fsync(out.fileno())


def measure(case, rivals, cases, rounds):
    results = {rival.name: [] for rival in rivals}
    for i in range(rounds):
        for rival in rivals[i % len(rivals):] + rivals[:i % len(rivals)]:
            root = rival.start()
            try:
                drop_caches()
                results[rival.name].append(CASES[case][0](cases, root))
            finally:
                rival.stop()
            print(f"  {case} round {i + 1} {rival.name}: {results[rival.name][-1]}", file=sys.stderr)
    return results


def median(results, name, field):
    return statistics.median(r[field] for r in results[name])


def table(case, results):
    lines = [f"### {case}: {CASES[case][1]}", "",
             "| | MB/s | p50 us | p99 us | uvmd is |", "|---|---|---|---|---|"]
    for name, rounds in results.items():
        ratio = statistics.median(u[0] / r[0] for u, r in zip(results["uvmd"], rounds))
        latency = [median(results, name, f) for f in (1, 2)]
        shown = [f"{v:.0f}" if v else "-" for v in latency]
        lines.append(f"| {name} | {median(results, name, 0):.0f} | {shown[0]} | {shown[1]} "
                     f"| {ratio:.2f} x |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("case", nargs="*", default=list(CASES))
    args = parser.parse_args()
    unknown = [case for case in args.case if case not in CASES]
    if unknown:
        parser.error(f"no such case: {unknown[0]} (there are: {', '.join(CASES)})")
    work = pathlib.Path(tempfile.mkdtemp(prefix="uvmd-bench."))
    try:
        make_source(work)
        cases, tables = Cases(args.tools), []
        rivals = [rival(work, args.tools) for rival in RIVALS]
        for case in args.case:
            tables.append(table(case, measure(case, rivals, cases, args.rounds)))
            print(tables[-1], flush=True)
        if args.output:
            args.output.write_text("\n".join(tables))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
