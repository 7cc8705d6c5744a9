"""The case table through the gateway, over real sockets, in front of a real Nova."""

from __future__ import annotations

from typing import Callable

import pytest

from tests.cases import CASES, PROJECT, SERVER, Case
from tests.gateway.conftest import Served
from tests.gateway.servers import Gateway
from tests.nova.test_contract import expected_images

# White space around a header's value is none of it (RFC 9112, 5.1), so that case can't be sent.
SENDABLE = [case for case in CASES if all(value == value.strip() for value in case.headers.values())]


@pytest.mark.parametrize("prefix", ["/v2.1", f"/v2/{PROJECT}"])
@pytest.mark.parametrize("case", SENDABLE, ids=[case.id for case in SENDABLE])
def test_contract(case: Case, prefix: str, nova: Served, gateways: Callable[..., Gateway]) -> None:
    if case.id == "wrong project wins over no name":
        pytest.skip("without auth_token only Nova knows whose the token is, and Nova is asked last")
    if prefix.endswith(PROJECT) and not case.path.startswith("/servers"):
        pytest.skip("the case brings its own project")
    gateway = gateways(compute_url=nova.url, options=dict(case.options))
    path = case.path.replace(SERVER, "{server}").format(server=nova.cloud.server)
    headers = {**case.headers, "X-Auth-Token": case.token or ""}

    response = gateway.ask("POST", prefix + path, case.body, headers)

    images = nova.cloud.images()
    if case.status != 202:
        assert (response.status, images) == (case.status, [])
        assert response.message.replace(nova.cloud.server, SERVER) == case.message
        return
    nova_status = case.nova["/v2.1" not in prefix]
    assert response.status == nova_status, response.body
    assert images == expected_images(case, nova_status)
