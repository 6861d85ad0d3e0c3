"""Which model is to blame when Triton ends while it loads models. Pure.

Some models take their whole server along (Triton 2.51 may end by SIGSEGV when a model refuses a warm-up request that is
to be repeated, and never gets ready where a Python model's stub ends too early). The others shall not suffer from it
for ever (docs/decisions/0111). One end may be anybody's fault; a model that was being loaded at two ends in a row is
left out of the next life. Where that is true of several, each is loaded on its own once the others serve, and left out
for good when Triton ends a second time during that: a server takes a moment to die, in which the next load begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_backend.lives import End

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What is held against whom.

    Attributes:
        suspects: Models that were being loaded when the last life ended.
        held: Models that the next life is not given, with the reason.
        trial: Those of them that are loaded once the others serve, one after the other.
        struck: Those of these under whom Triton has ended once.
    """

    suspects: frozenset[str] = frozenset()
    held: Mapping[str, str] = field(default_factory=lambda: _NONE)
    trial: tuple[str, ...] = ()
    struck: frozenset[str] = frozenset()


def after_end(now: Suspicion, end: End, planned: frozenset[str]) -> Suspicion:
    """A life has ended; ``planned`` are the models that the next one would be given.

    A model that is not among those was loaded alone, on trial or on request: the next life is not given it anyway.
    """
    alone = end.loading - planned
    inside = end.loading & planned
    again = inside if end.late else inside & now.suspects
    second_chance = tuple(sorted((alone & set(now.trial)) - now.struck))
    tried = tuple(sorted(again)) if len(again) > 1 else ()
    trial = (*(name for name in now.trial if name not in alone), *second_chance, *tried)
    held = {**now.held, **dict.fromkeys(alone | again, f"{end.cause} It is left out until somebody loads it.")}
    held |= dict.fromkeys((*second_chance, *tried), f"{end.cause} It is loaded once the others serve.")
    return Suspicion(inside - again, MappingProxyType(held), trial, (now.struck | alone) & set(trial))


def after_service(now: Suspicion) -> Suspicion:
    """A life serves: what was being loaded at the end of the one before is not to blame."""
    return replace(now, suspects=frozenset())


def acquitted(now: Suspicion, model: str) -> Suspicion:
    """A model was loaded, or is not wanted any more."""
    held = {name: reason for name, reason in now.held.items() if name != model}
    trial = tuple(name for name in now.trial if name != model)
    return Suspicion(now.suspects - {model}, MappingProxyType(held), trial, now.struck - {model})
