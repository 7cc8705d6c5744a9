"""What auth_token trusts: its cache of tokens says who is calling, for as long as an answer of Keystone's is good."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from imagefilter.cli.pastefile import FILTERS, PasteFile, Section, name_of

_AUTH_TOKEN = re.compile(r"(call:)?keystonemiddleware\.auth_token:.*|egg:keystonemiddleware#auth_token")
_SERVERS = "memcached_servers"
_OLD_NAMES = {"memcache_servers": _SERVERS}
# In capitals: keystonemiddleware 13 takes "encrypt" as well, and then signs what it stores, but does not encrypt it.
_STRATEGY = "ENCRYPT"
#: What the shipped file has in place of a key.
PLACEHOLDER = "change-me"

_ON_A_PORT = (
    "whoever reaches it can be anybody, and python-memcached runs code that it finds there: use a socket of the"
    " service's own, or no memcached"
)
_NOT_ENCRYPTED = (
    f"memcache_security_strategy is not {_STRATEGY} (in capitals): whoever writes to memcached can be anybody, or, with"
    " MAC, whoever reads it learns who calls: set it, and memcache_secret_key"
)
_SHIPPED_KEY = (
    "memcache_secret_key is not set to a secret of yours: whoever writes to memcached can be anybody: make one with"
    " openssl rand -hex 32"
)

_REFERENCE = re.compile(r"%\(([^)]+)\)s")
# A section that uses another one that uses it, and so on.
_MAX_DEPTH = 20


class _Option(NamedTuple):
    name: str  # as it is written
    text: str
    section: str  # where it is written


def find_cache_warnings(file: PasteFile) -> list[str]:
    """Return what of the token caches in a paste file lets others in. Options in nova.conf are not seen."""
    warnings: dict[str, None] = {}  # each once: several sections may use the one that has the option
    for section in file.sections(FILTERS):
        if _AUTH_TOKEN.fullmatch(file.factory(FILTERS, name_of(section))):
            for warning, place in _find_in(_read_options(file, section)):
                warnings[f"{warning} (section [{place}] of {file.path})"] = None
    return list(warnings)


def _find_in(options: Mapping[str, _Option]) -> Iterator[tuple[str, str]]:
    """Yield warnings, each with the section that it is about."""
    servers = options.get(_SERVERS)
    if servers is None or not servers.text.strip():
        return
    remote = _find_remote(servers.text)
    if remote:
        yield f"{servers.name} = {', '.join(remote)}: {_ON_A_PORT}", servers.section
    strategy = options.get("memcache_security_strategy", servers._replace(text=""))
    key = options.get("memcache_secret_key", strategy._replace(text=""))
    if strategy.text.strip() != _STRATEGY:
        yield _NOT_ENCRYPTED, strategy.section
    elif key.text.strip() in ("", PLACEHOLDER):
        yield _SHIPPED_KEY, key.section


def _find_remote(servers: str) -> list[str]:
    """Return the servers that are not sockets of this host's."""
    names = [server.strip() for server in servers.split(",")]
    return [name for name in names if name and not name.startswith("unix:")]


def _read_options(file: PasteFile, section: Section) -> dict[str, _Option]:
    """Return what auth_token is given: [DEFAULT], which it reads too, the sections that it uses, and its own."""
    options: dict[str, _Option] = {}
    for source in [*file.sections(("DEFAULT",)), *_find_used(file, section)]:
        for key, text in source.options.items():
            name = key.removeprefix("set ").strip()
            options[_OLD_NAMES.get(name, name)] = _Option(name, text, source.name)
    return {name: option._replace(text=_interpolate(option.text, options)) for name, option in options.items()}


def _find_used(file: PasteFile, section: Section) -> list[Section]:
    """Return a section and those of the same file that it uses, itself last."""
    sections = [section]
    used = file.find(FILTERS, section.options.get("use", ""))
    while used is not None and len(sections) < _MAX_DEPTH:
        sections.insert(0, used)
        used = file.find(FILTERS, used.options.get("use", ""))
    return sections


def _interpolate(text: str, options: Mapping[str, _Option]) -> str:
    """Put the values of other options in, as PasteDeploy does, where they are known."""
    for name in _REFERENCE.findall(text):
        if name in options:
            text = text.replace(f"%({name})s", options[name].text)
    return text
