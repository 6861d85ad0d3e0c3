"""A report for auditors: whether the ledger is whole, who changed what, and who was let in or refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from inferno_governator.reports import page as pages
from inferno_governator.reports.markdown import table

_TITLE = "Decisions about nodes: compliance"
_CHANGES = ("time (UTC)", "who", "entry", "decision", "what")
_ACCESS = ("time (UTC)", "who", "action", "subject", "detail", "refused")


@dataclass(frozen=True, slots=True)
class Row:
    """Who did what, when; ``refused`` says why it was not done."""

    time: str
    who: str
    action: str
    subject: str = ""
    detail: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Compliance:
    """What an auditor asks.

    Attributes:
        at: When it was asked, in Unix seconds.
        entries: Entries of the ledger that were written.
        head: Hash of the last of them.
        damage: What is wrong with the chain; empty when nothing is.
        decisions: Decisions that were made again.
        same: Those of them that came out the same.
        difference: What came out otherwise first; empty when nothing did.
        changes: What the ledger says was decided, approved, done and set, the oldest first.
        access: What callers did to the mesh or were refused, by the proxy's audit log, the newest first; None where no
            proxy was there to tell.
    """

    at: float
    entries: int
    head: str
    damage: str
    decisions: int
    same: int
    difference: str
    changes: tuple[Row, ...]
    access: tuple[Row, ...] | None


def document(report: Compliance) -> dict[str, Any]:
    """The whole report as JSON values."""
    return {**asdict(report), "at": _moment(report.at), "whole": not report.damage}


def markdown(report: Compliance) -> str:
    """The whole report as Markdown."""
    parts = [f"# {_TITLE}", *_sentences(report), "## Who changed what"]
    parts += [_markdown(_CHANGES, _changes(report)) or "Nobody changed anything."]
    parts += ["## Access", _markdown(_ACCESS, _access(report)) or _no_access(report)]
    return "\n\n".join(parts) + "\n"


def html(report: Compliance) -> str:
    """The whole report as one HTML page."""
    said = "".join(f"<p>{escape(each)}</p>\n" for each in _sentences(report))
    changes = _html("Who changed what", _CHANGES, _changes(report), "Nobody changed anything.")
    return pages.page(_TITLE, [said, changes, _html("Access", _ACCESS, _access(report), _no_access(report))])


def _sentences(report: Compliance) -> list[str]:
    chain = f"The ledger is damaged: {report.damage}" if report.damage else "The ledger's chain of hashes is whole."
    same = f"{report.same} of {report.decisions} decisions come out the same when they are made again."
    return [
        f"As of {_moment(report.at)}. {chain}",
        f"It has {report.entries} entries; the hash of the last one is {report.head}.",
        f"{same} The first that does not: {report.difference}." if report.difference else same,
    ]


def _changes(report: Compliance) -> list[tuple[str, ...]]:
    return [(each.time, each.who, each.action, each.subject, each.detail) for each in report.changes]


def _access(report: Compliance) -> list[tuple[str, ...]]:
    return [(each.time, each.who, each.action, each.subject, each.detail, each.refused) for each in report.access or ()]


def _no_access(report: Compliance) -> str:
    return "No proxy was asked, so nothing is known of access." if report.access is None else "Nobody called."


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(titles, [False] * len(titles), rows) if rows else ""


def _html(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> str:
    right = [False] * len(titles)
    listed = pages.table(heading, titles, right, rows, len(titles)) if rows else f"<p>{escape(none)}</p>\n"
    return f"<section>\n<h2>{escape(heading)}</h2>\n{listed}</section>\n"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
