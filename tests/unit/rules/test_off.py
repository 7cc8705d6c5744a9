"""``mode = off``: as if the filter were not there, but for records that are written if they can be."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.policy.config import ConfigError
from tests.cases import CASES, PROJECT, SERVER, Case, image
from tests.unit.fakes import AUTHENTICATED, PATH, Guarded, Journalled
from tests.wsgi import build_environ, send

REFUSED = [case for case in CASES if case.status != 202]


class Reader:
    """A compute API that reads the body as a server frames it, and responds with what it read."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        size = int(environ.get("CONTENT_LENGTH") or -1)
        body = environ["wsgi.input"].read(size)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


def write(folder: Path, text: str) -> dict[str, str]:
    (folder / "imagefilter.conf").write_text(text)
    return {"oslo_config_file": str(folder / "imagefilter.conf")}


@pytest.mark.parametrize("case", REFUSED, ids=[case.id for case in REFUSED])
def test_every_request_is_forwarded_byte_for_byte(case: Case) -> None:
    app = filter_factory({}, mode="off", **case.options)(Reader())
    path = "/v2.1" + case.path.format(server=SERVER)
    response = send(app, "POST", path, case.body, case.headers, **AUTHENTICATED)
    assert (response.status_int, response.body) == (200, case.body)


def test_a_request_without_a_token_is_forwarded() -> None:
    assert Guarded(mode="off").post(image(), **{"nova.context": None}).status_int == 202


def test_rule_modes_do_not_count() -> None:
    guarded = Guarded(mode="off", rule_modes="name-required:enforce,metadata-type:warn")
    assert guarded.post({"createImage": {}}).status_int == 202
    assert "Warning" not in guarded.post(image(metadata=5)).headers


@pytest.mark.parametrize("length", ["+5", "x", "1e3", " 7"])
def test_a_length_that_is_not_a_number_is_left_to_the_compute_api(length: str) -> None:
    guarded = Guarded(mode="off")
    assert guarded.post(image(), CONTENT_LENGTH=length).status_int == 202
    assert guarded.compute.requests[0]["CONTENT_LENGTH"] == length


def test_a_body_over_the_limit_goes_on_unread() -> None:
    body = json.dumps(image("x" * 100)).encode()
    response = send(filter_factory({}, mode="off", max_body_bytes="10")(Reader()), "POST", PATH, body, **AUTHENTICATED)
    assert response.body == body


@pytest.mark.parametrize("size", [11, 12, 70_000])
def test_a_chunked_body_over_the_limit_goes_on_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"y" * (size % 256)
    environ = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body)}
    app = filter_factory({}, mode="off", max_body_bytes="10")(Reader())
    assert send(app, "POST", PATH, b"", **AUTHENTICATED, **environ).body == body


