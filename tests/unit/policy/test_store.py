"""A changed config file takes effect without a restart; a bad one never does."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import pytest

from imagefilter import filter_factory
from imagefilter.policy import store
from imagefilter.policy.config import ConfigError
from imagefilter.policy.policy import Policy
from imagefilter.policy.store import PolicyStore
from imagefilter.rules.table import load_policy
from tests.cases import image
from tests.records import parse_requests
from tests.unit.fakes import PATH, Guarded, read_lines

_ages = itertools.count(1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A config file that allows one metadata item."""
    path = tmp_path / "imagefilter.conf"
    write_quota(path, 1)
    return path


def write_quota(path: Path, items: int) -> None:
    """Replace a config file by one whose quota and pattern belong together."""
    replace(path, f"[imagefilter]\nmetadata_items = {items}\nname_pattern = name-{items}\nreload_interval = 0\n")


def replace(path: Path, text: str) -> None:
    """Write a file anew and rename it into place, each time with another age of many days."""
    new = path.with_suffix(".new")
    new.write_text(text)
    written = time.time() - 1e6 + next(_ages)
    os.utime(new, (written, written))
    os.replace(new, path)


def guard(path: Path, **options: str) -> Guarded:
    return Guarded(oslo_config_file=str(path), **options)


def find_quota(guarded: Guarded) -> int:
    """Return the quota in force, found out by sending requests."""
    for items in range(20):
        metadata = {str(number): "" for number in range(items)}
        if guarded.post(image(f"name-{items}", metadata)).status_int == 202:
            return items
    raise AssertionError("every request was refused")


def test_a_change_takes_effect(path: Path) -> None:
    guarded = guard(path)
    assert find_quota(guarded) == 1
    write_quota(path, 5)
    assert find_quota(guarded) == 5


def test_follows_symbolic_links(path: Path, tmp_path: Path) -> None:
    """Kubernetes mounts config maps as such."""
    other = tmp_path / "other.conf"
    write_quota(other, 7)
    link = tmp_path / "link.conf"
    link.symlink_to(path)
    guarded = guard(link)
    assert find_quota(guarded) == 1
    link.unlink()
    link.symlink_to(other)
    assert find_quota(guarded) == 7


