"""What is handed to oslo.messaging.

It is imported in forked processes only: it imports eventlet, and Nova, which other tests of this process may need,
wants to be imported before that.
"""

from __future__ import annotations

import importlib.util
import socket
from typing import Any, Callable

import pytest

from tests.relay.fakes import TOKEN, Folder, record
from tests.unit.fakes import FORK
from tests.unit.relay.fakes import FOREIGN, load_settings

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("oslo_messaging"), reason="no oslo.messaging in this virtualenv"
)


class BrokerError(Exception):
    """An error as the AMQP library raises it."""

    def __init__(self, reply_code: int, text: str) -> None:
        super().__init__(text)
        self.reply_code = reply_code


def in_fork(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a forked process, and return its result."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: sender.send(function(*arguments)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def capture(folder: Folder, published: dict[str, Any]) -> list[Any]:
    """Publish a record; return the topic, context, message and options of each notification."""
    from imagefilter.relay.notifier import Notifier

    sent = []

    def send(target: Any, context: Any, message: Any, **options: Any) -> None:
        sent.append((target.topic, context, message, options))

    notifier = Notifier(load_settings(folder))
    notifier._transport._send_notification = send
    notifier.publish(published)
    return sent


def fail(folder: Folder, published: dict[str, Any], error: BaseException) -> tuple[str, Any]:
    """Publish a record to a bus that fails; return the name of the exception, and whether to try again."""
    from imagefilter.relay.notifier import Notifier

    def send(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("not delivered") from error

    notifier = Notifier(load_settings(folder))
    notifier._transport._send_notification = send
    try:
        notifier.publish(published)
    except Exception as raised:
        return type(raised).__name__, getattr(raised, "again", None)
    return "nothing", None


def test_a_message_contains_what_is_in_the_journal_and_nothing_else(folder: Folder) -> None:
    published = record(1)
    [(topic, context, message, options)] = in_fork(capture, folder, published)
    assert topic == f"{folder.topic}.info"
    assert context == {}
    assert options == {"version": 2.0, "retry": 1}
    assert TOKEN not in repr(message)
    assert message.pop("timestamp")
    assert message == {
        "message_id": published["id"],
        "publisher_id": f"imagefilter.{socket.gethostname()}",
        "event_type": "imagefilter.createImage.allow",
        "priority": "INFO",
        "payload": published,
    }


def test_refuses_records_of_others(folder: Folder) -> None:
    def publish_all() -> list[tuple[str, Any]]:
        return [fail(folder, foreign, RuntimeError()) for foreign in FOREIGN]

    assert in_fork(publish_all) == [("Refused", False)] * len(FOREIGN)


def test_tells_errors_about_the_record_from_errors_about_the_bus(folder: Folder) -> None:
    too_large = BrokerError(406, "PRECONDITION_FAILED - message size 2048 is larger than max size 1024")
    not_durable = BrokerError(406, "PRECONDITION_FAILED - inequivalent arg 'durable'")

    def publish_all() -> list[tuple[str, Any]]:
        errors = (too_large, RecursionError(), not_durable, OSError("down"))
        return [fail(folder, record(1), error) for error in errors]

    assert in_fork(publish_all) == [
        ("Refused", True),
        ("Refused", True),
        ("RuntimeError", None),
        ("RuntimeError", None),
    ]


@pytest.mark.parametrize("url", ["nosuchbus://u:broker-secret@h/", "broker-secret"])
def test_reports_an_unusable_url_without_its_password(folder: Folder, url: str) -> None:
    folder.set(url)
    status, output = folder.run("--once")
    assert status == 2, output
    assert "transport_url" in output
    assert "broker-secret" not in output
