"""``imagefilter check``: the one preflight."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.ports import find_free_port

pytest.importorskip("cliff")
pytest.importorskip("paste.deploy")

PASTE = """
[DEFAULT]
{default}
[composite:osapi_compute]
use = call:nova.api.openstack.urlmap:urlmap_factory
/v2.1 = current
[pipeline:current]
pipeline = authtoken imagefilter api
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
[filter:imagefilter]
paste.filter_factory = imagefilter:filter_factory
{options}
[app:api]
paste.app_factory = nova.api.openstack.compute:APIRouterV21.factory
"""
GATEWAY = """
[pipeline:main]
pipeline = imagefilter compute
[filter:imagefilter]
paste.filter_factory = imagefilter:filter_factory
[app:compute]
use = egg:nova-imagefilter#gateway
{options}
"""


@pytest.fixture
def paste(tmp_path: Path) -> Any:
    """Write a paste file."""

    def write(options: str = "", default: str = "", text: str = PASTE) -> Path:
        path = tmp_path / "api-paste.ini"
        path.write_text(text.format(options=options, default=default))
        return path

    return write


def test_a_good_paste_file(paste: Any, tmp_path: Path, run: Any) -> None:
    journal = tmp_path / "audit.jsonl"
    check = run("check", "--paste", paste(f"audit_journal = {journal}"), "-f", "json")
    assert check.status == 0
    assert "error:" not in check.err
    assert [(row["Checked"], row["Verdict"]) for row in check.rows] == [
        ("[pipeline:current] pipeline", "OK"),
        ("[filter:imagefilter]", "loads"),
    ]
    in_force = "createImage, createBackup by policy [0-9a-f]{16} of no config file; journal: "
    assert re.fullmatch(f"{in_force}{journal}; mode: enforce", check.rows[1]["In force"])
    assert not journal.exists(), "nothing is created"


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ("metadata_itms = 5", "error: unknown option 'metadata_itms' in section [filter:imagefilter] of"),
        ("metadata_items = 5  # five", "error: metadata_items = 5  # five in section [filter:imagefilter] of"),
        ("name_pattern = 100%", "error: name_pattern in section [filter:imagefilter] of"),
        ("name_pattern = %(nowhere)s", "error: name_pattern in section [filter:imagefilter] of"),
        ("name_pattern = [a-z]+  ; lower case", "warning: all projects: name_pattern = [a-z]+  ; lower case"),
        ('mode = "warn"', 'error: mode = "warn" in section'),
        ('exempt_roles = "backup"', 'warning: all projects: exempt_roles = "backup" in section'),
        ("oslo_config_file = /nowhere.conf", "error: config file /nowhere.conf: No such file or directory"),
        ("audit_journal = /nowhere/audit.jsonl", "error: audit_journal = /nowhere/audit.jsonl in section"),
        ("get mode = nowhere", "error: section [filter:imagefilter] of"),
    ],
)
def test_each_trap_of_a_paste_section(paste: Any, options: str, finding: str, run: Any) -> None:
    check = run("check", "--paste", paste(options))
    assert finding in check.err
    assert check.status == 2 * finding.startswith("error")
    assert "Traceback" not in check.err


def test_an_option_in_default_has_no_effect(paste: Any, run: Any) -> None:
    check = run("check", "--paste", paste(default="snapshots_enabled = false"))
    assert "warning: snapshots_enabled in section [DEFAULT] of" in check.err


def test_a_journal_that_is_not_required_is_a_warning(paste: Any, run: Any) -> None:
    check = run("check", "--paste", paste("audit_journal = /nowhere/audit.jsonl\nmode = warn"))
    assert check.status == 0
    assert "warning: audit_journal = /nowhere/audit.jsonl" in check.err


def test_a_gateway(paste: Any, run: Any) -> None:
    pytest.importorskip("urllib3")
    good = run("check", "--paste", paste("compute_url = http://127.0.0.1:9", text=GATEWAY), "-f", "json")
    assert (good.status, good.rows[-1]["In force"]) == (0, "the compute API at 127.0.0.1, port 9")
    bad = run("check", "--paste", paste("compute_ulr = x", text=GATEWAY))
    assert bad.status == 2
    assert "error: unknown option 'compute_ulr' in section [app:compute] of" in bad.err
    assert "error: compute_url is not set" in bad.err


def test_a_gateway_that_answers_before_it_has_read(paste: Any, run: Any) -> None:
    pytest.importorskip("urllib3")
    path = paste("compute_url = http://127.0.0.1:9", text=GATEWAY)
    warning = f"warning: [app:compute]: no filter of {path} is egg:nova-imagefilter#read_body"
    assert warning in run("check", "--paste", path).err
    path.write_text(f"{path.read_text()}\n[filter:first]\nuse = egg:nova-imagefilter#read_body\n")
    assert warning not in run("check", "--paste", path).err


def test_the_app_behind_a_paste_file_is_no_part_of_its_path(paste: Any, run: Any) -> None:
    """As the gateway's unit calls it: with the value of IMAGEFILTER_PASTE."""
    assert run("check", "--paste", f"{paste()}#main").status == 0


