"""docs/install.md on a fresh Debian under a real systemd: its block word for word, the shipped files as they are."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import trustme

from tests.gateway.client import PATIENCE
from tests.gateway.host import Host, serve_host
from tests.gateway.keystone import PASSWORD, SERVICE_USER
from tests.gateway.nova import ServedNova
from tests.paths import DOCS
from tests.records import Record, parse_requests
from tests.waiting import wait_until

PAGE = (DOCS / "install.md").read_text()
JOURNAL = "/var/log/imagefilter/audit.jsonl"
FRONTS = {
    "nginx": "cp etc/imagefilter/nginx.conf /etc/nginx/conf.d/compute.conf",
    "haproxy": "cp etc/imagefilter/haproxy.cfg /etc/haproxy/haproxy.cfg",
}
GATEWAY = "imagefilter-gateway"


def read_block() -> str:
    """Return the page's one block."""
    [block] = re.findall(r"\n\n((?:    .*\n|\n)+)\nThen set", PAGE)
    return "\n".join(line[4:] for line in block.splitlines())


class Site(NamedTuple):
    """A host with the gateway, in front of a real Nova and beside a real Keystone."""

    host: Host
    path: str  # of the server's actions
    token: str

    def send_action(self, name: str, url: str = "http://127.0.0.1:8784") -> tuple[int, str]:
        """Ask for an image; return the status and the body."""
        document = json.dumps({"createImage": {"name": name}})
        headers = f"-H 'X-Auth-Token: {self.token}' -H 'Content-Type: application/json'"
        response = self.host.read(f"curl -sk -w '\\n%{{http_code}}' {headers} -d '{document}' {url}{self.path}")
        body, _, status = response.rpartition("\n")
        return int(status), body

    def read_requests(self) -> list[Record]:
        """Return the records of requests in the gateway's journal."""
        return parse_requests(self.host.read(f"cat {JOURNAL}").splitlines())

    def start(self) -> None:
        """Start the gateway anew, and wait until it responds."""
        self.host.run(f"systemctl reset-failed; systemctl restart {GATEWAY}")
        self.wait_for(8784, workers=2)

    def wait_for(self, port: int, workers: int) -> None:
        """Wait until a port responds, and all workers have loaded: until then they ignore SIGTERM."""
        url = f"http://127.0.0.1:{port}/healthcheck/live"
        wait_until(lambda: self.host.run(f"curl -sf {url}", check=False).returncode == 0, PATIENCE, interval=0.1)
        wait_until(lambda: str(self.host.log_of(GATEWAY)).count("Started worker-") == workers, PATIENCE, interval=0.1)


@pytest.fixture(scope="module")
def installed(asking_nova: ServedNova, keystone: Any, alices_server: str) -> Iterator[Site]:
    """Install the gateway by the page, and set what only the operator knows."""
    keystone_port = int(keystone.url.split(":")[2].partition("/")[0])
    with serve_host() as host, host.forward(18774, asking_nova.port), host.forward(keystone_port, keystone_port):
        host.run(read_block())
        paste = host.read("cat /etc/imagefilter/gateway.ini").replace("http://keystone.example:5000", keystone.url)
        paste = paste.replace("username = imagefilter", f"username = {SERVICE_USER}")
        paste = paste.replace("password = secret", f"password = {PASSWORD}")
        host.write("/etc/imagefilter/gateway.ini", paste)
        yield Site(host, f"/v2.1/servers/{alices_server}/action", keystone.token("alice"))


@pytest.fixture
def site(installed: Site) -> Site:
    """The same with its gateway running."""
    if installed.host.state_of(GATEWAY)["ActiveState"] != "active":
        installed.start()
    return installed


@pytest.fixture(scope="module")
def api_host() -> Iterator[Host]:
    """A host where the filter is in the pipeline of nova-api, whose user Nova's package makes."""
    with serve_host() as host:
        host.run("useradd --system --user-group --home-dir /var/lib/nova --shell /usr/sbin/nologin nova")
        host.run("install -d -g nova -m 0750 /etc/nova && echo password > /etc/nova/nova.conf")
        host.run("chown root:nova /etc/nova/nova.conf && chmod 0640 /etc/nova/nova.conf")
        block = read_block()
        assert "If the filter is in nova's own pipeline: writer=nova\nwriter=imagefilter\n" in block
        host.run(block.replace("\nwriter=imagefilter\n", "\nwriter=nova\n"))
        yield host


