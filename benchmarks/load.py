"""An open-loop load of small unary requests, as a process of its own, with one JSON report at the end.

::

    python -m benchmarks.load --target 127.0.0.1:8080 --model whoami --rate 100 --seconds 30

Requests leave on schedule whether or not earlier ones came back, so a stall is seen by every request that was due in
it (no coordinated omission). The process prints ``warm`` on standard output once requests succeed steadily, runs until
``--seconds`` or SIGTERM, waits for what is in flight and prints the report: counts, failures by status with their
moments, latencies in seconds. Moments are CLOCK_MONOTONIC, which processes of one machine share.

``--target xds:///MODEL`` makes the process a proxyless client; it then needs GRPC_XDS_BOOTSTRAP in its environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

_WARM_AFTER = 20
_STATUS_NONE = "OK"
# What an application may give its channel when its calls may run twice. Source: gRPC A6, client retries.
_RETRYING = {
    "methodConfig": [
        {
            "name": [{"service": "inference.GRPCInferenceService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


@dataclass(slots=True)
class Report:
    """What a load saw. Latencies in seconds; ``failures`` are ``[moment, status, message]``; ``slow`` counts requests
    over 100 ms with the first and last moment they left at; ``servers`` counts answers by server. ``took`` has the
    median and the 99th percentile by status, from when the request left, which may be later than it was due."""

    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[float, str, str]] = field(default_factory=list)
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    slow: int = 0
    slow_window: tuple[float, float] | None = None
    servers: dict[str, int] = field(default_factory=dict)
    last_seen: dict[str, float] = field(default_factory=dict)
    first_seen: dict[str, float] = field(default_factory=dict)
    took: dict[str, tuple[float, float]] = field(default_factory=dict)


class Load:
    """Sends ``rate`` requests a second over ``channels`` connections."""

    def __init__(
        self, target: str, model: str, rate: float, timeout: float, channels: int, hold: float, *, retry: bool
    ) -> None:
        # After a listener's death the client itself would wait seconds before it dials again.
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 100),
            *([("grpc.service_config", json.dumps(_RETRYING))] if retry else []),
        ]
        self._channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(channels)]
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in self._channels]
        self._request = whoami_request(model, hold)
        self._interval = 1 / rate
        self._timeout = timeout
        self._samples: list[tuple[float, float]] = []
        self._report = Report()
        self._took: dict[str, list[float]] = {}
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float, stop: asyncio.Event) -> Report:
        """Send until ``stop`` or ``seconds`` are over, then wait for the answers."""
        start = time.monotonic()
        due, number, warm = start, 0, False
        while not stop.is_set() and due < start + seconds:
            delay = due - time.monotonic()
            if delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay)
            task = asyncio.create_task(self._one(self._stubs[number % len(self._stubs)], due))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            number += 1
            due += self._interval
            if not warm and self._report.succeeded >= _WARM_AFTER:
                warm = True
                sys.stdout.write("warm\n")
                sys.stdout.flush()
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        for channel in self._channels:
            await channel.close()
        return self._finish(number)

    async def _one(self, stub: service_pb2_grpc.GRPCInferenceServiceStub, due: float) -> None:
        status, message, server = _STATUS_NONE, "", ""
        left = time.monotonic()
        try:
            answer = await stub.ModelInfer(self._request, timeout=self._timeout)
            server = answer.raw_output_contents[0][4:].decode() if answer.raw_output_contents else ""
        except grpc.aio.AioRpcError as error:
            status, message = error.code().name, error.details() or ""
        ended = time.monotonic()
        report = self._report
        report.statuses[status] = report.statuses.get(status, 0) + 1
        if status == _STATUS_NONE:
            report.succeeded += 1
            report.servers[server] = report.servers.get(server, 0) + 1
            report.last_seen[server] = ended
            report.first_seen.setdefault(server, ended)
        else:
            report.failed += 1
            report.failures.append((due, status, message))
        self._samples.append((due, ended - due))
        self._took.setdefault(status, []).append(ended - left)

    def _finish(self, sent: int) -> Report:
        report = self._report
        report.sent = sent
        latencies = sorted(latency for _, latency in self._samples)
        if latencies:
            report.p50 = latencies[len(latencies) // 2]
            report.p99 = latencies[int(len(latencies) * 0.99)]
            report.worst = latencies[-1]
        for status, took in self._took.items():
            took.sort()
            report.took[status] = (took[len(took) // 2], took[int(len(took) * 0.99)])
        slow = [due for due, latency in self._samples if latency > 0.1]
        report.slow = len(slow)
        report.slow_window = (min(slow), max(slow)) if slow else None
        return report


def whoami_request(model: str, hold: float) -> service_pb2.ModelInferRequest:
    """One request for the ``whoami`` model: it holds the node for ``hold`` milliseconds and answers with its server.

    Below zero it holds as long, and goes on when nobody waits for the answer any more.
    """
    request = service_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="hold_ms", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(hold)
    return request


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    load = Load(
        options.target,
        options.model,
        options.rate,
        options.timeout,
        options.channels,
        options.hold_ms,
        retry=options.retry,
    )
    report = await load.run(options.seconds, stop)
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--timeout", type=float, default=5)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--hold-ms", type=float, default=0)
    parser.add_argument("--retry", action="store_true", help="with a retry policy for UNAVAILABLE")
    asyncio.run(_main(parser.parse_args()))
    # A grpc channel to a control plane that is gone may hold the interpreter's end for seconds.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
