"""The compute API's response to an admitted request, observed on its way to the client; only headers are added."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Longest response that is read for the id of an image, in bytes.
MAX_BODY_BYTES = 4096


class ObservedResponse:
    """A response as a WSGI iterable: it passes on what the application returns.

    ``status`` is None until the application called ``start_response``; ``seconds`` is the time until then; ``error``
    names the exception that ended the response. ``on_begin`` is called at each ``start_response`` and returns headers
    to add; ``on_end`` is called once, when the response has ended in any way.
    """

    def __init__(
        self,
        start_response: StartResponse,
        on_begin: Callable[[ObservedResponse], list[tuple[str, str]]],
        on_end: Callable[[ObservedResponse], None],
    ) -> None:
        self.status: int | None = None
        self.image_id: str | None = None
        self.seconds = 0.0
        self.error = ""
        self._start_response = start_response
        self._on_begin = on_begin
        self._on_end: Callable[[ObservedResponse], None] | None = on_end
        self._chunks: Iterable[bytes] = ()
        self._body: bytes | None = None  # None: not read
        self._started_at = time.monotonic()

    def call(self, app: WSGIApplication, environ: WSGIEnvironment) -> ObservedResponse:
        """Forward the request to the application."""
        try:
            self._chunks = app(environ, self._start)
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self._observe(chunk)
                yield chunk
        except GeneratorExit:  # the client is gone, and close() comes next
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._end()

    def close(self) -> None:
        """End the response: the server has sent it, or given it up."""
        try:
            if hasattr(self._chunks, "close"):
                self._chunks.close()
        except BaseException as error:
            self._end(error)
            raise
        self._end()

    def _start(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        self.seconds = time.monotonic() - self._started_at
        self.status = int(status[:3])
        self._observe_headers(headers)
        write = self._start_response(status, [*headers, *self._on_begin(self)], *exc_info)

        def observed_write(data: bytes) -> object:
            self._observe(data)
            return write(data)

        return observed_write

    def _observe_headers(self, headers: list[tuple[str, str]]) -> None:
        """Nova returns the image's id in ``Location``, and from microversion 2.45 on in the body instead."""
        self.image_id, self._body = None, None
        if self.status != 202:
            return
        for name, value in headers:
            if name.lower() == "location":
                self.image_id = value.rstrip("/").rpartition("/")[2] or None
            elif name.lower() == "content-type" and "json" in value:
                self._body = b""

    def _observe(self, chunk: bytes) -> None:
        if self._body is None:
            return
        if len(self._body) + len(chunk) > MAX_BODY_BYTES:
            self._body = None
        else:
            self._body += chunk

    def _end(self, error: BaseException | None = None) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        if error:
            self.error = type(error).__name__
        if self._body:
            self.image_id = _read_image_id(self._body) or self.image_id
        on_end(self)


def _read_image_id(body: bytes) -> str | None:
    try:
        image_id = json.loads(body)["image_id"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    if isinstance(image_id, str):
        return image_id
    return None
