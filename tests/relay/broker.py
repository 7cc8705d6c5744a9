"""A real RabbitMQ on loopback, with a node name, a data folder, and ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import kombu

from tests.relay.fakes import free_port

LIBRARY = Path("/usr/lib/rabbitmq/bin")
SERVER = LIBRARY / "rabbitmq-server"
EPMD = shutil.which("epmd")
USER, PASSWORD = "relay", "broker-secret"

#: Records longer than this are refused by the broker.
MAX_MESSAGE_BYTES = 60000

#: How many messages a queue of the virtual host ``small`` holds before it refuses more.
ROOM = 20

PLAIN, SMALL = "/", "small"


def why_missing() -> str:
    """Return why no RabbitMQ can be started here, or empty."""
    if SERVER.exists() and EPMD:
        return ""
    return "rabbitmq-server is not installed"


class Broker:
    """A RabbitMQ. It keeps its data when it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, dist, epmd = free_port(), free_port(), free_port()
        (folder / "home").mkdir(parents=True)
        (folder / "plugins").write_text("[].\n")
        (folder / "definitions.json").write_text(json.dumps(_definitions()))
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"load_definitions = {folder}/definitions.json\n"
            f"max_message_size = {MAX_MESSAGE_BYTES}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 10MB\n"
        )
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "true",  # no shell stays between it and us
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": f"imagefilter{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None

    def url(self, host: str = PLAIN, password: str = PASSWORD) -> str:
        return f"rabbit://{USER}:{password}@127.0.0.1:{self.port}/{host.strip(PLAIN)}"

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        with open(self.folder / "output", "ab") as output:
            if self._mapper is None:  # otherwise RabbitMQ starts one, and leaves it behind
                self._mapper = subprocess.Popen([str(EPMD)], env=self._environ, stdout=output, stderr=output)
            self._process = subprocess.Popen(
                [SERVER],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        while not self._is_ready():
            text = (self.folder / "output").read_text()
            assert time.monotonic() < deadline, text
            assert self._process.poll() is None, text
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it, as a failing machine would."""
        self._signal(signal.SIGKILL)
        assert self._process
        self._process.wait()

    def pause(self) -> None:
        """Stop it: it keeps its connections, and accepts new ones even (the kernel does), but sends nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good."""
        if self._process and self._process.poll() is None:
            self.kill()
        if self._mapper:
            self._mapper.kill()
            self._mapper.wait()

    def queue_length(self, host: str, queue: str) -> int:
        """Return how many messages wait in a queue; 0 if there is none."""
        with kombu.Connection(self.url(host).replace("rabbit", "amqp", 1)) as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except connection.channel_errors:
                return 0

    def _signal(self, number: int) -> None:
        assert self._process
        os.killpg(self._process.pid, number)

    def _is_ready(self) -> bool:
        """Return whether the broker answers the first bytes of AMQP."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return bool(connection.recv(8))
        except OSError:
            return False


def _definitions() -> dict[str, Any]:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [{"name": USER, "password": PASSWORD, "tags": ""}],
        "vhosts": [{"name": PLAIN}, {"name": SMALL}],
        "permissions": [{"user": USER, "vhost": host, **everything} for host in (PLAIN, SMALL)],
        "policies": [
            {
                "vhost": SMALL,
                "name": "small",
                "pattern": ".*",
                "apply-to": "queues",
                "definition": {"max-length": ROOM, "overflow": "reject-publish"},
            }
        ],
    }
