"""The relay: from journals to a message bus and to Prometheus, in a process of its own.

It reads journals from outside, so the API's processes never wait for a bus. Nothing else imports from here but its
command, and oslo.config's tools.

* :mod:`~imagefilter.relay.options`: its options.
* :mod:`~imagefilter.relay.loop`: follow journals and publish; what was published is in the checkpoint.
* :mod:`~imagefilter.relay.progress`: how far a journal was published.
* :mod:`~imagefilter.relay.checkpoint`: the file that keeps what was published.
* :mod:`~imagefilter.relay.publisher`: what the loop needs of a bus, and the dry run.
* :mod:`~imagefilter.relay.notifier`: the bus, through oslo.messaging.
* :mod:`~imagefilter.relay.counters`: what a record adds to which counters.
* :mod:`~imagefilter.relay.counting`: count, whatever becomes of publishing.
* :mod:`~imagefilter.relay.counted_file`: the file that keeps what was counted.
* :mod:`~imagefilter.relay.prometheus`: ``/metrics`` and ``/healthcheck``.
"""
