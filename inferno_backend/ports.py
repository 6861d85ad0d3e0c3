"""Ports for a node's programs."""

from __future__ import annotations

import random
from collections.abc import Sequence

from inferno_runtime.errors import Unavailable
from inferno_runtime.process import port_holder

# Below the range the kernel takes ports for outgoing connections from: those must not take ours between two lives.
_FIRST, _LAST = 20_000, 32_000


def choose(host: str, wanted: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    """The wanted ports; for each left open (0) the one ``before`` if nobody took it, or a free one.

    Raises:
        Unavailable: A wanted port is taken; the sentence says by whom.
    """
    chosen: list[int] = []
    for port, last in zip(wanted, before, strict=True):
        if port and (holder := port_holder(host, port)):
            raise Unavailable(
                f"{host}:{port} is used by {holder}.",
                reason="PORT_IN_USE",
                fix="Stop it, or choose another port (0 picks a free one).",
            )
        chosen.append(port or _free(host, last, chosen))
    return tuple(chosen)


def _free(host: str, preferred: int, taken: list[int]) -> int:
    choice = random.SystemRandom()
    port = preferred or choice.randint(_FIRST, _LAST)
    while port in taken or port_holder(host, port):
        port = choice.randint(_FIRST, _LAST)
    return port