def test_a_request_goes_through_and_is_recorded(site: Site, asking_nova: ServedNova) -> None:
    status, body = site.send_action("one")
    assert status == 202, body
    asking_nova.cloud.settle(site.path.split("/")[3])
    assert site.send_action("")[0] == 400
    assert site.host.read(f"stat -c '%U:%G %a' {JOURNAL}") == "imagefilter:imagefilter-audit 640"
    assert len(site.read_requests()) >= 3


# --- the fronts


@pytest.fixture
def certificate(site: Site) -> None:
    """The front's certificate, where the shipped files look for it."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()
    private_key = issued.private_key_pem.bytes().decode()
    site.host.write("/etc/nginx/compute.pem", chain)
    site.host.write("/etc/nginx/compute.key", private_key)
    site.host.write("/etc/haproxy/compute.pem", chain + private_key)


@pytest.mark.usefixtures("certificate")
def test_a_front_meets_the_gateway_and_nova(site: Site, kind: str, asking_nova: ServedNova) -> None:
    """The shipped files as they are: the front sends where the unit listens, and the gateway where Nova does."""
    site.host.run(f"{FRONTS[kind]} && systemctl restart {kind}")
    try:
        before = len(site.read_requests())
        assert site.send_action("by-the-front", "https://127.0.0.1:8774")[0] == 202
        assert site.send_action("", "https://127.0.0.1:8774")[0] == 400
        read = f"curl -sk -o /dev/null -w '%{{http_code}}' -H 'X-Auth-Token: {site.token}' https://127.0.0.1:8774"
        assert site.host.read(f"{read}{site.path.removesuffix('/action')}") == "200"
    finally:
        site.host.run(f"systemctl stop {kind}")
    asking_nova.cloud.settle(site.path.split("/")[3])
    records = site.read_requests()[before:]
    assert [record["eventType"] for record in records] == ["control", "activity", "control"]


# --- the gateway's unit


@contextlib.contextmanager
def changed(host: Host, path: str, old: str, new: str) -> Iterator[None]:
    """Change a file for a while."""
    text = host.read(f"cat {path}")
    assert old in text
    host.write(path, text.replace(old, new))
    try:
        yield
    finally:
        host.write(path, f"{text}\n")


def start_in_vain(host: Host, unit: str) -> list[str]:
    """Start a unit that can't start; return the lines that its process wrote."""
    host.run(f"systemctl reset-failed; systemctl start {unit}", check=False)
    # A start that is tried again comes after RestartSec, and counts as activating until then.
    wait_until(lambda: host.state_of(unit)["ActiveState"] in ("failed", "activating"), PATIENCE)
    state = host.state_of(unit)
    assert (state["ActiveState"], state["NRestarts"], state["Result"]) == ("failed", "0", "exit-code")
    return host.log_of(unit)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("# connect_timeout", "conect_timeout", "unknown option 'conect_timeout' in section [app:compute]"),
        ("authtoken imagefilter compute", "authtokn imagefilter compute", "there is no section [filter:authtokn]"),
        ("/ = gateway\n", "/ = gatewy\n", "No section 'gatewy'"),
        ("auth_token:filter", "auth_tokn:filter", "No module named 'keystonemiddleware.auth_tokn'"),
        ("auth_type = password", "auth_type = passwrd", "The plugin passwrd could not be found"),
        ("/var/log/imagefilter/", "/var/log/elsewhere/", "/var/log/elsewhere"),
        ("[pipeline:main]", "[pipeline:main", "gateway.ini"),
        ("= password", "= pass%word", "auth_type in section [filter:authtoken]"),
    ],
)
def test_a_bad_paste_file_is_one_line_and_a_failed_unit(installed: Site, old: str, new: str, reason: str) -> None:
    installed.host.run(f"systemctl stop {GATEWAY}")
    with changed(installed.host, "/etc/imagefilter/gateway.ini", old, new):
        [line] = start_in_vain(installed.host, GATEWAY)
    assert line.startswith("error: ")
    assert reason in line


def test_a_second_gateway_on_the_port_does_not_start(site: Site) -> None:
    """It would share the port in silence, and judge half of the requests by a policy of its own."""
    site.host.run("cp /etc/systemd/system/imagefilter-gateway.service /etc/systemd/system/second.service")
    site.host.run("systemctl daemon-reload")
    lines = start_in_vain(site.host, "second")
    assert lines == ["error: port 8784 of 127.0.0.1 is in use: end the process that listens there, or set another port"]
    assert site.host.state_of(GATEWAY)["ActiveState"] == "active"


