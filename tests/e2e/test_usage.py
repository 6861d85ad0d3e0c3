"""Requests from the public port to the governator's database: each counted once, for its team, model and node."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_governator.requests import RequestKey, RequestUse
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.identity.api_keys import hash_of, new_key
from inferno_runtime.process import free_port
from tests.e2e.conftest import Repository
from tests.e2e.test_secured_node import inferno
from tests.integration.inferno_backend.agent import agent
from tests.integration.inferno_governator.governators import governator_process
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

KEYS = {name: new_key() for name in ("boss", "search-ci", "search-app", "ads")}
CLIENTS = f"""
proxy:
  clients:
    boss: {{keys: ["{hash_of(KEYS["boss"])}"], role: operator}}
    search-ci: {{keys: ["{hash_of(KEYS["search-ci"])}"], team: search}}
    search-app: {{keys: ["{hash_of(KEYS["search-app"])}"], team: search}}
    ads: {{keys: ["{hash_of(KEYS["ads"])}"]}}
"""
NODE = "gpu-7"


@dataclass
class Mesh:
    """A proxy that knows its clients, a node that joined it, and the governator's database."""

    running: Proxy
    database: str

    async def call(self, key: str, count: int, model: str = "whoami") -> Counter[str]:
        """Make so many calls with a key, and count how they end."""
        request = service_pb2.ModelInferRequest(model_name=model)
        tensor = request.inputs.add(name="hold_ms", datatype="FP32", shape=[1])
        tensor.contents.fp32_contents.append(0)
        said = (("authorization", f"Bearer {KEYS[key]}"),)
        ended: Counter[str] = Counter()
        async with rpc.channel(self.running.endpoint) as channel:
            stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for _ in range(count):
                code: grpc.StatusCode = await stub.ModelInfer(request, timeout=60, metadata=said).code()
                ended[code.name] += 1
        return ended

    async def uses(self) -> list[RequestUse]:
        """What the governator has stored."""
        async with Store(parse_database(self.database), SystemClock()) as store, store.moment() as moment:
            return [use async for chunk in moment.requests(0, 10**8) for use in chunk]

    async def stored(self, wanted: Sequence[tuple[RequestKey, int]]) -> dict[RequestKey, RequestUse]:
        """Wait until as many successes are stored as wanted or more, and return the sums by who asked what."""

        async def there() -> dict[RequestKey, RequestUse] | None:
            sums = added(await self.uses())
            known = all(key in sums and sums[key].requests + sums[key].errors >= count for key, count in wanted)
            return sums if known else None

        found = await eventually(there, 40, f"the database has {wanted}")
        assert found is not None
        return found


def both(one: RequestUse, other: RequestUse) -> RequestUse:
    counts = [a + b for a, b in zip(one[7:-1], other[7:-1], strict=True)]
    histogram = tuple(a + b for a, b in zip(one.histogram, other.histogram, strict=True))
    return RequestUse._make((*one[:7], *counts, histogram))


def added(uses: Sequence[RequestUse]) -> dict[RequestKey, RequestUse]:
    """Uses added up by who asked what."""
    sums: dict[RequestKey, RequestUse] = {}
    for use in uses:
        key = RequestKey(*use[2:7])
        sums[key] = both(sums[key], use) if key in sums else use
    return sums


@asynccontextmanager
async def mesh(folder: Path, tmp_path: Path, repository: Path) -> AsyncIterator[Mesh]:
    """All of it, from real processes."""
    port, token = free_port(), tmp_path / "token"
    database = f"sqlite:///{tmp_path / 'governator.db'}"
    settings, key_file = tmp_path / "inferno.yaml", tmp_path / "boss.key"
    settings.write_text(CLIENTS)
    key_file.touch(mode=0o600)
    key_file.write_text(KEYS["boss"])
    async with governator_process(database) as governs:
        flags = ["--mesh-port", str(port), "--governator", json.loads(governs.facts)["address"]]
        async with proxy(folder, *flags, "--config", str(settings)) as running:
            reached = ("--endpoint", running.endpoint, "--key-file", str(key_file))
            await inferno("token", "create", "--name", "gpu-*", *reached, "--out", str(token))
            joins = ["--node-id", NODE, "--host", "0.0.0.0", "--advertise-host", "127.0.0.1"]
            joins += ["--discovery-lb", f"127.0.0.1:{port}", "--join-token-file", str(token)]
            async with agent(tmp_path / "node", *joins, "--model-repository", str(repository)) as node:
                await node.ready()
                yield Mesh(running, database)
                assert await node.end() == 0


