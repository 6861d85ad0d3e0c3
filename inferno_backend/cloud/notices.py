"""What the provider announces to this machine, and what follows from it for the node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from inferno_backend.cloud.asking import Cloud
from inferno_backend.cloud.machine import Kind, Notice
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError
from inferno_runtime.latest import Latest

_LOG = logs.get("cloud")
# A machine that goes later than this works on until then: Azure tells of a reboot 15 minutes ahead.
_DRAIN_SECONDS = 120.0
# A machine that is still there so long after its end, and is no longer told of it, stays (it was only stopped).
_DOUBT_SECONDS = 60.0
# Providers give whole seconds: what moves by less has not moved.
_SECOND = 1.5
# A look that failed is tried again after this.
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A notice that was read. ``deadline`` is monotonic, ``noticed`` and ``ends`` are Unix seconds; None: not said."""

    kind: Kind
    action: str
    noticed: float
    deadline: float | None = None
    ends: float | None = None

    @property
    def key(self) -> tuple[Kind, str]:
        """What makes it the same notice when it is read again."""
        return self.kind, self.action


def advance(standing: Iterable[Standing], seen: Iterable[Notice], now: float, wall: float) -> tuple[Standing, ...]:
    """Take one look into account.

    Args:
        standing: The notices known before.
        seen: What the provider says now.
        now: Monotonic seconds.
        wall: Unix seconds.
    """
    known = {one.key: one for one in standing}
    found = {}
    for notice in seen:
        left = None if notice.left is None else max(0.0, notice.left)
        fresh = Standing(
            notice.kind,
            notice.action,
            wall,
            None if left is None else now + left,
            None if left is None else wall + left,
        )
        found[fresh.key] = _earlier(known.get(fresh.key), fresh)
    for key, one in known.items():
        # The end of a machine that was announced is not doubted before its time.
        if key not in found and one.kind is Kind.RECLAIM and now < (one.deadline or now) + _DOUBT_SECONDS:
            found[key] = replace(one, deadline=now if one.deadline is None else one.deadline)
    return tuple(sorted(found.values(), key=lambda one: (one.kind is not Kind.RECLAIM, one.key)))


def _earlier(known: Standing | None, fresh: Standing) -> Standing:
    """A notice that is read again; it never moves away, since a provider may say only how long its notices are."""
    if known is None:
        return fresh
    if fresh.deadline is None or (known.deadline is not None and known.deadline <= fresh.deadline + _SECOND):
        return known
    return replace(known, deadline=fresh.deadline, ends=fresh.ends)


def left(standing: Iterable[Standing], now: float) -> float | None:
    """Seconds until the machine goes, 0 when nobody says when; None when it stays."""
    ends = [one.deadline if one.deadline is not None else now for one in standing if one.kind is Kind.RECLAIM]
    return max(0.0, min(ends) - now) if ends else None


def reason(standing: Iterable[Standing], now: float) -> str:
    """Why the node is to take no new work now; empty while it is."""
    due = [
        one
        for one in standing
        if one.kind is Kind.RECLAIM and (one.deadline is None or one.deadline - now <= _DRAIN_SECONDS)
    ]
    if not due:
        return ""
    first = min(due, key=lambda one: one.deadline or 0.0)
    when = "soon" if first.ends is None else f"at {datetime.fromtimestamp(first.ends, UTC):%H:%M:%S} UTC"
    return f"The provider takes this machine back {when} ({first.action})."


class Notices:
    """Follows what the provider announces. ``standing``: every notice; ``draining``: why no new work is wanted."""

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        self.standing = Latest[tuple[Standing, ...]](())
        self.draining = Latest("")
        self._cloud = cloud
        self._clock = clock
        self._deaf = False

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the machine goes; None when it stays."""
        return left(self.standing.value, self._clock.monotonic())

    async def seconds_left_by(self, moment: float) -> float | None:
        """The same, but a notice may still come until ``moment`` (monotonic seconds)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - self._clock.monotonic())):
                await self.standing.wait_for(lambda standing: left(standing, 0.0) is not None)
        return self.seconds_left

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                seen = await self._cloud.look()
            except InfernoError as error:
                self._tell(error)
                await self._clock.sleep(_AGAIN_SECONDS)
                continue
            self._deaf = False
            self.take(seen)
            await self._clock.sleep(self._cloud.pause)

    def take(self, seen: Iterable[Notice]) -> None:
        """Take one look into account."""
        now = self._clock.monotonic()
        before = {one.key for one in self.standing.value}
        self.standing.set(advance(self.standing.value, seen, now, self._clock.wall()))
        for one in self.standing.value:
            if one.key not in before:
                seconds = None if one.deadline is None else round(one.deadline - now)
                _LOG.warning("a notice of the provider", kind=one.kind.value, action=one.action, seconds_left=seconds)
        self.draining.set(reason(self.standing.value, now))

    def _tell(self, error: InfernoError) -> None:
        """One line when it is not heard any more, not one for each look."""
        if not self._deaf:
            self._deaf = True
            _LOG.warning("notices of the provider cannot be read: asked again and again", error=error.sentence())
