"""A grammar of requests: image actions in every known spelling, near misses, and other requests.

A request is usual but for some odd parts, each drawn at random, so that the oddities meet in all combinations and a
counter-example shrinks to the few of them that it needs. The words are in ``vocabulary.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.nova import vocabulary
from tests.nova.serialize import Pairs, Raw, encode, write
from tests.wsgi import build_environ


class Request(NamedTuple):
    """A request as a WSGI server would hand it over.

    ``{server}`` and ``{SERVER}`` in the target stand for the server's id, the second one in capitals.
    """

    method: str
    target: str
    body: bytes
    headers: Mapping[str, str]
    environ: Mapping[str, Any]  # overrides; None removes a key

    def target_for(self, server: str) -> str:
        """Return the target of the request about this server."""
        return self.target.replace("{server}", server).replace("{SERVER}", server.upper())

    def environ_for(self, server: str) -> dict[str, Any]:
        """Return the environ of the request about this server."""
        return build_environ(self.method, self.target_for(server), self.body, self.headers, **self.environ)

    @property
    def is_chunked(self) -> bool:
        """Whether the body is sent in chunks."""
        return dict(self.environ) == vocabulary.CHUNKED

    @property
    def fits_http(self) -> bool:
        """Whether an HTTP client can send it so that a server builds about this environ.

        Servers (waitress, gunicorn) respond to a method in small letters themselves.
        """
        return self._has_plain_framing and self._has_plain_line and all(map(_is_header_value, self.headers.values()))

    @property
    def _has_plain_framing(self) -> bool:
        true_length = {"CONTENT_LENGTH": str(len(self.body))}
        return not self.environ or self.is_chunked or dict(self.environ) == true_length

    @property
    def _has_plain_line(self) -> bool:
        line = f"{self.method} {self.target}"
        return bool(re.fullmatch("[A-Z]+ /[!-~]*", line)) and "#" not in self.target

    def to_json(self) -> dict[str, Any]:
        """Return it as readable JSON: the body's bytes are written as characters of Latin-1."""
        document = self._asdict()
        document["body"] = self.body.decode("latin-1")
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Request:
        """Return the request that :meth:`to_json` wrote."""
        fields = dict(document)
        fields["body"] = fields["body"].encode("latin-1")
        return cls(**fields)


def _is_header_value(value: str) -> bool:
    return re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", value) is not None


@st.composite
def _targets(draw: st.DrawFn, odd: bool) -> str:
    if not odd:
        return draw(st.sampled_from(vocabulary.USUAL_TARGETS))
    if draw(st.integers(0, 9)) == 9:
        return draw(st.sampled_from(vocabulary.ELSEWHERE))
    segments = []
    for choices in (vocabulary.PROJECTS, vocabulary.COLLECTIONS, vocabulary.IDS, vocabulary.ACTIONS):
        segment = choices[0]
        if draw(st.integers(0, 2)) == 2:
            segment = draw(st.sampled_from(choices))
        segments.append(segment)
    target = draw(st.sampled_from(vocabulary.VERSIONS))
    for segment in filter(None, segments):
        target += draw(st.sampled_from(vocabulary.SLASHES)) + segment
    target += draw(st.sampled_from(vocabulary.ENDS))
    if not target.startswith("/"):
        target = "/" + target
    return target


@st.composite
def _names(draw: st.DrawFn) -> Any:
    return draw(st.sampled_from(vocabulary.ODD_NAMES))


@st.composite
def _metadata(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 11)) == 11:
        return draw(st.sampled_from(vocabulary.ODD_METADATA))
    if draw(st.integers(0, 11)) == 11:
        count = draw(st.sampled_from(vocabulary.COUNTS))
        return Pairs([(f"k{number}", "v") for number in range(count)])
    items = st.tuples(st.sampled_from(vocabulary.KEYS), st.sampled_from(vocabulary.ODD_METADATA_VALUES))
    return Pairs(draw(st.lists(items, max_size=4)))


@st.composite
def _entities(draw: st.DrawFn, action: str, odd: bool) -> Any:
    if action == "shelve":
        return draw(st.sampled_from(vocabulary.SHELVE_ENTITIES))
    members: list[Any] = [("name", draw(st.sampled_from(vocabulary.USUAL_NAMES)))]
    if action == "createBackup":
        members += [("backup_type", "daily"), ("rotation", Raw("9"))]
    for key in draw(st.lists(st.sampled_from(("m1", "m2", "m3")), unique=True)):
        items = [(key, "v"), ("z", "w")]
        members.append(("metadata", Pairs(items[: draw(st.integers(1, 2))])))
    if odd:
        for change in draw(st.lists(st.sampled_from(vocabulary.CHANGES), max_size=3)):
            members = _change(draw, members, change)
    if not members:
        return draw(st.sampled_from(vocabulary.ODD_VALUES))
    return Pairs(members)


