"""Serve a real Nova with the filter in its pipelines, and show it in a short tour: ``make demo``."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

TOO_MANY = 129

Image = tuple[str, dict[str, str]]  # name and metadata


class Step(NamedTuple):
    """A request of the tour, the expected response, and the image that Nova makes if it is accepted."""

    title: str
    document: Any
    status: int
    message: str = ""
    image: Image | None = None
    method: str = "POST"
    target: str = "/v2.1/servers/{server}/action"
    version: str | None = "2.45"
    token: str | None = "member"

    @property
    def body(self) -> bytes:
        """The body as it is sent."""
        if isinstance(self.document, bytes):
            return self.document
        return json.dumps(self.document).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers as they are sent."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["X-Auth-Token"] = self.token
        if self.version:
            headers["OpenStack-API-Version"] = f"compute {self.version}"
        return headers


class Result(NamedTuple):
    """The response to a request, and the images that Nova made."""

    status: int
    body: str
    location: str
    images: list[Image]

    @property
    def message(self) -> str:
        """The message of a refusal."""
        if self.status < 400:
            return ""
        [fault] = json.loads(self.body).values()
        return str(fault["message"])


def image(name: Any, **metadata: str) -> dict[str, Any]:
    """Return the document of a ``createImage``."""
    return {"createImage": {"name": name, "metadata": metadata}}


TOUR = (
    Step("A snapshot", image("nightly", purpose="demo"), 202, image=("nightly", {"purpose": "demo"})),
    Step("The same request, as older clients send it", image("older", purpose="demo"), 202, version=None,
         image=("older", {"purpose": "demo"})),
    Step("A number as its name: the contract allows it, Nova alone does not", image(20261123), 202,
         image=("20261123", {})),
    Step("A backup", {"createBackup": {"name": "weekly", "backup_type": "weekly", "rotation": 4}}, 202,
         version=None, image=("weekly", {})),
    Step("No name", {"createImage": {}}, 400, "createImage entity requires name attribute"),
    Step(f"{TOO_MANY} metadata items: Nova has no quota from microversion 2.39 on",
         image("big", **{f"k{number}": "v" for number in range(TOO_MANY)}), 403, "Image metadata limit exceeded"),
    Step("A blank metadata key: Nova's /v2 accepts it", image("blank", **{"": "v"}), 400,
         "Image metadata key cannot be blank", target="/v2/servers/{server}/action"),
    Step("The same, to bypass a filter that only reads POST", image("blank", **{"": "v"}), 400,
         "Image metadata key cannot be blank", method="PUT", target="/v2/servers/{server}/action?_method=POST"),
    Step("The same, to bypass a filter that searches the bytes",
         b'{"create\\u0049mage": {"name": "x", "metadata": {"": "v"}}}', 400, "Image metadata key cannot be blank",
         target="/v2//servers/{server}/%61ction"),
    Step("Another project than the caller's", image("x"), 400,
         "Malformed request URL: URL's project_id '00000000' doesn't match Context's project_id "
         "'6f70656e737461636b20342065766572'", target="/v2.1/00000000/servers/{server}/action"),
    Step("No token: auth_token responds", image("x"), 401, "The request you have made requires authentication.",
         token=None),
    Step("An unknown server: Nova responds", image("x"), 404,
         "Instance 00000000-0000-4000-8000-000000000000 could not be found.",
         target="/v2.1/servers/00000000-0000-4000-8000-000000000000/action"),
    Step("Any other action passes through untouched", {"lock": None}, 202),
)  # fmt: skip

CURL_EXAMPLES = (
    ("accepted", '{"createImage": {"name": "mine", "metadata": {"k": "v"}}}'),
    ("refused", '{"createImage": {"name": "mine", "metadata": {"k": 5}}}'),
)


def main() -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8774, help="the port on 127.0.0.1 (make demo PORT=...)")
    parser.add_argument(
        "--once", action="store_true", help="end after the tour: 0 if all went as expected, otherwise 1"
    )
    help_text = "try this policy instead of the tour (make demo CONFIG=my.conf)"
    parser.add_argument("--config", metavar="FILE", default="", help=help_text)
    help_text = "judge in a gateway in front of Nova, not in Nova's pipelines (make gateway CONFIG=my.conf)"
    parser.add_argument("--gateway", action="store_true", help=help_text)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the folder of this run is removed
    if args.config and report_errors(args.config):
        return 2
    error = find_port_error(args.port)
    if error:
        write(f"demo: can't serve on 127.0.0.1:{args.port}: {error}. Try make demo PORT=8784")
        return 2
    place = "both of its pipelines"
    if args.gateway:
        place = "a gateway in front of it"
    write(f"Starting a real Nova in this process, with the filter in {place} ...")
    started_at = time.monotonic()
    from tests.nova.cloud import Cloud  # Nova's imports take seconds

    cloud = Cloud()
    cloud.setUp()
    try:
        write(f"Nova is up after {time.monotonic() - started_at:.1f} s.")
        if args.config:
            return serve_policy(cloud, args.port, args.config, args.gateway)
        return serve(cloud, args.port, args.once)
    finally:
        logging.disable(logging.CRITICAL)  # of what Nova logs when it ends
        cloud.doCleanups()


def report_errors(config: str) -> int:
    """Print what is wrong with a policy; return how many errors there are."""
    from tests.nova import demo_policy

    errors = demo_policy.read_errors(config)
    for error in errors:
        write(f"error: {error}")
    return len(errors)


def find_port_error(port: int) -> str:
    """Return why a port can't be used; empty if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError:
            return "a port is a number from 1 to 65535"
        except OSError as error:
            return str(error.strerror)
    return ""


