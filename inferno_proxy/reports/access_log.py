"""One message of Envoy's access log service (ALS), parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from inferno_runtime.errors import InvalidInput


def access_log_message(messages: Callable[[str], Any], raw: bytes, entries: str) -> Any:
    """The message, by the fields that ``messages`` knows; ``entries`` says of what protocol its entries are to be.

    Raises:
        InvalidInput: The bytes are no message of an access log.
    """
    try:
        return messages("StreamAccessLogsMessage").FromString(raw)
    except DecodeError as error:
        raise InvalidInput(
            f"The message is no access log ({error}).",
            reason="BAD_ACCESS_LOG",
            fix=f"Speak ALS v3 (envoy.service.accesslog.v3), with {entries} entries.",
        ) from error
