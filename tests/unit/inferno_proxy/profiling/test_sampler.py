"""Stacks of other threads, as a profile has them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from inferno_proxy.profiling.sampler import collapsed, sample, stack


def test_a_thread_that_works_is_seen_with_its_callers() -> None:
    stop, begun = threading.Event(), threading.Event()

    def works() -> None:
        begun.set()
        stop.wait()

    asked = threading.Event()
    asked.set()  # so one sample is taken
    with ThreadPoolExecutor(1, thread_name_prefix="busy one") as pool:
        pool.submit(works)
        begun.wait()
        seen = sample(asked)
        stop.set()
    [mine] = [each for each in seen if each.startswith("busy_one")]
    assert f"{__name__}:test_a_thread_that_works_is_seen_with_its_callers.<locals>.works;threading:" in mine
    assert not any("sampler:sample" in each for each in seen), "the one that samples leaves itself out"
    assert all(line.rpartition(b" ")[2].isdigit() for line in collapsed(seen).splitlines())


def test_samples_go_on_until_the_end() -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        sampling = pool.submit(sample, stop, 0.0001)
        for _ in range(100):
            # Each turn gives the other thread a chance to run.
            threading.Event().wait(0.001)
        stop.set()
        assert sum(sampling.result().values()) > 1


def test_a_stack_without_frames_is_the_thread_alone() -> None:
    assert stack("a b;c", None) == "a_b,c"
