"""Policy for the requests that make images of servers, in front of the OpenStack compute API.

Nova lets a tenant turn a server into an image (``createImage``, ``createBackup``, ``shelve``). This WSGI filter
recognises every such request, judges it by the documented contract and by the operator's options, and refuses it with
the compute API's own error body, or forwards exactly what it judged. Everything else passes untouched.

In nova's ``api-paste.ini``, in **both** composites (``/v2.1`` and ``/v2``), right behind ``keystonecontext``::

    [composite:openstack_compute_api_v21]
    keystone = cors ... sizelimit osprofiler authtoken keystonecontext imagefilter osapi_compute_app_v21

    [filter:imagefilter]
    paste.filter_factory = imagefilter:filter_factory
    metadata_items = 118

There the filter knows who asks (it believes only ``auth_token`` and Nova's own context), no body is longer than Nova's
limit, and an exception becomes Nova's 500. Options are keys of the paste section, or of the file that
``oslo_config_file`` names: of its section ``[imagefilter]``, and for one project of ``[imagefilter:project:<id>]``
(those marked *p*). Precedence, from weak to strong: default, ``[imagefilter]``, paste section, project section.

* ``actions`` (``createImage,createBackup``): the actions that are judged; ``shelve`` can be added;
* ``snapshots_enabled`` (``true``, *p*): whether servers may be turned into images at all;
* ``metadata_items`` (``128``, *p*): how many metadata items a client may give an image; ``-1`` is no limit;
* ``metadata_items_source`` (``config``, *p*): ``compute`` asks the compute API for the project's own quota;
* ``name_pattern`` (*p*): a regular expression that the whole name must match;
* ``metadata_required`` (*p*): keys that a client must give;
* ``metadata_reserved`` (the image's own fields, *p*): keys that a client may not give;
* ``mode`` (``enforce``, *p*): ``warn`` tries the rules out, ``off`` judges nothing;
* ``rule_modes`` (*p*): ``rule:mode`` pairs that win over ``mode``;
* ``snapshots_per_server``, ``snapshots_per_project`` (``-1``, *p*): how many images of servers a project may own;
* ``snapshots_in_progress`` (``-1``, *p*): how many of them may be unfinished at a time;
* ``one_at_a_time`` (``false``, *p*): whether a server has one image action at a time;
* ``backup_rotation_max``, ``backup_rotation_min`` (``-1``, *p*): how many backups a createBackup may keep;
* ``limits_source`` (``config``, *p*): ``keystone`` asks Keystone, at ``identity_api_url``, for its unified limits;
* ``image_quota_check`` (``false``, *p*): whether Glance's own quota is asked beforehand;
* ``metadata_set`` (*p*): metadata that the filter sets on each image, as ``key:value`` pairs;
* ``image_expires`` (*p*): how long images are kept, such as ``30d``;
* ``coordination_url``, ``lock_wait`` (``2``), ``lock_lease`` (``300``): the locks that keep limits exact;
* ``image_api_url``, ``api_interface`` (``internal``), ``api_region``, ``api_ca_file``, ``api_timeout`` (``10``): where
  images are counted;
* ``exempt_roles`` (*p*): roles that the switch, the quota, the operator's rules and the limits do not bind;
* ``lookup_on_error`` (``deny``): what happens to a request whose quota could not be looked up;
* ``lookup_ttl`` (``60``): seconds that a quota is remembered;
* ``reload_interval`` (``10``): seconds between checks of the config file;
* ``max_body_bytes`` (``114688``): at least Nova's ``[oslo_middleware] max_request_body_size``;
* ``audit_journal``: the file for the verdict on each request, before it is forwarded, and for its outcome after;
* ``audit_on_error`` (``deny``): what happens to a request whose verdict could not be written;
* ``audit_metadata`` (``keys``): what a record holds of the metadata: ``keys``, ``full`` or ``none``;
* ``www_authenticate_uri``: sent to clients without a token, where no ``auth_token`` runs before the filter.

Unknown options and values that can't be used stop loading, with one message that names them all. If a reload fails, the
error is logged and the previous configuration stays. The logger ``imagefilter.filter`` has a line for each refusal.
Without a journal, records are lines of the logger ``imagefilter.audit``, at level info. The command ``imagefilter``
checks configs and pipelines, explains verdicts, and reads journals.

Limits: Glance, and Cinder's ``os-volume_upload_image``, make images without the compute API. ``shelve`` is judged only
where listed. Nova is stricter than the contract on names and values, and refuses by itself what goes too far for it.
"""

from imagefilter.filter import filter_factory

__all__ = ["filter_factory"]
