"""A changed config file takes effect without a restart; a bad one never."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from pathlib import Path

import pytest

from imagefilter.policy import ConfigError
from imagefilter.reload import PolicySource
from tests.cases import image
from tests.unit.small import PATH, Guarded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "imagefilter.conf"
    put(path, 1)
    return path


_ages = itertools.count(1)


def put(path: Path, items: int, text: str = "") -> None:
    """Write the file anew and rename it into place, as if some time ago."""
    new = path.with_suffix(".new")
    new.write_text(
        text or f"[imagefilter]\nmetadata_items = {items}\nname_pattern = name-{items}\nreload_interval = 0\n"
    )
    written = time.time() - 1e6 + next(_ages)
    os.utime(new, (written, written))
    os.replace(new, path)


def guarded(path: Path, **options: str) -> Guarded:
    return Guarded(oslo_config_file=str(path), **options)


def limit(app: Guarded) -> int:
    """The quota in force, found out by asking."""
    return next(n for n in range(20) if app.post(image(f"name-{n}", {str(i): "" for i in range(n)})).status_int == 202)


def test_a_change_takes_effect(path: Path) -> None:
    app = guarded(path)
    assert limit(app) == 1
    put(path, 5)
    assert limit(app) == 5


def test_a_symbolic_link_is_followed(path: Path, tmp_path: Path) -> None:
    """As Kubernetes hands out config maps."""
    other = tmp_path / "other.conf"
    put(other, 7)
    link = tmp_path / "link.conf"
    link.symlink_to(path)
    app = guarded(link)
    assert limit(app) == 1
    link.unlink()
    link.symlink_to(other)
    assert limit(app) == 7


@pytest.mark.parametrize(
    "bad",
    [
        "[imagefilter]\nmetadata_items = x\n",
        "[imagefilter\n",
        "[imagefilter]\nnonsense = 1\n",
        "[imagefilter]\n",
        "#\n",
        None,
    ],
)
def test_a_bad_file_is_logged_once_and_the_last_good_policy_stays(
    path: Path, bad: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    app = guarded(path)
    if bad is None:
        path.unlink()
    else:
        put(path, 0, bad)
    assert [limit(app) for _ in range(3)] == [1] * 3
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert str(path) in errors[0]
    assert "last good" in errors[0]
    put(path, 3)
    assert limit(app) == 3


def test_the_interval_is_kept_and_only_an_image_action_looks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    original = os.stat
    monkeypatch.setattr(os, "stat", lambda name, **rest: looks.append(str(name)) or original(name, **rest))
    app = guarded(path, reload_interval="0")
    looks.clear()
    for method, document in (("GET", b""), ("POST", {"lock": None}), ("PUT", {"server": {}})):
        app.send(method, PATH, document)
    assert str(path) not in looks
    app.post(image())
    assert looks.count(str(path)) == 1
    app = guarded(path, reload_interval="1000")
    looks.clear()
    app.post(image())
    assert str(path) not in looks


def test_the_actions_themselves_may_change(path: Path) -> None:
    app = guarded(path)
    assert app.post({"shelve": None}).status_int == 202
    put(path, 0, "[imagefilter]\nactions = shelve\nsnapshots_enabled = false\nreload_interval = 0\n")
    # Off the action path as well, and before any other image action came.
    assert app.send("PUT", f"{PATH}?_method=POST", {"shelve": None}).status_int == 400
    assert app.post({"shelve": None}).status_int == 400
    assert app.post(image("anything")).status_int == 202


def test_a_bad_file_at_the_start_stops_loading(path: Path) -> None:
    put(path, 0, "[imagefilter]\nnonsense = 1\n")
    with pytest.raises(ConfigError):
        PolicySource({"oslo_config_file": str(path)})


def test_a_file_that_is_being_written_is_left_alone(path: Path) -> None:
    """An editor that writes in place: half of the new file, or none of it, may well be a valid one."""
    app = guarded(path)
    for text in ("", "[imagefilter]\n", "[imagefilter]\nmetadata_items = 5\nreload_interval = 0\n"):
        path.write_text(text)
        assert app.post(image("name-1", {"k": "v"})).status_int == 202
        assert app.post(image("another", {"k": "v"})).status_int == 403, "the old pattern"
    time.sleep(1.1)
    assert app.post(image("another", {str(n): "v" for n in range(5)})).status_int == 202


class Hammer(threading.Thread):
    """Asks for the policy again and again, and notes whether each one is whole."""

    def __init__(self, source: PolicySource) -> None:
        super().__init__()
        self.source, self.stop, self.failure = source, threading.Event(), None
        self.seen: set[int] = set()

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                settings = self.source.current().settings
                assert settings.name_pattern == f"name-{settings.metadata_items}"
                assert settings.name_matches(f"name-{settings.metadata_items}")
                self.seen.add(settings.metadata_items)
                time.sleep(0.0005)
        except BaseException as failure:
            self.failure = failure


def test_under_a_storm_each_request_sees_one_whole_policy(path: Path) -> None:
    """Pattern and quota change together, so that a mixture of two files would be seen."""
    source = PolicySource({"oslo_config_file": str(path)})
    hammers = [Hammer(source) for _ in range(8)]
    for hammer in hammers:
        hammer.start()
    chance = random.Random(1)
    steps = (
        lambda: put(path, chance.randint(1, 9)),
        lambda: put(path, chance.randint(1, 9)),
        lambda: put(path, 0, "[imagefilter]\nmetadata_items = x\n"),
        lambda: path.write_text("[imagefilter]\nmetadata_items = 5\nname_pat"),
        lambda: path.unlink(missing_ok=True),
    )
    end = time.monotonic() + 5
    while time.monotonic() < end:
        chance.choice(steps)()
        time.sleep(0.002)
    for hammer in hammers:
        hammer.stop.set()
        hammer.join()
    assert [hammer.failure for hammer in hammers] == [None] * 8
    assert len(set().union(*(hammer.seen for hammer in hammers))) > 1
