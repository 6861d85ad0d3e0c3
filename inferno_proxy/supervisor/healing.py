"""What the supervisor healed, on its way to the control plane, which tells whoever watches the mesh.

One JSON object a line, over a socket pair that the control plane inherits: the supervisor has no gRPC in it, and it
outlives every control plane.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import asdict
from signal import Signals

from inferno_proxy.events import EventLog
from inferno_proxy.supervisor.act import Act


def line(act: Act) -> bytes:
    """An act for the wire."""
    return json.dumps(asdict(act)).encode() + b"\n"


def fate(status: int) -> str:
    """How a process ended, by the status that ``subprocess`` gives it, as the end of a sentence.

    >>> fate(-9)
    'was killed by SIGKILL'
    >>> fate(1)
    'ended with status 1'
    """
    return f"was killed by {Signals(-status).name}" if status < 0 else f"ended with status {status}"


async def carry(supervisor: socket.socket, events: EventLog) -> None:
    """Make events of what the supervisor says over a socket, until it ends or this is cancelled; then it is closed."""
    reader, writer = await asyncio.open_unix_connection(sock=supervisor)
    try:
        while told := await reader.readline():
            events.healed(**json.loads(told))
    finally:
        writer.close()
