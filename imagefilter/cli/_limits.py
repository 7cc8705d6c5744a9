"""The limits that the census is compared with: those of a config file, or one to try."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from imagefilter.cli._options import DEFAULT_CONFIG, load_config
from imagefilter.policy.policy import Policy


class Limits(NamedTuple):
    """Limits on the images of servers; -1 is no limit."""

    per_server: int = -1
    per_project: int = -1
    in_progress: int = -1


class LimitSource:
    """The limits of each project."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._tried: Limits | None = None
        self._policy: Policy | None = None
        if args.limit is None:
            self._policy = _load_policy(args.config)
        elif args.by == "server":
            self._tried = Limits(per_server=args.limit)
        else:
            self._tried = Limits(per_project=args.limit)

    def for_project(self, project_id: str) -> Limits:
        """Return the limits of a project."""
        if self._tried is not None:
            return self._tried
        if self._policy is None:
            return Limits()
        limits: Any = getattr(self._policy.for_project(project_id), "limits", Limits())
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
