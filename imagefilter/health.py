"""A check for oslo.middleware's healthcheck: whether the compute API behind the gateway answers.

In a paste file::

    [app:healthcheck]
    use = egg:oslo.middleware#healthcheck
    backends = imagefilter_compute
    compute_url = https://nova.internal:8774

The section takes the keys of the gateway that say where the compute API is and how to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from imagefilter.sources import paste_place
from imagefilter.upstream import OPTIONS, connector

if TYPE_CHECKING:
    from oslo_middleware.healthcheck.pluginbase import HealthcheckResult

# Who asks for the health of a gateway (a load balancer) gives up after a few seconds itself.
_TIMEOUT = Timeout(connect=2, read=3)


class ComputeCheck:
    """The backend ``imagefilter_compute`` of ``oslo.middleware.healthcheck``."""

    def __init__(self, oslo_conf: Any, conf: Mapping[str, Any]) -> None:
        """Called by the healthcheck app.

        :param conf: paste's keys, global ones and the healthcheck's own included.
        :raises ConfigError: for values that can't be used.
        """
        ours = {key: text for key, text in conf.items() if key in OPTIONS}
        self._pool = connector(ours, paste_place(conf, ours, "app"))()

    def healthcheck(self, server_port: int) -> HealthcheckResult:
        """Ask the compute API for its versions, which takes no token; any answer but a 5xx will do."""
        from oslo_middleware.healthcheck.pluginbase import HealthcheckResult  # noqa: PLC0415  # an extra's, not Nova's

        try:
            status = self._pool.request("GET", "/", timeout=_TIMEOUT, retries=False, redirect=False).status
        except HTTPError as error:
            return HealthcheckResult(available=False, reason="The compute API can not be reached", details=str(error))
        answers = status < 500
        return HealthcheckResult(available=answers, reason="OK" if answers else f"The compute API answers {status}")
