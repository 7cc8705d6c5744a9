"""What is recorded, where, and what happens if it can't be: no image without a record."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from imagefilter import event, journal
from imagefilter.action import ImageAction
from imagefilter.answer import Answer
from imagefilter.caller import Caller
from imagefilter.event import Observer
from imagefilter.fault import Fault
from imagefilter.policy import Policy
from imagefilter.rules import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from pycadf.event import Event

LOG = logging.getLogger(__name__)


class Audit:
    """Records verdicts and the answers to them."""

    def __init__(self) -> None:
        self._observer = Observer()
        self._lock = threading.Lock()
        self._lost = 0  # records that could not be written since the last one that could

    def verdict(
        self, environ: WSGIEnvironment, action: ImageAction, caller: Caller, verdict: Verdict, policy: Policy
    ) -> Event | None:
        """Record a verdict; when this returns, it is on disk. None if there is nothing to record.

        :raises Fault: 503 if it can't be recorded and the policy wants that refused.
        """
        if verdict.rule == "token":  # strangers shall not fill the disk: a bare 401 goes to the log alone
            return None
        if policy.audit_journal is None and not LOG.isEnabledFor(logging.INFO):
            return None
        record = None
        try:
            record = self._observer.verdict(environ, action, caller, verdict, policy)
            self._write(record, policy)
        except Exception as error:
            self._lose("verdict", error, policy)
            if policy.audit_on_error == "deny":
                raise Fault(503, "The request could not be recorded.") from error
        return record

    def answer(self, verdict: Event | None, answer: Answer, policy: Policy) -> None:
        """Record what the compute API answered; the answer goes out whether that succeeds or not."""
        if verdict is None:
            return
        try:
            seen = self._observer.answer(verdict, answer.status, answer.image_id, answer.seconds, answer.error)
            self._write(seen, policy)
        except Exception as error:
            self._lose("outcome", error, policy)

    def _write(self, record: Event, policy: Policy) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            event.add(record, unrecorded=lost)
        try:
            if policy.audit_journal is None:
                LOG.info("%s", event.encode(record).decode("ascii"))
            else:
                journal.append(policy.audit_journal, event.encode(record))
        except BaseException:
            with self._lock:
                self._lost += lost
            raise

    def _lose(self, what: str, error: Exception, policy: Policy) -> None:
        with self._lock:
            self._lost += 1
        known = isinstance(error, OSError)
        LOG.error(
            "a record could not be written (%s) to audit_journal %s: %s: %s; %d so far; audit_on_error is %s",
            what,
            policy.audit_journal,
            type(error).__name__,
            error if known else "see the traceback",
            self._lost,
            policy.audit_on_error,
            exc_info=not known,
        )
