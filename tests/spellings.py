"""Every known way to spell an image action so that a filter that looks in the wrong place misses it.

They come from tests of Nova 32 to 34: its route matcher, URL map, JSON decoder and body reader accept different
spellings of the same action. Some of these make an image on a bare Nova and some don't, and a fix upstream or another
release may change that at any time. A filter must not let any of them pass unjudged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Callable, NamedTuple

from tests.cases import PROJECT

Document = dict[str, Any]
Wrap = Callable[[Document], bytes]


def dumps(document: Document) -> bytes:
    """Encode a document as ASCII."""
    return json.dumps(document).encode()


class Spelling(NamedTuple):
    """A way to send an image action."""

    id: str
    method: str = "POST"
    target: str = "/v2.1/servers/{server}/action"
    headers: Mapping[str, str] = {}
    wrap: Wrap = dumps  # encodes the document
    environ: Mapping[str, Any] = {}
    refused: bool = False  # even with a body that breaks no rule, where a bare Nova may make an image


class Length(NamedTuple):
    """A Content-Length that depends on the body."""

    form: str  # {} stands for the length
    offset: int = 0

    def for_body(self, body: bytes) -> str:
        """Return the header's value."""
        return self.form.replace("{}", str(len(body) + self.offset))


def _urls() -> Iterator[Spelling]:
    for version in ("/v2.1", "/v2"):
        for path in (
            "{v}/servers/{server}/action",
            "{v}/{project}/servers/{server}/action",
            "/{v}//servers//{server}//action",
            "{v}/{project}//servers/{server}/action",
            "{v}/servers/{server}/%61ction",
            "{v}/%73ervers/{server}/action",
            "{v}/{project}%2Fservers/{server}/action",
            "{v}/servers/{server}%2Faction",
            "{v}/servers/{server}%2f/action",
            "{v}/servers/{server}/action%0a",
            "{v}/servers/{server}/action?",
            "{v}/servers/{server}/action?x=y&createImage",
            "{v}/servers/{server}/action/",
            "{v}/servers/{server}/action.json",
            "{v}/servers/{server}/action.xml",
            "{v}/servers/{server}/action;x=1",
            "{v}/servers/{server}/action%20",
            "{v}/servers/{server}/action%00",
            "{v}/servers/{server}/./action",
            "{v}/servers/{server}/x/../action",
            "{v}/servers/{server}/%61ction%0a%0a",
            "{v}/servers/{server}/%2561ction",
            "{v}/servers/{server}/ACTION",
            "{v}/Servers/{server}/action",
            "{v}/servers/{upper}/action",
            "{v}/servers/{server}.json/action",
            "{v}/servers/{server}",
            "{v}/servers",
            "{v}/{project}/servers/{server}/action/extra",
            "{v}/os-volumes_boot/{server}/action",
            "{v}/{project}/os-volumes_boot/{server}/action",
            "{v}//os-volumes_boot/{server}/%61ction%0a",
        ):
            yield Spelling(f"POST {path}".replace("{v}", version), target=path.replace("{v}", version))
    for path in ("/v2%2e1/servers/{server}/action", "/v2.1%2Fservers/{server}/action", "/V2.1/servers/{server}/action"):
        yield Spelling(f"POST {path}", target=path)
    yield Spelling("mounted", environ={"SCRIPT_NAME": "/compute"})
    yield Spelling("version moved to the mount", target="/servers/{server}/action", environ={"SCRIPT_NAME": "/v2.1"})


def _methods() -> Iterator[Spelling]:
    action, boot = "/v2.1/servers/{server}/action", "/v2/{project}/os-volumes_boot/{server}/action"
    for target in (action, boot, "/v2/{project}/servers/{server}/action"):
        for query in (
            "_method=POST",
            "_method=post",
            "a=_method&_method=post",
            ";_method=POST",
            "_method=%50OST",
            "_method=GET&_method=POST",
            "_method=POST&_method=POST",
        ):
            yield Spelling(f"PUT {target}?{query}", "PUT", f"{target}?{query}")
    for method in ("GET", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "post", "Post", "put", "FOO", "COPY"):
        yield Spelling(f"{method} {action}", method)
        yield Spelling(f"{method} {action}?_method=POST", method, f"{action}?_method=POST")
    yield Spelling("PUT", "PUT")
    yield Spelling("POST for GET", target=f"{action}?_method=GET")
    yield Spelling("X-HTTP-Method-Override", "PUT", headers={"X-HTTP-Method-Override": "POST"})


