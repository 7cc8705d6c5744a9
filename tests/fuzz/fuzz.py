"""Coverage-guided fuzzing with atheris: ``make fuzz SECONDS=600``; libFuzzer's options can be given.

New inputs are kept in ``.fuzz``; a request that breaks a property is written there too, and its path printed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

FOLDER = Path(__file__).parent


def main() -> None:
    """Fuzz until libFuzzer's limits are reached."""
    found = Path(".fuzz")
    found.mkdir(exist_ok=True)
    # Records are built, and discarded.
    log = logging.getLogger("imagefilter")
    log.setLevel(logging.INFO)
    log.addHandler(logging.NullHandler())
    log.propagate = False
    with atheris.instrument_imports(include=["imagefilter"]):
        from tests.fuzz.target import check
    # A request within the limit that takes seconds is a finding as well.
    options = [f"-dict={FOLDER}/dictionary.txt", "-max_len=4096", "-timeout=10", f"-artifact_prefix={found}/find-"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(found), str(FOLDER / "corpus")], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
