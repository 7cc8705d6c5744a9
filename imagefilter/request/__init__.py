"""The request: what it asks for, and who asks.

Modules here read a WSGI environ and the bytes of a body. They know no options, no rules and no records.

* :mod:`~imagefilter.request.body`: read ``wsgi.input`` once, within limits, and frame it anew.
* :mod:`~imagefilter.request.codec`: decode JSON as Nova does.
* :mod:`~imagefilter.request.action`: recognise an image action, and encode it for the compute API.
* :mod:`~imagefilter.request.identity`: who asks, and who vouches for it.
"""
