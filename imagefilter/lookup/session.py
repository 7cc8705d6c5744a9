"""Questions to one API over HTTP, with the caller's token.

They share one bound in time and one in size, follow no redirect, and take nothing from the environment. The token goes
to the one API that the operator or the catalog names, and to nobody that this API names.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import requests

from imagefilter.bounded import BoundedSession, TooLong
from imagefilter.lookup.remembered import ServerFailed
from imagefilter.rules.case import LookupFailed


class CallerSession:
    """Asks one API as the caller.

    :param token: of the caller; None: ask what needs no token.
    :param ca_file: with the certificates to verify by; None is the system's own.
    :param seconds: that all questions may take together.
    :param max_bytes: of all answers.
    :param failure: the beginning of each error: what could not be found out.
    """

    def __init__(self, token: str | None, ca_file: str | None, seconds: float, max_bytes: int, failure: str) -> None:
        self._session = BoundedSession(seconds, max_bytes)
        self._session.verify = ca_file or ssl.get_default_verify_paths().cafile or True
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity"})
        if token is not None:
            self._session.headers["X-Auth-Token"] = token
        self._max_bytes = max_bytes
        self._failure = failure

    def __enter__(self) -> CallerSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    def get(self, url: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON object that the API responds with.

        :raises LookupFailed: if it does not; ServerFailed if that has nothing to do with the caller.
        """
        try:
            response = self._session.get(url, params=dict(parameters))
        except TooLong as error:
            raise self.fail(f"its answer has more than {self._max_bytes} bytes") from error
        except requests.Timeout as error:
            raise self.fail("no answer in time (api_timeout)") from error
        except requests.RequestException as error:
            raise self.fail(type(error).__name__) from error
        if 400 <= response.status_code < 500:  # because of this caller, for all that is known
            raise LookupFailed(f"{self._failure}: it responded {response.status_code}")
        if response.status_code != 200:
            raise self.fail(f"it responded {response.status_code}")
        try:
            document = json.loads(response.content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self.fail("its answer is no JSON object")
        return document

    def fail(self, reason: str) -> ServerFailed:
        """Return an error to raise."""
        return ServerFailed(f"{self._failure}: {reason}")
