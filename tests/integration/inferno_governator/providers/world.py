"""What the contract of providers asks of each one's far side."""

from __future__ import annotations

from typing import Protocol

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Machine, MachineState, Provider
from tests.waiting import eventually

# Something runs that the provider may not have heard of yet, or does no more.
LIVE = (MachineState.PENDING, MachineState.RUNNING)


class World(Protocol):
    """One provider and its far side."""

    pool: Pool

    def provider(self, *pools: Pool) -> Provider:
        """A provider that knows nothing of those before it, as after a restart; of ``pool`` where none is given."""
        ...

    async def foreign(self) -> str:
        """Start something that nobody has tagged as ours; return what the far side calls it."""
        ...

    async def lives(self, machine: str) -> bool:
        """Ask the far side itself whether it is there."""
        ...

    async def count(self) -> int:
        """Ask the far side itself how many machines live."""
        ...

    async def go_away(self) -> None:
        """From now on nobody answers; nothing is asked of a world after that."""
        ...


async def living(provider: Provider) -> dict[str, Machine]:
    """Machines that cost something, by the names of their nodes."""
    return {each.node: each for each in await provider.nodes() if each.state in LIVE}


async def running(provider: Provider, *names: str) -> dict[str, Machine]:
    """Wait until exactly these run, and return them."""

    async def seen() -> dict[str, Machine]:
        found = await living(provider)
        assert set(found) == set(names), found
        assert {each.state for each in found.values()} <= {MachineState.RUNNING}
        return found or {"": Machine("", "", MachineState.RUNNING)}

    return await eventually(seen, 60, f"{names or 'none'} run")
