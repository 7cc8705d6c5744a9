"""Run the benchmarks side by side in one run, print them, and write ``docs/performance.md``: ``make bench``.

The machine's speed drifts, so all cases of a table are interleaved, their order rotates, and what is compared are
minima over many rounds. Ratios are the figures to quote.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tests.benchmarks import audit, cost, gateway, page, reading, relay
from tests.benchmarks.measure import Table, text
from tests.benchmarks.subject import quiet

TABLES = (
    *(cost.requests, cost.metadata, cost.sections, cost.threads),
    *(audit.records, reading.reading, relay.catching_up, relay.publishing, gateway.gateway),
)


def main(rounds: int = 41, span: float = 0.004, folder: Path | None = None) -> list[Table]:
    """Run all of it.

    :param rounds: how often each call is timed; :param span: how long each time, in seconds.
    :param folder: where the page and its plots are written; None writes none.
    """
    quiet()
    tables = []
    for table in TABLES:
        tables.append(table(rounds, span))
        print(text(tables[-1]), flush=True)
        print()
    logging.disable(logging.NOTSET)
    if folder:
        page.write(folder, tables)
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="write performance.md and its plots there")
    main(folder=parser.parse_args().page)
