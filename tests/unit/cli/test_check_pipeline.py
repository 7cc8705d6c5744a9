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
[filter:occi]
paste.filter_factory = ooi.wsgi:OCCIMiddleware.factory
[filter:audit]
paste.filter_factory = keystonemiddleware.audit:filter_factory
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
FACTORY = "paste.filter_factory = imagefilter:filter_factory"


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
        "use = egg:nova-imagefilter",
        "use = egg:nova-imagefilter#imagefilter",
        "use = egg:nova-imagefilter#main",
        "paste.filter_factory = imagefilter.filter:filter_factory",
        "use = call:imagefilter:filter_factory",
    ],
)
def test_knows_the_filter_by_its_factory(tmp_path: Path, factory: str, run: Any) -> None:
    check = run("check", "pipeline", write_paste(tmp_path, factory=factory), "-f", "json")
    assert [(row["Section"], row["Key"], row["Verdict"]) for row in check.rows] == [
        ("composite:current", "keystone", "OK"),
        ("composite:current", "noauth2", "OK"),
        ("composite:legacy", "keystone", "OK"),
    ]
    assert (check.status, check.err) == (0, "")


UNPROTECTED = "faultwrap sizelimit authtoken keystonecontext api"


@pytest.mark.parametrize(
    ("line", "problem", "fix"),
    [
        (UNPROTECTED, "not protected", RIGHT),
        ("faultwrap sizelimit pictures authtoken keystonecontext api", "is authtoken, keystonecontext", RIGHT),
        ("faultwrap sizelimit authtoken pictures keystonecontext api", "is keystonecontext", RIGHT),
        ("pictures faultwrap sizelimit authtoken keystonecontext api", "is faultwrap, sizelimit, authtoken", RIGHT),
        ("authtoken keystonecontext pictures faultwrap sizelimit api", "is faultwrap, sizelimit",
         "authtoken keystonecontext faultwrap sizelimit pictures api"),
        ("faultwrap authtoken keystonecontext pictures sizelimit api", "is sizelimit",
         "faultwrap authtoken keystonecontext sizelimit pictures api"),
        ("faultwrap sizelimit authtoken keystonecontext pictures occi api", "is occi",
         "faultwrap sizelimit authtoken keystonecontext occi pictures api"),
        ("faultwrap pictures noauth2 api", "is noauth2", "faultwrap noauth2 pictures api"),
        ("faultwrap authtoken keystonecontext legacy_v2_compatible pictures audit api", "is audit",
         "faultwrap authtoken keystonecontext legacy_v2_compatible audit pictures api"),
        ("faultwrap sizelimit authtoken keystonecontext pictures pictures api", "twice", RIGHT),
    ],
)  # fmt: skip
def test_finds_a_wrong_pipeline(line: str, problem: str, fix: str, tmp_path: Path, run: Any) -> None:
    check = run("check", "pipeline", write_paste(tmp_path, v21=line))
    assert check.status == 2
    assert problem in check.err
    assert f"\n  keystone = {fix}\n" in check.err
    fixed = pipelines.read(str(write_paste(tmp_path, v21=fix)))
    assert [pipeline.error for pipeline in fixed] == [""] * 3, "the suggested line must be right"


@pytest.mark.parametrize(
    "section",
    [
        "[filter:imagefilter]\n",
        "[filter:imagefilter]\nuse = egg:imagefilte\n",
        "[filter:imagefilter]\nuse = egg:nova-imagefilter#gateway\n",
        "[filter:imagefilter]\npaste.filter_factory = oslo_middleware:Debug.factory\n",
        "[filter:imagefilter]\npaste.filter_factory = notimagefilter:filter_factory\n",
        "[filter:imagefilter]\nuse = egg:imagefilter-colours\n",
    ],
)
def test_a_name_alone_protects_nothing(tmp_path: Path, section: str, run: Any) -> None:
    line = RIGHT.replace("pictures", "imagefilter")
    path = write_paste(tmp_path, v21=line)
    path.write_text(f"{path.read_text()}\n{section}")
    check = run("check", "pipeline", path)
    assert check.status == 2
    assert (
        "the section [filter:imagefilter] does not say paste.filter_factory = imagefilter:filter_factory" in check.err
    )


