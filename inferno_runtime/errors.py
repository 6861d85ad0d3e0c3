"""One error tree; the class of an error names what its receiver should do.

::

    InfernoError
    ├── Permanent: trying again changes nothing
    │   ├── InvalidInput      fix the input              INVALID_ARGUMENT     400   exit 2
    │   ├── NotFound          name something that exists NOT_FOUND            404   exit 1
    │   ├── AlreadyExists     choose another name        ALREADY_EXISTS       409   exit 1
    │   ├── Fenced            a newer life took over     FAILED_PRECONDITION  409   exit 1
    │   ├── Denied            ask for permission         PERMISSION_DENIED    403   exit 5
    │   ├── Unauthenticated   present a credential       UNAUTHENTICATED      401   exit 5
    │   ├── Unsupported       use another way            UNIMPLEMENTED        501   exit 1
    │   └── Broken            report a defect            INTERNAL             500   exit 1
    └── Temporary: the same call may succeed later
        ├── Unavailable       try again                  UNAVAILABLE          503   exit 4
        ├── Exhausted         slow down                  RESOURCE_EXHAUSTED   429   exit 4
        └── TimedOut          try again, or wait longer  DEADLINE_EXCEEDED    504   exit 124

HTTP statuses follow the canonical mapping in google/rpc/code.proto. Exit codes follow the command line's own table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar

_NOTHING: Mapping[str, str] = MappingProxyType({})


class InfernoError(Exception):
    """Base of every error Inferno raises on purpose.

    Args:
        message: One sentence: what happened and why.
        reason: Stable UPPER_SNAKE_CASE name, at most 63 characters (AIP-193 ``ErrorInfo.reason``).
        fix: One sentence or command that mends it; empty when there is none.
        metadata: Further facts for programs (``ErrorInfo.metadata``).
        retry_after: Seconds after which a retry makes sense; only for temporary errors.
    """

    temporary: ClassVar[bool] = False
    grpc_code_name: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        fix: str = "",
        metadata: Mapping[str, str] = _NOTHING,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.fix = fix
        self.metadata = metadata
        self.retry_after = retry_after

    def sentence(self) -> str:
        """The message with its fix, as one line for people."""
        return f"{self.message} {self.fix}".strip()


class Permanent(InfernoError):
    """Trying again changes nothing."""


class InvalidInput(Permanent):
    """The caller's input is wrong: fix it."""

    grpc_code_name = "INVALID_ARGUMENT"
    http_status = 400
    exit_code = 2


class NotFound(Permanent):
    """What the caller named does not exist."""

    grpc_code_name = "NOT_FOUND"
    http_status = 404


class AlreadyExists(Permanent):
    """What the caller wants to create exists."""

    grpc_code_name = "ALREADY_EXISTS"
    http_status = 409


class Fenced(Permanent):
    """A newer life of the same thing has taken over: stop."""

    grpc_code_name = "FAILED_PRECONDITION"
    http_status = 409


class Denied(Permanent):
    """The caller is known and may not do this."""

    grpc_code_name = "PERMISSION_DENIED"
    http_status = 403
    exit_code = 5


class Unauthenticated(Permanent):
    """The caller is not known."""

    grpc_code_name = "UNAUTHENTICATED"
    http_status = 401
    exit_code = 5


class Unsupported(Permanent):
    """This server never does that."""

    grpc_code_name = "UNIMPLEMENTED"
    http_status = 501


class Broken(Permanent):
    """A defect, ours or a peer's."""


class Temporary(InfernoError):
    """The same call may succeed later."""

    temporary = True
    grpc_code_name = "UNAVAILABLE"
    http_status = 503
    exit_code = 4


class Unavailable(Temporary):
    """The peer cannot be reached or cannot answer now."""


class Exhausted(Temporary):
    """A limit is reached: slow down."""

    grpc_code_name = "RESOURCE_EXHAUSTED"
    http_status = 429


class TimedOut(Temporary):
    """It took longer than it may."""

    grpc_code_name = "DEADLINE_EXCEEDED"
    http_status = 504
    exit_code = 124


def concrete_errors() -> Iterator[type[InfernoError]]:
    """Every class of the tree drawn above that is raised: its leaves. A component may refine one; on the wire it is
    the one it refines."""

    def leaves(cls: type[InfernoError]) -> Iterator[type[InfernoError]]:
        below = [each for each in cls.__subclasses__() if each.__module__ == __name__]
        if not below:
            yield cls
        for child in below:
            yield from leaves(child)

    yield from leaves(InfernoError)


# Status codes that arrive from peers and have no class of their own.
_FROM_WIRE: Mapping[str, type[InfernoError]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": InvalidInput,
        "OUT_OF_RANGE": InvalidInput,
        "NOT_FOUND": NotFound,
        "ALREADY_EXISTS": AlreadyExists,
        "FAILED_PRECONDITION": Fenced,
        "ABORTED": Unavailable,
        "CANCELLED": Unavailable,
        "PERMISSION_DENIED": Denied,
        "UNAUTHENTICATED": Unauthenticated,
        "UNIMPLEMENTED": Unsupported,
        "UNAVAILABLE": Unavailable,
        "RESOURCE_EXHAUSTED": Exhausted,
        "DEADLINE_EXCEEDED": TimedOut,
        "INTERNAL": Broken,
        "UNKNOWN": Broken,
        "DATA_LOSS": Broken,
    }
)


def error_for_grpc(
    code_name: str,
    message: str,
    *,
    reason: str,
    fix: str = "",
    metadata: Mapping[str, str] = _NOTHING,
    retry_after: float | None = None,
) -> InfernoError:
    """The error for a gRPC status that arrived from a peer (``code_name`` as in ``grpc.StatusCode.NAME``)."""
    cls = _FROM_WIRE.get(code_name, Broken)
    return cls(message, reason=reason, fix=fix, metadata=metadata, retry_after=retry_after)
