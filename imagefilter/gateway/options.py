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
The address of the compute API: scheme, host and port. It has no path, since the gateway keeps the path of each
request: for an endpoint ``https://host/compute/v2.1`` the proxy in front must pass on ``/compute/v2.1/...``
unchanged.
""",
    ),
    cfg.StrOpt(
        "compute_ca_file",
        help="""
A file with the certificates of the authorities that may sign the compute API's certificate. Without this option the
gateway uses the system's own. A self-signed certificate is its own authority.
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
A file with the key of ``compute_client_cert``, unencrypted. It is not needed if that file contains the key too.
""",
    ),
    cfg.BoolOpt(
        "compute_verify",
        default=True,
        help="""
Whether the gateway verifies the compute API's certificate. If not, anybody on the network path can respond in the
compute API's place and read tokens, and the gateway logs a warning at start.
""",
    ),
    cfg.FloatOpt(
        "connect_timeout",
        default=5,
        min=0.001,
        help="""
How many seconds the gateway waits for a connection to the compute API, and for the compute API to accept each piece
of a request.
""",
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=60,
        min=0.001,
        help="""
How many seconds the gateway waits for the first byte of a response, and for each next one. Snapshots of servers that
boot from a volume take Nova longest.
""",
    ),
    cfg.IntOpt(
        "pool_size",
        default=16,
        min=1,
        help="""
How many connections to the compute API each process keeps open. Set the number of its threads.
""",
    ),
)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the gateway's options as oslo-config-generator and oslo-config-validator want them."""
    group = cfg.OptGroup(
        GROUP,
        help="""
The options of the gateway. The gateway does not read them from a config file. Set them in the section of a paste file
that says ``use = egg:nova-imagefilter#gateway``, such as ``[app:compute]`` in gateway.ini. The section of the health
check, ``[app:healthcheck]``, accepts them too.
""",
    )
    return [(group, [copy.deepcopy(option) for option in OPTIONS])]
