"""The journal keeps what it was given, through everything that happens to files."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory, journal
from imagefilter.journal import append, unusable
from imagefilter.policy import ConfigError
from tests.cases import image
from tests.unit.small import VOUCHED, Guarded

FORK = multiprocessing.get_context("fork")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "audit.jsonl")


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder where a sync costs nothing: tests of interleaving need no disk."""
    folder = Path("/dev/shm", f"imagefilter-{os.getpid()}")
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def lines(path: str | Path) -> list[bytes]:
    return Path(path).read_bytes().splitlines()


def test_a_record_is_a_line(path: str) -> None:
    append(path, b'{"a": 1}')
    append(path, b'{"a": 2}')
    assert Path(path).read_bytes() == b'{"a": 1}\n{"a": 2}\n'


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_its_mode_is_0640(path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        append(path, b"{}")
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_nobody_else_may_read_it_for_a_moment(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, original = [], os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args) or original(*args))
    append(path, b"{}")
    assert [args[2] for args in opened if args[1] & os.O_CREAT] == [0o640]


def test_two_processes_may_begin_it_at_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.open

    def another_is_faster(name: str, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            Path(path).write_bytes(b"theirs\n")
        return original(name, flags, *mode)

    monkeypatch.setattr(os, "open", another_is_faster)
    append(path, b"ours")
    assert lines(path) == [b"theirs", b"ours"]


def test_what_is_no_file_is_not_written_to() -> None:
    with pytest.raises(OSError, match=r"^/dev/null is no regular file$"):
        append("/dev/null", b"{}")


def test_the_mode_of_a_file_that_is_there_is_the_operators(path: str) -> None:
    Path(path).touch(mode=0o600)
    append(path, b"{}")
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_torn_line_is_closed_by_the_next_writer(path: str) -> None:
    append(path, b'{"whole": 1}')
    with open(path, "ab") as file:
        file.write(b'{"torn": ')
    append(path, b'{"whole": 2}')
    assert lines(path) == [b'{"whole": 1}', b'{"torn": ', b'{"whole": 2}']


def test_records_of_eight_processes_are_whole(fast: Path) -> None:
    path = str(fast / "audit.jsonl")
    processes = [FORK.Process(target=write_many, args=(path, number, 5000)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    seen = [json.loads(line) for line in lines(path)]
    for number in range(8):
        assert [each["n"] for each in seen if each["writer"] == number] == list(range(5000)), "none lost, in order"
    assert len(seen) == 40000


def write_many(path: str, writer: int, count: int) -> None:
    for n in range(count):
        filler = "x" * (n % 7 * 900)  # up to more than a page
        append(path, json.dumps({"writer": writer, "n": n, "filler": filler}).encode())


def test_killed_writers_cut_at_most_their_own_last_line(fast: Path) -> None:
    path = str(fast / "audit.jsonl")
    for number in range(100):
        process = FORK.Process(target=write_many, args=(path, number, 10**9))
        process.start()
        time.sleep(0.003 + number % 10 / 1000)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    append(path, b'{"writer": "last"}')
    broken = [line for line in lines(path) if not is_json(line)]
    assert len(broken) <= 100
    whole = [json.loads(line) for line in lines(path) if is_json(line)]
    for number in range(100):
        counted = [each["n"] for each in whole if each["writer"] == number]
        assert counted == list(range(len(counted)))


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_forked_filter_writes_on(tmp_path: Path) -> None:
    """As under a server that loads the application and then forks."""
    guarded = Guarded(audit_journal=str(tmp_path / "audit.jsonl"))
    processes = [FORK.Process(target=lambda: [guarded.post(image()) for _ in range(20)]) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    events = [json.loads(line) for line in lines(tmp_path / "audit.jsonl")]
    assert len(events) == 160
    assert len({event["id"] for event in events}) == 160


def test_rotation_by_renaming_loses_nothing(fast: Path) -> None:
    path = fast / "audit.jsonl"
    writers = [FORK.Process(target=write_many, args=(str(path), number, 2000)) for number in range(3)]
    for writer in writers:
        writer.start()
    rotated = 0
    while any(writer.is_alive() for writer in writers):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, fast / f"audit.jsonl.{rotated}")
            rotated += 1
        time.sleep(0.002)
    seen = [json.loads(line) for file in fast.iterdir() for line in lines(file)]
    assert rotated > 3
    assert len(seen) == 6000


def test_a_removed_file_takes_no_record_that_is_being_written_with_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, removals = os.fdatasync, iter([True, True])

    def removing(descriptor: int) -> None:
        sync(descriptor)
        if next(removals, False):
            os.remove(path)

    monkeypatch.setattr(os, "fdatasync", removing)
    append(path, b'{"n": 1}')
    assert lines(path) == [b'{"n": 1}']


def test_a_file_that_is_always_removed_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: os.remove(path))
    with pytest.raises(FileNotFoundError, match="removed again and again"):
        append(path, b"{}")


def test_a_replaced_directory_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit.jsonl"
    append(str(path), b'{"n": 1}')
    folder.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        append(str(path), b'{"n": 2}')
    folder.mkdir()
    append(str(path), b'{"n": 3}')
    assert lines(path) == [b'{"n": 3}']
    assert lines(tmp_path / "old" / "audit.jsonl") == [b'{"n": 1}']


def test_a_truncated_file_is_written_to_from_its_start(path: str) -> None:
    """What logrotate's copytruncate does; what was written after its copy is lost, which the README says."""
    append(path, b'{"n": 1}')
    os.truncate(path, 0)
    append(path, b'{"n": 2}')
    assert Path(path).read_bytes() == b'{"n": 2}\n', "no hole"


def test_a_lock_that_is_never_given_back_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a hanging API: some other program may lock the file, and a stopped process keeps its lock."""
    append(path, b"{}")
    monkeypatch.setattr(journal, "LOCK_SECONDS", 0.05)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(TimeoutError, match="has held the lock"):
            append(path, b"{}")
    append(path, b"{}")


class Clock:
    """Time that passes while somebody sleeps, and then alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.later = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if len(self.slept) == 7:
            self.later()


def test_a_lock_is_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a millisecond at first, ten at most: of many threads that ask each half one none would get to write."""
    append(path, b"1")
    clock = Clock()
    monkeypatch.setattr(journal, "time", clock)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(TimeoutError, match="another process has held the lock for 5 s"):
            append(path, b"2")
        assert 5.0 < clock.now < 5.02
        clock.slept, clock.later = [], lambda: fcntl.flock(file, fcntl.LOCK_UN)
        append(path, b"3")
    assert clock.slept == [0.0005, 0.001, 0.002, 0.004, 0.008, 0.01, 0.01]
    assert lines(path) == [b"1", b"3"]


def test_the_name_of_a_new_file_is_on_disk_before_its_first_record(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "write", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))
    append(path, b"{}")
    append(path, b"{}")
    assert calls == ["fsync", "write", "fdatasync", "write", "fdatasync"]


def test_no_file_is_left_open(path: str) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    append(path, b"{}")
    before = count()
    for _ in range(50):
        append(path, b"{}")
        with pytest.raises(IsADirectoryError):
            append(os.path.dirname(path), b"{}")
    assert count() == before


# --- at load


def test_a_journal_that_can_be_kept(path: str) -> None:
    assert unusable("audit.jsonl") == "it is no absolute path"
    assert unusable(path) is None
    append(path, b"{}")
    assert unusable(path) is None


def test_what_this_process_may_do_counts(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its effective user, that is."""
    append(path, b"{}")
    asked: list[Any] = []
    monkeypatch.setattr(os, "access", lambda *args, **kwargs: asked.append((*args, kwargs)) or True)
    assert unusable(path) is None
    read_write, effective = os.R_OK | os.W_OK, {"effective_ids": True}
    assert asked == [(os.path.dirname(path), read_write | os.X_OK, effective), (path, read_write, effective)]


def test_a_journal_that_can_not_be_kept_stops_loading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for path, reason in (
        ("audit.jsonl", "it is no absolute path"),
        (str(tmp_path / "gone" / "audit.jsonl"), f"the directory {tmp_path / 'gone'} does not exist (for user "),
        (str(tmp_path / "fifo"), "is no regular file"),
        (str(tmp_path / "folder"), "is no regular file"),
        ("/dev/null", "is no regular file"),
    ):
        with pytest.raises(ConfigError) as caught:
            filter_factory({"__file__": "/etc/nova/api-paste.ini"}, audit_journal=path)
        assert f"audit_journal = {path} in " in str(caught.value)
        assert "/etc/nova/api-paste.ini" in str(caught.value)
        assert reason in str(caught.value)


# Root's power over files is given up after the imports: they may need it.
DROP = "import os\nif os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"


def unusable_to_nobody(path: Path) -> str:
    code = f"import sys\nfrom imagefilter.journal import unusable\n{DROP}print(unusable(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that everybody may reach (pytest's own are for its user alone)."""
    folder = Path(os.path.realpath("/var/tmp"), f"imagefilter-test-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_directory_that_is_not_writable_names_the_user(public: Path) -> None:
    public.chmod(0o555)
    reason = unusable_to_nobody(public / "audit.jsonl")
    assert f"the directory {public} is not readable and writable by user " in reason
    assert "(uid " in reason
    public.chmod(0o777)
    (public / "audit.jsonl").touch(mode=0o444)
    (public / "audit.jsonl").chmod(0o444)
    assert "is not readable and writable by user " in unusable_to_nobody(public / "audit.jsonl")


# --- while running: what the client gets, and what is forwarded


def test_a_new_journal_comes_with_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "imagefilter.conf"
    write_config(config, f"audit_journal = {tmp_path}/one.jsonl")
    guarded = Guarded(oslo_config_file=str(config), reload_interval="0")
    guarded.post(image())
    write_config(config, f"audit_journal = {tmp_path}/gone/two.jsonl")
    guarded.post(image())
    write_config(config, f"audit_journal = {tmp_path}/three.jsonl")
    guarded.post(image())
    assert (len(lines(tmp_path / "one.jsonl")), len(lines(tmp_path / "three.jsonl"))) == (4, 2)


def write_config(path: Path, option: str) -> None:
    path.write_text(f"[imagefilter]\n{option}\n")
    os.utime(path, (time.time() - 5, time.time() - 5))


@pytest.mark.parametrize("audit_on_error", ["deny", "allow"])
def test_a_journal_that_is_lost_and_found(
    tmp_path: Path, audit_on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit.jsonl"
    guarded = Guarded(audit_journal=str(path), audit_on_error=audit_on_error)
    guarded.post(image())
    folder.rename(tmp_path / "old")
    answers = [guarded.post(image()), guarded.post({"createImage": {}})]
    assert "a record could not be written (verdict) to audit_journal" in caplog.text
    assert f"audit_on_error is {audit_on_error}" in caplog.text
    (tmp_path / "old").rename(folder)
    guarded.post(image())
    if audit_on_error == "deny":
        message = {"message": "The request could not be recorded.", "code": 503}
        assert [each.json for each in answers] == [{"serviceUnavailable": message}] * 2
        assert len(guarded.bodies) == 2, "nothing is forwarded without its record"
    else:
        assert [each.status_int for each in answers] == [202, 400]
        assert len(guarded.bodies) == 3
    verdict = json.loads(lines(path)[2])
    # With "allow" the outcome is lost as well.
    assert verdict["attachments"][0]["content"]["unrecorded"] == (2 if audit_on_error == "deny" else 3)
    assert all("unrecorded" not in json.loads(lines(path)[n])["attachments"][0]["content"] for n in (0, 1, 3))


def test_an_outcome_that_can_not_be_written_changes_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.jsonl"

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        tmp_path.rename(f"{tmp_path}-gone")
        start_response("202 Accepted", [("X", "y")])
        return [b"answer"]

    from tests.requests import environ_of

    guarded = filter_factory({}, audit_journal=str(path))(app)
    started: list[Any] = []
    chunks = guarded(environ_of("POST", "/v2.1/x", image(), **VOUCHED), lambda *args: started.append(args))
    assert b"".join(chunks) == b"answer"
    Path(f"{tmp_path}-gone").rename(tmp_path)
    assert started == [("202 Accepted", [("X", "y")])]
    assert len(lines(path)) == 1
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "(outcome)" in record.getMessage()


def test_a_record_that_can_not_be_made_is_one_that_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    guarded = Guarded(audit_journal=str(path))
    monkeypatch.setattr("imagefilter.event._target", lambda *args: 1 / 0)
    assert guarded.post(image()).status_int == 503
    assert guarded.bodies == []
    [logged] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert logged.getMessage() == (
        f"a record could not be written (verdict) to audit_journal {path}: ZeroDivisionError: see the traceback; "
        "1 so far; audit_on_error is deny"
    )
    assert logged.exc_info
    assert logged.exc_info[0] is ZeroDivisionError
    caplog.clear()
    allowing = Guarded(audit_journal=str(path), audit_on_error="allow")
    assert allowing.post(image()).status_int == 202
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1, "its outcome has no verdict"


def test_the_log_names_what_the_disk_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    guarded = Guarded(audit_journal=str(path), audit_on_error="allow")
    monkeypatch.setattr(journal, "append", fail)
    assert guarded.post(image()).status_int == 202
    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [(logged.getMessage(), bool(logged.exc_info)) for logged in errors] == [
        (
            f"a record could not be written ({what}) to audit_journal {path}: OSError: [Errno 5] says the disk; "
            f"{number} so far; audit_on_error is allow",
            False,
        )
        for number, what in enumerate(("verdict", "outcome"), 1)
    ]


def fail(path: str, line: bytes) -> None:
    raise OSError(errno.EIO, "says the disk")


def test_records_that_are_lost_while_others_are_written_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    guarded = Guarded(audit_journal=str(path))
    others = iter([0, 2])

    def lose(path: str, line: bytes) -> None:
        for _ in range(next(others, 0)):  # what another thread does meanwhile
            guarded.post(image())
        fail(path, line)

    with monkeypatch.context() as broken:
        broken.setattr(journal, "append", lose)
        guarded.post(image())
        guarded.post(image())
    guarded.post(image())
    assert json.loads(lines(path)[0])["attachments"][0]["content"]["unrecorded"] == 4


# --- real faults of real file systems, in processes of their own

SERVE = """
import json, sys, logging
logging.basicConfig(level="ERROR", format="%%(message)s")
from tests.cases import image
from tests.unit.small import Guarded
%s
guarded = Guarded(audit_journal=sys.argv[1], audit_on_error=sys.argv[2])
for line in sys.stdin:
    before = len(guarded.bodies)
    answer = guarded.post(image(line.strip()))
    print(json.dumps([answer.status_int, len(guarded.bodies) - before]), flush=True)
"""


class Served:
    """A filter in a process of its own; :meth:`post` says the answer's status and whether it was forwarded."""

    def __init__(self, path: Path, audit_on_error: str, user: bool = False, **environ: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVE % (DROP if user else ""), str(path), audit_on_error],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environ},
        )

    def post(self, name: str) -> tuple[int, bool]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        status, forwarded = json.loads(self._process.stdout.readline())
        return status, bool(forwarded)

    def end(self) -> str:
        """End the process; what it logged at error."""
        _, errors = self._process.communicate()
        assert self._process.returncode == 0, errors
        return errors


REFUSED = (503, False)
ACCEPTED = (202, True)
ON_ERROR = pytest.mark.parametrize(("audit_on_error", "expected"), [("deny", REFUSED), ("allow", ACCEPTED)])


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@ON_ERROR
def test_a_full_disk(tmp_path: Path, audit_on_error: str, expected: tuple[int, bool]) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        served = Served(folder / "audit.jsonl", audit_on_error)
        answers = [served.post(str(number)) for number in range(60)]
        assert answers[0] == ACCEPTED
        assert answers[-1] == expected
        names = [name_in(line) for line in lines(folder / "audit.jsonl") if is_json(line)]
        forwarded = [str(number) for number, answer in enumerate(answers) if answer == ACCEPTED]
        assert audit_on_error == "allow" or set(forwarded) <= set(names), "no image without a record"
        subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
        assert served.post("again") == ACCEPTED
        whole = [line for line in lines(folder / "audit.jsonl") if is_json(line)]
        assert len(lines(folder / "audit.jsonl")) - len(whole) <= 1, "one torn line, closed by the next writer"
        assert json.loads(whole[-2])["attachments"][0]["content"]["unrecorded"] > 0
        assert "No space left on device" in served.end()


def name_in(line: bytes) -> str:
    content = json.loads(line)["attachments"][0]["content"]
    return str(content["image_name"]) if "verdict" in content else ""


@ON_ERROR
def test_a_disk_that_becomes_read_only(tmp_path: Path, audit_on_error: str, expected: tuple[int, bool]) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        served = Served(folder / "audit.jsonl", audit_on_error)
        assert served.post("1") == ACCEPTED
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        assert served.post("2") == expected
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        assert served.post("3") == ACCEPTED
        assert "Read-only file system" in served.end()


@ON_ERROR
def test_permission_that_is_lost(public: Path, audit_on_error: str, expected: tuple[int, bool]) -> None:
    public.chmod(0o777)
    path = public / "audit.jsonl"
    served = Served(path, audit_on_error, user=True)
    assert served.post("1") == ACCEPTED
    path.chmod(0o000)
    assert served.post("2") == expected
    path.chmod(0o666)
    assert served.post("3") == ACCEPTED
    assert "Permission denied" in served.end()


@pytest.fixture(scope="session")
def inject(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that makes the journal's system calls fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler: faults of the disk can't be injected")
    library = tmp_path_factory.mktemp("inject") / "inject.so"
    source = Path(__file__).parent / "inject.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


@ON_ERROR
@pytest.mark.parametrize(
    ("call", "number"),
    [("write", errno.EIO), ("write", errno.EDQUOT), ("write", errno.ENOSPC), ("fdatasync", errno.EIO)],
)
def test_a_failing_disk(
    tmp_path: Path, inject: str, call: str, number: int, audit_on_error: str, expected: tuple[int, bool]
) -> None:
    switch, path = tmp_path / "switch", tmp_path / "audit.jsonl"
    fault = {"LD_PRELOAD": inject, "FAULT": f"{call}={number}", "FAULT_SWITCH": str(switch)}
    served = Served(path, audit_on_error, **fault)
    assert served.post("1") == ACCEPTED
    switch.touch()
    assert served.post("2") == expected
    switch.unlink()
    assert served.post("3") == ACCEPTED
    assert all(is_json(line) for line in lines(path))
    assert os.strerror(number) in served.end()


def test_a_short_write_is_completed(tmp_path: Path, inject: str) -> None:
    served = Served(tmp_path / "audit.jsonl", "deny", LD_PRELOAD=inject, FAULT="short=100")
    assert [served.post(str(number)) for number in range(5)] == [ACCEPTED] * 5
    assert [is_json(line) for line in lines(tmp_path / "audit.jsonl")] == [True] * 10
    assert served.end() == ""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: a short write, then EFBIG."""
    path = tmp_path / "audit.jsonl"
    served = Served(path, "deny")
    assert served.post("1") == ACCEPTED
    size = path.stat().st_size
    limit(served, size + 100)
    assert served.post("2") == REFUSED
    assert path.stat().st_size == size + 100, "torn"
    limit(served, -1)
    assert served.post("3") == ACCEPTED
    assert [is_json(line) for line in lines(path)] == [True, True, False, True, True]
    assert "File too large" in served.end()


def limit(served: Served, size: int) -> None:
    """Set RLIMIT_FSIZE (1) of another process."""
    limits = (ctypes.c_ulong * 2)(size & (2**64 - 1), 2**64 - 1)
    assert ctypes.CDLL(None, use_errno=True).prlimit(served._process.pid, 1, limits, None) == 0


def test_the_log_of_a_loss_has_no_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    guarded = Guarded(audit_journal=str(tmp_path / "audit.jsonl"))
    tmp_path.rename(f"{tmp_path}-gone")
    guarded.post(image("secret-name", {"k": "secret-value"}), HTTP_X_AUTH_TOKEN="secret-token")
    Path(f"{tmp_path}-gone").rename(tmp_path)
    assert "could not be written" in caplog.text
    assert "secret" not in caplog.text
