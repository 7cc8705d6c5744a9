"""The Debian packages: built, installed beside Debian's own nova-api without a network, and judging."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.debian.root import Root, prepare
from tests.paths import DOCS, ROOT
from tests.records import parse_requests

pytestmark = pytest.mark.slow

NOVA_CONF = Path(__file__).with_name("nova.conf")
PACKAGE = "dpkg -i /build/python3-nova-imagefilter_*_all.deb"

# As docs/deploy.md says: the word before the app in both pipelines, and the section.
PASTE = r"""
sed -i -E '/^(keystone|noauth2) = /s/ (legacy_v2_compatible )?(osapi_compute_app_v21)$/ imagefilter \1\2/' \
    /etc/nova/api-paste.ini
cat >> /etc/nova/api-paste.ini <<END

[filter:imagefilter]
paste.filter_factory = imagefilter:filter_factory
audit_journal = /var/log/imagefilter/audit.jsonl
END
"""

# Debian's uwsgi, with Debian's file for it.
START_NOVA = """
install -d -o nova /run/nova
runuser -u nova -- nova-manage api_db sync >/dev/null 2>&1
runuser -u nova -- nova-manage db sync >/dev/null 2>&1
uwsgi_python3 --ini /etc/nova/nova-api-uwsgi.ini --http-socket 127.0.0.1:8774 --processes 1 >/dev/null 2>&1 &
for _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:8774/ && break; sleep 0.2; done
"""

ASK = (
    "curl -s -w ' %{{http_code}}\\n' http://127.0.0.1:8774{path}/servers/11111111-1111-4111-8111-111111111111/action"
    " -H 'X-Auth-Token: alice:a-project' -H 'Content-Type: application/json' -d '{body}'\n"
)


@pytest.fixture(scope="module")
def base() -> Path:
    return prepare()


@pytest.fixture(scope="module")
def packages(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The three packages, built in a fresh Debian from the files that git knows, or would."""
    folder = tmp_path_factory.mktemp("build")
    root = Root(base, folder)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            root.add(f"build/source/{name}", ROOT / name)
    root.run("cd /build/source && dpkg-buildpackage -us -uc -b")
    return sorted((folder / "upper" / "build").glob("*.deb"))


@pytest.fixture
def debian(base: Path, packages: list[Path], tmp_path: Path) -> Root:
    """A fresh Debian with nova-api, and the packages in /build."""
    root = Root(base, tmp_path)
    for package in packages:
        root.add(f"build/{package.name}", package)
    return root


def test_three_packages_are_built(packages: list[Path]) -> None:
    names = [package.name.partition("_")[0] for package in packages]
    assert names == ["nova-imagefilter-gateway", "nova-imagefilter-relay", "python3-nova-imagefilter"]


def test_pip_is_not_the_way(debian: Root) -> None:
    """Debian's Python is managed by its packages (PEP 668): that is what the package is for."""
    assert "externally-managed-environment" in debian.run("python3 -m pip install --no-index nova-imagefilter || true")


def test_it_changes_no_other_package(debian: Root) -> None:
    listing = "dpkg-query -W -f '${Package} ${Version}\\n' | grep -v imagefilter | sha256sum\n"
    printed = debian.run(f"{listing}{PACKAGE} >/dev/null 2>&1\napt-get check -q >/dev/null\n{listing}")
    before, after = printed.splitlines()[-2:]
    assert before == after


def test_it_judges_in_debians_own_nova_api(debian: Root) -> None:
    debian.add("etc/nova/nova.conf", NOVA_CONF)
    script = f"set -e\n{PACKAGE}\nstat -c '%U:%G %a' /var/log/imagefilter\n{PASTE}"
    script += "imagefilter check --paste /etc/nova/api-paste.ini --user nova -f value -c Verdict\n"
    script += START_NOVA
    for path in ("/v2.1", "/v2"):
        script += ASK.format(path=path, body='{"createImage": {}}')
        script += ASK.format(path=path, body='{"createImage": {"name": "x"}}')
    printed = debian.run(f"{script}echo; cat /var/log/imagefilter/audit.jsonl")
    assert "nova:imagefilter-audit 2750" in printed
    assert "error" not in re.findall(r"^\w+$", printed, re.MULTILINE)
    assert printed.count('"createImage entity requires name attribute", "code": 400}} 400') == 2
    assert printed.count("Instance 11111111-1111-4111-8111-111111111111 could not be found.") >= 2
    records = parse_requests(line for line in printed.splitlines() if line.startswith('{"typeURI"'))
    contents = [record["attachments"][0]["content"] for record in records]
    assert [content.get("verdict", content.get("status")) for content in contents] == ["deny", "allow", 404] * 2


def test_the_pages_block_makes_the_journals_directory(debian: Root) -> None:
    page = (DOCS / "deploy.md").read_text()
    section = page[page.index("## The journal's directory") :]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ")][:2]
    assert lines[0].startswith("groupadd")
    commands = "\n".join(lines)
    printed = debian.run(f"set -e\n{commands}\n{PACKAGE}\nstat -c '%U:%G %a' /var/log/imagefilter")
    assert "nova:imagefilter-audit 2750" in printed


def test_the_journal_rotates_by_the_packages_file(debian: Root) -> None:
    script = f"""set -e
        {PACKAGE}
        runuser -u nova -- sh -c 'echo "{{}}" > /var/log/imagefilter/audit.jsonl'
        logrotate --force /etc/logrotate.d/python3-nova-imagefilter
        ls /var/log/imagefilter"""
    assert re.search(r"^audit\.jsonl-\d{8}$", debian.run(script), re.MULTILINE)


def test_the_gateway_starts_as_its_unit_says(debian: Root) -> None:
    """On a host without Nova: there the journal's directory is the gateway's."""
    script = f"""set -e
        userdel nova
        {PACKAGE} /build/nova-imagefilter-gateway_*_all.deb
        stat -c '%U:%G %a' /etc/imagefilter/gateway.ini
        export $(sed -n 's/^Environment=//p' /usr/lib/systemd/system/imagefilter-gateway.service \
            /usr/lib/systemd/system/imagefilter-gateway.service.d/debian.conf)
        command=$(sed -n '/^ExecStart=.\\+/,$p' /usr/lib/systemd/system/imagefilter-gateway.service.d/debian.conf)
        eval "runuser -u imagefilter -- ${{command#ExecStart=}}" >/tmp/log 2>&1 &
        for _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:8784/healthcheck/live && break; sleep 0.2; done
        curl -si http://127.0.0.1:8784/healthcheck/live || cat /tmp/log
        """
    printed = debian.run(script)
    assert "root:imagefilter 640" in printed
    assert "HTTP/1.1 200 OK" in printed, printed


def test_the_relay_reads_a_journal(debian: Root) -> None:
    script = f"""set -e
        {PACKAGE} /build/nova-imagefilter-relay_*_all.deb
        id -nG imagefilter-relay
        runuser -u nova -- sh -c 'echo "{{}}" > /var/log/imagefilter/audit.jsonl'
        runuser -u imagefilter-relay -- imagefilter relay --once --dry-run --journal /var/log/imagefilter/audit.jsonl
        grep ExecStart= /usr/lib/systemd/system/imagefilter-relay.service"""
    printed = debian.run(script)
    assert "imagefilter-audit" in printed
    assert "ExecStart=/usr/bin/imagefilter relay" in printed
