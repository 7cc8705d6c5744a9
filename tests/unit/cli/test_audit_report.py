"""``imagefilter audit report``: the page as HTML, and the CSV file beside it."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")
pytest.importorskip("jinja2")

from bs4 import BeautifulSoup

from tests.cases import PROJECT, SERVER, image
from tests.unit.cli.conftest import OTHER_PROJECT
from tests.unit.journal_fixtures import Writer, shift

MONTH = ("--since", "2026-11-01", "--until", "2026-12-01T06:30")
HOSTILE = """</script><script>mine()</script><img src=x onerror=mine()>"'{{ 7 * 7 }}${x}"""
FORMULA = "=HYPERLINK(1)"


class Page:
    """A page that was written."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.html = BeautifulSoup(self.text, "html.parser")

    def read(self, selector: str) -> list[str]:
        """Return the texts of elements."""
        return [" ".join(element.get_text().split()) for element in self.html.select(selector)]

    def rows(self, selector: str = "#requests tbody tr") -> list[list[str]]:
        """Return the texts of the cells of each row."""
        return [[cell.get_text() for cell in row.find_all("td")] for row in self.html.select(selector)]

    @property
    def tiles(self) -> dict[str, int]:
        numbers = {}
        for tile in self.html.select("#tiles li"):
            number = tile.b.contents[0].strip()
            tile.b.extract()
            numbers[tile.get_text().strip()] = int(number)
        return numbers


@pytest.fixture
def report(writer: Writer, tmp_path: Path, run: Any) -> Callable[..., Page]:
    """Write a page about the writer's journal with more options."""

    def report(*options: object) -> Page:
        path = tmp_path / "page.html"
        result = run("audit", "report", "--journal", writer.path, "--html", path, *options)
        assert result.status == 0, result.err
        return Page(path)

    return report


# --- the heading


@pytest.mark.parametrize(
    ("options", "period"),
    [
        ((), "all that is recorded"),
        (MONTH, "2026-11-01 00:00 to 2026-12-01 06:30 UTC"),
        (MONTH[:2], "since 2026-11-01 00:00 UTC"),
        (MONTH[2:], "before 2026-12-01 06:30 UTC"),
        (("--since", "2026-11-01 01:30 Europe/Paris"), "since 2026-11-01 00:30 UTC"),
    ],
)
def test_the_heading_names_the_period_asked_for(
    options: tuple[str, ...], period: str, ids: dict[str, str], report: Any
) -> None:
    page = report(*options)
    assert page.read("#period") == [period]
    assert page.read("title") == [f"Image actions: {period}"]
    assert page.read("#filters") == []


FILTERS = [
    (("--verdict", "deny"), "Verdict: refused"),
    (("--verdict", "would_deny"), "Verdict: would be refused"),
    (("--rule", "name-pattern"), "Rule: name-pattern"),
    (("--action", "shelve"), "Action: shelve"),
    (("--project", "<b>"), "Project: <b>"),
    (("--user", "alice"), "User: alice"),
    (("--server", SERVER), f"Server: {SERVER}"),
    (("--image", "night*"), "Image name: night*"),
    (("--image-id", "some"), "Image ID: some"),
    (("--user", "a\x1b[31m"), "User: a\\x1b[31m"),
    (("--user", "bob", "--verdict", "allow"), "Verdict: allowed User: bob"),
]


@pytest.mark.parametrize(("options", "words"), FILTERS)
def test_the_heading_names_the_filters(options: tuple[str, ...], words: str, ids: dict[str, str], report: Any) -> None:
    """Those of a page that nothing is on, too."""
    page = report(*options)
    assert page.read("#filters") == [f"Filtered {words}"]
    assert page.read("title")[0].endswith(", filtered")


def test_every_filter_option_is_named() -> None:
    from imagefilter.cli.audit_report import AuditReport

    parser = AuditReport(None, None).get_parser("report")
    filters = {action.dest for action in parser._actions} - {"help", "config", "journal", "html", "csv", "limit"}
    assert {option[0].strip("-").replace("-", "_") for option, _ in FILTERS} == filters - {"since", "until"}


