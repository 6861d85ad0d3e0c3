"""Frozen dataclasses as canonical JSON and back: one value has one text, so that its hash can be taken.

Keys are sorted, nothing is spaced, a field of type float is always written as one, and numbers that JSON has not
(infinities, NaN) are refused. A text without some fields is read with their defaults: values grow by such fields.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def text(value: object) -> str:
    """The canonical JSON of plain values.

    Raises:
        ValueError: A number in it is infinite or none.

    >>> text({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A dataclass, and all it holds, as plain values."""
    return _plain(value, type(value))


def read(kind: type[T], value: Any) -> T:
    """The value that :func:`plain` has written.

    Raises:
        ValueError, KeyError, TypeError: It was written from something else.
    """
    found: T = _read(value, kind)
    return found


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _plain(value: Any, hint: Any) -> Any:
    hint = _present(hint)
    if value is None:
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {
            each.name: _plain(getattr(value, each.name), hints[each.name])
            for each in dataclasses.fields(value)
            if each.init
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        of = typing.get_args(hint)[1] if typing.get_args(hint) else Any
        return {str(key): _plain(each, of) for key, each in value.items()}
    if isinstance(value, Sequence | frozenset) and not isinstance(value, str):
        of = (typing.get_args(hint) or (Any,))[0]
        return [_plain(each, of) for each in (sorted(value) if isinstance(value, frozenset) else value)]
    return float(value) if hint is float else value


def _read(value: Any, hint: Any) -> Any:
    hint = _present(hint)
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = _hints(hint)
        known = {each.name for each in dataclasses.fields(hint) if each.init}
        return hint(**{name: _read(each, hints[name]) for name, each in value.items() if name in known})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, Mapping):
            return {key: _read(each, arguments[1]) for key, each in value.items()}
        if issubclass(origin, frozenset | tuple | Sequence):
            made = [_read(each, arguments[0]) for each in value]
            return frozenset(made) if issubclass(origin, frozenset) else tuple(made)
    return float(value) if hint is float else value


def _present(hint: Any) -> Any:
    """The type without its None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        left = [each for each in typing.get_args(hint) if each is not type(None)]
        return left[0] if len(left) == 1 else hint
    return hint
