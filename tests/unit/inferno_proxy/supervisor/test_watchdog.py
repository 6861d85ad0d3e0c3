from __future__ import annotations

import pytest

from inferno_proxy.supervisor.watchdog import Watch


def silent(seconds: float, cpu: float) -> bool:
    """Whether a control plane hangs that was looked at four times a second and used ``cpu`` s since its last sign."""
    watch = Watch(sign=100.0, look=100.0, cpu=7.0)
    for quarter in range(int(seconds * 4) + 1):
        watch = watch.looked(100.0 + quarter / 4, 7.0)
    return watch.hangs(100.0 + seconds, 7.0 + cpu)


@pytest.mark.parametrize(
    ("seconds", "cpu", "hangs"),
    [
        (0.5, 0.0, False),
        (1.9, 0.0, False),
        (2.25, 0.0, True),
        (2.25, 0.05, True),
        (2.25, 1.0, False),
        (15.0, 10.0, False),
        (20.5, 20.0, True),
    ],
)
def test_it_hangs_when_it_is_silent_and_idle_or_silent_for_very_long(seconds: float, cpu: float, hangs: bool) -> None:
    assert silent(seconds, cpu) is hangs


def test_a_sign_of_life_begins_a_new_count() -> None:
    watch = Watch(100.0, 100.0, 0.0).signed(102.0, 0.0)
    assert not watch.hangs(103.9, 0.0)
    assert watch.hangs(104.1, 0.0)


def test_a_pause_of_the_whole_machine_is_not_held_against_it() -> None:
    watch = Watch(100.0, 100.0, 0.0).looked(100.25, 0.0).looked(3700.0, 0.0)
    assert not watch.hangs(3701.9, 0.0)
    assert watch.looked(3702.0, 0.0).looked(3702.25, 0.0).hangs(3705.0, 0.0)
