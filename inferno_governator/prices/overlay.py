"""One's own terms, from a YAML file: discounts, commitments, owned hardware, prices of single nodes.

Each entry stands alone: a wrong one is named by file and line and left out, and the others count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from inferno_governator.prices.offers import cloud_of, micros
from inferno_governator.usage import Facts
from inferno_runtime import yaml_text
from inferno_runtime.errors import InvalidInput, NotFound

_HOURS_OF_YEAR = 8760


@dataclass(frozen=True, slots=True)
class Scope:
    """Which machines a term is about: shell patterns, ``*`` for all. ``spot`` None: both kinds."""

    cloud: str = "*"
    region: str = "*"
    instance_type: str = "*"
    spot: bool | None = None

    def covers(self, facts: Facts) -> bool:
        """True for a machine of this scope."""
        return (
            self.spot in (None, facts.spot)
            and fnmatchcase(cloud_of(facts.provider), self.cloud)
            and fnmatchcase(facts.region.lower(), self.region)
            and fnmatchcase(facts.instance_type.lower(), self.instance_type)
        )


@dataclass(frozen=True, slots=True)
class Discount:
    """Basis points off the list price."""

    scope: Scope
    basis_points: int


@dataclass(frozen=True, slots=True)
class Commitment:
    """So many micro-dollars an hour, used or not, from a day until before another.

    With ``count`` it is a reservation: it covers so many machines whole. Without, it is a savings plan: machines use it
    up at the list price less ``basis_points``, and cost the list price beyond it.
    """

    name: str
    scope: Scope
    micros: int
    count: int = 0
    basis_points: int = 0
    start: date = date.min
    end: date = date.max


@dataclass(frozen=True, slots=True)
class Owned:
    """Hardware of one's own, for the nodes of a name or pattern. ``watts`` None: as its devices measure, plus
    ``other_watts`` for what has no meter."""

    nodes: str
    fixed_micros: Fraction
    watts: int | None
    other_watts: int
    micros_per_kwh: Fraction

    def micros(self, measured_watts: int | None) -> int | None:
        """Its price of an hour; None while its power is not known."""
        watts = measured_watts if self.watts is None else self.watts
        if watts is None:
            return None
        energy = self.micros_per_kwh * (watts + (self.other_watts if self.watts is None else 0)) / 1000
        return round(self.fixed_micros + energy)


@dataclass(frozen=True, slots=True)
class NodePrice:
    """The price of the nodes of a name or pattern, whatever else is known of them."""

    nodes: str
    micros: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """All terms, in the order of the file: the first that fits counts. ``spot_history`` are tables of prices."""

    nodes: tuple[NodePrice, ...] = ()
    owned: tuple[Owned, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    discounts: tuple[Discount, ...] = ()
    spot_history: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def measures(self) -> bool:
        """True when a price depends on measured power."""
        return any(each.watts is None for each in self.owned)


def load(file: Path) -> Overlay:
    """Read the file.

    Raises:
        NotFound: It does not exist.
        InvalidInput: It cannot be read, or is no YAML mapping.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(
            f"The file of prices {file} does not exist.", reason="NO_PRICES_FILE", fix="Name another with --prices."
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"The file of prices {file} cannot be read: {error.strerror}.", reason="BAD_CONFIG", fix="Check its rights."
        ) from error
    return parse(content, file)


def parse(content: bytes, file: Path) -> Overlay:
    """Read the file's text; ``file`` is what it is called, and from where it names others.

    Raises:
        InvalidInput: It is no YAML mapping.
    """
    document = yaml_text.parse(content, file)
    if document is None:
        return Overlay()
    if not isinstance(document, Mapping):
        raise InvalidInput(f"{file}: this is no mapping.", reason="BAD_CONFIG", fix="Write 'discounts:' and a list.")
    problems: list[str] = []
    sections: dict[str, tuple[Any, ...]] = {}
    for section, given in document.items():
        line = cast("Any", document).lc.key(section)[0] + 1
        make = _SECTIONS.get(section)
        if make is None:
            known = ", ".join(_SECTIONS)
            problems.append(f"{file}:{line}: there is no section {section!r}; there are {known}.")
        elif not isinstance(given, list):
            problems.append(f"{file}:{line}: {section} is no list.")
        else:
            sections[section] = tuple(_entries(given, make, f"{file}", section, problems))
    commitments: dict[str, Commitment] = {}
    for each in (*sections.get("reservations", ()), *sections.get("savings_plans", ())):
        if each.name in commitments:
            problems.append(f"{file}: there are two commitments {each.name!r}, and the bill tells them by name.")
        commitments.setdefault(each.name, each)
    return Overlay(
        nodes=sections.get("nodes", ()),
        owned=sections.get("owned", ()),
        commitments=tuple(commitments.values()),
        discounts=sections.get("discounts", ()),
        spot_history=tuple(file.parent / name for name in sections.get("spot_history", ())),
        problems=tuple(problems),
    )


