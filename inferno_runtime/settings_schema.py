"""JSON Schema of settings, for editors and for whoever writes the file by program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from inferno_runtime.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What an option says of itself to the command line; and names that repeat the key they belong to.
_OURS = ("flag", "metavar", "live", "title")
# Below these, keys are names and no words of JSON Schema.
_NAMED = ("properties", "$defs", "patternProperties")


def file_schema(sections: Iterable[type[Settings]]) -> dict[str, Any]:
    """The schema of the one settings file with these sections; any of them may be left out or empty."""
    from pydantic.json_schema import models_json_schema

    classes = tuple(sections)
    references, document = models_json_schema([(cls, "validation") for cls in classes])
    return {
        "$schema": DIALECT,
        "title": "Settings of Inferno",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            cls.section: {
                "description": _first_sentence(cls),
                "anyOf": [references[cls, "validation"], {"type": "null"}],
            }
            for cls in classes
        },
        "$defs": _cleaned(document["$defs"], named=True),
    }


def model_schema(model: type[pydantic.BaseModel], title: str) -> dict[str, Any]:
    """The schema of a document that one model describes."""
    return {"$schema": DIALECT, "title": title, **_cleaned(model.model_json_schema())}


def _first_sentence(cls: type[Settings]) -> str:
    return (cls.__doc__ or "").partition("\n")[0]


def _cleaned(schema: Any, *, named: bool = False) -> Any:
    """Without what is no part of JSON Schema; ``named`` says that the keys are names."""
    if isinstance(schema, list):
        return [_cleaned(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {"additionalProperties": False} if not named and "patternProperties" in schema else {}
    return closed | {
        # Values are not looked into: a default may be anything.
        key: value if not named and key in ("default", "const", "enum") else _cleaned(value, named=key in _NAMED)
        for key, value in schema.items()
        if named or (key not in _OURS and not (key == "default" and _of_this_machine(schema)))
    }


def _of_this_machine(schema: Mapping[str, Any]) -> bool:
    """True of a default that is a path: it follows from whose machine it is."""
    return schema.get("format") == "path" and schema.get("default") is not None
