"""The gateway's options: keys of its section in a paste file."""

from __future__ import annotations

import copy

from oslo_config import cfg

#: The group of the gateway's options for oslo.config's generators. No config file has a section of this name.
GROUP = "imagefilter_gateway"

OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "compute_url",
        required=True,
        sample_default="http://127.0.0.1:8774",
        help="""
Where the compute API is: scheme, host and port. It has no path, since each request keeps its own: for an endpoint
``https://host/compute/v2.1`` the proxy in front must pass on ``/compute/v2.1/...`` unchanged.
""",
    ),
    cfg.StrOpt(
        "compute_ca_file",
        help="""
A file with the certificates of the authorities that the compute API's certificate may be signed by. Without it these
are the system's own. A self-signed certificate is its own authority.
""",
    ),
    cfg.StrOpt(
        "compute_client_cert",
        help="""
A file with the certificate that the gateway presents to the compute API.
""",
    ),
    cfg.StrOpt(
        "compute_client_key",
        help="""
A file with the key of ``compute_client_cert``, unencrypted. It is not needed if the key is in the same file.
""",
    ),
    cfg.BoolOpt(
        "compute_verify",
        default=True,
        help="""
Whether the compute API's certificate is verified. If not, anybody on the way can respond in its place and read tokens;
a warning is logged at start.
""",
    ),
    cfg.FloatOpt(
        "connect_timeout",
        default=5,
        min=0.001,
        help="""
How long connecting to the compute API may take, and how long it may take to accept each piece of a request, in seconds.
""",
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=60,
        min=0.001,
        help="""
The longest time between any two bytes of a response, and before the first one, in seconds. Snapshots of servers that
boot from a volume take Nova longest.
""",
    ),
    cfg.IntOpt(
        "pool_size",
        default=16,
        min=1,
        help="""
How many connections to the compute API each process keeps open: as many as it has threads.
""",
    ),
)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the gateway's options as oslo-config-generator and oslo-config-validator want them."""
    group = cfg.OptGroup(
        GROUP,
        help="""
The options of the gateway. They are not read from a config file: they are keys of the section of a paste file that says
``use = egg:nova-imagefilter#gateway``, such as ``[app:compute]`` in gateway.ini. The section of the health check,
``[app:healthcheck]``, takes them too.
""",
    )
    return [(group, [copy.deepcopy(option) for option in OPTIONS])]