@pytest.mark.parametrize("section", ["app:other", "filter:other"])
def test_another_file_that_can_not_be_read_is_one_line(paste: Any, section: str, run: Any) -> None:
    path = paste()
    path.write_text(f"{path.read_text()}\n[{section}]\nuse = config:nowhere.ini\n")
    check = run("check", "--paste", path)
    assert check.status == 2
    [error] = [line for line in check.err.splitlines() if "nowhere.ini" in line]
    assert error.startswith("error: ")


def test_no_pipeline_hides_no_error_of_a_section(paste: Any, run: Any) -> None:
    pytest.importorskip("urllib3")
    path = paste("compute_ulr = x", text="[app:other]\nuse = egg:nova-imagefilter#gateway\n{options}\n")
    check = run("check", "--paste", path)
    assert check.status == 2
    assert "no pipeline ends in a compute API" in check.err
    assert "unknown option 'compute_ulr'" in check.err


AUTHTOKEN = "[filter:tokens]\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory\n"


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        ("", []),
        ("memcached_servers = ", []),
        ("memcached_servers = unix:/run/m.sock\nmemcache_security_strategy = ENCRYPT\nmemcache_secret_key = x", []),
        ("memcached_servers = unix:/run/m.sock", ["memcache_security_strategy is not ENCRYPT"]),
        (
            "memcached_servers = unix:/m.sock\nmemcache_security_strategy = ENCRYPT\nmemcache_secret_key = change-me",
            ["memcache_secret_key is not set to a secret of yours"],
        ),
        (
            "memcached_servers = 127.0.0.1:11211, unix:/run/m.sock\nmemcache_security_strategy = MAC",
            ["memcached_servers = 127.0.0.1:11211: whoever", "memcache_security_strategy is not ENCRYPT"],
        ),
    ],
)
def test_a_token_cache_that_lets_others_in(paste: Any, options: str, warnings: list[str], run: Any) -> None:
    path = paste()
    path.write_text(f"{path.read_text()}\n{AUTHTOKEN}{options}\n")
    check = run("check", "--paste", path)
    found = [line for line in check.err.splitlines() if "memcache" in line]
    assert len(found) == len(warnings)
    for line, beginning in zip(found, warnings):
        assert line.startswith(f"warning: {beginning}")
        assert line.endswith(f"(section [filter:tokens] of {path})")


SERVERS = "memcached_servers = 127.0.0.1:11211"
FACTORY = "paste.filter_factory = keystonemiddleware.auth_token:filter_factory"


@pytest.mark.parametrize(
    ("place", "sections"),
    [
        ("filter:tokens", f"[filter:tokens]\n{FACTORY}\n{SERVERS}"),
        ("filter:tokens", f"[filter:tokens]\n{FACTORY}\nset {SERVERS}"),
        ("filter:tokens", f"[filter:tokens]\n{FACTORY}\nmemcache_servers = 127.0.0.1:11211"),
        ("filter:tokens", f"[filter:tokens]\nuse = egg:keystonemiddleware#auth_token\n{SERVERS}"),
        ("filter:tokens", f"[filter:tokens]\nuse = call:keystonemiddleware.auth_token:filter_factory\n{SERVERS}"),
        ("filter:tokens", f"[filter:tokens]\nuse = base\n{SERVERS}\n[filter:base]\n{FACTORY}"),
        ("filter:base", f"[filter:tokens]\nuse = base\n[filter:base]\n{FACTORY}\n{SERVERS}"),
        ("DEFAULT", f"[filter:tokens]\n{FACTORY}"),
    ],
    ids=["own", "set", "old-name", "egg", "call", "over-another", "in-another", "default"],
)
def test_a_memcached_on_a_port_is_found_wherever_it_is_written(paste: Any, place: str, sections: str, run: Any) -> None:
    """All of these are spellings that auth_token understands, [DEFAULT] included."""
    default = {"DEFAULT": SERVERS}.get(place, "")
    path = paste(default=default)
    path.write_text(f"{path.read_text()}\n{sections}\n")
    found = [line for line in run("check", "--paste", path).err.splitlines() if "127.0.0.1:11211" in line]
    assert [line.rpartition(" (")[2] for line in found] == [f"section [{place}] of {path})"]


