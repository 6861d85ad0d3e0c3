"""How far regions are from one another, in coarse steps."""

from __future__ import annotations

from inferno_runtime.places import Place, kilometres

# Nodes at most so many kilometres away are about equally near: a signal's way there and back takes 5, 15, 40 and 90 ms
# in glass. Farther than all is the half of the Earth on the other side.
_BANDS_KM = (500.0, 1500.0, 4000.0, 9000.0)
# One more than the last band: nobody knows where it is.
NOWHERE = len(_BANDS_KM) + 1


def band(one: Place | None, other: Place | None) -> int:
    """How far it is in coarse steps, 0 to 4; :data:`NOWHERE` when one of the places is not known."""
    if one is None or other is None:
        return NOWHERE
    way = kilometres(one, other)
    return sum(way > most for most in _BANDS_KM)
