"""Real faults of real file systems, met by a filter in a process of its own."""

from __future__ import annotations

import ctypes
import errno
import io
import json
import logging
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cases import image
from tests.paths import ROOT
from tests.unit.fakes import FORK, Guarded, get_content, is_json, mounted, read_lines

pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")  # a program of its own, as LD_PRELOAD needs it
NOBODY = 65534


class Served:
    """A filter in a process of its own."""

    def __init__(self, path: Path, audit_on_error: str, user_id: int = 0, context: Any = FORK) -> None:
        self._connection, connection = context.Pipe()
        self._process = context.Process(target=serve, args=(connection, path, audit_on_error, user_id), daemon=True)
        self._process.start()
        connection.close()  # so that a process that dies is an EOFError here

    def post(self, name: str) -> tuple[int, bool]:
        """Ask for an image; return the status of the response, and whether the request was forwarded."""
        self._connection.send(name)
        response: tuple[int, bool] = self._connection.recv()
        return response

    def limit_file_size(self, size: int) -> None:
        """Set the process's RLIMIT_FSIZE (1); -1 is no limit."""
        limits = (ctypes.c_ulong * 2)(size & (2**64 - 1), 2**64 - 1)
        assert ctypes.CDLL(None, use_errno=True).prlimit(self._process.pid, 1, limits, None) == 0

    def end(self) -> str:
        """End the process and return the errors that it logged."""
        self._connection.send(None)
        errors: str = self._connection.recv()
        self._process.join()
        assert self._process.exitcode == 0
        return errors


def serve(connection: Any, path: Path, audit_on_error: str, user_id: int) -> None:
    """Send a request for each name that comes, and at the end what was logged."""
    log = io.StringIO()
    logging.basicConfig(level="ERROR", format="%(message)s", stream=log, force=True)
    if user_id and os.geteuid() == 0:
        os.setgid(user_id)
        os.setuid(user_id)
    guarded = Guarded(audit_journal=str(path), audit_on_error=audit_on_error)
    while (name := connection.recv()) is not None:
        before = len(guarded.bodies)
        response = guarded.post(image(name))
        connection.send((response.status_int, len(guarded.bodies) > before))
    connection.send(log.getvalue())


REFUSED = (503, False)
ACCEPTED = (202, True)
on_error = pytest.mark.parametrize(("audit_on_error", "expected"), [("deny", REFUSED), ("allow", ACCEPTED)])


def fill_disk(served: Served) -> list[tuple[int, bool]]:
    """Ask for more images than the disk has room for their records."""
    return [served.post(str(number)) for number in range(60)]


def names_in(path: Path) -> set[str]:
    """Return the names of the images whose verdict is in a journal."""
    names = set()
    for line in filter(is_json, read_lines(path)):
        content = get_content(json.loads(line))
        if "verdict" in content:
            names.add(content["image_name"])
    return names


def test_a_full_disk_refuses_images_rather_than_records(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k,mode=700") as folder:
        served = Served(folder / "audit.jsonl", "deny")
        responses = fill_disk(served)
        assert (responses[0], responses[-1]) == (ACCEPTED, REFUSED)
        accepted = {str(number) for number, response in enumerate(responses) if response == ACCEPTED}
        assert accepted <= names_in(folder / "audit.jsonl"), "no image without a record"
        served.end()


def test_a_full_disk_refuses_no_image_where_that_is_allowed(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k,mode=700") as folder:
        served = Served(folder / "audit.jsonl", "allow")
        assert set(fill_disk(served)) == {ACCEPTED}
        served.end()


@pytest.mark.parametrize("audit_on_error", ["deny", "allow"])
def test_a_disk_that_has_room_again(tmp_path: Path, audit_on_error: str) -> None:
    with mounted(tmp_path / "disk", "size=64k,mode=700") as folder:
        served = Served(folder / "audit.jsonl", audit_on_error)
        fill_disk(served)
        subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
        assert served.post("again") == ACCEPTED
        lines = read_lines(folder / "audit.jsonl")
        whole = list(filter(is_json, lines))
        assert len(lines) - len(whole) <= 1, "one torn line, ended by the next writer"
        assert get_content(json.loads(whole[-2]))["unrecorded"] > 0
        assert "No space left on device" in served.end()


@on_error
def test_a_disk_that_becomes_read_only(tmp_path: Path, audit_on_error: str, expected: tuple[int, bool]) -> None:
    with mounted(tmp_path / "disk", "size=64k,mode=700") as folder:
        served = Served(folder / "audit.jsonl", audit_on_error)
        assert served.post("1") == ACCEPTED
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert served.post("2") == expected
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        assert served.post("3") == ACCEPTED
        assert "Read-only file system" in served.end()


@on_error
def test_a_journal_that_loses_its_permission(public: Path, audit_on_error: str, expected: tuple[int, bool]) -> None:
    if os.geteuid() == 0:
        os.chown(public, NOBODY, NOBODY)
    path = public / "audit.jsonl"
    served = Served(path, audit_on_error, user_id=NOBODY)
    assert served.post("1") == ACCEPTED
    path.chmod(0o000)
    assert served.post("2") == expected
    path.chmod(0o600)
    assert served.post("3") == ACCEPTED
    assert "Permission denied" in served.end()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that makes the journal's system calls fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler: faults of the disk can't be injected")
    library = tmp_path_factory.mktemp("inject") / "inject.so"
    source = ROOT / "tests" / "unit" / "audit" / "inject.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


@on_error
@pytest.mark.parametrize(
    ("call", "number"),
    [("write", errno.EIO), ("write", errno.EDQUOT), ("write", errno.ENOSPC), ("fdatasync", errno.EIO)],
)
def test_a_failing_disk(
    tmp_path: Path,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    audit_on_error: str,
    expected: tuple[int, bool],
) -> None:
    switch, path = tmp_path / "switch", tmp_path / "audit.jsonl"
    monkeypatch.setenv("LD_PRELOAD", library)
    monkeypatch.setenv("FAULT", f"{call}={number}")
    monkeypatch.setenv("FAULT_SWITCH", str(switch))
    served = Served(path, audit_on_error, context=SPAWN)
    assert served.post("1") == ACCEPTED
    switch.touch()
    assert served.post("2") == expected
    switch.unlink()
    assert served.post("3") == ACCEPTED
    assert all(is_json(line) for line in read_lines(path))
    assert os.strerror(number) in served.end()


def test_a_short_write_is_completed(tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", library)
    monkeypatch.setenv("FAULT", "short=100")
    served = Served(tmp_path / "audit.jsonl", "deny", context=SPAWN)
    assert [served.post(str(number)) for number in range(5)] == [ACCEPTED] * 5
    assert [is_json(line) for line in read_lines(tmp_path / "audit.jsonl")] == [True] * 11
    assert served.end() == ""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """With RLIMIT_FSIZE there is a short write, and then EFBIG."""
    path = tmp_path / "audit.jsonl"
    served = Served(path, "deny")
    assert served.post("1") == ACCEPTED
    size = path.stat().st_size
    served.limit_file_size(size + 100)
    assert served.post("2") == REFUSED
    assert path.stat().st_size == size + 100, "torn"
    served.limit_file_size(-1)
    assert served.post("3") == ACCEPTED
    assert [is_json(line) for line in read_lines(path)] == [True, True, True, False, True, True]
    assert "File too large" in served.end()
