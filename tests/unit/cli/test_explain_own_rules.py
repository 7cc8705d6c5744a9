"""``explain`` on rules of the operator's own, as docs/own-rules.md has it, and on a server of a cloud."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import pytest

from docs.own_rules_reference import EXAMPLES, EXPLAINED
from tests.cases import SERVER, image

pytest.importorskip("cel_expr_python")

COLUMNS = ("-f", "value", "-c", "Rule", "-c", "Mode", "-c", "Result")


def write(folder: Path, name: str, document: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", EXPLAINED)
def test_an_example_is_explained_as_the_page_says(name: str, tmp_path: Path, run: Any) -> None:
    example = EXPLAINED[name]
    server = write(tmp_path, "server.json", {"server": example.server})
    body = write(tmp_path, "body.json", example.document)
    config = EXAMPLES / f"{name}.conf"
    explained = run("explain", "--config", config, "--server", server, *example.options, body, *COLUMNS)
    assert example.explained in explained.out.splitlines()
    assert explained.status == 1


def test_there_is_a_page_for_each_example() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.conf")} == set(EXPLAINED)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "rules.conf"
    path.write_text(
        "[imagefilter:rule:locked]\ndeny = server.locked\n"
        "[imagefilter:rule:other]\ndeny = true\nactions = createBackup\n"
        "[imagefilter:rule:who]\ndeny = caller.user_id == 'bob' && caller.user_domain_id == 'corp'\n"
        "[imagefilter:rule:many]\ndeny = usage.project > 5\n"
    )
    return path


def explain(run: Any, config: Path, body: Path, *options: object) -> dict[str, str]:
    explained = run("explain", "--config", config, *options, body, "-f", "json")
    return {row["Rule"]: row["Result"] for row in explained.rows}


def test_without_a_server_nothing_is_known_of_it(config: Path, tmp_path: Path, run: Any) -> None:
    results = explain(run, config, write(tmp_path, "body.json", image()), "--user-domain", "corp")
    assert results["locked"] == "503 The server could not be looked up."
    assert results["other"] == "does not apply"
    assert (
        results["who"] == "403 This cloud does not permit it (who): no result: caller.user_id is absent: it is no text"
    )


def test_the_caller_and_the_counts_are_options(config: Path, tmp_path: Path, run: Any) -> None:
    body = write(tmp_path, "body.json", image())
    results = explain(run, config, body, "--user", "bob", "--user-domain", "corp", "--usage", "project=6")
    assert results["who"] == "403 This cloud does not permit it (who)"
    assert results["many"] == "403 This cloud does not permit it (many)"
    assert explain(run, config, body, "--user", "eve", "--usage", "project=5")["who"] == "holds"


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_server_that_is_none(text: str, config: Path, tmp_path: Path, run: Any) -> None:
    server = tmp_path / "server.json"
    server.write_text(text)
    explained = run("explain", "--config", config, "--server", server, write(tmp_path, "body.json", image()))
    assert explained.status == 2
    assert str(server) in explained.err


class FakeCompute:
    """openstacksdk's proxy of a compute API."""

    def __init__(self, status: int, document: Any) -> None:
        self.asked: list[Any] = []
        self._response = types.SimpleNamespace(status_code=status, content=json.dumps(document).encode())

    def get(self, path: str, microversion: str | None, raise_exc: bool) -> Any:
        self.asked.append((path, microversion, raise_exc))
        return self._response


@pytest.mark.parametrize(
    ("status", "document", "result"),
    [
        (200, {"server": {"name": "x", "metadata": {}, "locked": True}}, "403 This cloud does not permit it (locked)"),
        (200, {"server": {"name": "x", "metadata": {}, "locked": False}}, "holds"),
        (200, {"server": {"status": "UNKNOWN"}}, "server.locked is absent: the cell of the server is down"),
        (404, {"itemNotFound": {}}, f"the cloud has no server {SERVER}"),
        (403, {"forbidden": {}}, "responded 403 to the question about a server"),
    ],
)
def test_a_server_of_a_cloud(
    status: int,
    document: Any,
    result: str,
    config: Path,
    tmp_path: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from imagefilter.cli import _server

    compute = FakeCompute(status, document)
    login = types.SimpleNamespace(connection=types.SimpleNamespace(compute=compute))
    monkeypatch.setattr(_server, "log_in", lambda args: login)
    body = write(tmp_path, "body.json", image())
    explained = run("explain", "--config", config, "--os-cloud", "c", "--server-id", SERVER, body, *COLUMNS)
    assert result in explained.out + explained.err
    assert compute.asked == [(f"/servers/{SERVER}", "2.69", False)]
