"""The APIs as they can answer: pages whose marker is gone, nonsense, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("keystoneauth1", reason="no extra 'housekeeping' in this virtualenv")

import requests
from keystoneauth1.exceptions import ConnectFailure

from imagefilter.housekeeping import apis
from imagefilter.housekeeping.apis import API, quote_id
from imagefilter.housekeeping.cloud import AskFailed, Refused, read_server


class FakeAdapter:
    """An adapter of keystoneauth's that lists images, some of which are deleted between two pages."""

    def __init__(self, *ids: str) -> None:
        self.ids = list(ids)
        self.deleted_after: dict[int, list[str]] = {}  # by how many pages were read
        self.answers: list[requests.Response | Exception] = []  # come first
        self.requests: list[tuple[str, str]] = []

    def request(self, path: str, method: str, **arguments: Any) -> requests.Response:
        self.requests.append((method, path))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return self._list(arguments["params"])

    def _list(self, params: dict[str, str]) -> requests.Response:
        start = 0
        if "marker" in params:
            if params["marker"] not in self.ids:
                return response(404, "no such marker")
            start = self.ids.index(params["marker"]) + 1
        page = self.ids[start : start + int(params["limit"])]
        for image_id in self.deleted_after.pop(len(self.requests), []):
            self.ids.remove(image_id)
        return response(200, json.dumps({"images": [{"id": image_id} for image_id in page]}))


def response(status: int, text: str = "") -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = text.encode()
    return made


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "PAGE", 3)


def read_all(adapter: FakeAdapter) -> list[str]:
    return [document["id"] for page in API(adapter, "image").pages("/images", "images", {}) for document in page]


def test_reads_page_by_page() -> None:
    assert read_all(FakeAdapter(*"abcdefgh")) == list("abcdefgh")


@pytest.mark.parametrize("deleted", ["c", "bc"])
def test_a_marker_that_is_deleted_is_passed_over(deleted: str) -> None:
    adapter = FakeAdapter(*"abcdefgh")
    adapter.deleted_after = {1: list(deleted)}
    assert read_all(adapter) == list("abcdefgh")


def test_a_page_that_is_deleted_as_a_whole_is_an_error() -> None:
    adapter = FakeAdapter(*"abcdefgh")
    adapter.deleted_after = {1: list("abc")}
    with pytest.raises(AskFailed, match="all of a page was deleted"):
        read_all(adapter)


def test_a_list_without_an_end_is_an_error() -> None:
    adapter = FakeAdapter()
    page = json.dumps({"images": [{"id": "a"}]})
    adapter.answers = [response(200, page)] * 9
    with pytest.raises(AskFailed, match="again and again"):
        read_all(adapter)


@pytest.mark.parametrize(
    "text", ["", "<html>", "[]", "7", "{}", '{"images": {}}', '{"images": [7]}', '{"images": [{"name": "x"}]}']
)
def test_nonsense_is_an_error(text: str) -> None:
    adapter = FakeAdapter()
    adapter.answers = [response(200, text)]
    with pytest.raises(AskFailed, match="image: GET /images: "):
        read_all(adapter)


def test_a_connection_that_fails_is_an_error() -> None:
    adapter = FakeAdapter()
    adapter.answers = [ConnectFailure("refused")]
    with pytest.raises(AskFailed, match="image: GET /images: refused"):
        read_all(adapter)


@pytest.mark.parametrize(("status", "expected"), [(204, True), (202, True), (404, False), (410, False)])
def test_a_deletion_succeeds_or_finds_nothing(status: int, expected: bool) -> None:
    adapter = FakeAdapter()
    adapter.answers = [response(status)]
    assert API(adapter, "image").delete("/images/a") is expected


@pytest.mark.parametrize(
    ("status", "error"), [(403, Refused), (409, Refused), (400, Refused), (500, AskFailed), (503, AskFailed)]
)
def test_a_deletion_is_refused_or_unknown_and_tried_once(status: int, error: type[Exception]) -> None:
    adapter = FakeAdapter()
    adapter.answers = [response(status, "because\nof that")]
    with pytest.raises(error, match=f"{status} because of that"):
        API(adapter, "image").delete("/images/a")
    assert adapter.requests == [("DELETE", "/images/a")]


def test_an_id_stays_in_its_segment() -> None:
    assert quote_id("../servers?x#y") == "..%2Fservers%3Fx%23y"


@pytest.mark.parametrize("document", [{}, {"status": "ACTIVE"}, {"status": "UNKNOWN"}])
def test_a_server_without_its_task_state_is_unknown(document: dict[str, Any]) -> None:
    assert read_server(document).status == "UNKNOWN"
