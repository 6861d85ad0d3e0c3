"""A registry for tests, and a clock that the test moves."""

from __future__ import annotations

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Phase
from inferno_proxy.registry.admission import Limits
from inferno_proxy.registry.lease import Lease, Terms
from inferno_proxy.registry.registry import Registry
from inferno_runtime.clock import ManualClock


class World:
    """A registry, and a clock that the test moves."""

    def __init__(self, nodes: int = 100_000) -> None:
        self.clock = ManualClock()
        self.events = EventLog(self.clock)
        self.registry = Registry(Terms(3, 600, Limits(nodes=nodes)), self.clock, self.events)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and leases end, a quarter of a second at a time."""
        for _ in range(round(seconds * 4)):
            await self.clock.advance(0.25)
            self.registry.expire()

    def phase(self, node_id: str = "a") -> Phase:
        return self.registry.view.value.members[node_id].phase

    def reason(self, node_id: str = "a") -> str:
        return self.registry.view.value.members[node_id].reason

    def ended(self, lease: Lease) -> Exception | None:
        return lease.outlook.value.ended

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.kept]