def test_the_page_says_what_was_not_read(writer: Writer, ids: dict[str, str], tmp_path: Path, run: Any) -> None:
    with writer.path.open("ab") as file:
        file.write(b"no record\n")
    path = tmp_path / "page.html"
    assert run("audit", "report", "--journal", writer.path, "--html", path).status == 1
    assert Page(path).read("#incomplete") == ["Incomplete: left out: files: 0, lines: 1"]


# --- figures

ALL = {
    "requests": 6,
    "allowed": 3,
    "exempt": 0,
    "would be refused": 1,
    "refused": 2,
    "images accepted": 4,
    "outcome unknown": 0,
}


@pytest.mark.parametrize(
    ("options", "tiles"),
    [
        ((), ALL),
        (("--verdict", "deny"), {"refused": 2}),
        (("--verdict", "would_deny"), {"would be refused": 1, "images accepted": 1, "outcome unknown": 0}),
        (("--verdict", "allow"), {"allowed": 3, "images accepted": 3, "outcome unknown": 0}),
        (
            ("--rule", "name-pattern"),
            {
                "requests": 1,
                "exempt": 0,
                "would be refused": 0,
                "refused": 1,
                "images accepted": 0,
                "outcome unknown": 0,
            },
        ),
    ],
)
def test_figures_are_those_that_the_filter_leaves(
    options: tuple[str, ...], tiles: dict[str, int], ids: dict[str, str], report: Any
) -> None:
    assert report(*options).tiles == tiles


def test_projects_users_and_rules_are_counted(writer: Writer, ids: dict[str, str], report: Any) -> None:
    page = report()
    assert page.rows("#projects tbody tr") == [
        ["6f70-name", PROJECT[:8], "", "5", "1", "2"],
        ["0123-name", OTHER_PROJECT[:8], "", "1", "0", "0"],
    ]
    assert page.rows("#users tbody tr") == [
        ["alice", "alice-id", "", "5", "1", "2"],
        ["bob", "bob-id", "", "1", "0", "0"],
    ]
    assert sorted(page.rows("#rules tbody tr")) == [
        ["body", "", "0", "1"],
        ["metadata-reserved", "", "1", "0"],
        ["name-pattern", "", "0", "1"],
    ]
    assert page.html.select_one("#projects td.id")["title"] == PROJECT


def test_projects_of_one_name_stay_apart_and_a_renamed_one_is_one(writer: Writer, report: Any) -> None:
    writer.post(image("a"), HTTP_X_PROJECT_NAME="old")
    writer.post(image("a"), HTTP_X_PROJECT_NAME="new")
    writer.post(image("a"), project=OTHER_PROJECT, HTTP_X_PROJECT_NAME="new")
    assert report().rows("#projects tbody tr") == [
        ["new", PROJECT[:8], "", "2"],
        ["new", OTHER_PROJECT[:8], "", "1"],
    ]


def test_many_projects_are_cut(writer: Writer, report: Any) -> None:
    for number in range(15):
        writer.post(image("a"), project=f"{number:032x}")
    page = report()
    assert len(page.rows("#projects tbody tr")) == 12
    assert page.read("#projects p") == ["and 3 more"]


# --- the chart


@pytest.mark.parametrize(
    ("ago", "step", "columns"),
    [
        ({"minutes": 0}, "hour", 1),
        ({"hours": 4}, "hour", 5),
        ({"days": 4}, "hour", 97),
        ({"days": 10}, "day", 11),
        ({"days": 400}, "week", 58),
        ({"days": 1000}, "month", 33),
        ({"days": 20_000}, "year", 55),
        ({"days": 365_000}, "year", 2),
    ],
)
def test_time_without_requests_is_in_the_chart(
    ago: dict[str, float], step: str, columns: int, writer: Writer, report: Any
) -> None:
    """But for a clock that was centuries wrong."""
    writer.post(image("good"))
    shift(writer.path, **ago)
    writer.post(image("good"))
    page = report()
    assert page.read("#time h2") == [f"Requests by {step}"]
    assert abs(len(page.html.select(".columns div")) - columns) <= 1  # a step that just begins
    assert len(page.html.select(".columns i")) in (1, 2)
    assert 1 <= len(page.html.select(".labels span")) <= 7


