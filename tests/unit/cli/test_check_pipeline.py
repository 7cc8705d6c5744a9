"""``imagefilter check pipeline``: the filter's place in an api-paste.ini."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")

from imagefilter.cli import pipelines

PASTE = """
[composite:osapi_compute]
use = call:nova.api.openstack.urlmap:urlmap_factory
/v2/+: legacy
/v2.1/+: current
[composite:current]
use = call:nova.api.auth:pipeline_factory_v21
keystone = {v21}
noauth2 = {noauth2}
[composite:legacy]
use = call:nova.api.auth:pipeline_factory_v21
keystone = {v2}
[filter:faultwrap]
paste.filter_factory = nova.api.openstack:FaultWrapper.factory
[filter:sizelimit]
paste.filter_factory = oslo_middleware:RequestBodySizeLimiter.factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
[filter:keystonecontext]
paste.filter_factory = nova.api.auth:NovaKeystoneContext.factory
[filter:noauth2]
paste.filter_factory = nova.api.openstack.auth:NoAuthMiddleware.factory
[filter:legacy_v2_compatible]
paste.filter_factory = nova.api.openstack:LegacyV2CompatibleWrapper.factory
[filter:pictures]
{factory}
[app:api]
paste.app_factory = nova.api.openstack.compute:APIRouterV21.factory
[pipeline:versions]
pipeline = faultwrap versionsapp
[app:versionsapp]
paste.app_factory = nova.api.openstack.compute.versions:Versions.factory
"""
RIGHT = "faultwrap sizelimit authtoken keystonecontext pictures api"
RIGHT_V2 = "faultwrap sizelimit authtoken keystonecontext pictures legacy_v2_compatible api"
NOAUTH = "faultwrap sizelimit noauth2 pictures api"
FACTORY = "use = egg:imagefilter"


def write_paste(
    folder: Path, v21: str = RIGHT, v2: str = RIGHT_V2, noauth2: str = NOAUTH, factory: str = FACTORY
) -> Path:
    path = folder / "api-paste.ini"
    path.write_text(PASTE.format(v21=v21, v2=v2, noauth2=noauth2, factory=factory))
    return path


@pytest.mark.parametrize(
    "factory",
    [
        FACTORY,
        "use = egg:imagefilter#imagefilter",
        "use = egg:imagefilter#main",
        "paste.filter_factory = imagefilter:filter_factory",
    ],
)
def test_knows_the_filter_by_its_factory(tmp_path: Path, factory: str, run: Any) -> None:
    check = run("check", "pipeline", write_paste(tmp_path, factory=factory), "-f", "json")
    assert [(row["Section"], row["Key"], row["Verdict"]) for row in check.rows] == [
        ("composite:current", "keystone", "OK"),
        ("composite:current", "noauth2", "warning"),
        ("composite:legacy", "keystone", "OK"),
    ]
    assert check.status == 1


UNPROTECTED = "faultwrap sizelimit authtoken keystonecontext api"


@pytest.mark.parametrize(
    ("line", "problem", "fix"),
    [
        (UNPROTECTED, "not protected", RIGHT.replace("pictures", "imagefilter")),
        ("faultwrap sizelimit pictures authtoken keystonecontext api", "before auth_token", RIGHT),
        ("faultwrap sizelimit authtoken pictures keystonecontext api", "before keystonecontext", RIGHT),
        ("pictures faultwrap sizelimit authtoken keystonecontext api", "before auth_token", RIGHT),
        ("authtoken keystonecontext pictures faultwrap sizelimit api", "before faultwrap",
         "authtoken keystonecontext faultwrap sizelimit pictures api"),
        ("faultwrap authtoken keystonecontext pictures sizelimit api", "before sizelimit",
         "faultwrap authtoken keystonecontext sizelimit pictures api"),
        ("faultwrap sizelimit authtoken keystonecontext pictures pictures api", "twice", RIGHT),
    ],
)  # fmt: skip
def test_finds_a_wrong_pipeline(line: str, problem: str, fix: str, tmp_path: Path, run: Any) -> None:
    check = run("check", "pipeline", write_paste(tmp_path, v21=line))
    assert check.status == 2
    assert problem in check.err
    assert f"\n  keystone = {fix}\n" in check.err
    fixed = pipelines.read(str(write_paste(tmp_path, v21=fix.replace("imagefilter", "pictures"))))
    assert [pipeline.error for pipeline in fixed] == [""] * 3, "the suggested line must be right"


@pytest.mark.parametrize(
    "section",
    [
        "",
        "[filter:imagefilter]\n",
        "[filter:imagefilter]\nuse = egg:imagefilte\n",
        "[filter:imagefilter]\nuse = egg:imagefilter#gateway\n",
        "[filter:imagefilter]\npaste.filter_factory = oslo_middleware:Debug.factory\n",
    ],
)
def test_a_name_alone_protects_nothing(tmp_path: Path, section: str, run: Any) -> None:
    line = RIGHT.replace("pictures", "imagefilter")
    path = write_paste(tmp_path, v21=line)
    path.write_text(f"{path.read_text()}\n{section}")
    check = run("check", "pipeline", path)
    assert check.status == 2
    assert "its section is missing or does not say use = egg:imagefilter" in check.err
    assert f"\n  keystone = {line}\n" in check.err


def test_reports_a_section_that_is_there_twice(tmp_path: Path, run: Any) -> None:
    path = write_paste(tmp_path)
    path.write_text(f"{path.read_text()}\n[filter:pictures]\nuse = egg:imagefilter\n")
    check = run("check", "pipeline", path)
    assert (check.status, "filter:pictures" in check.err) == (2, True)


@pytest.mark.parametrize("text", ["", "no ini", "[composite:x]\nkeystone = a b\n", "\xff"])
def test_reports_a_file_that_is_not_a_paste_file(text: str, tmp_path: Path, run: Any) -> None:
    path = tmp_path / "x.ini"
    path.write_bytes(text.encode("latin-1"))
    check = run("check", "pipeline", path)
    assert (check.status, check.err.startswith("error: ")) == (2, True)


def test_reports_a_missing_file(run: Any) -> None:
    assert run("check", "pipeline", "/nowhere").status == 2
