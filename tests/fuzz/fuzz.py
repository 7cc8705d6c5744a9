"""Coverage-guided fuzzing with atheris: ``make fuzz SECONDS=600``; every option of libFuzzer's can be given.

What is new goes into ``.fuzz``; a request that breaks something is written beside it, and its path printed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

FOLDER = Path(__file__).parent


def main() -> None:
    new = Path(".fuzz")
    new.mkdir(exist_ok=True)
    # Records are made, and go nowhere.
    log = logging.getLogger("imagefilter")
    log.setLevel(logging.INFO)
    log.addHandler(logging.NullHandler())
    log.propagate = False
    with atheris.instrument_imports(include=["imagefilter"]):
        from tests.fuzz.target import check
    # A request within the limit that takes seconds is a find as well.
    options = [f"-dict={FOLDER}/dictionary.txt", "-max_len=4096", "-timeout=10", f"-artifact_prefix={new}/find-"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(new), str(FOLDER / "corpus")], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
