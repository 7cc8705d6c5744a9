"""The shipped logrotate file, run by the real logrotate while records are written."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from imagefilter.journal.writer import append
from tests.paths import ETC, ROOT
from tests.unit.fakes import FORK

SHIPPED = ETC / "logrotate"
LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")
RECORDS = 2000

# What a host may say for all of its files. kolla-ansible says copytruncate.
HOSTILE = """
copytruncate
olddir {folder}/old
createolddir
dateformat _%d
dateyesterday
extension .jsonl
addextension .old
compresscmd /usr/bin/xz
compressext .xz
compressoptions -9
nodelaycompress
nomissingok
ifempty
maxsize 1
minsize 1G
minage 30
maxage 1
rotate 0
start 7
mail root
shred
monthly
size 1G
su root root
create 0666 root root
"""


@pytest.mark.slow
@pytest.mark.skipif(not LOGROTATE, reason="logrotate is not installed")
@pytest.mark.parametrize("global_lines", ["", HOSTILE])
def test_rotation_by_logrotate_loses_nothing(tmp_path: Path, global_lines: str) -> None:
    tmp_path.chmod(0o755)
    text = SHIPPED.read_text().replace("/var/log/imagefilter", str(tmp_path)).replace("    su nova nova\n", "")
    # One rotation a second, where the file says one a day.
    shipped = tmp_path / "shipped"
    shipped.write_text(text.replace("-%Y%m%d", "-%Y%m%d-%s"))
    config = tmp_path / "logrotate.conf"
    config.write_text(f"{global_lines.format(folder=tmp_path)}include {shipped}\n")
    path = tmp_path / "audit.jsonl"
    writers = [FORK.Process(target=write_slowly, args=(str(path), number)) for number in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        command = [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(config)]
        subprocess.run(command, check=True, capture_output=True)
        assert not path.exists() or path.stat().st_mode & 0o777 == 0o640, "only a writer makes it"
        time.sleep(1.05)  # the names of rotated files contain the second
    files = list(tmp_path.glob("audit.jsonl*"))
    assert any(file.suffix == ".gz" for file in files)
    rotated = [file for file in files if file != path]
    assert all(re.fullmatch(r"audit\.jsonl-\d{8}-\d+(\.gz)?", file.name) for file in rotated)
    written = []
    for file in files:
        written += [json.loads(line) for line in read(file).splitlines()]
    for writer in range(2):
        assert sorted(line["n"] for line in written if line["writer"] == writer) == list(range(RECORDS))


def write_slowly(path: str, writer: int) -> None:
    for n in range(RECORDS):
        append(path, json.dumps({"writer": writer, "n": n}).encode())
        time.sleep(0.002)


def read(file: Path) -> bytes:
    if file.suffix == ".gz":
        return gzip.decompress(file.read_bytes())
    return file.read_bytes()


def test_the_page_contains_the_shipped_file() -> None:
    page = (ROOT / "docs" / "audit.md").read_text()
    assert "".join(f"    {line}\n" for line in SHIPPED.read_text().splitlines()) in page
