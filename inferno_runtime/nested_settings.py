"""Settings below the first level: settings inside settings, or a mapping from names to settings.

Only the file can hold them; they have no flag and no environment name.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pydantic
from pydantic.fields import FieldInfo

Keys = tuple[str, ...]


def bare(annotation: Any) -> Any:
    """A type without ``None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(one for one in typing.get_args(annotation) if one is not types.NoneType)
    return annotation


def is_nested(field: FieldInfo) -> bool:
    """True for a field that only the file can hold."""
    return _inside(bare(field.annotation)) is not None


def valid_keys(cls: type[pydantic.BaseModel], keys: Keys) -> list[str]:
    """The keys that the settings class allows below ``keys``."""
    here: Any = cls
    for key in keys:
        fields = _fields(here)
        here = bare(fields[key].annotation) if fields else typing.get_args(here)[1]
    return list(_fields(here))


def _fields(annotation: Any) -> Mapping[str, FieldInfo]:
    """The fields of a settings class; none of a mapping."""
    inside = _inside(annotation)
    return inside.model_fields if inside is not None and inside is annotation else {}


def places(file: object, mapping: Mapping[Any, Any], above: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Where each key of a YAML mapping stands, as ``FILE:LINE``, by the keys that lead to it."""
    for key, value in mapping.items():
        keys = (*above, str(key))
        yield keys, f"{file}:{cast('Any', mapping).lc.key(key)[0] + 1}"
        if isinstance(value, Mapping):
            yield from places(file, value, keys)


def place(known: Mapping[Keys, str], keys: Keys) -> str | None:
    """Where the innermost of these keys stands that the file holds."""
    return next((known[keys[:size]] for size in range(len(keys), 1, -1) if keys[:size] in known), None)


def _inside(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The settings class that a type is, or that its values are."""
    if typing.get_origin(annotation) is Mapping:
        annotation = typing.get_args(annotation)[1]
    return annotation if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel) else None
