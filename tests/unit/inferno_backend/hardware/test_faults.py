"""When a GPU can do no work, and when it can again."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from inferno_backend.hardware.examination import Examination
from inferno_backend.hardware.faults import FATAL_XIDS, Health, examine
from inferno_backend.hardware.use import DeviceReading, Use
from inferno_backend.node import Gpu

WELL = Use("GPU-1", "gpu", 0.5, ecc_uncorrected=0, xids={13: 1})
TRITON = 4711


def seen(*uses: Use, pid: int = TRITON, every: float = 1.0) -> list[str]:
    """The reasons after each look, the looks a second apart."""
    health, reasons = Health(), []
    for number, use in enumerate(uses):
        health = examine(health, use, number * every, pid, 30.0)
        reasons.append(health.reason)
    return reasons


def use(**changes: object) -> Use:
    return Use("GPU-1", "gpu", **{"ecc_uncorrected": 0, **changes})  # type: ignore[arg-type]


def test_a_gpu_that_works_is_well() -> None:
    assert seen(WELL, WELL, use(xids={13: 9, 31: 1})) == ["", "", ""]


@pytest.mark.parametrize("xid", sorted(FATAL_XIDS))
def test_an_xid_that_asks_for_a_reset_is_for_good(xid: int) -> None:
    reason = f"It has reported Xid {xid}: {FATAL_XIDS[xid]}."
    assert seen(WELL, use(xids={13: 1, xid: 1}), use(xids={13: 1, xid: 1})) == ["", reason, reason]


# Those of the program, those to be ignored, and those the catalogue does not know.
@pytest.mark.parametrize("xid", [13, 31, 43, 45, 63, 68, 92, 109, 154, 999])
def test_an_xid_of_the_program_or_to_be_ignored_is_no_fault(xid: int) -> None:
    assert seen(WELL, use(xids={13: 1, xid: 5})) == ["", ""]


def test_an_error_that_was_contained_ends_with_tritons_next_life() -> None:
    hit = use(xids={94: 1}, ecc_uncorrected=1)
    health = examine(examine(Health(), WELL, 0, TRITON, 30), hit, 1, TRITON, 30)
    assert health.reason.startswith("It has reported Xid 94:")
    for at, pid in ((2, TRITON), (3, 0)):
        health = examine(health, hit, at, pid, 30)
        assert health.reason.startswith("It has reported Xid 94:")
    health = examine(health, hit, 4, TRITON + 1, 30)
    assert health.reason == ""
    again = examine(health, use(xids={94: 2}, ecc_uncorrected=2), 5, TRITON + 1, 30)
    assert again.reason.startswith("It has reported Xid 94:")


def test_an_error_that_was_not_corrected_is_for_good_and_one_from_before_the_first_look_is_not() -> None:
    old, new = use(ecc_uncorrected=3), use(ecc_uncorrected=4)
    reason = "An error in its memory could not be corrected: it has to be reset."
    assert seen(old, old, new, new) == ["", "", reason, reason]
    # A driver that was loaded again counts from zero, and some do not count.
    assert seen(old, use(ecc_uncorrected=0), use(ecc_uncorrected=None), new) == ["", "", "", ""]


def test_a_gpu_that_is_lost_or_cannot_be_mended_is_for_good() -> None:
    assert seen(use(lost="GPU is lost"), WELL) == ["It does not answer any more, and NVML says: GPU is lost."] * 2
    assert seen(use(remap_failed=True))[0].startswith("A faulty row of its memory could not be replaced:")


@pytest.mark.parametrize(
    ("recovery", "reason"),
    [
        ("gpu_reset", "Its driver asks for the GPU to be reset."),
        ("node_reboot", "Its driver asks for the machine to be rebooted."),
        ("drain_and_reset", ""),
        ("drain_p2p", ""),
    ],
)
def test_what_its_driver_asks_for_holds_as_long_as_it_asks(recovery: str, reason: str) -> None:
    assert seen(use(recovery=recovery), WELL) == [reason, ""]


def test_a_gpu_is_out_while_heat_or_the_power_brake_hold_it_back_for_long() -> None:
    hot, well = use(slowdowns=("hw_slowdown", "hw_thermal_slowdown")), use(slowdowns=("sw_power_cap",))
    reason = "It has been slowed down by heat for more than 30 s."
    # Ten seconds lie between two looks.
    assert seen(*[hot] * 5, every=10) == ["", "", "", reason, reason]
    assert seen(hot, hot, well, hot, hot, hot, every=10) == [""] * 6
    assert seen(*[hot] * 4, well, hot, *[well] * 4, every=10) == ["", "", "", *[reason] * 6, ""]
    both = use(slowdowns=("hw_thermal_slowdown", "hw_power_brake_slowdown"))
    assert "by heat and the power brake of its power supply" in seen(both, both, every=30)[1]
    assert seen(*[use(slowdowns=("sw_thermal_slowdown", "hw_slowdown"))] * 9, every=10) == [""] * 9


def test_each_gpu_is_examined_for_itself_and_named() -> None:
    gpus = (Gpu("GPU-1", "NVIDIA A10G", 1), Gpu("GPU-2", "Tesla T4", 1))
    examination = Examination(gpus, 30.0)
    uses = (Use("cpu", "cpu", 1.0), WELL, Use("GPU-2", "gpu"))
    with capture_logs() as told:
        assert examination.take(DeviceReading(0, 0, uses), TRITON) == {}
        sick = (uses[1], Use("GPU-2", "gpu", recovery="gpu_reset"))
        reason = "GPU 1 (Tesla T4, GPU-2): Its driver asks for the GPU to be reset."
        assert examination.take(DeviceReading(1, 1, sick), TRITON) == {"GPU-2": reason}
        # What is not in a reading stays as it was.
        assert examination.take(DeviceReading(2, 2, (Use("GPU-9", "gpu", lost="GPU is lost"),)), TRITON) == {
            "GPU-2": reason,
            "GPU-9": "GPU-9: It does not answer any more, and NVML says: GPU is lost.",
        }
        assert "GPU-2" not in examination.take(DeviceReading(3, 3, uses), TRITON)
    assert [(line["event"], line["gpu"]) for line in told] == [
        ("a GPU can do no work", "GPU 1 (Tesla T4, GPU-2)"),
        ("a GPU can do no work", "GPU-9"),
        ("a GPU can work again", "GPU 1 (Tesla T4, GPU-2)"),
    ]
