"""The image service of Nova's own test fixtures, over HTTP: clients look there for what the compute API has made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs


class ImageApi:
    """A WSGI application: as much of the Images API, version 2, as reads what ``cloud`` holds."""

    def __init__(self, cloud: Any) -> None:
        self._images: dict[str, dict[str, Any]] = cloud.glance.images

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"].strip("/").split("/")
        status, document = "200 OK", self._versions(environ["HTTP_HOST"])
        if path[:2] == ["v2", "images"]:
            document = self._show(path[2]) if path[2:] else self._list(parse_qs(environ["QUERY_STRING"]))
            status = "200 OK" if document else "404 Not Found"
        body = json.dumps(document).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _versions(self, host: str) -> Any:
        links = [{"rel": "self", "href": f"http://{host}/v2/"}]
        return {"versions": [{"id": "v2.17", "status": "CURRENT", "links": links}]}

    def _show(self, image_id: str) -> Any:
        image = self._images.get(image_id)
        return image and _shown(image)

    def _list(self, query: dict[str, list[str]]) -> Any:
        names = query.get("name")
        return {"images": [_shown(image) for image in self._images.values() if not names or image["name"] in names]}


def _shown(image: dict[str, Any]) -> dict[str, Any]:
    """Properties are an image's own members in version 2."""
    times = {name: image[name].strftime("%Y-%m-%dT%H:%M:%SZ") for name in ("created_at", "updated_at")}
    names = ("id", "name", "status", "size", "disk_format", "container_format", "min_disk", "min_ram")
    properties = {key: value for key, value in image.get("properties", {}).items() if isinstance(value, str)}
    return {**properties, **{name: image.get(name) for name in names}, **times, "visibility": "private", "tags": []}