def test_a_socket_behind_a_reference_is_a_socket(paste: Any, run: Any) -> None:
    path = paste(default="cache = unix:/run/m.sock")
    options = "memcached_servers = %(cache)s\nmemcache_security_strategy = ENCRYPT\nmemcache_secret_key = x"
    path.write_text(f"{path.read_text()}\n{AUTHTOKEN}{options}\n")
    assert "memcache" not in run("check", "--paste", path).err


@pytest.mark.parametrize("strategy", ["", "None", "MAC", "encrypt"])
def test_a_strategy_that_does_not_encrypt(paste: Any, strategy: str, run: Any) -> None:
    """Written small, keystonemiddleware takes it and does not encrypt."""
    path = paste()
    options = f"memcached_servers = unix:/m.sock\nmemcache_security_strategy = {strategy}\nmemcache_secret_key = x"
    path.write_text(f"{path.read_text()}\n{AUTHTOKEN}{options}\n")
    assert "warning: memcache_security_strategy is not ENCRYPT (in capitals)" in run("check", "--paste", path).err


NOVA_CONF = "[DEFAULT]\n{line}\n[glance]\n[imagefilter]\nmetadata_items = 5\n"


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("", "location, instance_owner, backend"),
        ("non_inheritable_image_properties = cache_in_nova, location", "instance_owner, backend"),
        ("non_inheritable_image_properties = location,backend , instance_owner", ""),
    ],
)
def test_what_a_base_image_hands_on_in_nova_conf(paste: Any, config: Path, line: str, missing: str, run: Any) -> None:
    config.write_text(NOVA_CONF.format(line=line))
    err = run("check", "--paste", paste(f"oslo_config_file = {config}")).err
    expected = f"warning: non_inheritable_image_properties in section [DEFAULT] of {config} does not name {missing}: "
    assert (expected in err) == bool(missing)
    assert ("non_inheritable" in err) == bool(missing)
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    assert "non_inheritable" not in run("check", "--paste", paste(f"oslo_config_file = {config}")).err, "no nova.conf"


def test_stamps_that_a_base_image_hands_on_in_nova_conf(paste: Any, config: Path, run: Any) -> None:
    named = "non_inheritable_image_properties = location, backend, instance_owner, imagefilter_server, by"
    config.write_text(NOVA_CONF.format(line=named) + "image_expires = 30d\nmetadata_set = by:{user_id},on:{date}\n")
    err = run("check", "--paste", paste(f"oslo_config_file = {config}")).err
    missing = "imagefilter_stamped, imagefilter_record, imagefilter_expires, on"
    assert f"section [DEFAULT] of {config} does not name {missing}: images that the filter does not stamp" in err


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_stamps_that_no_image_gets(config: Path, run: Any, mode: str) -> None:
    config.write_text(f"[imagefilter]\nmetadata_set = team:blue\nimage_expires = 1d\nmode = {mode}\n")
    err = run("check", config).err
    assert f"metadata_set has no effect: with mode = {mode} the filter does not set it" in err
    assert f"image_expires has no effect: with mode = {mode} the filter does not set it" in err
    config.write_text("[imagefilter]\nmetadata_set = team:blue\nimage_expires = 1d\n")
    assert "has no effect" not in run("check", config).err


