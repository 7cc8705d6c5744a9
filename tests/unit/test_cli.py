"""The operator's commands, run as an operator runs them."""

from __future__ import annotations

import csv
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cliff")

from imagefilter.cli import pipelines
from tests.cases import CASES, PROJECT, Case, image
from tests.unit.journalled import Ran
from tests.unit.small import Guarded

ROOT = Path(__file__).parents[2]
GOOD = """
[imagefilter]
metadata_items = 5
name_pattern = (nightly|weekly)-[0-9]+
[imagefilter:project:abc]
snapshots_enabled = false
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "imagefilter.conf"
    path.write_text(GOOD)
    return path


@pytest.fixture(autouse=True)
def _keep_logging() -> Iterator[None]:
    """Cliff hangs a handler on the root logger that writes to the stderr of the moment."""
    before = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = before


def test_check_config(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "check", "config", conf)
    assert (ran.status, ran.out) == (1, f"warning: abc: {OFF}\n{conf}: good, 1 warnings\n")
    conf.write_text("[imagefilter]\nmetadata_items = 5\n")
    ran = Ran(capsys, "check", "config", conf)
    assert (ran.status, ran.out) == (0, f"{conf}: good\n")
    conf.write_text("[imagefilter]\nmetadata_items = x\nnonsense = 1\n[imagefilter:project:demo]\nmode = warn\n")
    ran = Ran(capsys, "check", "config", conf)
    assert ran.status == 2
    assert ran.out.count("error: ") == 3
    assert Ran(capsys, "check", "config", "/nowhere.conf").status == 2


OFF = "snapshots_enabled is false, so name_pattern and metadata_required can never matter"


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("exempt_roles = admin, backup", "exempt_roles names admin"),
        ("metadata_required = id", "both name id"),
        ("metadata_required = os_glance_x", "both name os_glance_x"),
        ("metadata_required = a, b\nmetadata_items = 1", "names more keys than metadata_items"),
        ("metadata_items = 119", "above 118"),
        ("metadata_reserved = id", "leaves out fields of the image: status, "),
        ("mode = warn", "not enforced: project-id:warn"),
        ("rule_modes = name-format:off", "not enforced: name-format:off"),
        ("", "sets no option"),
    ],
)
def test_check_config_warns(line: str, warning: str, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text(f"[imagefilter]\n{line}\n")
    ran = Ran(capsys, "check", "config", conf)
    assert ran.status == 1
    assert warning in ran.out


def test_show_config(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "show", "config", "--config", conf, "-f", "json")
    rows = {(row["Project"], row["Option"]): (row["Value"], row["Origin"]) for row in json.loads(ran.out)}
    assert ran.status == 0
    assert rows["all", "metadata_items"] == ("5", f"section [imagefilter] of {conf}")
    assert rows["all", "snapshots_enabled"] == ("True", "default")
    assert rows["abc", "snapshots_enabled"] == ("false", f"section [imagefilter:project:abc] of {conf}")
    assert ("abc", "metadata_items") not in rows
    ran = Ran(capsys, "show", "config", "--config", conf, "-f", "csv")
    assert next(csv.reader(io.StringIO(ran.out))) == ["Project", "Option", "Value", "Origin"]
    for form in ("yaml", "table"):
        assert "metadata_items" in Ran(capsys, "show", "config", "--config", conf, "-f", form).out
    assert Ran(capsys, "show", "config", "--config", "/nowhere.conf").status == 2


def explain(capsys: pytest.CaptureFixture[str], conf: Path, body: bytes, *args: str) -> Ran:
    path = conf.with_suffix(".json")
    path.write_bytes(body)
    return Ran(capsys, "explain", "--config", conf, "-f", "json", *args, path)


def test_explain(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = explain(capsys, conf, json.dumps(image("x", {str(n): "" for n in range(6)})).encode(), "--project", "abc")
    results = {row["Rule"]: row for row in json.loads(ran.out)}
    assert ran.status == 1
    assert "verdict: deny, rule snapshots-enabled: 400" in ran.err
    assert results["metadata-quota"]["Result"] == "403 Image metadata limit exceeded"
    assert results["metadata-quota"]["Settings"] == f"metadata_items = 5, section [imagefilter] of {conf}"
    assert results["name-format"]["Result"] == "holds"
    ran = explain(capsys, conf, json.dumps(image("nightly-1")).encode(), "--project", "def")
    assert (ran.status, "verdict: allow" in ran.err) == (0, True)
    ran = explain(capsys, conf, b'{"reboot": null}')
    assert (ran.status, "untouched" in ran.err) == (2, True)
    conf.write_text("[imagefilter]\nexempt_roles = backup\nsnapshots_enabled = false\n")
    ran = explain(capsys, conf, json.dumps(image()).encode(), "--role", "Backup")
    assert (ran.status, "verdict: exempt" in ran.err) == (0, True)


ALIKE = [
    case
    for case in CASES
    if case.token and case.path.startswith("/servers/{server}/") and "Content-Type" in case.headers
]
ALIKE = [case for case in ALIKE if case.rule != "content-type" and "application/json" in case.headers["Content-Type"]]


@pytest.mark.parametrize("case", ALIKE, ids=[case.id for case in ALIKE])
def test_explain_and_the_filter_agree(case: Case, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text("[imagefilter]\n" + "\n".join(f"{key} = {value}" for key, value in case.options.items()))
    ran = explain(capsys, conf, case.body, "--project", PROJECT)
    response = Guarded(oslo_config_file=str(conf)).post(case.body)
    if case.status == 202:
        assert response.status_int == 202
        assert ran.status == (2 if "untouched" in ran.err else 0)
    else:
        [fault] = response.json.values()
        assert (response.status_int, fault["message"]) == (case.status, case.message)
        assert f"verdict: deny, rule {case.rule}: {case.status} {case.message} (at" in ran.err
        assert ran.status == 1
        assert (
            next(row["Rule"] for row in json.loads(ran.out) if row["Result"].startswith(f"{case.status} ")) == case.rule
        )


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


def paste(folder: Path, v21: str = RIGHT, v2: str = RIGHT_V2, noauth2: str = NOAUTH, factory: str = FACTORY) -> Path:
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
def test_check_pipeline_knows_the_filter_by_its_factory(
    tmp_path: Path, factory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "check", "pipeline", paste(tmp_path, factory=factory), "-f", "json")
    verdicts = [(row["Section"], row["Key"], row["Verdict"]) for row in json.loads(ran.out)]
    assert verdicts == [
        ("composite:current", "keystone", "good"),
        ("composite:current", "noauth2", "warning"),
        ("composite:legacy", "keystone", "good"),
    ]
    assert ran.status == 1


@pytest.mark.parametrize(
    ("line", "problem", "fix"),
    [
        ("faultwrap sizelimit authtoken keystonecontext api", "unguarded", None),
        ("faultwrap sizelimit pictures authtoken keystonecontext api", "before auth_token", None),
        ("faultwrap sizelimit authtoken pictures keystonecontext api", "before keystonecontext", None),
        ("pictures faultwrap sizelimit authtoken keystonecontext api", "before auth_token", None),
        ("authtoken keystonecontext pictures faultwrap sizelimit api", "before faultwrap",
         "authtoken keystonecontext faultwrap sizelimit pictures api"),
        ("faultwrap authtoken keystonecontext pictures sizelimit api", "before sizelimit",
         "faultwrap authtoken keystonecontext sizelimit pictures api"),
        ("faultwrap sizelimit authtoken keystonecontext pictures pictures api", "twice", None),
    ],
)  # fmt: skip
def test_check_pipeline_finds(
    line: str, problem: str, fix: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = paste(tmp_path, v21=line)
    ran = Ran(capsys, "check", "pipeline", path)
    assert ran.status == 2
    assert problem in ran.err
    expected = fix or RIGHT
    if problem == "unguarded":
        expected = expected.replace("pictures", "imagefilter")
    assert f"\n  keystone = {expected}\n" in ran.err
    fixed = pipelines.read(str(paste(tmp_path, v21=expected.replace("imagefilter", "pictures"))))
    assert [each.error for each in fixed] == [""] * 3, "what it says to write is good"


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
def test_a_name_alone_guards_nothing(tmp_path: Path, section: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = RIGHT.replace("pictures", "imagefilter")
    path = paste(tmp_path, v21=line)
    path.write_text(f"{path.read_text()}\n{section}")
    ran = Ran(capsys, "check", "pipeline", path)
    assert ran.status == 2
    assert "its section is missing or does not say use = egg:imagefilter" in ran.err
    assert f"\n  keystone = {line}\n" in ran.err


def test_a_section_that_is_there_twice_is_no_paste_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = paste(tmp_path)
    path.write_text(f"{path.read_text()}\n[filter:pictures]\nuse = egg:imagefilter\n")
    ran = Ran(capsys, "check", "pipeline", path)
    assert (ran.status, "filter:pictures" in ran.err) == (2, True)


@pytest.mark.parametrize("body", ["/nowhere.json", "/"])
def test_a_command_that_could_not_be_run_ends_with_2(
    tmp_path: Path, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not with 1, which is "denied"."""
    (tmp_path / "i.conf").write_text(GOOD)
    assert Ran(capsys, "explain", "--config", tmp_path / "i.conf", body).status == 2
    (tmp_path / "body.json").write_text(json.dumps(image()))
    assert Ran(capsys, "explain", "--config", tmp_path / "i.conf", tmp_path / "body.json", "-c", "Nope").status == 2


