"""What a check is and what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

F = TypeVar("F")


class Status(StrEnum):
    """How a check ended: ``skip`` means it could not be judged here."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. ``fix`` is empty when nothing needs mending."""

    status: Status
    evidence: str
    fix: str = ""


def ok(evidence: str) -> Finding:
    """All is well."""
    return Finding(Status.OK, evidence)


def warn(evidence: str, fix: str) -> Finding:
    """It works, and may bite."""
    return Finding(Status.WARN, evidence, fix)


def fail(evidence: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(Status.FAIL, evidence, fix)


def skip(evidence: str) -> Finding:
    """It cannot be judged here."""
    return Finding(Status.SKIP, evidence)


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """One check: a stable id, a category, a title, and the judgement over the facts."""

    id: str
    category: str
    title: str
    judge: Callable[[F], Finding]


@dataclass(frozen=True, slots=True)
class Result:
    """One line of ``inferno check``. ``seconds`` is how long it took to judge."""

    id: str
    category: str
    status: Status
    title: str
    evidence: str
    fix: str
    seconds: float


def run(checks: Iterable[Check[F]], facts: F, categories: Sequence[str] = ()) -> list[Result]:
    """Judge the facts; with ``categories`` only these."""
    results = []
    for check in checks:
        if categories and check.category not in categories:
            continue
        began = time.perf_counter()
        found = check.judge(facts)
        took = round(time.perf_counter() - began, 6)
        results.append(Result(check.id, check.category, found.status, check.title, found.evidence, found.fix, took))
    return results
