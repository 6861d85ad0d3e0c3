"""The gate of the control plane's services: who is let in, and a note of who is not."""

from __future__ import annotations

from inferno_proxy.audit import AuditLog
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable
from inferno_runtime.identity.caller import ANONYMOUS, Caller
from inferno_runtime.identity.permission import Action, permit

_LOG = logs.get("gate")
# Seconds. A data plane that is refused asks again every second: one line tells of all that follow within this time.
_SAME = 60.0
# How many refusals of one caller are noted within that time; their subjects are whatever it sends.
_MOST = 64


class Gate:
    """Asks :func:`permit` and notes each refusal in the audit log."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._noted: dict[tuple[Caller, str, str, str], float] = {}

    def admit(self, caller: Caller, action: Action, subject: str = "", act: str = "") -> None:
        """Let a call pass; ``subject`` as :func:`permit` takes it, ``act`` what a refusal is noted as.

        Raises:
            Unauthenticated: Nobody knows who calls.
            Denied: The caller may not do this, or not for this subject.
        """
        try:
            permit(caller, action, subject)
        except InfernoError as error:
            self._note(caller, act or action.name, subject[:128], error)
            raise

    def turned_away(self, peer: str, error: InfernoError) -> None:
        """Note that a connection from this address was refused in the handshake, before anybody could be asked."""
        self._note(ANONYMOUS, "CONNECT", peer, error)

    def _note(self, caller: Caller, action: str, subject: str, error: InfernoError) -> None:
        now, key = self._clock.monotonic(), (caller, action, subject, error.reason)
        if now - self._noted.get(key, -_SAME) < _SAME:
            return
        self._noted = {each: at for each, at in self._noted.items() if now - at < _SAME}
        if sum(known == caller for known, *_ in self._noted) >= _MOST:
            # Ever other subjects must not push what operators did out of the audit log.
            return
        self._noted[key] = now
        try:
            self._audit.refused(caller, action, subject, error)
        except Unavailable as broken:
            # It is refused all the same.
            _LOG.error("a refusal is not noted", caller=str(caller), action=action, reason=broken.message)
