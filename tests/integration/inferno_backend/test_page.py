"""The page of a real node: what docs/metrics.md says of it, the same numbers in both forms, and who gets it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from inferno_backend.node import NodeState
from inferno_backend.page.contents import Contents
from inferno_backend.page.page import Page, for_members, renew, serve
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InvalidInput, Unavailable
from inferno_runtime.identity.authority import NODE_HOST
from inferno_runtime.identity.folder import IdentityFolder
from tests.integration.inferno_backend.agent import agent, infer
from tests.integration.inferno_backend.members import identified, mesh_authority
from tests.integration.inferno_backend.mesh import mesh
from tests.waiting import eventually

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(?P<name>\w+)` \| (?P<type>counter|gauge) \|(?P<labels>[^|]*)\| [^|]+ \|")
CALLS = 5


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Each row's name, type and labels."""
    part = DOCUMENT.read_text(encoding="utf-8").partition("\n## A node's own page\n")[2]
    rows = map(ROW.fullmatch, part.splitlines())
    return {row["name"]: (row["type"], frozenset(re.findall(r"`(\w+)`", row["labels"]))) for row in rows if row}


async def got(url: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession(url) as http, http.get(path) as answer:
        return answer.status, await answer.text()


async def samples(url: str) -> list[Sample]:
    status, text = await got(url, "/metrics")
    assert status == 200
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


async def figure(url: str, name: str, **labels: str) -> float | None:
    """One figure; None when it is not there."""
    found = [one.value for one in await samples(url) if one.name == name and labels.items() <= one.labels.items()]
    assert len(found) <= 1, found
    return found[0] if found else None


async def shown(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession(url) as http, http.get("/telemetry") as answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


async def test_a_node_shows_what_the_document_says_in_both_forms_and_through_a_crash(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        url = facts["page"]
        assert url.startswith("http://127.0.0.1:")
        assert [(await got(url, path))[0] for path in ("/healthz", "/readyz")] == [200, 200]
        for _ in range(CALLS):
            await infer(facts["grpc"])

        text = (await got(url, "/metrics"))[1]
        families = {
            f"{one.name}_total" if one.type == "counter" and not one.name.startswith("nv_") else one.name: one
            for one in text_string_to_metric_families(text)
        }
        own = {name: one.type for name, one in families.items() if not name.startswith("nv_")}
        table = documented()
        assert own == {name: kind for name, (kind, _) in table.items()}
        labels = {name: {label for one in families[name].samples for label in one.labels} for name in own}
        assert {name: found for name, found in labels.items() if found - table[name][1]} == {}
        assert "nv_inference_request_success" in families

        async def counted() -> bool:
            document = await shown(url)
            answered = await figure(url, "inferno_node_model_requests_total", model="whoami", outcome="ok")
            return bool(document["counters"][0]["success"] == answered == CALLS)

        await eventually(counted, 10, "both forms have every call")
        # The parser calls every counter so; Triton's has no such end.
        assert await figure(url, "nv_inference_request_success_total", model="whoami") == CALLS

        async def handed_in() -> bool:
            progress = (await shown(url))["telemetry"]
            return far.store.requests("whoami") == CALLS and progress["acknowledged_samples"] >= 2

        await eventually(handed_in, 10, "the samples are stored")
        document = await shown(url)
        assert document["proxies"][0]["address"] == far.address
        assert document["proxies"][0]["connected"] is True
        assert document["triton_pid"] == facts["triton_pid"]
        assert {next(iter(one.keys() & {"model", "device"})) for one in document["samples"]} == {"model", "device"}
        assert document["certificate_until"] is None

        node.triton().kill()
        await eventually(lambda: _status(url, "/readyz", 503), 5, "it is not ready")
        status, text = await got(url, "/metrics")
        assert (status, "nv_inference" in text) == (200, False), "its own figures do not depend on Triton"
        await eventually(lambda: _status(url, "/readyz", 200), 30, "it is ready again")
        assert await figure(url, "inferno_node_triton_restarts_total") == 1
        assert await figure(url, "inferno_node_condition", condition="SERVING") == 1
        assert await node.end() == 0


async def _status(url: str, path: str, wanted: int) -> bool:
    return (await got(url, path))[0] == wanted


def page() -> Page:
    return Page(lambda: Contents("n1", 7, "0.1.0", NodeState()))


def member_of(by: IdentityFolder, identity: IdentityFolder | None) -> ssl.SSLContext:
    """TLS as a Prometheus has it: a CA, the name every node has, and a certificate of its own or none."""
    context = ssl.create_default_context(cafile=str(by.authority))
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


async def seen(url: str, tls: ssl.SSLContext) -> str:
    """The serial number of the certificate that the page shows to whom it lets in; nothing for all others."""
    host, port = parse_address(url.removeprefix("https://"))
    reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=NODE_HOST)
    try:
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        serial: str = writer.get_extra_info("peercert")["serialNumber"]
        return serial if answer.startswith(b"HTTP/1.0 200 ") else ""
    except (ssl.SSLError, ConnectionError):  # TLS 1.3: refused only after the caller's half of the handshake.
        return ""
    finally:
        writer.close()


async def test_beyond_loopback_only_members_of_the_mesh_get_the_page_also_after_a_renewal(tmp_path: Path) -> None:
    by = mesh_authority()
    own = identified(tmp_path / "node", by, "node/n1")
    scraper = identified(tmp_path / "prometheus", by, "operator/prometheus")
    stranger = identified(tmp_path / "stranger", mesh_authority(), "operator/prometheus")
    tls = for_members(own)
    async with serve(page(), "127.0.0.1", 0, tls) as url:
        assert url.startswith("https://")
        first = await seen(url, member_of(own, scraper))
        assert first
        for other in (None, stranger):
            assert not await seen(url, member_of(own, other))
        identified(tmp_path / "node", by, "node/n1")
        renew(tls, own)
        assert await seen(url, member_of(own, scraper)) not in ("", first)


async def test_a_port_that_is_taken_is_named_with_who_has_it_and_none_may_be_wanted() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}: the port is used by pid \d+") as taken:
            async with serve(page(), "127.0.0.1", port):
                pass
    assert "--page-port" in taken.value.fix
    with pytest.raises(InvalidInput, match=r"cannot be served on 192\.0\.2\.1") as nowhere:
        async with serve(page(), "192.0.2.1", 0):
            pass
    assert "--page-host" in nowhere.value.fix
    async with serve(page(), "127.0.0.1", -1) as url:
        assert url == ""
    async with serve(page(), "::1", 0) as url:
        assert await got(url, "/readyz") == (503, "STARTING: no model is ready.\n")
