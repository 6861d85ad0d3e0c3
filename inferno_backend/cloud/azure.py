"""Microsoft Azure: its instance metadata service and its scheduled events.

Sources: "Azure Instance Metadata Service" and "Azure Metadata Service: Scheduled Events for Linux VMs" in the Azure
documentation.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from inferno_backend.cloud.machine import Kind, Machine, Notice
from inferno_backend.cloud.metadata import Answer, Metadata, told
from inferno_runtime.clock import Clock

_HEADERS = {"Metadata": "true"}
_COMPUTE = "/metadata/instance/compute?api-version=2021-02-01"
_EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
# The first question switches the events on, which may take two minutes.
_EVENTS_PATIENCE = 120.0
# After these the machine is gone or begins anew; a Freeze lasts for seconds.
_ENDS = {"Preempt", "Terminate", "Reboot", "Redeploy"}
_PREEMPT_SECONDS = 30.0


class Azure:
    """A virtual machine of Azure."""

    # The documentation's own advice.
    pause = 1.0

    def __init__(self, metadata: Metadata, clock: Clock) -> None:
        self._metadata = metadata
        self._clock = clock
        self._name = ""

    async def machine(self) -> Machine:
        """What the machine is.

        Raises:
            Unavailable: The service does not answer, or refuses.
        """
        answer = await self._metadata.ask(_COMPUTE, _HEADERS)
        told(_COMPUTE, answer)
        said: dict[str, Any] = {key: str(value) for key, value in answer.document().items() if value is not None}
        region, zone = said.get("location", ""), said.get("zone", "")
        self._name = said.get("name", "")
        return Machine(
            "azure",
            region=region,
            # Zones are numbers within a region; Kubernetes nodes of Azure call them so.
            zone=f"{region}-{zone}" if zone else "",
            instance_type=said.get("vmSize", ""),
            instance_id=said.get("vmId", ""),
            spot=said["priority"] in ("Spot", "Low") if said.get("priority") else None,
            name=self._name,
        )

    @staticmethod
    def gives_notice(machine: Machine) -> bool:
        """Maintenance meets every machine."""
        return machine.provider == "azure"

    async def look(self) -> tuple[Notice, ...]:
        """The events that concern this machine; those of others in its set are shown too.

        Raises:
            Unavailable: The service does not answer, or refuses.
        """
        if not self._name:
            await self.machine()
        answer = await self._metadata.ask(_EVENTS, _HEADERS, patience=_EVENTS_PATIENCE)
        told(_EVENTS, answer)
        events = answer.document().get("Events") or ()
        return tuple(self._notice(event, answer) for event in events if self._name in event.get("Resources", ()))

    def _notice(self, event: dict[str, Any], answer: Answer) -> Notice:
        what = str(event.get("EventType"))
        if what not in _ENDS:
            return Notice(Kind.MAINTENANCE, what.lower())
        return Notice(Kind.RECLAIM, what.lower(), self._seconds_until(what, str(event.get("NotBefore") or ""), answer))

    def _seconds_until(self, what: str, moment: str, answer: Answer) -> float | None:
        """How far away a moment (``Mon, 19 Sep 2016 18:29:47 GMT``) is. It is empty once the event has begun."""
        if not moment:
            return 0.0
        try:
            return parsedate_to_datetime(moment).timestamp() - answer.wall(self._clock.wall())
        except ValueError:
            return _PREEMPT_SECONDS if what == "Preempt" else None