def _versions() -> Iterator[Spelling]:
    """Spell the version in a header instead of the path: Nova's URL map reads ``/v`` + its parameter as a path."""
    for path in (
        "/servers/{server}/action",
        "/{project}/servers/{server}/action",
        "/{project}/os-volumes_boot/{server}/action",
    ):
        for version in ("2.1/x", "2/x", "2.1"):
            for header in ("Accept", "Content-Type"):
                value = f"application/json;version={version}"
                yield Spelling(f"{path} {header}: {value}", target=path, headers={header: value})
    yield Spelling(
        "version in a header, method in the query",
        "PUT",
        "/servers/{server}/action?_method=POST",
        {"Accept": "application/json;version=2.1/x"},
    )


def _content_types() -> Iterator[Spelling]:
    for value in (
        "",
        "text/plain",
        "text/plain; charset=latin-1",
        "application/json;charset=utf-16",
        "application/vnd.openstack.compute+json",
        "application/json; x=y",
        "APPLICATION/JSON",
        " application/json",
        "application/xml",
        "text/html",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json, text/plain",
    ):
        yield Spelling(f"Content-Type: {value!r}", headers={"Content-Type": value})
        target = "/v2.1/servers/{server}/action?_method=POST"
        yield Spelling(f"PUT as POST, Content-Type: {value!r}", "PUT", target, {"Content-Type": value})
    yield Spelling("no Content-Type", environ={"CONTENT_TYPE": None})
    yield Spelling("Content-Encoding: gzip", headers={"Content-Encoding": "gzip"})


def _escaped(document: Document) -> bytes:
    [(name, entity)] = document.items()
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    return f'{{"{escaped}": {json.dumps(entity)}}}'.encode()


def _half_escaped(document: Document) -> bytes:
    return dumps(document).replace(b"create", b"cre\\u0061te").replace(b"metadata", b"\\u006detadata")


def _twice(first: str) -> Wrap:
    """Give the action twice; the last one counts."""

    def wrap(document: Document) -> bytes:
        [(name, entity)] = document.items()
        return f'{{"{name}": {first}, "{name}": {json.dumps(entity)}}}'.encode()

    return wrap


def _metadata_twice(document: Document) -> bytes:
    [(name, entity)] = document.items()
    return f'{{"{name}": {{"metadata": {{}}, {json.dumps(entity)[1:]}}}'.encode()


def _with_member(member: str) -> Wrap:
    """Add a member with this literal JSON as its value."""

    def wrap(document: Document) -> bytes:
        [(name, entity)] = document.items()
        return f'{{"{name}": {{"x": {member}, {json.dumps(entity)[1:]}}}'.encode()

    return wrap


def _bodies() -> Iterator[Spelling]:
    wraps: dict[str, Wrap] = {
        "the key escaped": _escaped,
        "the key half escaped": _half_escaped,
        "the action twice": _twice('{"name": "harmless"}'),
        "the action twice, null first": _twice("null"),
        "the metadata twice": _metadata_twice,
        "white space around": lambda document: b" \r\n\t" + dumps(document) + b"\n\r \t",
        "two actions": lambda document: dumps({**document, "reboot": {"type": "SOFT"}}),
        "inside a list": lambda document: dumps([document]),  # type: ignore[arg-type]
        "a byte order mark": lambda document: b"\xef\xbb\xbf" + dumps(document),
        "UTF-16": lambda document: json.dumps(document).encode("utf-16"),
        "UTF-16-BE": lambda document: json.dumps(document).encode("utf-16-be"),
        "UTF-32": lambda document: json.dumps(document).encode("utf-32"),
        "UTF-7": lambda document: json.dumps(document).encode("utf-7"),
        "overlong UTF-8": lambda document: dumps(document).replace(b"c", b"\xc1\xa3", 1),
        "a form feed": lambda document: b"\f" + dumps(document),
        "a NUL at the end": lambda document: dumps(document) + b"\0",
        "a trailing comma": lambda document: dumps(document)[:-1] + b",}",
        "single quotes": lambda document: dumps(document).replace(b'"', b"'"),
        "truncated": lambda document: dumps(document)[:-1],
        "a NaN member": _with_member("NaN"),
        "an infinite member": _with_member("-Infinity"),
        "a huge number": _with_member("1e999"),
        "4000 digits": _with_member("9" * 4000),
        "5000 digits": _with_member("9" * 5000),
        "nested 90 deep": _with_member("[" * 90 + "]" * 90),
        "nested 5000 deep": _with_member("[" * 5000 + "]" * 5000),
        "a lone surrogate": _with_member('"\\ud800"'),
        "a NUL escape": _with_member('"\\u0000"'),
    }
    for name, wrap in wraps.items():
        for target in ("/v2.1/servers/{server}/action", "/v2/{project}/servers/{server}/action"):
            yield Spelling(f"{name}, {target[:5]}", target=target, wrap=wrap)
        # Off the action path a body is only read if it contains the name of an action or a backslash.
        yield Spelling(f"{name}, PUT as POST", "PUT", "/v2/servers/{server}/action?_method=POST", wrap=wrap)


