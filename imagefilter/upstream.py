"""The connections to the compute API: the gateway's options, resolved into a pool of urllib3."""

from __future__ import annotations

import difflib
import functools
import logging
import re
import ssl
from collections.abc import Mapping
from typing import Any, Callable
from urllib.parse import SplitResult, urlsplit

from oslo_config import types
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout

from imagefilter.policy import ConfigError

LOG = logging.getLogger(__name__)

#: Each option's type and default; None is unset.
OPTIONS: dict[str, tuple[Any, Any]] = {
    "compute_url": (types.String(), None),
    "compute_ca_file": (types.String(), None),
    "compute_client_cert": (types.String(), None),
    "compute_client_key": (types.String(), None),
    "compute_verify": (types.Boolean(), True),
    "connect_timeout": (types.Float(min=0.001), 5.0),
    "read_timeout": (types.Float(min=0.001), 60.0),
    "pool_size": (types.Integer(min=1), 16),
}

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")  # the second one of [an IPv6 address]


def connector(given: Mapping[str, str], place: str) -> Callable[..., HTTPConnectionPool]:
    """Resolve options into what makes pools of connections to the compute API.

    The environment is no source: neither its proxies nor its certificates count.

    :param given: the keys of a paste section.
    :param place: what to call that section in an error.
    :raises ConfigError: for all that is wrong, in one message.
    """
    errors: list[str] = []
    values = _values(given, place, errors)
    url = _url(values["compute_url"], place, errors)
    settings: dict[str, Any] = {
        "timeout": Timeout(connect=values["connect_timeout"], read=values["read_timeout"]),
        "maxsize": values["pool_size"],
        "block": False,  # no request waits for another: a connection over the number is opened for one of them
    }
    secure = bool(url and url.scheme == "https")
    if secure:
        settings["ssl_context"] = _tls(values, place, errors)
    elif url:
        _no_tls(given, place, errors)
    if errors or url is None:
        raise ConfigError(errors)
    pool = HTTPSConnectionPool if secure else HTTPConnectionPool
    return functools.partial(pool, str(url.hostname), url.port or (443 if secure else 80), **settings)


def _values(given: Mapping[str, str], place: str, errors: list[str]) -> dict[str, Any]:
    values = {name: default for name, (_, default) in OPTIONS.items()}
    for name, text in given.items():
        if name not in OPTIONS:
            close = difflib.get_close_matches(name, OPTIONS, 1)
            errors.append(f"unknown option '{name}' in {place}" + (f" (is it {close[0]}?)" if close else ""))
        elif text.strip():  # an empty value unsets
            try:
                values[name] = OPTIONS[name][0](text.strip())
            except ValueError as error:
                errors.append(f"{name} = {text} in {place}: {error}")
    return values


def _url(text: str | None, place: str, errors: list[str]) -> SplitResult | None:
    """The compute API's address, or an error that says what is wrong with it."""
    if text is None:
        errors.append(f"compute_url is not set in {place}: say where the compute API is, as in http://127.0.0.1:8774")
        return None
    try:
        url = urlsplit(text)
        problem = _problem_of(url)
    except ValueError as error:  # a port that is none
        problem = str(error)
    if not problem:
        return url
    shown = re.sub(r"//[^/]*@", "//...@", text)  # there may be a password
    errors.append(f"compute_url = {shown} in {place}: {problem}")
    return None


def _problem_of(url: SplitResult) -> str:
    if url.scheme not in ("http", "https"):
        return "it must begin with http:// or https://"
    if not _HOST.fullmatch(url.hostname or "") or url.port == 0:
        return "it names no host"
    if "@" in url.netloc:
        return "it must not hold a user or a password: each request brings its own token"
    if url.path not in ("", "/") or url.query or url.fragment:
        return f"it must end after host and port: the path of each request goes on as it came, not below {url.path}"
    return ""


def _tls(values: Mapping[str, Any], place: str, errors: list[str]) -> ssl.SSLContext | None:
    """How to know the compute API, and to be known by it."""
    cafile, cert, key = (values[f"compute_{name}"] for name in ("ca_file", "client_cert", "client_key"))
    if key and not cert:
        errors.append(f"compute_client_key in {place}: compute_client_cert is not set")
    name = "compute_ca_file"
    try:
        context = ssl.create_default_context(cafile=cafile)
        if cert:
            name = "compute_client_cert"
            # A password would be asked for on a terminal that a service does not have.
            context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        errors.append(f"{name} = {values[name]} in {place}: {error}")
        return None
    if not values["compute_verify"]:
        LOG.warning("compute_verify is false: anybody on the way can answer in the compute API's place and read tokens")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    raise ValueError("its key is encrypted, and nobody is there to be asked for the password")


def _no_tls(given: Mapping[str, str], place: str, errors: list[str]) -> None:
    """Options that mean nothing with http:// show that https:// was meant."""
    for name in ("compute_ca_file", "compute_client_cert", "compute_client_key", "compute_verify"):
        if given.get(name, "").strip():
            errors.append(f"{name} in {place}: compute_url does not begin with https://")
