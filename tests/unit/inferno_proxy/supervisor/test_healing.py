from __future__ import annotations

import asyncio
import socket

from inferno_proxy.events import EventLog
from inferno_proxy.supervisor.act import Act
from inferno_proxy.supervisor.healing import carry, fate, line
from inferno_runtime.clock import ManualClock

DEATH = Act("ENVOY_RESTARTED", "envoy", "Envoy was killed by SIGKILL", "process 7 is gone", "process 8 serves", 0.14)


def test_a_death_is_told_by_its_signal_or_its_status() -> None:
    assert (fate(-11), fate(3)) == ("was killed by SIGSEGV", "ended with status 3")


async def test_what_the_supervisor_healed_becomes_an_event_of_the_mesh() -> None:
    events = EventLog(ManualClock())
    supervisor, control_plane = socket.socketpair()
    with supervisor:
        supervisor.sendall(line(DEATH) + line(DEATH))
    await asyncio.wait_for(carry(control_plane, events), 5)
    one, two = events.kept
    assert (one.kind, one.subject, one.seconds) == ("ENVOY_RESTARTED", "envoy", 0.14)
    assert (two.cause, two.evidence, two.effect) == (DEATH.cause, DEATH.evidence, DEATH.effect)
