"""HTTP questions that together take a bounded time and bring a bounded answer, whatever state the other side is in."""

from __future__ import annotations

import contextlib
import http.client
import time
from typing import Any

import requests
import urllib3.exceptions

_CHUNK_BYTES = 1 << 16


class TooLong(requests.RequestException):
    """The answers have more bytes than they may."""


class BoundedSession(requests.Session):
    """A session whose requests share their bounds. It follows no redirect and takes nothing from the environment.

    :param seconds: that all requests may take together.
    :param max_bytes: of all answers.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        super().__init__()
        self.trust_env = False  # no proxy, no .netrc
        self._deadline = time.monotonic() + seconds
        self._room = max_bytes

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request and read the whole answer.

        :raises requests.RequestException: if that exceeds a bound, too.
        """
        kwargs.update(timeout=self._remaining(), stream=True, allow_redirects=False)
        try:
            with contextlib.closing(super().request(*args, **kwargs)) as response:
                response._content = self._read(response)
        except requests.RequestException:  # an OSError too
            raise
        except urllib3.exceptions.TimeoutError as error:
            raise requests.Timeout("no answer in time") from error
        # urllib3 hands on its own errors while a body is read, requests what it can't parse of a redirect.
        except (OSError, ValueError, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
            raise requests.ConnectionError(str(error)) from error
        return response

    def _read(self, response: requests.Response) -> bytes:
        """Read what is there, again and again: other ways wait until as much is there as they were asked for."""
        read = getattr(response.raw, "read1", None)
        if read is None:  # before urllib3 2.1
            read = response.raw._fp.read1
        chunks = []
        while chunk := read(_CHUNK_BYTES):
            self._remaining()
            self._room -= len(chunk)
            if self._room < 0:
                raise TooLong("a longer answer than it may be")
            chunks.append(chunk)
        return b"".join(chunks)

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise requests.Timeout("no answer in time")
        return remaining
