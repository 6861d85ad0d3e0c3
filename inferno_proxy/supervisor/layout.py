"""Where a proxy's files lie in its data folder. Supervisor, control plane and Envoy agree on these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one data folder, which only its owner may enter."""

    directory: Path

    @property
    def control_grpc(self) -> Path:
        """Unix socket: the control plane's gRPC services, xDS among them."""
        return self.directory / "control.sock"

    @property
    def control_http(self) -> Path:
        """Unix socket: the control plane's HTTP."""
        return self.directory / "control-http.sock"

    @property
    def fleet(self) -> Path:
        """The last good fleet."""
        return self.directory / "fleet.json"

    @property
    def figures(self) -> Path:
        """What Envoys had counted that are no more: the control plane goes on from there."""
        return self.directory / "figures.json"

    @property
    def usage(self) -> Path:
        """What callers asked and the governator has not acknowledged."""
        return self.directory / "usage.json"

    @property
    def plan(self) -> Path:
        """What the supervisor hands the control plane: settings and the public address."""
        return self.directory / "control-plane.json"

    @property
    def proven(self) -> Path:
        """The settings that proved good last, in the form of :attr:`plan`."""
        return self.directory / "proven.json"

    @property
    def orders(self) -> Path:
        """What operators ordered."""
        return self.directory / "orders.json"

    @property
    def audit(self) -> Path:
        """Who did what, a line for each act."""
        return self.directory / "audit.jsonl"

    @property
    def canary(self) -> Path:
        """The canary Envoy's folder, there while one runs."""
        return self.directory / "canary"

    @property
    def authority(self) -> Path:
        """The mesh's CA (:class:`~inferno_runtime.identity.authority_folder.AuthorityFolder`)."""
        return self.directory / "authority"

    @property
    def tokens(self) -> Path:
        """Join tokens, hashed."""
        return self.directory / "tokens.json"

    @property
    def served(self) -> Path:
        """A copy of the operator's certificate, as it last proved good."""
        return self.directory / "served"

    @property
    def identity(self) -> Path:
        """The proxy's own certificate (:class:`~inferno_runtime.identity.folder.IdentityFolder`)."""
        return self.directory / "identity"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it runs; holds its pid."""
        return self.directory / "lock"
