"""A machine as the pages have it, to run their blocks on: a clone, a user nova, the files of a host, and a demo.

It is this machine with file systems and a network of its own (namespaces): it needs root, and leaves nothing behind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.nova.cloud import SHIPPED_PASTE
from tests.pages import Block, read_blocks
from tests.paths import DOCS, ROOT
from tests.waiting import wait_until

# What is written below these folders is seen on the machine alone.
_SETUP = """
mount -t tmpfs tmpfs {layers}
for folder in etc var srv; do
    mkdir {layers}/$folder {layers}/$folder.work
    mount -t overlay overlay -o lowerdir=/$folder,upperdir={layers}/$folder,workdir={layers}/$folder.work /$folder
done
ip link set lo up
useradd --system --user-group nova
{journal_folder}
install -d /etc/nova /etc/imagefilter /srv/lake /var/spool/imagefilter /var/lib/imagefilter
cp {folder}/api-paste.ini /etc/nova/
cp {folder}/imagefilter.conf /etc/imagefilter/
echo ready
exec sleep infinity
"""
_CONFIG = "[imagefilter]\naudit_journal = /var/log/imagefilter/audit.jsonl\n"
_JOURNAL = "/var/log/imagefilter/audit.jsonl"
_NEW_CONFIG = f"{_CONFIG}snapshots_enabled = false\n"

_DEMO = "make demo\n"
_SERVER = re.compile(r"has one server, ACTIVE: (\S+)")


def why_missing() -> str:
    """Return why there can be no such machine; empty if there can."""
    if sys.prefix == sys.base_prefix:
        return "make runs programs of a virtualenv"
    for program in ("unshare", "nsenter", "ip", "useradd", "make", "curl"):
        if shutil.which(program) is None:
            return f"no {program}"
    done = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def make_clone(folder: Path) -> None:
    """Make what looks like a clone in which a virtualenv is set up: the real ones, by links."""
    folder.mkdir()
    for name in ("Makefile", "setup.cfg", "etc", "imagefilter", "tests"):
        (folder / name).symlink_to(ROOT / name)
    virtualenv = folder / ".venv"
    virtualenv.mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != "ready":
            (virtualenv / path.name).symlink_to(path)
    (virtualenv / "ready").touch()


class Machine:
    """Runs blocks in the clone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clone = folder / "clone"
        self._served: dict[str, subprocess.Popen[bytes]] = {}  # by block
        self._asked = False  # a block of this page may have made records
        self._environment = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": f"{self._clone / '.venv/bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TMPDIR": str(folder),
            # what the pages leave to the reader
            "TOKEN": "member",
            "COMPUTE_URL": "http://127.0.0.1:8774/v2.1",
        }

    def start(self) -> None:
        """Make the machine, and start the demo on it."""
        make_clone(self._clone)
        (self._clone / "new.conf").write_text(_NEW_CONFIG)
        (self._folder / "layers").mkdir()
        (self._folder / "imagefilter.conf").write_text(_CONFIG)
        section = "\n[filter:imagefilter]\npaste.filter_factory = imagefilter:filter_factory\n"
        section += "oslo_config_project = imagefilter\noslo_config_file = /etc/imagefilter/imagefilter.conf\n"
        paste = re.sub("^(keystone = .* keystonecontext)", r"\1 imagefilter", SHIPPED_PASTE.read_text(), flags=re.M)
        (self._folder / "api-paste.ini").write_text(paste + section)
        [journal_folder] = [block.text for block in read_blocks(DOCS / "audit.md") if block.text.startswith("groupadd")]
        script = _SETUP.format(layers=self._folder / "layers", folder=self._folder, journal_folder=journal_folder)
        command = ["unshare", "--mount", "--net", "bash", "-ec", script]
        self._keeper = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._keeper.stdout
        assert self._keeper.stdout.readline() == "ready\n", self._keeper.communicate()
        self.serve(Block("README.md", 0, "", _DEMO, "serves", "Serving until Ctrl-C."))
        found = _SERVER.search(self._screen(_DEMO))
        assert found
        self._environment["SERVER"] = found[1]
        (self._folder / "tour.jsonl").write_bytes(self._demo_journal().read_bytes())

    def end(self) -> None:
        """End all that runs on the machine."""
        for server in self._served.values():
            os.killpg(server.pid, signal.SIGINT)
            server.wait(60)
        self._keeper.kill()
        self._keeper.wait()

    def open_page(self) -> None:
        """Let the journal hold the tour of the demo alone, and end what other pages started."""
        for text in [text for text in self._served if text != _DEMO]:
            server = self._served.pop(text)
            os.killpg(server.pid, signal.SIGINT)
            server.wait(60)
        self._asked = False
        self._copy_journal(self._folder / "tour.jsonl")

    def serve(self, block: Block) -> None:
        """Start a command that goes on, unless it does already; wait until it prints that it serves."""
        if block.text in self._served:
            return
        with self._out(block.text).open("wb") as out:
            self._served[block.text] = subprocess.Popen(
                self._command(block.text), cwd=self._clone, env=self._environment, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        server = self._served[block.text]
        wait_until(lambda: block.note in self._screen(block.text) or server.poll() is not None, 120)
        assert server.poll() is None, self._screen(block.text)

    def run(self, script: str, status: int = 0) -> str:
        """Run commands as a block has them; return what they print."""
        if self._asked:
            self._copy_journal(self._demo_journal())
        done = subprocess.run(
            self._command(script), cwd=self._clone, env=self._environment, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        self._asked = self._asked or "curl " in script
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def newest_request(self) -> str:
        """Return the id of the newest request."""
        return re.findall(r'"request_id": ?"(req-[0-9a-f-]+)"', self._demo_journal().read_text())[-1]

    def _command(self, script: str) -> list[str]:
        inside = ["nsenter", "--target", str(self._keeper.pid), "--mount", "--net", f"--wd={self._clone}"]
        return [*inside, "bash", "-ec", script]

    def _copy_journal(self, source: Path) -> None:
        command = f"install -o nova -g imagefilter-audit -m 640 {source} {_JOURNAL}"
        subprocess.run(self._command(command), check=True)

    def _demo_journal(self) -> Path:
        [journal] = self._folder.glob("imagefilter-nova-*/audit.jsonl")
        return journal

    def _out(self, text: str) -> Path:
        return self._folder / f"out-{text.split()[1]}"

    def _screen(self, text: str) -> str:
        return self._out(text).read_text()
