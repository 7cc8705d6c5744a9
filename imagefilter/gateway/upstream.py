"""The compute API behind the gateway: read the gateway's options, check them, and connect."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout

from imagefilter.gateway.options import OPTIONS
from imagefilter.policy.config import ConfigError, RawOption, convert, select

LOG = logging.getLogger(__name__)

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")  # the second one of [an IPv6 address]
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TLS_OPTIONS = ("compute_ca_file", "compute_client_cert", "compute_client_key", "compute_verify")


class Endpoint(NamedTuple):
    """Where the compute API is, and how to connect to it."""

    host: str
    port: int
    timeout: Timeout
    pool_size: int
    tls: ssl.SSLContext | None  # None: plain HTTP

    def connect(self, maxsize: int = 0) -> HTTPConnectionPool:
        """Return a new pool of connections; each is opened when it is needed.

        :param maxsize: how many of them are kept open; 0 is the option ``pool_size``.
        """
        settings: dict[str, Any] = {
            "timeout": self.timeout,
            "maxsize": maxsize or self.pool_size,
            "block": False,  # no request waits for another: a connection over the number is opened for one of them
        }
        if self.tls is None:
            return HTTPConnectionPool(self.host, self.port, **settings)
        return HTTPSConnectionPool(self.host, self.port, ssl_context=self.tls, **settings)


def load(paste: Mapping[str, str], location: str) -> Endpoint:
    """Read the options of one gateway. The environment's proxies are not used.

    :param paste: the keys of the gateway's section in the paste file.
    :param location: how to name that section in an error.
    :raises ConfigError: for every error, in one message.
    """
    errors: list[str] = []
    # Not read_paste(): a gateway has no config file, so the keys that name one are unknown options here.
    raw_options = [RawOption("", name, text.strip(), location) for name, text in paste.items()]
    given = select(raw_options, OPTIONS, errors)
    values = convert(given, OPTIONS, errors)
    url = _check_url(values["compute_url"], location, errors)
    tls = None
    if url is not None and url.scheme == "https":
        tls = _build_tls(values, location, errors)
    elif url is not None:
        _check_no_tls_options(given, errors)
    if errors or url is None:
        raise ConfigError(errors)
    port = url.port or _DEFAULT_PORTS[url.scheme]
    timeout = Timeout(connect=values["connect_timeout"], read=values["read_timeout"])
    return Endpoint(host=str(url.hostname), port=port, timeout=timeout, pool_size=values["pool_size"], tls=tls)


def _check_url(text: str | None, location: str, errors: list[str]) -> SplitResult | None:
    """Return the compute API's address, or None and an error."""
    if text is None:
        errors.append(f"compute_url is not set in {location}: set it to the compute API's, e.g. http://127.0.0.1:8774")
        return None
    if "@" in text:  # checked first, and printed without what precedes it: that may be a password
        address = text.rpartition("@")[2]
        errors.append(
            f"compute_url = ...@{address} in {location}: it must not contain a user or a password: each request"
            " brings its own token"
        )
        return None
    try:
        url = urlsplit(text)
        problem = _find_problem(url)
    except ValueError as error:  # a port that is not a number, for example
        problem = str(error)
    if not problem:
        return url
    errors.append(f"compute_url = {text} in {location}: {problem}")
    return None


def _find_problem(url: SplitResult) -> str:
    """Return why an address can't be the compute API's, or an empty text.

    :raises ValueError: if its port is not a port.
    """
    if url.scheme not in _DEFAULT_PORTS:
        return "it must begin with http:// or https://"
    if not _HOST.fullmatch(url.hostname or "") or url.port == 0:
        return "it names no host"
    if url.path not in ("", "/") or url.query or url.fragment:
        return f"it must end after host and port: the path of each request goes on as it came, not below {url.path}"
    return ""


def _build_tls(values: Mapping[str, Any], location: str, errors: list[str]) -> ssl.SSLContext | None:
    """Return how the compute API and the gateway know each other, or None and an error."""
    ca_file, certificate, key = values["compute_ca_file"], values["compute_client_cert"], values["compute_client_key"]
    if key and not certificate:
        errors.append(f"compute_client_key in {location}: compute_client_cert is not set")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        errors.append(f"compute_ca_file = {ca_file} in {location}: {error}")
        return None
    if certificate:
        try:
            context.load_cert_chain(certificate, key, password=_refuse_encrypted_key)
        except (OSError, ValueError) as error:
            errors.append(f"compute_client_cert = {certificate} in {location}: {error}")
            return None
    if not values["compute_verify"]:
        LOG.warning(
            "compute_verify is false: anybody on the way can respond in the compute API's place and read tokens"
        )
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refuse_encrypted_key() -> str:
    """Refuse to give a password, which OpenSSL would otherwise ask for on a terminal that a service does not have."""
    raise ValueError("its key is encrypted, and there is no way to enter the password")


def _check_no_tls_options(given: Mapping[str, RawOption], errors: list[str]) -> None:
    """Report options that mean nothing with http://, since they show that https:// was meant."""
    for name in _TLS_OPTIONS:
        if name in given and given[name].text:
            errors.append(f"{name} in {given[name].location}: compute_url does not begin with https://")
