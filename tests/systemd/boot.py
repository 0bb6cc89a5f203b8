#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The outer half of the systemd test: boot a real systemd around an installed uvmd.

    boot.py BUILDDIR UNITDIR

        tmpfs   upper/ work/     everything that is written, the installation included
           \\
        overlay root/            over the root file system of this machine, which stays as it is
           |
        systemd-nspawn --boot    uvmd-test.service runs inside.py, then ends systemd
           |
        out/                     bound into the container: results, and the swap file

Exit codes: 0; 1 when a check failed; 77 (skipped) where no container can be booted.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SECONDS = 85
SKIP = 77
HERE = os.path.dirname(os.path.abspath(__file__))
CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")

UNIT = """\
[Unit]
Description=the test of uvmd's unit
# systemd-run asks for it.
Requires=dbus.socket
After=dbus.socket
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=75
ExecStart=/usr/bin/python3 /uvmd-test/inside.py
"""

# What a machine may start at boot, and this test has no use for.
MASKED = ("systemd-timesyncd.service", "systemd-networkd.service", "systemd-resolved.service",
          "systemd-random-seed.service", "systemd-update-utmp.service", "systemd-pstore.service",
          "systemd-binfmt.service", "systemd-machine-id-commit.service", "e2scrub_reap.service",
          "systemd-firstboot.service", "systemd-sysusers.service", "systemd-hwdb-update.service",
          "systemd-udev-trigger.service", "systemd-udevd.service", "swap.target")

signals = []  # that have come


class Skip(Exception):
    pass


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


def need(what, *command):
    code, text = run(*command)
    if code:
        raise Skip(f"{what}: {text}")


class Machine:
    """The overlay and the container; close() takes both away, whatever state they are in."""

    def __init__(self):
        self.mounts = []
        self.cgroups = []
        self.container = None
        self.name = f"uvmd-test-{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="uvmd-systemd.", dir="/var/tmp")
        self.layers, self.root, self.out = (self.path(d) for d in ("layers", "root", "out"))
        for path in (self.layers, self.root, self.out):
            os.mkdir(path)

    def path(self, name):
        return os.path.join(self.dir, name)

    def mount(self, where, *options):
        need(f"cannot mount {os.path.basename(where)}", "mount", *options, where)
        self.mounts.append(where)

    def build(self, builddir, unitdir):
        self.mount(self.layers, "-t", "tmpfs", "-o", "size=256M,mode=755", "uvmd-test")
        for name in ("upper", "work"):
            os.mkdir(os.path.join(self.layers, name))
        self.mount(self.root, "-t", "overlay", "overlay", "-o",
                   f"lowerdir=/,upperdir={self.layers}/upper,workdir={self.layers}/work")
        code, text = run("meson", "install", "-C", builddir, "--no-rebuild", "--quiet",
                         "--destdir", self.root)
        if code:
            raise RuntimeError(f"meson install: {text}")
        if not os.path.exists(f"{self.root}{unitdir}/uvmd@.service"):
            raise RuntimeError(f"meson install put no uvmd@.service into {unitdir}")
        units = f"{self.root}/etc/systemd/system"
        for unit in MASKED:
            link = f"{units}/{unit}"
            if os.path.lexists(link):
                os.remove(link)
            os.symlink("/dev/null", link)
        with open(f"{units}/uvmd-test.service", "w", encoding="ascii") as file:
            file.write(UNIT)
        shutil.copy(os.path.join(HERE, "inside.py"), self.out)

    def own_cgroup(self):
        """A place for the container's control groups, where no systemd gives it one."""
        for top in CGROUPS:
            if os.path.exists(f"{top}/cgroup.procs"):
                path = f"{top}/{self.name}"
                os.mkdir(path)
                self.cgroups.append(path)

    def enter_cgroup(self):
        for path in self.cgroups:
            with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    def boot(self):
        """=> the container's exit status and what it printed"""
        command = ["systemd-nspawn", "--quiet", "-D", self.root, "--boot", "--register=no",
                   "--machine", self.name, "--capability=all", "--link-journal=no",
                   "--bind=/dev/fuse", "--bind=/dev/userfaultfd", f"--bind={self.out}:/uvmd-test",
                   "--system-call-filter=userfaultfd io_uring_setup io_uring_enter "
                   "io_uring_register", "--console=pipe"]
        if not os.path.exists("/run/systemd/system"):
            command.append("--keep-unit")
            self.own_cgroup()
        command += ["--", "--unit=uvmd-test.service", "--log-target=journal"]
        with open(self.path("console"), "w+", encoding="utf-8", errors="replace") as console:
            self.container = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console,
                                              stderr=subprocess.STDOUT,
                                              preexec_fn=self.enter_cgroup)
            deadline = time.monotonic() + SECONDS
            while self.container.poll() is None and time.monotonic() < deadline and not signals:
                time.sleep(0.1)
            console.seek(0)
            return self.container.poll(), console.read()

    def close(self):
        if self.container and self.container.poll() is None:
            self.container.kill()  # its init dies with it, and everything else with its init
            self.container.wait()
        for where in reversed(self.mounts):
            deadline = time.monotonic() + 5
            while run("umount", where)[0] and time.monotonic() < deadline:
                time.sleep(0.1)  # the last processes of the container are still going
            if os.path.ismount(where):
                run("umount", "-l", where)
        for path in self.cgroups:
            remove_cgroup(path)
        shutil.rmtree(self.dir, ignore_errors=True)


