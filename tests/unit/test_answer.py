"""The compute API's answer is watched and not changed, however it is given."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from imagefilter import filter_factory
from tests.cases import image
from tests.requests import environ_of
from tests.unit.small import PATH, VOUCHED

IMAGE = "0b3b4ab5-2d24-4f7b-b1c6-3a1f3d1b5a0e"
JSON = ("Content-Type", "application/json")
LOCATION = ("Location", f"http://glance:9292/images/{IMAGE}")
BODY = json.dumps({"image_id": IMAGE}).encode()

App = Callable[[dict[str, Any], Any], Any]


class Run:
    """One accepted request through the filter and ``app``, by a server that does all that PEP 3333 allows."""

    def __init__(self, folder: Path, app: App, read: int | None = None, kind: Any = None) -> None:
        path = folder / "audit.jsonl"
        self.started: list[Any] = []
        self.received = b""
        self.error: BaseException | None = None
        guarded = filter_factory({}, audit_journal=str(path), actions="createImage,createBackup,shelve")(app)
        chunks: Any = None
        try:
            chunks = guarded(environ_of("POST", PATH, kind or image(), **VOUCHED), self._start)
            for number, chunk in enumerate(chunks):
                if number == read:
                    break
                self.received += chunk
        except BaseException as error:
            self.error = error
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert [record["eventType"] for record in records] == ["control", "activity"], "exactly one outcome"
        self.outcome = records[1]["outcome"]
        self.content = records[1]["attachments"][0]["content"]

    def _start(self, *args: Any) -> Callable[[bytes], object]:
        self.started.append(args)
        return lambda data: setattr(self, "received", self.received + data)


def listed(status: str, headers: list[tuple[str, str]], *chunks: bytes) -> App:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers)
        return list(chunks)

    return app


@pytest.mark.parametrize(
    ("headers", "body", "image_id"),
    [
        ([LOCATION], b"", IMAGE),
        ([("location", f"http://glance/v2/images/{IMAGE}/")], b"", IMAGE),
        ([("Location", "http://glance/images/LINUX")], b"", "LINUX"),
        ([JSON], BODY, IMAGE),
        ([("content-type", "application/json; charset=UTF-8")], BODY, IMAGE),
        ([JSON, LOCATION], b"{}", IMAGE),
        ([], BODY, None),
        ([("Content-Type", "text/html")], BODY, None),
        ([JSON], b"[1]", None),
        ([JSON], b'{"image_id": 5}', None),
        ([JSON], b"[" * 4000, None),
        ([JSON], b"\xff", None),
        ([JSON], BODY.ljust(4096), IMAGE),
        ([JSON], BODY.ljust(4097), None),
        ([LOCATION], b"x" * 100000, IMAGE),
    ],
)
def test_the_images_id(tmp_path: Path, headers: Any, body: bytes, image_id: str | None) -> None:
    for number, chunks in enumerate(([body], [body[:7], b"", body[7:]])):
        (tmp_path / str(number)).mkdir()
        run = Run(tmp_path / str(number), listed("202 Accepted", headers, *chunks))
        assert (run.content["image_id"], run.content["status"], run.outcome) == (image_id, 202, "success")
        assert run.received == body
        assert run.started == [("202 Accepted", headers)]


@pytest.mark.parametrize(
    ("status", "outcome"), [("404 Not Found", "failure"), ("503 X", "failure"), ("200 OK", "success")]
)
def test_only_a_202_names_an_image(tmp_path: Path, status: str, outcome: str) -> None:
    run = Run(tmp_path, listed(status, [JSON, LOCATION], BODY))
    assert (run.content["status"], run.content["image_id"], run.outcome) == (int(status[:3]), None, outcome)


def test_a_lazy_start_response(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("202 Accepted", [JSON])
        yield BODY[:5]
        yield BODY[5:]

    run = Run(tmp_path, app)
    assert (run.content["image_id"], run.received) == (IMAGE, BODY)


def test_what_is_written_counts_as_body(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("202 Accepted", [JSON])
        write(BODY[:5])
        write(BODY[5:])
        return []

    run = Run(tmp_path, app)
    assert (run.content["image_id"], run.received) == (IMAGE, BODY)


def test_the_last_status_counts(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("202 Accepted", [LOCATION])
        start_response("500 Broken", [], ("type", "value", "trace"))
        return [b""]

    run = Run(tmp_path, app)
    assert (run.content["status"], run.content["image_id"], run.outcome) == (500, None, "failure")
    assert run.started[1] == ("500 Broken", [], ("type", "value", "trace"))


class Mine(Exception):
    pass


def raising(environ: dict[str, Any], start_response: Any) -> Any:
    raise Mine("secret")


def raising_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("202 Accepted", [LOCATION])
    yield b"x"
    raise Mine("secret")


class RaisingClose(list):  # type: ignore[type-arg]
    def close(self) -> None:
        raise Mine("secret")


def raising_at_close(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("202 Accepted", [])
    return RaisingClose([b"x"])


@pytest.mark.parametrize(("app", "status"), [(raising, None), (raising_late, 202)])
def test_an_exception_is_an_outcome_and_goes_on_its_way(tmp_path: Path, app: App, status: int | None) -> None:
    run = Run(tmp_path, app)
    assert isinstance(run.error, Mine)
    assert (run.content["error"], run.content["status"], run.outcome) == ("Mine", status, "failure")
    assert "secret" not in (tmp_path / "audit.jsonl").read_text()


def test_an_exception_of_close(tmp_path: Path) -> None:
    with pytest.raises(Mine):
        Run(tmp_path, raising_at_close)
    answer = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[1])
    assert answer["outcome"] == "success", "the answer was whole by then"


def test_an_exception_of_a_close_that_comes_early(tmp_path: Path) -> None:
    with pytest.raises(Mine):
        Run(tmp_path, raising_at_close, read=0)
    answer = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[1])
    assert (answer["outcome"], answer["reason"]["reasonCode"]) == ("failure", "Mine")


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_exceptions_that_are_no_errors(tmp_path: Path, exception: type[BaseException]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise exception

    run = Run(tmp_path, app)
    assert isinstance(run.error, exception)
    assert (run.content["error"], run.outcome) == (exception.__name__, "failure")


def test_a_client_that_goes_away(tmp_path: Path) -> None:
    closed: list[bool] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            yield from (BODY, b" ", b" ")

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("202 Accepted", [JSON])
        return Chunks()

    run = Run(tmp_path, app, read=1)
    assert (run.content["image_id"], run.outcome, closed) == (IMAGE, "success", [True])


def test_nothing_is_answered_before_the_client_goes_away(tmp_path: Path) -> None:
    class Lazy:
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("nobody reads it")

    started: list[Any] = []
    path = tmp_path / "audit.jsonl"
    app = filter_factory({}, audit_journal=str(path))(lambda environ, start_response: Lazy())
    app(environ_of("POST", PATH, image(), **VOUCHED), lambda *args: started.append(args)).close()
    answer = json.loads(path.read_text().splitlines()[1])
    assert (answer["outcome"], started) == ("unknown", [])


def test_shelve_names_no_image(tmp_path: Path) -> None:
    assert Run(tmp_path, listed("202 Accepted", []), kind={"shelve": None}).content["image_id"] is None


def test_without_a_journal_records_are_lines_of_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "imagefilter.audit")
    app = filter_factory({})(listed("202 Accepted", [LOCATION], b""))
    assert "audit_journal is not set" in caplog.text
    list(app(environ_of("POST", PATH, image(), **VOUCHED), lambda *args: None))
    lines = [record for record in caplog.records if record.name == "imagefilter.audit"]
    assert [json.loads(line.getMessage())["eventType"] for line in lines] == ["control", "activity"]
    assert {line.levelname for line in lines} == {"INFO"}