def test_the_chart_has_the_period_asked_for(writer: Writer, report: Any) -> None:
    writer.post(image("good"))
    day = writer.records()[0]["eventTime"][:8] + "01"
    columns = report("--since", day, "--until", "2090-01-01").html.select(".columns div")
    assert columns[0]["title"] == f"{day[:4]}: 1 allowed"
    assert columns[-1]["title"] == "2089: no requests"


def test_a_time_that_is_none_is_in_the_counts_alone(writer: Writer, report: Any) -> None:
    writer.post(image("good"))
    writer.post(image("good"))
    records = writer.records()
    records[0]["eventTime"] = "9999-99-99T99:99:99.000000+00:00"
    writer.path.write_text("".join(json.dumps(record) + "\n" for record in records))
    page = report()
    assert page.tiles["requests"] == 2
    assert len(page.html.select(".columns i")) == 1


# --- nothing to show


@pytest.mark.parametrize("options", [(), ("--user", "nobody"), ("--until", "2001-01-01", "--verdict", "deny")])
def test_a_page_about_nothing(options: tuple[str, ...], writer: Writer, tmp_path: Path, report: Any) -> None:
    writer.path.touch()
    page = report(*options)
    assert page.read("#empty")[0].startswith("No requests in this period.")
    assert not page.html.select(".chart, #tiles, table, script")
    assert len(page.text) < 20_000


# --- the requests


def test_the_requests_that_are_listed(ids: dict[str, str], report: Any) -> None:
    rows = report().rows()
    assert [(row[1], row[2]) for row in rows] == [
        ("refused", "body"),
        ("would be refused", "metadata-reserved"),
        ("refused", "name-pattern"),
    ]
    assert rows[2][4:9] == ["createImage", "6f70-name", "alice", SERVER[:8], "N0"]


def test_all_requests_are_listed_if_none_was_refused(ids: dict[str, str], report: Any) -> None:
    page = report("--verdict", "allow")
    assert page.read("#requests h2") == ["Requests"]
    assert [row[1:4] for row in page.rows()] == [
        ["allowed", "202", "shelve"],
        ["allowed", "202", "createBackup"],
        ["allowed", "202", "createImage"],
    ]
    assert page.read("#rules") == []


def test_what_is_short_is_whole_in_its_title(ids: dict[str, str], report: Any) -> None:
    row = report("--rule", "name-pattern").html.select_one("#requests tbody tr")
    cells = {cell["class"][0]: (cell.get_text(), cell.get("title")) for cell in row.find_all("td")}
    assert cells["server"] == (SERVER[:8], SERVER)
    assert cells["request"] == (ids["refused"][:12], ids["refused"])
    assert cells["project"] == ("6f70-name", f"6f70-name\n{PROJECT}")
    assert cells["image"] == ("N0", "N0")


def test_a_name_that_is_missing_is_an_id(writer: Writer, report: Any) -> None:
    writer.post(image("N0"), HTTP_X_PROJECT_NAME="", HTTP_X_USER_NAME="")
    cells = report().rows()[0]
    assert cells[5:7] == [PROJECT[:8], "alice-id"]


@pytest.mark.parametrize(
    ("options", "listed", "note"),
    [
        ((), 3, "3 in all, the newest first."),
        (("--limit", "0"), 3, "3 in all, the newest first."),
        (("--limit", "2"), 2, "The 2 newest of 3; --csv FILE writes all."),
        (("--limit", "2", "--csv", "{folder}/all.csv"), 2, "The 2 newest of 3; all.csv has all."),
    ],
)
def test_the_page_says_how_many_are_left_out(
    options: tuple[str, ...], listed: int, note: str, ids: dict[str, str], tmp_path: Path, report: Any
) -> None:
    page = report(*(option.format(folder=tmp_path) for option in options))
    assert len(page.rows()) == listed
    assert page.read("#note")[0].startswith(note)


# --- what clients wrote


def test_what_clients_wrote_is_no_html(writer: Writer, report: Any) -> None:
    writer.post(image(HOSTILE), HTTP_X_PROJECT_NAME=HOSTILE, HTTP_X_USER_NAME=HOSTILE)
    writer.post(image("A\u202eB\x1b[31m\n", {"": "v"}))
    page = report("--user", HOSTILE)
    assert page.rows()[0][5:9:3] == [HOSTILE, HOSTILE]
    assert len(page.html.find_all("script")) == 1
    assert not page.html.find_all("img")
    assert not [tag for tag in page.html.find_all(True) if any(name.startswith("on") for name in tag.attrs)]
    assert report().rows()[0][8] == "A\\u202eB\\x1b[31m\\n"


