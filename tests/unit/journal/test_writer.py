"""The journal keeps each record that is appended, through everything that happens to files."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter.journal import writer
from imagefilter.journal.writer import append, why_unusable
from tests.paths import ROOT
from tests.unit.fakes import FORK, is_json, read_lines


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The path of a new journal."""
    return str(tmp_path / "audit.jsonl")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: tests of interleaving need no disk that syncs."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    folder = Path("/dev/shm", f"imagefilter-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def append_many(path: str, number: int, count: int) -> None:
    """Append numbered records, some of them longer than a page."""
    for n in range(count):
        filler = "x" * (n % 7 * 900)
        append(path, json.dumps({"writer": number, "n": n, "filler": filler}).encode())


def by_writer(lines: list[bytes]) -> dict[Any, list[int]]:
    """Return the numbers of each writer's records, in the order of the lines."""
    numbers: dict[Any, list[int]] = {}
    for line in lines:
        record = json.loads(line)
        numbers.setdefault(record["writer"], []).append(record["n"])
    return numbers


# --- one writer


def test_a_record_is_a_line(path: str) -> None:
    append(path, b'{"a": 1}')
    append(path, b'{"a": 2}')
    assert Path(path).read_bytes() == b'{"a": 1}\n{"a": 2}\n'


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_has_mode_0640(path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        append(path, b"{}")
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_a_new_file_is_never_readable_by_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    original = os.open

    def open_file(name: str, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            modes.extend(mode)
        return original(name, flags, *mode)

    monkeypatch.setattr(os, "open", open_file)
    append(path, b"{}")
    assert modes == [0o640, 0o600], "the journal, and the writers' lock"


def test_keeps_the_mode_of_an_existing_file(path: str) -> None:
    Path(path).touch(mode=0o600)
    append(path, b"{}")
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_refuses_special_files() -> None:
    with pytest.raises(OSError, match=r"^/dev/null is not a regular file$"):
        append("/dev/null", b"{}")


def test_ends_a_torn_line(path: str) -> None:
    append(path, b'{"whole": 1}')
    with open(path, "ab") as file:
        file.write(b'{"torn": ')
    append(path, b'{"whole": 2}')
    assert read_lines(path) == [b'{"whole": 1}', b'{"torn": ', b'{"whole": 2}']


def test_syncs_the_name_of_a_new_file_before_its_first_record(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "write", "fdatasync"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, original=original: calls.append(name) or original(*args))
    append(path, b"{}")
    append(path, b"{}")
    assert calls == ["fsync", "write", "fdatasync", "write", "fdatasync"]


def test_leaves_no_file_open(path: str) -> None:
    append(path, b"{}")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        append(path, b"{}")
        with pytest.raises(OSError, match="is not a regular file"):
            append(os.path.dirname(path), b"{}")
    assert len(os.listdir("/proc/self/fd")) == before


# --- many writers


def test_two_processes_may_create_the_file_at_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.open

    def open_second(name: str, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            Path(path).write_bytes(b"theirs\n")
        return original(name, flags, *mode)

    monkeypatch.setattr(os, "open", open_second)
    append(path, b"ours")
    assert read_lines(path) == [b"theirs", b"ours"]


@pytest.mark.slow
def test_records_of_eight_processes_are_whole(memory: Path) -> None:
    path = str(memory / "audit.jsonl")
    processes = [FORK.Process(target=append_many, args=(path, number, 5000)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    expected = {number: list(range(5000)) for number in range(8)}
    assert by_writer(read_lines(path)) == expected, "none lost, in order"


@pytest.mark.slow
def test_a_killed_writer_tears_at_most_its_last_line(memory: Path) -> None:
    path = str(memory / "audit.jsonl")
    for number in range(100):
        process = FORK.Process(target=append_many, args=(path, number, 10**9))
        process.start()
        time.sleep(0.003 + number % 10 / 1000)  # killed in another moment each
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    append(path, b'{"writer": "last", "n": 0}')
    lines = read_lines(path)
    whole = list(filter(is_json, lines))
    assert len(lines) - len(whole) <= 100
    for number, numbers in by_writer(whole).items():
        assert numbers == list(range(len(numbers))), number


def test_waits_for_a_lock(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a millisecond at first, ten at most: of many threads that try each half one none would get to write."""
    append(path, b"1")
    clock = Clock()
    monkeypatch.setattr(writer, "time", clock)
    with open(lock_of(path), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        clock.after_seventh_sleep = lambda: fcntl.flock(file, fcntl.LOCK_UN)
        append(path, b"2")
    assert clock.slept == [0.0005, 0.001, 0.002, 0.004, 0.008, 0.01, 0.01]
    assert read_lines(path) == [b"1", b"2"]


def test_a_lock_that_is_never_released_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API must not hang: a stopped process keeps its lock."""
    append(path, b"1")
    clock = Clock()
    monkeypatch.setattr(writer, "time", clock)
    with open(lock_of(path), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(TimeoutError, match="another process has held the lock for 1 s"):
            append(path, b"2")
        assert 1.0 < clock.now < 1.02
        with pytest.raises(TimeoutError, match=r"another process has held the lock for 0\.05 s"):
            append(path, b"2", patience=0.05)
    assert 1.05 < clock.now < 1.08
    append(path, b"3")
    assert read_lines(path) == [b"1", b"3"]


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_a_reader_s_lock_holds_up_nobody(path: str, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may read the journal may lock it: ``flock -s audit.jsonl sleep 25`` kept all image actions waiting."""
    append(path, b"1")
    clock = Clock()
    monkeypatch.setattr(writer, "time", clock)
    with open(path, "rb") as file:
        fcntl.flock(file, kind)
        append(path, b"2")
    assert clock.now < 0.01
    assert read_lines(path) == [b"1", b"2"]


def test_only_writers_can_open_their_lock(path: str) -> None:
    append(path, b"1")
    assert os.stat(lock_of(path)).st_mode & 0o777 == 0o600


def test_a_lock_that_is_a_link_is_not_followed(path: str, tmp_path: Path) -> None:
    lock_of(path).symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        append(path, b"1")
    assert not (tmp_path / "other").exists()


def lock_of(path: str) -> Path:
    """Return the file that writers lock."""
    return Path(path).with_name(f".{Path(path).name}.lock")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.after_seventh_sleep = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if len(self.slept) == 7:
            self.after_seventh_sleep()


# --- files that are renamed, removed and truncated


@pytest.mark.slow
def test_rotation_by_renaming_loses_nothing(memory: Path) -> None:
    path = memory / "audit.jsonl"
    processes = [FORK.Process(target=append_many, args=(str(path), number, 2000)) for number in range(3)]
    for process in processes:
        process.start()
    rotated = 0
    while any(process.is_alive() for process in processes):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, memory / f"audit.jsonl.{rotated}")
            rotated += 1
        time.sleep(0.002)
    lines = []
    for file in memory.iterdir():
        lines += read_lines(file)
    assert rotated > 3
    assert len(lines) == 6000
    for number, numbers in by_writer(lines).items():
        assert sorted(numbers) == list(range(2000)), number


def test_a_record_survives_the_removal_of_its_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original, removals = os.fdatasync, iter([True, True])

    def remove_after_sync(descriptor: int) -> None:
        original(descriptor)
        if next(removals, False):
            os.remove(path)

    monkeypatch.setattr(os, "fdatasync", remove_after_sync)
    append(path, b'{"n": 1}')
    assert read_lines(path) == [b'{"n": 1}']


def test_a_file_that_is_always_removed_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: os.remove(path))
    with pytest.raises(FileNotFoundError, match="removed again and again"):
        append(path, b"{}")


def test_writes_to_a_replaced_directory(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit.jsonl"
    append(str(path), b'{"n": 1}')
    folder.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        append(str(path), b'{"n": 2}')
    folder.mkdir()
    append(str(path), b'{"n": 3}')
    assert read_lines(path) == [b'{"n": 3}']
    assert read_lines(tmp_path / "old" / "audit.jsonl") == [b'{"n": 1}']


def test_writes_a_truncated_file_from_its_start(path: str) -> None:
    """logrotate's copytruncate does so; what is written between its copy and this is lost, as docs/audit.md says."""
    append(path, b'{"n": 1}')
    os.truncate(path, 0)
    append(path, b'{"n": 2}')
    assert Path(path).read_bytes() == b'{"n": 2}\n', "no hole"


# --- whether a journal can be kept


def test_accepts_a_usable_journal(path: str) -> None:
    assert why_unusable(path) is None
    append(path, b"{}")
    assert why_unusable(path) is None


def test_refuses_relative_paths() -> None:
    assert why_unusable("audit.jsonl") == "it is not an absolute path"


def test_checks_what_the_effective_user_may_do(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(os, "access", lambda *args, **kwargs: calls.append((*args, kwargs)) or True)
    assert why_unusable(path) is None
    assert calls == [(os.path.dirname(path), os.R_OK | os.W_OK | os.X_OK, {"effective_ids": True})]
    assert not os.path.exists(path), "nothing is created"


# --- whether it is the writers' alone


def make_symbolic_link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def make_hard_link(path: Path) -> None:
    os.link(path, path.with_name("other"))


def give_away(path: Path) -> None:
    os.chown(path, 65534, 65534)


def make_writable_by_all(path: Path) -> None:
    path.chmod(0o666)


def make_writable_by_group(path: Path) -> None:
    path.chmod(0o660)


def put_in_a_shared_directory(path: Path) -> None:
    path.parent.chmod(0o1777)


def put_in_a_group_s_directory(path: Path) -> None:
    path.parent.chmod(0o2770)


def put_in_another_s_directory(path: Path) -> None:
    os.chown(path.parent, 65534, 65534)


UNSAFE: list[tuple[Any, str]] = [
    (make_symbolic_link, "is a symbolic link"),
    (make_hard_link, "has another name as well (a hard link)"),
    (make_writable_by_all, "is writable by others than its owner (mode 666)"),
    (make_writable_by_group, "is writable by others than its owner (mode 660)"),
    (put_in_a_shared_directory, "is writable by others than its owner (mode 1777)"),
    (put_in_a_group_s_directory, "is writable by others than its owner (mode 2770)"),
    (give_away, "belongs to "),
]


@pytest.mark.parametrize(("change", "reason"), UNSAFE, ids=[change.__name__ for change, _ in UNSAFE])
def test_a_journal_that_is_not_the_writers_alone(path: str, change: Any, reason: str) -> None:
    """At load, and at each opening: whoever may write to a journal, or replace it, may write what he likes."""
    append(path, b"1")
    if reason.startswith("belongs") and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    change(Path(path))
    assert reason in (why_unusable(path) or "")
    with pytest.raises(OSError, match=re.escape(reason)):
        append(path, b"2")
    assert b"2" not in Path(path).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_loads_what_the_owner_of_the_directory_will_write(path: str) -> None:
    """gunicorn with ``preload`` loads as root, and its workers become the user. Root itself does not write there."""
    append(path, b"1")
    give_away(Path(path))
    put_in_another_s_directory(Path(path))
    assert why_unusable(path) is None
    with pytest.raises(OSError, match="belongs to "):
        append(path, b"2")
    os.chown(path, 12345, 12345)
    assert "belongs to " in (why_unusable(path) or "")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775])
def test_no_journal_is_begun_in_a_shared_directory(path: str, mode: int) -> None:
    Path(path).parent.chmod(mode)
    assert "is writable by others than its owner" in (why_unusable(path) or "")
    with pytest.raises(OSError, match="is writable by others"):
        append(path, b"1")
    assert not os.path.exists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
def test_a_directory_with_a_group_of_its_own_lets_readers_read_and_no_more(public: Path) -> None:
    """As the docs have it: mode 2750, so that new files get the group; its members need no other group of nova's."""
    group, owner, reader = 54321, 65534, 54322
    folder = public / "log"
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(0o2750)
    path = folder / "audit.jsonl"
    run_as(owner, owner, append, str(path), b"{}")
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (owner, group, 0o640)
    assert run_as(reader, group, path.read_bytes) == b"{}\n"
    for forbidden in (path.unlink, lambda: path.open("ab"), lambda: lock_of(str(path)).open("rb")):
        assert isinstance(run_as(reader, group, forbidden), PermissionError)


def run_as(user: int, group: int, function: Any, *args: Any) -> Any:
    """Call a function in a child process of another user; return what it returns, or the OSError that it raises."""
    receiver, sender = FORK.Pipe()

    def call() -> None:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        try:
            sender.send(function(*args))
        except OSError as error:
            sender.send(error)

    process = FORK.Process(target=call)
    process.start()
    process.join()
    return receiver.recv()


AS_NOBODY = """
import os, sys
from imagefilter.journal.writer import why_unusable
if os.geteuid() == 0:  # after the imports: they may need root
    os.setgid(65534)
    os.setuid(65534)
print(why_unusable(sys.argv[1]))
"""


def why_unusable_to_nobody(path: Path) -> str:
    """Return why another user's process can't keep a journal at a path."""
    command = [sys.executable, "-c", AS_NOBODY, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_the_user_of_a_directory_that_is_not_writable(public: Path) -> None:
    public.chmod(0o555)
    reason = why_unusable_to_nobody(public / "audit.jsonl")
    assert f"the directory {public} is not readable and writable by user " in reason
    assert "(uid " in reason


def test_names_the_user_of_a_file_that_is_not_writable(public: Path) -> None:
    if os.geteuid() == 0:
        os.chown(public, 65534, 65534)
    path = public / "audit.jsonl"
    path.touch()
    path.chmod(0o444)
    assert f"the file {path} is not readable and writable by user " in why_unusable_to_nobody(path)