def remove_cgroup(path):
    """What ran in it has been killed, but may still be on its way out."""
    deadline = time.monotonic() + 5
    while os.path.exists(path) and time.monotonic() < deadline:
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                time.sleep(0.05)


def check_requirements():
    if os.geteuid():
        raise Skip("not root")
    for program in ("systemd-nspawn", "mount", "meson"):
        if not shutil.which(program):
            raise Skip(f"no {program}")
    for device in ("/dev/fuse", "/dev/userfaultfd"):
        if not os.path.exists(device):
            raise Skip(f"no {device}")


def report(machine, code, console):
    """Print what inside.py has found. => the exit code"""
    try:
        with open(f"{machine.out}/results", encoding="utf-8") as file:
            results = [json.loads(line) for line in file]
    except FileNotFoundError:
        if code is None:
            print(f"systemd did not come up in {SECONDS} s, or was not given the time\n{console}")
            return 1
        raise Skip(f"systemd-nspawn does not boot here: {console.strip()[-400:]}") from None
    failed = [r for r in results if not r["ok"]]
    for result in results:
        print("ok  " if result["ok"] else "FAIL", result["name"], result["text"])
    if code is None:
        print(f"FAIL the container was still running after {SECONDS} s")
    elif not results or results[-1]["name"] != "end":
        print(f"FAIL the test inside did not come to its end; the container ended with {code}")
    elif not failed:
        return 0
    for name in ("journal", "trace"):
        if os.path.exists(f"{machine.out}/{name}"):
            with open(f"{machine.out}/{name}", encoding="utf-8", errors="replace") as file:
                print(f"--- {name}\n{file.read()[-8000:]}")
    print(f"--- console\n{console[-4000:]}")
    return 1


def main():
    machine = None
    try:
        check_requirements()
        machine = Machine()
        machine.build(sys.argv[1], sys.argv[2])
        code, console = machine.boot()
        return report(machine, code, console)
    except Skip as why:
        print(f"skipped: {why}")
        return SKIP
    finally:
        if machine:
            machine.close()


if __name__ == "__main__":
    # A signal ends the wait for the container, and nothing else: close() always comes to its end.
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    signal.signal(signal.SIGHUP, lambda number, frame: signals.append(number))
    sys.exit(main())
