"""The search for a counter-example: random requests to a real Nova, bare and behind the filter, compared.

``make search N=1000000`` continues where it was stopped. A counter-example is shrunk and kept in ``regressions.json``,
which every run of the tests tries again. ``oracle.py`` holds the properties, ``grammar.py`` the requests.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
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
from tests.nova.instrumented_nova import InstrumentedNova, instrument
from tests.nova.oracle import CounterexampleError, check
from tests.nova.policies import POLICIES, Policy
from tests.nova.seeded_bugs import SEEDED_BUGS
from tests.nova.senders import Send, send_in_process
from tests.nova.trial import Trial

REGRESSIONS = Path(__file__).with_name("regressions.json")
STATES = {False: Path(".search.json"), True: Path(".search-volume.json")}  # about a server on a volume?
BATCH = 1000
MAX_EXAMPLES = 5000  # until a seeded bug counts as missed

# The response of the bare side is the same for all policies, and sending is what takes the time.
_POLICIES_AT_ONCE = 3


class Counterexample(NamedTuple):
    """A request and a policy for which a property does not hold, shrunk."""

    property: str
    policy: str
    request: Request
    examples: int = 0  # that were tried until it was found

    def to_json(self) -> dict[str, Any]:
        """Return it as readable JSON; what came of it is for people to write."""
        return {"property": self.property, "policy": self.policy, "became": "", "request": self.request.to_json()}


class Search:
    """Sends each request to a bare Nova, and to guarded ones under several policies.

    :param guarded: returns how to send a request to the guarded side under a policy: into a pipeline of this process,
        or to a socket behind which the instrumented Nova is.
    :param bare: how to send a request to the bare side, if not into this process.
    :param fits: says of a request whether to send it at all.
    """

    def __init__(
        self,
        nova: InstrumentedNova,
        guarded: Callable[[Policy], Send],
        policies: Sequence[Policy] = POLICIES,
        bare: Send | None = None,
        fits: Callable[[Request], bool] | None = None,
    ) -> None:
        self.happened: collections.Counter[str] = collections.Counter()
        self.last: tuple[Request, Policy]  # that was tried
        self._nova = nova
        self._bare = bare or send_in_process(nova.cloud.bare, nova.cloud.server)
        self._policies = list(policies)
        self._guarded = {policy.name: guarded(policy) for policy in policies}
        self._requests = requests()
        if fits:
            self._requests = self._requests.filter(fits)

    @property
    def examples(self) -> int:
        """How many were tried."""
        return sum(self.happened.values())

    def count(self, beginning: str) -> int:
        """Return how many examples have a summary that begins so."""
        return sum(count for summary, count in self.happened.items() if summary.startswith(beginning))

    def check(self, request: Request, policies: Sequence[Policy]) -> None:
        """Try a request under some policies: each of these is an example.

        :raises CounterexampleError: if a property does not hold.
        """
        bare = self._nova.observe(self._bare, request)
        for policy in policies:
            self.last = (request, policy)
            guarded = self._nova.observe(self._guarded[policy.name], request)
            trial = Trial(request, policy, bare, guarded, self._nova.cloud.own_properties)
            try:
                self.happened[check(trial)] += 1
            except CounterexampleError as error:
                raise CounterexampleError(_describe(error, trial)) from None

    def run(self, examples: int, seed: int, shrink: bool = True) -> Counterexample | None:
        """Try so many examples, always the same ones for a seed, until a property does not hold."""
        before, first_failure = self.examples, 0
        phases = [hypothesis.Phase.generate]
        if shrink:
            phases.append(hypothesis.Phase.shrink)

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=-(-examples // _POLICIES_AT_ONCE),
            phases=phases,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(self._requests, st.integers(0, len(self._policies) - 1))
        def try_example(request: Request, number: int) -> None:
            nonlocal first_failure
            try:
                self.check(request, self._choose_policies(number))
            except CounterexampleError:
                first_failure = first_failure or self.examples - before + 1
                raise

        try:
            try_example()
        except (CounterexampleError, hypothesis.errors.Flaky) as error:
            request, policy = self.last
            return Counterexample(str(error).partition("\n")[0], policy.name, request, first_failure)
        return None

    def _choose_policies(self, first: int) -> list[Policy]:
        """Return some policies, far apart in the list."""
        count = len(self._policies)
        policies = []
        for step in range(_POLICIES_AT_ONCE):
            policies.append(self._policies[(first + step * count // _POLICIES_AT_ONCE) % count])
        return policies


def guard_in_process(cloud: Cloud) -> Callable[[Policy], Send]:
    """Return how to send requests to the filter in Nova's own pipelines, or in front of them."""

    def guarded(policy: Policy) -> Send:
        if policy.place == "pipeline":
            return send_in_process(cloud.app(policy.options), cloud.server)
        return send_in_process(cloud.filter_in_front(policy.options), cloud.server)

    return guarded


