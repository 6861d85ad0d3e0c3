"""Which nodes share a model's calls, in what proportion, and which of them get copies only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferno_proxy.fleet import Member, Model, ModelState
from inferno_proxy.routing.traffic import VERSION, Traffic


@dataclass(frozen=True, slots=True)
class Placed:
    """A member that serves a model, the group it counts to and the group's share of the calls (0: there is no
    split)."""

    member: Member
    group: str = ""
    share: int = 0


def grouped(serving: Sequence[tuple[Member, Model]], traffic: Traffic) -> tuple[list[Placed], list[Member]]:
    """The members that share a model's calls, and those that get copies.

    A group that the split does not name, or names with 0, takes no call; nor does the group that gets copies, unless
    the split names it. A split does not apply while no member of a group that it names takes work: a wrong proportion
    is better than no answer.
    """
    copies, sharing = [], []
    for member, model in serving:
        if traffic.mirror is not None and group_of(traffic.mirror.by, member, model) == traffic.mirror.to:
            copies.append(member)
            if not _share(traffic, member, model):
                continue
        sharing.append((member, model))
    placed = [
        Placed(member, group_of(traffic.split.by, member, model), share)
        for member, model in sharing
        if traffic.split is not None and (share := _share(traffic, member, model))
    ]
    if any(each.member.takes_work for each in placed):
        return placed, copies
    return [Placed(member) for member, _ in sharing], copies


def locality_weight(share: int, here: int, everywhere: int) -> int:
    """The weight of a place that has ``here`` of a group's ``everywhere`` nodes (or of their weight), at least 1.

    >>> locality_weight(90, 1, 3), locality_weight(10, 1, 1)
    (300000, 100000)
    """
    return max(1, share * 10_000 * here // max(1, everywhere))


def _share(traffic: Traffic, member: Member, model: Model) -> int:
    if traffic.split is None:
        return 0
    return dict(traffic.split.weights).get(group_of(traffic.split.by, member, model), 0)


def group_of(by: str, member: Member, model: Model) -> str:
    """The member's group: its newest ready version of the model, which answers calls that name none, or a label."""
    if by == VERSION:
        return _newest(v.version for v in model.versions if v.state is ModelState.READY)
    return member.node.labels.get(by, "")


def _newest(versions: Iterable[str]) -> str:
    return max(versions, key=lambda version: (int(version) if version.isdecimal() else -1, version), default="")