@pytest.mark.parametrize("name", ["imagefilter", "typo"])
def test_reports_a_name_without_a_section(tmp_path: Path, name: str, run: Any) -> None:
    check = run("check", "pipeline", write_paste(tmp_path, v21=f"{name} {RIGHT}"))
    assert check.status == 2
    assert f"there is no section [filter:{name}]" in check.err


def test_writes_a_missing_section(tmp_path: Path, run: Any) -> None:
    check = run("check", "pipeline", write_paste(tmp_path, v21=RIGHT.replace("pictures", "imagefilter")))
    assert check.status == 2
    assert "  Write:\n  [filter:imagefilter]\n  paste.filter_factory = imagefilter:filter_factory\n" in check.err


def test_an_unguarded_pipeline_that_nova_no_longer_selects_is_a_warning(tmp_path: Path, run: Any) -> None:
    path = write_paste(tmp_path, noauth2="faultwrap noauth2 api")
    check = run("check", "pipeline", path)
    assert check.status == 0
    assert "warning: [composite:current] noauth2: not protected" in check.err
    assert "noauth2 = faultwrap noauth2 pictures api" in check.err
    assert run("check", "pipeline", path, "--strict").status == 1


# --- every kind of section that PasteDeploy knows

SECTIONS = """
[filter:pictures]
paste.filter_factory = imagefilter:filter_factory
[app:api]
paste.app_factory = nova.api.openstack.compute:APIRouterV21.factory
[pipeline:main]
pipeline = pictures api
"""


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("[composit:v2]\nuse = call:nova.api.auth:pipeline_factory_v21\nkeystone = api", "composit:v2] keystone"),
        ("[pipeline: v2 ]\npipeline = api", "pipeline: v2 ] pipeline"),
        ("[application:old]\nuse = api\n[pipeline:v2]\npipeline = old", "pipeline:v2] pipeline"),
        ("[filter-app:v2]\nuse = egg:x\nnext = api\n[pipeline:p]\npipeline = v2", "pipeline:p] pipeline"),
        ("[app:v2]\nuse = config:other.ini#inner\n[pipeline:p]\npipeline = v2", "pipeline:p] pipeline"),
        ("[composite:map]\nuse = egg:Paste#urlmap\n/v2: api", "composite:map] /v2"),
        ("[composite:map]\npaste.composite_factory = paste.urlmap:urlmap_factory\n/v2 = api", "composite:map] /v2"),
        ("[app:main]\nuse = api", "app:main]"),
        ("[app:osapi_compute]\nuse = api", "app:osapi_compute]"),
        ("[filter-app:osapi_compute]\nuse = egg:x\nnext = api", "filter-app:osapi_compute]"),
        (
            "[app:routes]\npaste.app_factory = nova.api.openstack.compute.routes:APIRouterV21.factory\n"
            "[pipeline:p]\npipeline = routes",
            "pipeline:p] pipeline",
        ),
        (
            "[app:old]\npaste.app_factory = nova.api.openstack.compute:APIRouter.factory\n[pipeline:p]\npipeline = old",
            "pipeline:p] pipeline",
        ),
        ("[app:alias]\nuse = alias2\n[app:alias2]\nuse = api\n[pipeline:p]\npipeline = alias", "pipeline:p] pipeline"),
    ],
)
def test_finds_an_unguarded_way_to_the_app(tmp_path: Path, more: str, place: str, run: Any) -> None:
    (tmp_path / "other.ini").write_text(SECTIONS.replace("app:api", "app:inner"))
    path = tmp_path / "api-paste.ini"
    path.write_text(f"{SECTIONS.replace('pipeline:main', 'pipeline:guarded')}{more}\n")
    check = run("check", "pipeline", path)
    assert check.status == 2
    assert f"error: [{place}: not protected" in check.err
    assert check.err.count("error: ") == 1


