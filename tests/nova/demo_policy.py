"""Try a policy of one's own on the demo's Nova: ``make demo CONFIG=my.conf``.

The file is read again as soon as it was saved, without waiting for a request. Each record is shown as it is written.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Callable
from unittest import mock

from imagefilter.cli.audit_follow import sentence
from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower
from imagefilter.policy.config import ConfigError
from imagefilter.policy.policy import Policy
from imagefilter.policy.store import PolicyStore, coordination_errors
from imagefilter.rules.table import load_policy
from tests.nova.demo_notes import find_notes

Write = Callable[[str], None]

#: Who asks: the token, and what it stands for.
CALLERS = (
    ("member", "alice, a member of the project"),
    ("backup", "night, a member with the role backup: try exempt_roles = backup"),
    ("admin", "root, an admin"),
    ("other", "bob, a member of another project, with a server of its own"),
)
_INTERVAL = 0.1  # seconds


def read_errors(path: str) -> list[str]:
    """Return what is wrong with a policy; empty if it can be used."""
    try:
        policy = load_policy({"oslo_config_file": path})
    except ConfigError as error:
        return error.errors
    if policy.coordination_url and policy.settings.mode == "enforce":
        return coordination_errors(policy)
    return []


def read_options(path: str) -> dict[str, str]:
    """Return the options of a filter that judges by a policy and looks at its file whenever it is asked."""
    return {"oslo_config_file": str(Path(path).absolute()), "reload_interval": "0"}


def build_pipeline(cloud: Any, path: str) -> Any:
    """Return Nova with the filter in its pipelines."""
    return cloud.app(read_options(path))


def build_gateway(cloud: Any, path: str) -> Any:
    """Return the shipped gateway in front of Nova: its auth_token asks the same canned Keystone as Nova's own."""
    from paste.deploy import loadapp

    from tests.gateway.nova import serve_wsgi
    from tests.gateway.servers import fill_in_paste_file

    served = contextlib.ExitStack()
    port = served.enter_context(serve_wsgi(cloud.bare))
    cloud.addCleanup(served.close)
    sections = {"filter:imagefilter": {**read_options(path), "audit_journal": str(cloud.journal)}}
    paste = cloud.folder / "gateway.ini"
    paste.write_text(fill_in_paste_file(f"http://127.0.0.1:{port}", sections, "gateway"))
    return loadapp(f"config:{paste}")


def write_callers(write: Write, port: int, servers: dict[str, str]) -> None:
    """Print who may ask, and a curl line for each to copy.

    :param servers: the server of each token's project.
    """
    write("Who may ask; a line for each, to copy into another terminal:\n")
    for token, description in CALLERS:
        url = f"http://127.0.0.1:{port}/v2.1/servers/{servers[token]}/action"
        write(f"# {token}: {description}")
        write(f"curl -si {url} -H 'X-Auth-Token: {token}' \\")
        write(
            """  -H 'Content-Type: application/json' -d '{"createImage": {"name": "mine", "metadata": {"k": "v"}}}'\n"""
        )


class Terminal(logging.Handler):
    """Shows what a filter logs of its policy."""

    def __init__(self, write: Write) -> None:
        super().__init__(logging.INFO)
        self._write = write
        self._threads = threading.local()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Show nothing of what this thread logs meanwhile."""
        before = getattr(self._threads, "is_quiet", False)
        self._threads.is_quiet = True
        try:
            yield
        finally:
            self._threads.is_quiet = before

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        if not getattr(self._threads, "is_quiet", False):
            self._write(f"  log      {record.levelname.lower()}: {record.getMessage()}")


class _QuietStore(PolicyStore):
    """The policy of another filter: it changes as that of the first one, which tells so."""

    def __init__(self, terminal: Terminal, *args: Any) -> None:
        self._terminal = terminal
        with terminal.quiet():
            super().__init__(*args)

    def current(self) -> Policy:
        with self._terminal.quiet():
            return super().current()

    def log(self) -> None:
        with self._terminal.quiet():
            super().log()


@contextlib.contextmanager
def collect_stores(terminal: Terminal) -> Iterator[list[PolicyStore]]:
    """Collect the policies in force of the filters that are built meanwhile: Nova has two pipelines."""
    stores: list[PolicyStore] = []

    def create(*args: Any) -> PolicyStore:
        if stores:
            stores.append(_QuietStore(terminal, *args))
        else:
            stores.append(PolicyStore(*args))
        return stores[-1]

    with mock.patch("imagefilter.filter.PolicyStore", create):
        yield stores


def watch(write: Write, stores: Sequence[PolicyStore]) -> None:
    """Let filters look at their file all the time, from a thread of its own: in a cloud a request asks them to."""
    threading.Thread(target=_watch, args=(write, stores), daemon=True).start()


def _watch(write: Write, stores: Sequence[PolicyStore]) -> None:
    shown = write_notes(write, stores[0].policy, ())
    while True:
        time.sleep(_INTERVAL)
        for store in reversed(stores):  # the first one tells of it: when it does, all have the new policy
            store.current()
        shown = write_notes(write, stores[0].policy, shown)


def write_notes(write: Write, policy: Policy, shown: Collection[str]) -> Collection[str]:
    """Print what of a policy can't be tried here, unless that is shown already; return what is shown now."""
    notes = tuple(find_notes(policy))
    for note in notes:
        if note not in shown:
            write(f"  note     {note}")
    return notes


def show_log(write: Write) -> Terminal:
    """Show what is reloaded, and which policy is in force then."""
    logger = logging.getLogger("imagefilter.policy.store")
    logger.setLevel(logging.INFO)
    terminal = Terminal(write)
    logger.addHandler(terminal)
    return terminal


def show_records(write: Write, journal: Path) -> None:
    """Show each record as it is written, from a thread of its own."""
    threading.Thread(target=_follow, args=(write, journal), daemon=True).start()


def _follow(write: Write, journal: Path) -> None:
    for item in follow([Follower(str(journal))], _INTERVAL):
        if item is not None and item[1].record is not None:
            write(f"  record   {sentence(item[1].record)}")


def create_servers(cloud: Any) -> dict[str, str]:
    """Return a server of each token's project."""
    servers = dict.fromkeys((token for token, _ in CALLERS), cloud.server)
    servers["other"] = cloud.new_server(token="other")
    return servers
