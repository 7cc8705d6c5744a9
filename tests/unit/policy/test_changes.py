"""A policy does not loosen itself: files that are gone or empty, and options that are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest

from imagefilter.policy import files
from imagefilter.policy.store import PolicyStore
from imagefilter.rules.table import load_policy
from tests.unit.policy.test_store import replace

TENANT = "[imagefilter:project:aaaa]\nsnapshots_enabled = false\n"
COMMON = "[imagefilter]\nreload_interval = 0\nmetadata_items = 5\n"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config directory: one file for all projects, one for a tenant's."""
    directory = tmp_path / "conf.d"
    directory.mkdir()
    replace(directory / "00-common.conf", COMMON)
    replace(directory / "10-tenant.conf", TENANT)
    monkeypatch.setattr(files.cfg, "find_config_files", lambda project, program: [])
    monkeypatch.setattr(files.cfg, "find_config_dirs", lambda project, program: [str(directory)])
    return directory


@pytest.fixture
def store(directory: Path) -> PolicyStore:
    return PolicyStore({"oslo_config_project": "imagefilter"}, "the paste section", load_policy)


def is_open(store: PolicyStore) -> bool:
    """Return whether the tenant may make images."""
    return store.current().for_project("aaaa").snapshots_enabled


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def cut_to_a_header(path: Path) -> None:
    replace(path, TENANT.partition("\n")[0] + "\n")


def cut_to_a_name(path: Path) -> None:
    """An empty value unsets."""
    replace(path, TENANT.partition("=")[0] + "=")


def comment_out(path: Path) -> None:
    replace(path, "".join(f"# {line}\n" for line in TENANT.splitlines()))


def leave_to_another_program(path: Path) -> None:
    replace(path, "[database]\nconnection = x\n")


def dangle(path: Path) -> None:
    """As a config map's link does for a moment."""
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    os.utime(path, (1e9, 1e9))


def rename_out_of_the_list(path: Path) -> None:
    path.rename(path.with_suffix(".conf.bak"))


