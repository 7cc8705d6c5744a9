"""Tests on real components: Keystone, Glance and Nova's API, with the filter in front of it or in its pipeline.

A test asks for the fixture ``site`` (see :mod:`tests.real.site`), and gets

* a real **Keystone** (``site.keystone``): users ``alice`` (project ``demo``), ``bob`` (project ``other``) and ``root``,
  an admin of ``demo``, besides Keystone's own ``admin``; tokens by ``site.keystone.token("alice")``, sessions of
  keystoneauth1 by ``site.keystone.session("alice")``;
* a real **Glance** (``site.glance``): a server process on a port of its own, sqlite, a store of files, its tokens
  checked at that Keystone, which has it in its catalog (public and internal);
* a real **Nova** (``site.cloud``), in this process, its image service that Glance. ``site.app(options)`` is its API
  with the filter in its pipelines; ``site.serve(options)`` serves it on a port. The hypervisor is a fake: what it does
  with a snapshot is ``site.host.mode``: ``upload`` some bytes, as a real one (the image becomes ``active``), ``wait``
  (it stays ``queued``; ``site.host.finish(image_id)`` uploads later), or ``fail`` (Nova deletes it). Nova's test
  fixtures make the API wait for the host; within ``real_casts()`` (:mod:`tests.real.nova`) it answers 202 before.

``site.boot("alice")`` boots a server of alice's, ``site.boot_from_volume("alice")`` one whose images are volume-backed
(with Nova's own fake of Cinder), ``site.images("alice")`` lists the images of her project, hidden ones too.

More than one Glance, or one with settings of its own (property protections, limits): ``serve_glance`` in
:mod:`tests.real.glance`. More than one API process: gateways (``tests.gateway.servers.serve_gateway``) in front of
``site.serve(None)``.
"""
