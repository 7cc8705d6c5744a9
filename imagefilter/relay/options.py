"""The relay's options: section ``[imagefilter_relay]`` of a config file, which may be the filter's, or nova.conf."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg

from imagefilter.policy import options
from imagefilter.policy.config import ConfigError, RawOption, convert, select
from imagefilter.policy.files import ConfigFiles, find_files
from imagefilter.policy.options import RELAY_GROUP
from imagefilter.policy.own_rules import OWN_RULE_OPTIONS

OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "journals",
        default=[],
        sample_default=["/var/log/imagefilter/audit.jsonl"],
        help="""
The audit journals to follow: absolute paths, separated by commas. They need not exist yet. The relay also reads
rotated files: ``<journal>.1``, ``<journal>-20261124``, and ``.gz`` of both. The command's ``--journal`` replaces this
list.
""",
    ),
    cfg.StrOpt(
        "transport_url",
        secret=True,
        sample_default="rabbit://user:password@broker:5672/",
        help="""
The URL of the message bus, as oslo.messaging reads it. Set more about the bus (TLS, quorum queues, ...) in
oslo.messaging's own sections of this file, such as ``[oslo_messaging_rabbit]``. There ``amqp_durable_queues`` is true
unless the file sets it, since a queue that is not durable is lost when its broker restarts. Consumers must use the
same value.

Without this option the relay counts records for Prometheus and publishes nothing. If you set it later, the relay does
not publish what it has counted so far.
""",
    ),
    cfg.StrOpt(
        "driver",
        default="messagingv2",
        choices=[
            ("messagingv2", "with oslo.messaging's envelope"),
            ("messaging", "without the envelope, for old consumers"),
        ],
        help="""
The format of the notifications.
""",
    ),
    cfg.ListOpt(
        "topics",
        default=["notifications"],
        help="""
The topics to publish to. The priority is always ``info``, so that one queue holds all records and keeps their order.
""",
    ),
    cfg.IntOpt(
        "retries",
        default=5,
        min=1,
        help="""
How often the relay tries to publish a record that the bus refuses because of the record itself, for example because
it is too large. Then the record goes to the dead letters.

With ``--once`` this is also how often the relay tries to reach the bus before it gives up. Without ``--once`` the
relay tries for ever if it can't reach the bus, or if the bus refuses the credentials or has no room. Meanwhile the
records wait in the journal.
""",
    ),
    cfg.StrOpt(
        "checkpoint",
        default="/var/lib/imagefilter/relay.json",
        help="""
The file where the relay stores what the bus has confirmed. The file with ``.counted`` behind this name stores what
the relay has counted. Their directory must exist, and the relay must be able to write there.
""",
    ),
    cfg.StrOpt(
        "dead_letters",
        default="/var/lib/imagefilter/dead-letters.jsonl",
        help="""
The file for records that the bus refuses for ever; each is stored as it is in the journal. When the reason is gone,
``imagefilter relay --once --journal <this file>`` publishes them.
""",
    ),
    cfg.StrOpt(
        "listen_address",
        default="127.0.0.1",
        help="""
The address where the relay serves ``/metrics`` and ``/healthcheck``. There is no password: everybody who can reach
the address can read them.
""",
    ),
    cfg.PortOpt(
        "listen_port",
        default=9784,
        help="""
The port where the relay serves ``/metrics`` and ``/healthcheck``. With 0 it does not serve them.
""",
    ),
    cfg.IntOpt(
        "max_lag",
        default=300,
        min=1,
        help="""
``/healthcheck`` responds 503 if the oldest record that is not yet published is older than this, in seconds.
""",
    ),
)


class Settings(NamedTuple):
    """The relay's options."""

    journals: list[str]
    transport_url: str | None
    driver: str
    topics: list[str]
    retries: int
    checkpoint: str
    dead_letters: str
    listen_address: str
    listen_port: int
    max_lag: int
    config_file: str | None

    @property
    def counted_file(self) -> str:
        """The file that keeps what was counted: beside the checkpoint, and written apart from it."""
        return f"{self.checkpoint}.counted"


def load(config_file: str | None, journals: Sequence[str] = (), dry_run: bool = False) -> Settings:
    """Read the options.

    :param journals: instead of those in the file.
    :param dry_run: nothing will be published or kept, so no bus is needed.
    :raises ConfigError: for all errors, in one message.
    """
    errors: list[str] = []
    given = select(_read(config_file, errors), OPTIONS, errors)
    values = convert(given, OPTIONS, errors)
    values["journals"] = list(dict.fromkeys(journals or values["journals"]))
    errors += _find_missing(values, config_file, dry_run)
    if errors:
        raise ConfigError(list(dict.fromkeys(errors)))
    return Settings(config_file=config_file, **values)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the filter's and the relay's options for oslo-config-generator and -validator.

    This is the entry point ``oslo.config.opts``. One file may hold the options of both, so both are in one list.
    """
    groups = options.list_opts()
    groups.append((f"{options.RULE_SECTION}name", [copy.deepcopy(option) for option in OWN_RULE_OPTIONS]))
    groups.append((RELAY_GROUP, [copy.deepcopy(option) for option in OPTIONS]))
    return groups


def _read(config_file: str | None, errors: list[str]) -> list[RawOption]:
    if config_file is None:
        return []
    files = ConfigFiles(find_files({"oslo_config_file": config_file}), errors)
    return files.options(_is_relay_section, errors)


def _is_relay_section(section: str) -> bool:
    return section == RELAY_GROUP


def _find_missing(values: Mapping[str, Any], config_file: str | None, dry_run: bool) -> list[str]:
    location = "no config file is given"
    if config_file:
        location = f"section [{RELAY_GROUP}] of {config_file}"
    errors = []
    if not values["journals"]:
        errors.append(f"no journal to follow: set journals, or use --journal ({location})")
    paths = list(values["journals"])
    paths += [values["checkpoint"], values["dead_letters"]]
    for path in paths:
        if not os.path.isabs(path):
            errors.append(f"{path} is not an absolute path ({location})")
    if not (values["transport_url"] or values["listen_port"] or dry_run):
        errors.append(
            f"neither transport_url nor listen_port is set ({location}): nothing would be published, and nothing served"
        )
    if not values["topics"]:
        errors.append(f"topics is empty ({location})")
    return errors
