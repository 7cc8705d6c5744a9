"""Locks that processes share, so that a limit holds while several requests are judged at once.

Modules here know nothing of requests and policies.

* :mod:`~imagefilter.coordination.coordinator`: who asks, who waits, and for how long.
* :mod:`~imagefilter.coordination.backend`: what a back end does.
* :mod:`~imagefilter.coordination.url`: which one a URL names.
* :mod:`~imagefilter.coordination.host`: the host's own: byte ranges of a file.
* :mod:`~imagefilter.coordination.etcd`, :mod:`~imagefilter.coordination.redis`: shared by hosts.
"""
