"""The compute API's answer to an admitted request, watched on its way to the client; nothing of it is changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Longest answer that is read for the id of an image, in bytes.
MAX_ANSWER_BYTES = 4096


class Answer:
    """An answer as a WSGI iterable: what passes through it is what the application gave.

    ``status`` is None until the application said one; ``seconds`` is the time until then; ``error`` names the
    exception that ended the answer. ``done`` is called once, when the answer has ended, however it did.
    """

    def __init__(self, start_response: StartResponse, done: Callable[[Answer], None]) -> None:
        self.status: int | None = None
        self.image_id: str | None = None
        self.seconds = 0.0
        self.error = ""
        self._start_response = start_response
        self._done: Callable[[Answer], None] | None = done
        self._chunks: Iterable[bytes] = ()
        self._body: bytes | None = None  # None: not read
        self._began = time.monotonic()

    def of(self, app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
        """Ask the application."""
        try:
            self._chunks = app(environ, self._start)
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self._see(chunk)
                yield chunk
        except GeneratorExit:  # the client is gone, and close() comes next
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._end()

    def close(self) -> None:
        """The server has done with the answer, or given it up."""
        try:
            getattr(self._chunks, "close", lambda: None)()
        except BaseException as error:
            self._end(error)
            raise
        self._end()

    def _start(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        self.seconds = time.monotonic() - self._began
        self.status = int(status[:3])
        # Nova gives the image's id in Location, and from microversion 2.45 on in the body instead.
        fields = {name.lower(): value for name, value in headers} if self.status == 202 else {}
        self.image_id = fields.get("location", "").rstrip("/").rpartition("/")[2] or None
        self._body = b"" if "json" in fields.get("content-type", "") else None
        write = self._start_response(status, headers, *exc_info)

        def watched(data: bytes) -> object:
            self._see(data)
            return write(data)

        return watched

    def _see(self, chunk: bytes) -> None:
        if self._body is not None:
            self._body = self._body + chunk if len(self._body) + len(chunk) <= MAX_ANSWER_BYTES else None

    def _end(self, error: BaseException | None = None) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        self.error = type(error).__name__ if error else ""
        self.image_id = _image_id(self._body) or self.image_id if self._body else self.image_id
        done(self)


def _image_id(body: bytes) -> str | None:
    try:
        image_id = json.loads(body)["image_id"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return image_id if isinstance(image_id, str) else None
