"""Whatever the other side does with its answer, a question ends as one of requests' own errors: nobody gets a 500."""

from __future__ import annotations

import socket
import threading

import pytest
import requests

from imagefilter.bounded import BoundedSession

_HEAD = b"HTTP/1.1 200 OK\r\n"


class Peer:
    """Answers one request with some bytes, and then hangs up, or waits until the test is over."""

    def __init__(self, answer: bytes, hangs_up: bool) -> None:
        self._answer, self._hangs_up = answer, hangs_up
        self._is_over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)
            if not self._hangs_up:
                self._is_over.wait()


@pytest.mark.parametrize(
    ("answer", "hangs_up", "error"),
    [
        (_HEAD + b"Content-Length: 50\r\n\r\n{", True, requests.ConnectionError),
        (_HEAD + b"Content-Length: 50\r\n\r\n{", False, requests.Timeout),
        (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", True, requests.ConnectionError),
        (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", False, requests.Timeout),
        (_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{", True, requests.ConnectionError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n", True, requests.ConnectionError),
        (b"", True, requests.ConnectionError),
        (b"", False, requests.Timeout),
    ],
)
def test_an_answer_that_is_none(answer: bytes, hangs_up: bool, error: type[Exception]) -> None:
    peer = Peer(answer, hangs_up)
    try:
        with BoundedSession(0.3, 1000) as session, pytest.raises(error):
            session.get(peer.url)
    finally:
        peer.close()
