"""YAML as people write it, read with the lines its keys stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferno_runtime.errors import InvalidInput


def parse(content: bytes, name: object) -> Any:
    """Read a document; mappings and lists in it know their lines (``lc``). An empty one is None.

    Raises:
        InvalidInput: It is no YAML (the line is named), or no text.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(content.decode("utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(
            f"{name}:{line}: this is not valid YAML: {error.problem}.", reason="BAD_CONFIG", fix="Mend that line."
        ) from error
    except (UnicodeDecodeError, YAMLError) as error:
        raise InvalidInput(
            f"{name}: this is not text in UTF-8: {' '.join(str(error).split())}.",
            reason="BAD_CONFIG",
            fix="Write the file as plain text.",
        ) from error


def plain(value: object) -> object:
    """A document's containers as plain ones: lists become tuples."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return tuple(plain(one) for one in value)
    return value
