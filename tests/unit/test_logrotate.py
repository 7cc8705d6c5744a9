"""The logrotate file that is shipped, run by the real logrotate while records are written."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from imagefilter.journal import append
from tests.unit.test_journal import FORK

SHIPPED = Path(__file__).parents[2] / "etc" / "imagefilter" / "logrotate"
LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")


@pytest.mark.skipif(not LOGROTATE, reason="logrotate is not installed")
def test_rotation_by_logrotate_loses_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    text = SHIPPED.read_text().replace("/var/log/imagefilter", str(tmp_path)).replace("    su nova nova\n", "")
    # One rotation a second, where the file says one a day.
    config = tmp_path / "logrotate.conf"
    config.write_text(text.replace("dateext", "dateext\n    dateformat -%Y%m%d-%s"))
    path = tmp_path / "audit.jsonl"
    writers = [FORK.Process(target=write_slowly, args=(str(path), number)) for number in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        command = [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(config)]
        subprocess.run(command, check=True, capture_output=True)
        time.sleep(1.05)  # the names of rotated files hold the second
    files = list(tmp_path.glob("audit.jsonl*"))
    seen = [json.loads(line) for file in files for line in content(file).splitlines()]
    assert any(file.suffix == ".gz" for file in files)
    assert sorted((each["writer"], each["n"]) for each in seen) == [(w, n) for w in range(2) for n in range(2000)]


def write_slowly(path: str, writer: int) -> None:
    for n in range(2000):
        append(path, json.dumps({"writer": writer, "n": n}).encode())
        time.sleep(0.002)


def content(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def test_the_readme_shows_the_file_that_is_shipped() -> None:
    readme = (SHIPPED.parents[2] / "README.md").read_text()
    assert "".join(f"    {line}\n" for line in SHIPPED.read_text().splitlines()) in readme
