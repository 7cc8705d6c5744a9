"""``imagefilter audit report``: the page, in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")
pytest.importorskip("plotly")

from tests.cases import image
from tests.unit.journal_fixtures import Writer, shift

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1200,1400",
)
HOSTILE = "</script><script>document.title='mine'</script><img src=x onerror=document.title='mine'>${x}"


@pytest.fixture
def page(tmp_path: Path, run: Any) -> Path:
    """Write a page about requests of two days and three projects, some with names that attack it."""
    writer = Writer(tmp_path / "audit.jsonl", rule_modes="name-pattern:warn", name_pattern="[a-z-]+")
    for number in range(30):
        writer.post(image(f"name{'-' * (number % 3)}"), project=f"{number % 3:032x}")
    shift(writer.path, days=9)
    writer.post(image(HOSTILE, {"": "v"}), HTTP_X_PROJECT_NAME=HOSTILE)
    writer.post(image("UPPER", {}), user="zoe")
    writer.post(image(""), user="\x1b[31mred")
    path = tmp_path / "report.html"
    report = run("audit", "report", "--journal", writer.path, "--html", path)
    assert (report.status, report.err) == (0, f"wrote {path}\n")
    return path


def read_data(page: Path) -> dict[str, Any]:
    [found] = re.findall(r"^const data = (.*);$", page.read_text(), re.MULTILINE)
    data: dict[str, Any] = json.loads(found)
    return data


def test_counts_requests(page: Path) -> None:
    data = read_data(page)
    counts = {name: count for name, count, _ in data["figures"]}
    assert counts == {
        "allowed": 30,
        "exempt": 0,
        "would be refused": 1,
        "refused": 2,
        "images accepted": 31,
        "outcome unknown": 0,
    }
    assert [sum(column) for column in zip(*(row[1:] for row in data["times"]))] == [30, 0, 1, 2]
    assert (data["step"], len(data["times"])) == ("day", 2)
    assert sum(row[1] for row in data["projects"]) == 30
    assert {row[0] for row in data["rules"]} == {"name-required", "name-pattern", "metadata-key-blank"}
    assert len(data["rows"]) == 3
    assert page.stat().st_mode & 0o777 == 0o600


def test_writes_a_page_about_an_empty_journal(tmp_path: Path, run: Any) -> None:
    journal = tmp_path / "audit.jsonl"
    journal.touch()
    assert run("audit", "report", "--journal", journal, "--html", tmp_path / "x.html").status == 0
    assert read_data(tmp_path / "x.html")["about"].startswith("0 requests")


def test_reports_that_the_page_can_not_be_written(tmp_path: Path, run: Any) -> None:
    journal = tmp_path / "audit.jsonl"
    journal.touch()
    target = tmp_path / "none" / "x.html"
    report = run("audit", "report", "--journal", journal, "--html", target)
    assert (report.status, report.err) == (
        2,
        f"error: the page can't be written: No such file or directory: {target}\n",
    )


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    if not (DRIVER and CHROMIUM):
        pytest.skip("no chromium and chromedriver (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


def read_rows(browser: Any) -> list[str]:
    return [row.text for row in browser.find_elements("css selector", "#body tr")]


def test_in_a_browser(page: Path, browser: Any, tmp_path: Path) -> None:
    """Without a network it draws, filters and sorts, and runs nothing that a client wrote."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    browser.get(page.as_uri())
    assert browser.find_element("css selector", "body").get_attribute("data-ready") == "yes"
    assert len(read_rows(browser)) == 3
    for chart in ("time", "projects", "rules"):
        assert browser.find_elements("css selector", f"#{chart} .bars .point"), chart

    search = browser.find_element("id", "search")
    search.send_keys("ZOE upper")
    assert all("UPPER" in row for row in read_rows(browser))
    assert browser.find_element("id", "count").text == "1 of 3"
    search.clear()
    search.send_keys("x")
    search.send_keys("\b")
    rule = browser.find_element("css selector", "#rule option[value=name-required]")
    rule.click()
    assert len(read_rows(browser)) == 1
    browser.find_element("css selector", "#rule option[value='']").click()

    user = browser.find_elements("css selector", "#head button")[6]
    user.click()
    rising = [row.split()[-1] for row in read_rows(browser)]
    user.click()
    assert [row.split()[-1] for row in read_rows(browser)] == rising[::-1]
    assert browser.find_elements("css selector", "#head th")[6].get_attribute("aria-sort") == "descending"

    assert "mine" not in browser.title, "a name that a client chose was run"
    assert not browser.find_elements("css selector", "#body img, .charts img")
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    assert browser.save_screenshot(str(tmp_path / "report.png"))


def test_follows_the_color_scheme(page: Path, browser: Any) -> None:
    colors = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(page.as_uri())
        ink = browser.execute_script("return getComputedStyle(document.querySelector('#time .xtick text')).fill")
        paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        colors[scheme] = (ink, paper)
    assert colors == {
        "light": ("rgb(28, 36, 48)", "rgb(255, 255, 255)"),
        "dark": ("rgb(228, 232, 238)", "rgb(20, 24, 29)"),
    }
