"""Registrations as JSON: the protobuf form, or a flat one for people, read strictly."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from inferno.registration.v1 import node_pb2
from inferno.registration.v1.registration_service_pb2 import AnnounceRequest
from inferno_runtime.errors import InvalidInput

_UNKNOWN = re.compile(r'has no field named "([^"]+)" at "([^"]*)"')


def parse_announcement(body: bytes) -> AnnounceRequest:
    """Read ``{"node": {...}, "lease_duration": "30s"}``, or the node's fields and ``lease_duration`` side by side.

    A model may be given by its name alone, and the duration as a number of seconds.

    Raises:
        InvalidInput: The body is no JSON object, or a field is unknown (the nearest known one is named) or malformed.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"The registration is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise _malformed("The registration is not a JSON object.")
    duration = document.pop("lease_duration", document.pop("leaseDuration", None))
    nested = document.pop("node", None)
    if nested is not None and document:
        raise _unknown(next(iter(document)), ["node", "lease_duration"])
    fields = document if nested is None else nested
    if not isinstance(fields, dict):
        raise _malformed("The registration's node is not a JSON object.", "node")
    _check_names(fields)
    if isinstance(fields.get("models"), list):
        fields["models"] = [{"name": one} if isinstance(one, str) else one for one in fields["models"]]
    if isinstance(duration, int | float) and not isinstance(duration, bool):
        duration = f"{duration}s"
    request = AnnounceRequest(node=_parse("node", fields, node_pb2.Node()))
    if duration is not None:
        _parse("lease_duration", {"lease_duration": duration}, request)
    return request


def _check_names(fields: Mapping[str, Any]) -> None:
    known = {name: field.json_name for name, field in node_pb2.Node.DESCRIPTOR.fields_by_name.items()}
    for name in fields:
        if name not in known and name not in known.values():
            raise _unknown(name, [*known, "lease_duration"])


def _parse(what: str, fields: Mapping[str, Any], into: Any) -> Any:
    message: Message = into
    try:
        return json_format.ParseDict(dict(fields), message)
    except (json_format.ParseError, RecursionError) as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown:
            raise _unknown(f"{unknown[2].partition('.')[2]}.{unknown[1]}".lstrip("."), []) from error
        raise _malformed(f"The registration's {what} cannot be read: {error}.", what) from error


def _unknown(name: str, known: list[str]) -> InvalidInput:
    near = difflib.get_close_matches(name, known, n=1)
    fix = f"Did you mean {near[0]!r}?" if near else "See inferno.registration.v1.Node for the fields."
    return InvalidInput(
        f"Unknown field {name!r} in the registration.", reason="MALFORMED_NODE", fix=fix, metadata={"field": name}
    )


def _malformed(message: str, field: str = "") -> InvalidInput:
    return InvalidInput(
        message,
        reason="MALFORMED_NODE",
        fix='Send an object like {"node_id": "gpu-7", "grpc_address": "10.0.0.7:8001"}.',
        metadata={"field": field} if field else {},
    )
