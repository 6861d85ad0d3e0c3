"""A canary Envoy: configurations that do harm are found before any other Envoy hears of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inferno_proxy.envoy.canary import Canary, Patience
from inferno_proxy.envoy.probes import probes
from inferno_proxy.fleet import Address, FleetView, Member, Phase, Source
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.reloading.rehearsal import Rehearsal
from inferno_proxy.reloading.reload import compare
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_proxy.routing.traffic_settings import traffic_table
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import Origin
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InvalidInput, Unavailable
from tests.certificates import DOMAIN
from tests.integration.inferno_backend.members import identified, mesh_authority
from tests.integration.inferno_proxy.envoy.poison import crashing
from tests.unit.inferno_proxy.nodes import model, node

FLEET = FleetView(
    1, {"a": Member(node("a", models=(model("m"), model("s", stateful=True))), Phase.SERVING, Source.AGENT, 1.0)}
)
# Valid as a number of seconds; Envoy's own limit is below it.
TOO_LONG = "{timeout: 10000000000}"
EVERYTHING = """
proxy:
  region: here
  rate_limit_service: no-such-host.invalid:8081
  models:
    "*": {retries: 1, hedge_after: 0.1, max_concurrency: 9}
    m: {balance: maglev, hash_on: address, timeout: 2, rate: {calls: 1, per: address}}
    o: {rate: {calls: 1, scope: global}, max_request_bytes: 5000}
    n:
      split: {by: version, weights: {"1": 9, "2": 1}}
      mirror: {by: "label:a", to: b}
"""


def staged(view: FleetView, settings: ProxySettings) -> Snapshot:
    """What an Envoy would get; a node's own addresses are never called."""
    traffic = traffic_table(settings.models)
    resources = ResourceSettings(
        "/nowhere/g",
        "/nowhere/h",
        Address("192.0.2.9", 80),
        rate_limits=traffic.limits_rates,
        size_limits=traffic.limits_sizes,
        rate_limit_service=settings.rate_limits_at,
    )
    routing = RoutingSettings(traffic, settings.region, settings.zone)
    return build(plan(view, routing), resources, 1, {})[Dialect.ENVOY]


def canary(folder: Path, patience: Patience | None = None) -> Canary:
    return Canary(folder / "canary", SystemClock(), patience)


Stage = Callable[[FleetView, ProxySettings], Snapshot]


async def tried(folder: Path, text: str, before: str = "", stage: Stage = staged) -> None:
    """Rehearse the settings of a file."""
    file = folder / "inferno.yaml"
    file.write_text(before)
    old = Origin(file).read({}).value
    file.write_text(text)
    await Rehearsal(canary(folder), lambda: FLEET, stage).check(old, compare(old, Origin(file).read({})))


async def test_settings_of_every_kind_pass_and_leave_nothing(socket_dir: Path) -> None:
    (socket_dir / "canary").mkdir()
    (socket_dir / "canary" / "sink.sock").write_text("left behind")
    await tried(socket_dir, EVERYTHING)
    assert not (socket_dir / "canary").exists()


async def test_clusters_with_tls_lead_a_canary_nowhere_else(socket_dir: Path) -> None:
    identified(socket_dir / "identity", mesh_authority(), "proxy/p")
    taking = FleetView(1, {"a": Member(node("a", tls=True), Phase.SERVING, Source.AGENT, 1.0)})
    resources = ResourceSettings("/nowhere/g", "/nowhere/h", identity=socket_dir / "identity", trust_domain=DOMAIN)
    secured = build(plan(taking, RoutingSettings()), resources, 1, {})[Dialect.ENVOY]
    assert await canary(socket_dir).verdict(secured, probes(["m"])) == ""


async def test_of_several_changes_the_one_that_envoy_refuses_is_named_with_its_line(socket_dir: Path) -> None:
    entries = [f"    m{number}: {TOO_LONG if number == 5 else '{retries: 1}'}\n" for number in range(8)]
    with pytest.raises(InvalidInput) as caught:
        await tried(socket_dir, "proxy:\n  models:\n" + "".join(entries))
    assert caught.value.message.startswith(f"{socket_dir}/inferno.yaml:8: proxy.models.m5: Envoy refuses it: ")
    assert "Duration out-of-range" in caught.value.message


async def test_what_cannot_even_be_built_is_named_with_its_line(socket_dir: Path) -> None:
    def unbuilt(view: FleetView, settings: ProxySettings) -> Snapshot:
        # Settings bound all that Envoy bounds: no value is known that passes them and cannot be encoded.
        if "m" in settings.models:
            raise ValueError("out of range")
        return staged(view, settings)

    with pytest.raises(InvalidInput, match=r":3: proxy\.models\.m: no configuration can be built with it: out of"):
        await tried(socket_dir, "proxy:\n  models:\n    m: {timeout: 1}\n", stage=unbuilt)


async def test_what_crashes_envoy_at_the_first_request_is_found(socket_dir: Path) -> None:
    poisoned = crashing(staged(FLEET, ProxySettings()))
    assert await canary(socket_dir).verdict(poisoned, probes(["m"])) == "Envoy crashes with it (SIGSEGV)"
    # Without a call it would have passed.
    assert await canary(socket_dir).verdict(poisoned, ()) == ""


async def test_a_call_without_an_answer_in_time_is_a_verdict(socket_dir: Path) -> None:
    hasty = canary(socket_dir, Patience(answer=1e-6))
    said = await hasty.verdict(staged(FLEET, ProxySettings()), probes(["m"]))
    assert said.startswith("Envoy does not answer a call with it (")


async def test_a_canary_that_cannot_run_says_nothing_about_the_settings(socket_dir: Path) -> None:
    snapshot = staged(FLEET, ProxySettings())
    with pytest.raises(Unavailable, match="not ready within 0 s"):
        await canary(socket_dir, Patience(ready=0.0)).verdict(snapshot, ())
    (socket_dir / "canary").write_text("in the way")
    with pytest.raises(Unavailable, match="No canary Envoy can run"):
        await canary(socket_dir).verdict(snapshot, ())
