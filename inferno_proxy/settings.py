"""What an operator may choose about a proxy."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

import pydantic
from pydantic_core import InitErrorDetails, PydanticCustomError

from inferno_proxy.call_records import STDOUT, Traces
from inferno_proxy.discovery.kubernetes_settings import KubernetesSettings, require_client
from inferno_proxy.door_settings import DoorSettings
from inferno_proxy.fleet import Address
from inferno_proxy.routing.access import AccessTable
from inferno_proxy.routing.aliases import Alias, parse_alias
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Scope
from inferno_proxy.routing.traffic_settings import ModelSettings, contradictions, is_header, traffic_table
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InvalidInput
from inferno_runtime.places import Place
from inferno_runtime.settings import option, split_commas

# A Unix socket's path holds 107 bytes; the longest name in the data folder takes 24 of them.
_MAX_FOLDER = 83
# Bytes of a model's name as a path spells it that the call filter has room for (call_filter/alias.h).
_LONGEST_MODEL = 1024
# Spelled alike in a message, a header and a path, whoever writes it.
AliasName = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
# sockaddr_un.sun_path is 108 bytes with its final zero.
Names = Annotated[tuple[str, ...], pydantic.BeforeValidator(split_commas)]


class PlaceSettings(pydantic.BaseModel):
    """Where a region is, in degrees."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    latitude: float = option(help="Degrees north.", ge=-90, le=90)
    longitude: float = option(help="Degrees east.", ge=-180, le=180)


