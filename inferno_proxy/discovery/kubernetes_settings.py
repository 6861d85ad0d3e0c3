"""What an operator says of the Kubernetes service whose endpoints are nodes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pydantic

from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import option

# RFC 1123, as Kubernetes names namespaces, services and ports.
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
PortNumber = Annotated[int, pydantic.Field(ge=1, le=65535)]
PortName = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class KubernetesSettings(pydantic.BaseModel):
    """Nodes are the endpoints of a service: of the EndpointSlices that belong to it, or that a selector finds."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    namespace: str = option(help="Namespace of the service.", pattern=_NAME)
    service: str = option("", help="Name of the service; or give a selector.", pattern=r"^$|" + _NAME)
    selector: str = option("", help="Label selector of EndpointSlices, for example app=triton.", max_length=1024)
    grpc_port: PortNumber | PortName = option("grpc", help="The model server's gRPC port: its name or number.")
    http_port: PortNumber | PortName | None = option(None, help="Its REST port: name or number; left out, none.")
    region: str = option("", help="Region of the cluster, for example us-east-1.", max_length=256)
    kubeconfig: Path | None = option(
        None, help="Whom to ask; left out: the cluster that the proxy runs in, or kubectl's own file."
    )
    context: str = option("", help="Context of that file; left out, its current one.")

    @pydantic.model_validator(mode="after")
    def _something_is_named(self) -> KubernetesSettings:
        if bool(self.service) == bool(self.selector):
            raise ValueError("give either service or selector")
        return self

    @property
    def label_selector(self) -> str:
        """The selector of the slices."""
        return self.selector or f"kubernetes.io/service-name={self.service}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service or self.selector}"


def require_client(find: Callable[[str], object | None] = importlib.util.find_spec) -> None:
    """Make sure that the client of Kubernetes is installed.

    Raises:
        InvalidInput: It is not; the sentence says how to install it.
    """
    if find("kubernetes") is None:
        raise InvalidInput(
            "proxy.kubernetes needs the Kubernetes client, which is not installed.",
            reason="NO_KUBERNETES_CLIENT",
            fix="Install the extra inferno-mesh[kubernetes], or: pip install 'kubernetes>=37,<38'.",
        )
