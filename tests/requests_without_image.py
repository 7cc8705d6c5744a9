"""Requests that make no image: the filter changes nothing about them, apart from its documented faults."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Plain(NamedTuple):
    """A request that makes no image."""

    id: str
    method: str
    target: str
    document: Any = b""
    headers: Mapping[str, str] = {}
    # Status and message of the filter's own fault, where it responds instead of Nova, as documented.
    fault: tuple[int, str] | None = None


USER_DATA = base64.b64encode(b"#!/bin/sh\necho createImage\n" * 1820).decode()  # 64 KB
ACTION = "/v2.1/servers/{server}/action"
NOT_FOUND = "/v2.1/servers/2f2f2f2f-0000-4000-8000-000000000000"
MALFORMED = (400, "Malformed request body")
NO_ACTION = (400, "There is no such action: None")


def boot(**members: Any) -> dict[str, Any]:
    """Return the document that boots a server; ``members`` add to its own or replace them."""
    server = {"name": "web", "imageRef": "155d900f-4e14-4e4c-a73d-069cbf4541e6", "flavorRef": "1", "networks": "none"}
    server.update(members)
    return {"server": server}


V37 = {"OpenStack-API-Version": "compute 2.37"}

PLAIN: tuple[Plain, ...] = (
    # --- reading
    Plain("the versions", "GET", "/"),
    Plain("v2.1", "GET", "/v2.1/"),
    Plain("v2", "GET", "/v2/"),
    Plain("servers", "GET", "/v2.1/servers"),
    Plain("servers in detail", "GET", "/v2.1/servers/detail?status=ACTIVE&createImage=1"),
    Plain("a server", "GET", "/v2.1/servers/{server}"),
    Plain("a server on /v2", "GET", "/v2/servers/{server}"),
    Plain("an unknown server", "GET", NOT_FOUND),
    Plain("limits", "GET", "/v2.1/limits"),
    Plain("flavors", "GET", "/v2.1/flavors/detail"),
    Plain("an action path", "GET", ACTION),
    Plain("GET with a body", "GET", ACTION, {"createImage": {}}),
    Plain("HEAD", "HEAD", "/v2.1/servers"),
    Plain("OPTIONS", "OPTIONS", "/v2.1/servers"),
    Plain("OPTIONS of an action path", "OPTIONS", ACTION),
    Plain("no token", "GET", "/v2.1/servers", headers={"X-Auth-Token": ""}),
    # --- other methods on action paths
    Plain("PUT", "PUT", ACTION, {"reboot": {"type": "SOFT"}}),
    Plain("PUT of nothing", "PUT", ACTION),
    Plain("PUT of invalid JSON", "PUT", ACTION, b"{"),
    Plain("PATCH", "PATCH", ACTION, {"createImage": {}}),
    Plain("DELETE", "DELETE", ACTION),
    Plain("lower-case post", "post", ACTION, {"lock": None}),
    Plain("an unknown method", "FOO", ACTION, {"lock": None}),
    # --- other actions
    Plain("reboot", "POST", ACTION, {"reboot": {"type": "SOFT"}}),
    Plain("reboot in Unicode", "POST", ACTION, {"reboot": {"type": "wärme"}}),
    Plain("lock", "POST", ACTION, {"lock": None}),
    Plain("lock with a reason", "POST", ACTION, {"lock": {"locked_reason": "createImage"}},
          {"OpenStack-API-Version": "compute 2.73"}),
    Plain("unlock", "POST", ACTION, {"unlock": None}),
    Plain("lock as a form", "POST", ACTION, {"lock": None}, {"Content-Type": "text/html"}),
    Plain("resize to an unknown flavor", "POST", ACTION, {"resize": {"flavorRef": "99999"}}),
    Plain("confirmResize of nothing", "POST", ACTION, {"confirmResize": None}),
    Plain("rebuild, invalid", "POST", ACTION, {"rebuild": {"metadata": {"createImage": "x"}}}),
    Plain("an unknown action", "POST", ACTION, {"create_image": {"name": "x"}}),
    Plain("an action in capitals", "POST", ACTION, {"CREATEIMAGE": {"name": "x"}}),
    Plain("an action with white space", "POST", ACTION, {"createImage ": {"name": "x"}}),
    Plain("an action without a name", "POST", ACTION, {"": {}}),
    Plain("an action, escaped", "POST", ACTION, b'{"re\\u0062oot": {"type": "SOFT"}}'),
    Plain("shelve of an unknown server", "POST", NOT_FOUND + "/action", {"shelve": None}),
    Plain("the action's name as a text", "POST", ACTION, {"os-getConsoleOutput": {"length": "createImage"}}),
    # --- other resources
    Plain("boot without a flavor", "POST", "/v2.1/servers", {"server": {"name": "createImage"}}),
    Plain("boot with 64 KB of user data, a bad name", "POST", "/v2.1/servers",
          boot(user_data=USER_DATA, name=""), V37),
    Plain("boot with a backslash", "POST", "/v2.1/servers", boot(name="", metadata={"path": "C:\\createImage"}), V37),
    Plain("boot, empty body", "POST", "/v2.1/servers"),
    Plain("boot, invalid body", "POST", "/v2.1/servers", b"{"),
    Plain("boot, a list", "POST", "/v2.1/servers", []),
    Plain("set metadata", "POST", "/v2.1/servers/{server}/metadata", {"metadata": {"createImage": "createBackup"}}),
    Plain("set metadata in Unicode", "POST", "/v2.1/servers/{server}/metadata", {"metadata": {"été": "名前"}}),
    Plain("replace metadata", "PUT", "/v2.1/servers/{server}/metadata", {"metadata": {"createImage": "x"}}),
    Plain("set one item", "PUT", "/v2.1/servers/{server}/metadata/createImage", {"meta": {"createImage": "x"}}),
    Plain("delete an unknown item", "DELETE", "/v2.1/servers/{server}/metadata/createBackup"),
    Plain("rename", "PUT", "/v2.1/servers/{server}", {"server": {"name": "createImage"}}),
    Plain("rename back", "PUT", "/v2/servers/{server}", {"server": {"name": "web-1"}}),
    Plain("a keypair", "POST", "/v2.1/os-keypairs", {"keypair": {"name": "createImage!\\"}}),
    Plain("not for members", "POST", "/v2.1/flavors", {"flavor": {"name": "createImage"}}),
    Plain("an unknown path", "POST", "/v2.1/nothing/here", {"createImage": {}, "x": 1}),
    Plain("an unknown version", "POST", "/v9/servers", {"server": {}}),
    Plain("no version", "POST", "/servers/{server}/action", {"lock": None}),
    Plain("too long a body: Nova's own sizelimit", "POST", "/v2.1/servers", json.dumps("x" * 114687).encode()),
    # --- the filter responds instead of Nova, as documented
    Plain("empty", "POST", ACTION, fault=MALFORMED),
    Plain("null", "POST", ACTION, b"null", fault=MALFORMED),  # Nova: 404
    Plain("a list", "POST", ACTION, [], fault=MALFORMED),  # Nova: 404
    Plain("a text", "POST", ACTION, b'"x"', fault=MALFORMED),  # Nova: 404
    Plain("two actions", "POST", ACTION, {"lock": None, "unlock": None}, fault=MALFORMED),
    Plain("invalid JSON", "POST", ACTION, b"{", fault=MALFORMED),
    Plain("a form", "POST", ACTION, b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, fault=NO_ACTION),
    Plain("a trailing slash, invalid", "POST", ACTION + "/", b"{", fault=MALFORMED),  # Nova: 404
    Plain("unreadable off the path, with the name", "PUT", ACTION, b'{"createImage', fault=MALFORMED),
    Plain("unreadable off the path, with a backslash", "PUT", "/v2.1/servers/{server}", b"\\", fault=MALFORMED),
    Plain("a length that is not a number", "POST", "/v2.1/servers", b"{}", {"Content-Length": "+2"}, fault=MALFORMED),
    Plain("a resource named like an action", "PUT", "/v2.1/flavors/1/os-extra_specs/createImage",
          {"createImage": "x"}, fault=MALFORMED),
)  # fmt: skip
