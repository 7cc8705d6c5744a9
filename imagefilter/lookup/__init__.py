"""Questions to the APIs around the filter, asked as the caller.

Modules here may use :mod:`imagefilter.request`, :mod:`imagefilter.policy` and the exceptions of
:mod:`imagefilter.rules.case`. Nothing is asked before a rule needs the answer.

* :mod:`~imagefilter.lookup.compute`: a project's quota, asked of the compute API behind the filter.
* :mod:`~imagefilter.lookup.server`, :mod:`~imagefilter.lookup.server_facts`: what own rules read of a server.
* :mod:`~imagefilter.lookup.question`: a question to the compute API, built out of the client's own request.
* :mod:`~imagefilter.lookup.images`, :mod:`~imagefilter.lookup.catalog`: the images of a project.
* :mod:`~imagefilter.lookup.request`, :mod:`~imagefilter.lookup.apis`: the lookups of one request, and of one filter.
* :mod:`~imagefilter.lookup.once`: what is asked at most once; :mod:`~imagefilter.lookup.locks`: what is held meanwhile.
* :mod:`~imagefilter.lookup.identity`, :mod:`~imagefilter.lookup.quota`: limits in Keystone, and Glance's own quota.
"""
