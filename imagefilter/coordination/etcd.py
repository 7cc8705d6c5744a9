"""Locks in etcd: linearizable, so exact."""

from __future__ import annotations

import base64
import uuid
from typing import Any
from urllib.parse import SplitResult, parse_qs

import etcd3gw
import requests
from etcd3gw.exceptions import Etcd3Exception

from imagefilter.bounded import BoundedSession
from imagefilter.coordination.backend import BackendFailed

_NAMESPACE = "/imagefilter/locks/"
_OPTIONS = frozenset(("ca_cert", "cert_cert", "cert_key", "api_version"))
_MAX_BYTES = 65536  # of all answers to one call

# Whatever a back end may answer: etcd3gw reads fields of it without looking.
_FAILURES = (Etcd3Exception, requests.RequestException, ValueError, KeyError, TypeError, AttributeError, OSError)


class EtcdBackend:
    """Locks in etcd, by its JSON gateway. Each call has a connection of its own: nothing is shared with a fork's child.

    :param parts: ``etcd3+http://HOST:PORT?OPTION=VALUE``.
    :param timeout: seconds for one call.
    :raises ValueError: for an option that is not known.
    """

    def __init__(self, parts: SplitResult, timeout: float) -> None:
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        for name in sorted(options.keys() - _OPTIONS):
            raise ValueError(f"unknown option {name}; options are {', '.join(sorted(_OPTIONS))}")
        if ("cert_cert" in options) != ("cert_key" in options):
            raise ValueError("cert_cert and cert_key belong together")
        self._api_path = f"/{options.pop('api_version', 'v3')}/"
        self._options = options
        self._host, self._port = parts.hostname or "", parts.port or 2379
        self._protocol = parts.scheme.partition("+")[2]
        self._timeout = timeout

    def acquire(self, key: str, seconds: int) -> EtcdLease | None:
        """See :class:`imagefilter.coordination.backend.Backend`."""
        name, token = _encode(_NAMESPACE + key), _encode(uuid.uuid4().hex)
        client = self.connect()
        try:
            lease = client.lease(seconds)
            is_new = {"key": name, "result": "EQUAL", "target": "CREATE", "create_revision": 0}
            put = {"request_put": {"key": name, "value": token, "lease": lease.id}}
            if _is_done(client.transaction({"compare": [is_new], "success": [put], "failure": []})):
                return EtcdLease(self, name, token)
            lease.revoke()
        except _FAILURES as error:
            raise _failure(error) from error
        return None

    def connect(self) -> Any:
        """Return a client whose calls together take no longer than one call of ours may."""
        client = etcd3gw.client(
            host=self._host,
            port=self._port,
            protocol=self._protocol,
            api_path=self._api_path,
            timeout=self._timeout,
        )
        client.session = BoundedSession(self._timeout, _MAX_BYTES)
        client.session.verify = self._options.get("ca_cert", True)
        if "cert_cert" in self._options:
            client.session.cert = (self._options["cert_cert"], self._options["cert_key"])
        return client


class EtcdLease:
    """A key that has our token, and goes with its lease."""

    def __init__(self, backend: EtcdBackend, name: str, token: str) -> None:
        self._backend = backend
        self._name = name
        self._token = token

    def release(self) -> bool:
        """Delete the key, if it is still ours; the lease, which then holds nothing, runs out by itself."""
        is_ours = {"key": self._name, "result": "EQUAL", "target": "VALUE", "value": self._token}
        delete = {"request_delete_range": {"key": self._name}}
        try:
            return _is_done(
                self._backend.connect().transaction({"compare": [is_ours], "success": [delete], "failure": []})
            )
        except _FAILURES as error:
            raise _failure(error) from error

    def abandon(self) -> None:
        """Do nothing: the key goes with its lease."""


def _is_done(result: Any) -> bool:
    if not isinstance(result, dict) or not isinstance(result.get("succeeded", False), bool) or "header" not in result:
        raise BackendFailed("etcd answered nonsense")
    return bool(result.get("succeeded", False))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _failure(error: Exception) -> BackendFailed:
    return BackendFailed(f"etcd failed: {type(error).__name__}")