class ProxySettings(DoorSettings):
    """Settings of ``inferno-proxy``: section ``proxy``, environment ``INFERNO_PROXY_*``."""

    section: ClassVar[str] = "proxy"

    backends: Names = option(
        (),
        help="Model servers without an agent: HOST:GRPC_PORT[:HTTP_PORT],...",
        metavar="H:P[:P],...",
    )
    discovery_file: Path | None = option(
        None, help="Watched list of model servers without an agent, YAML or JSON.", metavar="FILE"
    )
    kubernetes: KubernetesSettings | None = option(None, help="Nodes that are endpoints of a Kubernetes service.")
    data_dir: Path | None = option(
        None,
        help="Folder for sockets and the last good state (default: inferno/proxy in the XDG data folder).",
        metavar="DIR",
    )
    governator: str = option(
        "", help="Where telemetry and cost calls go: HOST:PORT or unix:/path.", metavar="H:P|unix:PATH"
    )
    allow_model_control: bool = option(
        default=False, help="Allow loading and unloading of models over the public port (loading runs code)."
    )
    envoys: int = option(
        1,
        help="Envoys that share the public port: when one dies, the others take new connections.",
        ge=1,
        le=8,
        metavar="N",
    )
    healing: bool = option(default=True, help="Retries, health checks and restarts; off only to show what they do.")
    lease_duration: float = option(
        3.0, help="Seconds without a word after which an agent counts as gone.", ge=0.5, le=300, metavar="SECONDS"
    )
    forget_after: float = option(
        600.0,
        help="Seconds after which a node that nobody vouches for is removed, though it may serve.",
        ge=1,
        metavar="SECONDS",
    )
    max_nodes: int = option(20_000, help="Most nodes that may register.", ge=1, metavar="N")
    message_limit: int = option(
        128 * 1024 * 1024,
        help="Largest request that is kept for another try, in bytes; a larger one is tried once.",
        ge=1024,
        le=2**32 - 1,
        metavar="BYTES",
        live=True,
    )
    region: str = option("", help="Region of this proxy: its nodes are preferred.", metavar="NAME", live=True)
    zone: str = option(
        "", help="Zone of this proxy: its nodes are preferred to others of the region.", metavar="NAME", live=True
    )
    locations: Mapping[str, PlaceSettings] = option(
        {}, help="Where regions are that the big clouds do not have, or have elsewhere.", live=True
    )
    hedge_budget: float = option(
        2.0,
        help="How many of a hundred calls may be sent to a second node when they take long; 0 is none.",
        ge=0,
        le=20,
        metavar="PERCENT",
        live=True,
    )
    prefer: Literal["near", "latency"] = option(
        "near", help="Which nodes come first: the nearer ones, or wherever they are those that answer soon.", live=True
    )
    rate_limit_service: str = option(
        "",
        help="Service that counts rate limits of scope global for all proxies: HOST:PORT.",
        metavar="HOST:PORT",
        live=True,
    )
    priority_header: str = option(
        "",
        help="Header that marks calls of high priority with the value high; empty: none are.",
        metavar="NAME",
        live=True,
    )
    access_log: str = option(
        "off",
        help="Where each call is written as a line of JSON: off, stdout or a file's absolute path.",
        metavar="off|stdout|PATH",
        live=True,
    )
    otlp: str = option(
        "",
        help="OpenTelemetry collector that gets spans of calls over OTLP/gRPC: HOST:PORT.",
        metavar="HOST:PORT",
        live=True,
    )
    otlp_percent: float = option(
        100.0,
        help="How many of a hundred calls are traced that bring no trace of their caller's.",
        ge=0,
        le=100,
        metavar="PERCENT",
        live=True,
    )
    models: Mapping[str, ModelSettings] = option(
        {}, help="How calls of each model are treated; '*' is every other.", live=True
    )
    aliases: Mapping[AliasName, str] = option(
        {}, help="Other names of models: MODEL or MODEL@VERSION for each.", live=True
    )
    trusted: Names = option(
        (),
        help="Address ranges of gateways whose headers that steer are believed: CIDR,...",
        metavar="CIDR,...",
        live=True,
    )

    @pydantic.field_validator("backends")
    @classmethod
    def _backends_are_addresses(cls, backends: tuple[str, ...]) -> tuple[str, ...]:
        for each in backends:
            split_backend(each)
        return backends

    @pydantic.field_validator("trusted")
    @classmethod
    def _trusted_are_ranges(cls, trusted: tuple[str, ...]) -> tuple[str, ...]:
        for each in trusted:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ValueError(f"{each!r} is no address range such as 10.0.0.0/8 ({error})") from None
        return trusted

    @pydantic.field_validator("priority_header")
    @classmethod
    def _priority_header_is_one(cls, name: str) -> str:
        if name and not is_header(name):
            raise ValueError("it must be the name of a header")
        return name

    @pydantic.field_validator("governator")
    @classmethod
    def _governator_is_an_address(cls, governator: str) -> str:
        if governator and not governator.startswith("unix:/"):
            try:
                parse_address(governator)
            except InvalidInput as error:
                raise ValueError(f"{error} {error.fix} Or unix:/path") from error
        return governator

    @pydantic.field_validator("access_log")
    @classmethod
    def _access_log_is_a_place(cls, where: str) -> str:
        if where not in ("off", "stdout") and not (where.startswith("/") and where.isprintable()):
            raise ValueError("it must be off, stdout or the absolute path of a file")
        return where

    @pydantic.field_validator("rate_limit_service", "otlp")
    @classmethod
    def _service_is_an_address(cls, where: str) -> str:
        if where:
            try:
                parse_address(where)
            except InvalidInput as error:
                raise ValueError(f"{error} {error.fix}") from error
        return where

    @pydantic.field_validator("models")
    @classmethod
    def _somebody_counts(
        cls, models: Mapping[str, ModelSettings], known: pydantic.ValidationInfo
    ) -> Mapping[str, ModelSettings]:
        for name, entry in models.items():
            if entry.rate is not None and entry.rate.scope is Scope.GLOBAL and not known.data.get("rate_limit_service"):
                raise ValueError(f"{name}.rate.scope global needs proxy.rate_limit_service: HOST:PORT")
        found = [
            InitErrorDetails(type=PydanticCustomError("contradiction", "{why}", {"why": why}), loc=(name,), input=None)
            for name, why in contradictions(models)
        ]
        if found:
            # With the model's name in its place, so that the sentence has the model's line.
            raise pydantic.ValidationError.from_exception_data("models", found)
        return models

    @property
    def routing(self) -> RoutingSettings:
        """What the plan of routes is made by."""
        # Not at the top: it loads gRPC, and settings are read by command lines that have nothing to do with it.
        from inferno_runtime.identity.caller import CLIENT

        return RoutingSettings(
            traffic_table(self.models, CLIENT if self.has_credentials else ""),
            self.region,
            self.zone,
            self.targets,
            {name: Place(each.latitude, each.longitude) for name, each in self.locations.items()},
            nearest_first=self.prefer == "near",
            hedge_budget=self.hedge_budget / 100,
            access=AccessTable.of(self.callers),
        )

    @property
    def access_log_file(self) -> str:
        """The file that Envoy writes its access log to; empty for none."""
        return {"off": "", "stdout": STDOUT}.get(self.access_log, self.access_log)

    @property
    def traces(self) -> Traces | None:
        """Where spans go, None when nobody wants them."""
        return Traces(Address(*parse_address(self.otlp)), self.otlp_percent) if self.otlp else None

    @property
    def rate_limits_at(self) -> Address | None:
        """Where rate limits are counted for all proxies together; None when no model has such a limit."""
        wanted = traffic_table(self.models).limits_rates_globally
        return Address(*parse_address(self.rate_limit_service)) if wanted else None

    @property
    def asked_for(self) -> tuple[str, ...]:
        """Headers that clients are to send because settings read them, in lower case."""
        table = traffic_table(self.models)
        read = {self.priority_header.lower()}
        for each in (*table.models.values(), table.others):
            read |= {each.hash_on, each.rate.header if each.rate else ""}
        return tuple(sorted(read - {""}))

    @pydantic.model_validator(mode="after")
    def _aliases_lead_to_models(self) -> ProxySettings:
        for name, alias in self.targets.items():
            if alias.model in self.aliases:
                raise ValueError(f"alias {name!r} stands for {alias.model!r}, which is an alias itself: name the model")
            if not alias.model or not alias.model.isprintable() or len(quote(alias.model)) > _LONGEST_MODEL:
                raise ValueError(f"alias {name!r} stands for no model: say MODEL or MODEL@VERSION")
            if name in self.models:
                raise ValueError(f"{name!r} is an alias: its calls are treated as models says of {alias.model!r}")
        return self

    @property
    def targets(self) -> Mapping[str, Alias]:
        """What each alias stands for."""
        return {name: parse_alias(text) for name, text in self.aliases.items()}

    def directory(self, env: Mapping[str, str] | None = None) -> Path:
        """The data folder, absolute.

        Raises:
            InvalidInput: The path is too long for the sockets that will lie in it.
        """
        env = os.environ if env is None else env
        base = Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME") or Path.home()) / ".local" / "share")
        folder = (self.data_dir or base / "inferno" / "proxy").absolute()
        length = len(os.fsencode(folder))
        if length > _MAX_FOLDER:
            raise InvalidInput(
                f"The data folder {folder} is {length} bytes long; sockets in it allow {_MAX_FOLDER}.",
                reason="PATH_TOO_LONG",
                fix="Give a shorter one with --data-dir.",
            )
        return folder

    def refuse_what_is_missing(self) -> None:
        """Find out before the start whether what an option needs is installed.

        Raises:
            InvalidInput: It is not; the sentence says how to install it.
        """
        if self.kubernetes is not None:
            require_client()


def split_backend(text: str) -> tuple[str, int, int | None]:
    """Split ``HOST:GRPC_PORT[:HTTP_PORT]`` (``[v6]:8001:8000`` for IPv6).

    Raises:
        ValueError: The text is something else.

    >>> split_backend("10.0.0.7:8001")
    ('10.0.0.7', 8001, None)
    >>> split_backend("[fd00::7]:8001:8000")
    ('fd00::7', 8001, 8000)
    """
    rest, http = text, None
    head, _, last = text.rpartition(":")
    before_last = head.rpartition(":")[2]
    if last.isascii() and last.isdigit() and before_last.isascii() and before_last.isdigit() and "]" not in before_last:
        rest, http = head, int(last)
        if not 1 <= http <= 65535:
            raise ValueError(f"{text!r}: the REST port {http} is not from 1 to 65535")
    try:
        host, port = parse_address(rest, "backend")
    except InvalidInput:
        raise ValueError(f"{text!r} is not HOST:GRPC_PORT or HOST:GRPC_PORT:HTTP_PORT") from None
    return host, port, http