def put_back(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    replace(path, TENANT)


ACCIDENTS: list[Callable[[Path], Any]] = [
    Path.unlink,
    lambda path: replace(path, ""),
    lambda path: replace(path, "\n\n"),
    lambda path: replace(path, "\0" * 200),
    lambda path: replace(path, TENANT[:14]),
    lambda path: replace(path, TENANT.partition("\n")[0] + "\0" * 200),
    cut_to_a_header,
    cut_to_a_name,
    comment_out,
    leave_to_another_program,
    dangle,
    replace_by_a_directory,
    rename_out_of_the_list,
]


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_file_that_sets_nothing_any_more_keeps_the_last_good_policy(
    accident: Callable[[Path], Any], directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = directory / "10-tenant.conf"
    accident(path)
    assert [is_open(store) for _ in range(3)] == [False] * 3
    [error] = errors_in(caplog)
    assert str(path) in error
    # Nor does another file's edit take effect meanwhile: a policy is one.
    replace(directory / "00-common.conf", COMMON.replace("5", "6"))
    assert (is_open(store), store.current().settings.metadata_items) == (False, 5)


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_all_that_waited_takes_effect_when_the_file_is_back(
    accident: Callable[[Path], Any], directory: Path, store: PolicyStore
) -> None:
    accident(directory / "10-tenant.conf")
    replace(directory / "00-common.conf", COMMON.replace("5", "6"))
    assert store.current().settings.metadata_items == 5
    put_back(directory / "10-tenant.conf")
    assert (is_open(store), store.current().settings.metadata_items) == (False, 6)


def test_two_files_are_emptied_at_once(directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture) -> None:
    replace(directory / "00-common.conf", "")
    (directory / "10-tenant.conf").unlink()
    assert (is_open(store), store.current().settings.metadata_items) == (False, 5)
    [error] = errors_in(caplog)
    assert f"{directory}/00-common.conf, {directory}/10-tenant.conf" in error
    # One of them comes back: the other is still missed.
    replace(directory / "00-common.conf", COMMON.replace("5", "6"))
    assert (is_open(store), store.current().settings.metadata_items) == (False, 5)
    put_back(directory / "10-tenant.conf")
    assert (is_open(store), store.current().settings.metadata_items) == (False, 6)


def test_the_error_says_how_to_empty_a_file_on_purpose(
    directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture
) -> None:
    comment_out(directory / "10-tenant.conf")
    store.current()
    [error] = errors_in(caplog)
    assert "restart the process" in error


def test_it_sets_options_again(directory: Path, store: PolicyStore) -> None:
    path = directory / "10-tenant.conf"
    replace(path, "")
    assert not is_open(store)
    replace(path, TENANT.replace("false", "true"))
    assert is_open(store)


def test_a_new_process_takes_what_is_there(directory: Path) -> None:
    (directory / "10-tenant.conf").unlink()
    assert is_open(PolicyStore({"oslo_config_project": "imagefilter"}, "the paste section", load_policy))


def test_the_whole_directory_is_gone(directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture) -> None:
    directory.rename(directory.with_name("elsewhere"))
    assert not is_open(store)
    [error] = errors_in(caplog)
    assert "00-common.conf" in error
    assert "10-tenant.conf" in error


def test_a_renamed_file_is_an_edit(directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture) -> None:
    path = directory / "10-tenant.conf"
    path.rename(directory / "20-tenant.conf")
    replace(directory / "00-common.conf", COMMON.replace("5", "6"))
    assert (is_open(store), store.current().settings.metadata_items) == (False, 6)
    assert errors_in(caplog) == []


def test_the_options_of_a_renamed_file_are_not_logged_as_gone(
    directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "10-tenant.conf").rename(directory / "20-tenant.conf")
    assert not is_open(store)
    assert "the configuration was reloaded" in caplog.text
    assert " is gone" not in caplog.text


def test_a_renamed_file_is_missed_under_its_new_name(
    directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "10-tenant.conf").rename(directory / "20-tenant.conf")
    store.current()
    replace(directory / "20-tenant.conf", "")
    assert not is_open(store)
    [error] = errors_in(caplog)
    assert "20-tenant.conf" in error


def test_a_renamed_file_with_another_value_is_an_accident(directory: Path, store: PolicyStore) -> None:
    """A file of the same options need not be the same file under another name."""
    (directory / "10-tenant.conf").unlink()
    replace(directory / "05-tenant.conf", TENANT.replace("false", "true"))
    assert not is_open(store)


def test_a_file_whose_options_were_overridden_anyway_may_go(directory: Path) -> None:
    replace(directory / "05-old.conf", TENANT.replace("false", "true"))
    store = PolicyStore({"oslo_config_project": "imagefilter"}, "the paste section", load_policy)
    (directory / "05-old.conf").unlink()
    replace(directory / "00-common.conf", COMMON.replace("5", "6"))
    assert (is_open(store), store.current().settings.metadata_items) == (False, 6)


def test_a_new_file_is_an_edit(directory: Path, store: PolicyStore) -> None:
    replace(directory / "30-more.conf", "[imagefilter:project:bbbb]\nsnapshots_enabled = false\n")
    assert not store.current().for_project("bbbb").snapshots_enabled


def test_the_switch_for_emergencies_works_all_the_same(directory: Path, store: PolicyStore) -> None:
    (directory / "10-tenant.conf").unlink()
    replace(directory / "00-common.conf", f"{COMMON}mode = off\n")
    assert not store.current().settings.judging


def test_the_switch_works_beside_a_file_that_can_not_be_read(directory: Path, store: PolicyStore) -> None:
    dangle(directory / "10-tenant.conf")
    replace(directory / "00-common.conf", f"{COMMON}mode = off\n")
    assert not store.current().settings.judging


@pytest.mark.parametrize("accident", [*ACCIDENTS, lambda path: replace(path, "[imagefilter]\nmetadata_items = 5\nmo")])
def test_an_accident_is_not_the_switch(
    accident: Callable[[Path], Any], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One file has the filter off until the next one, which is lost, turns it on."""
    replace(directory / "00-common.conf", f"{COMMON}mode = off\n")
    replace(directory / "10-tenant.conf", f"[imagefilter]\nmode = enforce\n{TENANT}")
    store = PolicyStore({"oslo_config_project": "imagefilter"}, "the paste section", load_policy)
    accident(directory / "10-tenant.conf")
    assert [store.current().settings.mode for _ in range(3)] == ["enforce"] * 3
    [error] = errors_in(caplog)
    assert "10-tenant.conf" in error


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_project_that_is_judged_while_others_are_not_stays_so(
    accident: Callable[[Path], Any], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replace(directory / "10-tenant.conf", f"{TENANT}mode = enforce\n")
    paste = {"oslo_config_project": "imagefilter", "mode": "off"}
    store = PolicyStore(paste, "the paste section", load_policy)
    accident(directory / "10-tenant.conf")
    assert [store.current().for_project("aaaa").mode for _ in range(3)] == ["enforce"] * 3
    [error] = errors_in(caplog)
    assert "10-tenant.conf" in error


def test_a_switch_that_is_taken_out_again_is_an_edit(directory: Path) -> None:
    replace(directory / "00-common.conf", f"{COMMON}mode = off\n")
    replace(directory / "10-tenant.conf", f"[imagefilter]\nmode = enforce\n{TENANT}")
    store = PolicyStore({"oslo_config_project": "imagefilter"}, "the paste section", load_policy)
    replace(directory / "10-tenant.conf", TENANT)
    assert store.current().settings.mode == "off"


def test_each_option_that_went_is_logged(directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture) -> None:
    path = directory / "10-tenant.conf"
    replace(path, f"{TENANT}mode = warn\n[imagefilter:project:bbbb]\nmetadata_items = 1\n")
    store.current()
    replace(path, "[imagefilter:project:aaaa]\nmode = warn\n")
    assert is_open(store), "an edit, since the file still sets others"
    messages = [record.getMessage() for record in caplog.records if record.getMessage().endswith(" is gone")]
    assert messages == [
        f"section [imagefilter:project:bbbb] of {path} is gone",
        f"snapshots_enabled in section [imagefilter:project:aaaa] of {path} is gone",
    ]


def test_an_option_that_is_emptied_is_logged(
    directory: Path, store: PolicyStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = directory / "10-tenant.conf"
    replace(path, "[imagefilter:project:aaaa]\nmetadata_items = 1\nsnapshots_enabled =\n")
    assert is_open(store), "an edit, since the file still sets another"
    assert f"snapshots_enabled in section [imagefilter:project:aaaa] of {path} is gone" in caplog.text


def test_a_config_map_is_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Kubernetes: each file is a link through ``..data``, a link to the version in force."""
    mount = tmp_path / "mount"
    for version, text in (("..1", TENANT), ("..2", TENANT + "metadata_items = 1\n")):
        (mount / version).mkdir(parents=True)
        replace(mount / version / "10.conf", text)
    (mount / "10.conf").symlink_to("..data/10.conf")
    (mount / "..data").symlink_to("..1")
    monkeypatch.setattr(files.cfg, "find_config_files", lambda project, program: [])
    monkeypatch.setattr(files.cfg, "find_config_dirs", lambda project, program: [str(mount)])
    paste = {"oslo_config_project": "imagefilter", "reload_interval": "0"}
    store = PolicyStore(paste, "the paste section", load_policy)
    (mount / "..data").unlink()
    assert [is_open(store) for _ in range(3)] == [False] * 3
    [error] = errors_in(caplog)
    assert str(mount / "10.conf") in error
    (mount / "..data").symlink_to("..2")
    settings = store.current().for_project("aaaa")
    assert (settings.snapshots_enabled, settings.metadata_items) == (False, 1)


def test_a_single_file_that_is_cut_between_two_sections_is_an_edit_that_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "imagefilter.conf"
    replace(path, COMMON + TENANT)
    store = PolicyStore({"oslo_config_file": str(path)}, "the paste section", load_policy)
    assert not is_open(store)
    replace(path, COMMON)
    assert is_open(store)
    assert f"section [imagefilter:project:aaaa] of {path} is gone" in caplog.text


def test_a_file_that_can_not_be_read(directory: Path, store: PolicyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory / "10-tenant.conf"
    replace(path, TENANT)
    original = open

    def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file) == str(path):
            raise PermissionError(13, os.strerror(13), str(path))
        return original(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    assert not is_open(store)


def test_a_bad_file_that_vanishes_while_it_is_read(
    directory: Path, store: PolicyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = directory / "10-tenant.conf"
    replace(path, "[imagefilter")
    original = files.cfg.ConfigParser.parse

    def parse_and_remove(parser: Any) -> None:
        try:
            original(parser)
        finally:
            if parser.filename == str(path):
                path.unlink()

    monkeypatch.setattr(files.cfg.ConfigParser, "parse", parse_and_remove)
    assert not is_open(store)
    [error] = errors_in(caplog)
    assert str(path) in error
