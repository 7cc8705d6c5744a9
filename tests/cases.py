"""The contract, case by case: one table for every harness.

Each case is a request and its outcome. A refused one has the status and the message of the refusal. An allowed one has
the body that the compute API behind the filter reads, and Nova 34's own statuses on ``/v2.1`` and on ``/v2``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.wsgi import encode

SERVER = "11111111-2222-4333-8444-555555555555"  # stands for the id of a server that exists
PROJECT = "6f70656e737461636b20342065766572"  # the caller's project
ACTION = "/servers/{server}/action"
MISMATCH = f"Malformed request URL: URL's project_id '{{}}' doesn't match Context's project_id '{PROJECT}'"

JSON = {"Content-Type": "application/json"}
NO_OPTIONS: Mapping[str, str] = {}


class Case(NamedTuple):
    """A request and its outcome."""

    id: str
    document: Any  # what is sent: a JSON value, or bytes
    status: int = 202  # 202: allowed
    message: str = ""  # of the refusal, exactly
    forwarded: Any = None  # what the compute API reads if allowed; None: the document as it is
    nova: tuple[int, int] = (202, 202)  # status of Nova's own response to an allowed request, on /v2.1 and on /v2
    path: str = ACTION
    headers: Mapping[str, str] = JSON
    token: str | None = "member"
    options: Mapping[str, str] = NO_OPTIONS
    rule: str = ""  # that refuses

    @property
    def body(self) -> bytes:
        """The body that the client sends."""
        return encode(self.document)

    @property
    def expected(self) -> Any:
        """The document that the compute API reads of an allowed request."""
        if self.forwarded is None:
            return self.document
        return self.forwarded


def image(name: Any = "nightly", metadata: Any = None, **members: Any) -> dict[str, Any]:
    """Return the document of a ``createImage``; without metadata if None are given."""
    entity = {"name": name, **members}
    if metadata is not None:
        entity["metadata"] = metadata
    return {"createImage": entity}


def backup(**members: Any) -> dict[str, Any]:
    """Return the document of a ``createBackup``; ``members`` add to its own or replace them."""
    entity = {"name": "weekly", "backup_type": "weekly", "rotation": 50}
    entity.update(members)
    return {"createBackup": entity}


def items(count: int) -> dict[str, str]:
    """Return this many metadata items."""
    return {f"key{number}": "value" for number in range(count)}


NAME = "The name must be text of 1 to 255 characters, or a number of 1 to 255 digits; found "
REQUIRED = "createImage entity requires name attribute"


def bad_name(id_: str, name: Any, found: str) -> Case:
    """Return a case that the rule ``name-format`` refuses."""
    return Case(id_, image(name), 400, NAME + found, rule="name-format")


def bad_value(id_: str, value: Any, found: str) -> Case:
    """Return a case that the rule ``metadata-value`` refuses."""
    message = f"The value of image metadata key 'k' must be text of at most 65535 bytes; found {found}"
    return Case(id_, image(metadata={"good": "v", "k": value}), 400, message, rule="metadata-value")


def malformed(id_: str, document: Any) -> Case:
    """Return a case that the rule ``body`` refuses."""
    return Case(id_, document, 400, "Malformed request body", rule="body")


def no_such_action(id_: str, content_type: str, document: Any = None) -> Case:
    """Return a case that the rule ``content-type`` refuses; without a document it is a good ``createImage``."""
    if document is None:
        document = image()
    headers = {"Content-Type": content_type}
    return Case(id_, document, 400, "There is no such action: None", headers=headers, rule="content-type")


UNAUTHORIZED = "The request you have made requires authentication."
DISABLED = "Instance snapshots are not permitted at this time."
SWITCHED_OFF = {"snapshots_enabled": "false"}
QUOTA = "Image metadata limit exceeded"
BLANK = "Image metadata key cannot be blank"
TOO_LONG = "Image metadata key too long"

CASES: tuple[Case, ...] = (
    # --- the token
    Case("no token", image(), 401, UNAUTHORIZED, token=None, rule="token"),
    Case("no token and an unreadable body", b"{", 401, UNAUTHORIZED, token=None, rule="token"),
    # --- the content type
    Case("JSON with a charset", image(), headers={"Content-Type": "application/json; charset=utf-16"}),
    Case("Nova's own JSON type", image(), headers={"Content-Type": "application/vnd.openstack.compute+json"}),
    Case("text/plain", image(), headers={"Content-Type": "text/plain"}),
    Case("an empty content type", image(), headers={"Content-Type": ""}),
    no_such_action("a form", "application/x-www-form-urlencoded"),
    no_such_action("XML", "application/xml"),
    no_such_action("JSON in capitals", "APPLICATION/JSON"),
    no_such_action("JSON after a space", " application/json"),
    no_such_action("two types", "application/json, text/plain"),
    no_such_action("a form that names no action", "application/x-www-form-urlencoded", b"createImage=1"),
    no_such_action("an XML document", "text/xml", b'<createImage name="x"/>'),
    # --- the body
    malformed("no body", b""),
    malformed("not JSON", b"createImage"),
    malformed("half a document", b'{"createImage": {"name": "x"}'),
    malformed("trailing garbage", b'{"createImage": {"name": "x"}}}'),
    malformed("no action", {}),
    malformed("two actions", {"createImage": {"name": "x"}, "reboot": {"type": "SOFT"}}),
    malformed("null", b"null"),
    malformed("a list", [image()]),
    malformed("an empty list", []),
    malformed("a text", b'"x"'),
    malformed("a number", b"1"),
    malformed("entity is null", {"createImage": None}),
    malformed("entity is a list", {"createImage": ["name"]}),
    malformed("entity is a text", {"createImage": "name"}),
    malformed("entity is false", {"createImage": False}),
    malformed("createBackup of null", {"createBackup": None}),
    malformed("invalid UTF-8", b'{"createImage": {"name": "\xff"}}'),
    malformed("Latin-1", '{"createImage": {"name": "é"}}'.encode("latin-1")),
    malformed("a byte order mark", b"\xef\xbb\xbf" + json.dumps(image()).encode()),
    malformed("UTF-16", json.dumps(image()).encode("utf-16")),
    malformed("UTF-32", json.dumps(image()).encode("utf-32")),
    malformed("surrogates in UTF-8", b'{"createImage": {"name": "\xed\xa0\x80"}}'),
    malformed("110 KB of nesting", b'{"createImage":' + b"[" * 55_000 + b"]" * 55_000 + b"}"),
    malformed("nested 101 levels deep", b'{"createImage": {"name": "x", "m": ' + b"[" * 99 + b"]" * 99 + b"}}"),
    malformed("an integer of 5000 digits", b'{"createImage": {"name": "x", "n": ' + b"9" * 5000 + b"}}"),
    malformed("a comment", b'{"createImage": {"name": "x"}} // x'),
    # --- the project
    Case("own project in the path", image(), path=f"/{PROJECT}{ACTION}"),
    Case("another project", image(), 400, MISMATCH.format("0" * 32), path=f"/{'0' * 32}{ACTION}", rule="project"),
    Case("project 0", image(), 400, MISMATCH.format("0"), path=f"/0{ACTION}", rule="project"),
    Case("a project id that Nova's routes don't match", image(), 404, "The resource could not be found.",
         path=f"/admin{ACTION}", rule="project-id"),
    Case("own project in capitals", image(), 404, "The resource could not be found.",
         path=f"/{PROJECT.upper()}{ACTION}", rule="project-id"),
    # --- the server
    Case("a server id that is not a UUID", image(), 404, "Instance 42 could not be found.", path="/servers/42/action",
         rule="server"),
    Case("a long server id", image(), 404, f"Instance {'x' * 77}... could not be found.",
         path=f"/servers/{'x' * 300}/action", rule="server"),
    Case("a server id with a suffix", image(), 404, f"Instance {SERVER}.json could not be found.",
         path=f"/servers/{SERVER}.json/action", rule="server"),
    # --- the switch
    Case("snapshots are off", image(), 400, DISABLED, options=SWITCHED_OFF, rule="snapshots-enabled"),
    Case("snapshots are off, by the option's old name", image(), 400, DISABLED,
         options={"allow_instance_snapshots": "false"}, rule="snapshots-enabled"),
    Case("snapshots are off, no name", {"createImage": {}}, 400, DISABLED, options=SWITCHED_OFF,
         rule="snapshots-enabled"),
    Case("backups are off too", backup(), 400, DISABLED, options=SWITCHED_OFF, rule="snapshots-enabled"),
    Case("snapshots are off, another action", {"lock": None}, options=SWITCHED_OFF),
    # --- the name
    Case("a name", image("nightly")),
    Case("name of 1 character", image("a")),
    Case("name of 255 characters", image("n" * 255)),
    Case("name of 255 characters, multi-byte", image("名" * 255)),
    bad_name("name of 256 characters", "n" * 256, "256 characters"),
    bad_name("name of 256 characters, multi-byte", "名" * 256, "256 characters"),
    Case("name with escapes", b'{"create\\u0049mage": {"n\\u0061me": "\\u00e9t\\u00e9"}}', forwarded=image("été")),
    Case("number of 1 digit", image(7), forwarded=image("7")),
    Case("number 0", image(0), forwarded=image("0")),
    Case("number of 255 digits", image(int("9" * 255)), forwarded=image("9" * 255)),
    bad_name("number of 256 digits", int("9" * 256), "256 characters"),
    bad_name("number -5", -5, "a number"),
    Case("number -0", b'{"createImage": {"name": -0}}', 400, NAME + "a number", rule="name-format"),
    bad_name("number 1.5", 1.5, "a number"),
    Case("number 1e3", b'{"createImage": {"name": 1e3}}', 400, NAME + "a number", rule="name-format"),
    Case("NaN", b'{"createImage": {"name": NaN}}', 400, NAME + "a number", rule="name-format"),
    bad_name("name true", True, "a boolean"),
    bad_name("name false", False, "a boolean"),
    bad_name("name is a list", ["x"], "a list"),
    bad_name("name is an object", {"x": "y"}, "an object"),
    bad_name("name is an empty list", [], "a list"),
    Case("no name", {"createImage": {}}, 400, REQUIRED, rule="name-required"),
    Case("name is null", image(None), 400, REQUIRED, rule="name-required"),
    Case("name is empty", image(""), 400, REQUIRED, rule="name-required"),
    Case("metadata but no name", {"createImage": {"metadata": {"k": "v"}}}, 400, REQUIRED, rule="name-required"),
    Case("Name is not name", {"createImage": {"Name": "x"}}, 400, REQUIRED, rule="name-required"),
    Case("name given twice: the last counts", b'{"createImage": {"name": 1.5, "name": "b"}}', forwarded=image("b")),
    Case("name given twice, the last is bad", b'{"createImage": {"name": "b", "name": 1.5}}', 400, NAME + "a number",
         rule="name-format"),
    Case("action given twice: the last counts", b'{"createImage": {}, "createImage": {"name": "b"}}',
         forwarded=image("b")),
    # Names that the contract allows and Nova does not: the response is Nova's.
    Case("name with a space at its end", image("a "), nova=(400, 400)),
    Case("name of spaces", image("  "), nova=(400, 400)),
    Case("name with an emoji", image("\N{OK HAND SIGN}"), nova=(400, 400)),
    Case("name with a lone surrogate", b'{"createImage": {"name": "\\ud800"}}', forwarded=image("\ud800"),
         nova=(400, 400)),
    # --- the metadata
    Case("no metadata", image(metadata={})),
    Case("three items", image(metadata=items(3))),
    Case("128 items", image(metadata=items(128))),
    Case("129 items", image(metadata=items(129)), 403, QUOTA, rule="metadata-quota"),
    Case("8,000 items", image(metadata={str(number): "" for number in range(8_000)}), 403, QUOTA,
         rule="metadata-quota"),
    Case("an item where none is allowed", image(metadata={"k": "v"}), 403, QUOTA, options={"metadata_items": "0"},
         rule="metadata-quota"),
    Case("no item where none is allowed", image(metadata={}), options={"metadata_items": "0"}),
    Case("129 items without a limit: Nova's own quota", image(metadata=items(129)), options={"metadata_items": "-1"},
         nova=(403, 403)),
    Case("metadata is null", b'{"createImage": {"name": "x", "metadata": null}}', 400, "Invalid image metadata",
         rule="metadata-type"),
    Case("metadata is a list", image(metadata=["k"]), 400, "Invalid image metadata", rule="metadata-type"),
    Case("metadata is a text", image(metadata="k"), 400, "Invalid image metadata", rule="metadata-type"),
    Case("metadata is a number", image(metadata=1), 400, "Invalid image metadata", rule="metadata-type"),
    Case("blank key", image(metadata={"": "v"}), 400, BLANK, rule="metadata-key-blank"),
    Case("blank key beside another", image(metadata={"k": "v", "": "v"}), 400, BLANK, rule="metadata-key-blank"),
    Case("key of 1 character", image(metadata={"k": "v"})),
    Case("key of 255 characters", image(metadata={"k" * 255: "v"})),
    Case("key of 256 characters", image(metadata={"k" * 256: "v"}), 400, TOO_LONG, rule="metadata-key-length"),
    Case("key of 256 characters, the last is a newline", image(metadata={"k" * 255 + "\n": "v"}), 400, TOO_LONG,
         rule="metadata-key-length"),
    Case("key of 255 characters, multi-byte", image(metadata={"鍵" * 255: "v"}), nova=(400, 202)),
    Case("key of 256 characters, multi-byte", image(metadata={"鍵" * 256: "v"}), 400, TOO_LONG,
         rule="metadata-key-length"),
    Case("key given twice: the last counts", b'{"createImage": {"name": "x", "metadata": {"k": 1, "k": "v"}}}',
         forwarded=image("x", {"k": "v"})),
    Case("brackets in a value", image(metadata={"k": "[{" * 100})),
    Case("empty value", image(metadata={"k": ""})),
    Case("value of 255 characters", image(metadata={"k": "v" * 255})),
    # Nova's schema allows 255 characters, the documented contract 65535 bytes.
    Case("value of 65535 bytes", image(metadata={"k": "v" * 65535}), nova=(400, 400)),
    bad_value("value of 65536 bytes", "v" * 65536, "65536 bytes"),
    Case("value of 65535 bytes, multi-byte", image(metadata={"k": "値" * 21845}), nova=(400, 400)),
    bad_value("value of 65536 bytes, multi-byte", "値" * 21845 + "v", "65536 bytes"),
    Case("value of 65535 bytes, 4 bytes each", image(metadata={"k": "\N{OK HAND SIGN}" * 16383 + "vvv"}),
         nova=(400, 400)),
    bad_value("value of 65536 bytes, 4 bytes each", "\N{OK HAND SIGN}" * 16384, "65536 bytes"),
    bad_value("value is a boolean", True, "a boolean"),
    bad_value("value is a number", 5, "a number"),
    bad_value("value is a fraction", 0.5, "a number"),
    bad_value("value is null", None, "null"),
    bad_value("value is a list", ["v"], "a list"),
    bad_value("value is an object", {"a": "b"}, "an object"),
    Case("a long bad key is truncated", image(metadata={"k" * 200: 5}), 400,
         f"The value of image metadata key '{'k' * 77}...' must be text of at most 65535 bytes; found a number",
         rule="metadata-value"),
    # --- the order of judging
    Case("wrong project wins over no name", {"createImage": {}}, 400, MISMATCH.format("0"), path=f"/0{ACTION}",
         rule="project"),
    Case("bad body wins over wrong project", b"{", 400, "Malformed request body", path=f"/0{ACTION}", rule="body"),
    Case("bad type wins over bad body", b"{", 400, "There is no such action: None",
         headers={"Content-Type": "text/html"}, rule="content-type"),
    Case("no name wins over 129 items", image("", items(129)), 400, REQUIRED, rule="name-required"),
    Case("129 items win over a blank key", image(metadata={"": "v", **items(128)}), 403, QUOTA, rule="metadata-quota"),
    Case("a blank key wins over a bad value", image(metadata={"": 5}), 400, BLANK, rule="metadata-key-blank"),
    # --- createBackup
    Case("a backup", backup()),
    Case("a backup with metadata", backup(metadata=items(2))),
    Case("a backup named by a number", backup(name=42), forwarded=backup(name="42")),
    Case("a backup with no name", {"createBackup": {"backup_type": "x", "rotation": 1}}, 400,
         "createBackup entity requires name attribute", rule="name-required"),
    Case("a backup with 129 items", backup(metadata=items(129)), 403, QUOTA, rule="metadata-quota"),
    Case("a backup with a bad key", backup(metadata={"": "v"}), 400, BLANK, rule="metadata-key-blank"),
    Case("a backup without a type: Nova's own refusal", {"createBackup": {"name": "x"}}, nova=(400, 400)),
    # --- members that are not in the contract: Nova refuses them on /v2.1 and drops them on /v2
    Case("another member", image(instance="x"), nova=(400, 202)),
    Case("another member, nested", b'{"createImage": {"name": "x", "m": ' + b"[" * 97 + b"]" * 97 + b"}}",
         forwarded=image("x", m=json.loads("[" * 97 + "]" * 97)), nova=(400, 202)),
    Case("another member, nested 100 levels deep", b'{"createImage": {"name": "x", "m": ' + b"[" * 98 + b"1" + b"]" * 98
         + b"}}", forwarded=image("x", m=json.loads("[" * 98 + "1" + "]" * 98)), nova=(400, 202)),
    Case("another member, a big number", b'{"createImage": {"name": "x", "n": 1e400}}',
         forwarded=image("x", n=float("inf")), nova=(400, 202)),
)  # fmt: skip
