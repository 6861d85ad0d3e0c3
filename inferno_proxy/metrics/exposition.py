"""Figures as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from inferno_proxy.metrics.translation import FAMILIES, Family, Kind, Labels, Reading


def exposition(figures: Reading, models: Collection[str]) -> str:
    """Every family, also one without figures, so that a name that is asked for is always there.

    Figures of models that are none of ``models`` are left out: models come and go, and a page must not grow for ever.
    """
    families: defaultdict[Family, dict[Labels, dict[str, float]]] = defaultdict(dict)
    for key, value in figures.items():
        if key.family.labels[:1] != ("model",) or not key.labels[0] or key.labels[0] in models:
            families[key.family].setdefault(key.labels, {})[key.part] = value
    return "".join(line for family in FAMILIES for line in _family(family, families[family]))


def _family(family: Family, figures: Mapping[Labels, Mapping[str, float]]) -> Iterator[str]:
    name = f"{family.name}_total" if family.kind is Kind.COUNTER else family.name
    yield f"# HELP {name} {family.words}\n# TYPE {name} {family.kind}\n"
    for labels in sorted(figures):
        said = ",".join(f'{one}="{_escaped(value)}"' for one, value in zip(family.labels, labels, strict=True))
        parts = figures[labels]
        if family.kind is not Kind.HISTOGRAM:
            yield f"{name}{{{said}}} {_number(parts[''])}\n" if said else f"{name} {_number(parts[''])}\n"
            continue
        for bound in sorted((part for part in parts if part != "sum"), key=float):
            yield f'{name}_bucket{{{said},le="{bound}"}} {_number(parts[bound])}\n'
        yield f"{name}_count{{{said}}} {_number(parts['+Inf'])}\n{name}_sum{{{said}}} {_number(parts['sum'])}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
