"""A fresh Debian 12 under a systemd of its own (systemd-nspawn), on a network that nobody else is on.

The root is made once and kept below the user's cache folder; what a test writes goes to memory, and away.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import os
import platform
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import pytest

from tests.paths import ROOT
from tests.waiting import wait_until

SUITE = "bookworm"
PYTHON = "3.11"  # that of the suite
_PACKAGES = "systemd-sysv dbus python3-venv logrotate nginx-light haproxy curl"
_PROGRAMS = ("mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "git")
_GLIBCS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux2010", "manylinux1")
_CLONE = "/root/imagefilter"

# In a mount namespace: systemd-nspawn wants a /run in memory and one hierarchy of cgroups, which not each machine has.
_BOOT = """
mount -t tmpfs tmpfs /run &&
umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
mkdir /run/root && mount --bind "$1" /run/root &&
exec systemd-nspawn --quiet --directory /run/root --volatile=overlay --register=no --keep-unit --console=pipe \
    --private-network --machine="$2" --bind-ro="$3:/wheels" --boot
"""


class Host:
    """A running host."""

    def __init__(self, leader: int) -> None:
        self._leader = leader  # the process id of its systemd

    def run(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run lines of shell as root, from a clone of this repository."""
        done = subprocess.run(
            [*self._enter("--all"), "env", "-i", *_ENVIRONMENT, "sh", "-ec", f"cd {_CLONE}\n{command}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def read(self, command: str) -> str:
        """Return what a command prints, without the last line feed."""
        return self.run(command).stdout.rstrip("\n")

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        command = [*self._enter("--all"), "tee", path]
        subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    def log_of(self, unit: str) -> list[str]:
        """Return what the processes of a unit's last start wrote, not what systemd says about them."""
        start = f"_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {unit})"
        lines = self.read(f"journalctl --sync && journalctl --output=cat {start}").splitlines()
        return [line for line in lines if line and line != "-- No entries --"]

    def state_of(self, unit: str) -> dict[str, str]:
        """Return ``ActiveState``, ``NRestarts`` and ``Result`` of a unit."""
        text = self.read(f"systemctl show --property=ActiveState,NRestarts,Result,MainPID {unit}")
        return dict(line.split("=", 1) for line in text.splitlines())

    @contextlib.contextmanager
    def forward(self, port: int, target: int) -> Iterator[None]:
        """Let a port of this host's 127.0.0.1 lead to a port of the machine that the tests run on."""
        with self._listen(port) as listener:
            threading.Thread(target=_accept, args=(listener, target), daemon=True).start()
            yield
            listener.shutdown(socket.SHUT_RDWR)

    def clone(self) -> None:
        """Copy the files of this repository, with changes that are not committed."""
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        present = b"\0".join(name for name in names.split(b"\0") if name and (ROOT / os.fsdecode(name)).is_file())
        pack = ["tar", "--create", "--null", "--files-from=-"]
        packed = subprocess.run(pack, cwd=ROOT, input=present, check=True, capture_output=True).stdout
        subprocess.run([*self._enter("--all"), "mkdir", "-p", _CLONE], check=True)
        unpack = [*self._enter("--all"), "tar", "--extract", "--no-same-owner", f"--directory={_CLONE}"]
        subprocess.run(unpack, input=packed, check=True)

    def _enter(self, *namespaces: str) -> list[str]:
        return ["nsenter", f"--target={self._leader}", *namespaces, "--"]

    def _listen(self, port: int) -> socket.socket:
        """Return a socket that listens in this host's network: it keeps the one that it was made in."""
        ours, theirs = socket.socketpair()
        code = (
            f"import socket; server = socket.create_server(('127.0.0.1', {port}));"
            f"socket.send_fds(socket.socket(fileno={theirs.fileno()}), [b'x'], [server.fileno()])"
        )
        command = [*self._enter("--net"), sys.executable, "-c", code]
        with ours, theirs:
            subprocess.run(command, check=True, pass_fds=[theirs.fileno()])
            _, [descriptor], _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptor)


_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "PIP_NO_INDEX=1",
    "PIP_FIND_LINKS=/wheels",
    "PIP_DISABLE_PIP_VERSION_CHECK=1",
    "PIP_ROOT_USER_ACTION=ignore",
)


