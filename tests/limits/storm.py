"""A storm of image actions on several gateways at once, while somebody counts the images in Glance all the time.

``make storm`` runs it many times for each back end of locks, and then without a common lock, where it must exceed.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.gateway.client import send_request
from tests.gateway.nova import ServedNova
from tests.gateway.servers import Gateway, serve_gateway
from tests.limits.glance import Glance
from tests.waiting import holds_within

PER_SERVER = 5
PER_PROJECT = 7
PROCESSES = 4
THREADS = 8
USERS = ("alice", "bob", "carol")
_CLIENTS_OF_A_USER = 4
_REQUESTS_OF_A_CLIENT = 10
_QUIET_SECONDS = 10
_TRIES = 20  # of a client that is told to try again
_PAUSES = {429: 0.05, 503: 0.5}  # seconds, by status: a back end of locks that restarts is left alone for five


class Server(NamedTuple):
    """A server that the storm makes images of."""

    id: str
    user: str


class Report(NamedTuple):
    """What a round showed."""

    most_of_a_server: int
    most_of_a_project: int
    left_of_a_server: int  # when all is quiet
    left_of_a_project: int
    responses: collections.Counter[str]
    wrong_refusals: list[dict[str, Any]]  # a limit refused while there was room

    @property
    def exceeded(self) -> bool:
        """Whether there were more images than a limit allows: one more while a backup is rotated, none afterwards."""
        at_once = self.most_of_a_server > PER_SERVER + 1 or self.most_of_a_project > PER_PROJECT + 1
        return at_once or self.left_of_a_server > PER_SERVER or self.left_of_a_project > PER_PROJECT

    def __str__(self) -> str:
        counts = ", ".join(f"{number} x {what}" for what, number in sorted(self.responses.items()))
        return (
            f"at most {self.most_of_a_server} of a server and {self.most_of_a_project} of a project, at the end"
            f" {self.left_of_a_server} and {self.left_of_a_project}; {counts};"
            f" refused in spite of room: {len(self.wrong_refusals)}"
        )


class Storm:
    """Clients of three projects, and an observer."""

    def __init__(self, nova: ServedNova, glance: Glance, gateways: list[Gateway], seed: int) -> None:
        self._nova, self._glance, self._gateways = nova, glance, gateways
        self._random = random.Random(seed)
        self._names = itertools.count()
        self._responses: collections.Counter[str] = collections.Counter()
        self._of_a_server: collections.Counter[str] = collections.Counter()
        self._of_a_project: collections.Counter[str] = collections.Counter()
        self._is_over = threading.Event()

    def run(self, servers: list[Server]) -> Report:
        """Let it rage, and report."""
        for user in USERS:
            self._glance.delete_all(user)
        records_before = [len(gateway.records("control")) for gateway in self._gateways]
        observer = threading.Thread(target=self._observe)
        observer.start()
        clients = []
        for user in USERS:
            for _ in range(_CLIENTS_OF_A_USER):
                plan = random.Random(self._random.random())
                clients.append(threading.Thread(target=self._act, args=(user, servers, plan)))
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        for server in servers:
            self._nova.cloud.settle(server.id)
        self._is_over.set()
        observer.join()
        most = _largest(self._of_a_server), _largest(self._of_a_project)
        holds_within(_QUIET_SECONDS, self._is_within_limits, interval=0.2)
        return Report(
            *most,
            _largest(self._of_a_server),
            _largest(self._of_a_project),
            self._responses,
            list(self._find_wrong_refusals(records_before)),
        )

    def _is_within_limits(self) -> bool:
        """Count what there is when all is quiet: a host may still rotate backups."""
        self._of_a_server.clear()
        self._of_a_project.clear()
        self._count()
        return _largest(self._of_a_server) <= PER_SERVER and _largest(self._of_a_project) <= PER_PROJECT

    def _act(self, user: str, servers: list[Server], plan: random.Random) -> None:
        own = [server for server in servers if server.user == user]
        for _ in range(_REQUESTS_OF_A_CLIENT):
            server = plan.choice(own)
            if plan.random() < 0.05:  # somebody else's, which this project does not see
                server = plan.choice(servers)
            what = plan.choices(("image", "backup", "delete", "reboot"), (5, 3, 2, 1))[0]
            if what == "delete":
                self._delete_one(user, plan)
                continue
            name = f"{server.id}/{next(self._names)}"
            document: dict[str, Any] = {"createImage": {"name": name}}
            if what == "backup":
                backup = {"name": name, "backup_type": "daily", "rotation": plan.choice((1, 2, 5))}
                document = {"createBackup": backup}
            if what == "reboot":
                document = {"reboot": {"type": "SOFT"}}
            path = f"/{plan.choice(('v2', 'v2.1'))}/servers/{server.id}/action"
            headers = {"X-Auth-Token": self._glance.keystone.cached_token(user)}
            for _ in range(_TRIES):
                response = send_request(plan.choice(self._gateways).port, "POST", path, document, headers)
                self._responses[f"{what} {response.status}"] += 1
                if response.status not in _PAUSES:
                    break
                time.sleep(_PAUSES[response.status])

    def _delete_one(self, user: str, plan: random.Random) -> None:
        images = self._glance.snapshots(user)
        if images:
            self._glance.send("DELETE", f"/images/{plan.choice(images)['id']}", user)

    def _observe(self) -> None:
        while not self._is_over.is_set():
            self._count()

    def _count(self) -> None:
        """Count what is in Glance now; by name, so that nothing is believed that the filter has set."""
        for user in USERS:
            servers = [image["name"].partition("/")[0] for image in self._glance.images(user) if "/" in image["name"]]
            for server, count in collections.Counter(servers).items():
                self._of_a_server[server] = max(self._of_a_server[server], count)
            self._of_a_project[user] = max(self._of_a_project[user], len(servers))

    def _find_wrong_refusals(self, records_before: list[int]) -> Iterator[dict[str, Any]]:
        limits = {"server-limit": ("server", PER_SERVER), "project-limit": ("project", PER_PROJECT)}
        for gateway, before in zip(self._gateways, records_before):
            for record in gateway.records("control")[before:]:
                content = record["attachments"][0]["content"]
                if content["rule"] in limits and "snapshot_usage" in content:  # else nothing could be counted
                    count, limit = limits[content["rule"]]
                    if content["snapshot_usage"][count] < limit:
                        yield content


@contextlib.contextmanager
def serve_gateways(
    nova: ServedNova, glance: Glance, coordination_urls: list[str], *, threads: int = THREADS, **options: str
) -> Iterator[list[Gateway]]:
    """Run a gateway of one process for each URL.

    :param options: of the filter.
    """
    limits = {"snapshots_per_server": str(PER_SERVER), "snapshots_per_project": str(PER_PROJECT), **options}
    with contextlib.ExitStack() as stack:
        gateways = []
        for url in coordination_urls:
            own = {**limits, "coordination_url": url}
            gateway = serve_gateway(
                "gunicorn", nova.url, own, authtoken=glance.keystone.authtoken(), workers=1, threads=threads
            )
            gateways.append(stack.enter_context(gateway))
        yield gateways


def boot_servers(nova: ServedNova) -> list[Server]:
    """Boot servers of three projects: two from an image each, and one from a volume."""
    servers = []
    for user in USERS:
        members = [{}, {}, nova.cloud._boot_from_volume()]
        servers += [Server(nova.cloud.new_server(own, user), user) for own in members]
    return servers


def _largest(counts: collections.Counter[str]) -> int:
    return max(counts.values(), default=0)


def run_rounds(
    nova: ServedNova, glance: Glance, gateways: list[Gateway], servers: list[Server], rounds: int
) -> Iterator[Report]:
    """Let the storm rage again and again."""
    for _ in range(rounds):
        yield Storm(nova, glance, gateways, seed=time.time_ns()).run(servers)
