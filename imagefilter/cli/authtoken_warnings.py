"""What auth_token trusts: its cache of tokens says who is calling, for as long as an answer of Keystone's is good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagefilter.cli.pastefile import FILTERS, PasteFile, name_of

_FACTORY = "keystonemiddleware.auth_token:"
_STRATEGY = "ENCRYPT"
#: What the shipped file has in place of a key.
PLACEHOLDER = "change-me"


def find_cache_warnings(file: PasteFile) -> Iterator[str]:
    """Yield what of the token caches in a paste file lets others in. Options in nova.conf are not seen."""
    for section in file.sections(FILTERS):
        if file.factory(FILTERS, name_of(section)).startswith(_FACTORY):
            for warning in _find_in(section.options):
                yield f"{warning} (section [{section.name}] of {file.path})"


def _find_in(options: Mapping[str, str]) -> Iterator[str]:
    servers = options.get("memcached_servers", "")
    if not servers.strip():
        return
    remote = [server.strip() for server in servers.split(",") if not server.strip().startswith("unix:")]
    if remote:
        yield (
            f"memcached_servers = {', '.join(remote)}: whoever reaches it can be anybody, and python-memcached runs"
            " code that it finds there: use a socket of the service's own, or no memcached"
        )
    if options.get("memcache_security_strategy", "").upper() != _STRATEGY:
        yield f"memcache_security_strategy is not {_STRATEGY}: whoever writes to memcached can be anybody"
    elif options.get("memcache_secret_key", "") in ("", PLACEHOLDER):
        yield "memcache_secret_key is not set to a secret of yours"
