"""Records as oslo.messaging notifications on a message bus, one at a time, each confirmed before the next."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_utils import timeutils

from imagefilter.options import GROUP
from imagefilter.records import event_type
from imagefilter.relay_options import Settings

LOG = logging.getLogger(__name__)

_TOO_LARGE = "message size"  # of RabbitMQ's 406 PRECONDITION_FAILED: "message size 2048 is larger than ..."

# With 0, oslo.messaging's rabbit driver never connects again once it has lost a connection by a time-out.
_RETRY = 1


class Refused(Exception):
    """This record can't be published, though others can; ``again``: it may be worth another try."""

    def __init__(self, reason: str, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Bus:
    """Publishes to the message bus.

    oslo.messaging's own ``Notifier`` logs every failure, the payload with it, and returns as if nothing had happened;
    so what it does is done here, with its transport, and failures are raised.
    """

    def __init__(self, settings: Settings) -> None:
        """Set up; nothing is connected yet.

        :raises ValueError: if the URL names no bus that could be used. Its message has no password.
        """
        conf = cfg.ConfigOpts()
        files = [settings.config_file] if settings.config_file else []
        conf([], project=GROUP, default_config_files=files, default_config_dirs=[], use_env=False)
        try:
            self._transport = oslo_messaging.get_notification_transport(conf, url=settings.transport_url)
        except (oslo_messaging.InvalidTransportURL, oslo_messaging.DriverLoadFailure) as error:
            reason = getattr(error, "ex", None) or "it is no URL of a transport"
            raise ValueError(f"transport_url can't be used: {reason}") from None
        if (settings.transport_url or "").startswith("kafka"):
            LOG.warning("the kafka driver confirms nothing: what its producer still holds is lost if the relay dies")
        _make_durable(conf)
        self._targets = [oslo_messaging.Target(topic=f"{topic}.info") for topic in settings.topics]
        self._version = 2.0 if settings.driver == "messagingv2" else 1.0
        self._publisher = f"imagefilter.{socket.gethostname()}"

    def publish(self, record: dict[str, Any]) -> None:
        """Publish a record; when this returns, the bus has confirmed it (RabbitMQ: a publisher confirm).

        :raises Refused: if the bus won't ever take it.
        :raises Exception: whatever else went wrong: try again. The bus may have it nevertheless.
        """
        try:
            kind = event_type(record)
        except ValueError as error:
            raise Refused(str(error), again=False) from None
        message = {
            "message_id": record["id"],  # the same one for a record that is sent twice
            "publisher_id": self._publisher,
            "event_type": kind,
            "priority": "INFO",
            "payload": record,
            "timestamp": str(timeutils.utcnow()),
        }
        for target in self._targets:
            try:
                # The context is empty on purpose: nothing goes out but what is in the journal.
                self._transport._send_notification(target, {}, dict(message), version=self._version, retry=_RETRY)
            except Exception as error:
                if _is_own_fault(error):
                    raise Refused(str(error), again=True) from error
                raise

    def close(self) -> None:
        """Close all connections."""
        self._transport.cleanup()


def _make_durable(conf: cfg.ConfigOpts) -> None:
    """By default RabbitMQ would drop what it has confirmed when it is restarted."""
    try:
        conf.set_default("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        LOG.debug("the bus is no RabbitMQ")


def _is_own_fault(error: BaseException) -> bool:
    """Whether it is the record that can't be sent.

    Anything else is the bus's: a record is never given up because a broker has no room, or a bad certificate.
    """
    return any(
        isinstance(each, RecursionError) or (getattr(each, "reply_code", None) == 406 and _TOO_LARGE in str(each))
        for each in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
