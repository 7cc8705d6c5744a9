"""Run the benchmarks side by side in one run, print them, and write their page: ``make bench``.

The machine's speed drifts, so all cases of a table are interleaved, their order rotates, and the least times over many
rounds are compared. Ratios are the figures to quote.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tests.benchmarks import audit, cost, gateway, page, reading, real_nova, relay, versions
from tests.benchmarks.measure import Table, text
from tests.benchmarks.subject import quiet

TABLES = (
    cost.requests,
    cost.metadata,
    cost.sections,
    cost.threads,
    audit.records,
    reading.reading,
    relay.catching_up,
    relay.publishing,
    cost.own_rules,
    real_nova.real_nova,
    gateway.gateway,
)


def run(rounds: int = 41, span: float = 0.004, folder: Path | None = None) -> list[Table]:
    """Run all benchmarks and print their tables.

    :param rounds: how often each call is timed.
    :param span: how long it is repeated each time, in seconds.
    :param folder: where the page and its plots are written; None writes none.
    """
    quiet()
    tables = []
    for build_table in TABLES:
        tables.append(build_table(rounds, span))
        print(text(tables[-1]), flush=True)
        print()
    logging.disable(logging.NOTSET)
    if folder:
        page.write(folder, tables)
    return tables


def main() -> None:
    """Run all benchmarks, or compare two versions of the filter."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="write performance.md and its plots there")
    help_text = "only compare this version of the filter with the one in another checkout"
    parser.add_argument("--against", type=Path, metavar="FOLDER", help=help_text)
    args = parser.parse_args()
    if args.against:
        print(text(versions.compare(args.against)))
    else:
        run(folder=args.page)


if __name__ == "__main__":
    main()
