"""What `make mutants` found: mutants killed per module, and survivors that docs/mutants.md does not explain.

A mutant is known by its module, its function and its changed line: mutmut's own numbers move with every edit.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mutants.md"
GOAL = 0.95
SURVIVED = (0, 33)  # mutmut's exit codes: passed, and no test at all


def explained() -> set[str]:
    """The mutants that the page calls equivalent: the code spans of its table."""
    return set(re.findall(r"^\| `(.+?)` \|", PAGE.read_text(), re.MULTILINE))


def mutant(name: str, path: Path) -> str:
    """``module.function: the changed line``."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    added = [line[1:].strip() for line in get_diff_for_mutant(name, path=path).splitlines()[2:] if line[:1] == "+"]
    module, _, function = name.removeprefix("imagefilter.").partition(".")
    function = function.partition("__mutmut_")[0][2:].replace("ǁ", ".")
    return f"{module}.{function}: {' '.join(added)}".replace("|", "¦")


def main() -> int:
    total = killed = 0
    known, unknown = explained(), []
    for meta in sorted(ROOT.glob("mutants/imagefilter/*.meta")):
        codes = {
            name: code for name, code in json.loads(meta.read_text())["exit_code_by_key"].items() if code is not None
        }
        survivors = [name for name, code in codes.items() if code in SURVIVED]
        found = [mutant(name, Path("imagefilter", meta.name.removesuffix(".meta"))) for name in survivors]
        unknown += [each for each in found if each not in known]
        total += len(codes)
        killed += len(codes) - len(survivors)
        print(f"{meta.stem}: {len(codes) - len(survivors)} of {len(codes)} killed")
    print(f"all: {killed} of {total} killed, {killed / max(total, 1):.1%}; survivors not explained: {len(unknown)}")
    print("\n".join(unknown))
    return 0 if total and killed / total >= GOAL and not unknown else 1


if __name__ == "__main__":
    sys.exit(main())
