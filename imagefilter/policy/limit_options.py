"""The options of limits: how many images, how many at once, and whom to ask."""

from __future__ import annotations

from oslo_config import cfg, types

_CONDITIONS = "See docs/limits.md for the conditions under which it holds."

LIMIT_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.IntOpt(
        "snapshots_per_server",
        default=-1,
        min=-1,
        help=f"""
How many images of one server the project may own; -1 is no limit. Over it the response is 403 ``Server snapshot limit
exceeded (limit N, in use M)``. {_CONDITIONS}
""",
    ),
    cfg.IntOpt(
        "snapshots_per_project",
        default=-1,
        min=-1,
        help="""
How many images of servers the project may own; -1 is no limit. Images of every visibility count, hidden ones too, in
any state; uploads don't. Over it the response is 403 ``Project snapshot limit exceeded (limit N, in use M)``.
""",
    ),
    cfg.IntOpt(
        "snapshots_in_progress",
        default=-1,
        min=-1,
        help="""
How many of them may be unfinished at a time (``queued``, ``saving``, ``uploading``, ``importing``); -1 is no limit.
Over it the response is 403 ``Too many snapshots in progress (limit N, in progress M)``.
""",
    ),
    cfg.BoolOpt(
        "one_at_a_time",
        default=False,
        help="""
Whether a second image action of a server that arrives before the first was answered gets 409 and ``Retry-After``. Nova
itself answers some of such requests with 500, and leaves an image behind that stays ``queued`` for ever.
""",
    ),
    cfg.IntOpt(
        "backup_rotation_max",
        default=-1,
        min=-1,
        help="""
The largest ``rotation`` of a createBackup, which is how many backups are kept; -1 is no limit.
""",
    ),
    cfg.IntOpt(
        "backup_rotation_min",
        default=-1,
        min=-1,
        help="""
The smallest ``rotation`` of a createBackup; 0 deletes all backups of the server. -1 is no limit.
""",
    ),
    cfg.StrOpt(
        "limits_source",
        default="config",
        choices=[
            ("config", "the options ``snapshots_per_server``, ``snapshots_per_project``, ``snapshots_in_progress``"),
            ("keystone", "Keystone's unified limits of these names, and the options for those not registered there"),
        ],
        help="""
Where the limits on the number of images come from. ``keystone`` asks at ``identity_api_url`` with the caller's own
token; the answer is used again for ``lookup_ttl`` seconds. A project's own limit wins over the registered one, and one
of ``api_region`` over one without a region; -1 is no limit.
""",
    ),
    cfg.BoolOpt(
        "image_quota_check",
        default=False,
        help="""
Whether Glance's own quota is asked beforehand (``GET /v2/info/usage``, Glance 24 or newer with
``use_keystone_limits``). Over it the response is 403 ``Image quota exceeded (image_count_total: limit N, in use M)``,
where Nova itself responds 500, or accepts the request for an image that then vanishes.
""",
    ),
    cfg.Opt(
        "metadata_set",
        type=types.Dict(),
        default={},
        sample_default="made_by:{user_id},made_on:{date}",
        help="""
Metadata that the filter itself sets on each image, as ``key:value`` pairs; clients may not set these keys. A value may
have the fields ``{server_id}``, ``{project_id}``, ``{user_id}``, ``{request_id}``, ``{record_id}`` and ``{date}`` (in
UTC); one that has no value for a caller becomes ``none``. At most 16 keys, none of them a field of the image, and 255
characters a value. Name them in ``[DEFAULT] non_inheritable_image_properties`` of nova.conf.
""",
    ),
    cfg.StrOpt(
        "image_expires",
        sample_default="30d",
        help="""
How long images are kept, as ``90m``, ``12h``, ``30d`` or ``4w``. Each image gets the property ``imagefilter_expires``,
by which ``imagefilter reap`` deletes it; the filter itself deletes nothing. Without it images don't expire.
""",
    ),
    cfg.StrOpt(
        "coordination_url",
        secret=True,
        sample_default="etcd3+http://127.0.0.1:2379",
        help="""
What keeps limits exact while several requests are judged at once: ``etcd3+http://HOST:PORT`` or
``etcd3+https://HOST:PORT`` (options ``ca_cert``, ``cert_cert``, ``cert_key``), ``redis://[[USER]:PASSWORD@]HOST:PORT``
or ``rediss://...`` (options as redis-py has them), or ``file:///DIRECTORY/FILE`` for the processes of this host alone.
The default is a file ``locks`` beside the journal.
""",
    ),
    cfg.FloatOpt(
        "lock_wait",
        default=2.0,
        min=0,
        max=60,
        help="""
How long one request of a process waits for another image action of its project, in seconds; all others get 429 at once.
No request waits where the server has one thread.
""",
    ),
    cfg.IntOpt(
        "lock_lease",
        default=300,
        min=1,
        help="""
After how many seconds a lock is free again if nobody has released it: longer than the compute API's slowest answer.
""",
    ),
    cfg.URIOpt(
        "image_api_url",
        schemes=["http", "https"],
        help="""
Where images are counted: the image API's endpoint. Without it, the one in the caller's catalog.
""",
    ),
    cfg.URIOpt(
        "identity_api_url",
        schemes=["http", "https"],
        help="""
The identity API's endpoint, for ``limits_source = keystone``. No catalog is searched for it: Nova leaves it out.
""",
    ),
    cfg.StrOpt(
        "api_interface",
        default="internal",
        choices=["internal", "public", "admin"],
        help="""
Which endpoint of the caller's catalog is asked, where ``image_api_url`` is not set. Nova and its neighbours usually
reach the internal one.
""",
    ),
    cfg.StrOpt(
        "api_region",
        help="""
The region of the endpoint in the catalog, and of limits in Keystone. It is needed where the catalog has several, or
Keystone has limits of a region: which one is meant is never guessed.
""",
    ),
    cfg.StrOpt(
        "api_ca_file",
        help="""
The file with the certificates that https endpoints are verified by. Without it, the system's own.
""",
    ),
    cfg.FloatOpt(
        "api_timeout",
        default=10.0,
        min=0.1,
        help="""
How long all questions of one request may take together, in seconds; beyond that they have failed.
""",
    ),
)

#: Those that a section [imagefilter:project:<id>] may hold.
PROJECT_LIMIT_OPTIONS = frozenset(
    (
        "snapshots_per_server",
        "snapshots_per_project",
        "snapshots_in_progress",
        "one_at_a_time",
        "backup_rotation_max",
        "backup_rotation_min",
        "limits_source",
        "image_quota_check",
        "metadata_set",
        "image_expires",
    )
)
