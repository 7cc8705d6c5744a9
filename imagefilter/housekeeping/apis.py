"""The APIs of a cloud that keeping house asks, with retries and time limits."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from requests import Response

from imagefilter.housekeeping.cloud import AskFailed, Document, Refused

PAGE = 1000  # the most that each of the APIs lists at once by default

_TIMEOUT = 120  # seconds for one response: a page of 1000 images takes Glance some
_RETRIES = 5
_RETRIED = [429, 500, 502, 503, 504]


class API:
    """One API of the cloud: an adapter, and how errors name it.

    :param microversion: for all questions; empty: the API has none.
    """

    def __init__(self, adapter: Adapter, name: str, microversion: str = "") -> None:
        self._adapter = adapter
        self._arguments: dict[str, Any] = {"raise_exc": False, "timeout": _TIMEOUT, "connect_retries": 2}
        if microversion:
            self._arguments["microversion"] = microversion
        self.name = name
        self.clock_error: datetime.timedelta | None = None  # between this host and the API, by its last response

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Document:
        """Return what is at a path.

        :raises AskFailed: if it is not there.
        """
        document = self.find(path, params)
        if document is None:
            raise AskFailed(f"{self.name}: GET {path}: 404")
        return document

    def find(self, path: str, params: Mapping[str, str] | None = None) -> Document | None:
        """Return what is at a path; None if there is nothing.

        :raises AskFailed: if the API can't say.
        """
        response = self._request("GET", path, params=params, status_code_retries=_RETRIES)
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise AskFailed(f"{self.name}: GET {path}: {describe(response)}")
        return self._decode(path, response)

    def delete(self, path: str) -> bool:
        """Delete what is at a path, trying once; return False if it was not there.

        :raises Refused: if the API refuses.
        :raises AskFailed: if nobody knows whether it is deleted.
        """
        response = self._request("DELETE", path)
        if response.status_code in (404, 410):
            return False
        if response.status_code in (200, 202, 204):
            return True
        if response.status_code < 500:
            raise Refused(response.status_code, describe(response))
        raise AskFailed(f"{self.name}: DELETE {path}: {describe(response)}")

    def pages(self, path: str, key: str, params: Mapping[str, str]) -> Iterator[list[Document]]:
        """List what is at a path, page by page.

        What the last page ended with may be deleted meanwhile, and is no marker then: the one before it is tried, and
        what comes twice is left out.
        """
        seen: list[str] = []  # the ids of the last page
        while True:
            page = self._page(path, key, params, seen)
            if not page:
                return
            known = set(seen)
            new = [document for document in page if document["id"] not in known]
            if not new:
                raise AskFailed(f"{self.name}: GET {path}: it lists the same page again and again")
            yield new
            seen = [str(document["id"]) for document in page]

    def _page(self, path: str, key: str, params: Mapping[str, str], seen: list[str]) -> list[Document]:
        if not seen:
            return self._list(path, key, {**params, "limit": str(PAGE)}) or []
        for marker in reversed(seen):
            page = self._list(path, key, {**params, "limit": str(PAGE), "marker": marker})
            if page is not None:
                return page
        raise AskFailed(f"{self.name}: GET {path}: all of a page was deleted while it was read: try again")

    def _list(self, path: str, key: str, params: Mapping[str, str]) -> list[Document] | None:
        """Return a page; None if its marker is gone."""
        response = self._request("GET", path, params=params, status_code_retries=_RETRIES)
        if response.status_code in (400, 404) and "marker" in params:
            return None
        if response.status_code != 200:
            raise AskFailed(f"{self.name}: GET {path}: {describe(response)}")
        page = self._decode(path, response).get(key)
        if not isinstance(page, list) or not all(isinstance(item, dict) and "id" in item for item in page):
            raise AskFailed(f"{self.name}: GET {path}: there is no list '{key}' in the response")
        return page

    def _request(self, method: str, path: str, **arguments: Any) -> Response:
        arguments = {**self._arguments, "retriable_status_codes": _RETRIED, **arguments}
        try:
            response: Response = self._adapter.request(path, method, **arguments)
        except exceptions.ClientException as error:
            raise AskFailed(f"{self.name}: {method} {path}: {error}") from error
        if "Date" in response.headers:
            self.clock_error = _read_clock_error(response.headers["Date"])
        return response

    def _decode(self, path: str, response: Response) -> Document:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise AskFailed(f"{self.name}: GET {path}: the response is no JSON object")
        return document


def _read_clock_error(date: str) -> datetime.timedelta | None:
    try:
        time = parsedate_to_datetime(date)
        return abs(datetime.datetime.now(datetime.timezone.utc) - time)
    except (TypeError, ValueError):
        return None


def quote_id(text: str) -> str:
    """Return an id as a segment of a path: some come from tenants."""
    return quote(text, safe="")


def describe(response: Response) -> str:
    """Return the status of a response, and the beginning of what it says, in one line."""
    return f"{response.status_code} {' '.join(response.text[:200].split())}"
