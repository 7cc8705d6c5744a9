"""The search for a counter-example: random requests to a real Nova, bare and behind the filter, held together.

``make search N=1000000`` goes on where it was stopped. What it finds is shrunk and kept in ``finds.json``, to be tried
again by every run of the tests. What must hold is said in ``oracle.py``, the requests are those of ``grammar.py``.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
from hypothesis import strategies as st

from tests.nova.cloud import Cloud
from tests.nova.grammar import Request, requests
from tests.nova.oracle import CounterexampleError, check
from tests.nova.plants import PLANTS
from tests.nova.policies import POLICIES, Policy
from tests.nova.watched import Send, Watched, sender, watched

FINDS = Path(__file__).with_name("finds.json")
STATE = Path(".search.json")
BATCH = 1000

# The answer of the bare side is the same for all policies, and sending is what takes the time.
_POLICIES_AT_ONCE = 3


class Find(NamedTuple):
    """A counter-example, shrunk."""

    property: str
    policy: str
    request: Request
    examples: int = 0  # until it was found

    def to_json(self) -> dict[str, Any]:
        return {"property": self.property, "policy": self.policy, "became": "", "request": self.request.to_json()}


class Search:
    """Sends each request to a bare Nova, and to guarded ones under several policies.

    :param guarded: how to send a request to the guarded side under a policy: into a pipeline of this process, or to a
        socket behind which the watched Nova is.
    :param bare: how to send a request to the bare side, if not into this process.
    :param fits: which requests to send at all.
    """

    def __init__(
        self,
        watch: Watched,
        guarded: Callable[[Policy], Send],
        policies: Sequence[Policy] = POLICIES,
        bare: Send | None = None,
        fits: Callable[[Request], bool] | None = None,
    ) -> None:
        self.happened: collections.Counter[str] = collections.Counter()
        self.tried: tuple[Request, Policy]  # last
        self._watch = watch
        self._bare = bare or sender(watch.cloud.bare, watch.server)
        self._policies = list(policies)
        self._guarded = {policy.name: guarded(policy) for policy in policies}
        self._requests = requests().filter(fits) if fits else requests()

    @property
    def examples(self) -> int:
        """How many were tried."""
        return sum(self.happened.values())

    def check(self, request: Request, policies: Sequence[Policy]) -> None:
        """Try a request under some policies: each of these is an example.

        :raises CounterexampleError: if a property does not hold.
        """
        bare = self._watch.see(self._bare, request)
        for policy in policies:
            self.tried = (request, policy)
            guarded = self._watch.see(self._guarded[policy.name], request)
            try:
                self.happened[check(request, policy, bare, guarded, self._watch.own_properties)] += 1
            except CounterexampleError as error:
                told = f"{error}\npolicy {policy.name!r}: {request}\nbare: {bare.answer}\nguarded: {guarded.answer}"
                raise CounterexampleError(told) from None

    def run(self, examples: int, seed: int, shrink: bool = True) -> Find | None:
        """Try so many examples, always the same ones for a seed, until a property does not hold."""
        before, first = self.examples, 0

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=-(-examples // _POLICIES_AT_ONCE),
            phases=(hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])),
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(self._requests, st.integers(0, len(self._policies) - 1))
        def each(request: Request, number: int) -> None:
            nonlocal first
            try:
                self.check(request, self._some_policies(number))
            except CounterexampleError:
                first = first or self.examples - before + 1
                raise

        try:
            each()
        except (CounterexampleError, hypothesis.errors.Flaky) as error:
            request, policy = self.tried
            return Find(str(error).partition("\n")[0], policy.name, request, first)
        return None

    def _some_policies(self, first: int) -> list[Policy]:
        """Three of them, far apart."""
        count = len(self._policies)
        return [
            self._policies[(first + step * count // _POLICIES_AT_ONCE) % count] for step in range(_POLICIES_AT_ONCE)
        ]


def in_process(cloud: Cloud) -> Callable[[Policy], Send]:
    """The filter in Nova's own pipelines, or in front of them."""

    def guarded(policy: Policy) -> Send:
        if policy.place == "pipeline":
            return sender(cloud.app(policy.options), cloud.server)
        return sender(cloud.unauthenticated({"audit_journal": str(cloud.journal), **policy.options}), cloud.server)

    return guarded


def finds() -> list[Find]:
    """What was found so far."""
    return [Find(each["property"], each["policy"], Request.from_json(each["request"])) for each in _kept()]


def keep(find: Find) -> None:
    """Add to what was found; what became of it is for people to say."""
    if find.to_json() not in [{**each, "became": ""} for each in _kept()]:
        FINDS.write_text(json.dumps([*_kept(), find.to_json()], indent=1, ensure_ascii=False) + "\n")


def _kept() -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = json.loads(FINDS.read_text())
    return kept


def count_until_caught(search: Search, plant: str, seed: int, most: int) -> int | None:
    """How many examples it takes to find a planted mistake; None: more than ``most``."""
    with PLANTS[plant]():
        find = search.run(most, seed, shrink=False)
    return find.examples if find else None


def _long_run(search: Search, examples: int) -> int:
    """Try requests in batches, a seed each, and note after each how far it came."""
    state = json.loads(STATE.read_text()) if STATE.exists() else {"seed": 0, "finds": 0, "happened": {}}
    search.happened.update(state["happened"])
    begun, before = time.monotonic(), search.examples
    while search.examples < examples:
        find = search.run(BATCH, state["seed"])
        if find:
            keep(find)
            state["finds"] += 1
            print(f"seed {state['seed']}: {json.dumps(find.to_json())}", flush=True)
        state.update(seed=state["seed"] + 1, happened=search.happened)
        STATE.write_text(json.dumps(state, indent=1))
        if state["seed"] % 10 == 0:
            rate = (search.examples - before) / (time.monotonic() - begun)
            print(f"{search.examples} examples, {rate:.0f} a second, {state['finds']} finds", flush=True)
    for word, count in search.happened.most_common():
        print(f"{count:>9} {word}")
    print(f"{search.examples} examples, {state['finds']} finds (to begin anew remove {STATE})")
    return 1 if state["finds"] else 0


def _plants(search: Search, seeds: int, most: int) -> int:
    """Plant each mistake and say how many examples it takes to find it."""
    missed = 0
    print(f"| planted mistake | examples until caught: median of {seeds} seeds | most |\n|---|---|---|")
    for plant in PLANTS:
        counts = [count_until_caught(search, plant, seed, most) for seed in range(seeds)]
        missed += counts.count(None)
        known = [count for count in counts if count is not None]
        print(
            f"| {plant} | {statistics.median(known):.0f} | {max(known)} |" if known else f"| {plant} | missed | |",
            flush=True,
        )
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nova.search", description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=10_000, help="how many in all, those of earlier runs included")
    parser.add_argument(
        "--plants", type=int, metavar="SEEDS", help="plant mistakes instead, and count until each is caught"
    )
    args = parser.parse_args()
    cloud = Cloud()
    cloud.setUp()
    try:
        with watched(cloud) as watch:
            search = Search(watch, in_process(cloud))
            gc.freeze()  # what Nova has loaded by now stays
            return _plants(search, args.plants, 5000) if args.plants else _long_run(search, args.examples)
    finally:
        logging.disable(logging.CRITICAL)  # Nova's own words at its end
        cloud.doCleanups()


if __name__ == "__main__":
    raise SystemExit(main())
