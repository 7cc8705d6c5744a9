"""The page of ``imagefilter audit report`` in a real browser: at the widths of desks and phones, light, dark, on paper.

The names are such as real clouds have: long ones, without spaces, from right to left, and hostile ones.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")
pytest.importorskip("jinja2")
pytest.importorskip("selenium")

from selenium import webdriver

from tests.cases import image
from tests.unit.journal_fixtures import Writer, shift

pytestmark = pytest.mark.slow

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
)
HOSTILE = "</script><script>document.title='mine'</script><img src=x onerror=document.title='mine'>${x}"
PROJECTS = (
    "acme-production-eu-west-customer-facing-web-platform-of-the-whole-corporation",
    "研究開発部門画像処理プラットフォーム本番環境夜間処理用プロジェクト",
    "مشروع-البنية-التحتية-للإنتاج-في-المنطقة-الغربية",
    "ci",
    HOSTILE,
)
USERS = ("svc-backup-orchestrator-production@service-accounts.example.com", "山田太郎", "محمد", "alice", "W" * 64)
IMAGES = ("W" * 64, "夜間バックアップ" * 8, "نسخة احتياطية ليلية لخادم الويب", "Q1", "<b>bold</b>", "i" * 255)
REFUSED = 60
COLUMNS = ("Time", "Verdict", "Rule", "Message", "Action", "Project", "User", "Server", "Image name", "Request ID")
SIZES = [(1440, 900), (1366, 768), (1024, 768), (390, 844)]
SCHEMES = ["light", "dark"]

# Returns the texts that are seen, with the boxes of each of their lines, cut as their cells cut them.
FIND_TEXTS = """
const found = [];
let number = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.textContent.trim() || parent.closest("option, script, dialog") || !parent.checkVisibility()) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  const cell = parent.closest("td, th");
  const cuts = cell && getComputedStyle(cell).overflow === "hidden";
  const cut = cuts ? cell.getBoundingClientRect() : {left: -1e6, right: 1e6, top: -1e6, bottom: 1e6};
  for (const box of range.getClientRects()) {
    const left = Math.max(box.left, cut.left), right = Math.min(box.right, cut.right);
    if (right > left) found.push([number + ": " + node.textContent.trim(), left, right, box.top, box.bottom]);
  }
  number += 1;
}
return found;
"""
FIND_TALL_ROWS = """
return [...document.querySelectorAll("tbody tr")].filter((row) => [...row.cells].some((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const boxes = [...range.getClientRects()].filter((box) => box.height > 0);
  return boxes.some((box) => box.top >= boxes[0].bottom);
})).map((row) => row.textContent.trim());
"""


class Browser:
    """A browser without a network, at one size and in one color scheme."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._call("Network.enable")
        self._call("Network.setBlockedURLs", urls=["http://*", "https://*"])

    def open(self, page: Path, width: int = 1440, height: int = 900, scheme: str = "light") -> None:
        is_phone = width < 500
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone
        )
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.driver.get(page.as_uri())

    def plant(self, style: str) -> None:
        """Add a fault to the page."""
        self.driver.execute_script(
            "document.head.append(Object.assign(document.createElement('style'), {textContent: arguments[0]}))", style
        )

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def read_rows(self) -> list[str]:
        rows = self.driver.find_elements("css selector", "#requests tbody tr")
        return [row.text for row in rows if row.is_displayed()]

    def print(self, path: Path) -> str:
        """Print to a PDF file; return its text, as it is laid out."""
        printed = self._call("Page.printToPDF", preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(printed["data"]))
        return subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True, text=True).stdout

    def _call(self, method: str, **values: Any) -> Any:
        return self.driver.execute_cdp_cmd(method, values)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not (DRIVER and CHROMIUM):
        pytest.skip("no chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: Any) -> Browser:
    return Browser(driver)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of a week."""
    writer = Writer(
        tmp_path_factory.mktemp("journal") / "audit.jsonl",
        rule_modes="metadata-reserved:warn",
        name_pattern="(nightly|weekly)-[0-9]+",
    )
    writer.path.touch()
    for number in range(REFUSED):
        if number % 10 == 0:
            shift(writer.path, days=1)
        for document in (image("nightly-1"), choose_refused(number)):
            writer.post(
                document,
                project=f"{number % len(PROJECTS):032x}",
                user=USERS[number % len(USERS)],
                HTTP_X_PROJECT_NAME=PROJECTS[number % len(PROJECTS)],
            )
    return writer.path


def choose_refused(number: int) -> dict[str, Any]:
    if number % 3 == 0:
        return image("weekly-1", {"owner": "me"})
    return image(IMAGES[number % len(IMAGES)])


@pytest.fixture
def page(journal: Path, tmp_path: Path, run: Any) -> Path:
    path = tmp_path / "report.html"
    report = run("audit", "report", "--journal", journal, "--html", path, "--image", "*", "--csv", tmp_path / "all.csv")
    assert report.status == 0
    return path


@pytest.fixture
def empty_page(journal: Path, tmp_path: Path, run: Any) -> Path:
    path = tmp_path / "empty.html"
    options = ("--user", "W" * 200, "--image", HOSTILE)
    assert run("audit", "report", "--journal", journal, "--html", path, *options).status == 0
    return path


# --- the layout


def find_overflow(browser: Browser) -> int:
    """Return by how many pixels the page is wider than the window."""
    overflow: int = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
    return max(0, overflow)


def find_overlaps(browser: Browser) -> list[tuple[str, str]]:
    """Return pairs of texts of which one is over the other."""
    texts = browser.run(FIND_TEXTS)
    assert len(texts) > 5
    overlaps = []
    for number, one in enumerate(texts):
        overlaps += [(one[0], other[0]) for other in texts[:number] if one[0] != other[0] and overlap(one, other)]
    return overlaps


def overlap(one: list[Any], other: list[Any]) -> bool:
    """Return whether two boxes share more than the edges that lines of text have."""
    _, left, right, top, bottom = one
    _, other_left, other_right, other_top, other_bottom = other
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    return width > 1 and height > 4


def is_legend_over_the_chart(browser: Browser) -> bool:
    legend, chart = browser.find(".legend").rect, browser.find(".chart").rect
    over: bool = legend["y"] + legend["height"] > chart["y"]
    return over


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_layout(width: int, height: int, scheme: str, page: Path, browser: Browser) -> None:
    browser.open(page, width, height, scheme)
    assert find_overflow(browser) == 0
    assert find_overlaps(browser) == []
    assert browser.run(FIND_TALL_ROWS) == []
    assert not is_legend_over_the_chart(browser)
    assert "Filtered" in browser.find("#filters").text


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_layout_of_a_page_about_nothing(width: int, height: int, empty_page: Path, browser: Browser) -> None:
    browser.open(empty_page, width, height)
    assert find_overflow(browser) == 0
    assert find_overlaps(browser) == []
    assert browser.find("#empty").text.startswith("No requests in this period.")


@pytest.mark.parametrize(
    ("style", "find"),
    [
        ("#about { width: 3000px; }", find_overflow),
        (".legend { position: relative; top: 3rem; }", is_legend_over_the_chart),
        (".labels { font-size: 4rem; }", find_overlaps),
        ("td { overflow: visible; } .number { width: 1rem !important; }", find_overlaps),
        ("td { white-space: normal !important; }", lambda browser: browser.run(FIND_TALL_ROWS)),
    ],
)
def test_a_planted_fault_of_the_layout_is_found(style: str, find: Any, page: Path, browser: Browser) -> None:
    browser.open(page)
    assert not find(browser)
    browser.plant(style)
    assert find(browser)


@pytest.mark.parametrize(
    ("width", "columns"),
    [(1440, 10), (1366, 10), (1024, 8), (390, 4)],
)
def test_a_narrow_page_has_fewer_columns(width: int, columns: int, page: Path, browser: Browser) -> None:
    browser.open(page, width)
    heads = browser.run(
        "return [...document.querySelectorAll('#requests th')].filter((h) => h.checkVisibility()).length"
    )
    assert heads == columns


def test_rows_of_several_years_name_them(journal: Path, tmp_path: Path, browser: Browser, run: Any) -> None:
    older, newer = tmp_path / "older.jsonl", tmp_path / "newer.jsonl"
    Writer(older).post(image(""))
    shift(older, days=400)
    Writer(newer).post(image(""))
    page = tmp_path / "years.html"
    for count, journals in ((0, [newer]), (2, [newer, older])):
        options = [option for path in journals for option in ("--journal", path)]
        assert run("audit", "report", *options, "--html", page).status == 0
        browser.open(page)
        assert len(re.findall(r"^\d{4}-", "\n".join(browser.read_rows()), re.MULTILINE)) == count


@pytest.mark.parametrize(
    ("scheme", "colors"),
    [("light", ("rgb(28, 36, 48)", "rgb(255, 255, 255)")), ("dark", ("rgb(228, 232, 238)", "rgb(20, 24, 29)"))],
)
def test_the_colors(scheme: str, colors: tuple[str, str], page: Path, browser: Browser) -> None:
    browser.open(page, scheme=scheme)
    body = browser.find("body")
    seen = tuple(browser.run(f"return getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert body.is_displayed()
    assert seen == colors


# --- on paper


@pytest.fixture
def paper(page: Path, browser: Browser, tmp_path: Path) -> tuple[str, Path]:
    """The text of the page on paper, printed by somebody who likes it dark."""
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext (Debian: poppler-utils)")
    browser.open(page, scheme="dark")
    path = tmp_path / "paper.pdf"
    return browser.print(path), path


def test_paper_holds_all_rows_and_columns(paper: tuple[str, Path]) -> None:
    text, _ = paper
    assert len(re.findall(r"req-[0-9a-f]{8}\b", text)) == REFUSED
    sheets = [sheet for sheet in text.split("\f") if re.search(r"req-[0-9a-f]{8}\b", sheet)]
    assert len(sheets) > 1
    for sheet in sheets:
        assert re.search(r"\s+".join(COLUMNS), sheet), "the head of the table is on each sheet"
    for row in re.findall(r".*req-[0-9a-f]{8}\b.*", text):
        assert re.match(r"\s*\d{4}-\d\d-\d\d \d\d:\d\d\s+(would be )?refused\s+[a-z-]+\s", row), row
        assert "createImage" in row


def test_paper_is_a4_across_and_says_that_it_is_filtered(paper: tuple[str, Path]) -> None:
    text, path = paper
    info = subprocess.run(["pdfinfo", path], check=True, capture_output=True, text=True).stdout
    assert re.search(r"Page size: +84[12][.\d]* x 59[45][.\d]* pts \(A4\)", info)
    sheets = text.rstrip("\f").split("\f")
    for number, sheet in enumerate(sheets, 1):
        assert re.search(rf"{number} ?/ ?{len(sheets)}", sheet)
        assert "Image actions: all that is recorded, filtered" in sheet
    assert "Filtered" in sheets[0]
    assert "Search" not in text


def test_nothing_on_paper_is_beyond_its_edge(paper: tuple[str, Path]) -> None:
    _, path = paper
    boxes = subprocess.run(["pdftotext", "-bbox", path, "-"], check=True, capture_output=True, text=True).stdout
    words = re.findall(r'<word xMin="([\d.-]+)" yMin="[\d.-]+" xMax="([\d.-]+)"', boxes)
    assert len(words) > 500
    assert min(float(left) for left, _ in words) >= 0
    assert max(float(right) for _, right in words) <= 842


def test_paper_is_light(paper: tuple[str, Path], browser: Browser) -> None:
    _, path = paper
    image_file = path.with_suffix("")
    subprocess.run(["pdftoppm", "-r", "20", "-gray", "-l", "1", "-singlefile", path, image_file], check=True)
    pixels = image_file.with_suffix(".pgm").read_bytes()[-10_000:]
    assert sum(pixels) / len(pixels) > 200


# --- what the script does


def test_nothing_that_a_client_wrote_runs(page: Path, browser: Browser) -> None:
    browser.open(page)
    assert "mine" not in browser.driver.title
    assert HOSTILE in browser.run("return document.body.textContent")
    assert not browser.driver.find_elements("css selector", "img")
    assert [entry for entry in browser.driver.get_log("browser") if entry["level"] != "INFO"] == []


def test_search(page: Path, browser: Browser) -> None:
    browser.open(page)
    assert len(browser.read_rows()) == REFUSED
    browser.find("#search").send_keys("ALICE name-pattern")
    rows = browser.read_rows()
    assert 0 < len(rows) < REFUSED
    assert all("alice" in row for row in rows)
    assert browser.find("#count").text == f"{len(rows)} of these {REFUSED} rows: “ALICE name-pattern”"


def test_search_finds_what_is_cut(page: Path, browser: Browser) -> None:
    browser.open(page)
    request = browser.find("#requests td.request").get_attribute("title")
    browser.find("#search").send_keys(request)
    assert len(browser.read_rows()) == 1


def test_choose_a_rule(page: Path, browser: Browser) -> None:
    browser.open(page)
    browser.find("#rule option:last-child").click()
    rows = browser.read_rows()
    assert 0 < len(rows) < REFUSED
    assert all("name-pattern" in row for row in rows)
    assert browser.find("#count").text.endswith("rule name-pattern")


def test_sort(page: Path, browser: Browser) -> None:
    browser.open(page)
    times = [row[:11] for row in browser.read_rows()]
    assert times == sorted(times, reverse=True)
    head = browser.find("#requests th.time")
    for direction, expected in (("ascending", sorted(times)), ("descending", times)):
        head.click()
        assert head.get_attribute("aria-sort") == direction
        assert [row[:11] for row in browser.read_rows()] == expected


@pytest.mark.parametrize("width", [1440, 390])
def test_a_row_opens_and_is_whole(width: int, page: Path, browser: Browser) -> None:
    browser.open(page, width)
    row = browser.find("#requests tbody tr")
    whole = [cell.get_attribute("title") for cell in row.find_elements("css selector", "[title]")]
    row.click()
    details = browser.find("#details")
    assert details.is_displayed()
    assert all(text in details.text for text in whole)
    assert find_overflow(browser) == 0
    browser.find("#details button").click()
    assert not details.is_displayed()


def test_without_scripts_the_page_is_complete(page: Path, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(page)
        assert len(browser.driver.find_elements("css selector", "#requests tbody tr")) == REFUSED
        assert not browser.find("#search").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
