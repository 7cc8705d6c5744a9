"""The gateway's options: how they are read and checked, and the connections that they describe."""

from __future__ import annotations

import logging
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

import imagefilter.gateway
from imagefilter.gateway import upstream
from imagefilter.gateway.app import app_factory
from imagefilter.gateway.options import GROUP, OPTIONS, list_opts
from imagefilter.policy.config import ConfigError

LOCATION = "section [app:compute] of gateway.ini"
HTTP = {"compute_url": "http://127.0.0.1:8774"}
HTTPS = {"compute_url": "https://nova.example:8774"}


def load(**options: str) -> upstream.Endpoint:
    return upstream.load(options, LOCATION)


def load_errors(options: dict[str, str]) -> list[str]:
    """Load options that can't be used; return the errors."""
    with pytest.raises(ConfigError) as raised:
        upstream.load(options, LOCATION)
    return raised.value.errors


def test_pool_has_the_given_timeouts_and_size() -> None:
    pool = load(**HTTP, connect_timeout="1.5", read_timeout="7", pool_size="3").connect()
    assert (pool.scheme, pool.host, pool.port) == ("http", "127.0.0.1", 8774)
    assert (pool.timeout.connect_timeout, pool.timeout.read_timeout) == (1.5, 7)
    assert pool.pool is not None
    assert (pool.pool.maxsize, pool.block) == (3, False)


def test_pool_of_one_request_has_one_connection() -> None:
    pool = load(**HTTP).connect(maxsize=1)
    assert pool.pool is not None
    assert pool.pool.maxsize == 1


@pytest.mark.parametrize(("url", "port"), [("http://h", 80), ("https://h/", 443), ("https://[::1]:1", 1)])
def test_port_defaults_to_that_of_the_scheme(url: str, port: int) -> None:
    assert load(compute_url=url).connect().port == port


def test_certificates_are_verified_by_default() -> None:
    tls = load(**HTTPS).tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_verification_that_is_switched_off_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tls = load(**HTTPS, compute_verify="false").tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_NONE, False)
    [record] = [record for record in caplog.records if record.name == "imagefilter.gateway.upstream"]
    assert record.levelno == logging.WARNING
    assert "compute_verify is false" in record.message


BAD_URLS = {
    "nova.example:8774": "begin with http://",
    "ftp://nova": "begin with http://",
    "http://": "names no host",
    "http://:8774": "names no host",
    "http://a b": "names no host",
    "http://nova:0": "names no host",
    "http://nova:99999": "out of range",
    "http://nova:x": "Port could not be cast",
    "http://[::1": "Invalid IPv6",
    "http://nova/compute": "not below /compute",
    "http://nova/?x": "must end after host and port",
    "http://nova/#x": "must end after host and port",
    "http://me:hunter2@nova": "must not contain a user",
}


@pytest.mark.parametrize(("url", "reason"), BAD_URLS.items())
def test_bad_compute_url_is_one_error(url: str, reason: str) -> None:
    [error] = load_errors({"compute_url": url})
    assert "in section [app:compute] of gateway.ini: " in error
    assert reason in error
    assert "hunter2" not in error


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@nova",
        "http://hunter2@nova",
        "http://me:hunter2@nova:99999/x?y",
        "http://me:hunter2/slash@nova",
        "http://me:hunter2#hash@nova",
        "http://me:hunter2?question@nova",
        "http://me:hunter2@at@nova",
        "http://me:hunter2[@nova",
        "http:me:hunter2@nova",
        "me:hunter2@nova:8774",
        "//me:hunter2@nova",
        "ftp://me:hunter2@nova",
        "http://me:hunter2\N{FULLWIDTH COLON}@nova",
    ],
)
def test_no_error_contains_a_password(url: str) -> None:
    [error] = load_errors({"compute_url": url})
    assert "hunter2" not in error
    assert "it must not contain a user or a password" in error
    assert "nova" in error


def test_all_errors_come_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    options = {
        "compute_urk": "x",
        "read_timeout": "soon",
        "connect_timeout": "0",
        "pool_size": "0",
        "compute_verify": "perhaps",
        "compute_ca_file": "/nonexistent/ca.pem",
        "compute_client_key": "/nonexistent/key",
        **HTTPS,
    }
    errors = load_errors(options)
    assert len(errors) == 7
    assert "unknown option 'compute_urk' in section [app:compute] of gateway.ini (is it compute_url?)" in errors
    assert all("section [app:compute] of gateway.ini" in error for error in errors)
    assert "compute_ca_file = /nonexistent/ca.pem" in errors[-1]
    [error] = load_errors({**HTTPS, "compute_client_cert": str(tmp_path / "no.pem")})
    assert error.startswith(f"compute_client_cert = {tmp_path}/no.pem in ")


@pytest.mark.parametrize("name", ["oslo_config_file", "oslo_config_project"])
def test_no_option_names_a_config_file(name: str) -> None:
    assert load_errors({**HTTP, name: "x"}) == [f"unknown option '{name}' in {LOCATION}"]


def test_an_encrypted_key_is_an_error(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    path = tmp_path / "client.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=x"]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    certificate, key = f"{path}.crt", str(path)
    [error] = load_errors({**HTTPS, "compute_client_cert": certificate, "compute_client_key": key})
    assert error == (
        f"compute_client_cert = {certificate} in {LOCATION}:"
        " its key is encrypted, and there is no way to enter the password"
    )


@pytest.mark.parametrize("name", ["compute_ca_file", "compute_client_cert", "compute_client_key", "compute_verify"])
def test_options_of_https_are_errors_with_http(name: str) -> None:
    [error] = load_errors({**HTTP, name: "true"})
    assert "compute_url does not begin with https://" in error


def test_compute_url_must_be_set() -> None:
    [error] = load_errors({})
    assert error.startswith("compute_url is not set in section [app:compute] of gateway.ini")


def test_an_empty_value_unsets_an_option() -> None:
    endpoint = load(**HTTP, read_timeout=" ", compute_ca_file="")
    assert endpoint.connect().timeout.read_timeout == 60


def test_an_error_names_the_section_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.ini"
    path.write_text("[app:nova]\nuse = egg:nova-imagefilter#gateway\ncompute_url = nova\n")
    with pytest.raises(ConfigError, match=rf"compute_url = nova in section \[app:nova\] of {path}"):
        app_factory({"__file__": str(path)}, compute_url="nova")


def test_the_package_lists_every_option() -> None:
    for option in OPTIONS:
        assert f"``{option.name}``" in (imagefilter.gateway.__doc__ or "")


def test_every_option_has_a_help() -> None:
    [(group, options)] = list_opts()
    assert (group.name, len(options)) == (GROUP, len(OPTIONS))
    assert "[app:compute]" in group.help
    for option in options:
        assert option.help.strip().endswith(".")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="oslo.config's tools of this Python are old")
def test_options_can_be_shown_by_the_sample_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oslo_config import cfg, generator

    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    path = tmp_path / "sample"
    conf(["--namespace", "imagefilter.gateway", "--output-file", str(path)])
    monkeypatch.setattr(generator, "_list_opts", lambda namespaces: [("imagefilter.gateway", list_opts())])
    generator.generate(conf)
    sample = path.read_text()
    assert f"[{GROUP}]\n" in sample
    assert "#connect_timeout = 5\n" in sample
    assert "#compute_url = http://127.0.0.1:8774\n" in sample
