"""A small cloud of real components, see :mod:`tests.real`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import requests
import webob

from tests.gateway.keystone import ADMIN
from tests.gateway.nova import serve_wsgi
from tests.nova.cloud import Options, microversion
from tests.real.glance import Glance
from tests.real.nova import Host
from tests.wsgi import send

_VOLUME = {"boot_index": 0, "source_type": "volume", "destination_type": "volume"}


class Site:
    """Keystone, Glance, and a Nova that uses them.

    :ivar base_image: the id of a public image to boot servers from.
    :ivar bare: Nova's API without the filter.
    """

    def __init__(self, keystone: Any, glance: Glance, cloud: Any, host: Host) -> None:
        self.keystone = keystone
        self.glance = glance
        self.cloud = cloud
        self.host = host
        self._booted: dict[str, str] = {}  # user, by server
        self.base_image = glance.create(ADMIN, "base", visibility="public", min_disk=0)
        glance.upload(ADMIN, self.base_image)
        self.bare = self.app(None)

    def app(self, options: Options, **authtoken: str) -> Any:
        """Return Nova's API with an auth_token that asks Keystone; with options the filter is in its pipelines.

        :param options: of the filter; ``audit_journal`` is ``self.cloud.journal`` unless it is among them.
        :param authtoken: further options of auth_token.
        """
        return self.cloud.app_with_keystone({**self.keystone.authtoken(), **authtoken}, options)

    @contextlib.contextmanager
    def serve(self, options: Options) -> Iterator[str]:
        """Serve :meth:`app` in threads of this process, and put it into Keystone's catalog; yield its URL."""
        with serve_wsgi(self.app(options)) as port:
            url = f"http://127.0.0.1:{port}"
            self.keystone.publish("compute", f"{url}/v2.1")
            yield url

    def headers(self, user: str, version: str | None = "2.60") -> dict[str, str]:
        """Return the headers of a user's request: a token, and a microversion unless it is None."""
        return {"X-Auth-Token": self.keystone.token(user), **microversion(version)}

    def post_action(self, app: Any, user: str, server: str, document: Any, prefix: str = "/v2.1") -> webob.Response:
        """Send an action of a server to an application, and wait until the compute host has finished it."""
        response = send(app, "POST", f"{prefix}/servers/{server}/action", document, self.headers(user))
        self.cloud.settle(server)
        return response

    def boot(self, user: str, **members: Any) -> str:
        """Boot a server of the user's project, and wait until it is ACTIVE; return its id.

        :param members: of the document, in place of its own: ``imageRef``, …
        """
        server = {"name": "web-1", "imageRef": self.base_image, "flavorRef": "1", "networks": "none", **members}
        response = send(self.bare, "POST", "/v2.1/servers", {"server": server}, self.headers(user))
        assert response.status_int == 202, response.text
        server_id: str = response.json["server"]["id"]
        self._booted[server_id] = user
        self.cloud.settle(server_id)
        booted = self.show_server(user, server_id)
        assert booted["status"] == "ACTIVE", booted.get("fault")
        return server_id

    def boot_from_volume(self, user: str) -> str:
        """Boot a server from a volume of Nova's fake Cinder: its images are volume-backed."""
        cinder = self.cloud.cinder
        cinder.volume_to_attachment.pop(cinder.IMAGE_BACKED_VOL, None)  # it has this one, and attaches it once
        volume = {**_VOLUME, "uuid": cinder.IMAGE_BACKED_VOL}
        return self.boot(user, imageRef="", block_device_mapping_v2=[volume])

    def act(self, user: str, server: str, action: str, value: Any = None) -> None:
        """Let a user do something else to a server: ``shelve``, ``unshelve``, ``shelveOffload``, …"""
        response = self.post_action(self.bare, user, server, {action: value})
        assert response.status_int == 202, response.text

    def show_server(self, user: str, server: str) -> dict[str, Any]:
        response = send(self.bare, "GET", f"/v2.1/servers/{server}", None, self.headers(user))
        document: dict[str, Any] = response.json["server"]
        return document

    @contextlib.contextmanager
    def delete_servers(self) -> Iterator[None]:
        """Delete the servers that are booted in the block when it ends."""
        before = set(self._booted)
        try:
            yield
        finally:
            for server in self._booted.keys() - before:
                send(self.bare, "DELETE", f"/v2.1/servers/{server}", None, self.headers(self._booted.pop(server)))

    def delete_server(self, user: str, server: str) -> None:
        response = send(self.bare, "DELETE", f"/v2.1/servers/{server}", None, self.headers(user))
        assert response.status_int == 204, response.text

    def images(self, user: str) -> list[dict[str, Any]]:
        """Return the images that the user's project owns, of any visibility, hidden ones too; oldest first."""
        return self.glance.own_images(user)

    def clear_images(self) -> None:
        """Delete all images but the one to boot servers from."""
        for image in self.glance.images(ADMIN):
            if image["id"] == self.base_image:
                continue
            if image["protected"]:
                self.glance.update(ADMIN, image["id"], protected=False)
            with contextlib.suppress(requests.RequestException):
                self.glance.delete(ADMIN, image["id"])
