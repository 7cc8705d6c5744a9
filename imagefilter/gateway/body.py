"""Read the body of a request before anything in the gateway's pipeline may answer it.

A server that answers a request whose body it has not read closes the connection, and a front that is still writing
takes that for the gateway's failure: nginx and Apache then leave the gateway alone for a while, for everybody. A 401 of
auth_token's was enough. In a paste file::

    [filter:read_body]
    use = egg:nova-imagefilter#read_body
    max_body_bytes = 114688
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Callable

from oslo_config import cfg

from imagefilter.fault import Fault
from imagefilter.policy.config import ConfigError, RawOption, convert, paste_location, select
from imagefilter.request.body import read_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OPTIONS = (cfg.IntOpt("max_body_bytes", default=114688, min=1),)  # as oslo_middleware's max_request_body_size


def filter_factory(
    global_conf: Mapping[str, str] | None, **local_conf: str
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Build the filter from a paste section.

    :param global_conf: paste's global options; none of them is an option of the filter.
    :param local_conf: the keys of the section: ``max_body_bytes``; a longer body is answered 413.
    :raises ConfigError: for unknown options and values that can't be used.
    """
    limit = _read_limit(local_conf, paste_location(global_conf or {}, local_conf))

    def build(app: WSGIApplication) -> WSGIApplication:
        def read(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            try:
                read_body(environ, limit)
            except Fault as fault:
                return fault(environ, start_response)
            return app(environ, start_response)

        return read

    return build


def _read_limit(paste: Mapping[str, str], location: str) -> int:
    errors: list[str] = []
    given = select([RawOption("", name, text, location) for name, text in paste.items()], _OPTIONS, errors)
    limit: int = convert(given, _OPTIONS, errors)["max_body_bytes"]
    if errors:
        raise ConfigError(errors)
    return limit
