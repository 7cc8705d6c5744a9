"""A grammar of requests: image actions in every spelling we can think of, near misses, and what is neither.

A request is plain but for some odd dimensions, each drawn at random, so that the oddities meet in all combinations and
a counter-example shrinks to the few of them that it needs. The words are those of ``words.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.cases import PROJECT
from tests.nova import words
from tests.nova.written import Pairs, Raw, encode, write
from tests.requests import environ_of


class Request(NamedTuple):
    """A request as a WSGI server would hand it on; ``{server}`` and ``{SERVER}`` in the target stand for the server."""

    method: str
    target: str
    body: bytes
    headers: Mapping[str, str]
    environ: Mapping[str, Any]  # overrides; None removes

    def of(self, server: str) -> dict[str, Any]:
        """The environ of a request about this server."""
        target = self.target.replace("{server}", server).replace("{SERVER}", server.upper())
        return environ_of(self.method, target, self.body, self.headers, **self.environ)

    @property
    def is_chunked(self) -> bool:
        return dict(self.environ) == words.CHUNKED

    @property
    def fits_http(self) -> bool:
        """Whether an HTTP client can send it so that a server makes about this environ of it.

        Servers (waitress, gunicorn) answer a method in small letters by themselves.
        """
        framed = not self.environ or self.is_chunked or dict(self.environ) == {"CONTENT_LENGTH": str(len(self.body))}
        line = re.fullmatch("[A-Z]+ /[!-~]*", f"{self.method} {self.target}") and "#" not in self.target
        headers = all(re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", value) for value in self.headers.values())
        return bool(framed and line and headers)

    def to_json(self) -> dict[str, Any]:
        """As people read it; a body's bytes stand as the characters of Latin-1."""
        return {**self._asdict(), "body": self.body.decode("latin-1")}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Request:
        return cls(**{**document, "body": document["body"].encode("latin-1")})


@st.composite
def _targets(draw: st.DrawFn, odd: bool) -> str:
    if not odd:
        return (
            draw(st.sampled_from(("/v2.1", "/v2", f"/v2.1/{PROJECT}", f"/v2/{PROJECT}"))) + "/servers/{server}/action"
        )
    if draw(st.integers(0, 9)) == 9:
        return draw(st.sampled_from(words.ELSEWHERE))
    parts = []
    for choices in (words.PROJECTS, words.COLLECTIONS, words.IDS, words.ACTIONS):
        plain = draw(st.integers(0, 2)) < 2
        parts.append(choices[0] if plain else draw(st.sampled_from(choices)))
    version = draw(st.sampled_from(("/v2.1", "/v2", *words.VERSIONS)))
    slashes = st.sampled_from(("/", "/", "/", *words.SLASHES))
    path = "".join(draw(slashes) + part for part in parts if part)
    target = version + path + draw(st.sampled_from(("", "", *words.ENDS)))
    return target if target.startswith("/") else "/" + target


@st.composite
def _names(draw: st.DrawFn) -> Any:
    return draw(st.sampled_from((*words.NAMES, *words.NAMES, *words.NUMBERS, *words.ODD_VALUES)))


@st.composite
def _metadata(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 11)) == 11:
        return draw(st.sampled_from((*words.ODD_VALUES, "x", Raw("5"))))
    if draw(st.integers(0, 11)) == 11:
        return Pairs([(f"k{number}", "v") for number in range(draw(st.sampled_from(words.COUNTS)))])
    values = st.sampled_from((*words.VALUES, *words.VALUES, *words.ODD_VALUES, Raw("5"), Raw("-0")))
    return Pairs(draw(st.lists(st.tuples(st.sampled_from(words.KEYS), values), max_size=4)))


@st.composite
def _entities(draw: st.DrawFn, kind: str, odd: bool) -> Any:
    if kind == "shelve":
        return draw(st.sampled_from((None, None, "x", Pairs([("name", "x")]))))
    members = [("name", draw(st.sampled_from(("nightly", "weekly-2", "Web 1", Raw("2026")))))]
    if kind == "createBackup":
        members += [("backup_type", "daily"), ("rotation", Raw("9"))]
    for key in draw(st.lists(st.sampled_from(("m1", "m2", "m3")), unique=True)):
        members.append(("metadata", Pairs([(key, "v"), ("z", "w")][: draw(st.integers(1, 2))])))
    if odd:
        for change in draw(
            st.lists(st.sampled_from((*("name", "metadata") * 3, "member", "nest", "all", "gone")), max_size=3)
        ):
            members = _changed(draw, members, change)
    return draw(st.sampled_from(words.ODD_VALUES)) if members == [] else Pairs(members)


