"""Record verdicts and outcomes, and decide what happens if that fails: no image without a record."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from imagefilter.audit import event
from imagefilter.audit.event import EventFactory
from imagefilter.fault import Fault
from imagefilter.journal import writer
from imagefilter.lookup.request import Measured
from imagefilter.policy.context import RequestContext
from imagefilter.policy.policy import Policy
from imagefilter.response import ObservedResponse
from imagefilter.rules.engine import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from pycadf.event import Event

# So many threads of a filter wait for the journal as long as it takes, the others only while records of this process
# are written: if another writer was stopped and has the lock, image actions fail, and threads are left for all other
# requests.
_PATIENT_THREADS = 4
_IMPATIENCE = 0.05  # seconds
_PROGRESS_SECONDS = 0.5  # since the last record: longer than a slow disk takes for one

#: Records are its lines where no journal is configured.
LOG = logging.getLogger("imagefilter.audit")


class Recorder:
    """Writes records of verdicts and outcomes to the policy's journal, or to the log where there is none."""

    def __init__(self) -> None:
        self._events = EventFactory()
        self._patient = threading.Semaphore(_PATIENT_THREADS)
        self._lock = threading.Lock()
        self._written_at = 0.0  # the last record
        self._unrecorded = 0  # records that could not be written since the last one that could
        self._configured = (0, 0)  # the process and the load of a policy that were recorded last

    def record_verdict(
        self, environ: WSGIEnvironment, context: RequestContext, verdict: Verdict, measured: Measured
    ) -> Event | None:
        """Record a verdict; when this returns, it is on disk.

        :param measured: what was counted for it.
        :returns: the record; None if there is nothing to record.
        :raises Fault: 503 if it can't be recorded, ``audit_on_error`` is ``deny``, and the mode of the project is
            ``enforce``: a trial hurts nobody.
        """
        policy = context.policy
        # A stranger's 401 goes to the log alone, so that strangers can't fill the disk.
        is_bare = not context.identity.has_token or verdict.rule == "token"
        if is_bare and not context.identity.authenticated:
            return None
        if policy.audit_journal is None and not LOG.isEnabledFor(logging.INFO):
            return None
        record = None
        try:
            record = self._events.build_verdict(environ, context, verdict, measured)
            self._record_configuration(policy)
            self._write(record, policy)
        except Exception as error:
            is_refused = policy.audit_on_error == "deny" and context.settings.mode == "enforce"
            what_happens = "the request is forwarded"
            if is_refused:
                what_happens = "the request is refused"
            self._count_unrecorded("verdict", error, policy, what_happens)
            if is_refused:
                raise Fault(503, "The request could not be recorded.") from error
        return record

    def record_outcome(
        self, verdict: Event | None, response: ObservedResponse, policy: Policy, lost_lock: bool = False
    ) -> None:
        """Record what the compute API responded; the response goes out whether that succeeds or not.

        :param verdict: the record of the verdict; None if there is none.
        :param lost_lock: whether the lock of a limit was lost meanwhile.
        """
        if verdict is None:
            return
        try:
            record = self._events.build_outcome(verdict, response)
            if lost_lock:
                event.add_content(record, lost_lock=True)
            self._write(record, policy)
        except Exception as error:
            self._count_unrecorded("outcome", error, policy, "the response is sent")

    def _record_configuration(self, policy: Policy) -> None:
        """Record the policy before this process's first verdict by it: servers load as root, and fork afterwards."""
        current = (os.getpid(), policy.loaded.serial)
        pid, serial = self._configured
        if pid == current[0] and serial >= current[1]:
            return
        self._write(self._events.build_configuration(policy), policy)
        self._configured = current

    def _write(self, record: Event, policy: Policy) -> None:
        with self._lock:
            unrecorded, self._unrecorded = self._unrecorded, 0
        if unrecorded:
            event.add_content(record, unrecorded=unrecorded)
        try:
            line = event.encode(record)
            if policy.audit_journal is None:
                LOG.info("%s", line.decode("ascii"))
            else:
                self._append(policy.audit_journal, line)
        except BaseException:
            with self._lock:
                self._unrecorded += unrecorded
            raise

    def _append(self, path: str, line: bytes) -> None:
        if self._patient.acquire(blocking=False):
            try:
                writer.append(path, line)
            finally:
                self._patient.release()
        else:
            self._append_while_others_do(path, line)
        self._written_at = time.monotonic()

    def _append_while_others_do(self, path: str, line: bytes) -> None:
        deadline = time.monotonic() + writer.LOCK_SECONDS
        while True:
            try:
                return writer.append(path, line, _IMPATIENCE)
            except TimeoutError:
                now = time.monotonic()
                if now - self._written_at > _PROGRESS_SECONDS or now > deadline:
                    raise

    def _count_unrecorded(self, what: str, error: Exception, policy: Policy, what_happens: str) -> None:
        with self._lock:
            self._unrecorded += 1
        is_expected = isinstance(error, OSError)
        reason: object = "see the traceback"
        if is_expected:
            reason = error
        LOG.error(
            "a record (%s) could not be written to audit_journal %s: %s: %s; %d so far; %s (audit_on_error is %s)",
            what,
            policy.audit_journal,
            type(error).__name__,
            reason,
            self._unrecorded,
            what_happens,
            policy.audit_on_error,
            exc_info=not is_expected,
        )
