"""What can be set for a node, and nothing else: one option a field."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar

import pydantic

from inferno_backend.cloud.machine import Asked
from inferno_backend.triton.repository import store
from inferno_runtime import settings as runtime
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.settings import option, split_commas

_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
# What Triton's cache needs for itself, with room to keep something.
_LEAST_CACHE = 1024 * 1024
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def default_data_dir() -> Path:
    """Where a node keeps its name and its Triton's files: under the XDG data folder."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "inferno" / "backend"


def _labels(value: object) -> object:
    """``a=1,b=2`` from a flag or the environment as a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not equals or not key.strip() for key, equals, _ in pairs):
        raise ValueError("labels are written key=value,key=value")
    return {key.strip(): text.strip() for key, _, text in pairs}


def _address(value: str) -> str:
    try:
        if value:
            parse_address(value)
    except InfernoError as error:
        raise ValueError(error.message) from error
    return value


Names = Annotated[tuple[str, ...], pydantic.BeforeValidator(split_commas)]
Address = Annotated[str, pydantic.AfterValidator(_address)]
Addresses = Annotated[tuple[Address, ...], pydantic.BeforeValidator(split_commas)]
Labels = Annotated[dict[str, str], pydantic.BeforeValidator(_labels)]


class BackendSettings(runtime.ProcessSettings):
    """Settings of a node."""

    section: ClassVar[str] = "backend"

    model: Names = option((), help="Models to load, comma-separated; every model of the repository when empty.")
    model_repository: Path | None = option(
        None, help="Folder with one folder for each model, as Triton reads it, or s3://, gs://, as://.", metavar="DIR"
    )
    discovery_lb: Addresses = option(
        (), help="Public addresses of the proxies to register with, comma-separated.", metavar="HOST:PORT[,...]"
    )
    join_token_file: Path | None = option(
        None, help="File with the token this node joins the mesh with, once, for its certificate.", metavar="FILE"
    )
    triton_url: Address = option(
        "", help="Attach to a Triton that somebody else runs: its gRPC address.", metavar="HOST:PORT"
    )
    triton_http_url: Address = option(
        "",
        help="REST address of the attached Triton (port 8000 is tried when its gRPC port is 8001).",
        metavar="HOST:PORT",
    )
    triton_metrics_url: Address = option(
        "", help="Metrics address of the attached Triton (port 8002 when its gRPC port is 8001).", metavar="HOST:PORT"
    )
    triton_binary: Path | None = option(None, help="The tritonserver program to run.", metavar="FILE")
    node_id: str = option("", help="The node's name in the mesh; the host's name and a kept suffix when empty.")
    data_dir: Path = option(default_data_dir(), help="Where the node keeps its name and state.", metavar="DIR")
    host: str = option("127.0.0.1", help="Address the node listens on; beyond loopback with TLS.")
    advertise_host: str = option("", help="Host the proxies reach this node by; --host when empty.")
    insecure: bool = option(False, help="Allow listening beyond loopback without TLS.")
    grpc_port: int = option(0, help="The node's gRPC port; 0 picks a free one.", ge=0, le=65535)
    http_port: int = option(0, help="The node's REST port; 0 picks a free one.", ge=0, le=65535)
    metrics_port: int = option(0, help="Triton's metrics port; 0 picks a free one.", ge=0, le=65535)
    page_host: str = option("127.0.0.1", help="Address of the node's own page; beyond loopback with TLS.")
    page_port: int = option(
        0,
        help="Port of the node's own page, /metrics and /telemetry; 0 picks a free one, -1 has none.",
        ge=-1,
        le=65535,
    )
    cache_bytes: int = option(0, help="Memory for answers that Triton keeps; 0 keeps none.", ge=0, metavar="BYTES")
    cache: Names = option((), help="Models with the same answer to the same tensors always: those are kept.")
    price_per_hour: Decimal = option(
        Decimal(0), help="What an hour of this node costs, in US dollars.", ge=0, le=1_000_000, metavar="DOLLARS"
    )
    metadata: Asked = option(
        "auto", help="Whose metadata service to ask what this machine is and when it ends; auto: the firmware's cloud."
    )
    metadata_address: Address = option(
        "", help="Where that service answers, if not where it always does.", metavar="HOST:PORT"
    )
    region: str = option("", help="Cloud region, for example us-east-1; what the cloud says when empty.")
    zone: str = option("", help="Availability zone, for example us-east-1a; what the cloud says when empty.")
    labels: Labels = option({}, help="Labels, key=value, comma-separated.", metavar="K=V[,...]")
    provider: str = option("", help="Cloud provider's name; what the cloud says when empty.")
    instance_type: str = option(
        "", help="Provider's instance type, for example g6.xlarge; what the cloud says when empty."
    )
    spot: bool | None = option(
        None, help="The provider may reclaim this node at short notice; else what the cloud says."
    )
    healing: bool = option(True, help="Restart a dead or hung Triton and withdraw what does not move.")
    stall_after: float = option(1.5, help="Seconds work may wait without any progress.", gt=0)
    silent_after: float = option(10.0, help="Seconds without an answer before a hung Triton is killed.", gt=0)
    stopped_after: float = option(1.0, help="The same for a Triton that the kernel shows as stopped (SIGSTOP).", gt=0)
    slowed_after: float = option(30.0, help="Seconds heat or a power brake may slow a GPU down before it is out.", gt=0)
    start_timeout: float = option(600.0, help="Seconds Triton may take to load its models.", gt=0)
    drain_timeout: float = option(5.0, help="Seconds for running work to end before a stop.", ge=0)
    telemetry: bool = option(True, help="Send measurements to the governator.")
    telemetry_buffer: int = option(
        100_000, help="Samples kept while the governator is away; the oldest go first.", ge=1
    )
    sample_window: float = option(1.0, help="Seconds one sample covers.", gt=0, le=3600)
    leash_fd: int = option(-1, help="Descriptor whose end ends Triton too (given by inferno up).", metavar="FD")

    @pydantic.field_validator("node_id")
    @classmethod
    def _checked_node_id(cls, value: str) -> str:
        if value and not _NODE_ID.fullmatch(value):
            raise ValueError("a node id has letters, digits, '.', '_' and '-', at most 128")
        return value

    @property
    def identity(self) -> IdentityFolder:
        """The node's identity in the mesh, if it has one."""
        return IdentityFolder(self.data_dir.absolute() / "identity")

    @property
    def secured(self) -> bool:
        """True when members of the mesh reach the node over TLS and nobody else does: it listens beyond loopback, has
        an identity, and nobody insists on less."""
        return self.host not in _LOOPBACK and self.identity.exists and not self.insecure

    @property
    def page_exposed(self) -> bool:
        """True when the node's page is served beyond loopback."""
        return self.page_port >= 0 and self.page_host not in _LOOPBACK

    @property
    def page_secured(self) -> bool:
        """True when only members of the mesh get the node's page, over TLS: the same rule as :attr:`secured`."""
        return self.page_exposed and self.identity.exists and not self.insecure

    @property
    def price_micros_per_hour(self) -> int:
        """The price in millionths of a US dollar."""
        return int((self.price_per_hour * 1_000_000).to_integral_value())


