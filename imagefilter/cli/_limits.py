"""The limits that the census is compared with: those of a config file, or one to try."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Callable, NamedTuple

from imagefilter.cli._options import DEFAULT_CONFIG, load_config
from imagefilter.cli._output import fail
from imagefilter.policy.limits import apply_keystone
from imagefilter.policy.policy import Policy
from imagefilter.rules.case import LookupFailed


class Limits(NamedTuple):
    """Limits on the images of servers; -1 is no limit."""

    per_server: int = -1
    per_project: int = -1
    in_progress: int = -1


class LimitSource:
    """The limits of each project."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._find_token: Callable[[], str] | None = None
        self._found: dict[str, Limits] = {}  # by project
        self._tried: Limits | None = None
        self._policy: Policy | None = None
        if args.limit is None:
            self._policy = _load_policy(args.config)
        elif args.by == "server":
            self._tried = Limits(per_server=args.limit)
        else:
            self._tried = Limits(per_project=args.limit)

    def log_in(self, find_token: Callable[[], str]) -> None:
        """Let the limits that are Keystone's be asked, with an administrator's token."""
        self._find_token = find_token

    def for_project(self, project_id: str) -> Limits:
        """Return the limits of a project; end the program with exit status 2 if Keystone does not tell them."""
        if self._tried is not None:
            return self._tried
        if self._policy is None:
            return Limits()
        if project_id not in self._found:
            self._found[project_id] = self._find(self._policy, project_id)
        return self._found[project_id]

    def _find(self, policy: Policy, project_id: str) -> Limits:
        limits = policy.for_project(project_id).limits
        if limits.from_keystone and self._find_token is not None:
            from imagefilter.lookup.identity import IdentityAPI  # noqa: PLC0415  # it loads an HTTP client

            api = IdentityAPI(policy.image_api, policy.lookup_ttl)
            try:
                registered = api.limits(self._find_token(), project_id, policy.image_api.timeout)
            except LookupFailed as error:
                fail(str(error))
            limits = apply_keystone(limits, registered)
        return Limits(limits.per_server, limits.per_project, limits.in_progress)


def refusals(rule: str, limit: int, in_use: int) -> Iterator[str]:
    """Yield why one image more would be refused."""
    if 0 <= limit <= in_use:
        yield f"{rule} (limit {limit}, in use {in_use})"


def _load_policy(path: str) -> Policy | None:
    if path == DEFAULT_CONFIG and not os.path.exists(path):
        sys.stderr.write(f"no limits: {path} does not exist; name a config file (--config FILE) or try a --limit N\n")
        return None
    return load_config(path)
