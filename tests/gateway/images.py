"""The image service of Nova's own test fixtures, over HTTP: clients look there for the images that Nova made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

_TIMES = ("created_at", "updated_at")
_FIELDS = ("id", "name", "status", "size", "disk_format", "container_format", "min_disk", "min_ram")


class ImageApi:
    """A WSGI application: as much of the Images API, version 2, as is needed to read the images of ``cloud``."""

    def __init__(self, cloud: Any) -> None:
        self._images: dict[str, dict[str, Any]] = cloud.glance.images

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        document = self._find_document(environ)
        status = "200 OK"
        if document is None:
            status = "404 Not Found"
        body = json.dumps(document).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _find_document(self, environ: dict[str, Any]) -> Any:
        version, *path = environ["PATH_INFO"].strip("/").split("/")
        if (version, path[:1]) != ("v2", ["images"]):
            return self._versions(environ["HTTP_HOST"])
        if path[1:]:
            return self._show(path[1])
        return self._list(parse_qs(environ["QUERY_STRING"]))

    def _versions(self, host: str) -> Any:
        links = [{"rel": "self", "href": f"http://{host}/v2/"}]
        return {"versions": [{"id": "v2.17", "status": "CURRENT", "links": links}]}

    def _show(self, image_id: str) -> Any:
        image = self._images.get(image_id)
        if image is None:
            return None
        return _to_version_2(image)

    def _list(self, query: dict[str, list[str]]) -> Any:
        images = list(self._images.values())
        if "name" in query:
            images = [image for image in images if image["name"] in query["name"]]
        return {"images": [_to_version_2(image) for image in images]}


def _to_version_2(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image as the API shows it; in version 2 properties are members of their own."""
    document: dict[str, Any] = {}
    for key, value in image.get("properties", {}).items():
        if isinstance(value, str):
            document[key] = value
    for name in _FIELDS:
        document[name] = image.get(name)
    for name in _TIMES:
        document[name] = image[name].strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**document, "visibility": "private", "tags": []}
