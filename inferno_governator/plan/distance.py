"""How long a signal takes between regions."""

from __future__ import annotations

from inferno_runtime.places import REGIONS, Place, kilometres

# There and back through glass: light makes 200 km in a millisecond (decision 0027), along cables that are half as long
# again as the great circle.
_SECONDS_PER_KM = 1.5 * 2 / 200_000
# Within one region: between its data centres and through the proxies.
_WITHIN = 0.002


def place(region: str) -> Place | None:
    """Where a region lies, by its name alone or as ``cloud region``; None where nobody has written it down."""
    return REGIONS.get(region.rsplit(" ", 1)[-1])


def seconds(one: str, other: str) -> float | None:
    """The way there and back between two regions, None where one of them is not known.

    >>> round(seconds("aws us-east-1", "gcp europe-west3"), 3), seconds("aws us-east-1", "runpod *")
    (0.1, None)
    """
    here, there = place(one), place(other)
    if here is None or there is None:
        return None
    return _WITHIN + kilometres(here, there) * _SECONDS_PER_KM
