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
    ("enforce", "the request is refused"),
    ("warn", "it is forwarded unchanged; the client gets a ``Warning: 299`` header, and the log says ``would_deny``"),
    ("off", "nothing is judged"),
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
The server actions that are judged. Each of them makes an image of a server.

``shelve`` makes one too, of servers that don't boot from a volume. It is judged only when listed, since a cloud that
forbids snapshots may still want its tenants to shelve. Only the switch ``snapshots_enabled`` applies to it: the client
gives it no name and no metadata.
""",
    ),
    cfg.BoolOpt(
        "snapshots_enabled",
        default=True,
        deprecated_name="allow_instance_snapshots",
        help="""
Whether servers may be turned into images at all. If not, the response is 400 ``Instance snapshots are not permitted at
this time.``, as it was while Nova had ``allow_instance_snapshots`` (removed in 18.0.0).
""",
    ),
    cfg.IntOpt(
        "metadata_items",
        default=128,
        min=-1,
        help="""
How many metadata items a client may give an image; -1 is no limit. Over the limit the response is 403 ``Image metadata
limit exceeded``, at every microversion (Nova itself stopped checking at 2.39, and everywhere under unified limits).

Glance counts the properties that Nova adds as well against its own limit of 128 (``image_property_quota``), and Nova
responds 500 when that is exceeded: with a stock Nova and Glance, 118 is the most that always works.
""",
    ),
    cfg.StrOpt(
        "metadata_items_source",
        default="config",
        choices=[
            ("config", "the option ``metadata_items``"),
            ("compute", "the project's own quota, asked of the compute API behind the filter"),
        ],
        help="""
Where the limit on metadata items comes from. ``compute`` asks ``GET .../limits`` (``maxImageMeta``) with the caller's
own token; the answer is used again for ``lookup_ttl`` seconds.
""",
    ),
    cfg.StrOpt(
        "name_pattern",
        help="""
A regular expression that the whole name of an image must match. It is matched in linear time where google-re2 is
installed; otherwise a pattern that could take long on some name is refused at load. oslo.config wants ``$$`` for a
dollar sign, a paste file ``%%`` for a percent sign.
""",
    ),
    cfg.ListOpt(
        "metadata_required",
        default=[],
        help="""
Metadata keys that a client must give to each image of ``createImage`` and ``createBackup``. Separated by commas.
""",
    ),
    cfg.ListOpt(
        "metadata_reserved",
        default=list(IMAGE_FIELDS),
        help="""
Metadata keys that a client may not set; a final ``*`` matches any ending. Case, accents, and white space around a
client's key do not count, as they do not to Glance's databases. The default is the image's own fields: Nova passes
metadata to Glance as fields of the image, so that ``location`` makes it fetch a URL of the client's choice, ``id``
picks the image's id, ``backend`` its store, ``instance_owner`` a project to share it with, and
most of the others end in a 500 or 403. The same three also come from the image that a server was booted from, past the
filter: set ``[DEFAULT] non_inheritable_image_properties = cache_in_nova, bittorrent, location, backend,
instance_owner`` in nova.conf.

Recommended in addition, since they forge where an image came from: ``instance_uuid, base_image_ref,
user_id, backup_type``. To add them, list the default as well. Not ``image_type``: Packer and others set it.
""",
    ),
    cfg.StrOpt(
        "mode",
        default="enforce",
        choices=MODES,
        help="""
What happens to a request that breaks a rule. The rules ``token``, ``content-type`` and ``body`` refuse in every mode.
""",
    ),
    cfg.Opt(
        "rule_modes",
        type=types.Dict(types.String(choices=[mode for mode, _ in MODES])),
        default={},
        sample_default="name-format:warn,metadata-reserved:off",
        help="""
Modes of single rules, as ``rule:mode`` pairs; they win over ``mode``. Any rule but ``token``, ``content-type`` and
``body``. ``project-id:off`` is for clouds with a ``[api] project_id_regex`` wider than Nova's default.
""",
    ),
    cfg.ListOpt(
        "exempt_roles",
        default=[],
        help="""
Callers with one of these roles are exempt from the switch, the quota and the operator's rules (name_pattern,
metadata_required, metadata_reserved), never from the contract. Only roles that ``auth_token`` or Nova's own context
vouches for count.
""",
    ),
    cfg.StrOpt(
        "lookup_on_error",
        default="deny",
        choices=[
            ("deny", "503, The metadata quota could not be determined."),
            ("allow", "the quota or the limit does not apply"),
        ],
        help="""
What happens to a request whose quota or limit could not be looked up in the API that knows it, or whose lock could not
be had.
""",
    ),
    cfg.IntOpt(
        "lookup_ttl",
        default=60,
        min=0,
        help="""
How long the compute API's answer about a project's quota, and Keystone's about its limits, is used again, in seconds.
""",
    ),
    cfg.IntOpt(
        "reload_interval",
        default=10,
        min=0,
        help="""
The shortest time between two checks whether the config file has changed, in seconds; with 0 it is checked at each image
action. Only an image action triggers a check. If the new file is bad or missing, one error is logged and the previous
configuration stays. A file that was written less than a second ago is left for the next check, since it may be half
written.
""",
    ),
    cfg.IntOpt(
        "max_body_bytes",
        default=114688,
        min=1,
        help="""
The longest request body in bytes; over it the response is 413. It must be at least the compute API's own
``[oslo_middleware] max_request_body_size``, or requests are refused that the compute API would accept.
""",
    ),
    cfg.StrOpt(
        "audit_journal",
        sample_default="/var/log/imagefilter/audit.jsonl",
        help="""
The absolute path of the audit journal: one line of JSON (a CADF event) for the verdict on each image action, written
and synced before the request is forwarded, and one for the compute API's response. Its directory must exist and be
writable by the user that the API runs as. Without it the lines go to the logger ``imagefilter.audit`` at level info,
and are as durable as that log.
""",
    ),
    cfg.StrOpt(
        "audit_on_error",
        default="deny",
        choices=[
            ("deny", "503, The request could not be recorded."),
            ("allow", "it is forwarded; an error is logged, and the next record says how many are missing"),
        ],
        help="""
What happens to an image action whose verdict could not be written to the journal (because the disk is full, say).
""",
    ),
    cfg.StrOpt(
        "audit_metadata",
        default="keys",
        choices=[
            ("keys", "their keys"),
            ("full", "keys and values; ``imagefilter audit replay`` can then judge them again"),
            ("none", "their number alone (the message of a refusal still names the key that it is about)"),
        ],
        help="""
What a record contains of the metadata. Texts of more than 255 characters and metadata of more than 16 KiB are
truncated, and the record says so.
""",
    ),
    cfg.URIOpt(
        "www_authenticate_uri",
        help="""
The public Identity API endpoint, sent to clients without a token in ``WWW-Authenticate``. Only useful where no
``auth_token`` filter runs before this one.
""",
    ),
    *LIMIT_OPTIONS,
)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the filter's options as oslo-config-generator and oslo-config-validator want them."""
    return [(GROUP, [copy.deepcopy(option) for option in OPTIONS])]
