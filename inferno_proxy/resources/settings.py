"""What the data plane's resources are built from besides the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from inferno_proxy.call_records import Traces
from inferno_proxy.fleet import Address
from inferno_proxy.routing.access import Client, TokenRules
from inferno_runtime.identity.caller import Door


@dataclass(frozen=True, slots=True)
class ServerTls:
    """``folder`` holds the certificate and the CA of the callers, with the files of
    :func:`inferno_runtime.identity.secrets.write_secrets`. ``clients``: the certificates of callers are asked for and
    checked; ``required``: who has none is not let in."""

    folder: Path
    clients: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """Where the public port and the local services are, and how hard the data plane tries.

    ``control_grpc`` and ``control_http`` are the paths of the control plane's Unix sockets. ``governator`` is a TCP
    address (IP and port), the path of a Unix socket, or None when no governator is known. A request of up to
    ``message_limit`` bytes keeps its chance of a second try on another node; a larger one passes without. ``healing``
    False turns retries, health checks, keepalive and outlier detection off: the control run of a fault test, never a
    production choice. ``rate_limits`` and ``size_limits``: some model has one, so the filter for them is in the chain.
    ``rate_limit_service`` is where limits are counted for all proxies together, None when none is configured; its host
    may be a name.
    ``aliases``: there are some, so the call filter looks for them.
    ``door`` is what the public port is: whether it knows its clients; with ``tls`` it speaks TLS. ``mesh`` is the port
    for members of the mesh, who know this proxy by its ``identity``.
    ``priority_header`` is the header that marks calls of high priority, in lower case; empty: all calls are equal.
    ``asked_for`` are the headers that clients are to send because settings read them, in lower case. Peers in the
    address ranges of ``trusted`` may send headers that steer.
    ``identity`` is the folder of the proxy's identity in the mesh of ``trust_domain``, with the files of
    :func:`inferno_runtime.identity.secrets.write_secrets`; None: it has none, and reaches no node that takes TLS only.
    ``elsewhere``: the resources are for Envoys of other machines.
    ``access_log`` is the file that Envoy writes its access log to, empty for none; ``traces`` says where spans go.
    ``clients`` are those of the public port by a key, or by a token that ``tokens`` verify.
    """

    control_grpc: str
    control_http: str
    listen: Address = Address("127.0.0.1", 8080)
    governator: Address | str | None = None
    message_limit: int = 128 * 1024 * 1024
    healing: bool = True
    rate_limits: bool = False
    size_limits: bool = False
    rate_limit_service: Address | None = None
    aliases: bool = False
    priority_header: str = ""
    asked_for: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    identity: Path | None = None
    trust_domain: str = ""
    door: Door = Door.OPEN
    access_log: str = ""
    traces: Traces | None = None
    tls: ServerTls | None = None
    mesh: Address | None = None
    clients: tuple[Client, ...] = ()
    tokens: TokenRules | None = None
    elsewhere: bool = False

    @property
    def asks(self) -> bool:
        """True when whoever calls the public port must have a key or a token."""
        return bool(self.clients) or self.tokens is not None

    def for_elsewhere(self) -> ResourceSettings:
        """The same for Envoys of other machines: without this machine's files, and without the port for members."""
        return replace(self, elsewhere=True, tls=None, mesh=None, access_log="", trusted=())