def test_the_page_may_load_nothing_and_run_one_script(ids: dict[str, str], report: Any) -> None:
    page = report()
    policy = page.html.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    digest = base64.b64encode(hashlib.sha256(page.html.script.string.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not re.findall(r"https?:|@import|url\(|<script src|//\w+\.", page.text)


# --- the CSV file


def test_the_csv_file_has_all_requests(writer: Writer, ids: dict[str, str], tmp_path: Path, report: Any) -> None:
    path = tmp_path / "all requests.csv"
    writer.post(image(FORMULA), HTTP_X_USER_NAME="山田")
    page = report("--csv", path, "--limit", "1")
    assert path.read_bytes().startswith(b"\xef\xbb\xbfTime,Verdict,"), "Excel takes it for Latin-1"
    rows = list(csv.DictReader(path.open(encoding="utf-8-sig", newline="")))
    assert [row["Request ID"] for row in rows[1:]] == list(ids.values())[::-1]
    assert (rows[0]["Image Name"], rows[0]["User"]) == (f"'{FORMULA}", "山田")
    assert rows[-1]["Project ID"] == PROJECT
    assert path.stat().st_mode & 0o777 == 0o600
    assert page.html.select_one("#about a")["href"] == "./all%20requests.csv"


def test_the_csv_file_has_the_requests_that_the_filters_choose(
    ids: dict[str, str], tmp_path: Path, report: Any
) -> None:
    report("--csv", tmp_path / "x.csv", "--verdict", "deny")
    rows = list(csv.DictReader((tmp_path / "x.csv").open(encoding="utf-8-sig", newline="")))
    assert [row["Verdict"] for row in rows] == ["deny", "deny"]


def test_a_csv_file_elsewhere_is_named_and_not_linked(ids: dict[str, str], tmp_path: Path, report: Any) -> None:
    (tmp_path / "other").mkdir()
    page = report("--csv", tmp_path / "other" / "x.csv")
    assert page.read("#about")[0].endswith("All requests as a table: x.csv.")
    assert not page.html.select("#about a")


# --- files


def test_the_page_is_not_written_over_the_configured_journal(
    writer: Writer, ids: dict[str, str], config: Path, run: Any
) -> None:
    config.write_text(f"[imagefilter]\naudit_journal = {writer.path}\n")
    result = run("audit", "report", "--config", config, "--html", writer.path)
    assert (result.status, result.err) == (2, f"error: {writer.path} can't be written: it is a journal\n")
    assert len(writer.records()) > len(ids)


def test_nobody_else_may_read_the_page(ids: dict[str, str], tmp_path: Path, report: Any) -> None:
    report()
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("html", "csv_file", "reason"),
    [
        ("none/x.html", None, "{html} can't be written: No such file or directory"),
        ("x.html", "none/x.csv", "{csv} can't be written: No such file or directory"),
        ("fifo", None, "{html} can't be written: it is not a regular file"),
        (".", None, "{html} can't be written: it is not a regular file"),
        ("x.html", "fifo", "{csv} can't be written: it is not a regular file"),
        ("audit.jsonl", None, "{html} can't be written: it is a journal"),
        ("x.html", "link", "{csv} can't be written: it is a journal"),
        ("x.html", "x.html", "--html and --csv name the same file"),
    ],
)
def test_a_file_that_can_not_be_written(
    html: str, csv_file: str | None, reason: str, writer: Writer, tmp_path: Path, run: Any
) -> None:
    writer.post(image("good"))
    before = writer.path.read_bytes()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(writer.path)
    paths = {"html": tmp_path / html, "csv": tmp_path / str(csv_file)}
    options = ["--html", paths["html"]]
    if csv_file:
        options += ["--csv", paths["csv"]]
    result = run("audit", "report", "--journal", writer.path, *options)
    assert result.status == 2
    assert result.err.splitlines()[-1] == f"error: {reason.format(**paths)}"
    assert writer.path.read_bytes() == before
    assert not list(tmp_path.glob(".imagefilter-*")), "a torn file is left"
