"""The compute API's response is observed and not changed, however it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from imagefilter import filter_factory
from tests.cases import image
from tests.records import parse_requests
from tests.unit.fakes import AUTHENTICATED, PATH, get_content
from tests.wsgi import build_environ

IMAGE = "0b3b4ab5-2d24-4f7b-b1c6-3a1f3d1b5a0e"
JSON = ("Content-Type", "application/json")
LOCATION = ("Location", f"http://glance:9292/images/{IMAGE}")
BODY = json.dumps({"image_id": IMAGE}).encode()

App = Callable[[dict[str, Any], Any], Any]


class Run:
    """One accepted request through the filter and ``app``, by a server that does all that PEP 3333 allows.

    :param read: how many chunks the client reads before it goes away; None is all.
    """

    def __init__(self, folder: Path, app: App, document: Any = None, read: int | None = None) -> None:
        self.journal = folder / "audit.jsonl"
        self.started: list[Any] = []
        self.received = b""
        self.error: BaseException | None = None
        guarded = filter_factory({}, audit_journal=str(self.journal), actions="createImage,shelve")(app)
        chunks: Any = None
        try:
            chunks = guarded(build_environ("POST", PATH, document or image(), **AUTHENTICATED), self._start)
            for number, chunk in enumerate(chunks):
                if number == read:
                    break
                self.received += chunk
        except BaseException as error:
            self.error = error
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        record = read_outcome(self.journal)
        self.outcome = record["outcome"]
        self.content = get_content(record)

    def _start(self, *args: Any) -> Callable[[bytes], object]:
        self.started.append(args)
        return self._write

    def _write(self, data: bytes) -> None:
        self.received += data


def read_outcome(journal: Path) -> dict[str, Any]:
    """Return the outcome of the one request in a journal."""
    verdict, outcome = parse_requests(journal.read_text().splitlines())
    assert (verdict["eventType"], outcome["eventType"]) == ("control", "activity")
    return outcome


def responding(status: str, headers: list[tuple[str, str]], *chunks: bytes) -> App:
    """Return an application that responds with a list of chunks."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers)
        return list(chunks)

    return app


# --- the id of the image


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
@pytest.mark.parametrize("split", [None, 7])
def test_reads_the_image_id(
    tmp_path: Path, headers: list[tuple[str, str]], body: bytes, image_id: str | None, split: int | None
) -> None:
    chunks = [body[:split], b"", body[len(body[:split]) :]]
    run = Run(tmp_path, responding("202 Accepted", headers, *chunks))
    assert (run.content["image_id"], run.content["status"], run.outcome) == (image_id, 202, "success")
    assert run.received == body
    assert run.started == [("202 Accepted", headers)]


@pytest.mark.parametrize(
    ("status", "outcome"), [("404 Not Found", "failure"), ("503 X", "failure"), ("200 OK", "success")]
)
def test_only_a_202_names_an_image(tmp_path: Path, status: str, outcome: str) -> None:
    run = Run(tmp_path, responding(status, [JSON, LOCATION], BODY))
    assert (run.content["status"], run.content["image_id"], run.outcome) == (int(status[:3]), None, outcome)


def test_shelve_names_no_image(tmp_path: Path) -> None:
    assert Run(tmp_path, responding("202 Accepted", []), {"shelve": None}).content["image_id"] is None


# --- how it comes


def test_the_seconds_until_it_begins(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        time.sleep(0.01)
        start_response("202 Accepted", [])
        return []

    assert 0.01 <= Run(tmp_path, app).content["seconds"] < 30


def test_a_response_may_start_late(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("202 Accepted", [JSON])
        yield BODY[:5]
        yield BODY[5:]

    run = Run(tmp_path, app)
    assert (run.content["image_id"], run.received) == (IMAGE, BODY)


def test_a_body_may_be_written(tmp_path: Path) -> None:
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


# --- exceptions


class Broken(Exception):
    pass


class BrokenClose(list):  # type: ignore[type-arg]
    """Chunks that can be read, and not closed."""

    def close(self) -> None:
        raise Broken("secret")


def raising(environ: dict[str, Any], start_response: Any) -> Any:
    raise Broken("secret")


def raising_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("202 Accepted", [LOCATION])
    yield b"x"
    raise Broken("secret")


def raising_at_close(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("202 Accepted", [])
    return BrokenClose([b"x"])


@pytest.mark.parametrize(("app", "status", "image_id"), [(raising, None, None), (raising_late, 202, IMAGE)])
def test_an_exception_is_an_outcome_and_is_passed_on(
    tmp_path: Path, app: App, status: int | None, image_id: str | None
) -> None:
    run = Run(tmp_path, app)
    assert isinstance(run.error, Broken)
    assert (run.content["error"], run.content["status"], run.outcome) == ("Broken", status, "failure")
    assert run.content["image_id"] == image_id
    assert (run.content["seconds"] > 0) == (status is not None), "the time until the response began"
    assert "secret" not in run.journal.read_text()


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_passes_on_exceptions_that_are_no_errors(tmp_path: Path, exception: type[BaseException]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise exception

    run = Run(tmp_path, app)
    assert isinstance(run.error, exception)
    assert (run.content["error"], run.outcome) == (exception.__name__, "failure")


def test_an_exception_of_close_after_the_whole_response(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        Run(tmp_path, raising_at_close)
    assert read_outcome(tmp_path / "audit.jsonl")["outcome"] == "success", "the response was whole by then"


def test_an_exception_of_close_before_the_end_of_the_response(tmp_path: Path) -> None:
    with pytest.raises(Broken):
        Run(tmp_path, raising_at_close, read=0)
    record = read_outcome(tmp_path / "audit.jsonl")
    assert (record["outcome"], record["reason"]["reasonCode"]) == ("failure", "Broken")


# --- clients that go away


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


def test_a_client_that_goes_away_before_the_response(tmp_path: Path) -> None:
    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("nobody reads it")

    started: list[Any] = []
    journal = tmp_path / "audit.jsonl"
    app = filter_factory({}, audit_journal=str(journal))(lambda environ, start_response: Chunks())
    app(build_environ("POST", PATH, image(), **AUTHENTICATED), lambda *args: started.append(args)).close()
    assert (read_outcome(journal)["outcome"], started) == ("unknown", [])
