"""How the nodes' devices were used, as the governator has it and people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from inferno.governance.v1 import device_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc as governance_grpc
from inferno.governance.v1 import report_pb2
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.bill import without_governator
from inferno_cli.output import Column

_JOULES_PER_KWH = 3_600_000
_STEPS = {"minute": wire.DEVICE_STEP_MINUTE, "hour": wire.DEVICE_STEP_HOUR, "day": wire.DEVICE_STEP_DAY}


def question(period: str, node: str, step: str | None) -> wire.ListDeviceUseRequest:
    """What is asked, from what was written."""
    return wire.ListDeviceUseRequest(
        period=report_pb2.CostPeriod(name=period),
        node_id=node,
        step=_STEPS[step] if step else wire.DEVICE_STEP_UNSPECIFIED,
    )


async def ask(endpoint: public.Endpoint, asked: wire.ListDeviceUseRequest, timeout: float) -> list[wire.DeviceUse]:
    """Ask the governator, through the public port.

    Raises:
        InvalidInput: The question cannot be answered.
        Unavailable: The mesh, or the governator behind it, does not answer.
        Unsupported: There is no governator behind it, or an older one.
    """
    async with public.connected(endpoint) as channel:
        stub: Any = governance_grpc.GovernanceServiceStub(channel)
        try:
            return [each async for piece in stub.ListDeviceUse(asked, timeout=timeout) for each in piece.devices]
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise without_governator(endpoint, "use of devices") from error
            raise


def document(use: wire.DeviceUse) -> dict[str, Any]:
    """The use of a device as JSON values: what was not measured is null."""
    told = MessageToDict(use, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    numbers = {name: int(told[name]) for name in told if name.startswith(("ecc_", "xids", "max_memory", "memory_"))}
    optional = {field.name: told.get(field.name) for field in use.DESCRIPTOR.fields}
    return {**optional, **numbers, "energy_kwh": use.energy_joules / _JOULES_PER_KWH}


def _number(form: str, scale: float = 1) -> Any:
    return lambda value: "-" if value is None else form.format(value * scale)


def _errors(count: int) -> str | None:
    return "red" if count else None


_COLUMNS = (
    Column("node_id", "NODE"),
    Column("device_id", "DEVICE"),
    Column("utilization", "BUSY", show=_number("{:.1%}"), right=True),
    Column("max_memory_used_bytes", "MEMORY GB", show=_number("{:.1f}", 1e-9), right=True),
    Column("mean_power_watts", "POWER W", show=_number("{:.0f}"), right=True),
    Column("max_power_watts", "MAX W", show=_number("{:.0f}"), right=True),
    Column("mean_temperature_celsius", "HEAT °C", show=_number("{:.0f}"), right=True),
    Column("max_temperature_celsius", "MAX °C", show=_number("{:.0f}"), right=True),
    Column("mean_sm_clock_mhz", "CLOCK MHz", show=_number("{:.0f}"), right=True),
    Column("slowed_seconds", "SLOWED s", show=_number("{:.0f}"), right=True),
    Column("ecc_uncorrected", "ECC", right=True, colour=_errors),
    Column("xids", "XID", right=True, colour=_errors),
    Column("energy_kwh", "ENERGY kWh", show=_number("{:.3f}"), right=True),
)


def show(found: Sequence[wire.DeviceUse], form: output.Format, *, stretches: bool) -> None:
    """Print the use of devices and the energy of all, as a table or as JSON."""
    rows = [document(each) for each in found]
    if form == "json":
        output.print_json({"energy_kwh": sum(row["energy_kwh"] for row in rows), "devices": rows})
    elif rows:
        output.print_table((Column("start", "FROM"), *_COLUMNS) if stretches else _COLUMNS, rows)
        output.print_line(f"\nenergy {sum(row['energy_kwh'] for row in rows):.3f} kWh")
    else:
        output.print_line("No device was measured.")
