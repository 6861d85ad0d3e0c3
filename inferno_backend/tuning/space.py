"""What can be set of a model's configuration to make it do more, and which settings are worth trying. Pure.

The largest batch is never made smaller than it is: requests that clients send today would be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

_DELAYS = (0, 200, 1_000, 5_000, 25_000, 125_000)


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration.

    Attributes:
        instances: Instances of the model, on each of its devices; 0 where they are not ours to set.
        max_batch: Largest batch; 0 for a model that does not batch.
        dynamic: Triton puts requests together.
        delay_micros: How long it waits for more of them, at most.
        preferred: The sizes it rather makes.
    """

    instances: int
    max_batch: int
    dynamic: bool = False
    delay_micros: int = 0
    preferred: tuple[int, ...] = ()

    def words(self) -> str:
        """For people."""
        words = [f"{self.instances} instance{'s' if self.instances > 1 else ''}"] if self.instances else []
        if self.max_batch:
            words.append(f"batches up to {self.max_batch}")
        if self.dynamic:
            sizes = f", preferably {','.join(map(str, self.preferred))}" if self.preferred else ""
            words.append(f"dynamic batching within {self.delay_micros} µs{sizes}")
        return "; ".join(words) or "as it is"

    @property
    def key(self) -> str:
        """A name of its own."""
        sizes = "-".join(map(str, self.preferred))
        return f"i{self.instances} b{self.max_batch} d{int(self.dynamic)} w{self.delay_micros} p{sizes}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far to go: the most instances, the largest batch, and the objective in milliseconds."""

    instances: int
    max_batch: int
    objective_ms: float


def point_of(config: Any) -> Point:
    """The point that a ``ModelConfig`` stands at."""
    groups = config.instance_group
    instances = 0 if len(groups) > 1 else (groups[0].count or 1) if groups else 1
    if config.max_batch_size <= 0 or not config.HasField("dynamic_batching"):
        return Point(instances, max(0, config.max_batch_size))
    batching = config.dynamic_batching
    sizes = tuple(sorted(batching.preferred_batch_size))
    return Point(instances, config.max_batch_size, True, batching.max_queue_delay_microseconds, sizes)


def applied(config: Any, point: Point) -> Any:
    """A copy of a ``ModelConfig`` at another point; all else of it stays as it is."""
    made = type(config)()
    made.CopyFrom(config)
    if point.instances:
        if not made.instance_group:
            made.instance_group.add()
        made.instance_group[0].count = point.instances
    if point.max_batch:
        made.max_batch_size = point.max_batch
    if not point.dynamic:
        made.ClearField("dynamic_batching")
        return made
    made.dynamic_batching.SetInParent()
    made.dynamic_batching.max_queue_delay_microseconds = point.delay_micros
    made.dynamic_batching.ClearField("preferred_batch_size")
    made.dynamic_batching.preferred_batch_size.extend(point.preferred)
    return made


def _powers(least: int, most: int) -> list[int]:
    sizes = [least]
    while sizes[-1] * 2 <= most:
        sizes.append(sizes[-1] * 2)
    return sizes


def _instances(at: Point, limits: Limits) -> list[Point]:
    return [replace(at, instances=count) for count in _powers(1, limits.instances)] if at.instances else []


def _batching(at: Point, limits: Limits) -> list[Point]:
    if not at.max_batch:
        return []
    sizes = _powers(at.max_batch, limits.max_batch)
    without = replace(at, dynamic=False, delay_micros=0, preferred=())
    # What suits one size may not be valid for another.
    return [without, *(replace(without, max_batch=size, dynamic=True) for size in sizes if size > 1)]


def _delay(at: Point, limits: Limits) -> list[Point]:
    most = limits.objective_ms * 1000 / 2
    return [replace(at, delay_micros=delay) for delay in _DELAYS if delay <= most] if at.dynamic else []


def _preferred(at: Point, _: Limits) -> list[Point]:
    if not at.dynamic:
        return []
    half = at.max_batch // 2
    choices = [(), (at.max_batch,), *([(half,), (half, at.max_batch)] if half > 1 else [])]
    return [replace(at, preferred=sizes) for sizes in choices]


# In the order in which they are tried: what changes most comes first.
COORDINATES: Mapping[str, Callable[[Point, Limits], list[Point]]] = MappingProxyType(
    {"batching": _batching, "instances": _instances, "delay": _delay, "preferred": _preferred}
)


def candidates(coordinate: str, at: Point, limits: Limits) -> tuple[Point, ...]:
    """The points along a coordinate, the one we are at first."""
    return tuple(dict.fromkeys((at, *COORDINATES[coordinate](at, limits))))