def test_check_pipeline_of_no_paste_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "no ini", "[composite:x]\nkeystone = a b\n", "\xff"):
        path = tmp_path / "x.ini"
        path.write_bytes(text.encode("latin-1"))
        ran = Ran(capsys, "check", "pipeline", path)
        assert (ran.status, ran.err.startswith("error: ")) == (2, True)
    assert Ran(capsys, "check", "pipeline", "/nowhere").status == 2


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["check", "config"], ["check", "pipeline"], ["explain"], ["show", "config"]):
        ran = Ran(capsys, *command, "--help")
        assert "usage: imagefilter" in ran.out or "usage:" in ran.out
        assert len(ran.out) > 300


def test_the_filter_does_not_need_the_commands_library() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['cliff'] = None; import imagefilter; imagefilter.filter_factory({})(None)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


WITHOUT = "import sys; sys.modules.update(duckdb=None, plotly=None); sys.argv[0] = 'imagefilter'; "


@pytest.mark.parametrize(("args", "status"), [(["check", "config"], 0), (["audit", "list"], 2), (["--help"], 0)])
def test_only_the_command_that_needs_a_library_misses_it(tmp_path: Path, args: list[str], status: int) -> None:
    """Nova's virtualenv holds cliff, and neither DuckDB nor plotly."""
    config = tmp_path / "imagefilter.conf"
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    code = WITHOUT + "from imagefilter.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *args, *([str(config)] if args[0] == "check" else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert ("pip install '.[tools]'" in done.stderr) == (status == 2)
    assert "Traceback" not in done.stderr
