"""Report on ``make mutants``: mutants killed per module, and survivors that the page does not explain.

A mutant is known by its module, its function and its changed line: mutmut's own numbers change with every edit.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.paths import DOCS, ROOT

MUTANTS = ROOT / "mutants"
PAGE = DOCS / "maintainers" / "mutants.md"
GOAL = 0.95
SURVIVED = (0, 33)  # mutmut's exit codes: the tests passed, and there was no test at all


def main() -> int:
    """Print the report; return 0 if enough mutants were killed and all others are explained."""
    explained = read_explained()
    total = killed = 0
    unexplained = []
    for meta in sorted(MUTANTS.glob("imagefilter/**/*.meta")):
        module = meta.relative_to(MUTANTS).with_suffix("")
        exit_codes = read_exit_codes(meta)
        survivors = [name for name, code in exit_codes.items() if code in SURVIVED]
        descriptions = [describe(name, module) for name in survivors]
        unexplained += [description for description in descriptions if description not in explained]
        total += len(exit_codes)
        killed += len(exit_codes) - len(survivors)
        print(f"{module}: {len(exit_codes) - len(survivors)} of {len(exit_codes)} killed")
    share = killed / max(total, 1)
    print(f"all: {killed} of {total} killed, {share:.1%}; survivors not explained: {len(unexplained)}")
    print("\n".join(unexplained))
    is_good = total > 0 and share >= GOAL and not unexplained
    return int(not is_good)


def read_explained() -> set[str]:
    """Return the mutants that the page calls equivalent: the code spans of its table."""
    return set(re.findall(r"^\| `(.+?)` \|", PAGE.read_text(), re.MULTILINE))


def read_exit_codes(meta: Path) -> dict[str, int]:
    """Return the exit code of the tests of each mutant that was tried."""
    exit_codes = json.loads(meta.read_text())["exit_code_by_key"]
    return {name: code for name, code in exit_codes.items() if code is not None}


def describe(name: str, module: Path) -> str:
    """Return ``module.function: the changed line``."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    diff = get_diff_for_mutant(name, path=module).splitlines()[2:]
    added = [line[1:].strip() for line in diff if line.startswith("+")]
    module_name, _, function = name.removeprefix("imagefilter.").rpartition(".")
    function = function.partition("__mutmut_")[0][2:].replace("ǁ", ".")
    return f"{module_name}.{function}: {' '.join(added)}".replace("|", "¦")


if __name__ == "__main__":
    sys.exit(main())
