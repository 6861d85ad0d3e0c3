"""Which cloud the machine is of, and what its provider says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from inferno_backend.cloud.aws import Aws
from inferno_backend.cloud.azure import Azure
from inferno_backend.cloud.gcp import Gcp
from inferno_backend.cloud.machine import UNKNOWN, Asked, Machine, Notice
from inferno_backend.cloud.metadata import Metadata
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("cloud")
# Two or three questions in a row, each answered in milliseconds where somebody is there.
_PATIENCE = 1.0
FIRMWARE = Path("/sys/class/dmi/id")
# Azure's virtual machines have this tag, which no other machine has; systemd and cloud-init know them by it.
_AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"


class Cloud(Protocol):
    """One provider's metadata service. ``pause``: seconds between two looks for notices."""

    pause: float

    async def machine(self) -> Machine:
        """What the machine is; raises Unavailable."""
        ...

    def gives_notice(self, machine: Machine) -> bool:
        """True when this machine may be told of its end."""
        ...

    async def look(self) -> tuple[Notice, ...]:
        """What is announced now; raises Unavailable."""
        ...


_CLOUDS: Mapping[str, Callable[[Metadata, Clock], Cloud]] = {"aws": Aws, "gcp": Gcp, "azure": Azure}


def named_by(firmware: Path) -> str:
    """The cloud that the machine's firmware names; empty for none, or where it cannot be read."""

    def says(name: str) -> str:
        try:
            return (firmware / name).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    if says("sys_vendor") == "Amazon EC2" or "amazon" in says("bios_version"):
        return "aws"
    if says("product_name") == "Google Compute Engine":
        return "gcp"
    return "azure" if says("chassis_asset_tag") == _AZURE_TAG else ""


@asynccontextmanager
async def found(
    asked: Asked, address: str, clock: Clock, firmware: Path = FIRMWARE
) -> AsyncIterator[tuple[Machine, Cloud | None]]:
    """The machine as its provider describes it, and the provider while the context is open; none on other machines.

    ``auto`` asks only where the firmware names a cloud: other machines start no later, and nothing is asked of an
    address that means something else in their network. A service that does not answer is told of, and the machine
    stays unknown.
    """
    provider = named_by(firmware) if asked == "auto" else asked
    if provider not in _CLOUDS:
        yield UNKNOWN, None
        return
    async with Metadata(address) as metadata:
        cloud = _CLOUDS[provider](metadata, clock)
        machine = Machine(provider)
        try:
            async with asyncio.timeout(_PATIENCE):
                machine = await cloud.machine()
        except (InfernoError, TimeoutError) as error:
            _LOG.warning(
                "the machine's provider does not say what it is",
                provider=provider,
                error=error.sentence() if isinstance(error, InfernoError) else "Its answers take too long.",
            )
        else:
            _LOG.info("the machine", provider=provider, type=machine.instance_type, zone=machine.zone)
        yield machine, cloud
