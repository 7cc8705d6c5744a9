"""The filter's options: one table that feeds paste keys, config files, the sample and the docs."""

from __future__ import annotations

import copy

from oslo_config import cfg, types

from imagefilter.policy.limit_options import LIMIT_OPTIONS, PROJECT_LIMIT_OPTIONS
from imagefilter.request.action import ACTIONS

#: The group of all options in a config file.
GROUP = "imagefilter"

#: Sections with the options of one project begin with this; its id follows.
PROJECT_SECTION = f"{GROUP}:project:"

#: Sections with one of the operator's own rules begin with this; its name follows.
RULE_SECTION = f"{GROUP}:rule:"

#: The relay's section, in what may be the same file.
RELAY_GROUP = "imagefilter_relay"

#: Options that may hold a password, of the filter and of others in the same file.
SECRETS = frozenset(("coordination_url", "transport_url"))

MODES = [
    ("enforce", "the filter refuses the request"),
    (
        "warn",
        "the filter forwards the request, adds a ``Warning: 299`` header to the response, and logs ``would_deny``",
    ),
    ("off", "the filter judges nothing"),
]

# glance/api/v2/images.py get_base_properties(): the image's own fields, but for name and visibility, which Nova sets
# itself. It sets disk_format and container_format as well, but too late for a server that boots from a volume: iso
# leaves a Cinder snapshot behind with each request.
_BASE_PROPERTIES = (
    "id",
    "status",
    "protected",
    "os_hidden",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "owner",
    "size",
    "virtual_size",
    "disk_format",
    "container_format",
    "created_at",
    "updated_at",
    "tags",
    "direct_url",
    "min_ram",
    "min_disk",
    "self",
    "file",
    "stores",
    "schema",
    "locations",
)
# The same module, RequestDeserializer._reserved_properties and _reserved_namespaces: refused with 403.
_RESERVED_PROPERTIES = ("deleted", "deleted_at", "os_glance_*")
# nova/image/glance.py _create_v2(): Nova calls Glance's add-location with the client's URL. create(): a project that
# the image is shared with. glanceclient/v2/images.py create(): removed as the store to write to.
#: What Nova takes for an instruction, also where it comes from the image that a server was booted from.
INSTRUCTIONS = ("location", "instance_owner", "backend")

#: Metadata keys that don't become properties of an image but something else.
IMAGE_FIELDS = _BASE_PROPERTIES + _RESERVED_PROPERTIES + INSTRUCTIONS

#: Options that a section [imagefilter:project:<id>] may hold.
PROJECT_OPTIONS = PROJECT_LIMIT_OPTIONS | frozenset(
    (
        "snapshots_enabled",
        "metadata_items",
        "metadata_items_source",
        "name_pattern",
        "metadata_required",
        "metadata_reserved",
        "mode",
        "rule_modes",
        "exempt_roles",
    )
)

OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.ListOpt(
        "actions",
        default=["createImage", "createBackup"],
        item_type=types.String(choices=ACTIONS),
        help="""
The image actions that the filter judges. Each of them makes an image of a server. The filter forwards an action that
is not listed without judging it.

Add ``shelve`` to judge it as well: it makes an image of a server that does not boot from a volume. The default leaves
it out, since a cloud that forbids snapshots may still want its tenants to shelve. The rules on names and metadata do
not apply to it, because the client gives it no name and no metadata.
""",
    ),
    cfg.BoolOpt(
        "snapshots_enabled",
        default=True,
        deprecated_name="allow_instance_snapshots",
        help="""
Whether clients may make images of servers at all. If not, they get 400 ``Instance snapshots are not permitted at this
time.``, as they did from Nova while it had ``allow_instance_snapshots`` (removed in 18.0.0).
""",
    ),
    cfg.IntOpt(
        "metadata_items",
        default=128,
        min=-1,
        help="""
How many metadata items a client may give an image; -1 is no limit. A request with more gets 403 ``Image metadata
limit exceeded``, at every microversion. (Nova itself stopped checking at 2.39, and at every microversion if it uses
unified limits.)

Glance has its own limit of 128 properties (``image_property_quota``), and counts the properties that Nova adds too.
Nova responds 500 when that limit is exceeded. With a stock Nova and Glance, 118 is the largest number of items that
always works.
""",
    ),
    cfg.StrOpt(
        "metadata_items_source",
        default="config",
        choices=[
            ("config", "the option ``metadata_items``"),
            ("compute", "the project's own quota in the compute API"),
        ],
        help="""
Where the limit on metadata items comes from. With ``compute`` the filter asks ``GET .../limits`` (``maxImageMeta``)
with the caller's own token, and uses the response again for ``lookup_ttl`` seconds.
""",
    ),
    cfg.StrOpt(
        "name_pattern",
        help="""
A regular expression that the whole name of an image must match; a request with another name gets 403. With google-re2
installed, matching takes linear time. Without it, loading fails if the pattern could take long on some name. Write a
dollar sign as ``$$`` in a config file, and a percent sign as ``%%`` in a paste file.
""",
    ),
    cfg.ListOpt(
        "metadata_required",
        default=[],
        help="""
Metadata keys that a client must give to each image of ``createImage`` and ``createBackup``, separated by commas. A
request without one of them gets 403.
""",
    ),
    cfg.ListOpt(
        "metadata_reserved",
        default=list(IMAGE_FIELDS),
        help="""
Metadata keys that a client may not set; a request that sets one of them gets 403. A final ``*`` matches any ending.
The filter ignores case, accents, and white space around a client's key, as Glance's databases do.

The default is the image's own fields, since Nova passes metadata to Glance as fields of the image. With ``location``
a client makes Glance fetch a URL of the client's choice; ``id`` chooses the image's id, ``backend`` its store, and
``instance_owner`` a project to share it with. Most of the others end in a 500 or 403.

``location``, ``backend`` and ``instance_owner`` can also bypass the filter: Nova copies them from the image that a
server was booted from. To stop that, set ``[DEFAULT] non_inheritable_image_properties = cache_in_nova, bittorrent,
location, backend, instance_owner`` in nova.conf.

Recommended in addition, since they forge where an image came from: ``instance_uuid, base_image_ref, user_id,
backup_type``. Also ``mappings, block_device_mapping``: Nova reads both as JSON, and with any other text it responds
500 after it has made the image. Your list replaces the default, so repeat the default's keys. Do not add
``image_type``: Packer and others set it.
""",
    ),
    cfg.StrOpt(
        "mode",
        default="enforce",
        choices=MODES,
        help="""
What the filter does with a request that breaks a rule. The rules ``token``, ``content-type`` and ``body`` refuse in
``warn`` as well.
""",
    ),
    cfg.Opt(
        "rule_modes",
        type=types.Dict(types.String(choices=[mode for mode, _ in MODES])),
        default={},
        sample_default="name-format:warn,metadata-reserved:off",
        help="""
Modes of single rules, as ``rule:mode`` pairs separated by commas. They win over ``mode``, unless that is ``off``.
Every rule can have one, except ``token``, ``content-type`` and ``body``. Set ``project-id:off`` if nova.conf has a
``[api] project_id_regex`` that is wider than Nova's default.
""",
    ),
    cfg.ListOpt(
        "exempt_roles",
        default=[],
        help="""
Callers with one of these roles are exempt from ``snapshots_enabled``, the metadata quota, the operator's rules
(``name_pattern``, ``metadata_required``, ``metadata_reserved``, and your own), the limits on the number of images,
and the limits on the rotation of backups. They are not exempt from the contract, ``one_at_a_time`` and
``image_quota_check``. A role counts only if ``auth_token`` or Nova's own context vouches for it.
""",
    ),
    cfg.StrOpt(
        "lookup_on_error",
        default="deny",
        choices=[
            ("deny", "the client gets 503, such as ``The metadata quota could not be determined.``"),
            ("allow", "the quota or the limit does not apply to this request"),
        ],
        help="""
What the filter does with a request if it cannot look up a quota, a limit or a server that a rule needs, or if the
back end of locks does not respond.
""",
    ),
    cfg.IntOpt(
        "lookup_ttl",
        default=60,
        min=0,
        help="""
For how many seconds the filter uses a response again: the compute API's about a project's quota, and Keystone's about
limits.
""",
    ),
    cfg.IntOpt(
        "reload_interval",
        default=10,
        min=0,
        help="""
The shortest time between two checks whether the config file has changed, in seconds. Only an image action triggers a
check; with 0 each image action does. If the new file has errors or is missing, the filter logs one error and keeps
the previous configuration. A file that was written less than a second ago may be half written, so the filter leaves
it for the next check.
""",
    ),
    cfg.IntOpt(
        "max_body_bytes",
        default=114688,
        min=1,
        help="""
The longest request body in bytes; a longer one gets 413. The value must be at least the compute API's own
``[oslo_middleware] max_request_body_size``. With a smaller value the filter refuses requests that the compute API
would accept.
""",
    ),
    cfg.StrOpt(
        "audit_journal",
        sample_default="/var/log/imagefilter/audit.jsonl",
        help="""
The absolute path of the audit journal. For each image action the filter writes one line of JSON (a CADF event) with
its verdict, and one with the compute API's response. The verdict is on disk before the filter forwards the request.
The journal's directory must exist, and the user that the API runs as must be able to write there. Without this option
the lines go to the logger ``imagefilter.audit`` at level info, and are as durable as that log.
""",
    ),
    cfg.StrOpt(
        "audit_on_error",
        default="deny",
        choices=[
            ("deny", "the client gets 503 ``The request could not be recorded.``"),
            ("allow", "the filter forwards it and logs an error; the next record says how many records are missing"),
        ],
        help="""
What the filter does with an image action if it cannot write the verdict to the journal, for example because the disk
is full.
""",
    ),
    cfg.StrOpt(
        "audit_metadata",
        default="keys",
        choices=[
            ("keys", "the keys"),
            ("full", "the keys and the values; ``imagefilter audit replay`` can then judge the values again"),
            ("none", "only the number of items (the message of a refusal still names the key that it is about)"),
        ],
        help="""
How much of the metadata a record contains. The filter truncates texts of more than 255 characters and metadata of
more than 16 KiB, and the record says so.
""",
    ),
    cfg.URIOpt(
        "www_authenticate_uri",
        help="""
The public endpoint of the Identity API. The filter sends it in ``WWW-Authenticate`` to clients without a token. It is
only useful where no ``auth_token`` filter runs before this one.
""",
    ),
    *LIMIT_OPTIONS,
)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the filter's options as oslo-config-generator and oslo-config-validator want them."""
    return [(GROUP, [copy.deepcopy(option) for option in OPTIONS])]
