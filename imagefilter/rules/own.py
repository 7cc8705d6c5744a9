"""The operator's own rules: one expression each, judged as a row of the table of rules."""

from __future__ import annotations

import contextlib
import logging
from typing import NamedTuple

from imagefilter.rules.case import Case, LookupFailed, Refusal, ServerNotFound
from imagefilter.rules.contract import describe_missing_server
from imagefilter.rules.document import build_document
from imagefilter.rules.expression import EvaluationFailed, Expression
from imagefilter.rules.limits import refuse_busy

LOG = logging.getLogger(__name__)


class OwnRule(NamedTuple):
    """A rule of the operator's own."""

    name: str
    message: str  # for the client
    actions: frozenset[str]
    projects: frozenset[str]  # empty: all
    expression: Expression

    @property
    def needs_usage(self) -> bool:
        """Whether images have to be counted."""
        return any(field.startswith("usage.") for field in self.expression.fields)

    @property
    def server_fields(self) -> frozenset[str]:
        """What it reads of the server."""
        return frozenset(field for field in self.expression.fields if field.startswith("server."))

    @property
    def needs_server(self) -> bool:
        """Whether the compute API has to be asked."""
        return bool(self.server_fields)

    def applies_to(self, action: str | None, project_id: str | None) -> bool:
        """Return whether a request is judged by it."""
        return action in self.actions and (not self.projects or project_id in self.projects)

    def check(self, case: Case) -> Refusal | None:
        """Refuse what the expression says; what it can't say anything about as well."""
        try:
            return self._judge(case)
        except ServerNotFound:
            return Refusal(describe_missing_server(case.action.target), 404, rule="server")
        except LookupFailed as error:
            return self._refuse_unknown(case, error)

    def _judge(self, case: Case) -> Refusal | None:
        if self.needs_usage:
            busy = refuse_busy(case)
            if busy:
                return busy
        document = build_document(case, self.expression.fields)
        try:
            if not self.expression.evaluate(document.values):
                return None
        except EvaluationFailed as failure:
            return self._refuse_failed(str(failure), document.absent)
        return Refusal(f"{self.message} ({self.name})")

    def _refuse_failed(self, reason: str, absent: dict[str, str]) -> Refusal:
        for field, why in absent.items():
            if reason.startswith(f"{field} is absent"):
                reason = f"{reason}: {why}"
        return Refusal(f"{self.message} ({self.name})", reason=reason)

    def _refuse_unknown(self, case: Case, error: LookupFailed) -> Refusal | None:
        what = "the server could not be looked up"
        if self.needs_usage and not self.needs_server:
            what = "the images could not be counted"
        LOG.error("rule %s: %s: %s; lookup_on_error is %s", self.name, what, error, case.policy.lookup_on_error)
        if case.policy.lookup_on_error == "allow":
            return self._refuse_anyway(case)
        if self.needs_usage and not self.needs_server:
            return Refusal("The snapshot limit could not be checked.", 503)
        return Refusal("The server could not be looked up.", 503)

    def _refuse_anyway(self, case: Case) -> Refusal | None:
        """Refuse what the expression refuses whatever could not be looked up: a client can make a look-up fail."""
        known = [field for field in self.expression.fields if not field.startswith(("server.", "usage."))]
        with contextlib.suppress(EvaluationFailed):
            if self.expression.evaluate(build_document(case, known).values):
                return Refusal(f"{self.message} ({self.name})")
        return None
