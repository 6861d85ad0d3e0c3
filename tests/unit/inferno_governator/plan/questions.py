"""Small questions about fleets, made by hypothesis or by hand."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from inferno_governator.plan.curves import Curve, Step, Steps
from inferno_governator.plan.question import Demand, Limits, Machine, Question

GPUS = ("L4", "L40S", "H100")


def machine(name: str, dollars: float, gpu: str = "L4", **more: object) -> Machine:
    """An offer in the first region of a cloud."""
    return replace(Machine(name, "aws", "us-east-1", round(dollars * 1_000_000), gpu), **more)  # type: ignore[arg-type]


def flat(rate: float, gpu: str = "L4", model: str = "", gpus: int = 1) -> Curve:
    """A replica that does so many requests a second, each in 10 ms."""
    return Curve(model, gpu, Steps((Step(rate, 0.01),)), gpus)


CURVES = tuple(flat(rate, gpu) for gpu, rate in zip(GPUS, (2.0, 5.0, 20.0), strict=True))


@st.composite
def questions(draw: st.DrawFn, *, limits: bool = True) -> Question:
    """Up to three offers and two models, small enough to try every fleet."""
    machines = [
        machine(
            f"t{number}",
            draw(st.integers(1, 40)) / 4,
            draw(st.sampled_from(GPUS)),
            gpu_count=draw(st.sampled_from((1, 2, 4))),
            region=draw(st.sampled_from(("us-east-1", "us-west-2"))),
            spot=draw(st.booleans()),
            most=draw(st.none() | st.integers(0, 3)) if limits else None,
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    demands = [Demand(f"m{number}", draw(st.integers(1, 120)) / 10) for number in range(draw(st.integers(1, 2)))]
    curves = CURVES
    if draw(st.booleans()):
        curves = (*CURVES, flat(9.0, "L40S", "m0", gpus=2))
    share = draw(st.sampled_from((0.0, 0.5, 1.0))) if limits else 0.0
    return Question(tuple(demands), tuple(machines), curves, Limits(surviving_share=share))
