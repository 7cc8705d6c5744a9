"""Config files: misspelt sections, options in the wrong section, and files that set nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagefilter.policy.config import ConfigError
from imagefilter.policy.files import is_misspelt
from imagefilter.rules.table import load_policy
from tests.unit.fakes import Guarded

#: Sections of a nova.conf, from Nova's own configuration reference and from deployments.
NOVA_SECTIONS = """
    DEFAULT api api_database barbican cache cinder compute conductor console consoleauth cors cyborg database
    devices ephemeral_storage_encryption filter_scheduler glance guestfs healthcheck hyperv image_cache ironic
    key_manager keystone keystone_authtoken libvirt metrics mks neutron notifications os_vif_linux_bridge
    oslo_concurrency oslo_limit oslo_messaging_amqp oslo_messaging_notifications oslo_messaging_rabbit
    oslo_middleware oslo_policy oslo_reports osprofiler pci placement powervm privsep profiler profiler_jaeger quota
    rdp remote_debug scheduler serial_console service_user spice upgrade_levels vault vendordata_dynamic_auth
    vif_plug_ovs vmware vnc workarounds wsgi zvm image_file_url imagebackend
"""


def write(folder: Path, text: str) -> dict[str, str]:
    path = folder / "nova.conf"
    path.write_text(text)
    return {"oslo_config_file": str(path)}


@pytest.mark.parametrize(
    "section",
    [
        "imagfilter",
        "image_filter",
        "image-filter",
        "imagefilters",
        "Imagefilter",
        "IMAGEFILTER",
        "imgefilter",
        "imagefliter",
        "imagefilter ",
        "imagefilter:",
        "imagefilter:projects:abc",
        "imagefilter:Project:abc",
        "imagefilter project:abc",
        "imagefilter_realy",
        "image_filter_relay",
        "imagefilter-relay",
        "imagefilterrelay",
        "imagefilter.project.abc",
        "filter:imagefilter",
        "project:0123456789abcdef",
        "Rule:no-gpus",
    ],
)
def test_a_misspelt_section_is_an_error(section: str, tmp_path: Path) -> None:
    options = write(tmp_path, f"[imagefilter]\nmode = warn\n[{section}]\nsnapshots_enabled = false\n")
    with pytest.raises(ConfigError) as raised:
        load_policy(options)
    assert raised.value.errors[0].startswith(
        f"section [{section}] of {tmp_path}/nova.conf: unknown section (is it [image"
    )


@pytest.mark.parametrize("section", NOVA_SECTIONS.split())
def test_sections_of_nova_are_not_taken_for_misspelt(section: str) -> None:
    assert not is_misspelt(section)


@pytest.mark.parametrize(
    "line", ["snapshots_enabled = false", "metadata_reserved = x", "audit_journal = /var/log/imagefilter/audit.jsonl"]
)
def test_an_option_in_default_alone_is_an_error(line: str, tmp_path: Path) -> None:
    name = line.split(maxsplit=1)[0]
    with pytest.raises(ConfigError) as raised:
        load_policy(write(tmp_path, f"[DEFAULT]\ndebug = true\n{line}\n[api]\nmax_limit = 5\n"))
    location = f"section [DEFAULT] of {tmp_path}/nova.conf"
    assert raised.value.errors == [f"{name} in {location}: it has no effect there: set it in [imagefilter]"]


def test_default_is_not_looked_at_where_the_file_has_a_section_of_ours(tmp_path: Path) -> None:
    text = "[DEFAULT]\nmode = any\nactions = x\n[imagefilter]\nmetadata_items = 3\n"
    assert load_policy(write(tmp_path, text)).settings.metadata_items == 3


def test_an_option_that_nova_itself_had_in_default_is_no_error(tmp_path: Path) -> None:
    options = write(tmp_path, "[DEFAULT]\nallow_instance_snapshots = false\n")
    assert load_policy(options).settings.snapshots_enabled


@pytest.mark.parametrize("text", ["", "#\n", "[imagefilter]\n", "[DEFAULT]\ndebug = true\n"])
def test_a_file_that_sets_nothing_is_worth_a_warning(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Guarded(**write(tmp_path, text)).compute is not None
    expected = f"{tmp_path}/nova.conf sets no option of imagefilter: every option has its default"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"].count(expected) == 1


@pytest.mark.parametrize("line", ["mode = warn", "actions = shelve"])
def test_a_file_that_sets_something_is_not(line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Guarded(**write(tmp_path, f"[imagefilter]\n{line}\n")).compute is not None
    assert "sets no option" not in caplog.text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("snapshots-enabled = false", "unknown option 'snapshots-enabled' in {} (is it snapshots_enabled?)"),
        ("Snapshots_Enabled = false", "unknown option 'Snapshots_Enabled' in {} (is it snapshots_enabled?)"),
        (
            "audit_journal = $log_dir/audit.jsonl",
            "audit_journal in {}: $log_dir is not set in the config file (write $$ for a dollar sign)",
        ),
        ("name_pattern = ^x$y", "name_pattern in {}: $y is not set in the config file (write $$ for a dollar sign)"),
        ("metadata_items = many", "metadata_items = many in {}: not a whole number"),
        ("snapshots_enabled = perhaps", "snapshots_enabled = perhaps in {}: neither true nor false: 'perhaps'"),
    ],
)
def test_one_mistake_hides_no_other(line: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_policy(write(tmp_path, f"[imagefilter]\n{line}\nnonsense = 1\n"))
    location = f"section [imagefilter] of {tmp_path}/nova.conf"
    assert sorted(raised.value.errors) == sorted([reason.format(location), f"unknown option 'nonsense' in {location}"])


def test_a_log_dir_that_the_file_sets_is_substituted(tmp_path: Path) -> None:
    text = "[DEFAULT]\nlog_dir = /var/log/nova\n[imagefilter]\naudit_journal = $log_dir/audit.jsonl\n"
    assert load_policy(write(tmp_path, text)).audit_journal == "/var/log/nova/audit.jsonl"
