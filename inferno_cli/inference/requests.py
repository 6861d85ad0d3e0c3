"""The requests that answer one command: inputs matched to the model's, batches cut to its size. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from inferno_cli.inference import shaping
from inferno_cli.inference.arguments import Given, Source
from inferno_cli.inference.model import ModelSpec, TensorSpec
from inferno_cli.inference.tensors import BYTES, Array, Tensor
from inferno_runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``items`` names what each row of the batch is (files); empty when nothing names them."""

    tensors: tuple[Tensor, ...]
    items: tuple[str, ...] = ()


def requests(given: Given, model: ModelSpec) -> Sequence[Request]:
    """What to send: one request, or several when files are more than the model takes at once.

    Raises:
        InvalidInput: A name, type or shape does not fit, or a required input is missing.
    """
    tensors = {each.name: each for each in _from_body(given.body or {}, model)}
    for name, value in given.values.items():
        spec = _spec(name, model)
        read = value.value(as_bytes=spec.datatype == BYTES) if isinstance(value, Source) else _of_words(value, spec)
        tensors[name] = shaping.tensor(read, spec, model)
    if not given.sources:
        return [_complete(tensors, model)]
    return _with_sources(given.sources, tensors, model)


def _of_words(value: object, spec: TensorSpec) -> object:
    """A number written for a text input is meant as text: ``--input name=5``."""
    wants_text = spec.datatype == BYTES and isinstance(value, int | float)
    return str(value) if wants_text and not isinstance(value, bool) else value


def _from_body(body: Mapping[str, Any], model: ModelSpec) -> Sequence[Tensor]:
    entries = body.get("inputs")
    if isinstance(entries, list) and not any(spec.name == "inputs" for spec in model.inputs):
        if any(not isinstance(entry, dict) or "name" not in entry for entry in entries):
            raise InvalidInput(
                "An entry of 'inputs' has no name.",
                reason="BAD_JSON",
                fix='Write {"inputs": [{"name": ..., "shape": ..., "datatype": ..., "data": ...}]}.',
            )
        named = cast("list[dict[str, Any]]", entries)
        return [shaping.of_protocol(entry, _spec(str(entry["name"]), model), model) for entry in named]
    return [shaping.tensor(value, _spec(name, model), model) for name, value in body.items()]


def _spec(name: str, model: ModelSpec) -> TensorSpec:
    for spec in model.inputs:
        if spec.name == name:
            return spec
    near = difflib.get_close_matches(name, [spec.name for spec in model.inputs], n=1, cutoff=0.4)
    raise InvalidInput(
        f"{model.name} has no input {name!r}.",
        reason="UNKNOWN_INPUT",
        fix=(f"Did you mean {near[0]!r}? " if near else "") + model.expects() + ".",
        metadata={"model": model.name, "input": name},
    )


def _complete(tensors: Mapping[str, Tensor], model: ModelSpec, items: Sequence[str] = ()) -> Request:
    missing = [spec.name for spec in model.inputs if not spec.optional and spec.name not in tensors]
    if missing:
        raise InvalidInput(
            f"{model.name} needs {', '.join(missing)}.",
            reason="MISSING_INPUT",
            fix=f"{model.expects()}. Give files, --input NAME=VALUE or --json.",
            metadata={"model": model.name},
        )
    if model.batches:
        tensors = _same_batch(tensors, model)
    return Request(tuple(tensors.values()), tuple(items))


def _same_batch(tensors: Mapping[str, Tensor], model: ModelSpec) -> Mapping[str, Tensor]:
    """Repeat what was given once for every item of the batch."""
    size = max((each.shape[0] for each in tensors.values()), default=1)
    odd = [each for each in tensors.values() if each.shape[0] not in (1, size)]
    if odd or size > model.max_batch_size:
        what = f"input {odd[0].name!r} has {odd[0].shape[0]} items and another has {size}" if odd else f"{size} items"
        raise InvalidInput(
            f"The batch does not fit: {what}; {model.name} takes up to {model.max_batch_size} at once.",
            reason="BAD_BATCH",
            fix="Give every input the same number of items, at most that many.",
        )
    return {
        name: each if each.shape[0] == size else Tensor(name, each.datatype, np.repeat(each.array, size, axis=0))
        for name, each in tensors.items()
    }


def _with_sources(sources: Sequence[Source], tensors: Mapping[str, Tensor], model: ModelSpec) -> Sequence[Request]:
    spec = _for_sources(tensors, model)
    each = [shaping.tensor(source.value(as_bytes=spec.datatype == BYTES), spec, model) for source in sources]
    chunks = []
    for group in _groups(list(zip(sources, each, strict=True)), spec, model):
        arrays: list[Array] = [one.array for _, one in group]
        whole = Tensor(spec.name, spec.datatype, np.concatenate(arrays, axis=0))
        chunks.append(_complete({**tensors, spec.name: whole}, model, [source.name for source, _ in group]))
    return chunks


def _groups(
    pairs: list[tuple[Source, Tensor]], spec: TensorSpec, model: ModelSpec
) -> Sequence[list[tuple[Source, Tensor]]]:
    """Cut the files into requests: one row of the first dimension each, as many as the model takes."""
    packs = (model.batches or spec.shape[:1] == (-1,)) and all(one.shape[0] == 1 for _, one in pairs)
    most = (model.max_batch_size or len(pairs)) if packs else 1
    return [pairs[at : at + most] for at in range(0, len(pairs), most)]


def _for_sources(tensors: Mapping[str, Tensor], model: ModelSpec) -> TensorSpec:
    """The input that files are for: the only one left that is required, or else the only one of bytes."""
    left = [spec for spec in model.inputs if spec.name not in tensors]
    for candidates in (
        [spec for spec in left if not spec.optional],
        [spec for spec in left if spec.datatype == BYTES],
        left,
    ):
        if len(candidates) == 1:
            return candidates[0]
    raise InvalidInput(
        f"It is not clear which input the files are for: {model.expects()}.",
        reason="AMBIGUOUS_INPUT",
        fix="Name it: --input NAME=@FILE.",
        metadata={"model": model.name},
    )
