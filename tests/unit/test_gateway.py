"""The gateway's options, and what it makes of a WSGI environ; what goes over sockets is tested in tests/gateway."""

from __future__ import annotations

import io
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from imagefilter import gateway as gateway_module
from imagefilter.fault import Fault
from imagefilter.forwarding import UNREAD_BODY_BYTES, body_of, method_of, request_headers, target_of
from imagefilter.gateway import app_factory
from imagefilter.policy import ConfigError
from imagefilter.upstream import OPTIONS, connector
from tests.requests import environ_of

URL = {"compute_url": "http://127.0.0.1:8774"}
HTTPS = {"compute_url": "https://nova.example:8774"}


def errors_of(given: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        connector(given, "section [app:compute] of gateway.ini")
    return raised.value.errors


# --- options


def test_the_pools_that_options_make() -> None:
    pool = connector({**URL, "connect_timeout": "1.5", "read_timeout": "7", "pool_size": "3"}, "")()
    assert (pool.scheme, pool.host, pool.port) == ("http", "127.0.0.1", 8774)
    assert (pool.timeout.connect_timeout, pool.timeout.read_timeout) == (1.5, 7)
    assert pool.pool is not None
    assert (pool.pool.maxsize, pool.block) == (3, False)


@pytest.mark.parametrize(("url", "port"), [("http://h", 80), ("https://h/", 443), ("https://[::1]:1", 1)])
def test_the_port_may_be_the_usual_one(url: str, port: int) -> None:
    assert connector({"compute_url": url}, "")().port == port


def test_certificates_are_verified() -> None:
    context = connector(HTTPS, "").keywords["ssl_context"]  # type: ignore[attr-defined]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


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
    "http://me:hunter2@nova": "must not hold a user",
}


@pytest.mark.parametrize(("url", "reason"), BAD_URLS.items())
def test_a_bad_compute_url(url: str, reason: str) -> None:
    [error] = errors_of({"compute_url": url})
    assert "in section [app:compute] of gateway.ini: " in error
    assert reason in error
    assert "hunter2" not in error


def test_all_errors_come_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    given = {
        "compute_urk": "x",
        "read_timeout": "soon",
        "connect_timeout": "0",
        "pool_size": "0",
        "compute_verify": "perhaps",
        "compute_ca_file": "/nonexistent/ca.pem",
        "compute_client_key": "/nonexistent/key",
        **HTTPS,
    }
    errors = errors_of(given)
    assert len(errors) == 7
    assert "unknown option 'compute_urk' in section [app:compute] of gateway.ini (is it compute_url?)" in errors
    assert all("section [app:compute] of gateway.ini" in error for error in errors)
    assert "compute_ca_file = /nonexistent/ca.pem" in errors[-1]
    [error] = errors_of({**HTTPS, "compute_client_cert": str(tmp_path / "no.pem")})
    assert error.startswith(f"compute_client_cert = {tmp_path}/no.pem in ")


@pytest.mark.parametrize("name", ["compute_ca_file", "compute_client_cert", "compute_client_key", "compute_verify"])
def test_options_of_https_show_that_it_was_meant(name: str) -> None:
    [error] = errors_of({**URL, name: "true"})
    assert "compute_url does not begin with https://" in error


def test_no_compute_url() -> None:
    [error] = errors_of({})
    assert error.startswith("compute_url is not set in section [app:compute] of gateway.ini")


def test_an_empty_value_unsets() -> None:
    assert connector({**URL, "read_timeout": " ", "compute_ca_file": ""}, "")().timeout.read_timeout == 60


def test_the_manual_lists_every_option() -> None:
    for name in OPTIONS:
        assert f"``{name}``" in (gateway_module.__doc__ or "")


def test_an_error_names_the_section_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.ini"
    path.write_text("[app:nova]\nuse = egg:imagefilter#gateway\ncompute_url = nova\n")
    with pytest.raises(ConfigError, match=rf"compute_url = nova in section \[app:nova\] of {path}"):
        app_factory({"__file__": str(path)}, compute_url="nova")