@pytest.mark.parametrize(("start", "rest"), [(70_000, 1), (1, 70_000), (70_000, 70_000)])
def test_a_chunked_body_over_the_limit_can_be_read_in_steps(start: int, rest: int) -> None:
    body = b"x" * start + b"y" * rest
    environ = build_environ("POST", PATH, b"", None, **AUTHENTICATED)
    environ.update({"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(body)})
    streams: list[Any] = []
    app = filter_factory({}, mode="off", max_body_bytes=str(start))(
        lambda environ, start_response: streams.append(environ["wsgi.input"]) or []
    )
    app(environ, lambda *args: None)
    assert b"".join(iter(lambda: streams[0].read(1000), b"")) == body


def test_a_body_that_ends_early_arrives_as_far_as_it_came() -> None:
    guarded = Guarded(mode="off")
    guarded.post(b'{"createImage"', CONTENT_LENGTH="99")
    assert (guarded.bodies, guarded.compute.requests[0]["CONTENT_LENGTH"]) == ([b'{"createImage"'], "99")


def test_the_stream_that_goes_on_unread_can_be_read_by_lines() -> None:
    lines = [b"first\n", b"second\n", b"third"]
    environ = build_environ("POST", PATH, b"", None, **AUTHENTICATED)
    environ.update({"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"".join(lines))})
    streams: list[Any] = []
    app = filter_factory({}, mode="off", max_body_bytes="3")(
        lambda environ, start_response: streams.append(environ["wsgi.input"]) or []
    )
    app(environ, lambda *args: None)
    assert list(streams[0]) == lines


def test_an_unreadable_body_is_recorded_and_forwarded(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path, mode="off")
    assert guarded.post(b"{").status_int == 202
    verdict, outcome = guarded.records()
    assert (verdict["attachments"][0]["content"]["verdict"], outcome["action"]) == ("allow", "unknown")


def test_a_stranger_writes_no_record(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path, mode="off")
    assert guarded.post(image(), **{"nova.context": None}).status_int == 202
    assert guarded.records() == []


# --- the projects


def test_a_project_with_a_mode_of_its_own_stays_on(tmp_path: Path) -> None:
    options = write(tmp_path, f"[imagefilter]\nmode = off\n[imagefilter:project:{PROJECT}]\nmode = enforce\n")
    guarded = Guarded(**options, max_body_bytes="300")
    assert guarded.post({"createImage": {}}).status_int == 400
    assert guarded.post(image("x" * 300)).status_int == 413
    assert guarded.post(b"{", CONTENT_LENGTH="9").status_int == 400


def test_a_project_that_is_off_gets_no_413_where_others_do(tmp_path: Path) -> None:
    options = write(tmp_path, f"[imagefilter:project:{PROJECT}]\nmode = off\n")
    guarded = Guarded(**options, max_body_bytes="100")
    large = image("x" * 300)
    assert guarded.post(large).status_int == 202
    stranger = {"nova.context": None, "HTTP_X_AUTH_TOKEN": "t"}
    own, other = f"/v2.1/{PROJECT}/servers/{SERVER}/action", f"/v2.1/{'0' * 32}/servers/{SERVER}/action"
    assert guarded.post(large, own, **stranger).status_int == 202
    assert guarded.post(large, other, **stranger).status_int == 413


# --- errors do not keep it from being used

BROKEN = {
    "an unknown option": "[imagefilter]\nmode = off\nnonsense = 1\n",
    "a value that does not parse": "[imagefilter]\nmode = off\nmetadata_items = many\n",
    "a pattern that is not one": "[imagefilter]\nmode = off\nname_pattern = (\n",
    "no action": "[imagefilter]\nactions =\nmode = off\n",
    "an unknown section": "[imagefilter:projekt:x]\nmode = warn\n[imagefilter]\nmode = off\n",
    "a misspelt section": "[imagfilter]\nmode = warn\n[imagefilter]\nmode = off\n",
    "a project section with an error": "[imagefilter]\nmode = off\n[imagefilter:project:demo]\nmode = warn\n",
    "a line that is not one": "[imagefilter]\nsnapshots_enabled\nmode = off\n",
    "an open bracket": "[imagefilter]\nmode = off\n[oslo\n",
    "a substitution of nothing": "[imagefilter]\nmode = off\naudit_journal = $log_dir/audit.jsonl\n",
    "a journal nowhere": "[imagefilter]\nmode = off\naudit_journal = /nowhere/audit.jsonl\n",
    "Latin-1": "[imagefilter]\nmode = off\n# \xe9\n",
}


def load_broken(folder: Path, text: str) -> Guarded:
    path = folder / "imagefilter.conf"
    path.write_bytes(text.encode("latin-1"))
    return Guarded(oslo_config_file=str(path))


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_no_other_error_keeps_it_from_loading(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    guarded = load_broken(tmp_path, text)
    assert guarded.post({"createImage": {}}).status_int == 202
    assert [record for record in caplog.records if record.levelname == "ERROR"], "the error is logged"


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_the_same_error_stops_a_start_in_enforce(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_broken(tmp_path, text.replace("mode = off", "mode = enforce"))


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_it_can_be_reached_by_a_reload(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefilter.policy.store._SETTLING_SECONDS", -1)
    path = tmp_path / "imagefilter.conf"
    path.write_text("[imagefilter]\nmetadata_items = 3\n")
    guarded = Guarded(oslo_config_file=str(path), reload_interval="0")
    assert guarded.post({"createImage": {}}).status_int == 400
    path.write_bytes(text.encode("latin-1"))
    assert guarded.post({"createImage": {}}).status_int == 202


def test_a_missing_file_is_logged_where_the_paste_section_says_off(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded(oslo_config_file="/nowhere/imagefilter.conf", mode="off")
    assert guarded.post({"createImage": {}}).status_int == 202
    assert "/nowhere/imagefilter.conf" in caplog.text


def test_a_mode_in_the_paste_section_wins_over_the_file(tmp_path: Path) -> None:
    options = write(tmp_path, "[imagefilter]\nmode = off\n")
    assert Guarded(**options, mode="enforce").post({"createImage": {}}).status_int == 400
    with pytest.raises(ConfigError):
        Guarded(**write(tmp_path, "[imagefilter]\nmode = off\nnonsense = 1\n"), mode="enforce")
