"""What errors of the Kubernetes API ask of us."""

from __future__ import annotations

import json
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

_AGAIN = "What was asked may have been done: list the nodes before asking again."


class Answered(Exception):
    """The API has answered with a status that is no success."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


def status_of(error: Exception) -> int:
    """The status of an answer; 0 for what is none."""
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0


def is_quota(error: Exception) -> bool:
    """True where a quota is used up, which the API says with the status of what is forbidden."""
    return "exceeded quota" in _said(error)


@contextmanager
def named() -> Iterator[None]:
    """Raise what the client raises as an error of ours, which names the reaction."""
    import aiohttp
    import pydantic
    from kubernetes.aio.client.exceptions import ApiException

    try:
        yield
    except (ApiException, Answered) as error:
        raise _answered(error) from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(each) for each in first["loc"][1:])
        raise InvalidInput(
            f"The template is no Pod: {where}: {first['msg']}.", reason="BAD_POOL", fix="Mend the pool's template."
        ) from error
    except TimeoutError as error:
        raise TimedOut(
            "The Kubernetes API does not answer in time.", reason="PROVIDER_TIMED_OUT", fix=_AGAIN
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(
            f"The Kubernetes API cannot be reached: {_text(error)}.", reason="PROVIDER_UNAVAILABLE", fix=_AGAIN
        ) from error


def no_cluster(error: Exception) -> Unauthenticated:
    """The error of a configuration that names no API, or no way into it."""
    return Unauthenticated(
        f"There is no Kubernetes to ask: {_text(error)}.",
        reason="NO_CREDENTIALS",
        fix="Give a kubeconfig with the options kubeconfig and context.",
    )


def _answered(error: Exception) -> InfernoError:
    status = status_of(error)
    message = f"The Kubernetes API answers {status}: {_said(error).rstrip('.')}."
    if is_quota(error):
        return Exhausted(message, reason="NO_CAPACITY", fix="Raise the quota, or let another pool carry the load.")
    if status == 429:
        return Exhausted(message, reason="THROTTLED", fix="Ask again later, and less often.")
    if status == 401:
        return Unauthenticated(message, reason="BAD_CREDENTIALS", fix="Renew the credentials of the kubeconfig.")
    if status == 403:
        return Denied(
            message, reason="NOT_ALLOWED", fix="Allow create, get, list and delete of pods: docs/providers.md."
        )
    if status >= 500 or status == 409:
        return Unavailable(message, reason="PROVIDER_UNAVAILABLE", fix=_AGAIN)
    return InvalidInput(message, reason="BAD_POOL", fix="Mend the pool's template.")


def _said(error: Exception) -> str:
    body = getattr(error, "body", "") or ""
    try:
        return " ".join(str(json.loads(body)["message"]).split())[:300]
    except (ValueError, KeyError, TypeError):
        return _text(error)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
