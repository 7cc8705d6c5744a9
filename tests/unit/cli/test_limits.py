"""The limits that the census is compared with, and the options of the commands that ask a cloud."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")

from imagefilter.cli import _limits
from imagefilter.cli._durations import parse_duration
from imagefilter.cli._limits import Limits, LimitSource, refusals
from imagefilter.rules.table import load_policy
from tests.unit.lookup.test_identity import PROJECT, FakeKeystone, limit, registered


def arguments(**members: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"limit": None, "by": "project", "config": "/nowhere.conf", **members})


@pytest.mark.parametrize(
    ("by", "expected"), [("project", Limits(per_project=3)), ("server", Limits(per_server=3))], ids=str
)
def test_a_limit_to_try_holds_for_every_project(by: str, expected: Limits) -> None:
    assert LimitSource(arguments(limit=3, by=by)).for_project("p") == expected


def test_the_limits_of_a_config_are_those_of_each_project(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"snapshots_per_server": "1", "snapshots_per_project": "2", "snapshots_in_progress": "3"}
    policy = load_policy({"audit_journal": "/journal", **options})
    monkeypatch.setattr(_limits, "load_config", lambda path: policy)
    assert LimitSource(arguments()).for_project("p") == Limits(1, 2, 3)


def test_the_limits_in_keystone_are_those_of_each_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keystone = FakeKeystone([registered(5)], [limit(7)])
    options = {"limits_source": "keystone", "identity_api_url": keystone.url, "snapshots_per_project": "2"}
    policy = load_policy({"audit_journal": "/journal", "lookup_ttl": "0", **options})
    monkeypatch.setattr(_limits, "load_config", lambda path: policy)
    source = LimitSource(arguments())
    source.log_in(lambda: "a token")
    for _ in range(2):
        assert source.for_project(PROJECT) == Limits(7, 2, -1)
        assert source.for_project("another") == Limits(5, 2, -1)
    assert len(keystone.questions) == 8, "each project once"
    keystone.close()
    with pytest.raises(SystemExit) as raised:
        source.for_project("a third")
    assert raised.value.code == 2
    assert "limits of project a third could not be looked up in Keystone" in capsys.readouterr().err


def test_without_the_default_config_there_are_no_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "missing.conf")
    monkeypatch.setattr(_limits, "DEFAULT_CONFIG", path)
    assert LimitSource(arguments(config=path)).for_project("p") == Limits()
    assert "no limits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "in_use", "expected"),
    [(-1, 99, []), (3, 2, []), (3, 3, ["x (limit 3, in use 3)"]), (0, 0, ["x (limit 0, in use 0)"])],
)
def test_one_more_is_refused_at_the_limit(limit: int, in_use: int, expected: list[str]) -> None:
    assert list(refusals("x", limit, in_use)) == expected


@pytest.mark.parametrize(
    ("text", "hours"), [("90m", 1.5), ("24h", 24), ("7d", 168), ("2w", 336), ("0h", 0), ("9999w", 9999 * 168)]
)
def test_reads_durations(text: str, hours: float) -> None:
    assert parse_duration(text) == datetime.timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1.5h", "24 h", "99999h", "1y", "٣h"])
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "args",
    [
        ("usage", "--limit", "-1"),
        ("usage", "--limit", "many"),
        ("usage", "--older", "soon"),
        ("reap", "--older", "59m"),
        ("reap", "--lock-lease", "long"),
        ("reap", "--delete", "--journal", "relative.jsonl"),
    ],
    ids=" ".join,
)
def test_bad_options_end_with_2_and_a_reason(args: tuple[str, ...], run: Any) -> None:
    done = run(*args)
    assert done.status == 2
    assert args[-2].lstrip("-") in done.err or args[-1] in done.err