@pytest.mark.parametrize(
    "more",
    [
        "[app:v2]\nuse = api\nfilter-with = pictures\n[pipeline:p]\npipeline = v2",
        "[app:v2]\nuse = v1\n[app:v1]\nuse = api\nfilter-with = pictures\n[pipeline:p]\npipeline = v2",
        "[app:osapi_compute]\nuse = v1\n[app:v1]\nuse = api\nfilter-with = pictures",
        "[filter:v2]\nuse = v1\n[filter:v1]\nuse = pictures\n[pipeline:p]\npipeline = v2 api",
        "[filter-app:v2]\npaste.filter_factory = imagefilter:filter_factory\nnext = api\n[pipeline:p]\npipeline = v2",
        "[filter:other]\nuse = config:other.ini#pictures\n[pipeline:p]\npipeline = other api",
        "[composite:map]\nuse = egg:Paste#urlmap\n/v2: main",
        "[filter:alias]\nuse = pictures\n[pipeline:p]\npipeline = alias api",
        "[pipeline:p]\npipeline = egg:nova-imagefilter#main api",
        "[DEFAULT]\nkeystone = api",
    ],
)
def test_knows_a_guarded_way_to_the_app(tmp_path: Path, more: str, run: Any) -> None:
    (tmp_path / "other.ini").write_text(SECTIONS)
    path = tmp_path / "api-paste.ini"
    path.write_text(f"{SECTIONS}{more}\n")
    assert (run("check", "pipeline", path).status, run("check", "pipeline", path).err) == (0, "")


def test_a_filter_that_another_one_is_with(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "api-paste.ini"
    audit = "[filter:audit]\nuse = egg:x\nfilter-with = pictures\n[pipeline:p]\npipeline = audit api\n"
    path.write_text(f"{SECTIONS}{audit}")
    assert (
        "error: [pipeline:p] pipeline: the filter is not directly before the app: behind it is audit"
        in run("check", "pipeline", path).err
    )


def test_an_app_that_is_loaded_by_its_name(tmp_path: Path, run: Any) -> None:
    """A file without any pipeline must not be called one without a compute API."""
    path = tmp_path / "api-paste.ini"
    path.write_text(f"{SECTIONS.partition('[pipeline')[0]}[app:main]\nuse = api\n")
    check = run("check", "pipeline", path)
    assert check.status == 2
    assert "error: [app:main]: not protected" in check.err
    right = path.read_text().replace("[app:main]", "[app:main_app]")
    path.write_text(f"{right}[pipeline:main]\npipeline = pictures main_app\n")
    assert "[pipeline:main]\n  pipeline = pictures main_app\n" in check.err
    assert run("check", "pipeline", path).status == 0


def test_the_line_of_a_urlmap_loads(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "api-paste.ini"
    path.write_text(f"{SECTIONS}[composite:map]\nuse = egg:Paste#urlmap\n/v2 = api\n")
    check = run("check", "pipeline", path)
    _, _, fix = check.err.partition("  Write:\n")
    line, section = fix.replace("  ", "").split("\n", 1)
    path.write_text(path.read_text().replace("/v2 = api", line) + section)
    assert run("check", "pipeline", path).status == 0


def test_names_an_app_that_no_filter_guards(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "api-paste.ini"
    path.write_text(f"{SECTIONS}[app:occiapp]\nuse = egg:openstackocci-havana#occi_app\n")
    check = run("check", "pipeline", path)
    assert check.status == 0
    assert "warning: [app:occiapp]: no filter guards what this app does by itself (egg:openstackocci" in check.err


@pytest.mark.parametrize(
    "more", ["[app:a]\nuse = a", "[filter-app:a]\nnext = a", "[app:a]\nuse = config:api-paste.ini#a"]
)
def test_a_section_that_leads_to_itself_ends(tmp_path: Path, more: str, run: Any) -> None:
    path = tmp_path / "api-paste.ini"
    path.write_text(f"{SECTIONS}{more}\n[pipeline:p]\npipeline = a\n")
    assert run("check", "pipeline", path).status in (0, 2)


def test_reports_a_section_that_is_there_twice(tmp_path: Path, run: Any) -> None:
    path = write_paste(tmp_path)
    path.write_text(f"{path.read_text()}\n[filter:pictures]\npaste.filter_factory = imagefilter:filter_factory\n")
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
