"""A fresh Debian: debootstrap makes it once for a machine, and each test has a layer of its own over it.

Whatever a test runs there has processes, mounts and a network of its own, so nothing is left when it ends, and no port
of this machine is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SUITE = "trixie"
#: Debian's nova-api, what the three packages depend on, and what builds them.
PACKAGES = """
    nova-api logrotate curl python3-pip systemd-standalone-sysusers
    gunicorn python3-cryptography python3-keystonemiddleware python3-memcache python3-oslo.middleware python3-paste
    python3-urllib3 python3-oslo.messaging python3-prometheus-client python3-tenacity
    build-essential debhelper dh-python pybuild-plugin-pyproject python3-all python3-setuptools python3-setuptools-scm
    python3-venv
"""
TOOLS = ("debootstrap", "unshare", "ip", "mount", "chroot")

_KEY = hashlib.sha256(" ".join([SUITE, *sorted(PACKAGES.split())]).encode()).hexdigest()[:12]
_BASE = Path("/var/tmp") / f"imagefilter-{SUITE}-{_KEY}"
_INSTALL = f"""set -e
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends {" ".join(PACKAGES.split())}
apt-get clean
"""


class Root:
    """A Debian that a test may change."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base = base
        self._folder = folder
        for name in ("upper", "work", "merged"):
            (folder / name).mkdir()

    def add(self, name: str, source: Path) -> None:
        """Copy a file to a path in it."""
        target = self._folder / "upper" / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)

    def run(self, script: str, *, network: bool = False) -> str:
        """Run a script of bash as root, without a network by default; return what it printed."""
        folder = self._folder
        layers = f"lowerdir={self._base},upperdir={folder}/upper,workdir={folder}/work"
        merged = folder / "merged"
        mounts = f"mount -t overlay overlay -o '{layers}' '{merged}' && {_mounts_below(merged)}"
        return _run(merged, mounts, script, network=network)


def prepare() -> Path:
    """Return the path of a fresh Debian with :data:`PACKAGES`; skip the test, with the reason, if it can't be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a Debian of its own")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with open(f"{_BASE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_BASE / "complete").exists():
            _make()
    if _BASE.stat().st_uid != 0:
        pytest.skip(f"{_BASE} is not root's")
    return _BASE


def _make() -> None:
    shutil.rmtree(_BASE, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(_BASE)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        _run(_BASE, _mounts_below(_BASE), _INSTALL, network=True)
    except (subprocess.CalledProcessError, AssertionError) as error:
        output = str(getattr(error, "output", "") or error)
        shutil.rmtree(_BASE, ignore_errors=True)
        pytest.skip(f"no Debian {SUITE} can be made here: {' '.join(output.split())[-300:]}")
    (_BASE / "complete").touch()


def _mounts_below(root: Path) -> str:
    return f"mount -t proc proc '{root}/proc' && mount --rbind /dev '{root}/dev'"


def _run(root: Path, mounts: str, script: str, *, network: bool) -> str:
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if not network:
        spaces.append("--net")
        mounts = f"ip link set lo up && {mounts}"
    command = [*spaces, "sh", "-c", f"{mounts} && exec chroot '{root}' bash -s"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
