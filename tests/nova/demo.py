"""A real Nova with the filter in its pipeline, on a port, with a short tour: ``make demo``."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

LONG = 129


class Step(NamedTuple):
    """A request of the tour and what it must come to; of an accepted one, the image that Nova then makes."""

    title: str
    document: Any
    status: int
    message: str = ""
    image: tuple[str, dict[str, str]] | None = None
    method: str = "POST"
    target: str = "/v2.1/servers/{server}/action"
    version: str | None = "2.45"
    token: str | None = "member"


def image(name: Any, **metadata: str) -> dict[str, Any]:
    return {"createImage": {"name": name, "metadata": metadata}}


TOUR = (
    Step("A snapshot", image("nightly", purpose="demo"), 202, image=("nightly", {"purpose": "demo"})),
    Step("The same, as older clients ask", image("older", purpose="demo"), 202, version=None,
         image=("older", {"purpose": "demo"})),
    Step("A number as its name: the contract allows it, Nova alone does not", image(20261123), 202,
         image=("20261123", {})),
    Step("A backup", {"createBackup": {"name": "weekly", "backup_type": "weekly", "rotation": 4}}, 202,
         version=None, image=("weekly", {})),
    Step("No name", {"createImage": {}}, 400, "createImage entity requires name attribute"),
    Step(f"{LONG} metadata items: Nova stopped counting at 2.39", image("big", **{f"k{n}": "v" for n in range(LONG)}),
         403, "Image metadata limit exceeded"),
    Step("A blank metadata key: Nova's /v2 lets it through", image("blank", **{"": "v"}), 400,
         "Image metadata key cannot be blank", target="/v2/servers/{server}/action"),
    Step("The same, past a filter that looks at POST alone", image("blank", **{"": "v"}), 400,
         "Image metadata key cannot be blank", method="PUT", target="/v2/servers/{server}/action?_method=POST"),
    Step("The same, past a filter that searches the bytes",
         b'{"create\\u0049mage": {"name": "x", "metadata": {"": "v"}}}', 400, "Image metadata key cannot be blank",
         target="/v2//servers/{server}/%61ction"),
    Step("A project that is not the caller's", image("x"), 400,
         "Malformed request URL: URL's project_id '00000000' doesn't match Context's project_id "
         "'6f70656e737461636b20342065766572'", target="/v2.1/00000000/servers/{server}/action"),
    Step("No token: auth_token answers", image("x"), 401, "The request you have made requires authentication.",
         token=None),
    Step("A server that is not there: Nova answers", image("x"), 404,
         "Instance 00000000-0000-4000-8000-000000000000 could not be found.",
         target="/v2.1/servers/00000000-0000-4000-8000-000000000000/action"),
    Step("Any other action is none of the filter's", {"lock": None}, 202),
)  # fmt: skip


def say(text: str = "") -> None:
    sys.__stdout__.write(text + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def main() -> int:
    options = argparse.ArgumentParser(prog="make demo", description=__doc__)
    options.add_argument("--port", type=int, default=8774, help="where to serve on 127.0.0.1 (make demo PORT=...)")
    options.add_argument("--once", action="store_true", help="end after the tour: 0 if all went as expected, else 1")
    given = options.parse_args()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", given.port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "a port is a number from 1 to 65535"
            say(f"demo: can't serve on 127.0.0.1:{given.port}: {reason}. Try make demo PORT=8775")
            return 2
    say("Starting a real Nova in this process, with the filter in both of its pipelines ...")
    begin = time.monotonic()
    from tests.nova.cloud import Cloud  # Nova's imports take seconds

    cloud = Cloud()
    cloud.setUp()
    try:
        return run(cloud, given.port, given.once, time.monotonic() - begin)
    finally:
        logging.disable(logging.CRITICAL)  # Nova's own words at its end
        cloud.doCleanups()


def run(cloud: Any, port: int, once: bool, took: float) -> int:
    import waitress

    server = waitress.create_server(cloud.app({}), host="127.0.0.1", port=port, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    say(f"Nova is up after {took:.1f} s: http://127.0.0.1:{port}/v2.1, one server ACTIVE: {cloud.server}\n")
    failed = sum(not walk(cloud, port, step) for step in TOUR)
    say(f"{len(TOUR) - failed} of {len(TOUR)} steps went as expected.\n")
    say(f"What was recorded of the tour (imagefilter audit list --journal {cloud.journal}):")
    say(recorded(cloud.journal))
    if not once:
        invite(cloud.server, port)
    server.close()
    return 1 if failed else 0


def walk(cloud: Any, port: int, step: Step) -> bool:
    """One step of the tour, told as it goes; whether all was as expected."""
    target = step.target.format(server=cloud.server)
    body = step.document if isinstance(step.document, bytes) else json.dumps(step.document).encode()
    headers = {"Content-Type": "application/json"}
    if step.token:
        headers["X-Auth-Token"] = step.token
    if step.version:
        headers["OpenStack-API-Version"] = f"compute {step.version}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(step.method, target, body, headers)
    response = connection.getresponse()
    answer = response.read().decode()
    cloud.settle()
    images = cloud.images()
    message = next(iter(json.loads(answer).values()))["message"] if response.status >= 400 else ""
    fine = (response.status, message, [tuple(each) for each in images]) == (
        step.status, step.message, [step.image] if step.image else [])  # fmt: skip
    say(f"{step.title}\n  sent  {step.method} {target}  {cut(body.decode())}")
    say(f"  back  {response.status} {cut(answer or response.headers.get('Location') or '(no body)', 160)}")
    made = "; ".join(f"an image named {each.name!r}, metadata {each.metadata}" for each in images)
    say(f"  Nova  {'made ' + made if made else 'made no image'}")
    say("" if fine else f"  UNEXPECTED: should be {step.status} {step.message!r}, image {step.image}\n")
    return fine


def recorded(journal: Path) -> str:
    """The records of the tour, as the command lists them."""
    columns = [part for name in ("Verdict", "Rule", "Action", "Image Name", "Outcome") for part in ("-c", name)]
    command = [sys.executable, "-m", "imagefilter.cli.app", "audit", "list", "--journal", str(journal), *columns]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def cut(text: str, length: int = 110) -> str:
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def invite(server: str, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v2.1/servers/{server}/action"
    say("\nTry it yourself, in another terminal (the token works):\n")
    for name, body in (
        ("accepted", '{"createImage": {"name": "mine", "metadata": {"k": "v"}}}'),
        ("refused", '{"createImage": {"name": "mine", "metadata": {"k": 5}}}'),
    ):
        say(f"# {name}\ncurl -si {url} \\\n  -H 'X-Auth-Token: member' \\")
        say(f"  -H 'Content-Type: application/json' \\\n  -d '{body}'\n")
    say("Serving until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    say("\nStopped.")


if __name__ == "__main__":
    sys.exit(main())