def test_address_and_numbers_are_set_in_a_file_of_variables(site: Site) -> None:
    path = "/etc/default/imagefilter-gateway"
    with (
        changed(site.host, path, "#IMAGEFILTER_PORT=8784", "IMAGEFILTER_PORT=8794"),
        changed(site.host, path, "#IMAGEFILTER_WORKERS=2", "IMAGEFILTER_WORKERS=1"),
    ):
        site.host.run(f"systemctl restart {GATEWAY}")
        site.wait_for(8794, workers=1)
        arguments = site.host.read(f"xargs -0 < /proc/{site.host.state_of(GATEWAY)['MainPID']}/cmdline")
    assert "--host 127.0.0.1 --port 8794 --workers 1 --blocking-threads 16 " in arguments
    site.start()


def test_it_starts_without_the_file_of_variables(site: Site) -> None:
    site.host.run("mv /etc/default/imagefilter-gateway /root/")
    site.start()
    site.host.run("mv /root/imagefilter-gateway /etc/default/")


def test_a_gateway_that_dies_is_started_again(site: Site) -> None:
    site.host.run(f"systemctl kill --kill-whom=main --signal=KILL {GATEWAY}")
    wait_until(lambda: site.host.state_of(GATEWAY)["NRestarts"] != "0", PATIENCE)
    site.wait_for(8784, workers=2)


def test_a_server_that_gives_its_workers_up_is_started_again(site: Site) -> None:
    """It ends with status 1 if a worker dies soon after another did."""
    before = site.host.state_of(GATEWAY)["MainPID"]
    kill_workers = f"kill -KILL $(cat /proc/{before}/task/{before}/children)"

    def is_replaced() -> bool:
        site.host.run(kill_workers, check=False)
        return site.host.state_of(GATEWAY)["MainPID"] not in (before, "0")

    wait_until(is_replaced, PATIENCE, interval=0.2)
    site.wait_for(8784, workers=2)


UNITS = ("gateway", "relay", "memcached")


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_accepts_a_unit_and_finds_it_hardened(site: Site, unit: str) -> None:
    path = f"/etc/systemd/system/imagefilter-{unit}.service"
    verified = site.host.run(f"systemd-analyze verify --man=no {path}", check=False)
    if unit != "memcached":  # which this host does not have
        assert (verified.returncode, verified.stderr) == (0, "")
    exposure = site.host.read(f"systemd-analyze security --no-pager --offline=true {path} | tail -1")
    print(exposure)
    level = re.search(r"Overall exposure level for imagefilter-\w+\.service: (\d+\.\d)", exposure)
    assert level
    assert float(level[1]) <= 2.0


# --- users, groups, rotation: on hosts of both kinds

PRIVATE = {"/etc/imagefilter/gateway.ini": ["imagefilter"], "/etc/imagefilter/relay.conf": ["imagefilter-relay"]}


def may(host: Host, user: str, what: str) -> bool:
    """Return whether a user's process may do something, with the groups that the relay's unit gives it."""
    groups = "--init-groups"
    if user == "imagefilter-relay":
        groups = "--groups=imagefilter-relay,imagefilter-audit"
    return host.run(f"setpriv --reuid={user} --regid={user} {groups} {what}", check=False).returncode == 0


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("user", ["imagefilter", "imagefilter-relay"])
def test_a_process_reads_its_own_configuration(site: Site, user: str, path: str) -> None:
    assert may(site.host, user, f"cat {path}") == (user in PRIVATE[path])


def test_the_relay_counts_what_the_gateway_wrote(site: Site) -> None:
    assert site.send_action("")[0] == 400
    site.host.run("systemctl restart imagefilter-relay")
    wait_for_count(site.host, "deny")


def wait_for_count(host: Host, verdict: str) -> None:
    """Wait until the relay has counted a verdict."""
    metrics = "curl -sf http://127.0.0.1:9784/metrics"
    wait_until(lambda: f'verdict="{verdict}"' in host.run(metrics, check=False).stdout, PATIENCE, interval=0.2)


def test_a_bad_configuration_of_the_relay_is_one_line_and_a_failed_unit(site: Site) -> None:
    site.host.run("systemctl stop imagefilter-relay")
    with changed(site.host, "/etc/imagefilter/relay.conf", "\njournals", "\nretires = 3\njournals"):
        lines = start_in_vain(site.host, "imagefilter-relay")
    assert [line.partition(":")[0] for line in lines] == ["error"]
    assert "retires" in lines[0]


NOVA = """
import os, sys
from imagefilter import filter_factory

def respond(environ, start_response):
    start_response("202 Accepted", [("Content-Length", "0")])
    return []

application = filter_factory({}, audit_journal="%s")(respond)
"""