def _entries(given: Any, make: Callable[[_Entry], Any], file: str, section: str, problems: list[str]) -> Iterator[Any]:
    for at, one in enumerate(given):
        try:
            entry = _Entry(one)
            made = make(entry)
            entry.finish()
        except InvalidInput as error:
            problems.append(f"{file}:{given.lc.item(at)[0] + 1}: {section}: {error.message}")
        else:
            yield made


class _Entry:
    """One entry of a list: its keys are taken one by one, and none may be left over."""

    def __init__(self, given: object) -> None:
        if not isinstance(given, Mapping):
            raise _bad("it is no mapping")
        self._left = dict(given)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required without a default."""
        if name not in self._left and default is not None:
            return default
        value = self._take(name)
        if not isinstance(value, str) or not value.strip():
            raise _bad(f"{name} is no text")
        return value.strip()

    def number(self, name: str, default: str | None = None, *, most: str = "1000000000000") -> Decimal:
        """A number from zero to ``most``, as it is written."""
        if name not in self._left and default is not None:
            return Decimal(default)
        value = self._take(name)
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            raise _bad(f"{name} {str(value)[:40]!r} is no number") from None
        if isinstance(value, bool) or not number.is_finite() or not 0 <= number <= Decimal(most):
            raise _bad(f"{name} {value} is not between 0 and {most}")
        return number

    def count(self, name: str, default: str | None = None) -> int:
        """A whole number of at least 1 where it is required."""
        number = self.number(name, default)
        if number != int(number) or (default is None and number < 1):
            raise _bad(f"{name} {number} is no whole number of at least 1")
        return int(number)

    def day(self, name: str, default: date) -> date:
        """A day."""
        if name not in self._left:
            return default
        value = self._take(name)
        if not isinstance(value, date):
            raise _bad(f"{name} {str(value)[:40]!r} is no day such as 2026-07-20")
        return value

    def scope(self, *, spot: bool | None = None) -> Scope:
        """Which machines it is about."""
        kind = self.text("kind", "")
        if kind not in {"", "on_demand", "spot"}:
            raise _bad(f"the kind {kind!r} is neither on_demand nor spot")
        cloud, region, instance_type = (self.text(name, "*").lower() for name in ("cloud", "region", "instance_type"))
        return Scope(cloud, region, instance_type, kind == "spot" if kind else spot)

    def says(self, name: str, word: str) -> bool:
        """Whether this very word stands there; then it is taken."""
        said = self._left.get(name) == word
        if said:
            del self._left[name]
        return said

    def finish(self) -> None:
        """Refuse what nobody took."""
        for name in self._left:
            raise _bad(f"there is no {str(name)[:40]!r} here")

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise _bad(f"it lacks {name}")
        return self._left.pop(name)


def _node(entry: _Entry) -> NodePrice:
    return NodePrice(entry.text("nodes"), micros(str(entry.number("usd_per_hour"))))


def _discount(entry: _Entry) -> Discount:
    return Discount(entry.scope(), _points(entry))


def _reservation(entry: _Entry) -> Commitment:
    return Commitment(
        entry.text("name"),
        entry.scope(spot=False),
        micros(str(entry.number("usd_per_hour"))),
        count=entry.count("count"),
        start=entry.day("from", date.min),
        end=entry.day("until", date.max),
    )


def _savings_plan(entry: _Entry) -> Commitment:
    return Commitment(
        entry.text("name"),
        entry.scope(spot=False),
        micros(str(entry.number("usd_per_hour"))),
        basis_points=_points(entry),
        start=entry.day("from", date.min),
        end=entry.day("until", date.max),
    )


def _owned(entry: _Entry) -> Owned:
    purchase, residual = (Fraction(entry.number(name, "0")) for name in ("purchase_usd", "residual_usd"))
    years = Fraction(entry.number("years", most="100"))
    if not years:
        raise _bad("years is 0")
    if residual > purchase:
        raise _bad("residual_usd is more than purchase_usd")
    hosting = Fraction(entry.number("hosting_usd_per_month", "0")) * 12 / _HOURS_OF_YEAR
    watts = None if entry.says("watts", "measured") else entry.count("watts")
    pue = Fraction(entry.number("pue", "1", most="10"))
    if pue < 1:
        raise _bad("pue is below 1")
    return Owned(
        entry.text("nodes"),
        ((purchase - residual) / (years * _HOURS_OF_YEAR) + hosting) * 1_000_000,
        watts,
        int(entry.number("other_watts", "0")),
        Fraction(entry.number("usd_per_kwh")) * pue * 1_000_000,
    )


def _table(entry: _Entry) -> str:
    return entry.text("file")


def _points(entry: _Entry) -> int:
    return int((entry.number("percent", most="100") * 100).to_integral_value())


_SECTIONS: Mapping[str, Callable[[_Entry], Any]] = {
    "nodes": _node,
    "owned": _owned,
    "reservations": _reservation,
    "savings_plans": _savings_plan,
    "discounts": _discount,
    "spot_history": _table,
}


def _bad(why: str) -> InvalidInput:
    return InvalidInput(f"{why}.", reason="BAD_PRICES_FILE", fix="Mend the entry.")
