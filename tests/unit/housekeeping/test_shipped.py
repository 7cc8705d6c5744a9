"""The shipped units, and the page that explains what the reaper keeps."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cliff")

from imagefilter.housekeeping.decision import OTHER_REASONS, OWN_REASONS, Kind
from tests.paths import DOCS, ETC

SERVICE, TIMER = ETC / "imagefilter-reap.service", ETC / "imagefilter-reap.timer"
PAGE = (DOCS / "housekeeping.md").read_text()
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")


def test_the_command_of_the_unit_is_one() -> None:
    from imagefilter.cli.app import Imagefilter
    from imagefilter.cli.reap import DEFAULT_JOURNAL, Reap

    line = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", SERVICE.read_text(), re.M)
    assert line
    program, command, *args = shlex.split(line[1].replace("\\\n", ""))
    assert (program, command) == ("/opt/imagefilter/bin/imagefilter", "reap")
    parsed = Reap(Imagefilter(), None).get_parser("reap").parse_args(args)
    assert (parsed.delete, parsed.journal, parsed.orphans) == (True, DEFAULT_JOURNAL, False)
    assert f"StateDirectory={Path(DEFAULT_JOURNAL).parent.name}\n" in SERVICE.read_text()


def test_nothing_starts_the_service_but_the_timer() -> None:
    assert "[Install]" not in SERVICE.read_text()
    assert "WantedBy=timers.target" in TIMER.read_text()


@pytest.mark.skipif(not SYSTEMD_ANALYZE, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for shipped in (SERVICE, TIMER):
        # The program need not be on this machine.
        text = shipped.read_text().replace("/opt/imagefilter/bin/imagefilter", "/bin/true")
        (tmp_path / shipped.name).write_text(text)
    command = [str(SYSTEMD_ANALYZE), "verify", "--man=no", str(tmp_path / SERVICE.name), str(tmp_path / TIMER.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "imagefilter-reap" not in done.stderr, done.stderr


def test_the_page_has_each_reason_in_the_order_of_the_code() -> None:
    texts = [reason.text for reason in (*OWN_REASONS, *OTHER_REASONS) if Kind.EXPIRED in reason.kinds]
    texts.remove("it has not expired")
    table = PAGE.partition("| it is kept if | to protect |\n|---|---|\n")[2].partition("\n\n")[0]
    assert [row.split("|")[1].strip() for row in table.splitlines()] == texts
