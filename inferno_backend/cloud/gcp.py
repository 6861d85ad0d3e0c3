"""Google Compute Engine: its metadata server.

Sources: "About VM metadata", "Predefined metadata keys", "Spot VMs" (preemption process) and "Detect host maintenance
events" in the Compute Engine documentation.
"""

from __future__ import annotations

import asyncio

from inferno_backend.cloud.machine import Kind, Machine, Notice
from inferno_backend.cloud.metadata import PATIENCE, Metadata, told
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable

_INSTANCE = "/computeMetadata/v1/instance/"
_HEADERS = {"Metadata-Flavor": "Google"}
# From the notice until the machine is switched off.
_NOTICE_SECONDS = 30.0
# A question that waits for a change is asked again after this long.
_HANG_SECONDS = 30
_UNMOVED = ("", "NONE")


class Gcp:
    """A virtual machine of Compute Engine. Its server answers when something changes: nobody need poll."""

    pause = 0.0

    def __init__(self, metadata: Metadata, clock: Clock) -> None:
        self._metadata = metadata
        self._clock = clock
        # What was said last at a path, and its version.
        self._said: dict[str, tuple[str, str]] = {}

    async def machine(self) -> Machine:
        """What the machine is.

        Raises:
            Unavailable: The server does not answer, or refuses, or is not Google's.
        """
        paths = ("zone", "machine-type", "id", "scheduling/preemptible", "name")
        answers = await asyncio.gather(*(self._metadata.ask(_INSTANCE + path, _HEADERS) for path in paths))
        said = [told(_INSTANCE + path, answer).strip() for path, answer in zip(paths, answers, strict=True)]
        if any(answer.headers.get("metadata-flavor") != "Google" for answer in answers):
            raise Unavailable("The metadata server is not Google's.", reason="NO_METADATA")
        # projects/NUMBER/zones/us-central1-a, projects/NUMBER/machineTypes/g2-standard-4
        zone, kind = (text.rpartition("/")[2] for text in said[:2])
        return Machine(
            "gcp",
            region=zone.rpartition("-")[0],
            zone=zone,
            instance_type=kind,
            instance_id=said[2],
            spot=said[3] == "TRUE" if said[3] else None,
            name=said[4],
        )

    @staticmethod
    def gives_notice(machine: Machine) -> bool:
        """Host maintenance meets every machine."""
        return machine.provider == "gcp"

    async def look(self) -> tuple[Notice, ...]:
        """What is said now; from the second time on, once something changes or half a minute is over.

        Raises:
            Unavailable: The server does not answer, or refuses.
        """
        first = not self._said
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._follow(path)) for path in ("preempted", "maintenance-event")]
            await asyncio.wait(asked, return_when=asyncio.ALL_COMPLETED if first else asyncio.FIRST_COMPLETED)
            failed = [error for each in asked if each.done() and (error := each.result())]
            for each in asked:
                each.cancel()
        if failed:
            raise failed[0]
        said = {path: text for path, (text, _) in self._said.items()}
        found = []
        if said.get("preempted") == "TRUE":
            found.append(Notice(Kind.RECLAIM, "preempt", _NOTICE_SECONDS))
        if (event := said.get("maintenance-event", "")) not in _UNMOVED:
            found.append(Notice(Kind.MAINTENANCE, event.lower().replace("_", " ")))
        return tuple(found)

    async def _follow(self, path: str) -> InfernoError | None:
        """Note what is said at a path; return why it cannot be."""
        try:
            await self._read(path)
        except InfernoError as error:
            return error
        return None

    async def _read(self, path: str) -> None:
        known = self._said.get(path)
        waiting = f"?wait_for_change=true&timeout_sec={_HANG_SECONDS}&last_etag={known[1]}" if known else ""
        patience = PATIENCE + (_HANG_SECONDS if known else 0)
        answer = await self._metadata.ask(_INSTANCE + path + waiting, _HEADERS, patience=patience)
        text = told(path, answer).strip()
        if known and not answer.headers.get("etag"):
            # Without a version the next question would be answered at once, for ever.
            await self._clock.sleep(1.0)
        self._said[path] = (text, answer.headers.get("etag", "0"))
