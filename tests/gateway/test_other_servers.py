"""uWSGI and mod_wsgi start the gateway with the lines of docs/gateway.md."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.cases import SERVER
from tests.gateway.client import PATIENCE, find_free_port, send_request
from tests.gateway.conftest import Upstream
from tests.gateway.servers import fill_in_paste_file, kill_session
from tests.paths import ROOT
from tests.ports import is_listening
from tests.waiting import wait_until

PATH = f"/v2.1/servers/{SERVER}/action"
PAGE = (ROOT / "docs/gateway.md").read_text()

# What the page's lines do not say: where Debian keeps its modules, and where a test may write.
APACHE = """
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/log
Listen 127.0.0.1:{port}
ServerName localhost
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
User www-data
Group www-data
WSGISocketPrefix {folder}/wsgi
<VirtualHost 127.0.0.1:{port}>
{lines}
</VirtualHost>
"""


def block(heading: str) -> str:
    """Return the lines of code that follow a heading of the page."""
    after = PAGE[PAGE.index(heading) :]
    found = re.search(r"\n\n((?:    .*\n|\n)+)", after)
    assert found
    return "\n".join(line[4:] for line in found[1].splitlines())


@pytest.fixture
def paste_file(public: Path, upstream: Upstream) -> Path:
    """A paste file with a gateway in front of the compute API."""
    path = public / "gateway.ini"
    options = {"filter:imagefilter": {"audit_journal": str(public / "audit.jsonl"), "snapshots_enabled": "false"}}
    path.write_text(fill_in_paste_file(upstream.url, options, "gateway-without-authtoken"))
    path.chmod(0o644)
    return path


@pytest.fixture
def virtualenv(public: Path) -> Path:
    """A virtualenv of Debian's Python, which these servers have built in, with all that is in the one of the tests."""
    version = "python{}.{}".format(*sys.version_info)
    home = public / "imagefilter"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(home)], check=True)
    packages = home / "lib" / version / "site-packages"
    if not packages.is_dir():
        pytest.skip(f"Debian's Python is not {version}, which the virtualenv has")
    (packages / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    return home


def send_by_uwsgis_protocol(port: int, method: str, path: str, body: bytes) -> bytes:
    """Send a request as nginx's uwsgi_pass does."""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
    }
    environ.update(SERVER_PORT="80", SERVER_PROTOCOL="HTTP/1.1", QUERY_STRING="", HTTP_X_AUTH_TOKEN="member")
    environ.update(REQUEST_URI=path, CONTENT_TYPE="application/json", REMOTE_ADDR="203.0.113.7", HTTP_HOST="localhost")
    packet = b""
    for name, text in environ.items():
        for part in (name.encode(), text.encode()):
            packet += struct.pack("<H", len(part)) + part
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(struct.pack("<BHB", 0, len(packet), 0) + packet + body)
        received = b""
        while True:
            part = connection.recv(65536)
            if not part:
                return received
            received += part


@pytest.mark.skipif(not shutil.which("uwsgi"), reason="missing: uwsgi")
def test_uwsgi(paste_file: Path, virtualenv: Path) -> None:
    port = find_free_port()
    lines = block("**uWSGI** behind").replace("/etc/imagefilter/gateway.ini", str(paste_file))
    assert "127.0.0.1:8784" in lines
    config = paste_file.with_name("uwsgi.ini")
    config.write_text(f"{lines.replace(':8784', f':{port}')}\nplugin = python3\nvirtualenv = {virtualenv}\n")
    log = paste_file.with_name("log")
    with log.open("wb") as out:
        process = subprocess.Popen(["uwsgi", str(config)], cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until(lambda: is_listening(port), PATIENCE)
        body = b'{"createImage": {"name": "n"}}'
        response = send_by_uwsgis_protocol(port, "POST", PATH, body)
    finally:
        kill_session(process)
    assert response.startswith(b"HTTP/1.1 400"), log.read_text()
    assert b"snapshots" in response.lower()


@pytest.mark.skipif(not Path("/usr/lib/apache2/modules/mod_wsgi.so").exists(), reason="missing: apache2 with mod_wsgi")
def test_mod_wsgi(paste_file: Path, virtualenv: Path) -> None:
    port = find_free_port()
    script, directives = block("**mod_wsgi**").split("# in the virtual host")
    gateway = paste_file.with_name("gateway.wsgi")
    gateway.write_text(script.replace("/etc/imagefilter/gateway.ini", str(paste_file)))
    lines = directives.replace("/etc/imagefilter", str(paste_file.parent)).replace("/opt/imagefilter", str(virtualenv))
    config = paste_file.with_name("apache2.conf")
    if os.geteuid() == 0:
        shutil.chown(paste_file.parent, "www-data", "www-data")
    config.write_text(APACHE.format(folder=paste_file.parent, port=port, lines=lines))
    process = subprocess.Popen(["apache2", "-X", "-f", str(config)], cwd=ROOT, start_new_session=True)
    try:
        wait_until(lambda: is_listening(port), PATIENCE)
        document = {"createImage": {"name": "n"}}
        response = send_request(port, "POST", PATH, document, {"X-Auth-Token": "member"})
    finally:
        kill_session(process)
    assert response.status == 400, paste_file.with_name("log").read_text()
