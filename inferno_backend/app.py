"""The agent, put together: which stages there are, in flow order, and in which order they end.

::

    ROUTING    server -> supervisor -> state -> registrars -> proxies
    DEVICES    devices -> examination -> supervisor (can the GPUs work?)
    LOAD       meter -> load -> registrars; meter -> supervisor (does work move?)
    TELEMETRY  meter, devices -> sampler -> mailbox -> uplink -> governator
    PAGE       all of them -> contents -> page -> Prometheus, people
    WISHES     proxies -> registrars -> steering -> supervisor
    IDENTITY   membership -> link -> registrars, uplink
    CAPACITY   results of benchmarks -> reporting -> governator
    NOTICES    provider -> notices -> supervisor; notices -> report -> governator
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import pynvml

from inferno_backend import identity as names
from inferno_backend import parts
from inferno_backend.benchmark.reporting import CapacityReporting
from inferno_backend.benchmark.results import Results
from inferno_backend.cloud import asking
from inferno_backend.cloud.machine import Machine
from inferno_backend.cloud.notices import Notices
from inferno_backend.cloud.reporting import NoticeReport
from inferno_backend.hardware import inventory
from inferno_backend.hardware.examination import Examination
from inferno_backend.hardware.fault_file import FaultFile
from inferno_backend.hardware.placement import numbered
from inferno_backend.hardware.watch import Watch
from inferno_backend.liveness import Patience
from inferno_backend.membership import Membership
from inferno_backend.meter import Meter
from inferno_backend.node import Identity
from inferno_backend.page import page
from inferno_backend.page.contents import Contents
from inferno_backend.registration import Registrar
from inferno_backend.sampler import Sampler
from inferno_backend.settings import BackendSettings, check
from inferno_backend.sidecar.certificate import expired
from inferno_backend.sidecar.sidecar import SecuredServer, Sidecar
from inferno_backend.start import Rhythm
from inferno_backend.steering import Steering, applied
from inferno_backend.supervisor import Supervisor
from inferno_backend.uplink import Uplink
from inferno_runtime import logs, notify
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InfernoError
from inferno_runtime.latest import Latest
from inferno_runtime.lifecycle import Stop
from inferno_runtime.mailbox import Mailbox

_LOG = logs.get("agent")
# Bounds of the steps of a stop, in seconds; with the default drain_timeout of 5 they add up to less than ten.
_GOODBYE = 0.5
_TRITON_END = 3.0
_FLUSH = 1.2
_LAST_READINGS = 0.1
# What a stop takes at most, and how long it waits beyond that for a machine that goes away anyway. Compute Engine and
# Azure give 30 s.
_STOP_SECONDS = 10.0
_LONGEST_WAIT = 20.0
# A notice is read within this time, whatever the cloud.
_NOTICE_MAY_FOLLOW = 1.2
# A renewed certificate, or one that has ended, is noticed within this time.
_LOOK_AT_CERTIFICATE = 1.0


async def serve(settings: BackendSettings, stop: Stop) -> None:
    """Run the agent until ``stop``.

    Raises:
        InfernoError: It cannot start, or a newer life of this node has taken over.
    """
    check(settings)
    clock = SystemClock()
    async with asking.found(settings.metadata, settings.metadata_address, clock) as (machine, cloud):
        notices = Notices(cloud, clock) if cloud is not None and cloud.gives_notice(machine) else None
        await _serve(settings, stop, clock, machine, notices)


async def _serve(
    settings: BackendSettings, stop: Stop, clock: Clock, machine: Machine, notices: Notices | None
) -> None:
    with names.held(settings.data_dir), ExitStack() as closing:
        devices = inventory.devices(closing, pynvml)
        identity = parts.identity(settings, devices, machine)
        membership = Membership(
            settings.identity, identity.node_id, settings.discovery_lb, settings.join_token_file, clock
        )
        membership.begin()
        # What a node listens on depends on whether it is a member.
        if not await _joined(membership, stop):
            return
        server = await parts.server(settings)
        sidecar = await parts.sidecar(settings, identity.node_id, clock)
        if sidecar is not None:
            identity = replace(identity, doors=sidecar.endpoints)
            server = SecuredServer(server, sidecar)
        supervisor = Supervisor(
            server,
            clock,
            healing=settings.healing,
            patience=Patience(least=settings.stall_after),
            rhythm=Rhythm(start=settings.start_timeout, silent=settings.silent_after, stopped=settings.stopped_after),
            cache=parts.cache(settings),
            gpus=numbered(identity.hardware.gpus, {} if settings.triton_url else os.environ),
        )
        await _Agent(settings, identity, supervisor, devices, membership, clock, sidecar, notices).run(stop)


class _Agent:
    """The stages and their lifetimes."""

    def __init__(
        self,
        settings: BackendSettings,
        identity: Identity,
        supervisor: Supervisor,
        devices: inventory.Devices,
        membership: Membership,
        clock: Clock,
        sidecar: Sidecar | None,
        notices: Notices | None,
    ) -> None:
        self._identity = identity
        self._notices = notices
        self._membership = membership
        self._sidecar = sidecar
        self._settings = settings
        self._folder = settings.identity
        self._supervisor = supervisor
        self._clock = clock
        self._drain_timeout = settings.drain_timeout
        self._proxies = settings.discovery_lb
        self._meter = Meter(supervisor.counters, clock, supervisor.streams)
        self._registrars = [
            Registrar(proxy, identity, supervisor.state, self._meter.load, clock, membership.link)
            for proxy in settings.discovery_lb
        ]
        self._steering = Steering(supervisor, self._registrars, self._meter, clock, settings.drain_timeout)
        sent = settings.telemetry and bool(settings.discovery_lb)
        mailbox: Mailbox[bytes] = Mailbox(settings.telemetry_buffer)
        faults = FaultFile(settings.data_dir.absolute() / "gpu-faults.json")
        self._examination = Examination(identity.hardware.gpus, settings.slowed_after, faults)
        self._watch = Watch(devices.probes, clock, lambda: supervisor.triton_pid)
        self._faults: Latest[Mapping[str, str]] = Latest({})
        self._sampler = Sampler(
            self._meter.readings, self._watch.readings, mailbox if sent else None, settings.sample_window, self._faults
        )
        results = Results(settings.data_dir)
        self._capacities = CapacityReporting(settings.discovery_lb, identity.node_id, results, clock, membership.link)
        self._uplink = Uplink(settings.discovery_lb, identity, mailbox, clock, membership.link) if sent else None

    async def run(self, stop: Stop) -> None:
        """Run every stage until the stop is requested, then end them in order; the page is there all the while."""
        settings = self._settings
        try:
            tls = page.for_members(self._folder) if settings.page_secured else None
            async with page.serve(page.Page(self._contents), settings.page_host, settings.page_port, tls) as url:
                await self._stages(stop, url, tls)
        except* InfernoError:
            # An end that was meant; a defect of ours leaves Triton serving for the next agent.
            await self._supervisor.stop()
            if self._sidecar is not None:
                await self._sidecar.stop()
            raise

    async def _stages(self, stop: Stop, url: str, tls: ssl.SSLContext | None) -> None:
        async with asyncio.TaskGroup() as group:
            stages = [
                self._supervisor.run(self._meter.read),
                self._membership.run(),
                self._meter.run(),
                self._watch.run(),
                self._examine(),
                self._judge(),
                self._steering.run(),
                self._sampler.run(),
            ]
            if tls is not None:
                stages.append(self._renew(tls))
            if self._sidecar is not None:
                stages += [self._sidecar.run(), self._watch_doors(self._sidecar), self._watch_certificate()]
            stages += [registrar.run() for registrar in self._registrars]
            if self._uplink is not None:
                stages += [self._uplink.run(), self._capacities.run()]
            if self._notices is not None:
                stages += [self._notices.run(), self._leave(self._notices), self._report(self._notices).run()]
            stages.append(self._announce(url))
            tasks = [group.create_task(stage) for stage in stages]
            await stop.wait()
            notify.stopping()
            await self._shut_down(stop.reason)
            for task in tasks:
                task.cancel()

    async def _judge(self) -> None:
        async for reading in self._meter.readings.watch():
            if reading is not None:
                self._supervisor.take(reading)

    async def _leave(self, notices: Notices) -> None:
        """Take no new work on a machine that goes away."""
        async for reason in notices.draining.watch():
            self._supervisor.reclaim(reason)

    def _report(self, notices: Notices) -> NoticeReport:
        links = self._membership.link
        return NoticeReport(self._proxies, self._identity, notices.standing, self._clock, links)

    async def _use_the_time_left(self, began: float) -> float:
        """Let long answers go on when the stop is the machine's own: two clouds shut it down as they give notice.

        ``began``: when the stop did, monotonic; the signal may come before the notice. Returns the seconds it took.
        """
        if self._notices is None:
            return 0.0
        left = await self._notices.seconds_left_by(began + _NOTICE_MAY_FOLLOW)
        if left is not None and (seconds := min(_LONGEST_WAIT, left - _STOP_SECONDS)) > 0:
            _LOG.info("the machine goes away: running work has until then", seconds=round(seconds))
            await self._clock.sleep(seconds)
        return self._clock.monotonic() - began

    async def _examine(self) -> None:
        """Tell the mesh which GPUs can do no work."""
        async for reading in self._watch.readings.watch():
            if reading is not None:
                self._faults.set(self._examination.take(reading, self._supervisor.triton_pid))
                self._supervisor.examined(self._faults.value)

    async def _watch_doors(self, sidecar: Sidecar) -> None:
        """Tell the mesh when TLS in front of Triton fails."""
        async for fault in sidecar.fault.watch():
            self._supervisor.shut(fault)

    async def _watch_certificate(self) -> None:
        """Tell the mesh when the node's certificate has ended, and when there is another."""
        while True:
            self._supervisor.expire(expired(self._folder, self._clock.wall()))
            await self._clock.sleep(_LOOK_AT_CERTIFICATE)

    async def _renew(self, tls: ssl.SSLContext) -> None:
        """Have the page show each newer certificate."""
        async for _ in self._membership.link.watch():
            page.renew(tls, self._folder)

    def _contents(self) -> Contents:
        """The node as it is now."""
        reading, devices = self._meter.readings.value, self._watch.readings.value
        return Contents(
            node_id=self._identity.node_id,
            incarnation=self._identity.incarnation,
            agent_version=self._identity.agent_version,
            state=self._supervisor.state.value.state,
            triton_pid=self._supervisor.triton_pid,
            counters=reading.counters if reading is not None else {},
            load=self._meter.load(),
            samples=self._sampler.newest(),
            devices=devices.uses if devices is not None else (),
            telemetry=self._uplink.progress if self._uplink is not None else None,
            proxies={one.proxy: one.view.value for one in self._registrars},
            tally=self._supervisor.tally,
            certificate_until=self._membership.certificate_until,
        )

    async def _announce(self, url: str) -> None:
        """Tell whoever started us that the node serves: registered, and the data planes have applied it."""
        revised = await self._supervisor.state.wait_for(lambda one: one.revision > 0)
        if self._registrars:
            accepted = [
                asyncio.create_task(one.view.wait_for(lambda v: v.connected and applied([v], revised.revision)))
                for one in self._registrars
            ]
            try:
                await asyncio.wait(accepted, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in accepted:
                    each.cancel()
        endpoints = revised.state.endpoints
        notify.ready(
            node_id=self._identity.node_id,
            grpc=endpoints.grpc,
            http=endpoints.http,
            metrics=endpoints.metrics,
            models=[model.name for model in revised.state.models if model.ready],
            triton_pid=self._supervisor.triton_pid,
            page=url,
        )
        _LOG.info("ready", node=self._identity.node_id, grpc=endpoints.grpc, page=url)

    async def _shut_down(self, reason: str) -> None:
        """Withdraw, wait for data planes and waiting work, say goodbye, end Triton, hand in what was measured."""
        _LOG.info("stopping", reason=reason)
        began = self._clock.monotonic()
        deadline = began + self._drain_timeout + _TRITON_END
        revision = self._supervisor.drain("The node stops.")
        await self._steering.confirmed(revision)
        if not await self._steering.idle():
            _LOG.warning("work was still waiting when its time was over")
        deadline += await self._use_the_time_left(began)
        async with asyncio.TaskGroup() as goodbyes:
            for registrar in self._registrars:
                goodbyes.create_task(registrar.deregister(_GOODBYE))
        await self._end_triton(deadline)
        if self._sidecar is not None:
            await self._sidecar.stop()
        if self._uplink is not None:
            self._sampler.finish()
            await self._uplink.flushed(_FLUSH)

    async def _end_triton(self, deadline: float) -> None:
        """Let Triton finish what runs and end, killing it at the deadline.

        Its counters are read to the last: running work shows in them only when it has ended.
        """
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(self._supervisor.stop())
            while not ending.done():
                await self._meter.read()
                if self._clock.monotonic() > deadline:
                    self._supervisor.kill()
                await asyncio.wait([ending], timeout=_LAST_READINGS)


async def _joined(membership: Membership, stop: Stop) -> bool:
    """Let the node become a member if it is to be one; False when it is to stop before."""
    async with asyncio.TaskGroup() as group:
        joining, stopping = group.create_task(membership.join()), group.create_task(stop.wait())
        await asyncio.wait([joining, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        joining.cancel()
    return not stop.requested
