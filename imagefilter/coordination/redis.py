"""Locks in Redis: exact as long as it keeps them (one server, with AOF, and no failover)."""

from __future__ import annotations

import os
import uuid
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from imagefilter.coordination.backend import BackendFailed

_NAMESPACE = "imagefilter:lock:"

# Delete the lock if it is still ours: it may have run out, and be another's.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"

# A call connects, logs in, selects a database, and asks: each of them may take its part of the time.
_STEPS = 4


class RedisBackend:
    """Locks in Redis. Connected on first use, and again in each child of a fork.

    :param url: as redis-py reads it.
    :param timeout: seconds for one call.
    :raises ValueError: if the URL can't be read.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._seconds_a_step = timeout / _STEPS
        self._pid = 0
        self._client: Any = None
        self._connect()

    def acquire(self, key: str, seconds: int) -> RedisLease | None:
        """See :class:`imagefilter.coordination.backend.Backend`."""
        if self._pid != os.getpid():
            self._connect()
        name, token = _NAMESPACE + key, uuid.uuid4().hex
        try:
            answer = self._client.set(name, token, nx=True, px=seconds * 1000)
        except (redis.RedisError, OSError) as error:
            raise _failure(error) from error
        if answer is None:
            return None
        if answer is not True:
            raise BackendFailed("Redis answered nonsense")
        return RedisLease(self._client, name, token)

    def _connect(self) -> None:
        try:
            self._client = redis.Redis.from_url(
                self._url,
                socket_timeout=self._seconds_a_step,
                socket_connect_timeout=self._seconds_a_step,
                retry=Retry(NoBackoff(), 0),
                lib_name=None,
                lib_version=None,
                protocol=2,
            )
        except (ValueError, TypeError):
            raise ValueError("redis-py can't read it") from None
        self._pid = os.getpid()


class RedisLease:
    """A key that has our token."""

    def __init__(self, client: Any, name: str, token: str) -> None:
        self._client = client
        self._name = name
        self._token = token

    def release(self) -> bool:
        """Delete the key, if it is still ours."""
        try:
            answer = self._client.eval(_RELEASE, 1, self._name, self._token)
        except (redis.RedisError, OSError) as error:
            raise _failure(error) from error
        return bool(answer == 1)

    def abandon(self) -> None:
        """Do nothing: the key expires."""


def _failure(error: Exception) -> BackendFailed:
    return BackendFailed(f"Redis failed: {type(error).__name__}")