@dataclass(frozen=True, slots=True)
class Given:
    """What was written between ``inferno backend`` and the name of a command below it: a command's own options come
    on top."""

    config: Path | None
    flags: Mapping[str, object]

    def load(self, config: Path | None, flags: Mapping[str, object]) -> BackendSettings:
        """The settings of a command.

        Raises:
            InfernoError: As :func:`inferno_runtime.settings.load` does.
        """
        above = {name: value for name, value in flags.items() if value is not None}
        file = config or self.config
        return runtime.load(BackendSettings, file=file, env=os.environ, flags={**self.flags, **above}).value


def check(settings: BackendSettings) -> None:
    """Refuse what no single field can judge.

    Raises:
        InvalidInput: Nothing to serve, two things to serve, or a bind beyond loopback without ``insecure``.
    """
    if settings.triton_url and settings.model_repository is not None:
        raise InvalidInput(
            "--triton-url and --model-repository exclude one another: an attached Triton has a repository of its own.",
            reason="BAD_CONFIG",
            fix="Give one of them.",
        )
    if not settings.triton_url and settings.model_repository is None:
        raise InvalidInput(
            "There is nothing to serve: no model repository and no Triton is given.",
            reason="BAD_CONFIG",
            fix="Give --model-repository DIR, or --triton-url HOST:PORT to attach to a running Triton.",
        )
    if settings.join_token_file is not None and not settings.discovery_lb:
        raise InvalidInput(
            "--join-token-file has no effect: no proxy is given to join at.",
            reason="BAD_CONFIG",
            fix="Give the mesh ports of the proxies: --discovery-lb HOST:PORT.",
        )
    if settings.cache and settings.triton_url:
        raise InvalidInput(
            "--cache has no effect on an attached Triton: its owner decides what it keeps.",
            reason="BAD_CONFIG",
            fix="Leave it out, or give --model-repository for a Triton of our own.",
        )
    if settings.cache and settings.model_repository is not None and store(settings.model_repository):
        raise InvalidInput(
            f"--cache needs a model repository that is a folder: whether files change in "
            f"{store(settings.model_repository)} cannot be seen from here.",
            reason="BAD_CONFIG",
            fix="Copy the repository into a folder, or leave --cache out.",
        )
    if settings.cache and settings.cache_bytes < _LEAST_CACHE:
        raise InvalidInput(
            f"--cache needs --cache-bytes: {settings.cache_bytes} bytes hold no answers.",
            reason="BAD_CONFIG",
            fix=f"Give at least {_LEAST_CACHE}.",
        )
    exposed = settings.host not in _LOOPBACK and not settings.triton_url
    if exposed and not settings.insecure and not settings.secured and settings.join_token_file is None:
        raise InvalidInput(
            f"Triton would listen on {settings.host} without TLS or authentication: this node has no certificate of "
            "the mesh.",
            reason="INSECURE_BIND",
            fix="Let it join with a token (inferno token create), or use --host 127.0.0.1, or --insecure where the "
            "network is trusted.",
        )
    if (
        settings.page_exposed
        and not settings.insecure
        and not settings.page_secured
        and settings.join_token_file is None
    ):
        raise InvalidInput(
            f"The node's page would be open to all who reach {settings.page_host}: this node has no certificate of the "
            "mesh.",
            reason="INSECURE_BIND",
            fix="Let it join with a token (inferno token create), or use --page-host 127.0.0.1, or --insecure where "
            "the network is trusted.",
        )
    if settings.host in _WILDCARDS and (exposed or settings.secured) and not settings.advertise_host:
        raise InvalidInput(
            f"The node listens on every address ({settings.host}), and no proxy can reach it by that.",
            reason="BAD_CONFIG",
            fix="Give the name others reach this machine by: --advertise-host HOST.",
        )