def serve_policy(cloud: Any, port: int, config: str, in_gateway: bool) -> int:
    """Serve Nova with a filter that judges by the operator's own policy; return the exit status."""
    import waitress

    from tests.nova import demo_policy

    terminal = demo_policy.show_log(write)
    servers = demo_policy.create_servers(cloud)
    build = demo_policy.build_pipeline
    if in_gateway:
        build = demo_policy.build_gateway
    with demo_policy.collect_stores(terminal) as stores:
        app = build(cloud, config)
    server = waitress.create_server(app, host="127.0.0.1", port=port, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    write(f"It serves http://127.0.0.1:{port}/v2.1 and judges by {config}. Edit that file and save it: within two")
    write("seconds a line here tells that the new policy is in force, or what is wrong with it.")
    write(f"Its journal: {cloud.journal}\n")
    demo_policy.write_callers(write, port, servers)
    demo_policy.watch(write, stores)
    demo_policy.show_records(write, cloud.journal)
    wait_for_interrupt()
    server.close()
    return 0


def serve(cloud: Any, port: int, once: bool) -> int:
    """Serve Nova with the filter, and take the tour; return the exit status."""
    import waitress

    server = waitress.create_server(cloud.app({}), host="127.0.0.1", port=port, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    write(f"It serves http://127.0.0.1:{port}/v2.1 and has one server, ACTIVE: {cloud.server}\n")
    failed = 0
    for step in TOUR:
        result = send_step(cloud, port, step)
        write_step(step, result, cloud.server)
        failed += not is_expected(step, result)
    write(f"{len(TOUR) - failed} of {len(TOUR)} steps went as expected.\n")
    write(f"The records of the tour (imagefilter audit list --journal {cloud.journal}):")
    write(list_records(cloud.journal))
    if not once:
        write_examples(cloud.server, port)
        wait_for_interrupt()
    server.close()
    return int(failed > 0)


def send_step(cloud: Any, port: int, step: Step) -> Result:
    """Send the request of a step, and wait until Nova has finished it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(step.method, step.target.format(server=cloud.server), step.body, step.headers)
        response = connection.getresponse()
        body = response.read().decode()
    cloud.settle()
    images = [tuple(made) for made in cloud.images()]
    return Result(response.status, body, response.headers.get("Location") or "", images)


def is_expected(step: Step, result: Result) -> bool:
    """Return whether the result is the one that the step expects."""
    images = [step.image] if step.image else []
    return (result.status, result.message, result.images) == (step.status, step.message, images)


def write_step(step: Step, result: Result, server: str) -> None:
    """Print a step, its response, and the image that Nova made."""
    content = result.body or result.location or "(no body)"
    write(step.title)
    write(f"  request   {step.method} {step.target.format(server=server)}  {shorten(step.body.decode())}")
    write(f"  response  {result.status} {shorten(content, 160)}")
    for name, metadata in result.images:
        write(f"  Nova      made an image named {name!r}, metadata {metadata}")
    if not result.images:
        write("  Nova      made no image")
    if not is_expected(step, result):
        write(f"  UNEXPECTED: it should be {step.status} {step.message!r}, image {step.image}")
    write()


def list_records(journal: Path) -> str:
    """Return the records of the tour, as the command lists them."""
    command = [sys.executable, "-m", "imagefilter.cli.app", "audit", "list", "--journal", str(journal)]
    for column in ("Verdict", "Rule", "Action", "Image Name", "Outcome"):
        command += ["-c", column]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def write_examples(server: str, port: int) -> None:
    """Print curl lines to copy."""
    url = f"http://127.0.0.1:{port}/v2.1/servers/{server}/action"
    write("\nTry it yourself in another terminal (the token is valid):\n")
    for name, body in CURL_EXAMPLES:
        write(f"# {name}\ncurl -si {url} \\\n  -H 'X-Auth-Token: member' \\")
        write(f"  -H 'Content-Type: application/json' \\\n  -d '{body}'\n")


def wait_for_interrupt() -> None:
    """Wait for Ctrl-C."""
    write("Serving until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    write("\nStopped.")


def shorten(text: str, length: int = 110) -> str:
    """Return the beginning of a long text, and its length."""
    if len(text) <= length:
        return text
    return f"{text[:length]}... ({len(text)} characters)"


def write(text: str = "") -> None:
    """Print a line: Nova's harness captures ``sys.stdout``."""
    sys.__stdout__.write(text + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
