#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The inner half of the systemd test: runs as a unit of the booted container.

    inside.py                          every check, in order; a JSON line for each in results
    inside.py fill FILE MIB SEED       a client: map, store, fsync
    inside.py verify FILE MIB SEED     a client: map, compare; exit code 1 when a page is wrong
    inside.py hold FILE                a client: map, store, say so, and keep the mapping

The clients are what other units and programs run; they know nothing of uvmd.
"""
import json
import mmap
import os
import subprocess
import sys
import time
import traceback

DIR = "/uvmd-test"
MOUNT = "/srv/uvmd-test"
SOCKET = "/run/uvmd/srv-uvmd-test.sock"
UNIT = "uvmd@test.service"
MEMORY_MIB, OBJECT_MIB = 16, 64
DRAIN = 3
CONF = f"""\
[uvmd]
mountpoint={MOUNT}
memory={MEMORY_MIB}M
swap={DIR}/swap:128M
allow_other=yes
"""
PAGE = mmap.PAGESIZE


# ---- clients

def page_of(seed, number):
    return f"{seed} {number:10} ".encode().ljust(64, b".") * (PAGE // 64)


def map_file(path, mib, prot):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, mib << 20)
    return fd, mmap.mmap(fd, mib << 20, mmap.MAP_SHARED, prot)


def client_fill(path, mib, seed):
    fd, area = map_file(path, int(mib), mmap.PROT_READ | mmap.PROT_WRITE)
    for number in range((int(mib) << 20) // PAGE):
        area[number * PAGE:(number + 1) * PAGE] = page_of(seed, number)
    area.close()
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def client_verify(path, mib, seed):
    _, area = map_file(path, int(mib), mmap.PROT_READ)
    for number in range((int(mib) << 20) // PAGE):
        if area[number * PAGE:(number + 1) * PAGE] != page_of(seed, number):
            sys.exit(f"page {number} of {path} is wrong")


def client_hold(path):
    _, area = map_file(path, 1, mmap.PROT_READ | mmap.PROT_WRITE)
    area[:PAGE] = page_of("hold", 0)
    print("held", flush=True)
    while True:
        time.sleep(60)


# ---- checks

class Failed(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failed(text)


def run(*command, ok=True, seconds=40):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds)
    if ok and done.returncode:
        raise Failed(f"{' '.join(command)}: {done.returncode}: {done.stdout.strip()}")
    return done


def client(*words):
    return ("/usr/bin/python3", __file__, *words)


def prop(name, unit=UNIT):
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def mounted():
    with open("/proc/self/mounts", encoding="ascii") as file:
        return any(line.split()[1] == MOUNT for line in file)


def serves():
    """The mount answers now, without any waiting: what READY has promised."""
    expect(mounted(), "systemctl has returned, but nothing is mounted")
    expect(sorted(os.listdir(MOUNT)) != [], "the mount is empty")
    with open(f"{MOUNT}/anon/ready", "w+", encoding="ascii") as file:
        file.write("ready")
        file.seek(0)
        expect(file.read() == "ready", "the mount does not read back what was written")
    os.unlink(f"{MOUNT}/anon/ready")


def gone():
    expect(not mounted(), "the mount is still there")
    expect(not os.path.exists(SOCKET), "the socket is still there")
    expect(os.listdir(MOUNT) == [], "something is left in the mount point")
    left = [n for n in os.listdir("/run/uvmd")] if os.path.isdir("/run/uvmd") else []
    expect(left == [], f"left in /run/uvmd: {left}")


def ended_clean():
    expect(prop("Result") == "success", f"Result={prop('Result')}")
    expect(prop("ExecMainStatus") == "0", f"ExecMainStatus={prop('ExecMainStatus')}")
    expect(prop("ActiveState") == "inactive", f"ActiveState={prop('ActiveState')}")


def counters():
    return json.loads(run("uvmctl", "-s", SOCKET, "--json", "stat").stdout)


def wait_until(condition, text, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, text)
        time.sleep(0.05)


def timed(*command):
    """=> seconds it took"""
    start = time.monotonic()
    run(*command)
    return time.monotonic() - start


def configure(name, text):
    with open(f"/etc/uvmd/{name}.conf", "w", encoding="ascii") as file:
        file.write(text)


def check_bad_configuration():
    configure("bad", CONF.replace(f"memory={MEMORY_MIB}M", "memory=1"))
    done = run("systemctl", "start", "uvmd@bad", ok=False)
    expect(done.returncode != 0, "a unit with memory=1 has started")
    expect(prop("ExecMainStatus", "uvmd@bad") == "2", "its exit code is not 2")
    expect(prop("NRestarts", "uvmd@bad") == "0", "it was restarted")
    log = run("journalctl", "-b", "--no-pager", "-o", "cat", "-u", "uvmd@bad").stdout
    expect("memory=1" in log, f"the journal does not tell why: {log}")
    run("systemctl", "reset-failed", "uvmd@bad")
    os.unlink("/etc/uvmd/bad.conf")


def check_start():
    run("systemctl", "start", UNIT)
    serves()
    expect(prop("ActiveState") == "active", prop("ActiveState"))
    expect(prop("MainPID") not in ("", "0"), "no main process")


def check_no_mount_namespace():
    own = os.readlink("/proc/1/ns/mnt")
    expect(os.readlink(f"/proc/{prop('MainPID')}/ns/mnt") == own,
           "the unit has given uvmd a mount namespace of its own")


def check_other_unit():
    run("systemd-run", "--wait", "--collect", "--quiet", "--unit=client-fill",
        *client("fill", f"{MOUNT}/anon/a", str(OBJECT_MIB), "unit"))
    stat = counters()
    least = ((OBJECT_MIB - MEMORY_MIB) << 20) // PAGE
    expect(stat["pgswapout"] >= least, f"only {stat['pgswapout']} of {least} pages went to swap")


def check_hardened_unit():
    """A unit with a mount namespace, as most have, sees the mount too."""
    run("systemd-run", "--wait", "--collect", "--quiet", "--unit=client-hardened",
        "-p", "ProtectSystem=full", "-p", "PrivateTmp=yes",
        *client("verify", f"{MOUNT}/anon/a", str(OBJECT_MIB), "unit"))


def check_plain_process():
    before = counters()["pgswapin"]
    fd = os.open(f"{MOUNT}/anon/a", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    run(*client("verify", f"{MOUNT}/anon/a", str(OBJECT_MIB), "unit"))
    expect(counters()["pgswapin"] > before, "nothing was paged in")


def check_user():
    """allow_other: somebody who is not root, under the modes of the files."""
    os.chmod(f"{MOUNT}/anon/a", 0o644)
    run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "head", "-c", "65536", f"{MOUNT}/anon/a")
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
               "truncate", "-s", "0", f"{MOUNT}/anon/a", ok=False)
    expect(done.returncode != 0, "nobody may truncate root's file")


def check_restart_idle():
    for _ in range(3):
        seconds = timed("systemctl", "restart", UNIT)
        serves()
    expect(prop("NRestarts") == "0", "uvmd failed on the way")
    return f"{seconds:.1f} s"


def check_restart_held():
    with holder() as held:
        seconds = timed("systemctl", "restart", UNIT)
        serves()
        expect(seconds < DRAIN + 10, f"took {seconds:.1f} s")
        expect(held.poll() is None, "the client was killed")
    return f"{seconds:.1f} s"


def check_stop_idle():
    seconds = timed("systemctl", "stop", UNIT)
    gone()
    ended_clean()
    return f"{seconds:.1f} s"


def check_stop_held():
    run("systemctl", "start", UNIT)
    with holder():
        seconds = timed("systemctl", "stop", UNIT)
        gone()
        expect(seconds < DRAIN + 10, f"took {seconds:.1f} s")
    ended_clean()
    return f"{seconds:.1f} s"


def check_stop_released():
    """A stop that waits goes on as soon as the client has let go."""
    configure("test", f"{CONF}drain=60\n")
    run("systemctl", "start", UNIT)
    with holder():
        run("systemctl", "stop", "--no-block", UNIT)
        wait_until(lambda: not mounted(), "the mount is still there")
        expect(prop("ActiveState") == "deactivating", "the stop has not waited for the client")
    wait_until(lambda: prop("ActiveState") == "inactive", "the stop still waits")
    gone()
    ended_clean()
    configure("test", f"{CONF}drain={DRAIN}\n")


def check_two_instances():
    """They share a directory for their sockets, and each leaves the other's alone."""
    os.makedirs(f"{MOUNT}-2", exist_ok=True)
    configure("second", f"mountpoint={MOUNT}-2\nmemory={MEMORY_MIB}M\n")
    run("systemctl", "start", UNIT, "uvmd@second")
    run("systemctl", "stop", UNIT)
    run("uvmctl", "-s", SOCKET.replace(".sock", "-2.sock"), "status")
    run("systemctl", "stop", "uvmd@second")
    gone()