def _depths() -> Iterator[Spelling]:
    """Nest deep: Nova's limit is the stack, so somewhere below 1,000 levels its response turns from 202 into 500."""
    for depth in (200, 850, 880, 890, 895, 900, 905, 910, 915, 920, 925, 930, 935, 980, 1000):
        wrap = _with_member("[" * depth + "]" * depth)
        yield Spelling(f"nested {depth} deep", target="/v2/servers/{server}/action", wrap=wrap, refused=True)


def _framings() -> Iterator[Spelling]:
    ended = {"wsgi.input_terminated": True}
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked"}
    yield Spelling("no length", environ={"CONTENT_LENGTH": None})
    yield Spelling("no length, chunked header", environ={"CONTENT_LENGTH": None, **chunked})
    yield Spelling("no length, the stream has an end", environ={"CONTENT_LENGTH": None, **ended})
    yield Spelling("chunked", environ={"CONTENT_LENGTH": None, **ended, **chunked})
    yield Spelling("chunked and a length", environ={**ended, **chunked})
    yield Spelling("chunked and too short a length", environ={"CONTENT_LENGTH": "3", **ended, **chunked})
    yield Spelling("empty length, the stream has an end", environ={"CONTENT_LENGTH": "", **ended})
    for text in ("", "0", "-1", "abc", "1e2", "0x10", "٣", "9" * 5000):
        yield Spelling(f"Content-Length: {text[:9]!r}", environ={"CONTENT_LENGTH": text})
    for form in ("+{}", " {}", "{} ", "{}_0", "-{}", "{}.0", "{},{}"):
        yield Spelling(f"Content-Length: {form}", environ={"CONTENT_LENGTH": Length(form)}, refused=True)
    yield Spelling("Content-Length: 00{}", environ={"CONTENT_LENGTH": Length("00{}")})
    yield Spelling("too short a length", wrap=lambda d: dumps(d) + b" x", environ={"CONTENT_LENGTH": Length("{}", -2)})
    yield Spelling("too long a length", environ={"CONTENT_LENGTH": Length("{}", 5)})
    yield Spelling("PUT as POST, chunked", "PUT", "/v2.1/servers/{server}/action?_method=POST",
                   environ={"CONTENT_LENGTH": None, **ended, **chunked})  # fmt: skip


SPELLINGS: tuple[Spelling, ...] = tuple(
    chain(_urls(), _methods(), _versions(), _content_types(), _bodies(), _depths(), _framings())
)

#: Options of a filter that allows two metadata items.
TWO_ITEMS = {"metadata_items": "2"}


def create_image(items: int) -> Document:
    """Return the document of a ``createImage`` with this many metadata items."""
    return {"createImage": {"name": "nightly", "metadata": _metadata(items)}}


def create_backup(items: int) -> Document:
    """Return the document of a ``createBackup`` with this many metadata items."""
    return {"createBackup": {"backup_type": "x", "rotation": 99, "name": "nightly", "metadata": _metadata(items)}}


def build_request(
    spelling: Spelling, document: Document, server: str
) -> tuple[tuple[str, str, bytes, dict[str, str]], dict[str, Any]]:
    """Return the arguments and keyword arguments of :func:`tests.wsgi.send`, without the application."""
    body = spelling.wrap(document)
    target = spelling.target.format(server=server, upper=server.upper(), project=PROJECT)
    headers = {"X-Auth-Token": "member"}
    headers.update(spelling.headers)
    environ = dict(spelling.environ)
    if isinstance(environ.get("CONTENT_LENGTH"), Length):
        environ["CONTENT_LENGTH"] = environ["CONTENT_LENGTH"].for_body(body)
    return (spelling.method, target, body, headers), environ


def _metadata(items: int) -> dict[str, str]:
    return {f"k{number}": "v" for number in range(items)}
