"""The headers that are passed on to the compute API."""

from __future__ import annotations

import pytest

from imagefilter.fault import Fault
from imagefilter.gateway.headers import IDENTITY_HEADERS, build_request_headers
from tests.wsgi import build_environ


def test_clients_request_id_is_passed_on_where_the_pipeline_has_none() -> None:
    headers = build_request_headers(build_environ("GET", "/", headers={"X-Openstack-Request-Id": "anything"}))
    assert headers["x-openstack-request-id"] == "anything"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRANSFER_ENCODING ", "chunked"),
        ("A:B", "c"),
        ("", "c"),
        ("A\r\nB", "c"),
        ("A", "b\r\n c"),
        ("A", "b\nc"),
        ("A", "\0"),
    ],
)
def test_malformed_header_is_refused(name: str, value: str) -> None:
    """No server should pass these on."""
    with pytest.raises(Fault, match="Malformed request header"):
        build_request_headers(build_environ("GET", "/", **{f"HTTP_{name}": value}))


@pytest.mark.parametrize("key", ["CONTENT_TYPE", "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"])
def test_malformed_value_of_a_header_that_the_gateway_sets_is_refused(key: str) -> None:
    with pytest.raises(Fault, match="Malformed request header"):
        build_request_headers(build_environ("POST", "/", **{key: "a\r\n b"}))


@pytest.mark.parametrize("connection", ["X-Auth-Token", "close, x-auth-token, X-Storage-Token,X-Service-Token"])
def test_only_the_token_that_was_judged_is_passed_on(connection: str) -> None:
    """auth_token reads X-Storage-Token where there is no X-Auth-Token: Nova would act as somebody else."""
    tokens = {"X-Auth-Token": "bob", "X-Storage-Token": "alice", "X-Service-Token": "glance", "Connection": connection}
    headers = build_request_headers(build_environ("POST", "/", headers=tokens))
    assert (headers.get("x-auth-token"), headers.get("x-service-token")) == ("bob", "glance")
    assert "x-storage-token" not in headers
    alone = {"X-Storage-Token": "alice", "Connection": connection}
    assert build_request_headers(build_environ("POST", "/", headers=alone))["x-storage-token"] == "alice"
    empty = {"X-Auth-Token": "", "X-Storage-Token": "alice"}
    headers = build_request_headers(build_environ("POST", "/", headers=empty))
    assert (headers["x-auth-token"], "x-storage-token" in headers) == ("", False)


def test_request_without_a_host_gets_no_header() -> None:
    assert "host" not in build_request_headers(build_environ("GET", "/", HTTP_HOST=""))


def test_identity_headers_are_all_that_auth_token_sets() -> None:
    auth_token = pytest.importorskip("keystonemiddleware.auth_token._request", reason="no keystonemiddleware")
    request = auth_token._AuthTokenRequest.blank("/")
    names = {*request._all_auth_headers(), request._SYSTEM_SCOPE_HEADER}
    assert {name.lower() for name in names} == IDENTITY_HEADERS
