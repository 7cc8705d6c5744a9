"""TLS towards the compute API: its certificate and the gateway's own, with real certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from tests.gateway.servers import Gateway, GatewayFactory
from tests.gateway.upstream import Upstream


class Authority(NamedTuple):
    """A certificate authority, its file, and the files of a client that it vouches for."""

    trustme_ca: trustme.CA
    ca: Path
    certificate: Path
    key: Path
    chain: Path  # certificate and key in one file

    def server_context(self, name: str) -> ssl.SSLContext:
        """Return the context of a server with a certificate for this name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.trustme_ca.issue_cert(name).configure_cert(context)
        return context

    def strict_server_context(self, name: str) -> ssl.SSLContext:
        """Return the context of a server that wants a certificate of its clients, too."""
        context = self.server_context(name)
        context.verify_mode = ssl.CERT_REQUIRED
        self.trustme_ca.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(
        trustme_ca=trustme.CA(),
        ca=folder / "ca.pem",
        certificate=folder / "client.pem",
        key=folder / "client.key",
        chain=folder / "chain.pem",
    )
    client = authority.trustme_ca.issue_cert("gateway.example")
    authority.trustme_ca.cert_pem.write_to_path(str(authority.ca))
    client.cert_chain_pems[0].write_to_path(str(authority.certificate))
    client.private_key_pem.write_to_path(str(authority.key))
    client.private_key_and_cert_chain_pem.write_to_path(str(authority.chain))
    return authority


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of another authority."""
    path = tmp_path_factory.mktemp("other") / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def _tls_upstream(authority: Authority) -> Iterator[Upstream]:
    with Upstream(tls=authority.server_context("127.0.0.1")) as upstream:
        yield upstream


@pytest.fixture
def tls_upstream(_tls_upstream: Upstream, authority: Authority) -> Upstream:
    """A compute API with a certificate that ``authority`` signed; tests may give it another one."""
    _tls_upstream.reset()
    _tls_upstream.tls = authority.server_context("127.0.0.1")
    return _tls_upstream


@pytest.fixture
def trusting_gateway(server: str, authority: Authority, tls_upstream: Upstream, gateways: GatewayFactory) -> Gateway:
    """A gateway that trusts ``authority``; its health check does not."""
    return gateways(server=server, compute_url=tls_upstream.url, settings={"compute_ca_file": str(authority.ca)})


UNREACHABLE = {"serviceUnavailable": {"message": "The compute API could not be reached.", "code": 503}}
on_gunicorn = pytest.mark.parametrize("server", ["gunicorn"])


@pytest.mark.parametrize(("method", "document"), [("GET", None), ("POST", {})], ids=["GET", "POST"])
def test_certificate_of_a_trusted_authority_is_accepted(
    method: str, document: Any, trusting_gateway: Gateway, tls_upstream: Upstream
) -> None:
    assert trusting_gateway.send_request(method, "/v2.1/servers", document).status == 200
    assert len(tls_upstream.requests) == 1


def test_health_check_has_settings_of_its_own(trusting_gateway: Gateway, tls_upstream: Upstream) -> None:
    assert trusting_gateway.send_request("GET", "/healthcheck").status == 503
    assert tls_upstream.requests == []


def test_health_check_takes_the_same_settings(
    authority: Authority, tls_upstream: Upstream, gateways: GatewayFactory
) -> None:
    settings = {"compute_ca_file": str(authority.ca)}
    gateway = gateways(compute_url=tls_upstream.url, settings=settings, health=settings)
    assert gateway.send_request("GET", "/healthcheck").status == 200


def assert_untrusted(gateway: Gateway, upstream: Upstream) -> None:
    response = gateway.send_request("GET", "/v2.1/servers")
    assert (response.status, response.json) == (503, UNREACHABLE)
    assert "certificate verify failed" in gateway.log.read_text()
    assert upstream.requests == []


def test_certificate_that_the_system_does_not_trust_is_refused(
    tls_upstream: Upstream, gateways: GatewayFactory
) -> None:
    assert_untrusted(gateways(server="gunicorn", compute_url=tls_upstream.url), tls_upstream)


def test_certificate_of_another_authority_is_refused(
    other_ca: Path, tls_upstream: Upstream, gateways: GatewayFactory
) -> None:
    gateway = gateways(compute_url=tls_upstream.url, settings={"compute_ca_file": str(other_ca)})
    assert_untrusted(gateway, tls_upstream)


@on_gunicorn
def test_certificate_of_another_host_is_refused(
    authority: Authority, trusting_gateway: Gateway, tls_upstream: Upstream
) -> None:
    tls_upstream.tls = authority.server_context("elsewhere.example")
    assert trusting_gateway.send_request("GET", "/v2.1/servers").status == 503
    assert tls_upstream.requests == []


def test_verification_that_is_switched_off_is_logged(
    authority: Authority, tls_upstream: Upstream, gateways: GatewayFactory
) -> None:
    tls_upstream.tls = authority.server_context("elsewhere.example")
    gateway = gateways(compute_url=tls_upstream.url, settings={"compute_verify": "false"})
    assert gateway.send_request("GET", "/v2.1/servers").status == 200
    assert "compute_verify is false" in gateway.log.read_text()


@pytest.mark.parametrize("files", ["separate", "chain"])
def test_client_certificate_is_presented(
    files: str, authority: Authority, tls_upstream: Upstream, gateways: GatewayFactory
) -> None:
    client = {
        "separate": {"compute_client_cert": str(authority.certificate), "compute_client_key": str(authority.key)},
        "chain": {"compute_client_cert": str(authority.chain)},
    }
    tls_upstream.tls = authority.strict_server_context("127.0.0.1")
    settings = {"compute_ca_file": str(authority.ca), **client[files]}
    gateway = gateways(compute_url=tls_upstream.url, settings=settings)
    assert gateway.send_request("GET", "/v2.1/servers").status == 200
    assert len(tls_upstream.requests) == 1


@on_gunicorn
def test_compute_api_can_refuse_a_gateway_without_a_certificate(
    authority: Authority, trusting_gateway: Gateway, tls_upstream: Upstream
) -> None:
    tls_upstream.tls = authority.strict_server_context("127.0.0.1")
    assert trusting_gateway.send_request("GET", "/v2.1/servers").status in (502, 503)
    assert tls_upstream.requests == []
