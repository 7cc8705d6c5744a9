"""Each block of the pages is run by a test, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagefilter.policy.options import RULE_SECTION
from imagefilter.rules.table import load_policy
from tests.pages import Block, list_pages, read_blocks
from tests.paths import ROOT

BLOCKS = [block for page in list_pages() for block in read_blocks(page)]

#: What a command line begins with; a block with one is run, or says why not.
_PROGRAMS = ("imagefilter", "make", "curl", "pip", "git", "systemctl", "runuser", "install", "groupadd", "gunicorn")
_COMMAND = re.compile(rf"^(?:\$|{'|'.join(_PROGRAMS)}) ", re.MULTILINE)
_FILE = re.compile(r"\b(?:tests|etc|docs)/[\w./-]+\w")


def place(block: Block) -> str:
    return block.place


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


@pytest.mark.parametrize("block", of_kind("file", "policy", "columns", "text"), ids=place)
def test_no_command_is_marked_as_none(block: Block) -> None:
    assert not _COMMAND.search(block.text)


@pytest.mark.parametrize("block", of_kind("not run here"), ids=place)
def test_what_is_not_run_has_a_reason(block: Block) -> None:
    assert len(block.note.split()) >= 4
    for name in _FILE.findall(block.note):
        assert (ROOT / name).exists(), name
    pytest.skip(block.note)  # so that pytest lists them


@pytest.mark.parametrize("block", of_kind("file"), ids=place)
def test_a_file_is_shown_as_it_is(block: Block) -> None:
    assert block.text == (ROOT / block.note).read_text()


@pytest.mark.parametrize("block", of_kind("policy"), ids=place)
def test_a_policy_can_be_loaded(block: Block, tmp_path: Path) -> None:
    if RULE_SECTION in block.text:
        pytest.importorskip("cel_expr_python", reason="no CEL for this Python")
    path = tmp_path / "imagefilter.conf"
    path.write_text(block.text)
    assert load_policy({"oslo_config_file": str(path)}).errors == ()


PAGE = """# Title

    first

    goes on

* item

    of the item

<!-- not run here: needs a cloud -->

    second

text
    no block

## Part

<!-- status: 1 -->

```
third
```

```{toctree}
page
```

<!-- text -->
Other text makes the comment void.

    fourth
"""


def test_blocks_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Markdown has them."""
    monkeypatch.setattr("tests.pages.ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    assert read_blocks(path) == [
        Block("page.md", 3, "Title", "first\n\ngoes on\n", "run", ""),
        Block("page.md", 13, "Title", "second\n", "not run here", "needs a cloud"),
        Block("page.md", 22, "Part", "third\n", "status", "1"),
        Block("page.md", 33, "Part", "fourth\n", "run", ""),
    ]
