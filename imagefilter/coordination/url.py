"""Which back end of locks a URL names."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from imagefilter.coordination.backend import Backend

_SCHEMES = ("file", "redis", "rediss", "etcd3+http", "etcd3+https")
_PORTS = {"redis": 6379, "rediss": 6379, "etcd3+http": 2379, "etcd3+https": 2379}


def load_backend(url: str, timeout: float) -> Backend:
    """Return the back end that a URL names; nothing is connected yet.

    :param timeout: seconds that one call may take, whatever state the back end is in.
    :raises ValueError: if it can't be used. The message has no password in it.
    """
    parts = _split(url)
    if parts.scheme == "file":
        from imagefilter.coordination.host import HostBackend  # noqa: PLC0415

        return HostBackend(parts.path)
    try:
        if parts.scheme.startswith("etcd3"):
            from imagefilter.coordination.etcd import EtcdBackend  # noqa: PLC0415  # an extra

            return EtcdBackend(parts, timeout)
        from imagefilter.coordination.redis import RedisBackend  # noqa: PLC0415  # an extra

        return RedisBackend(url, timeout)
    except ImportError as error:
        raise ValueError(f"a library is missing ({error.name}): pip install 'nova-imagefilter[coordination]'") from None


def describe(url: str) -> str:
    """Return a back end's URL without user, password and options."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return f"file://{parts.path}"
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"its scheme is none of {', '.join(_SCHEMES)}")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
            raise ValueError("it must be file:///DIRECTORY/FILE, an absolute path")
    elif not parts.hostname or port == 0:
        raise ValueError("it names no host")
    if "sentinel=" in parts.query:
        raise ValueError("a lock can be lost when Redis Sentinel fails over: name one Redis, or etcd")
    return parts
