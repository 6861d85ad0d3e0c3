"""Where values come from: flags, files, JSON and standard input, read but not judged yet."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inferno_runtime.errors import InvalidInput, NotFound

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """A file's content, or standard input's, with the name to show for it."""

    name: str
    content: bytes

    def value(self, *, as_bytes: bool) -> object:
        """The content as a BYTES input takes it, or as numbers: ``.npy`` or JSON.

        Raises:
            InvalidInput: Numbers are wanted and it holds none.
        """
        if self.content.startswith(b"\x93NUMPY"):
            try:
                return np.load(io.BytesIO(self.content), allow_pickle=False)
            except ValueError as error:
                raise InvalidInput(
                    f"{self.name} is not an array file that can be read: {error}.",
                    reason="BAD_FILE",
                    fix="Save it with numpy.save, without objects.",
                ) from error
        if as_bytes:
            return self.content
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise InvalidInput(
                f"{self.name} holds neither JSON nor a .npy array.",
                reason="BAD_FILE",
                fix="The input takes numbers: give [[1,2],[3,4]] or a file of numpy.save.",
            ) from error


@dataclass(frozen=True, slots=True)
class Given:
    """Everything the command line gave: positional sources, values by input name, and a JSON body."""

    sources: Sequence[Source] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


def read(positional: Sequence[str], inputs: Sequence[str], body: str | None) -> Given:
    """Read what the command line names.

    Args:
        positional: Files, or ``-``.
        inputs: ``name=value``, ``name=@file`` or ``name=@-``.
        body: JSON text, ``@file`` or ``-``.

    Raises:
        NotFound: A file cannot be read.
        InvalidInput: An input has no name, or the body is not a JSON object.
    """
    values: dict[str, object] = {}
    for each in inputs:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise InvalidInput(
                f"--input {each!r} names no input.", reason="BAD_INPUT", fix="Write --input NAME=VALUE or NAME=@FILE."
            )
        values[name] = source(text[1:]) if text.startswith("@") else _literal(text)
    return Given([source(each) for each in positional], values, None if body is None else _body(body))


def source(path: str) -> Source:
    """Read a file, or standard input for ``-``.

    Raises:
        NotFound: It cannot be read.
    """
    if path == STDIN:
        return Source("standard input", sys.stdin.buffer.read())
    try:
        return Source(path, Path(path).read_bytes())
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.", reason="NO_FILE", fix="Check the path.") from error


def _literal(text: str) -> object:
    """JSON where it is JSON, otherwise the text itself: ``x=5`` is a number and ``x=hello`` a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _body(text: str) -> Mapping[str, Any]:
    content = source(text.removeprefix("@")).content if text == STDIN or text.startswith("@") else text
    try:
        body = json.loads(content)
    except ValueError as error:
        raise InvalidInput(
            f"--json is not JSON: {error}.", reason="BAD_JSON", fix='Write {"input": value}, or @FILE, or -.'
        ) from error
    if not isinstance(body, dict):
        raise InvalidInput("--json is not an object.", reason="BAD_JSON", fix='Write {"input": value}.')
    return body
