"""What EC2's errors ask of us.

Codes: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from inferno_runtime.errors import (
    Denied,
    Exhausted,
    InfernoError,
    InvalidInput,
    TimedOut,
    Unauthenticated,
    Unavailable,
)

_NO_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "SpotMaxPriceTooLow",
        "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "InsufficientAddressCapacity",
    }
)  # fmt: skip
_THROTTLED = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "EC2ThrottledException"})
_WHO = frozenset(
    {
        "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "RequestExpired",
        "UnrecognizedClientException", "MissingAuthenticationToken",
    }
)  # fmt: skip
_MAY_NOT = frozenset(
    {"UnauthorizedOperation", "AccessDenied", "OptInRequired", "OperationNotPermitted", "PendingVerification"}
)
_OURS = frozenset({"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "IncorrectState"})


def code_of(error: Exception) -> str:
    """EC2's code of an error; empty for one that is not its answer."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


@contextmanager
def named() -> Iterator[None]:
    """Raise what boto3 raises as an error of ours, which names the reaction."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(error) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise Unauthenticated(
            "There are no credentials of AWS.",
            reason="NO_CREDENTIALS",
            fix="Give them as for AWS's own tools: AWS_PROFILE, AWS_ACCESS_KEY_ID, or a role of this machine.",
        ) from error
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
        raise TimedOut(
            f"EC2 does not answer in time: {_text(error)}.", reason="PROVIDER_TIMED_OUT", fix=_AGAIN
        ) from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise Unavailable(
            f"EC2 cannot be reached: {_text(error)}.", reason="PROVIDER_UNAVAILABLE", fix=_AGAIN
        ) from error
    except exceptions.BotoCoreError as error:
        raise InvalidInput(f"EC2 cannot be asked: {_text(error)}.", reason="BAD_POOL", fix=_SETTINGS) from error


_AGAIN = "What was asked may have been done: list the nodes before asking again."
_SETTINGS = "Check the pool's settings, and AWS's own configuration."


def _answered(error: Exception) -> InfernoError:
    code = code_of(error)
    status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{code}: {_text(error)}"
    if code in _NO_CAPACITY:
        return Exhausted(
            f"EC2 has no such machine now: {said}.",
            reason="NO_CAPACITY",
            fix="Wait, raise the account's limit, or let another pool carry the load.",
        )
    if code in _THROTTLED:
        return Exhausted(f"EC2 is asked too often: {said}.", reason="THROTTLED", fix="Ask again later, and less often.")
    if code in _WHO:
        return Unauthenticated(
            f"EC2 does not know the credentials: {said}.", reason="BAD_CREDENTIALS", fix="Renew them."
        )
    if code in _MAY_NOT:
        return Denied(
            f"EC2 does not allow it: {said}.", reason="NOT_ALLOWED", fix="See docs/providers.md for what is needed."
        )
    if code in _OURS or status >= 500:
        return Unavailable(f"EC2 cannot answer now: {said}.", reason="PROVIDER_UNAVAILABLE", fix=_AGAIN)
    return InvalidInput(f"EC2 refuses it: {said}.", reason="BAD_POOL", fix=_SETTINGS)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