# --- the target


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize(
    ("path", "given", "sent"),
    [
        ("/a%2Fb", "/a%2Fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb?x=1", "/a%2Fb"),
        ("/a%2Fb", "/other", "/a/b"),  # what the filter saw counts
        ("/a", "http://h/a", "/a"),
        ("/a", "//a", "/a"),
        ("/a%25zz", "/a%zz", "/a%25zz"),
        ("/%E9", "/\xe9", "/%E9"),
        ("/a%0Ab", "/a\nb", "/a%0Ab"),
        ("/a%20b", "/a b", "/a%20b"),
        ("/a%23b", "/a#b", "/a%23b"),
        ("", "", "/"),
    ],
)
def test_the_path_as_written_if_it_means_what_was_seen(key: str, path: str, given: str, sent: str) -> None:
    assert target_of(environ_of("GET", path, **{key: given})) == sent


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b?c#d%e", "/a%20b%3Fc%23d%25e"),
        ("/\x00\r\n\t\x7f", "/%00%0D%0A%09%7F"),
        ("//x/../y/./z", "//x/../y/./z"),
        ('/\xff<>"\\^`{|}', "/%FF%3C%3E%22%5C%5E%60%7B%7C%7D"),
    ],
)
def test_a_path_written_anew(path: str, sent: str) -> None:
    assert target_of(environ_of("GET", "/", PATH_INFO=path)) == sent


def test_a_mount_is_part_of_the_path() -> None:
    assert target_of(environ_of("GET", "/v2.1", SCRIPT_NAME="/compute")) == "/compute/v2.1"


def test_a_prefix_that_the_filter_read_is_part_of_the_path() -> None:
    environ = environ_of("GET", "/v2.1", HTTP_X_FORWARDED_PREFIX="/front", SCRIPT_NAME="/front")
    assert target_of(environ) == "/front/v2.1"
    assert "x-forwarded-prefix" not in request_headers(environ)


@pytest.mark.parametrize("path", ["*", "http://h/a", "a"])
def test_a_target_that_is_no_path(path: str) -> None:
    with pytest.raises(Fault, match="must be a path"):
        target_of(environ_of("OPTIONS", "/", PATH_INFO=path))


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("a=%zz&b=%41", "a=%25zz&b=%41"),
        ("a=b#c", "a=b%23c"),
        ("a b\r\n\x00", "a%20b%0D%0A%00"),
        ("\xe9", "%E9"),
        ("?", "?"),
    ],
)
def test_a_query_is_one(query: str, sent: str) -> None:
    assert target_of(environ_of("GET", "/", QUERY_STRING=query)) == f"/?{sent}"


@pytest.mark.parametrize("method", ["GET", "post", "M-SEARCH", "X_Y", "!"])
def test_a_method_goes_on_as_it_is_spelled(method: str) -> None:
    assert method_of(environ_of(method, "/")) == method


@pytest.mark.parametrize("method", ["", "POST /servers/x/action HTTP/1.1\r\n", "GET ", "G\tT", "\xe9", "G\0", "GET:"])
def test_a_method_that_would_begin_another_request_line(method: str) -> None:
    with pytest.raises(Fault, match="Malformed request method"):
        method_of(environ_of(method, "/"))


# --- headers and bodies


def test_without_a_request_id_of_ones_own_the_clients_goes_on() -> None:
    headers = request_headers(environ_of("GET", "/", headers={"X-Openstack-Request-Id": "anything"}))
    assert headers["x-openstack-request-id"] == "anything"