def check_crash():
    run("systemctl", "start", UNIT)
    pid = prop("MainPID")
    os.kill(int(pid), 9)
    wait_until(lambda: prop("MainPID") not in (pid, "0") and prop("ActiveState") == "active",
               "uvmd does not come back")
    serves()
    expect(prop("NRestarts") == "1", f"NRestarts={prop('NRestarts')}")
    run("systemctl", "stop", UNIT)
    gone()


def check_journal():
    log = run("journalctl", "-b", "--no-pager", "-o", "cat", "-u", UNIT).stdout.splitlines()
    # The crash is one; nothing else may have failed or said so.
    bad = [line for line in log if "code=exited" in line or "Failed" in line or "error:" in line
           or "code=killed" in line or "Assertion" in line]
    crash = [f"{UNIT}: Main process exited, code=killed, status=9/KILL",
             f"{UNIT}: Failed with result 'signal'."]
    expect(bad == crash, f"the journal has: {bad}")


class holder:
    """A client in a unit of its own that has a file mapped, for as long as the block lasts."""

    def __enter__(self):
        self.process = subprocess.Popen(
            ["systemd-run", "--pipe", "--wait", "--collect", "--quiet", "--unit=client-hold",
             *client("hold", f"{MOUNT}/anon/held")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        expect(self.process.stdout.readline() == "held\n", "the client could not map its file")
        return self.process

    def __exit__(self, *exception):
        run("systemctl", "stop", "client-hold", ok=False)
        self.process.wait(10)
        self.process.stdout.close()


CHECKS = (check_bad_configuration, check_start, check_no_mount_namespace, check_other_unit,
          check_hardened_unit, check_plain_process, check_user, check_restart_idle,
          check_restart_held, check_stop_idle, check_stop_held, check_stop_released,
          check_two_instances, check_crash, check_journal)


def main():
    os.makedirs(MOUNT, exist_ok=True)
    os.makedirs("/etc/uvmd", exist_ok=True)
    configure("test", f"{CONF}drain={DRAIN}\n")
    with open(f"{DIR}/results", "w", encoding="utf-8", buffering=1) as results:
        def put(name, ok, text):
            results.write(json.dumps({"name": name, "ok": ok, "text": text}) + "\n")

        for check in CHECKS:
            # So many starts in so short a time are what systemd takes for a failure.
            run("systemctl", "reset-failed", UNIT, ok=False)
            start = time.monotonic()
            try:
                text = check() or ""
                put(check.__name__[6:], True, text)
            except (Failed, OSError, subprocess.TimeoutExpired, ValueError, KeyError) as why:
                put(check.__name__[6:], False, f"after {time.monotonic() - start:.1f} s: {why}")
        put("end", True, "")
    with open(f"{DIR}/journal", "w", encoding="utf-8") as file:
        file.write(run("journalctl", "-b", "--no-pager", ok=False).stdout)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        globals()["client_" + sys.argv[1]](*sys.argv[2:])
    else:
        try:
            main()
        except BaseException:
            with open(f"{DIR}/trace", "w", encoding="utf-8") as trace:
                traceback.print_exc(file=trace)
            raise
