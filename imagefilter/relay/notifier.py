"""Publish records as oslo.messaging notifications, one at a time, each confirmed by the bus before the next."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_utils import timeutils

from imagefilter.policy.options import GROUP
from imagefilter.relay.options import Settings
from imagefilter.relay.publisher import Refused, name_event

LOG = logging.getLogger(__name__)

_TOO_LARGE = "message size"  # in RabbitMQ's 406 PRECONDITION_FAILED: "message size 2048 is larger than ..."

# With 0, oslo.messaging's rabbit driver never connects again once it has lost a connection by a time-out.
_RETRY = 1


class Notifier:
    """Publishes to the message bus.

    oslo.messaging's own ``Notifier`` logs every failure, the payload with it, and returns as if nothing had happened.
    So what it does is done here, with its transport, and failures are raised.
    """

    def __init__(self, settings: Settings) -> None:
        """Set up; nothing is connected yet.

        :raises ValueError: if the URL names no usable bus. The message has no password in it.
        """
        conf = _read_config(settings)
        url = settings.transport_url
        try:
            self._transport = oslo_messaging.get_notification_transport(conf, url=url)
        except (oslo_messaging.InvalidTransportURL, oslo_messaging.DriverLoadFailure) as error:
            reason = getattr(error, "ex", None) or "it is not the URL of a transport"
            raise ValueError(f"transport_url can't be used: {reason}") from None
        if url and url.startswith("kafka"):
            LOG.warning("the kafka driver confirms nothing: what its producer still holds is lost if the relay dies")
        _make_durable(conf)
        self._targets = [oslo_messaging.Target(topic=f"{topic}.info") for topic in settings.topics]
        self._version = 1.0
        if settings.driver == "messagingv2":
            self._version = 2.0
        self._publisher_id = f"imagefilter.{socket.gethostname()}"

    def publish(self, record: dict[str, Any]) -> None:
        """Publish a record; when this returns, the bus has confirmed it (RabbitMQ: a publisher confirm).

        :raises Refused: if the bus won't accept this record.
        :raises Exception: for any other failure: try again. The bus may have the record nevertheless.
        """
        message = self._build_message(record)
        for target in self._targets:
            try:
                # The context is empty on purpose: nothing goes out that is not in the journal.
                self._transport._send_notification(target, {}, dict(message), version=self._version, retry=_RETRY)
            except Exception as error:
                if _is_about_the_record(error):
                    raise Refused(str(error), again=True) from error
                raise

    def close(self) -> None:
        """Close all connections."""
        self._transport.cleanup()

    def _build_message(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            event_type = name_event(record)
        except ValueError as error:
            raise Refused(str(error), again=False) from None
        return {
            "message_id": record["id"],  # the same one for a record that is sent twice
            "publisher_id": self._publisher_id,
            "event_type": event_type,
            "priority": "INFO",
            "payload": record,
            "timestamp": str(timeutils.utcnow()),
        }


def _read_config(settings: Settings) -> cfg.ConfigOpts:
    """Read the relay's config file for oslo.messaging's own options."""
    files = []
    if settings.config_file:
        files.append(settings.config_file)
    conf = cfg.ConfigOpts()
    conf([], project=GROUP, default_config_files=files, default_config_dirs=[], use_env=False)
    return conf


def _make_durable(conf: cfg.ConfigOpts) -> None:
    """Make RabbitMQ keep what it has confirmed: by default it would be gone when the broker is restarted."""
    try:
        conf.set_default("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        LOG.debug("the bus is not RabbitMQ")


def _is_about_the_record(error: BaseException) -> bool:
    """Return whether the record itself can't be sent.

    Any other error is about the bus: no record is given up because a broker has no room, or a bad certificate.
    """
    for cause in _chain(error):
        if isinstance(cause, RecursionError):
            return True
        if getattr(cause, "reply_code", None) == 406 and _TOO_LARGE in str(cause):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