async def test_every_request_of_two_teams_is_stored_once_whatever_is_restarted(
    socket_dir: Path, tmp_path: Path, repository: Repository
) -> None:
    async with mesh(socket_dir, tmp_path, repository("whoami")) as running:
        made: Counter[str] = Counter()

        async def call(**counts: int) -> None:
            for name, count in counts.items():
                key = name.replace("_", "-")
                assert await running.call(key, count) == {"OK": count}
                made[key] += count

        def stored() -> list[tuple[RequestKey, int]]:
            teams = {"search-ci": "search", "search-app": "search", "ads": "ads"}
            return [(RequestKey(NODE, "whoami", "1", teams[key], key), count) for key, count in made.items()]

        await call(search_ci=7, search_app=5, ads=11)
        assert await running.call("ads", 2, model="none") == {"NOT_FOUND": 2}
        nowhere = RequestKey("", "", "", "ads", "ads")
        await running.stored([*stored(), (nowhere, 2)])
        # A control plane that is killed goes on where it was; what Envoy counted meanwhile is not lost.
        running.running.child("inferno_proxy.control_plane").kill()
        await call(search_ci=3, ads=2)
        await running.stored(stored())
        # An Envoy that is replaced leaves its last word.
        before = running.running.child("envoy").pid
        await call(search_app=4)
        os.kill(running.running.process.pid, signal.SIGUSR2)
        await eventually(lambda: running.running.child("envoy").pid != before, 30, "another Envoy serves")
        await call(search_app=2, ads=1)
        sums = await running.stored(stored())
        for key, count in stored():
            use = sums[key]
            assert (use.requests, use.errors, sum(use.histogram)) == (count, 0, count)
            assert use.request_micros > 0
        assert (sums[nowhere].client_errors, sums[nowhere].requests) == (2, 0)
        assert sums.keys() == {nowhere, *(key for key, _ in stored())}


async def test_tokens_that_a_model_publishes_are_on_the_bill_of_the_teams_that_it_read_and_wrote_them_for(
    socket_dir: Path, tmp_path: Path, repository: Repository
) -> None:
    async with mesh(socket_dir, tmp_path, repository("words")) as running:

        async def say(key: str, words: int) -> None:
            request = service_pb2.ModelInferRequest(model_name="words")
            request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
                b"word " * words
            )
            async with rpc.channel(running.running.endpoint) as channel:
                stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                await stub.ModelInfer(request, timeout=60, metadata=(("authorization", f"Bearer {KEYS[key]}"),))

        rounds = 0

        async def billed() -> Counter[str]:
            """Tokens by team, in all as read and as written."""
            async with Store(parse_database(running.database), SystemClock()) as store, store.moment() as moment:
                items = [item async for chunk in moment.items(0, 10**8) for item in chunk]
            tokens: Counter[str] = Counter()
            for item in items:
                tokens[item.team] += item.input_tokens + item.output_tokens
                tokens += Counter(read=item.input_tokens, written=item.output_tokens)
            return tokens

        async def both() -> bool:
            # A proxy tells of a call up to 3 s after its node: at the end of a minute it is nobody's.
            nonlocal rounds
            rounds += 1
            await say("search-ci", 20)
            await say("ads", 200)
            found = await billed()
            return min(found["search"], found["ads"]) > 0

        await eventually(both, 120, "both teams have tokens on their bill")

        async def all_of_them() -> bool:
            found = await billed()
            return (found["read"], found["written"]) == (220 * rounds, 440 * rounds)

        await eventually(all_of_them, 60, "every token is billed once")
