"""The relay's options: section ``[imagefilter_relay]`` of a config file, which may be the filter's, or nova.conf."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg

from imagefilter import options
from imagefilter.options import GROUP
from imagefilter.policy import PROJECT_SECTION, ConfigError
from imagefilter.sources import RELAY_GROUP, Given, in_files

OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "journals",
        default=[],
        sample_default=["/var/log/imagefilter/audit.jsonl"],
        help="""
The audit journals to follow: absolute paths, separated by commas. They need not be there yet. Files that were rotated
away are read too: ``<journal>.1``, ``<journal>-20261124``, and ``.gz`` of both. ``--journal`` wins.
""",
    ),
    cfg.StrOpt(
        "transport_url",
        secret=True,
        sample_default="rabbit://user:password@broker:5672/",
        help="""
The message bus, as oslo.messaging knows it. More about it (TLS, quorum queues, ...) may be said in this file in
oslo.messaging's own sections, such as ``[oslo_messaging_rabbit]``. There ``amqp_durable_queues`` is true unless the
file says otherwise, since a queue that is not durable is gone when its broker is restarted. Consumers must agree.
""",
    ),
    cfg.StrOpt(
        "driver",
        default="messagingv2",
        choices=[("messagingv2", "with oslo.messaging's envelope"), ("messaging", "without, for old consumers")],
        help="""
The format of the notifications.
""",
    ),
    cfg.ListOpt(
        "topics",
        default=["notifications"],
        help="""
The topics to publish to; the priority is always ``info``, so that one queue holds all and keeps their order.
""",
    ),
    cfg.IntOpt(
        "retries",
        default=5,
        min=1,
        help="""
How often a record is tried that the bus refuses for its own sake (too large, say) before it goes to the dead letters;
and with ``--once`` how often a bus that can't be reached is tried before the relay gives up. Without ``--once`` a bus
that can't be reached, refuses the credentials or has no room is tried for ever, and records wait in the journal.
""",
    ),
    cfg.StrOpt(
        "checkpoint",
        default="/var/lib/imagefilter/relay.json",
        help="""
The file that says what the bus has confirmed, and holds the counters. Its directory must exist and be writable.
""",
    ),
    cfg.StrOpt(
        "dead_letters",
        default="/var/lib/imagefilter/dead-letters.jsonl",
        help="""
The file that gets the records that the bus refuses for ever, as they stand in the journal. When the reason is gone,
``imagefilter relay --once --journal <this file>`` sends them.
""",
    ),
    cfg.StrOpt(
        "listen_address",
        default="127.0.0.1",
        help="""
The address that ``/metrics`` and ``/healthcheck`` are served on. There is no password: the address decides who may ask.
""",
    ),
    cfg.PortOpt(
        "listen_port",
        default=9784,
        help="""
The port that ``/metrics`` and ``/healthcheck`` are served on; 0 is none.
""",
    ),
    cfg.IntOpt(
        "max_lag",
        default=300,
        min=1,
        help="""
The age of the oldest record that is not published yet, in seconds, from which on ``/healthcheck`` says 503.
""",
    ),
)
_BY_NAME: dict[str, cfg.Opt] = {option.name: option for option in OPTIONS}
_PATHS = ("checkpoint", "dead_letters")


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


def load(config_file: str | None, journals: Sequence[str] = (), dry_run: bool = False) -> Settings:
    """Read the options.

    :param journals: instead of those that the file names.
    :param dry_run: nothing will be published or kept, so there need be no bus.
    :raises ConfigError: for all that is wrong, in one message.
    """
    errors: list[str] = []
    given = _given(config_file, errors)
    values = {option.name: option.default for option in OPTIONS}
    for each in given:
        _set(values, each, errors)
    values["journals"] = list(dict.fromkeys(journals or values["journals"]))
    errors += _missing(values, config_file, dry_run)
    if errors:
        raise ConfigError(errors)
    return Settings(config_file=config_file, **values)


def _given(config_file: str | None, errors: list[str]) -> Iterable[Given]:
    if config_file is None:
        return []
    try:
        given = list(in_files({"oslo_config_file": config_file}, _is_known_or_misspelt))
    except ValueError as error:
        errors.append(str(error))
        return []
    errors += dict.fromkeys(f"{each.place}: unknown section" for each in given if each.section != RELAY_GROUP)
    return [each for each in given if each.section == RELAY_GROUP]


def _is_known_or_misspelt(section: str) -> bool:
    """Whether a section is the relay's, or nobody's: the filter's own are its to judge."""
    return section.lower().startswith(GROUP) and section != GROUP and not section.startswith(PROJECT_SECTION)


def _set(values: dict[str, Any], given: Given, errors: list[str]) -> None:
    option = _BY_NAME.get(given.name)
    if option is None:
        close = difflib.get_close_matches(given.name, _BY_NAME, 1)
        hint = f" (is it {close[0]}?)" if close else ""
        errors.append(f"unknown option '{given.name}' in {given.place}{hint}")
        return
    try:
        values[option.name] = option.type(given.text) if given.text.strip() else option.default
    except ValueError as error:
        text = "***" if option.secret else given.text
        errors.append(f"{given.name} = {text} in {given.place}: {error}")


def _missing(values: dict[str, Any], config_file: str | None, dry_run: bool) -> list[str]:
    place = f"section [{RELAY_GROUP}] of {config_file}" if config_file else "no config file is given"
    errors = []
    if not values["journals"]:
        errors.append(f"no journal to follow: give --journal, or the option journals ({place})")
    for path in (*values["journals"], *(values[name] for name in _PATHS)):
        if not os.path.isabs(path):
            errors.append(f"{path} is no absolute path ({place})")
    if not values["transport_url"] and not dry_run:
        errors.append(f"transport_url is not set ({place}): where shall records be published? (--dry-run prints them)")
    if not values["topics"]:
        errors.append(f"topics is empty ({place})")
    return errors


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The filter's and the relay's options for oslo-config-generator and -validator (entry point ``oslo.config.opts``).

    They may stand in one file, so they are told as one.
    """
    return [*options.list_opts(), (RELAY_GROUP, [copy.deepcopy(option) for option in OPTIONS])]