def test_a_quota_that_is_asked_as_the_caller(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nimage_quota_check = true\n")
    assert "warning: image_quota_check needs auth_token in front" in run("check", config).err


def test_a_required_key_that_the_filter_sets_itself(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_set = team:blue\nmetadata_required = Team\n")
    assert "metadata_required names Team, which the filter sets itself: every request" in run("check", config).err


def test_config_and_paste_file_together(paste: Any, config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = x\n")
    check = run("check", config, "--paste", paste("mode = x"))
    assert check.status == 2
    assert "metadata_items = x" in check.err
    assert "mode = x" in check.err


def test_strict_makes_warnings_count(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmode = warn\n")
    assert run("check", config).status == 0
    assert run("check", config, "--strict").status == 1


def test_nothing_to_check(run: Any) -> None:
    check = run("check")
    assert (check.status, check.err) == (2, "error: nothing to check: name a config file, --paste FILE, or both\n")


@pytest.mark.parametrize("path", ["/nowhere", "/"])
def test_a_paste_file_that_can_not_be_read(path: str, run: Any) -> None:
    check = run("check", "--paste", path)
    assert check.status == 2
    assert check.err.startswith("error: ")


# --- the address that a gateway listens on


def test_a_port_in_use_is_one_line(run: Any) -> None:
    with socket.socket() as listener:
        # Servers share a port with each other in silence.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        check = run("check", "--listen", address)
    assert check.status == 2
    host, _, port = address.rpartition(":")
    assert (
        f"error: port {port} of {host} is in use: end the process that listens there, or set another port\n"
        in check.err
    )
    assert run("check", "--listen", address).status == 0


@pytest.mark.parametrize(
    "address", ["8784", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:", "192.0.2.1:80"]
)
def test_an_address_that_is_none(address: str, run: Any) -> None:
    check = run("check", "--listen", address)
    assert check.status == 2
    assert check.err.startswith(f"error: {address} ")


# --- the pipeline of a gateway, loaded whole

FILTERS = """
[filter:first]
{factory}
[pipeline:first]
pipeline = first imagefilter compute
"""


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("paste.filter_factory = keystonemiddleware.nowhere:f", "ModuleNotFoundError: No module named 'keystonemi"),
        ("use = egg:nowhere", "PackageNotFoundError: "),
        ("use = egg:nova-imagefilter#nowhere", "LookupError: Entry point 'nowhere' not found"),
        ("paste.filter_factory = operator:add\nkey = secret%value", "key in section [filter:first] can't be read"),
        ("paste.filter_factory = operator:add\nlocal = 1", "TypeError: "),
    ],
)
def test_a_gateways_pipeline_that_does_not_load_is_one_line(
    factory: str, reason: str, paste: Any, tmp_path: Path, run: Any
) -> None:
    """Only the server's workers would find it, and crash one after the other."""
    pytest.importorskip("urllib3")
    text = GATEWAY.replace("pipeline:main", "pipeline:other") + FILTERS.replace("pipeline:first", "pipeline:main")
    path = paste("compute_url = http://127.0.0.1:9", text=text.replace("{factory}", factory))
    check = run("check", "--quiet", "--paste", path, "--listen", f"127.0.0.1:{find_free_port()}")
    [line] = [line for line in check.err.splitlines() if line.startswith("error: ")]
    assert (check.status, check.out) == (2, "")
    assert line.startswith(f"error: {path}")
    assert reason in line
    assert "secret" not in line


def test_a_gateways_pipeline_that_loads(paste: Any, run: Any) -> None:
    pytest.importorskip("urllib3")
    path = paste("compute_url = http://127.0.0.1:9", text=GATEWAY)
    check = run("check", "--paste", f"{path}#main", "--listen", f"127.0.0.1:{find_free_port()}", "-f", "json")
    assert (check.status, [row["Verdict"] for row in check.rows][-2:]) == (0, ["loads", "free"])


# --- as the user that will run it

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@needs_root
def test_root_is_told_that_it_may_do_everything(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    assert "warning: checked as root" in run("check", config).err


@needs_root
def test_checks_as_the_user_that_will_run_it(public: Path, run: Any) -> None:
    config = public / "imagefilter.conf"
    config.write_text(f"[imagefilter]\naudit_journal = {public}/audit.jsonl\n")
    config.chmod(0o644)
    assert run("check", config).status == 0
    check = run("check", config, "--user", "nobody")
    assert check.status == 2
    assert "is not readable and writable by user nobody" in check.err
    os.chown(public, 65534, 65534)
    allowed = run("check", config, "--user", "65534")
    assert (allowed.status, allowed.err) == (0, "")


@needs_root
def test_a_config_file_that_the_user_can_not_read(public: Path, run: Any) -> None:
    config = public / "imagefilter.conf"
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    config.chmod(0o600)
    check = run("check", config, "--user", "nobody")
    assert check.status == 2
    assert f"error: config file {config}: Permission denied" in check.err


def test_another_user_needs_root(config: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    check = run("check", config, "--user", "nobody")
    assert (check.status, check.err) == (
        2,
        "error: --user nobody: only root can check as another user: call it with sudo\n",
    )


@pytest.mark.parametrize("user", ["no-such-user", "4294967294"])
def test_a_user_that_does_not_exist(config: Path, user: str, run: Any) -> None:
    check = run("check", config, "--user", user)
    assert check.status == 2
    assert check.err.startswith(f"error: --user {user}: ")
