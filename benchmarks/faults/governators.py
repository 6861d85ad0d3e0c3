"""The governator and its database: rows 22 (it is away), 23 (it is flooded) and 24 (its database fails).

Each goes on under the load of every row. The bill says afterwards what became of telemetry: requests that the load had
answered and that are on no bill are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import grpc
import psutil

from benchmarks.cloud import Cloud, CloudError, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import after, mesh_of, settled
from benchmarks.telemetry_flood import REQUESTS_OF_BATCH, Flooded, flood
from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc

MISSING = "requests missing on the bill"
DROPPED = "samples dropped, by the bill"
MEANWHILE = "requests billed meanwhile"
REFUSED = "streams refused with RetryInfo"
KEPT = "damaged files kept"
# Rows 22 and 24: seconds away, locked and full. Agents drop nothing in ten minutes if they use a tenth of their room in
# one, which the note says.
_AWAY, _LOCKED, _FULL = 60.0, 60.0, 15.0
# Row 23: seconds, and nodes that send as fast as they can.
_FLOOD, _FLOODING = 15.0, 20
# Until agents have tried again (10 s at most) and handed in what waited.
_RECOVERY = 90.0
_LOAD = ("--seconds", "240")
_PAGE = 4096
FEW = "backend:\n  telemetry_buffer: 10\n"


class Bill:
    """The governator behind the public port."""

    def __init__(self, channel: grpc.aio.Channel, model: str) -> None:
        self._stub = governance_service_pb2_grpc.GovernanceServiceStub(channel)
        self._model = model
        self._start = int(time.time()) // 60 * 60

    async def read(self) -> tuple[int, int]:
        """Requests of the model and dropped samples since this was made (from the beginning of its minute)."""
        request = wire.GetCostReportRequest()
        request.start.seconds = self._start
        answer = await self._stub.GetCostReport(request, timeout=10)
        counted = sum(line.requests + line.errors for line in answer.lines if line.model == self._model)
        return counted, answer.dropped_samples

    async def requests(self) -> int:
        """Requests, as :meth:`read`; asked again while nobody answers."""
        until = time.monotonic() + _RECOVERY
        while True:
            try:
                return (await self.read())[0]
            except grpc.aio.AioRpcError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.1)

    async def reaches(self, least: int) -> float:
        """Seconds until so many are billed, at most as long as recovery may take."""
        began = time.monotonic()
        while await self.requests() < least and time.monotonic() - began < _RECOVERY:
            await asyncio.sleep(0.2)
        return time.monotonic() - began


@asynccontextmanager
async def bill_of(cloud: Cloud, model: str = "whoami") -> AsyncIterator[Bill]:
    """The bill through the public port, once nothing that was done before is still on its way to it."""
    async with grpc.aio.insecure_channel(cloud.endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        bill = Bill(channel, model)
        before = -1
        while (now := await bill.requests()) != before:
            before = now
            await asyncio.sleep(3)
        yield bill


@dataclass(frozen=True, slots=True)
class _During:
    """What was seen while a fault lasted: requests billed, and what a note says."""

    billed: int = 0
    note: str = ""


async def _measured(cloud: Cloud, path: Route, fault: Callable[[Bill], Awaitable[_During]]) -> Measured:
    """Do something to the governator under load; ``recovered``: from its end until all that was done is billed."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
    agents = cloud.agents()
    async with bill_of(cloud) as bill:
        before, lost_before = await bill.read()
        resident = _resident(agents)
        async with load(path.target, env=path.env, extra=_LOAD) as running:
            during = await fault(bill)
            grown = _resident(agents) - resident
            ended = time.monotonic()
            report = await after(running, 2)
        await bill.reaches(before + report.succeeded)
        recovered = time.monotonic() - ended
        counted, lost = await bill.read()
    missing = max(0, report.succeeded - (counted - before))
    figures = {MISSING: missing, DROPPED: lost - lost_before, MEANWHILE: during.billed}
    note = f"{during.note}; an agent took {grown:.1f} MiB more memory"
    return Measured(report, recovered=recovered, grown=grown, figures=figures, note=note)


async def governator_away(cloud: Cloud, path: Route) -> Measured:
    """Row 22: the governator is stopped for a minute; Envoy still has its connections to it."""

    async def stopped(_: Bill) -> _During:
        one = _governator(cloud)
        one.suspend()
        try:
            await asyncio.sleep(_AWAY)
        finally:
            one.resume()
        samples = _AWAY * _SAMPLES_A_SECOND
        return _During(
            note=f"stopped for {_AWAY:.0f} s, about {samples:.0f} samples of a node; ten minutes are ten times that, "
            "and an agent has room for 100,000"
        )

    return await _measured(cloud, path, stopped)


# Of a node of the cloud: three models and its CPUs.
_SAMPLES_A_SECOND = 4


