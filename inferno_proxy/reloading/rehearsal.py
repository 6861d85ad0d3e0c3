"""Changed settings tried on a canary Envoy before any data plane hears of them; what is wrong is traced to its line.

They are tried with the fleet as it is, and with a stand-in node for every model that the settings name and no node has:
what would do harm when that model arrives is found now. The endpoints themselves are the fleet's business and do not
come along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType

import pydantic

from inferno_proxy.envoy.canary import Canary
from inferno_proxy.envoy.probes import probes
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.publishing.snapshot import Snapshot
from inferno_proxy.reloading.reload import Change, Comparison, Refused, mixed
from inferno_proxy.routing.traffic import EVERY_MODEL
from inferno_proxy.settings import ProxySettings

Stage = Callable[[FleetView, ProxySettings], Snapshot]

# Stands for every model that the settings do not name; and the most models that are probed.
_ANY_MODEL = "inferno-canary"
_MOST_MODELS = 100
# RFC 5737: an address that belongs to nobody.
_NOWHERE = "192.0.2.1"


class Rehearsal:
    """``stage`` builds what an Envoy would get for a fleet and settings; it may raise whatever building raises."""

    def __init__(self, canary: Canary, view: Callable[[], FleetView], stage: Stage) -> None:
        self._canary = canary
        self._view = view
        self._stage = stage

    async def check(self, before: ProxySettings, comparison: Comparison) -> None:
        """Return when the compared settings prove good.

        Of several changes, the first one that does harm on top of those before it is found by bisection.

        Raises:
            Refused: They do not; the sentence names the setting, its line, and Envoy's reason.
            Unavailable: No canary could be run.
        """
        changes = comparison.changed
        wrong = await self._wrong(comparison.settings, changes)
        if not wrong:
            return
        good, bad = 0, len(changes)
        while bad - good > 1:
            middle = (good + bad) // 2
            found = await self._wrong(mixed(before, comparison.settings, changes[:middle]), changes[:middle])
            if found:
                bad, wrong = middle, found
            else:
                good = middle
        raise Refused(changes[bad - 1], wrong)

    async def _wrong(self, settings: ProxySettings, changes: Sequence[Change]) -> str:
        view = with_stand_ins(self._view(), settings.models)
        try:
            snapshot = await asyncio.to_thread(self._stage, view, settings)
        except Exception as error:  # noqa: BLE001 - whatever building raises, these settings are no good
            return f"no configuration can be built with it: {_said(error)}"
        return await self._canary.verdict(snapshot, probes(concerned(view, changes)))


def with_stand_ins(view: FleetView, named: Iterable[str]) -> FleetView:
    """The fleet, and one more node with each model that is named and missing, and one that nobody names."""
    known = {model.name for member in view.members.values() for model in member.node.models}
    missing = sorted({_ANY_MODEL, *named} - known - {EVERY_MODEL})
    models = tuple(Model(name, (ModelVersion("1", ModelState.READY),)) for name in missing)
    node = Node(_ANY_MODEL, 1, Address(_NOWHERE, 1), Address(_NOWHERE, 2), models=models)
    member = Member(node, Phase.SERVING, Source.STATIC, 0.0)
    return FleetView(view.serial, MappingProxyType({**view.members, _ANY_MODEL: member}))


def concerned(view: FleetView, changes: Iterable[Change]) -> list[str]:
    """The models whose treatment the changes concern, at most a hundred of them."""
    known = {model.name for member in view.members.values() for model in member.node.models}
    own = {change.keys[1] for change in changes if change.keys[0] == "models"}
    general = EVERY_MODEL in own or any(change.keys[0] != "models" for change in changes)
    # Those that are named come first; a model that has lost its entry is treated as any other.
    others = sorted(known - own) if general else [_ANY_MODEL]
    return [*sorted(own & known), *others][:_MOST_MODELS]


def _said(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        first = error.errors()[0]
        return f"{error.title}.{'.'.join(map(str, first['loc']))}: {first['msg']}, not {first['input']!r}"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
