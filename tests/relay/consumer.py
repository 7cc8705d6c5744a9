"""A consumer of the relay's notifications in a process of its own: oslo.messaging's listener.

``python -m tests.relay.consumer URL TOPIC FILE`` writes a line of JSON for each notification before it acknowledges it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import IO, Any

import oslo_messaging
from oslo_config import cfg


class Endpoint:
    """Receives notifications of the priority ``info``."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def info(self, context: Any, publisher_id: str, event_type: str, payload: Any, metadata: Any) -> None:
        notification = {
            "context": context,
            "publisher_id": publisher_id,
            "event_type": event_type,
            "metadata": metadata,
            "payload": payload,
        }
        self._file.write(json.dumps(notification) + "\n")
        self._file.flush()


def main(url: str, topic: str, path: str) -> None:
    conf = cfg.ConfigOpts()
    conf([], project="consumer", default_config_files=[], default_config_dirs=[])
    transport = oslo_messaging.get_notification_transport(conf, url=url)
    conf.set_default("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    with open(path, "a", encoding="ascii") as file:
        listener = oslo_messaging.get_notification_listener(
            transport, [oslo_messaging.Target(topic=topic)], [Endpoint(file)], executor="threading"
        )
        listener.start(override_pool_size=1)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
