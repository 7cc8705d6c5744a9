"""A check for oslo.middleware's healthcheck: whether the compute API behind the gateway responds.

In a paste file::

    [app:healthcheck]
    use = egg:oslo.middleware#healthcheck
    backends = imagefilter_compute
    compute_url = https://nova.internal:8774

The section takes the options of the gateway (:mod:`imagefilter.gateway.options`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from imagefilter.gateway import upstream
from imagefilter.gateway.options import OPTIONS
from imagefilter.policy.config import paste_location

if TYPE_CHECKING:
    from oslo_middleware.healthcheck.pluginbase import HealthcheckResult

# Load balancers, which ask for the health of a gateway, give up after a few seconds themselves.
_TIMEOUT = Timeout(connect=2, read=3)

# Seconds for which an answer is good: the check takes no token, so strangers can ask as often as they like.
_LIFETIME = 1.0


class ComputeCheck:
    """The backend ``imagefilter_compute`` of ``oslo.middleware.healthcheck``."""

    def __init__(self, oslo_conf: Any, conf: Mapping[str, Any]) -> None:
        """Read the options; the healthcheck app calls this once.

        :param conf: paste's keys, with the global ones and the healthcheck's own among them.
        :raises ConfigError: for values that can't be used.
        """
        names = [option.name for option in OPTIONS]
        options = {name: conf[name] for name in names if name in conf}
        self._pool = upstream.load(options, paste_location(conf, options, "app")).connect()
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._result: HealthcheckResult | None = None

    def healthcheck(self, server_port: int) -> HealthcheckResult:
        """Return whether the compute API responds.

        Of many threads that are asked at once one asks the compute API; the others return what was known: threads that
        wait would be missing elsewhere.
        """
        known = self._result
        if known is None:
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            return known
        try:
            return self._refresh()
        finally:
            self._lock.release()

    def _refresh(self) -> HealthcheckResult:
        if self._result is None or time.monotonic() > self._asked_at + _LIFETIME:
            self._result = self._ask()
            self._asked_at = time.monotonic()
        return self._result

    def _ask(self) -> HealthcheckResult:
        """Ask the compute API for its versions, which takes no token; any response but a 5xx will do."""
        from oslo_middleware.healthcheck.pluginbase import HealthcheckResult  # noqa: PLC0415  # an extra's, not Nova's

        try:
            response = self._pool.request("GET", "/", timeout=_TIMEOUT, retries=False, redirect=False)
        except HTTPError as error:
            return HealthcheckResult(available=False, reason="The compute API could not be reached", details=str(error))
        if response.status >= 500:
            return HealthcheckResult(available=False, reason=f"The compute API responded {response.status}")
        return HealthcheckResult(available=True, reason="OK")
