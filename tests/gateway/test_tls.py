"""TLS towards the compute API: who it is, and who we are, with real certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.gateway.servers import Upstream, answer, serve_gateway


class Authority(NamedTuple):
    """A certificate authority's files, and those of a client that it knows."""

    ca: Path
    cert: Path
    key: Path
    chain: Path  # certificate and key in one file
    made: trustme.CA

    def server(self, name: str, *, knows_clients: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.made.issue_cert(name).configure_cert(context)
        if knows_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            self.made.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("tls")
    made = trustme.CA()
    client = made.issue_cert("gateway.example")
    paths = Authority(*(folder / name for name in ("ca.pem", "client.pem", "client.key", "chain.pem")), made=made)
    made.cert_pem.write_to_path(str(paths.ca))
    client.cert_chain_pems[0].write_to_path(str(paths.cert))
    client.private_key_pem.write_to_path(str(paths.key))
    client.private_key_and_cert_chain_pem.write_to_path(str(paths.chain))
    return paths


UNREACHABLE = {"serviceUnavailable": {"message": "The compute API can not be reached.", "code": 503}}


def test_an_authority_of_ones_own(server: str, authority: Authority) -> None:
    with Upstream(answer(body=b"{}"), authority.server("127.0.0.1")) as upstream:
        with serve_gateway(server, upstream.url, settings={"compute_ca_file": str(authority.ca)}) as gateway:
            for document in (None, {}):
                assert gateway.ask("POST" if document is not None else "GET", "/v2.1/servers", document).status == 200
            assert gateway.ask("GET", "/healthcheck").status == 503  # its section names no compute_ca_file
        assert len(upstream.asked) == 2


def test_the_health_check_takes_the_same_settings(authority: Authority) -> None:
    with Upstream(answer(), authority.server("127.0.0.1")) as upstream:
        settings = {"compute_ca_file": str(authority.ca)}
        with serve_gateway("gunicorn", upstream.url, settings=settings, health=settings) as gateway:
            assert gateway.ask("GET", "/healthcheck").status == 200


@pytest.mark.parametrize("trusts", ["the system", "another"])
def test_a_certificate_that_nobody_vouches_for(trusts: str, authority: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    settings = {"compute_ca_file": str(other)} if trusts == "another" else {}
    with Upstream(answer(), authority.server("127.0.0.1")) as upstream:
        with serve_gateway("gunicorn", upstream.url, settings=settings) as gateway:
            response = gateway.ask("GET", "/v2.1/servers")
            assert (response.status, response.json) == (503, UNREACHABLE)
            assert "certificate verify failed" in gateway.log.read_text()
        assert upstream.asked == []


def test_a_certificate_of_another_host(authority: Authority) -> None:
    settings = {"compute_ca_file": str(authority.ca)}
    with Upstream(answer(), authority.server("elsewhere.example")) as upstream:
        with serve_gateway("gunicorn", upstream.url, settings=settings) as gateway:
            assert gateway.ask("GET", "/v2.1/servers").status == 503
        assert upstream.asked == []


def test_verify_can_be_switched_off_and_is_said_loudly(authority: Authority) -> None:
    settings = {"compute_verify": "false"}
    with (
        Upstream(answer(), authority.server("elsewhere.example")) as upstream,
        serve_gateway("gunicorn", upstream.url, settings=settings) as gateway,
    ):
        assert gateway.ask("GET", "/v2.1/servers").status == 200
        assert "compute_verify is false" in gateway.log.read_text()


@pytest.mark.parametrize("files", ["two", "one", "none"])
def test_a_client_certificate(files: str, authority: Authority) -> None:
    settings = {"compute_ca_file": str(authority.ca)}
    if files == "two":
        settings.update(compute_client_cert=str(authority.cert), compute_client_key=str(authority.key))
    elif files == "one":
        settings.update(compute_client_cert=str(authority.chain))
    with Upstream(answer(), authority.server("127.0.0.1", knows_clients=True)) as upstream:
        with serve_gateway("gunicorn", upstream.url, settings=settings) as gateway:
            response = gateway.ask("GET", "/v2.1/servers")
        assert (response.status == 200) == (files != "none")
        assert len(upstream.asked) == (files != "none")
