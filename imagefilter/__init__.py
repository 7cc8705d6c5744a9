"""Policy for the requests that make images of servers, in front of the OpenStack compute API.

Nova lets a tenant turn a server into an image (``createImage``, ``createBackup``, ``shelve``). This WSGI filter
recognises every such request, judges it by the documented contract and by the operator's options, and refuses it with
the compute API's own error body, or forwards exactly what it judged. Everything else passes untouched.

In nova's ``api-paste.ini``, in **both** composites (``/v2.1`` and ``/v2``), right behind ``keystonecontext``::

    [composite:openstack_compute_api_v21]
    keystone = cors ... sizelimit osprofiler authtoken keystonecontext imagefilter osapi_compute_app_v21

    [filter:imagefilter]
    use = egg:imagefilter
    metadata_items = 118

There it is known who asks (only ``auth_token`` or Nova's own context are believed), no body is longer than Nova's
limit, and an exception is a 500 of Nova's. Options stand in the paste section, or in the file that
``oslo_config_file`` names: in its section ``[imagefilter]``, and for one project in ``[imagefilter:project:<id>]``
(those marked *p*). What counts, from weak to strong: default, ``[imagefilter]``, paste section, project section.

* ``actions`` (``createImage,createBackup``): what is judged; ``shelve`` can be added;
* ``snapshots_enabled`` (``true``, *p*): whether servers may be turned into images at all;
* ``metadata_items`` (``128``, *p*): how many metadata items an image may be given; ``-1`` is no limit;
* ``metadata_items_source`` (``config``, *p*): ``compute`` asks the compute API for the project's own quota;
* ``name_pattern`` (*p*): a regular expression that a name must match as a whole;
* ``metadata_required`` (*p*): keys that must be given;
* ``metadata_reserved`` (the image's own fields, *p*): keys that may not;
* ``mode`` (``enforce``, *p*): ``warn`` tries the rules out, ``off`` judges nothing;
* ``rule_modes`` (*p*): ``rule:mode`` pairs that win over ``mode``;
* ``exempt_roles`` (*p*): roles that the switch, the quota and the operator's rules don't bind;
* ``facts_on_error`` (``deny``): what becomes of a request whose quota can't be had;
* ``facts_ttl`` (``60``): seconds that a quota is remembered;
* ``reload_interval`` (``10``): seconds between looks at the config file;
* ``max_body_bytes`` (``114688``): at least Nova's ``[oslo_middleware] max_request_body_size``;
* ``audit_journal``: the file that each verdict is written to before the request is forwarded, and each answer after;
* ``audit_on_error`` (``deny``): what becomes of a request whose verdict can't be written;
* ``audit_metadata`` (``keys``): what of the metadata a record holds: ``keys``, ``full`` or ``none``;
* ``www_authenticate_uri``: told to clients without a token, where no ``auth_token`` stands in front.

Options that don't exist or can't be used stop loading with one message that names them all. On reload a bad file is
logged and the last good options stay. Refusals are logged by the logger ``imagefilter.filter``. Without a journal its
records are lines of the logger ``imagefilter.audit``, at level info. The command ``imagefilter`` checks configs and
pipelines, explains verdicts, and reads journals.

Limits: Glance, and Cinder's ``os-volume_upload_image``, make images without the compute API. ``shelve`` is judged only
where listed. Nova is stricter than the contract on names and values and refuses by itself what goes too far for it.
"""

from imagefilter.filter import filter_factory

__all__ = ["filter_factory"]
