"""The wall clock jumps, for the processes of one cloud: row 25."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from google.protobuf import duration_pb2

from benchmarks.cloud import Cloud, CloudError, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.strangers import MESH_ADDRESS
from benchmarks.faults.view import after, mesh_of, settled
from inferno.identity.v1 import identity_service_pb2 as identity
from inferno.identity.v1 import identity_service_pb2_grpc
from inferno_backend.joining import join
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError
from inferno_runtime.identity.authority import Request, make_request
from inferno_runtime.identity.join_token import JoinToken

EXPIRED, ACCEPTED, MOVED = "leases that expired", "ended tokens accepted", "s the control plane's clock moved"
_SOURCE, _FILE = Path(__file__).with_name("clock_shift.c"), "clock-shift"
_HOUR = 3600
# Seconds for which each jump lasts: longer than a lease.
_LASTS = 4.0


def can_move_clocks() -> bool:
    """True when the compiler of :func:`movable_clock` is there."""
    return find_spec("ziglang") is not None


def movable_clock(folder: Path) -> Mapping[str, str]:
    """The environment of programs whose wall clock :func:`clock_jumps` can move; ``folder`` is their cloud's."""
    library = folder / "clock-shift.so"
    flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *flags, str(_SOURCE), "-o", str(library)], check=True)
    (folder / _FILE).write_bytes(struct.pack("=q", 0))
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(folder / _FILE)}


async def clock_jumps(cloud: Cloud, path: Route) -> Measured:
    """Row 25: the wall clock of control plane, supervisors and agents jumps an hour ahead, back, an hour back more, and
    ahead again; tokens that ended by any of these clocks, or were used, are shown after each jump."""
    async with mesh_of(cloud) as view, rpc.channel(f"unix:{cloud.data_dir / 'proxy' / 'control.sock'}") as local:
        await settled(cloud, view)
        stub: Any = identity_service_pb2_grpc.IdentityServiceStub(local)
        before = len(await view.events("LEASE_EXPIRED"))
        half, long = await _token(stub, _HOUR // 2), await _token(stub, 3 * _HOUR)
        used, request = await _token(stub, 3 * _HOUR), make_request()
        await _joined(used, "joined-before", request)
        bad, accepted, moved = [half, used], 0, 0.0
        async with load(path.target, env=path.env) as running:
            for number, hours in enumerate((1, 0, -1, 0)):
                _jump(cloud, hours)
                if number == 0:
                    moved = await _clock(stub) - time.time()
                    # One that is good by every clock.
                    if not await _joined(long, "joined-meanwhile", make_request()):
                        raise CloudError("a token that is good for three hours is refused after one")
                    bad += [long, await _token(stub, 1)]
                    await asyncio.sleep(1.1)
                accepted += sum([await _joined(each, f"late-{number}", make_request()) for each in bad])
                await asyncio.sleep(_LASTS)
            report = await after(running, 1)
        expired = len(await view.events("LEASE_EXPIRED")) - before
        await settled(cloud, view)
    figures = {EXPIRED: float(expired), ACCEPTED: float(accepted), MOVED: moved}
    return Measured(report, figures=figures, note=f"{len(bad)} tokens shown after each of 4 jumps")


def _jump(cloud: Cloud, hours: int) -> None:
    with (cloud.data_dir / _FILE).open("r+b") as file:
        # In place: the programs have the file mapped.
        file.write(struct.pack("=q", hours * _HOUR))


async def _token(stub: Any, seconds: int) -> JoinToken:
    return JoinToken.parse(str((await _made(stub, seconds)).token))


async def _clock(stub: Any) -> float:
    """What the control plane takes the time for."""
    return float((await _made(stub, 1)).details.created.ToNanoseconds() / 1e9)


async def _made(stub: Any, seconds: int) -> identity.CreateTokenResponse:
    request = identity.CreateTokenRequest(
        role=identity.MEMBER_ROLE_NODE, name_pattern="*", lifetime=duration_pb2.Duration(seconds=seconds)
    )
    answer: identity.CreateTokenResponse = await stub.CreateToken(request, timeout=5)
    return answer


async def _joined(token: JoinToken, name: str, request: Request) -> bool:
    """Whether the mesh takes the token."""
    try:
        await join([MESH_ADDRESS], token, name, request)
    except InfernoError as error:
        # An hour ago this cloud's CA did not exist.
        if not error.reason.startswith("TOKEN_") and error.reason != "AUTHORITY_UNUSABLE":
            raise CloudError(f"a token is refused otherwise than promised: {error.sentence()}") from error
        return False
    return True