@pytest.mark.parametrize(
    "header",
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
def test_a_header_that_no_server_should_hand_on(header: tuple[str, str]) -> None:
    with pytest.raises(Fault, match="Malformed request header"):
        request_headers(environ_of("GET", "/", **{f"HTTP_{header[0]}": header[1]}))


@pytest.mark.parametrize("key", ["CONTENT_TYPE", "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"])
def test_nor_may_those_that_are_said_anew(key: str) -> None:
    with pytest.raises(Fault, match="Malformed request header"):
        request_headers(environ_of("POST", "/", **{key: "a\r\n b"}))


@pytest.mark.parametrize("connection", ["X-Auth-Token", "close, x-auth-token, X-Storage-Token,X-Service-Token"])
def test_the_token_that_was_judged_goes_on_and_no_other(connection: str) -> None:
    """auth_token reads X-Storage-Token where there is no X-Auth-Token: Nova would act as somebody else."""
    tokens = {"X-Auth-Token": "bob", "X-Storage-Token": "alice", "X-Service-Token": "glance", "Connection": connection}
    sent = request_headers(environ_of("POST", "/", headers=tokens))
    assert (sent.get("x-auth-token"), sent.get("x-service-token")) == ("bob", "glance")
    assert "x-storage-token" not in sent
    sent = request_headers(environ_of("POST", "/", headers={"X-Storage-Token": "alice", "Connection": connection}))
    assert sent["x-storage-token"] == "alice"
    sent = request_headers(environ_of("POST", "/", headers={"X-Auth-Token": "", "X-Storage-Token": "alice"}))
    assert (sent["x-auth-token"], "x-storage-token" in sent) == ("", False)


def test_no_host_is_no_header() -> None:
    assert "host" not in request_headers(environ_of("GET", "/", HTTP_HOST=""))


def test_what_the_filter_read_is_what_is_sent() -> None:
    body = b"x" * (UNREAD_BODY_BYTES + 1)  # max_body_bytes may be more
    assert body_of(environ_of("POST", "/", body)) == body
    assert body_of(environ_of("POST", "/", b"")) is None


class Stream:
    """What a server gives to read, which is no BytesIO."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


@pytest.mark.parametrize(
    ("data", "environ", "status"),
    [
        (b"x" * (UNREAD_BODY_BYTES + 1), {}, 413),
        (b"short", {"CONTENT_LENGTH": "6"}, 400),
        (b"short", {"CONTENT_LENGTH": "+5"}, 400),
        (b"short", {"CONTENT_LENGTH": "-5"}, 400),
    ],
)
def test_a_body_that_nobody_read_yet(data: bytes, environ: dict[str, Any], status: int) -> None:
    with pytest.raises(Fault) as raised:
        body_of(environ_of("GET", "/", data, **{"wsgi.input": Stream(data), **environ}))
    assert raised.value.status == status


def test_a_header_that_can_not_be_written_is_a_400_and_nothing_is_sent() -> None:
    app = app_factory({}, compute_url="http://127.0.0.1:9")
    seen: list[str] = []
    environ = environ_of("GET", "/", headers={"X-Bad": "a\r\nContent-Length: 5"})
    list(app(environ, lambda status, *_: seen.append(status)))  # type: ignore[arg-type,func-returns-value]
    assert seen == ["400 Bad Request"]


# --- the module for servers


def test_application_is_built_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wsgi = fresh_wsgi()
    path = tmp_path / "gateway.ini"
    path.write_text("[app:main]\nuse = egg:imagefilter#gateway\ncompute_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("IMAGEFILTER_PASTE", str(path))
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.append(wsgi.application)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    assert len({id(each) for each in made}) == 1


def fresh_wsgi() -> Any:
    pytest.importorskip("paste.deploy")
    import importlib

    import imagefilter.wsgi

    vars(imagefilter.wsgi).pop("application", None)
    return importlib.reload(imagefilter.wsgi)


@pytest.mark.parametrize(
    ("paste", "message"),
    [
        (None, "IMAGEFILTER_PASTE is not set"),
        ("/nonexistent.ini", "/nonexistent.ini"),
        ("{}#other", "No section 'other'"),
        ("{}", "unknown option 'x' in section [app:main] of {}; compute_url is not set in section [app:main] of {}"),
    ],
)
def test_what_can_not_be_loaded_is_said_in_a_line(
    paste: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wsgi = fresh_wsgi()
    path = tmp_path / "gateway.ini"
    path.write_text("[app:main]\nuse = egg:imagefilter#gateway\nx = 1\n")
    monkeypatch.delenv("IMAGEFILTER_PASTE", raising=False)
    if paste is not None:
        monkeypatch.setenv("IMAGEFILTER_PASTE", paste.replace("{}", str(path)))
    with pytest.raises(SystemExit) as raised:
        wsgi.application  # noqa: B018
    [line] = capsys.readouterr().err.splitlines()
    assert message.replace("{}", str(path)) in line
    assert raised.value.code == 3


def test_no_other_name_is_invented() -> None:
    with pytest.raises(AttributeError, match="no attribute 'app'"):
        fresh_wsgi().app  # noqa: B018


def test_the_environment_is_no_part_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    wsgi = fresh_wsgi()
    ambient = {"HTTP_PROXY": "http://proxy", "keystone.token_auth": "x", "CONTENT_LENGTH": "5", "PATH_INFO": "/x"}
    for name, text in ambient.items():
        monkeypatch.setenv(name, text)
    seen: list[dict[str, Any]] = []
    app = wsgi.without_environment(lambda environ, start_response: seen.append(environ) or [])
    list(app({**ambient, "HTTP_HOST": "h"}, None))
    list(app({**ambient, "CONTENT_LENGTH": "7", "HTTP_PROXY": "a client's"}, None))
    assert seen == [
        {"PATH_INFO": "/x", "HTTP_HOST": "h"},
        {"PATH_INFO": "/x", "CONTENT_LENGTH": "7", "HTTP_PROXY": "a client's"},
    ]