def write_as_nova(host: Host) -> None:
    """Let a process of nova-api's user judge and record a request."""
    host.write("/tmp/as_nova.py", NOVA % JOURNAL + REQUEST)
    host.run("cd / && runuser -u nova -- /opt/imagefilter/bin/python /tmp/as_nova.py")


REQUEST = """
import io
body = b'{"createImage": {"name": ""}}'
environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v2.1/servers/11111111-2222-4333-8444-555555555555/action",
    "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(body),
    "HTTP_X_AUTH_TOKEN": "t", "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "http"}
statuses = []
b"".join(application(environ, lambda status, headers, exc_info=None: statuses.append(status)))
assert statuses[0].startswith("400"), statuses
"""


def test_the_relay_reads_novas_journal_and_nothing_else_of_nova(api_host: Host) -> None:
    write_as_nova(api_host)
    assert api_host.read(f"stat -c '%U:%G %a' {JOURNAL}") == "nova:imagefilter-audit 640"
    assert may(api_host, "imagefilter-relay", f"cat {JOURNAL}")
    assert not may(api_host, "imagefilter-relay", f"sh -c 'echo >> {JOURNAL}'")
    assert not may(api_host, "imagefilter-relay", "touch /var/log/imagefilter/new")
    assert not may(api_host, "imagefilter-relay", "ls /etc/nova")
    assert not may(api_host, "imagefilter-relay", "cat /etc/nova/nova.conf")
    assert may(api_host, "nova", "cat /etc/nova/nova.conf")
    api_host.run("systemctl restart imagefilter-relay")
    wait_for_count(api_host, "deny")
    groups = api_host.read("grep Groups /proc/$(systemctl show -P MainPID imagefilter-relay)/status").split()[1:]
    names = api_host.read(f"getent group {' '.join(groups)} | cut -d: -f1").split()
    assert sorted(names) == ["imagefilter-audit", "imagefilter-relay"]


def rotate(host: Host) -> None:
    """Run logrotate as its timer does, a day after it ran last; its log must have no error."""
    set_day_of_last_rotation(host)
    host.run("systemctl start logrotate.service")
    assert host.log_of("logrotate") == []


def set_day_of_last_rotation(host: Host) -> None:
    state = "/var/lib/logrotate/status"
    host.run(f"install -m 0640 /dev/null {state}")
    host.write(state, f'logrotate state -- version 2\n"{JOURNAL}" 2020-1-1-0:0:0\n')


def assert_rotates(host: Host, owner: str, write: Any) -> None:
    """Rotate twice, a day apart: the newest file is renamed, the one before is compressed, and the group reads both."""
    host.run(f"rm -f {JOURNAL}*")
    write()
    rotate(host)
    [renamed] = host.read(f"ls {JOURNAL}-*").split()
    host.run(f"mv {renamed} {JOURNAL}-20200101")
    assert not host.read(f"ls {JOURNAL} || true"), "only a writer makes it"
    write()
    rotate(host)
    files = host.read("cd /var/log/imagefilter && stat -c '%n %U:%G %a' *").splitlines()
    mode = f"{owner}:imagefilter-audit 640"
    today = renamed.rpartition("/")[2]
    assert files == [f"audit.jsonl-20200101.gz {mode}", f"{today} {mode}"]
    assert may(host, "imagefilter-relay", f"zcat {JOURNAL}-20200101.gz")


def test_rotation_on_a_host_without_nova(site: Site) -> None:
    assert site.host.run("id nova", check=False).returncode == 1
    assert_rotates(site.host, "imagefilter", lambda: site.send_action(""))


def test_rotation_on_a_host_with_nova(api_host: Host) -> None:
    assert_rotates(api_host, "nova", lambda: write_as_nova(api_host))


def test_rotation_is_not_led_astray_by_the_writer_of_the_journal(api_host: Host) -> None:
    """The rotation is root's, the directory is not: links there must show it no other file."""
    api_host.run(f"rm -f {JOURNAL}*")
    for name in ("-20200101", "-20200102"):
        api_host.run(f"runuser -u nova -- ln -s /etc/shadow {JOURNAL}{name}")
    api_host.run("runuser -u nova -- ln -s /etc/passwd /var/log/imagefilter/audit.jsonl")
    set_day_of_last_rotation(api_host)
    before = api_host.read("stat -c '%n %U %a %Y' /etc/shadow /etc/passwd; cat /etc/shadow")
    api_host.run("systemctl start logrotate.service", check=False)
    assert api_host.read("stat -c '%n %U %a %Y' /etc/shadow /etc/passwd; cat /etc/shadow") == before
    assert "root:" not in api_host.read("zcat -f /var/log/imagefilter/*.gz 2>/dev/null || true")