@contextlib.contextmanager
def serve_host() -> Iterator[Host]:
    """Boot a fresh host; skip the test where that can't be done."""
    _skip_where_impossible()
    root, wheels = _prepare()
    command = [
        "unshare",
        "--mount",
        "--cgroup",
        "sh",
        "-ec",
        _BOOT,
        "sh",
        str(root),
        f"t{uuid.uuid4().hex}",
        str(wheels),
    ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: _is_booted(process, log.fileno()), 60, interval=0.1)
            host = Host(_find_leader(process.pid))
            host.clone()
            yield host
        finally:
            process.send_signal(signal.SIGTERM)  # it shuts down in order
            process.wait(60)


def _skip_where_impossible() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [program for program in _PROGRAMS if not shutil.which(program, path=path)]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}: apt install mmdebstrap systemd-container")


def _find_leader(nspawn: int) -> int:
    """Return the process id of a host's systemd."""
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
    return int(children[0])


def _is_booted(process: subprocess.Popen[bytes], log: int) -> bool:
    if process.poll() is not None:
        pytest.skip(f"systemd-nspawn does not run here: {os.pread(log, 2000, 0).decode().strip()}")
    try:
        command = [*Host(_find_leader(process.pid))._enter("--all"), "systemctl", "is-system-running"]
    except (IndexError, OSError):
        return False
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() in ("running", "degraded")


# --- what is kept


def _prepare() -> tuple[Path, Path]:
    """Return the folders of the root and of the wheels; make them if they are not there."""
    requirements = _read_requirements()
    key = hashlib.sha256(repr((SUITE, _PACKAGES, requirements)).encode()).hexdigest()[:12]
    home = pwd.getpwuid(os.getuid()).pw_dir  # Nova's fixtures set HOME to a folder that goes with them
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache"), "imagefilter-tests")
    cache.mkdir(parents=True, exist_ok=True)
    root, wheels = cache / f"{SUITE}-{key}", cache / f"wheels-{key}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor() as pool:
            list(pool.map(_make_whole, (root, wheels), (_make_root, _download_wheels)))
    return root, wheels


def _make_whole(folder: Path, make: Callable[[Path], subprocess.CompletedProcess[str]]) -> None:
    """Make a folder if it is not there: under another name first, so that half of one is never taken for it."""
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = make(partial)
    if done.returncode:
        pytest.skip(f"{folder.name} could not be made: {done.stderr[-500:]}")
    partial.rename(folder)


def _make_root(folder: Path) -> subprocess.CompletedProcess[str]:
    options = ["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*"]
    options.append(f"--include={_PACKAGES.replace(' ', ',')}")
    # haproxy and nginx are started by the tests.
    options.append("--customize-hook=chroot $1 systemctl disable haproxy nginx")
    command = ["mmdebstrap", *options, SUITE, str(folder), "http://deb.debian.org/debian"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _download_wheels(folder: Path) -> subprocess.CompletedProcess[str]:
    """Download for the root's Python, which need not be the one of the tests."""
    options = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    options += [f"--platform={glibc}_{platform.machine()}" for glibc in _GLIBCS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", f"--dest={folder}", *options]
    return subprocess.run([*command, *_read_requirements()], capture_output=True, text=True, check=False)


def _read_requirements() -> list[str]:
    """Return what ``pip install '.[gateway,relay,tools]'`` installs, and what it builds with."""
    [build] = re.findall(r"^requires = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    lines = parser["options"]["install_requires"].splitlines()
    for extra in ("gateway", "relay", "tools"):
        lines += extras[extra].splitlines()
    return [
        "wheel",
        *re.findall(r'"(.+?)"', build),
        *sorted({line for line in lines if line and not line.startswith("#")}),
    ]


# --- the way to the servers of the tests


def _accept(listener: socket.socket, target: int) -> None:
    with contextlib.suppress(OSError):  # it is closed
        while True:
            connection, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", target))
            for source, sink in ((connection, server), (server, connection)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # one of them has gone
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