def _changed(draw: st.DrawFn, members: list[Any], change: str) -> list[Any]:
    """The members with one of them changed; what is given twice stands twice."""
    if change == "name":
        return [("name", draw(_names())), *members[draw(st.integers(0, 1)) :]]
    if change == "metadata":
        return [*members, ("metadata", draw(_metadata()))]
    if change == "member":
        return [
            *members,
            (draw(st.sampled_from(words.MEMBERS)), draw(st.sampled_from((*words.ODD_VALUES, *words.NUMBERS, "x")))),
        ]
    if change == "nest":
        depth = draw(st.sampled_from(words.DEPTHS))
        opening, closing = draw(st.sampled_from((("[", "]"), ('{"a":', "}"))))
        return [("x", Raw(opening * depth + "1" + closing * depth)), *members]
    return [] if change == "all" else members[1:]


@st.composite
def _documents(draw: st.DrawFn, odd: bool, odd_entity: bool) -> Any:
    kind = draw(st.sampled_from(words.IMAGE_ACTIONS))
    document = Pairs([(kind, draw(_entities(kind, odd_entity)))])
    if not odd:
        return document
    form = draw(st.integers(0, 9))
    if form < 3:
        return draw(st.sampled_from(words.OTHER_ACTIONS))
    if form < 5:
        return Pairs([(draw(st.sampled_from(words.NEAR_MISSES)), document[0][1])])
    if form == 5:
        return [document]
    other = draw(
        st.sampled_from((kind, kind, "createImage", "createBackup", "shelve", "resume", "", *words.NEAR_MISSES))
    )
    entity = draw(
        st.sampled_from((None, "x", Pairs([("name", "harmless")]), Pairs([("name", "other"), ("rotation", 1)])))
    )
    return Pairs([(other, entity), *document] if form < 9 else [*document, (other, entity)])


@st.composite
def _bodies(draw: st.DrawFn, odd: frozenset[str]) -> bytes:
    document = draw(_documents("document" in odd, "entity" in odd))
    escapes, space = "none", " "
    if "writing" in odd:
        escapes, space = draw(st.sampled_from(words.ESCAPES)), draw(st.sampled_from(words.SPACES))
    body = encode(
        write(document, escapes, space), draw(st.sampled_from(words.ENCODINGS)) if "encoding" in odd else "utf-8"
    )
    if "mangled" in odd:
        before, after = draw(st.sampled_from(words.MANGLES))
        body = before + body[: len(body) - draw(st.sampled_from((0, 0, 0, 0, 1)))] + after
    if "padded" in odd:
        body = body.ljust(draw(st.sampled_from(words.LIMITS)))
    return body


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request of the grammar."""
    odd = frozenset(draw(st.lists(st.sampled_from(words.ODD), max_size=5)))
    target = draw(_targets("target" in odd))
    method = draw(st.sampled_from(words.METHODS)) if "method" in odd else "POST"
    if "query" in odd:
        target += "?" + draw(st.sampled_from(words.QUERIES))
        method = draw(st.sampled_from((method, "PUT", "PUT")))
    body = draw(_bodies(odd))
    environ: dict[str, Any] = dict(draw(st.sampled_from(words.FRAMINGS))) if "framing" in odd else {}
    if "length" in odd:
        environ["CONTENT_LENGTH"] = draw(st.sampled_from(words.LENGTHS)).replace("{}", str(len(body)))
        body += draw(st.sampled_from((b"", b"", b"x", b"\n")))
    return Request(method, target, body, _headers_of(draw, odd), environ)


def _headers_of(draw: st.DrawFn, odd: frozenset[str]) -> dict[str, str]:
    token = draw(st.sampled_from(words.TOKENS)) if "token" in odd else "member"
    headers = {"X-Auth-Token": token} if token else {}
    if "media type" in odd:
        headers["Content-Type"] = draw(st.sampled_from(words.MEDIA_TYPES))
    if "accept" in odd:
        headers["Accept"] = draw(st.sampled_from(words.ACCEPTS))
    if "version" in odd:
        form, number = draw(st.sampled_from(words.VERSION_FORMS)), draw(st.sampled_from(words.VERSION_NUMBERS))
        headers["OpenStack-API-Version"] = form.replace("{}", number)
        if draw(st.booleans()):
            headers["X-OpenStack-Nova-API-Version"] = draw(st.sampled_from(words.VERSION_NUMBERS))
    if "headers" in odd:
        headers.update(draw(st.lists(st.sampled_from(words.HEADERS), min_size=1, max_size=3)))
    return headers