def assert_keeps_the_previous_policy(guarded: Guarded, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Assert that a bad file is logged once, and that a good one is read after it."""
    assert [find_quota(guarded) for _ in range(3)] == [1] * 3
    [error] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert str(path) in error
    assert "keeping the previous configuration" in error
    write_quota(path, 3)
    assert find_quota(guarded) == 3


@pytest.mark.parametrize(
    "text",
    [
        "[imagefilter]\nmetadata_items = x\n",
        "[imagefilter\n",
        "[imagefilter]\nnonsense = 1\n",
        "[imagefilter]\n",
        "#\n",
    ],
)
def test_a_bad_file_is_logged_once_and_the_previous_policy_stays(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = guard(path)
    replace(path, text)
    assert_keeps_the_previous_policy(guarded, path, caplog)


def test_a_removed_file_is_logged_once_and_the_previous_policy_stays(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = guard(path)
    path.unlink()
    assert_keeps_the_previous_policy(guarded, path, caplog)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths whose status is read."""
    checked: list[str] = []
    original = os.stat

    def stat(name: Any, **options: Any) -> os.stat_result:
        checked.append(str(name))
        return original(name, **options)

    monkeypatch.setattr(os, "stat", stat)
    return checked


def test_only_an_image_action_checks_the_file(path: Path, checked: list[str]) -> None:
    guarded = guard(path, reload_interval="0")
    checked.clear()
    for method, document in (("GET", b""), ("POST", {"lock": None}), ("PUT", {"server": {}})):
        guarded.send(method, PATH, document)
    assert str(path) not in checked
    guarded.post(image())
    assert checked.count(str(path)) == 1


def test_checks_the_file_once_an_interval(path: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = types.SimpleNamespace(monotonic=lambda: 100.0, time=time.time)
    monkeypatch.setattr(store, "time", clock)
    guarded = guard(path, reload_interval="1000")
    checked.clear()
    guarded.post(image())
    clock.monotonic = lambda: 1099.9
    guarded.post(image())
    assert str(path) not in checked
    clock.monotonic = lambda: 1100.0
    guarded.post(image())
    guarded.post(image())
    assert checked.count(str(path)) == 1


def test_the_list_of_actions_may_change(path: Path) -> None:
    guarded = guard(path)
    assert guarded.post({"shelve": None}).status_int == 202
    replace(path, "[imagefilter]\nactions = shelve\nsnapshots_enabled = false\nreload_interval = 0\n")
    # Off the action path as well, and before any other image action came.
    assert guarded.send("PUT", f"{PATH}?_method=POST", {"shelve": None}).status_int == 400
    assert guarded.post({"shelve": None}).status_int == 400
    assert guarded.post(image("anything")).status_int == 202


def test_a_bad_file_stops_loading(path: Path) -> None:
    replace(path, "[imagefilter]\nnonsense = 1\n")
    with pytest.raises(ConfigError):
        PolicyStore({"oslo_config_file": str(path)}, "the paste section", load_policy)


def test_leaves_a_file_alone_while_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that writes in place: half of the new file, or nothing of it, may well be a valid one."""
    clock = types.SimpleNamespace(monotonic=time.monotonic, time=lambda: path.stat().st_mtime + 0.9)
    monkeypatch.setattr(store, "time", clock)
    guarded = guard(path)
    for text in ("", "[imagefilter]\n", "[imagefilter]\nmetadata_items = 5\nreload_interval = 0\n"):
        path.write_text(text)
        assert guarded.post(image("name-1", {"k": "v"})).status_int == 202
        assert guarded.post(image("another", {"k": "v"})).status_int == 403, "the old pattern"
    clock.time = lambda: path.stat().st_mtime + 1.1
    assert guarded.post(image("another", {str(number): "v" for number in range(5)})).status_int == 202


class Interrupted:
    """Loads a policy; somebody else changes its file once, before or after it is read."""

    def __init__(self) -> None:
        self.before: Callable[[], None] = do_nothing
        self.after: Callable[[], None] = do_nothing

    def __call__(self, paste: Mapping[str, str], location: str) -> Policy:
        before, self.before = self.before, do_nothing
        before()
        policy = load_policy(paste, location)
        after, self.after = self.after, do_nothing
        after()
        return policy


def do_nothing() -> None:
    pass


def test_reads_a_file_again_that_changes_while_it_is_read(path: Path) -> None:
    load = Interrupted()
    policies = PolicyStore({"oslo_config_file": str(path)}, "the paste section", load)
    write_quota(path, 2)
    load.after = lambda: write_quota(path, 3)
    assert policies.current().settings.metadata_items == 1
    assert policies.current().settings.metadata_items == 3


def test_reads_a_file_again_that_appears_while_it_is_looked_for(path: Path) -> None:
    load = Interrupted()
    policies = PolicyStore({"oslo_config_file": str(path)}, "the paste section", load)
    path.unlink()
    load.before = lambda: write_quota(path, 2)
    assert policies.current().settings.metadata_items == 1
    assert policies.current().settings.metadata_items == 2


class Hammer(threading.Thread):
    """Asks for the policy again and again, and keeps the failure if one is not whole."""

    def __init__(self, policies: PolicyStore) -> None:
        super().__init__()
        self.policies = policies
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self.quotas: set[int] = set()

    def run(self) -> None:
        try:
            while not self.stop.wait(0.0005):
                self._check()
        except BaseException as failure:
            self.failure = failure

    def _check(self) -> None:
        settings = self.policies.current().settings
        assert settings.name_pattern == f"name-{settings.metadata_items}"
        assert settings.name_matches
        assert settings.name_matches(f"name-{settings.metadata_items}")
        self.quotas.add(settings.metadata_items)


@pytest.mark.slow
def test_each_request_sees_one_whole_policy_in_a_storm_of_changes(path: Path) -> None:
    """Pattern and quota change together, so that a mixture of two files would be seen."""
    policies = PolicyStore({"oslo_config_file": str(path)}, "the paste section", load_policy)
    hammers = [Hammer(policies) for _ in range(8)]
    for hammer in hammers:
        hammer.start()
    chance = random.Random(1)
    changes = (
        lambda: write_quota(path, chance.randint(1, 9)),
        lambda: write_quota(path, chance.randint(1, 9)),
        lambda: replace(path, "[imagefilter]\nmetadata_items = x\n"),
        lambda: path.write_text("[imagefilter]\nmetadata_items = 5\nname_pat"),
        lambda: path.unlink(missing_ok=True),
    )
    deadline = time.monotonic() + 60
    for step in itertools.count():
        chance.choice(changes)()
        time.sleep(0.002)  # about the time of a reload
        if step >= 1000 and all_quotas(hammers) == set(range(1, 10)):
            break
        assert time.monotonic() < deadline, "not every file took effect"
    for hammer in hammers:
        hammer.stop.set()
        hammer.join()
    assert [hammer.failure for hammer in hammers] == [None] * 8


def all_quotas(hammers: list[Hammer]) -> set[int]:
    return set().union(*(hammer.quotas for hammer in hammers))


# --- the journal


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("audit.jsonl", "it is not an absolute path"),
        ("{tmp_path}/gone/audit.jsonl", "the directory {tmp_path}/gone does not exist (for user "),
        ("{tmp_path}/fifo", "is not a regular file"),
        ("{tmp_path}/folder", "is not a regular file"),
        ("/dev/null", "is not a regular file"),
    ],
)
def test_an_unusable_journal_stops_loading(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    journal = name.format(tmp_path=tmp_path)
    with pytest.raises(ConfigError) as caught:
        filter_factory({"__file__": "/etc/nova/api-paste.ini"}, audit_journal=journal)
    assert f"audit_journal = {journal} in " in str(caught.value)
    assert "/etc/nova/api-paste.ini" in str(caught.value)
    assert reason.format(tmp_path=tmp_path) in str(caught.value)


def test_a_reload_may_change_the_journal(path: Path, tmp_path: Path) -> None:
    replace(path, f"[imagefilter]\naudit_journal = {tmp_path}/one.jsonl\n")
    guarded = guard(path, reload_interval="0")
    guarded.post(image())
    replace(path, f"[imagefilter]\naudit_journal = {tmp_path}/gone/two.jsonl\n")
    guarded.post(image())
    replace(path, f"[imagefilter]\naudit_journal = {tmp_path}/three.jsonl\n")
    guarded.post(image())
    assert count_requests(tmp_path / "one.jsonl") == 4
    assert count_requests(tmp_path / "three.jsonl") == 2


def count_requests(journal: Path) -> int:
    """Return the number of records of requests in a journal."""
    return len(parse_requests(read_lines(journal)))


# --- what loading logs


def test_logs_what_is_judged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    filter_factory({}, snapshots_enabled="false")
    assert "createImage, createBackup" in caplog.text
    assert "snapshots_enabled: false" in caplog.text


def test_warns_of_what_is_not_enforced(caplog: pytest.LogCaptureFixture) -> None:
    filter_factory({}, rule_modes="name-format:warn,metadata-quota:off")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "audit_journal is not set" in warnings[0]
    assert "name-format:warn, metadata-quota:off" in warnings[1]
