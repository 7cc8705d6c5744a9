"""The options: one table that feeds paste keys, config files, the sample and the docs."""

from __future__ import annotations

import copy

from oslo_config import cfg, types

#: The group of all options in a config file.
GROUP = "imagefilter"

ACTIONS = ("createImage", "createBackup", "shelve")

OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "actions",
        default=["createImage", "createBackup"],
        item_type=types.String(choices=ACTIONS),
        help="""
The server actions that are judged. Every one of them makes an image of a server.

``shelve`` makes one too, of servers that don't boot from a volume; it is judged only when listed, since a cloud that
forbids snapshots may still want its tenants to shelve. Only the switch ``snapshots_enabled`` concerns it: it has no
name and no metadata of the client's.
""",
    ),
    cfg.BoolOpt(
        "snapshots_enabled",
        default=True,
        deprecated_name="allow_instance_snapshots",
        help="""
Whether servers may be turned into images at all. Where not, the answer is 400 ``Instance snapshots are not
permitted at this time.``, as it was while Nova had ``allow_instance_snapshots`` (removed in 18.0.0).
""",
    ),
    cfg.IntOpt(
        "metadata_items",
        default=128,
        min=-1,
        help="""
How many metadata items a client may give an image; -1 is no limit. Over it the answer is 403 ``Image metadata limit
exceeded``, at every microversion (Nova itself stopped checking at 2.39, and everywhere under unified limits).

Glance counts the properties that Nova adds as well against its own limit of 128 (``image_property_quota``), and Nova
answers 500 when that is passed: with a stock Nova and Glance, 118 is the most that always works.
""",
    ),
    cfg.IntOpt(
        "max_body_bytes",
        default=114688,
        min=1,
        help="""
The longest request body in bytes; over it the answer is 413. It must be at least the compute API's own
``[oslo_middleware] max_request_body_size``, or requests are refused that the compute API would take.
""",
    ),
    cfg.URIOpt(
        "www_authenticate_uri",
        help="""
The public Identity API endpoint, told to unauthenticated clients in ``WWW-Authenticate``. Only of use where no
``auth_token`` filter stands in front.
""",
    ),
)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options for oslo-config-generator and oslo-config-validator (entry point ``oslo.config.opts``)."""
    return [(GROUP, [copy.deepcopy(option) for option in OPTIONS])]