def _change(draw: st.DrawFn, members: list[Any], change: str) -> list[Any]:
    """Return the members with one of them changed; a name that is given twice is written twice."""
    if change == "name":
        name = draw(_names())
        return [("name", name), *members[draw(st.integers(0, 1)) :]]
    if change == "metadata":
        return [*members, ("metadata", draw(_metadata()))]
    if change == "member":
        name = draw(st.sampled_from(vocabulary.MEMBERS))
        return [*members, (name, draw(st.sampled_from(vocabulary.MEMBER_VALUES)))]
    if change == "nest":
        depth = draw(st.sampled_from(vocabulary.DEPTHS))
        opening, closing = draw(st.sampled_from(vocabulary.BRACKETS))
        return [("x", Raw(opening * depth + "1" + closing * depth)), *members]
    if change == "all":
        return []
    return members[1:]


@st.composite
def _documents(draw: st.DrawFn, odd: bool, odd_entity: bool) -> Any:
    action = draw(st.sampled_from(vocabulary.IMAGE_ACTIONS))
    entity = draw(_entities(action, odd_entity))
    document = Pairs([(action, entity)])
    if not odd:
        return document
    form = draw(st.integers(0, 9))
    if form < 3:
        return draw(st.sampled_from(vocabulary.OTHER_ACTIONS))
    if form < 5:
        return Pairs([(draw(st.sampled_from(vocabulary.NEAR_MISSES)), entity)])
    if form == 5:
        return [document]
    other = draw(st.sampled_from((action, action, *vocabulary.SECOND_ACTIONS)))
    second = (other, draw(st.sampled_from(vocabulary.OTHER_ENTITIES)))
    if form < 9:
        return Pairs([second, (action, entity)])
    return Pairs([(action, entity), second])


@st.composite
def _bodies(draw: st.DrawFn, odd: frozenset[str]) -> bytes:
    document = draw(_documents("document" in odd, "entity" in odd))
    escapes, space, encoding = "none", " ", "utf-8"
    if "writing" in odd:
        escapes, space = draw(st.sampled_from(vocabulary.ESCAPES)), draw(st.sampled_from(vocabulary.SPACES))
    if "encoding" in odd:
        encoding = draw(st.sampled_from(vocabulary.ENCODINGS))
    body = encode(write(document, escapes, space), encoding)
    if "mangled" in odd:
        before, after = draw(st.sampled_from(vocabulary.MANGLES))
        missing = draw(st.sampled_from((0, 0, 0, 0, 1)))
        body = before + body[: len(body) - missing] + after
    if "padded" in odd:
        body = body.ljust(draw(st.sampled_from(vocabulary.LIMITS)))
    return body


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Draw a request of the grammar."""
    odd = frozenset(draw(st.lists(st.sampled_from(vocabulary.ODD), max_size=5)))
    target = draw(_targets("target" in odd))
    method = "POST"
    if "method" in odd:
        method = draw(st.sampled_from(vocabulary.METHODS))
    if "query" in odd:
        target += "?" + draw(st.sampled_from(vocabulary.QUERIES))
        method = draw(st.sampled_from((method, "PUT", "PUT")))
    body = draw(_bodies(odd))
    environ: dict[str, Any] = {}
    if "framing" in odd:
        environ.update(draw(st.sampled_from(vocabulary.FRAMINGS)))
    if "length" in odd:
        environ["CONTENT_LENGTH"] = draw(st.sampled_from(vocabulary.LENGTHS)).replace("{}", str(len(body)))
        body += draw(st.sampled_from((b"", b"", b"x", b"\n")))
    return Request(method, target, body, _draw_headers(draw, odd), environ)


def _draw_headers(draw: st.DrawFn, odd: frozenset[str]) -> dict[str, str]:
    token = "member"
    if "token" in odd:
        token = draw(st.sampled_from(vocabulary.TOKENS))
    headers = {}
    if token:
        headers["X-Auth-Token"] = token
    if "media type" in odd:
        headers["Content-Type"] = draw(st.sampled_from(vocabulary.MEDIA_TYPES))
    if "accept" in odd:
        headers["Accept"] = draw(st.sampled_from(vocabulary.ACCEPTS))
    if "version" in odd:
        form = draw(st.sampled_from(vocabulary.VERSION_FORMS))
        headers["OpenStack-API-Version"] = form.replace("{}", draw(st.sampled_from(vocabulary.VERSION_NUMBERS)))
        if draw(st.booleans()):
            headers["X-OpenStack-Nova-API-Version"] = draw(st.sampled_from(vocabulary.VERSION_NUMBERS))
    if "headers" in odd:
        headers.update(draw(st.lists(st.sampled_from(vocabulary.HEADERS), min_size=1, max_size=3)))
    return headers
