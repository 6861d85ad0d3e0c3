"""Protobuf messages as Triton writes them in JSON: every field, under its own name, and 64-bit integers as numbers.

Protobuf's own JSON form writes 64-bit integers as strings, which Triton's REST clients do not expect.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from inferno_runtime.errors import InfernoError

Json = dict[str, Any]


def error_json(error: InfernoError) -> Json:
    """An error in Triton's JSON form, with our reason beside it."""
    return {
        "error": error.sentence(),
        "reason": error.reason,
        **({"details": dict(error.metadata)} if error.metadata else {}),
    }


def as_json(message: Message) -> Json:
    """The message as a JSON object, defaults included."""
    found: Json = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        kind = field.message_type
        if kind is None:
            found[field.name] = list(value) if field.is_repeated else value
        elif kind.GetOptions().map_entry:
            nested = kind.fields_by_name["value"].message_type is not None
            found[field.name] = {str(k): as_json(value[k]) if nested else value[k] for k in sorted(value)}
        elif field.is_repeated:
            found[field.name] = [as_json(each) for each in value]
        else:
            found[field.name] = as_json(value)
    return found
