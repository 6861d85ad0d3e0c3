"""Which devices are too slow, and which are only measured badly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_backend.benchmark.health import findings, of_peak, slower
from inferno_backend.benchmark.vendor import peak
from tests.unit.inferno_backend.benchmark.results import figure, hardware, model, step


@pytest.mark.parametrize(("value", "sick"), [(1000, False), (851, False), (850, True), (400, True)])
def test_a_device_is_sick_from_fifteen_percent_under_its_own_history_on(value: float, sick: bool) -> None:
    past = [hardware(figure(each), at=at) for at, each in enumerate((990, 1000, 1010))]
    found = findings(hardware(figure(value), at=9), past)
    assert bool(found) is sick
    for each in found:
        assert "GPU-1 (NVIDIA H100 80GB HBM3) does" in each.sentence()
        assert "under its own history (1000 GB/s)" in each.sentence()


def test_a_device_is_sick_beside_quicker_ones_of_its_kind() -> None:
    (found,) = findings(hardware(figure(800), figure(1000, "GPU-2"), figure(1010, "GPU-3")), [])
    assert (found.figure.device, found.against) == ("GPU-1", "its peers in this machine")
    assert found.share == pytest.approx(1 - 800 / 1005)


def test_another_device_library_or_kind_says_nothing_of_it() -> None:
    low = figure(100)
    other_library = replace(figure(1000), library="cupy")
    other_kind = replace(figure(1000, "GPU-2"), name="NVIDIA L4")
    assert findings(hardware(low, other_kind), [hardware(other_library), hardware(figure(1000, "GPU-2"))]) == ()


def test_only_the_newest_of_the_past_count() -> None:
    past = [hardware(figure(2000), at=at) for at in range(20)] + [
        hardware(figure(1000), at=100 + at) for at in range(10)
    ]
    assert findings(hardware(figure(950), at=999), past) == ()


def test_a_figure_with_a_wide_spread_gets_the_benefit_of_the_doubt() -> None:
    past = [hardware(figure(1000))]
    assert findings(hardware(figure(800, spread=0.2)), past) == ()
    assert findings(hardware(figure(800, spread=0.01)), past)


def test_a_figure_is_held_against_the_published_peak_of_its_name() -> None:
    assert of_peak(figure(2680)) == pytest.approx(0.8)
    assert of_peak(figure(60, figure="copy_to_device")) is None
    assert of_peak(replace(figure(1), name="Some CPU")) is None


@pytest.mark.parametrize(
    ("name", "memory", "fp16"),
    [
        ("Tesla V100-SXM2-16GB", 900, 125),
        ("Tesla T4", 320, 65),
        ("NVIDIA A10G", 600, 70),
        ("NVIDIA A10", 600, 125),
        ("NVIDIA A100-SXM4-40GB", 1555, 312),
        ("NVIDIA A100-SXM4-80GB", 2039, 312),
        ("NVIDIA L4", 300, 121),
        ("NVIDIA L40S", 864, 362.05),
        ("NVIDIA H100 PCIe", 2000, 756),
        ("NVIDIA H100 80GB HBM3", 3350, 989.5),
        ("NVIDIA H200", 4800, 989.5),
        ("NVIDIA B200", 8000, 2250),
    ],
)
def test_the_names_that_drivers_tell_are_found(name: str, memory: float, fp16: float) -> None:
    found = peak(name)
    assert found is not None
    assert (found.figures["memory"], found.figures["matmul_fp16"]) == (memory, fp16)
    assert found.source


@pytest.mark.parametrize("name", ["NVIDIA L40", "NVIDIA A10M", "NVIDIA GB200", "EPYC L4x"])
def test_a_name_that_only_begins_alike_is_another(name: str) -> None:
    assert peak(name) is None


@pytest.mark.parametrize(("rate", "uncertainty", "slow"), [(100, 0, False), (84, 0, True), (84, 0.05, False)])
def test_a_model_that_does_less_than_it_did_on_the_same_hardware_is_named(
    rate: float, uncertainty: float, slow: bool
) -> None:
    past = [model(step(each), at=at) for at, each in enumerate((99, 100, 101), 1)]
    found = slower(model(step(rate, uncertainty=uncertainty), at=9), past)
    assert bool(found) is slow
    for each in found:
        assert each.sentence() == "m does 84 inferences/s, 16% under its own history on this hardware (100)."


def test_what_is_another_thing_or_no_whole_result_is_no_history_of_a_model() -> None:
    now = model(step(50), at=9)
    other_batch = replace(step(100), batch=4)
    past = [
        now,
        model(step(100), at=9),
        model(step(100), files="g"),
        model(step(100), objective=None),
        model(step(100), complete=False),
        model(other_batch),
        model(),
    ]
    assert slower(now, past) == ()
    assert slower(model(at=9), [model(step(100))]) == ()
