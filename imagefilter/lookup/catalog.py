"""Find the image API: what the operator said, or the one endpoint in the caller's catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imagefilter.policy.policy import ImageAPIOptions
from imagefilter.rules.case import LookupFailed

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def find_image_api(environ: WSGIEnvironment, options: ImageAPIOptions) -> str:
    """Return the image API's endpoint, without a version. Only for a caller somebody vouches for.

    :raises LookupFailed: if there is none, or more than one: which is meant is never guessed.
    """
    url = options.url
    if not url:
        found = sorted(set(_find_in_catalog(environ, options)))
        if len(found) != 1:
            where = f"interface {options.interface}, region {options.region or 'not set'}"
            raise LookupFailed(f"the caller's catalog has {len(found)} image endpoints ({where}): set image_api_url")
        url = found[0]
    if urlsplit(url).scheme not in ("http", "https"):
        raise LookupFailed("the image endpoint in the caller's catalog is no http or https URL")
    return url.rstrip("/").removesuffix("/v2").rstrip("/")


def _find_in_catalog(environ: WSGIEnvironment, options: ImageAPIOptions) -> Iterator[str]:
    for service in _read_catalog(environ):
        if not isinstance(service, dict) or service.get("type") != "image":
            continue
        for endpoint in service.get("endpoints") or ():
            url = endpoint.get(f"{options.interface}URL")
            if isinstance(url, str) and options.region in (None, endpoint.get("region")):
                yield url


def _read_catalog(environ: WSGIEnvironment) -> list[Any]:
    """Return the catalog: Nova's context has some of it, auth_token hands on all (``include_service_catalog``)."""
    context = environ.get("nova.context")
    catalog: Any = getattr(context, "service_catalog", None)
    if context is None:
        try:
            catalog = json.loads(environ.get("HTTP_X_SERVICE_CATALOG", "[]"))
        except (ValueError, RecursionError):
            catalog = None
    if not isinstance(catalog, list):
        return []
    return catalog
