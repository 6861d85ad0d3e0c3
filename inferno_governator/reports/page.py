"""What every page of a report is made of: the page itself, tables, and plots with their figures beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

_RIGHT = ' class="right"'


def page(heading: str, sections: Iterable[str]) -> str:
    """A whole page, light and dark, that needs nothing but itself."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(heading)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(heading)}</h1>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def figure(heading: str, plot: str, legend: str, table: str) -> str:
    """A section with a plot, what its colours mean, and its figures."""
    return (
        f"<section>\n<h2>{heading}</h2>\n<figure>{plot}{legend}</figure>\n"
        f"<details><summary>{heading} as a table</summary>\n{table}</details>\n</section>\n"
    )


def legend(names: Sequence[str], classes: Sequence[str]) -> str:
    """What each class of a plot stands for."""
    entries = "".join(
        f'<li><span class="{colour}"></span>{escape(name)}</li>' for name, colour in zip(names, classes, strict=True)
    )
    return f'<ul class="legend">{entries}</ul>'


def table(
    caption: str,
    titles: Sequence[str],
    right: Sequence[bool],
    rows: Iterable[Sequence[str]],
    names: int,
    foot: Sequence[str] | None = None,
) -> str:
    """A table; the first ``names`` cells of a row are what it is called."""

    def row(cells: Sequence[str]) -> str:
        return (
            "<tr>" + "".join(_cell(cell, head=at < names, right=right[at]) for at, cell in enumerate(cells)) + "</tr>\n"
        )

    head = "".join(
        f'<th scope="col"{_RIGHT if right[at] else ""}>{escape(title)}</th>' for at, title in enumerate(titles)
    )
    body = "".join(row(cells) for cells in rows)
    end = f"<tfoot>{row(foot)}</tfoot>\n" if foot else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n{end}</table></div>\n"
    )


def _cell(text: str, *, head: bool, right: bool) -> str:
    if head:
        return f'<th scope="row">{escape(text)}</th>'
    return f"<td{_RIGHT if right else ''}>{escape(text)}</td>"
