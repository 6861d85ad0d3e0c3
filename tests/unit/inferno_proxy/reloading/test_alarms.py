"""What calls for a look at what clients were sent."""

from __future__ import annotations

from inferno_proxy.events import EventLog
from inferno_proxy.reloading.alarms import Alarms
from inferno_proxy.xds.clients import ClientEvent
from inferno_runtime.clock import ManualClock


class World:
    """Alarms, and a client whose streams begin and end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.events = EventLog(self.clock)
        self.alarms = Alarms(self.events, self.clock)

    async def ends(self, client: str, *, after: float) -> None:
        await self.clock.advance(after)
        self.alarms.report(ClientEvent("CLIENT_DISCONNECTED", client, "It left."))


def test_a_refusal_rings_and_every_event_is_kept() -> None:
    world = World()
    for kind in ("CLIENT_CONNECTED", "CLIENT_REFUSED", "CLIENT_HANGS"):
        world.alarms.report(ClientEvent(kind, "a", "It happened."))
    assert (world.alarms.count.value, world.alarms.unsteady) == (1, set())
    assert [each.kind for each in world.events.kept] == ["CLIENT_CONNECTED", "CLIENT_REFUSED", "CLIENT_HANGS"]


async def test_three_ends_within_ten_seconds_ring_once() -> None:
    world = World()
    for seconds in (0, 5, 5):
        await world.ends("a", after=seconds)
    assert (world.alarms.count.value, world.alarms.unsteady) == (1, {"a"})
    await world.ends("a", after=0)
    assert world.alarms.count.value == 1


async def test_ends_that_are_far_between_or_of_several_clients_do_not_ring() -> None:
    world = World()
    for seconds in (0, 9, 9, 9):
        await world.ends("a", after=seconds)
    for client in "bcd":
        await world.ends(client, after=11)
    assert (world.alarms.count.value, world.alarms.unsteady) == (0, set())
