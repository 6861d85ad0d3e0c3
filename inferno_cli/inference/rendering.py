"""Answers for people, a row for each item of the batch, and for programs, in the protocol's JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inferno_cli.inference import tensors
from inferno_cli.inference.call import Answer
from inferno_cli.inference.tensors import Array
from inferno_cli.output import Column

_SHOWN = 8


def document(answer: Answer, items: Sequence[str]) -> dict[str, Any]:
    """One answer as JSON values, in the Open Inference Protocol's REST form with nested data."""
    outputs = [
        {"name": each.name, "datatype": each.datatype, "shape": list(each.shape), "data": tensors.plain(each.array)}
        for each in answer.outputs
    ]
    named = {"items": list(items)} if items else {}
    return {"model_name": answer.model, "model_version": answer.version, **named, "outputs": outputs}


def rows(answer: Answer, items: Sequence[str], *, batches: bool) -> Sequence[Mapping[str, str]]:
    """One row for each item, with the value of each output; a single row when the answer is no batch."""
    sizes = {each.shape[0] if each.shape else 1 for each in answer.outputs}
    count = sizes.pop() if len(sizes) == 1 else 1
    if not batches and count != len(items):
        return [{"item": ",".join(items), **{each.name: _cell(each.array) for each in answer.outputs}}]
    return [
        {
            "item": items[at] if at < len(items) else str(at),
            **{each.name: _cell(each.array.reshape(count, -1)[at]) for each in answer.outputs},
        }
        for at in range(count)
    ]


def columns(answer: Answer, shown: Sequence[Mapping[str, str]], items: Sequence[str]) -> Sequence[Column]:
    """The columns of these rows; what names the items is left out when nothing does and there is one."""
    first = [Column("item", "INPUT" if items else "ITEM")] if items or len(shown) > 1 else []
    return [*first, *(Column(each.name, each.name.upper()) for each in answer.outputs)]


def line(answer: Answer) -> str:
    """One answer of a stream on one line."""
    if len(answer.outputs) == 1:
        return _cell(answer.outputs[0].array)
    return "  ".join(f"{each.name} {_cell(each.array)}" for each in answer.outputs)


def _cell(array: Array) -> str:
    flat = tensors.plain(array.reshape(-1))
    if len(flat) == 1:
        return _value(flat[0])
    rest = f" ... {len(flat)} values" if len(flat) > _SHOWN else ""
    return "[" + ", ".join(_value(each, quote=True) for each in flat[:_SHOWN]) + rest + "]"


def _value(value: object, *, quote: bool = False) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) and not quote else json.dumps(value, ensure_ascii=False)
