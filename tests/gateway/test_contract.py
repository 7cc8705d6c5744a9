"""The case table through the gateway, over real sockets, in front of a real Nova."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases import CASES, PROJECT, SERVER, Case
from tests.gateway.client import Response
from tests.gateway.nova import ServedNova
from tests.gateway.servers import GatewayFactory
from tests.nova.cloud import Image

# Each with the position of its status in Case.nova.
PREFIXES = {"/v2.1": 0, f"/v2/{PROJECT}": 1}

# Without auth_token only Nova knows whose the token is, and Nova is asked last.
NEEDS_AUTH_TOKEN = "wrong project wins over no name"


def select_cases(allowed: bool) -> Iterator[Any]:
    """Return the cases that can be sent, with each prefix that they can have."""
    for case in CASES:
        for prefix in PREFIXES:
            if can_send(case, prefix) and (case.status == 202) == allowed:
                yield pytest.param(case, prefix, id=f"{case.id}-{prefix}")


def can_send(case: Case, prefix: str) -> bool:
    if case.id == NEEDS_AUTH_TOKEN:
        return False
    if prefix.endswith(PROJECT) and not case.path.startswith("/servers"):  # the case has its own project
        return False
    # White space around a header's value is not part of it (RFC 9112, 5.1).
    return all(value == value.strip() for value in case.headers.values())


def send_case(case: Case, prefix: str, nova: ServedNova, gateways: GatewayFactory) -> Response:
    gateway = gateways(compute_url=nova.url, options=dict(case.options))
    path = case.path.replace(SERVER, "{server}").format(server=nova.cloud.server)
    headers = {**case.headers, "X-Auth-Token": case.token or ""}
    return gateway.send_request("POST", prefix + path, case.body, headers)


@pytest.mark.parametrize(("case", "prefix"), select_cases(allowed=False))
def test_request_is_refused(case: Case, prefix: str, nova: ServedNova, gateways: GatewayFactory) -> None:
    response = send_case(case, prefix, nova, gateways)
    assert (response.status, nova.cloud.images()) == (case.status, [])
    assert response.message.replace(nova.cloud.server, SERVER) == case.message


@pytest.mark.parametrize(("case", "prefix"), select_cases(allowed=True))
def test_request_is_allowed(case: Case, prefix: str, nova: ServedNova, gateways: GatewayFactory) -> None:
    response = send_case(case, prefix, nova, gateways)
    status = case.nova[PREFIXES[prefix]]
    assert response.status == status, response.body
    assert nova.cloud.images() == expected_images(case, status)


def expected_images(case: Case, status: int) -> list[Image]:
    """Return the images that Nova makes of a case that it responds to with this status."""
    [(action, entity)] = case.expected.items()
    if status != 202 or action not in ("createImage", "createBackup"):
        return []
    return [Image(entity["name"], entity.get("metadata", {}))]