def load_regressions() -> list[Counterexample]:
    """Return the counter-examples found so far."""
    regressions = []
    for entry in _read_regressions():
        request = Request.from_json(entry["request"])
        regressions.append(Counterexample(entry["property"], entry["policy"], request))
    return regressions


def keep(counterexample: Counterexample) -> None:
    """Add a counter-example to those found so far."""
    entries = _read_regressions()
    new = counterexample.to_json()
    if new not in [{**entry, "became": ""} for entry in entries]:
        REGRESSIONS.write_text(json.dumps([*entries, new], indent=1, ensure_ascii=False) + "\n")


def count_examples(search: Search, bug: str, seed: int, limit: int) -> int | None:
    """Return how many examples it takes to find a seeded bug; None: more than the limit."""
    with SEEDED_BUGS[bug]():
        counterexample = search.run(limit, seed, shrink=False)
    if counterexample is None:
        return None
    return counterexample.examples


def _describe(error: CounterexampleError, trial: Trial) -> str:
    responses = f"bare: {trial.bare.response}\nguarded: {trial.guarded.response}"
    return f"{error}\npolicy {trial.policy.name!r}: {trial.request}\n{responses}"


def _read_regressions() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(REGRESSIONS.read_text())
    return entries


def _search(search: Search, examples: int, saved: Path) -> int:
    """Try requests in batches, one seed for each, and save the progress after each."""
    state = {"seed": 0, "counterexamples": 0, "happened": {}}
    if saved.exists():
        state = json.loads(saved.read_text())
    search.happened.update(state["happened"])
    started_at, before = time.monotonic(), search.examples
    while search.examples < examples:
        counterexample = search.run(BATCH, state["seed"])
        if counterexample:
            keep(counterexample)
            state["counterexamples"] += 1
            print(f"seed {state['seed']}: {json.dumps(counterexample.to_json())}", flush=True)
        state.update(seed=state["seed"] + 1, happened=search.happened)
        saved.write_text(json.dumps(state, indent=1))
        if state["seed"] % 10 == 0:
            rate = (search.examples - before) / (time.monotonic() - started_at)
            print(f"{search.examples} examples, {rate:.0f} a second, {state['counterexamples']} counter-examples")
    for summary, count in search.happened.most_common():
        print(f"{count:>9} {summary}")
    print(f"{search.examples} examples, {state['counterexamples']} counter-examples (to start again, remove {saved})")
    return int(state["counterexamples"] > 0)


def _find_seeded_bugs(search: Search, seeds: int) -> int:
    """Seed each bug and print how many examples it takes to find it."""
    missed = 0
    print(f"| seeded bug | examples until found: median of {seeds} seeds | most |\n|---|---|---|")
    for bug in SEEDED_BUGS:
        counts = [count_examples(search, bug, seed, MAX_EXAMPLES) for seed in range(seeds)]
        found = [count for count in counts if count is not None]
        missed += seeds - len(found)
        median = most = "missed"
        if found:
            median, most = f"{statistics.median(found):.0f}", f"{max(found)}"
        print(f"| {bug} | {median} | {most} |", flush=True)
    return int(missed > 0)


def main() -> int:
    """Run the search, or count how long it takes to find seeded bugs."""
    parser = argparse.ArgumentParser(prog="python -m tests.nova.search", description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=10_000, help="in all, with those of earlier runs")
    help_text = "seed bugs in the filter instead, and count the examples until each is found"
    parser.add_argument("--seeded-bugs", type=int, metavar="SEEDS", help=help_text)
    parser.add_argument("--volume", action="store_true", help="about a server that boots from a volume")
    args = parser.parse_args()
    cloud = Cloud()
    cloud.setUp()
    try:
        with contextlib.ExitStack() as stack:
            if args.volume:
                stack.enter_context(cloud.on_volume())
            nova = stack.enter_context(instrument(cloud))
            search = Search(nova, guard_in_process(cloud))
            gc.freeze()  # what Nova has loaded by now stays
            if args.seeded_bugs:
                return _find_seeded_bugs(search, args.seeded_bugs)
            return _search(search, args.examples, STATES[args.volume])
    finally:
        logging.disable(logging.CRITICAL)  # of what Nova logs when it ends
        cloud.doCleanups()


if __name__ == "__main__":
    raise SystemExit(main())
