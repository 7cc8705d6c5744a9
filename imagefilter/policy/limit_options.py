"""The options of limits: how many images, how many at once, and whom to ask."""

from __future__ import annotations

from oslo_config import cfg, types

LIMIT_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.IntOpt(
        "snapshots_per_server",
        default=-1,
        min=-1,
        help="""
How many images of one server the project may own; -1 is no limit. A request for one more gets 403 ``Server snapshot
limit exceeded (limit N, in use M)``. See docs/limits.md for the conditions under which the limit holds.
""",
    ),
    cfg.IntOpt(
        "snapshots_per_project",
        default=-1,
        min=-1,
        help="""
How many images of servers the project may own; -1 is no limit. Images of every visibility and in every state count,
hidden ones too; uploads do not. A request for one more gets 403 ``Project snapshot limit exceeded (limit N, in use
M)``.
""",
    ),
    cfg.IntOpt(
        "snapshots_in_progress",
        default=-1,
        min=-1,
        help="""
How many images of servers the project may have unfinished at a time (``queued``, ``saving``, ``uploading``,
``importing``); -1 is no limit. A request for one more gets 403 ``Too many snapshots in progress (limit N, in progress
M)``.
""",
    ),
    cfg.BoolOpt(
        "one_at_a_time",
        default=False,
        help="""
Whether a server may have only one image action at a time. If so, a second one that arrives before the response to the
first gets 409 and ``Retry-After``. Nova itself responds 500 to some of these requests, and leaves an image behind
that stays ``queued`` for ever.
""",
    ),
    cfg.IntOpt(
        "backup_rotation_max",
        default=-1,
        min=-1,
        help="""
The largest ``rotation`` of a createBackup, which is how many backups Nova keeps; -1 is no limit. A request with a
larger one gets 403.
""",
    ),
    cfg.IntOpt(
        "backup_rotation_min",
        default=-1,
        min=-1,
        help="""
The smallest ``rotation`` of a createBackup; -1 is no limit. A request with a smaller one gets 403. Set 1 to refuse
``rotation: 0``, which deletes all backups of the server.
""",
    ),
    cfg.StrOpt(
        "limits_source",
        default="config",
        choices=[
            ("config", "the options ``snapshots_per_server``, ``snapshots_per_project``, ``snapshots_in_progress``"),
            ("keystone", "Keystone's unified limits of these names; the option for each that is not registered there"),
        ],
        help="""
Where the limits on the number of images come from. With ``keystone`` the filter asks the Identity API at
``identity_api_url`` with the caller's own token, and uses the response again for ``lookup_ttl`` seconds. A project's
own limit wins over the registered one, and a limit of ``api_region`` wins over one without a region; -1 is no limit.
""",
    ),
    cfg.BoolOpt(
        "image_quota_check",
        default=False,
        help="""
Whether the filter checks Glance's own quota before it forwards a request (``GET /v2/info/usage``; this needs Glance
24 or newer with ``use_keystone_limits``). A request over the quota gets 403 ``Image quota exceeded
(image_count_total: limit N, in use M)``. Without the check Nova responds 500, or accepts the request for an image
that then vanishes.
""",
    ),
    cfg.Opt(
        "metadata_set",
        type=types.Dict(),
        default={},
        sample_default="made_by:{user_id},made_on:{date}",
        help="""
Metadata that the filter sets on each image, as ``key:value`` pairs separated by commas. Clients may not set these
keys. A value may contain the fields ``{server_id}``, ``{project_id}``, ``{user_id}``, ``{request_id}``,
``{record_id}`` and ``{date}`` (in UTC). A field that has no value for a caller becomes ``none``. There can be at most
16 keys, none of them a field of the image, and at most 255 characters in a value.

Name the keys in ``[DEFAULT] non_inheritable_image_properties`` of nova.conf. Otherwise Nova copies them into each
image of a server that was booted from such an image.
""",
    ),
    cfg.StrOpt(
        "image_expires",
        sample_default="30d",
        help="""
How long images are kept, such as ``90m``, ``12h``, ``30d`` or ``4w``. The filter gives each image the property
``imagefilter_expires``, and ``imagefilter reap`` deletes images by it. The filter itself deletes nothing. Without
this option images do not expire.
""",
    ),
    cfg.StrOpt(
        "coordination_url",
        secret=True,
        sample_default="etcd3+http://127.0.0.1:2379",
        help="""
The locks that keep limits exact while several requests are judged at once. The default is a file ``locks`` beside the
journal. The URL has one of these forms:

* ``etcd3+http://HOST:PORT`` or ``etcd3+https://HOST:PORT`` (options ``ca_cert``, ``cert_cert``, ``cert_key``)
* ``redis://[[USER]:PASSWORD@]HOST:PORT`` or ``rediss://...`` (options as redis-py has them)
* ``file:///DIRECTORY/FILE``, for the processes of this host alone
""",
    ),
    cfg.FloatOpt(
        "lock_wait",
        default=2.0,
        min=0,
        max=60,
        help="""
How many seconds a request waits while another image action of its project is processed. One request of each process
may wait; all others get 429 at once. If the server has one thread, no request waits.
""",
    ),
    cfg.IntOpt(
        "lock_lease",
        default=300,
        min=1,
        help="""
After how many seconds a lock is free again if nobody has released it. The value must be longer than the compute API's
slowest response.
""",
    ),
    cfg.URIOpt(
        "image_api_url",
        schemes=["http", "https"],
        help="""
The endpoint of the image API, where the filter counts images. Without this option the filter uses the endpoint in the
caller's catalog.
""",
    ),
    cfg.URIOpt(
        "identity_api_url",
        schemes=["http", "https"],
        help="""
The endpoint of the Identity API, needed for ``limits_source = keystone``. The filter does not search the caller's
catalog for it, since Nova leaves it out.
""",
    ),
    cfg.StrOpt(
        "api_interface",
        default="internal",
        choices=["internal", "public", "admin"],
        help="""
Which endpoint of the caller's catalog the filter uses if ``image_api_url`` is not set. Nova and the other services
can usually reach the internal one.
""",
    ),
    cfg.StrOpt(
        "api_region",
        help="""
The region of the endpoint in the catalog, and of the limits in Keystone. Set it if the catalog has several regions,
or if Keystone has limits of a region: the filter never guesses which one you mean.
""",
    ),
    cfg.StrOpt(
        "api_ca_file",
        help="""
A file with the certificates of the authorities that may sign the certificates of https endpoints. Without this option
the filter uses the system's own.
""",
    ),
    cfg.FloatOpt(
        "api_timeout",
        default=10.0,
        min=0.1,
        help="""
How many seconds all lookups of one request may take together. After that the lookup has failed, and
``lookup_on_error`` decides.
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
