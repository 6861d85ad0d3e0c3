"""How long a model that is ready in Triton waits for its first request through the public port.

::

    python -m benchmarks.propagation [--rounds 20]

A real cloud with one node. Each round unloads a model straight at the node's Triton, waits until the public port knows
it no more, loads it again, and takes the time from the moment Triton says it is ready to the first answer through the
public port. Both are polled every few milliseconds; the result is therefore a little pessimistic. Results go to
``benchmarks/results/propagation.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import cloud
from benchmarks.environment import machine

_RESULTS = Path(__file__).parent / "results"
_MODELS = Path(__file__).parent.parent / "tests" / "models"
_BUDGET = 0.25
_POLL = 0.003
_OPTIONS = [("grpc.enable_http_proxy", 0)]


def _request() -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="whoami")
    tensor = request.inputs.add(name="hold_ms", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(0)
    return request


async def _answers(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> bool:
    try:
        await stub.ModelInfer(_request(), timeout=1)
    except grpc.aio.AioRpcError:
        return False
    return True


async def _ready(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> bool:
    return bool((await stub.ModelReady(service_pb2.ModelReadyRequest(name="whoami"))).ready)


async def measure(rounds: int, scratch: Path) -> list[float]:
    """Seconds from ready to reached, one for each round."""
    repository = scratch / "models"
    for model in ("whoami", "identity"):
        shutil.copytree(_MODELS / model, repository / model)
    delays = []
    async with (
        cloud(scratch / "data", nodes=1, model_repository=repository) as running,
        grpc.aio.insecure_channel(running.endpoint, options=_OPTIONS) as public,
        grpc.aio.insecure_channel(str(running.nodes[0]["address"]), options=_OPTIONS) as node,
    ):
        mesh, triton = (service_pb2_grpc.GRPCInferenceServiceStub(one) for one in (public, node))
        for _ in range(rounds):
            await triton.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name="whoami"))
            while await _answers(mesh) or await _ready(triton):
                await asyncio.sleep(_POLL)
            loading = asyncio.create_task(_load(triton))
            while not await _ready(triton):
                await asyncio.sleep(_POLL)
            since = time.monotonic()
            while not await _answers(mesh):
                await asyncio.sleep(_POLL)
            delays.append(time.monotonic() - since)
            await loading
    return delays


async def _load(triton: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    await triton.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="whoami"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inferno-propagation-") as scratch:
        delays = sorted(asyncio.run(measure(options.rounds, Path(scratch))))
    record = {
        "machine": machine(),
        "rounds": len(delays),
        "p50_ms": round(delays[len(delays) // 2] * 1000),
        "worst_ms": round(delays[-1] * 1000),
        "within_250_ms": sum(delay <= _BUDGET for delay in delays),
    }
    text = (
        "# From ready in Triton to reached through the public port\n\n"
        "| rounds | p50 ms | worst ms | within 250 ms |\n|---|---|---|---|\n"
        f"| {record['rounds']} | {record['p50_ms']} | {record['worst_ms']} | {record['within_250_ms']} |\n"
    )
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / "propagation.json").write_text(json.dumps(record, indent=1) + "\n")
    (_RESULTS / "propagation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
