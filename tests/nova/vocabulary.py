"""The words of the grammar: the choices for each part of a request, the usual one first if there is one.

A word that is given twice is drawn twice as often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cases import PROJECT
from tests.nova.serialize import Pairs, Raw

OTHER_PROJECT = "0123456789abcdef0123456789abcdef"

# fmt: off
# --- the target
USUAL_TARGETS = (
    "/v2.1/servers/{server}/action", "/v2/servers/{server}/action", f"/v2.1/{PROJECT}/servers/{{server}}/action",
    f"/v2/{PROJECT}/servers/{{server}}/action",
)
VERSIONS = (
    "/v2.1", "/v2", "/v2.1", "/v2", "", "/v2%2e1", "/V2.1", "/v2.0", "/v9", "/v2.1/v2.1", "/compute/v2.1", "/v%32.1",
)
SLASHES = (
    "/", "/", "/", "/", "//", "///", "%2F", "%2f", "/%2f", "/./", "/x/../", "\\", "/%0a",
)
PROJECTS = (
    "", PROJECT, PROJECT.upper(), OTHER_PROJECT, "0", "-", "admin", "%36" + PROJECT[1:], "v2", PROJECT + "%0a",
)
COLLECTIONS = (
    "servers", "os-volumes_boot", "%73ervers", "os-volumes%5Fboot", "Servers", "servers;x=1", "images",
)
IDS = (
    "{server}", "{SERVER}", "%7Bserver%7D", "{server}.json", "{server}%0a", "42", "{server};x", "urn:uuid:{server}",
    "2f2f2f2f-0000-4000-8000-000000000000", "{server}%20", "%e9", "detail", "action",
)
ACTIONS = (
    "action", "%61ction", "actio%6E", "ACTION", "action.json", "action;x=1", "metadata", "%2561ction", "",
)
ENDS = (
    "", "", "", "%0a", "%0a%0a", "/", "//", "/%0a", "%20", "%00", "%0d", "%0d%0a", "/extra", ".xml", "%85", "#x",
)
ELSEWHERE = (
    "/v2.1/servers", "/v2.1/os-keypairs", "/v2.1/flavors", "/v2.1/nothing", "/", "/v2.1/servers/{server}/tags",
    "/v2.1/flavors/1/os-extra_specs/createImage", "/v2/images/x/metadata",
)
QUERIES = (
    "_method=POST", "_method=post", "a=_method&_method=post", ";_method=POST", "_method=%50OST", "_method=PUT",
    "_method=GET&_method=POST", "_method=POST&_method=GET", "_METHOD=POST", "_method=GET", "x=y", "createImage=1",
    "",
)

# --- the method and the headers
METHODS = (
    "PUT", "PUT", "PUT", "GET", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "post", "Post", "put", "FOO", "",
)
MEDIA_TYPES = (
    "", "text/plain", "text/plain; charset=latin-1", "application/json;charset=utf-16", "application/json; x=y",
    "application/vnd.openstack.compute+json", "APPLICATION/JSON", " application/json", "application/json ",
    "text/html", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "application/json,x/y", "application/json;version=2.1/x", "application/json;version=2/x",
    "application/json;version=2.1", "json", ";", "/", "application/json ;x=y", "application/json\t", "text/plain ;x",
    "application/vnd.openstack.compute+json;version=2",
)
ACCEPTS = (
    "", "*/*", "application/xml", "application/json;version=2.1/x", "application/json;version=2/x", "text/html",
    "application/json;version=2.1", "application/json; q=0", "a;version=2.1/x, b;version=2/x",
)
VERSION_NUMBERS = (
    "2.1", "2.37", "2.38", "2.39", "2.44", "2.45", "2.46", "2.102", "2.103", "2.104", "latest", "9.9", "x",
)
VERSION_FORMS = (
    "compute {}", "compute  {}", "compute {}, compute 2.1", "volume 3.1, compute {}", "{}", "nova {}", "",
)
CHUNKED: Mapping[str, Any] = {
    "CONTENT_LENGTH": None, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked",
}
FRAMINGS: tuple[Mapping[str, Any], ...] = (
    {"CONTENT_LENGTH": None}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": None, "wsgi.input_terminated": True},
    {"CONTENT_LENGTH": "", "wsgi.input_terminated": True},
    CHUNKED,
    {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"},
    {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    {"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, {"wsgi.input_terminated": False, "CONTENT_LENGTH": None},
    {"SCRIPT_NAME": "/compute"}, {"SCRIPT_NAME": "/v2.1"},
)
#: of the body; ``{}`` stands for its true length
LENGTHS = (
    "+{}", " {}", "{} ", "0{}", "000000000000000000000000{}", "{}_0", "-{}", "{}.0", "{},{}", "0x{}", "{}\n", "0",
    "-1", "abc", "1e2", "٣", "²", "114689", "99999999999999999999", "5", "40",
)
HEADERS = (
    ("X-Roles", "admin"), ("X-Project-Id", OTHER_PROJECT), ("X-Identity-Status", "Invalid"),
    ("X-User-Id", "root-id"), ("X-Identity-Status", "Confirmed"), ("X-Is-Admin-Project", "True"),
    ("X-Storage-Token", "admin"), ("X-HTTP-Method-Override", "POST"), ("X-HTTP-Method-Override", "GET"),
    ("Content-Encoding", "gzip"), ("Expect", "100-continue"), ("X-Forwarded-For", "1.2.3.4"),
    ("X-Service-Token", "admin"), ("Accept-Language", "de"), ("X-OpenStack-Request-Id", "req-x"),
    ("User-Agent", "x" * 300), ("X-Auth-Project-Id", OTHER_PROJECT), ("Content-Type", "application/json"),
    ("X-Openstack-Nova-Api-Version", "2.1"),
)
TOKENS = (
    "member", "admin", "admin", "reader", "other", "expired", "garbage", "",
)

# --- the document
IMAGE_ACTIONS = (
    "createImage", "createImage", "createImage", "createImage", "createBackup", "createBackup", "shelve",
)
NEAR_MISSES = (
    "create_image", "CreateImage", "createImage ", "createImage\0", "createimage", "createBackups", "",
    "crеateImage", "shelveOffload", "createImage\ud800", "rebuild", "os-createImage",
)
_REAL_ACTIONS = (
    "createImage", "createBackup", "shelve", "resume", "",
)
#: another action in the same body
SECOND_ACTIONS = _REAL_ACTIONS + NEAR_MISSES
#: actions that do nothing to an active server or are not for members, and values that are not actions
OTHER_ACTIONS: tuple[Any, ...] = (
    Pairs([("resume", None)]), Pairs([("unpause", None)]), Pairs([("os-start", None)]),
    Pairs([("confirmResize", None)]), Pairs([("restore", None)]), Pairs([("unshelve", None)]),
    Pairs([("resize", Pairs([("flavorRef", "99999")]))]),
    Pairs([("os-resetState", Pairs([("state", "createImage")]))]), Pairs([("changePassword", "createBackup\\")]),
    Pairs([("server", Pairs([("name", "createImage")]))]), Pairs([("keypair", Pairs([("name", "createImage!\\")]))]),
    None, 1, True, "x", "createImage", [], Pairs(), Pairs([("createImage", "x"), ("server", None)]),
    Pairs([("createImage", "x")]),
)
USUAL_NAMES = (
    "nightly", "weekly-2", "Web 1", Raw("2026"),
)
NAMES = (
    "nightly", "web-nightly", "a", "n" * 255, "n" * 256, "", " x", "x ", "x\n", "x\n\n", "\n", "  ", "é", "名" * 255,
    "\N{OK HAND SIGN}", "x\0", "\ud800", "\udc80", "a\u200bb", "a\u00a0b", "web-1-shelved", "createImage", '"\\/',
    "x\ty",
)
NUMBERS = tuple(map(Raw, (
    "7", "0", "00", "-0", "-5", "1e3", "1E400", "1.0", "20261123", "9" * 255, "9" * 256, "9" * 5000,
)))
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, [], ["x"], Pairs(), Pairs([("x", "y")]), 0.5, float("nan"), float("inf"),
)
ODD_NAMES = NAMES + NAMES + NUMBERS + ODD_VALUES
KEYS = (
    "a", "b", "c", "os_type", "k" * 255, "k" * 256, "k" * 255 + "\n", "a/b", "a/c", "", " ", "a\n", "é", "鍵" * 255,
    "location", "id", "id\n", " owner", "min_ram", "instance_owner", "os_glance_x", "tags", "backend", "image_type",
    "Owner", "TAGS", "\u00f3wner", "disk_format", "container_format",
    "user_id", "instance_uuid", "base_image_ref", "name", "visibility", "backup_type", "a\0", "\ud800",
)
VALUES = (
    "v", "v", "", "v" * 255, "v" * 256, "v" * 20_000, "é\n", "\N{OK HAND SIGN}", "x\0", "\ud800", "[{" * 60,
    "createImage",
)
_NUMBER_VALUES = (
    Raw("5"), Raw("-0"),
)
#: of metadata items
ODD_METADATA_VALUES = VALUES + VALUES + ODD_VALUES + _NUMBER_VALUES
_MORE_METADATA = (
    "x", Raw("5"),
)
#: in place of an object
ODD_METADATA = ODD_VALUES + _MORE_METADATA
MEMBERS = (
    "metadata", "name", "Name", "instance", "rotation", "backup_type", "x", "createImage", "n\u0061me ",
)
_MORE_MEMBER_VALUES = (
    "x",
)
MEMBER_VALUES = ODD_VALUES + NUMBERS + _MORE_MEMBER_VALUES
#: of metadata items; 128 is the quota
COUNTS = (
    20, 127, 128, 129,
)
DEPTHS = (
    3, 90, 97, 98, 99, 120, 400, 700, 3000,
)
BRACKETS = (
    ("[", "]"), ('{"a":', "}"),
)
#: what is changed of an entity's members
CHANGES = (
    "name", "metadata", "name", "metadata", "name", "metadata", "member", "nest", "all", "gone",
)
#: the value of another action in the same body
OTHER_ENTITIES: tuple[Any, ...] = (
    None, "x", Pairs([("name", "harmless")]), Pairs([("name", "other"), ("rotation", 1)]),
)
SHELVE_ENTITIES: tuple[Any, ...] = (
    None, None, "x", Pairs([("name", "x")]),
)

# --- the bytes of the body
ESCAPES = (
    "none", "none", "ascii", "all", "ALL", "first", "last", "other",
)
SPACES = (
    "", " ", "\n\t", "\r",
)
ENCODINGS = (
    "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1", "utf-7", "cesu", "cp037",
)
#: bytes before and after a document
MANGLES = (
    (b"", b"\n"), (b" \r\n\t", b"\t\n\r "), (b"\f", b""), (b"", b"\f"), (b"\xc2\xa0", b""), (b"", b"\0"),
    (b"", b","), (b"", b"}"), (b"", b" {}"), (b"", b"// x"), (b"\xff", b""), (b"", b"\xed\xa0\x80"),
    (b")]}'\n", b""), (b"\0", b""), (b"[", b"]"), (b"\xef\xbb\xbf", b""), (b"", b"\x1a"),
    (b"\xe2\x80\xa8", b""),
)
#: lengths of whole bodies, around the compute API's own limit
LIMITS = (
    114_687, 114_688, 114_689, 120_000,
)

# --- the parts of a request that may be odd
ODD = (
    "target", "target", "query", "method", "document", "entity", "entity", "writing", "encoding", "mangled",
    "padded", "media type", "accept", "version", "framing", "length", "headers", "token",
)
# fmt: on
