"""The case table through a real Nova, in its own /v2.1 and /v2 pipelines, with and without the project in the path."""

from __future__ import annotations

import json

import pytest

from tests.cases import CASES, PROJECT, SERVER, Case
from tests.nova.cloud import NOVA, Cloud, Image
from tests.requests import send

# Where every key of the metadata breaks the pattern, Nova up to 32 answers 400 on /v2 as on /v2.1.
STRICT_UP_TO_32 = ["key of 255 characters, multi-byte"]
PREFIXES = ["/v2.1", "/v2", f"/v2.1/{PROJECT}", f"/v2/{PROJECT}"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_contract(case: Case, prefix: str, cloud: Cloud) -> None:
    if prefix.endswith(PROJECT) and not case.path.startswith("/servers"):
        pytest.skip("the case brings its own project")
    path = case.path.replace(SERVER, "{server}").format(server=cloud.server)
    headers = dict(case.headers)
    if case.token:
        headers["X-Auth-Token"] = case.token

    response = send(cloud.app(case.options), "POST", prefix + path, case.body, headers)

    if case.status != 202:
        assert (response.status_int, cloud.images()) == (case.status, [])
        [fault] = response.json.values()
        assert fault["message"].replace(cloud.server, SERVER) == case.message
        return
    nova_status = case.nova["/v2.1" not in prefix and not (NOVA <= 32 and case.id in STRICT_UP_TO_32)]
    assert response.status_int == nova_status, response.text
    assert cloud.images() == expected_images(case, nova_status)


def expected_images(case: Case, status: int) -> list[Image]:
    [(action, entity)] = case.expected.items()
    if status != 202 or action not in ("createImage", "createBackup"):
        return []
    return [Image(entity["name"], entity.get("metadata", {}))]


def test_the_table_forwards_what_it_says() -> None:
    """Guards the table itself: what is forwarded is what the case sent, but for what the contract rewrites."""
    for case in CASES:
        if case.status == 202 and case.forwarded is None:
            assert json.loads(case.body) == case.document, case.id
