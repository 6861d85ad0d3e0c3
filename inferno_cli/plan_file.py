"""The question of ``inferno plan``: a YAML file with the fields of PlanQuestion, and options over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from inferno.governance.v1.plan_pb2 import PlanQuestion
from inferno_cli.prices import micros
from inferno_runtime import yaml_text
from inferno_runtime.errors import InvalidInput, NotFound


def question(file: Path | None, options: Mapping[str, Any]) -> tuple[PlanQuestion, list[float]]:
    """The question, and the busiest hours of past days that the file gives (``days``).

    Args:
        file: A YAML file; None asks of the mesh as it is.
        options: Those of the command line, by their names; what is not given is None, empty or False.

    Raises:
        NotFound: A file cannot be read.
        InvalidInput: A file or an option is not valid.
    """
    document = _read(file) if file else {}
    days = document.pop("days", [])
    if not isinstance(days, list) or not all(isinstance(each, int | float) for each in days):
        raise _bad(file, "days is no list of numbers")
    folder = file.parent if file else Path()
    for name in ("curves", "offers"):
        if not isinstance(document.get(name, []), list) or not all(
            isinstance(each, dict) for each in document.get(name, [])
        ):
            raise _bad(file, f"{name} is no list of mappings")
    for curve in document.get("curves", []):
        if "grid" in curve:
            curve["points"] = _grid(folder / str(curve.pop("grid")))
    for offer in document.get("offers", []):
        if "usd_per_hour" in offer:
            offer["micros_per_hour"] = micros(str(offer.pop("usd_per_hour")))
    if "budget_usd_per_hour" in document:
        document["budget_micros_per_hour"] = micros(str(document.pop("budget_usd_per_hour")))
    made = PlanQuestion()
    try:
        json_format.ParseDict(document, made)
    except json_format.ParseError as error:
        raise _bad(file, str(error)) from error
    _apply(made, options)
    return made, [float(each) for each in days]


def _apply(made: PlanQuestion, options: Mapping[str, Any]) -> None:
    for name in ("clouds", "regions", "gpus"):
        if options[name]:
            del getattr(made.choice, name)[:]
            getattr(made.choice, name).extend(options[name])
    if options["spot"]:
        made.choice.spot = True
    if options["any_age"]:
        made.any_age = True
    if options["budget"] is not None:
        made.budget_micros_per_hour = micros(options["budget"])
    if options["survive"] is not None:
        made.surviving_share = options["survive"]
    if options["gap"] is not None:
        # On the wire zero is what is not said.
        made.gap = options["gap"] or -1.0
    if options["seconds"] is not None:
        made.seconds = options["seconds"]


def _read(file: Path) -> dict[str, Any]:
    parsed = yaml_text.parse(_bytes(file), file)
    # Plain containers and numbers, as JSON has them: that is what protobuf reads.
    document = json.loads(json.dumps(yaml_text.plain(parsed), default=str))
    if not isinstance(document, dict):
        raise _bad(file, "it is no mapping")
    return document


def _grid(file: Path) -> list[dict[str, float]]:
    """A grid in the form ``{"input,output": [requests a second, batch, first token ms, token ms]}`` as points."""
    try:
        cells = json.loads(_bytes(file))
        points = []
        for name, cell in cells.items():
            input_tokens, output_tokens = (float(each) for each in name.split(","))
            point = {"input_tokens": input_tokens, "output_tokens": output_tokens}
            if cell is not None:
                rate, _, first, token = (float(each) for each in cell)
                point |= {"requests_per_second": rate, "first_token_ms": first, "token_ms": token}
            points.append(point)
    except (ValueError, TypeError, AttributeError) as error:
        raise _bad(file, f"it is no grid of rates: {error}") from error
    return points


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(
            f"{file} cannot be read: {error.strerror}.", reason="NO_FILE", fix="Name a file that is there."
        ) from error


def _bad(file: Path | None, why: str) -> InvalidInput:
    return InvalidInput(
        f"{file or 'The question'} cannot be planned: {why}.",
        reason="BAD_QUESTION",
        fix="docs/plan.md shows a whole one.",
    )
