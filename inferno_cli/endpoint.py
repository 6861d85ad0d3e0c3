"""The mesh as the command line reaches it: one public address, one channel, one sentence when it fails."""

from __future__ import annotations

import asyncio
import functools
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InfernoError, InvalidInput, TimedOut

if TYPE_CHECKING:
    import grpc

DEFAULT = "127.0.0.1:8080"
_SECURE, _PLAIN = "https://", "http://"
_HTTPS = 443
# What gRPC says of a peer that took the connection and ended it, as one does that expects TLS.
_HUNG_UP = ("Socket closed", "reset by peer")
_HERE = ("127.0.0.1", "localhost", "::1")
Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the mesh is, ``https://`` before it for TLS, and who calls: an API key, or a client certificate with its
    key. ``ca`` are the certificates by which the mesh is known, None for the system's; ``server_name`` is the name that
    its own must have, empty for the host's."""

    address: str = DEFAULT
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    key: str = field(default="", repr=False)
    server_name: str = ""

    def __str__(self) -> str:
        return self.address

    @property
    def secure(self) -> bool:
        """True when calls go over TLS."""
        return self.address.startswith(_SECURE)

    @property
    def place(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            InvalidInput: The address is no such thing.
        """
        bare = self.address.removeprefix(_SECURE).removeprefix(_PLAIN).removesuffix("/")
        if self.secure and ":" not in bare.rpartition("]")[2]:
            bare = f"{bare}:{_HTTPS}"
        return parse_address(bare, "endpoint")

    @property
    def target(self) -> str:
        """The address as gRPC takes it."""
        host, port = self.place
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def options(self) -> Sequence[tuple[str, str]]:
        """What the channel is told besides."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What TLS needs; None without TLS.

        Raises:
            InvalidInput: A file cannot be read, or a key would travel where everybody on the way can read it.
        """
        if not self.secure:
            if self.ca or self.certificate or self.certificate_key or self.server_name:
                raise InvalidInput(
                    f"Certificates are given, but {self.address} is reached without TLS.",
                    reason="NO_TLS",
                    fix=f"Write --endpoint {_SECURE}{self.target}",
                )
            if self.key and self.place[0] not in _HERE:
                raise InvalidInput(
                    f"The API key would travel to {self.address} in clear.",
                    reason="KEY_IN_CLEAR",
                    fix=f"Use TLS: --endpoint {_SECURE}{self.target}",
                )
            return None
        if (self.certificate is None) != (self.certificate_key is None):
            raise InvalidInput(
                "A client certificate and its key belong together.",
                reason="HALF_A_CERTIFICATE",
                fix="Give both --certificate and --certificate-key.",
            )
        import grpc

        return grpc.ssl_channel_credentials(
            _bytes(self.ca) if self.ca else None,
            _bytes(self.certificate_key, secret=True) if self.certificate_key else None,
            _bytes(self.certificate) if self.certificate else None,
        )


def endpoint_option(command: Command) -> Command:
    """Give a command the options that say where the mesh is and who calls; they arrive as ``endpoint``."""
    file = click.Path(path_type=Path)
    options = (
        click.option(
            "--endpoint",
            envvar="INFERNO_ENDPOINT",
            default=DEFAULT,
            metavar="[https://]HOST:PORT",
            help=f"Public port of the mesh (default {DEFAULT}, or INFERNO_ENDPOINT).",
        ),
        click.option("--ca", envvar="INFERNO_CA", type=file, metavar="FILE", help="Certificates the mesh is known by."),
        click.option(
            "--certificate", envvar="INFERNO_CERTIFICATE", type=file, metavar="FILE", help="Certificate of the caller."
        ),
        click.option(
            "--certificate-key", envvar="INFERNO_CERTIFICATE_KEY", type=file, metavar="FILE", help="Its private key."
        ),
        click.option(
            "--server-name",
            envvar="INFERNO_SERVER_NAME",
            default="",
            metavar="NAME",
            help="Name in the mesh's certificate, where it is not the endpoint's.",
        ),
        click.option(
            "--key-file",
            envvar="INFERNO_API_KEY_FILE",
            type=file,
            metavar="FILE",
            help="File with the caller's API key (or the key in INFERNO_API_KEY).",
        ),
    )

    @functools.wraps(command)
    def with_endpoint(
        *args: Any,
        endpoint: str,
        ca: Path | None,
        certificate: Path | None,
        certificate_key: Path | None,
        key_file: Path | None,
        server_name: str,
        **kwargs: Any,
    ) -> Any:
        # Read when gRPC is imported: its own lines about a failed handshake say less than the sentence that follows.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        key = read_key(key_file, os.environ.get("INFERNO_API_KEY", ""))
        asked = Endpoint(endpoint, ca, certificate, certificate_key, key, server_name)
        return command(*args, endpoint=asked, **kwargs)

    made: Any = with_endpoint
    for option in reversed(options):
        made = option(made)
    return made  # type: ignore[no-any-return] # as click's own decorators


def read_key(file: Path | None, given: str) -> str:
    """The API key in a file, else the one ``given``; empty when there is none.

    Raises:
        InvalidInput: The file cannot be read, others can read it, or what it holds is no key.
    """
    key = _bytes(file, secret=True).decode(errors="replace").strip() if file else given.strip()
    if not all(0x20 < ord(each) < 0x7F for each in key) or (file and not key):
        raise InvalidInput(
            f"{file or 'INFERNO_API_KEY'} holds no API key.",
            reason="BAD_KEY",
            fix="A key is one word, as inferno key create makes it; a token (JWT) may stand in its place.",
        )
    return key


def _bytes(file: Path, *, secret: bool = False) -> bytes:
    try:
        with file.open("rb") as opened:
            if secret and os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidInput(
                    f"{file} can be read by others on this machine.",
                    reason="SECRET_EXPOSED",
                    fix=f"chmod 600 {file}",
                )
            return opened.read()
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be read: {error.strerror}.", reason="BAD_FILE", fix="Check the path."
        ) from error


def timeout_option(seconds: float) -> Callable[[Command], Command]:
    """Give a command ``--timeout`` with this default."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0.001),
        default=seconds,
        metavar="SECONDS",
        help=f"Give up after (default {seconds:g}).",
    )


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the public port; a failed call inside becomes an :class:`InfernoError` that names the endpoint.

    Raises:
        InvalidInput: The endpoint is not ``host:port``, or a credential cannot be used.
        InfernoError: A call inside failed.
    """
    target, credentials = endpoint.target, endpoint.credentials()
    import grpc

    from inferno_runtime import rpc

    calls: Sequence[grpc.aio.ClientInterceptor] = ()
    if endpoint.key:
        from inferno_cli.bearer import bearer

        calls = bearer(endpoint.key)
    try:
        async with rpc.channel(target, endpoint.options, credentials, calls) as channel:
            yield channel
    except grpc.RpcError as error:
        raise _explained(rpc.error_from_rpc(error, f"The mesh at {endpoint}"), endpoint) from error


def _explained(error: InfernoError, endpoint: Endpoint) -> InfernoError:
    if error.reason == "TLS_FAILED":
        error.fix = (
            "Check the address, --ca (which certificates it is known by) and --server-name (its name); without "
            "https:// no TLS is spoken."
        )
    elif not endpoint.secure and (error.reason == "NOT_GRPC" or any(each in error.message for each in _HUNG_UP)):
        error.fix = f"If it speaks TLS: --endpoint {_SECURE}{endpoint.target}"
    elif error.metadata.get("connection") == "failed":
        error.fix = "Start a mesh with: inferno up. Or name another with --endpoint or INFERNO_ENDPOINT."
    elif error.grpc_code_name == "UNAUTHENTICATED" and not endpoint.key:
        error.fix = "Give the file with your API key with --key-file or INFERNO_API_KEY_FILE."
    return error


def within(seconds: float, work: Callable[[], Awaitable[T]], what: str) -> T:
    """Run ``work`` to its end.

    Raises:
        TimedOut: It takes longer than ``seconds``.
    """

    async def bounded() -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work()
        except TimeoutError as error:
            raise TimedOut(
                f"{what} took longer than {seconds:g} s.", reason="TIMED_OUT", fix="Allow more with --timeout."
            ) from error

    return asyncio.run(bounded())
