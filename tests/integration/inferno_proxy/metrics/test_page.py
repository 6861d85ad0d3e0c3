"""The page of a real proxy: what docs/metrics.md says of it, and that it only ever counts up."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.test_proxy import infer, nodes, register, traffic
from tests.integration.inferno_proxy.tritons import triton
from tests.waiting import eventually

DOCUMENT = Path(__file__).parents[4] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(?P<name>\w+)` \| (?P<type>counter|gauge|histogram) \|(?P<labels>[^|]*)\| [^|]+ \|")
OF_ENVOY = ("inferno_requests_", "inferno_request_", "inferno_connections_", "inferno_upstream_")
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Each row's name, type and labels."""
    part = DOCUMENT.read_text(encoding="utf-8").partition("\n## A node's own page\n")[0]
    rows = map(ROW.fullmatch, part.splitlines())
    return {row["name"]: (row["type"], frozenset(re.findall(r"`(\w+)`", row["labels"]))) for row in rows if row}


async def page(running: Proxy) -> str:
    """The text as Prometheus gets it."""
    async with aiohttp.ClientSession(f"http://{running.endpoint}") as http, http.get("/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


async def samples(running: Proxy) -> list[tuple[str, Sample]]:
    """Each sample with its family's type."""
    families = text_string_to_metric_families(await page(running))
    return [(family.type, sample) for family in families for sample in family.samples]


async def counted(running: Proxy) -> Figures:
    """What may never fall: Envoy's counters and histograms, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for kind, sample in await samples(running)
        if kind in ("counter", "histogram")
        and sample.name.startswith(
            ("inferno_requests_", "inferno_request_", "inferno_connections_", "inferno_upstream_")
        )
    }


async def calls(running: Proxy) -> float:
    """How many calls of the model succeeded."""
    wanted = {"model": "m", "status": "OK"}.items()
    found = [
        s.value for _, s in await samples(running) if s.name == "inferno_requests_total" and wanted <= s.labels.items()
    ]
    return sum(found)


async def test_the_page_has_what_the_document_says_and_a_killed_envoy_costs_it_nothing(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--mesh-port", str(free_port())) as running:
        await register(running, server)
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        assert not await infer(running.channel, "nobody-has-it")
        families = {}
        shown: dict[str, set[frozenset[str]]] = {}
        for family in text_string_to_metric_families(await page(running)):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            families[name] = family.type
            shown[name] = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        table = documented()
        assert families == {name: kind for name, (kind, _) in table.items()}
        assert {name: labels for name, labels in shown.items() if labels - {table[name][1]}} == {}
        for name in ("inferno_requests_total", "inferno_xds_pushes_total", "inferno_snapshot_seconds", "inferno_nodes"):
            assert shown[name], f"{name} has a figure"
        assert await calls(running) == 1
        ends = {
            sample.labels["certificate"]: sample.value - time.time()
            for _, sample in await samples(running)
            if sample.name == "inferno_certificate_expiry_timestamp_seconds"
        }
        assert set(ends) == {"proxy", "authority"}
        assert 80_000 < ends["proxy"] <= 86_400 < ends["authority"]
        before = await counted(running)
        running.child("--concurrency").kill()

        async def again() -> bool:
            try:
                now = await asyncio.wait_for(counted(running), 5)
            except (aiohttp.ClientError, TimeoutError):
                return False
            return all(now.get(key, 0) >= was for key, was in before.items())

        await eventually(again, 10, "a page that counts on")


async def _replaced(running: Proxy, outcomes: list[bool]) -> None:
    """Have every process replaced, look at the page all the while, and wait until the old Envoy is gone."""
    before, known = set(running.children("--concurrency")), await counted(running)
    control = running.child("control_plane").pid
    running.process.send_signal(signal.SIGUSR2)

    async def gone() -> bool:
        nonlocal known
        try:
            now = await counted(running)
        except (aiohttp.ClientError, AssertionError):
            return False  # the control plane is being replaced
        fallen = {key: (was, now.get(key, 0)) for key, was in known.items() if now.get(key, 0) < was}
        assert not fallen
        known = now
        left = before & set(running.children("--concurrency"))
        return not left and running.child("control_plane").pid != control and bool(await nodes(running))

    await eventually(gone, 30, "every process is replaced")
    assert all(outcomes)


async def test_calls_go_on_and_counters_count_on_while_every_process_is_replaced(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir) as running:
        await register(running, server)
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        async with traffic(running.channel) as outcomes:
            await eventually(lambda: len(outcomes) > 20, 5, "calls")
            await _replaced(running, outcomes)
        done = 1 + len(outcomes)

        async def all_counted() -> bool:
            return await calls(running) == done

        await eventually(all_counted, 5, f"{done} calls are counted")
