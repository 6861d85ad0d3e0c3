"""Many data planes in one process: each speaks xDS over a stream of its own and accepts whatever it is sent.

::

    python -m benchmarks.data_planes --target unix:/path --streams 250 --first 0 --models 100

Every second one is an Envoy (delta: all clusters and listeners, and what they name), every other one a gRPC library
that talks to one model (state of the world). The process prints an empty JSON object once each has been sent all it
asked for, and lives until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from benchmarks.swarm import model_of
from inferno_proxy.publishing.protobuf_subset import Description, messages
from inferno_proxy.publishing.snapshot import ResourceType
from inferno_proxy.resources.names import PUBLIC, grpc_cluster

_ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_CHANNELS = 5
_FIELDS: Description = {
    "Node": {"id": (1, "string"), "user_agent_name": (6, "string")},
    "Any": {"type_url": (1, "string")},
    "Request": {
        "version_info": (1, "string"),
        "node": (2, "Node"),
        "resource_names": (3, "string*"),
        "type_url": (4, "string"),
        "response_nonce": (5, "string"),
    },
    "Response": {"version_info": (1, "string"), "type_url": (4, "string"), "nonce": (5, "string")},
    "DeltaRequest": {
        "node": (1, "Node"),
        "type_url": (2, "string"),
        "subscribe": (3, "string*"),
        "response_nonce": (6, "string"),
    },
    "Resource": {"name": (3, "string")},
    "DeltaResponse": {"resources": (2, "Resource*"), "type_url": (4, "string"), "nonce": (5, "string")},
}
_message: Callable[[str], Any] = messages("data_planes", _FIELDS)
_CDS, _EDS, _LDS, _RDS = (
    kind.value for kind in (ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.LISTENER, ResourceType.ROUTE)
)
_TYPES = {_CDS, _EDS, _LDS, _RDS}


class DataPlane:
    """One client. ``complete`` is set when it has been answered for every type."""

    def __init__(self, number: int, models: int) -> None:
        self.complete = asyncio.Event()
        self._number = number
        self._model = model_of(number, models)
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._answered: set[str] = set()

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Speak until cancelled."""
        delta = self._number % 2 == 0
        method = _ADS + ("DeltaAggregatedResources" if delta else "StreamAggregatedResources")
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        self._begin(delta=delta)
        async for raw in call(self._requests()):
            kind = self._delta(raw) if delta else self._sotw(raw)
            self._answered.add(kind)
            if self._answered >= _TYPES:
                self.complete.set()

    def _begin(self, *, delta: bool) -> None:
        node = _message("Node")(id=f"plane-{self._number}", user_agent_name="envoy" if delta else "gRPC simulated")
        if delta:
            for kind in (_CDS, _LDS):
                self._send("DeltaRequest", node=node, type_url=kind)
            self._send("DeltaRequest", type_url=_RDS, subscribe=[PUBLIC])
        else:
            for kind in (_LDS, _RDS):
                self._send("Request", node=node, type_url=kind, resource_names=[self._model])
            for kind in (_CDS, _EDS):
                self._send("Request", type_url=kind, resource_names=[grpc_cluster(self._model)])

    def _delta(self, raw: bytes) -> str:
        answer = _message("DeltaResponse").FromString(raw)
        self._send("DeltaRequest", type_url=answer.type_url, response_nonce=answer.nonce)
        if answer.type_url == _CDS:
            named = [resource.name for resource in answer.resources if resource.name.startswith("model/")]
            self._send("DeltaRequest", type_url=_EDS, subscribe=named)
        return str(answer.type_url)

    def _sotw(self, raw: bytes) -> str:
        answer = _message("Response").FromString(raw)
        kind = answer.type_url
        named = [self._model if kind in (_LDS, _RDS) else grpc_cluster(self._model)]
        said = {"version_info": answer.version_info, "response_nonce": answer.nonce}
        self._send("Request", type_url=kind, resource_names=named, **said)
        return str(kind)

    def _send(self, message: str, **fields: Any) -> None:
        self._out.put_nowait(_message(message)(**fields).SerializeToString())

    async def _requests(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._out.get()


async def _main(options: argparse.Namespace) -> None:
    own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    channels = [grpc.aio.insecure_channel(options.target, options=own) for _ in range(_CHANNELS)]
    planes = [DataPlane(options.first + number, options.models) for number in range(options.streams)]
    async with asyncio.TaskGroup() as group:
        for number, plane in enumerate(planes):
            group.create_task(plane.run(channels[number % _CHANNELS]))
        for plane in planes:
            await plane.complete.wait()
        sys.stdout.write("{}\n")
        sys.stdout.flush()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--streams", type=int, default=250)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--models", type=int, default=1)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
