"""The document that the operator's own rules are about: its fields, with their types, and their values for a request.

A value is of exactly its type, or absent: never null, and never a text that the library would truncate (at a NUL
character) or could not hold (a lone surrogate).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from imagefilter.request.codec import read_rotation
from imagefilter.rules.case import Case, LookupFailed, Usage

#: The largest number of an ``int``.
LARGEST = 2**63 - 1


#: Fields whose values are recorded only where those of the image's metadata are.
TENANTS_METADATA = frozenset(("server.metadata", "server.image.properties"))


class Field(NamedTuple):
    """A field of the document."""

    name: str
    type: str  # in CEL
    example: str  # an expression of CEL that is a value
    changed_by: str  # who can change it
    summary: str


_TENANT = "the tenant, at any time"
_REQUEST = "the client, with each request"
_IDENTITY = "the identity service"
_NOBODY = "nobody"
_IMAGE = "before Nova 31: the owner of the image; from Nova 31 on: nobody"

FIELDS: tuple[Field, ...] = (
    Field("action", "string", '"createImage"', _REQUEST, "`createImage`, `createBackup`, or `shelve`"),
    Field(
        "image.name",
        "string",
        '"nightly"',
        _REQUEST,
        "the name of the new image, without the white space around it, which Nova strips as well; absent with"
        " `shelve`",
    ),
    Field(
        "image.metadata",
        "map<string,string>",
        '{"cost-centre": "4711"}',
        _REQUEST,
        "the metadata that the client gives the image; empty if there is none",
    ),
    Field("backup.type", "string", '"daily"', _REQUEST, "the `backup_type`; only with `createBackup`"),
    Field("backup.rotation", "int", "7", _REQUEST, "how many backups Nova keeps; only with `createBackup`"),
    Field("caller.user_id", "string", '"8f0c4d2e"', _IDENTITY, "the caller's id, from `auth_token`"),
    Field("caller.project_id", "string", '"6f70656e"', _IDENTITY, "the project that the caller's token is for"),
    Field("caller.user_domain_id", "string", '"default"', _IDENTITY, "the domain of the caller"),
    Field("caller.roles", "list<string>", '["member", "reader"]', _IDENTITY, "the caller's roles, in lower case"),
    Field("server.id", "string", '"11111111-2222-4333-8444-555555555555"', _NOBODY, "the id, as Nova writes it"),
    Field("server.name", "string", '"web-1"', _TENANT, ""),
    Field("server.status", "string", '"ACTIVE"', _TENANT, "as in the compute API: `ACTIVE`, `SHUTOFF`, ..."),
    Field("server.created", "timestamp", 'timestamp("2026-11-02T08:00:00Z")', _NOBODY, ""),
    Field("server.locked", "bool", "false", _TENANT, "whether somebody locked the server"),
    Field("server.tags", "list<string>", '["batch"]', _TENANT, ""),
    Field("server.metadata", "map<string,string>", '{"owner": "alice"}', _TENANT, ""),
    Field("server.availability_zone", "string", '"az1"', "the operator; the tenant, by a migration or unshelve", ""),
    Field("server.flavor.name", "string", '"gpu.large"', "the tenant, by a resize", ""),
    Field("server.flavor.vcpus", "int", "8", "the tenant, by a resize", ""),
    Field("server.flavor.ram", "int", "16384", "the tenant, by a resize", "in MiB"),
    Field("server.flavor.disk", "int", "80", "the tenant, by a resize",
          "the root disk in GiB; 0 means the size of the image"),
    Field(
        "server.flavor.extra_specs",
        "map<string,string>",
        '{"hw:cpu_policy": "dedicated"}',
        "the tenant, by a resize",
        "absent if the compute API's policy hides them from the caller",
    ),
    Field("server.image.id", "string", '"70a599e0-31e7-49b7-b260-868f441e862b"', "the tenant, by a rebuild",
          "the image that the server was booted from; absent if it was booted from a volume"),
    Field("server.image.name", "string", '"windows-2022"', "the owner of the image",
          "the name of that image, from a second request; absent if the image is gone"),
    Field("server.image.properties", "map<string,string>", '{"os_distro": "windows"}', _IMAGE,
          "from Nova 31 on (microversion 2.98): the properties that Nova itself knows, as they were at boot; before:"
          " all properties as they are now, from a second request; absent if the image is gone"),
    Field("server.volume_backed", "bool", "true", "the tenant, by a new server",
          "whether the server's root device is a volume; absent if only an administrator could tell"),
    Field("server.volumes", "list<string>", '["45605e0f-7a91-4a07-b5d3-2b6b1a1d4b6e"]', _TENANT,
          "the ids of the attached volumes"),
    Field("usage.server", "int", "2", _TENANT, "how many images of this server the caller's project owns"),
    Field("usage.project", "int", "9", _TENANT, "how many images of servers the caller's project owns"),
    Field("usage.in_progress", "int", "1", _TENANT, "how many of these images are unfinished"),
    Field("now", "timestamp", 'timestamp("2026-11-27T12:00:00Z")', _NOBODY, "the time of the request, in UTC"),
)  # fmt: skip


class Document(NamedTuple):
    """The values of some fields for one request, and why others are absent."""

    values: dict[str, Any]
    absent: dict[str, str]


class _Absent(Exception):
    """A field has no value; the message says why."""


def build_document(case: Case, fields: Collection[str]) -> Document:
    """Return the values that an expression reads; nothing is looked up that it does not read.

    :raises LookupFailed: if they could not be looked up.
    :raises ServerNotFound: if there is no such server.
    :raises NotAuthenticated: if the compute API responds 401.
    """
    document = Document({}, {})
    for name in fields:
        try:
            document.values[name] = _read(case, name)
        except _Absent as absent:
            document.absent[name] = str(absent)
    return document


def _read(case: Case, name: str) -> Any:
    """Return a field's value.

    :raises _Absent: if it has none.
    """
    group, _, field = name.partition(".")
    if group == "server":
        return _read_server(case, name)
    if group == "usage":
        return _check_number(getattr(_count(case), field))
    return _READERS[name](case)


def _count(case: Case) -> Usage:
    return case.lookups.usage()


def _read_server(case: Case, name: str) -> Any:
    facts = case.lookups.server()
    if name in facts.failed:
        raise LookupFailed(facts.failed[name])
    if name not in facts.values:
        raise _Absent(facts.why_absent.get(name, facts.why_absent.get("", "the compute API does not say")))
    value = facts.values[name]
    if type(value) is str:
        return _check_text(value)
    if type(value) is int:
        return _check_number(value)
    if type(value) is dict:
        return _check_map(value)
    if type(value) is list:
        return _check_list(value)
    return value


def _image_name(case: Case) -> str:
    name = case.action.image_name
    if name is None:
        raise _Absent("the client gives the image no name")
    return _check_text(name).strip()


def _image_metadata(case: Case) -> dict[str, str]:
    return _check_map(case.action.metadata)


def _backup_type(case: Case) -> str:
    return _check_text(_backup(case).get("backup_type"))


def _backup_rotation(case: Case) -> int:
    return _check_number(read_rotation(_backup(case).get("rotation")))


def _backup(case: Case) -> dict[str, Any]:
    if case.action.name != "createBackup" or type(case.action.entity) is not dict:
        raise _Absent("the action is no createBackup")
    return dict(case.action.entity)


def _identity(read: Callable[[Case], Any]) -> Callable[[Case], str]:
    def read_text(case: Case) -> str:
        if not case.identity.authenticated:
            raise _Absent("nobody vouches for the caller")
        return _check_text(read(case))

    return read_text


def _roles(case: Case) -> list[str]:
    if not case.identity.authenticated:
        raise _Absent("nobody vouches for the caller")
    return _check_list(sorted(case.identity.roles))


def _check_text(value: Any) -> str:
    if type(value) is not str:
        raise _Absent("it is no text")
    if "\0" in value:  # the library's texts end there
        raise _Absent("its text has a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Absent("its text has half a surrogate pair") from None
    return value


def _check_number(value: Any) -> int:
    if type(value) is not int:
        raise _Absent("it is no whole number")
    if not -LARGEST <= value <= LARGEST:
        raise _Absent("its number has more than 64 bits")
    return value


def _check_list(values: list[Any]) -> list[str]:
    return [_check_text(value) for value in values]


def _check_map(values: Any) -> dict[str, str]:
    if type(values) is not dict:
        raise _Absent("it is no object")
    for key, value in values.items():
        _check_text(key)
        _check_text(value)
    return values


_READERS: dict[str, Callable[[Case], Any]] = {
    "action": lambda case: case.action.name,
    "image.name": _image_name,
    "image.metadata": _image_metadata,
    "backup.type": _backup_type,
    "backup.rotation": _backup_rotation,
    "caller.user_id": _identity(lambda case: case.identity.user_id),
    "caller.project_id": _identity(lambda case: case.identity.project_id),
    "caller.user_domain_id": _identity(lambda case: case.identity.user_domain_id),
    "caller.roles": _roles,
    "now": lambda case: case.lookups.now(),
}