async def database_locked(cloud: Cloud, path: Route) -> Measured:
    """Row 24: another process holds the database's lock for a minute."""

    async def locked(bill: Bill) -> _During:
        with closing(sqlite3.connect(_database(cloud), timeout=0, isolation_level=None)) as other:
            await _insist(other, "BEGIN IMMEDIATE")
            start = await bill.requests()
            await asyncio.sleep(_LOCKED)
            billed = await bill.requests() - start
            other.execute("ROLLBACK")
        return _During(billed, f"locked for {_LOCKED:.0f} s; reports were answered all the while")

    return await _measured(cloud, path, locked)


async def disk_full(cloud: Cloud, path: Route) -> Measured:
    """Row 24: no file of the governator may grow."""

    async def full(bill: Bill) -> _During:
        pid = _governator(cloud).pid
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_PAGE, unlimited[1]))
        try:
            await asyncio.sleep(1)
            start = await bill.requests()
            await asyncio.sleep(_FULL)
            billed = await bill.requests() - start
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        return _During(billed, f"for {_FULL:.0f} s, by a limit on the size of the governator's files (RLIMIT_FSIZE)")

    return await _measured(cloud, path, full)


async def database_damaged(cloud: Cloud, path: Route) -> Measured:
    """Row 24: all pages but the first are overwritten while the database is in use.

    ``recovered``: until requests are billed again. What was acknowledged before is in the file that is kept.
    """
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
    file = _database(cloud)
    known = set(_aside(file))
    async with bill_of(cloud) as bill, load(path.target, env=path.env, extra=_LOAD) as running:
        await asyncio.sleep(3)
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
            await _insist(other, "PRAGMA wal_checkpoint(TRUNCATE)")
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(_PAGE)
            opened.write(b"\xa5" * (size - _PAGE))
        damaged = time.monotonic()
        while not (kept := [each for each in _aside(file) if each not in known]):
            if time.monotonic() - damaged > _RECOVERY:
                raise CloudError("the damaged file was never set aside")
            await asyncio.sleep(0.1)
        await bill.reaches(1)
        recovered = time.monotonic() - damaged
        report = await after(running, 2)
    whole = [each for each in kept if each.stat().st_size == size]
    return Measured(report, recovered=recovered, figures={KEPT: len(whole)}, note=f"kept as {kept[0].name}")


async def telemetry_flood(cloud: Cloud, path: Route) -> Measured:
    """Row 23: twenty nodes send through the public port as fast as they can, and come back when they are told to."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
    one = _governator(cloud)
    async with load(path.target, env=path.env, extra=_LOAD) as running:
        await asyncio.sleep(1)
        before = peak = one.memory_info().rss
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            loop = asyncio.get_running_loop()
            sending = loop.run_in_executor(pool, flood, cloud.endpoint, _FLOODING, _FLOOD)
            while not sending.done():
                peak = max(peak, one.memory_info().rss)
                await asyncio.wait([sending], timeout=0.1)
            flooded: Flooded = await sending
        report = await after(running, 2)
    async with grpc.aio.insecure_channel(cloud.endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = governance_service_pb2_grpc.GovernanceServiceStub(channel)
        request = wire.GetCostReportRequest()
        request.start.seconds, request.end.seconds = flooded.start, flooded.end
        answer = await stub.GetCostReport(request, timeout=60)
    counted = sum(line.requests for line in answer.lines if line.node_id.startswith("flood-"))
    missing = max(0, flooded.acknowledged * REQUESTS_OF_BATCH - counted)
    figures = {MISSING: missing, REFUSED: flooded.refused}
    grown = (peak - before) / 2**20
    rate = flooded.written * 500 / _FLOOD
    note = (
        f"{rate:,.0f} samples/s written, {flooded.acknowledged * 500 / _FLOOD:,.0f}/s taken; it asked for "
        f"{flooded.least_delay:g} to {flooded.most_delay:g} s of patience, and took {grown:.0f} MiB more memory"
    )
    return Measured(report, grown=grown, figures=figures, note=note)


def _governator(cloud: Cloud) -> psutil.Process:
    found = cloud.find("inferno-governator")
    if not found:
        raise CloudError("no governator is running")
    return found[-1]


def _database(cloud: Cloud) -> Path:
    return next(cloud.data_dir.rglob("governator.db"))


def _aside(file: Path) -> list[Path]:
    """Files that were set aside, without their logs."""
    return [each for each in file.parent.glob(f"{file.name}.corrupt-*") if not each.name.endswith(("-wal", "-shm"))]


def _resident(processes: list[psutil.Process]) -> float:
    """Memory of the largest of these processes, in MiB."""
    return max(each.memory_info().rss for each in processes) / 2**20


async def _insist(other: sqlite3.Connection, statement: str) -> None:
    """Run a statement as soon as the governator, which commits every second, leaves room for it."""
    until = time.monotonic() + _RECOVERY
    while time.monotonic() < until:
        with contextlib.suppress(sqlite3.OperationalError):
            answer = other.execute(statement).fetchone()
            # A checkpoint answers (busy, ...), a transaction nothing.
            if answer is None or answer[0] == 0:
                return
        await asyncio.sleep(0.01)
    raise CloudError(f"the database never let {statement} through")
