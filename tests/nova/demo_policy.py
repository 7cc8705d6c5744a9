"""Try a policy of one's own on the demo's Nova: ``make demo CONFIG=my.conf``.

The file is read again when it changes, and each record is shown as it is written.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import Any, Callable

from imagefilter.cli.audit_follow import sentence
from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower
from imagefilter.policy.config import ConfigError
from imagefilter.rules.table import load_policy

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
        load_policy({"oslo_config_file": path})
    except ConfigError as error:
        return error.errors
    return []


def read_options(path: str) -> dict[str, str]:
    """Return the options of a filter that judges by a policy and looks at it every second."""
    return {"oslo_config_file": str(Path(path).absolute()), "reload_interval": "1"}


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


class _Terminal(logging.Handler):
    """Shows what the filter logs."""

    def __init__(self, write: Write) -> None:
        super().__init__(logging.INFO)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        self._write(f"  log      {record.levelname.lower()}: {record.getMessage()}")


def show_log(write: Write) -> None:
    """Show what is reloaded, and which policy is in force then."""
    logger = logging.getLogger("imagefilter.policy.store")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Terminal(write))


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
