"""What a plan is asked for: demand, machines that may be rented, curves, and limits. Money is in micro-dollars an hour,
rates in requests a second, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from inferno_governator.plan.curves import Curve, Objective, Size

NO_OBJECTIVE = Objective()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A share of a model's requests, all of about one size."""

    size: Size
    share: float


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of one model.

    Attributes:
        rate: Requests a second at the time that is planned for.
        buckets: Sizes of its requests; the shares add up to 1.
        by_size: True where something sends each size to the machines that suit it. False: every replica gets the same
            mix, as proxies share calls out, and a machine that cannot serve one of the sizes serves none.
        memory_gb: Memory that a replica needs over all of its GPUs; 0 where the curve is all that is known.
        group: Models of one group are loaded together in each replica and share its time; alone by default.
        callers: Regions it is called from, by cloud and region, each with its share; none: distance does not matter.
    """

    model: str
    rate: float
    buckets: tuple[Bucket, ...] = (Bucket(Size(0, 0), 1.0),)
    objective: Objective = NO_OBJECTIVE
    by_size: bool = False
    memory_gb: float = 0.0
    group: str = ""
    callers: tuple[tuple[str, float], ...] = ()

    @property
    def together(self) -> str:
        """The name of its group."""
        return self.group or self.model


@dataclass(frozen=True, slots=True)
class Machine:
    """An offer that may be rented. ``most`` is how many of it there are at most, None: as many as are wanted."""

    name: str
    cloud: str
    region: str
    micros: int
    gpu: str
    gpu_count: int = 1
    gpu_memory_gb: int = 0
    spot: bool = False
    most: int | None = None

    @property
    def zone(self) -> str:
        """What fails as one: prices are by region, so the region."""
        return f"{self.cloud} {self.region}"

    def __str__(self) -> str:
        return f"{self.name}{' spot' if self.spot else ''} in {self.zone}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a plan.

    Attributes:
        budget: Micro-dollars an hour at most; None: no bound.
        nodes_by_region: At most so many nodes in a region (``cloud region``).
        surviving_share: What of the demand must still be served when all spot machines of any one region are gone, 0 to
            1. 0: nothing is promised.
    """

    budget: int | None = None
    nodes_by_region: tuple[tuple[str, int], ...] = ()
    surviving_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """All that a plan depends on."""

    demands: tuple[Demand, ...]
    machines: tuple[Machine, ...]
    curves: tuple[Curve, ...]
    limits: Limits = Limits()
