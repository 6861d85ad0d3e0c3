"""What a provider is: it starts and stops nodes of a pool, and lists those that it has tagged as ours.

A provider remembers nothing and judges nothing. It is never relied on to notice that a call is a repeat: the enactor
names each node after the intent that starts it, and reads :meth:`Provider.nodes` before it calls again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from inferno_governator.pools.pool import Pool

# Key and value of the tag, label or annotation that marks a machine as started by a governator; beside it the node's
# name and its pool, by the two other keys. What bears no such tag is neither listed nor ever stopped.
TAG = "inferno-governator"
TAG_NODE = "inferno-node"
TAG_POOL = "inferno-pool"


class MachineState(Enum):
    """What a machine does, as its provider tells it."""

    # It is asked for and does not run yet.
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    # It is there, runs not, and may still cost something. It is never started again: a new one is.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine that is tagged as ours.

    Attributes:
        node: The node's name, as given to :meth:`Provider.start`.
        pool: The pool's name, as it was then.
        born_at: When the provider was asked for it, in Unix seconds; 0 where it does not tell.
        machine: The provider's own name of it, such as ``i-0abc`` or a process id.
        zone: Region, or region and zone, where it is; empty where there is none.
        why: What the provider says is wrong with it; empty while nothing is.
    """

    node: str
    pool: str
    state: MachineState
    born_at: float = 0.0
    machine: str = ""
    zone: str = ""
    why: str = ""


@runtime_checkable
class Provider(Protocol):
    """Starts and stops machines. ``name`` is what settings call it.

    Every method raises by how the caller is to react:

    - Unavailable, TimedOut: temporary; ask again. Whether a start or a stop took place is not known: list first.
    - Exhausted: no capacity now (reason ``NO_CAPACITY``) or too many calls (``THROTTLED``); wait, or use another pool.
      Nothing was started.
    - Denied, Unauthenticated: the credentials do not allow it, or are missing; a person must act.
    - InvalidInput: the pool's settings are refused, for example an instance type that does not exist.
    - Unsupported: a library that it needs is not installed.
    """

    name: str

    async def check(self) -> str:
        """Ask for nothing but whether it could: credentials, permissions (by the provider's own dry run where it has
        one), settings. Returns one sentence on who it acts as and where."""
        ...

    async def start(self, node: str, pool: Pool) -> None:
        """Ask for one machine that becomes the node of this name. Returns when the provider has accepted it, not when
        it runs. A second call of the same name may start a second machine; but where the provider can notice it, it
        is answered like the first."""
        ...

    async def stop(self, node: str) -> None:
        """End the machine of a node so that it costs nothing more. Of a node that is not there, or not ours, nothing
        is done and no error raised: it is stopped already, or was never to be touched."""
        ...

    async def nodes(self) -> Sequence[Machine]:
        """Every machine that bears our tag and is not gone for good; complete, or an error."""
        ...
