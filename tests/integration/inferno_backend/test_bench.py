"""``inferno backend bench`` against a real Triton: what it measures, what it keeps, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inferno_backend.benchmark import host
from inferno_backend.benchmark.command import SICK, Bench, Wanted
from inferno_backend.benchmark.reporting import message_of
from inferno_backend.benchmark.results import ModelResult, Results
from inferno_backend.settings import BackendSettings
from inferno_backend.triton import installation
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InfernoError, InvalidInput, NotFound, Unavailable, Unsupported
from inferno_runtime.lifecycle import Stop
from tests.integration.inferno_backend.agent import shared_memory
from tests.integration.inferno_backend.mesh import mesh
from tests.waiting import eventually


@asynccontextmanager
async def bench(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``inferno-backend bench`` as its users start it."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("inferno-backend")), "bench", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_run_measures_hardware_and_models_keeps_them_and_leaves_nothing_running(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    data, models = tmp_path / "data", repository("batches", "repeat", "accumulate")
    arguments = ("--data-dir", str(data), "--model-repository", str(models), "--batch", "1,8")
    async with bench(*arguments, "--step-seconds", "0.4", "--most-concurrency", "2", "-o", "json") as process:
        out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    hardware, model = json.loads(out)
    cores = len(os.sched_getaffinity(0))
    figures = {one["figure"]: one["value"] for one in hardware["figures"]}
    kinds = ("memory", "matmul_fp32", "matmul_fp64")
    assert set(figures) == {f"{kind}_{count}" for kind in kinds for count in {1, cores}}
    assert all(value > 0 for value in figures.values())
    assert [(one["batch"], one["concurrency"]) for one in model["steps"]] == [(1, 1), (1, 2), (8, 1), (8, 2)]
    # An execution takes 10 ms whatever it holds.
    best = {batch: max(s["requests_per_second"] for s in model["steps"] if s["batch"] == batch) for batch in (1, 8)}
    assert best[8] * 8 > 3 * best[1]
    assert all(one["p50_ms"] >= 10 and one["generator_micros"] > 0 for one in model["steps"])
    assert model["best"]["batch"] == 8
    assert model["complete"]
    (kept,) = Results(data).models()
    assert kept.document() == model
    # Those that no closed loop can measure are named, and keep nothing away from the others.
    assert "repeat is decoupled" in said.decode()
    assert "accumulate is stateful" in said.decode()
    assert not [name for name in shared_memory("inferno-") if str(process.pid) in name]


async def test_what_was_measured_before_an_interrupt_is_kept(tmp_path: Path, repository: Callable[..., Path]) -> None:
    data = tmp_path / "data"
    arguments = ("--data-dir", str(data), "--model-repository", str(repository("batches")), "--no-hardware")
    async with bench(*arguments, "--step-seconds", "0.4") as process:
        await eventually(Results(data).models, 60, "a step is kept")
        process.send_signal(signal.SIGINT)
        out, said = await process.communicate()
    assert process.returncode == 130
    assert b"Interrupted; what was measured is in" in said
    (kept,) = Results(data).models()
    assert kept.steps
    assert not kept.complete
    assert b"batches (1 instance; batches up to 8)" in out


@pytest.fixture
async def triton(repository: Callable[..., Path]) -> AsyncIterator[str]:
    """The address of a Triton with models of each kind."""
    from inferno_backend.triton.repository import choose, scan

    found = installation.find(None, "")
    models = scan(repository("batches", "divide", "identity", "repeat"))
    async with host.own(found, models, choose(models, ()), SystemClock(), 60) as running:
        yield running.address


async def measured(triton: str, data: Path, model: str, **wanted: Any) -> ModelResult:
    settings = BackendSettings(triton_url=triton, data_dir=data, model=(model,))
    asked = Wanted(hardware=False, step_seconds=0.2, most_concurrency=1, **wanted)
    await Bench(settings, asked).run(Stop())
    return Results(data).models()[-1]


async def test_a_running_triton_is_measured_and_what_cannot_be_is_said_in_a_sentence(
    tmp_path: Path, triton: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, request = tmp_path / "data", tmp_path / "request.json"
    result = await measured(triton, data, "batches", objective_ms=0.001)
    assert [step.batch for step in result.steps] == [1, 4, 8]
    assert result.best is None
    assert (result.subject.files, result.triton) == ("", "2.51.0")
    assert "capacity within 0.001 ms at p99: none, no step kept it" in capsys.readouterr().out
    request.write_text('{"inputs": [{"name": "x", "shape": [2, 4], "data": [1, 2, 3, 4, 5, 6, 7, 8]}]}')
    result = await measured(triton, data, "batches", input_file=request)
    assert [step.batch for step in result.steps] == [2]
    refusals: list[tuple[str, dict[str, Any], type[InfernoError], str]] = [
        ("nothing", {}, NotFound, "There is no model 'nothing'; there is batches, divide, identity, repeat"),
        ("repeat", {}, Unsupported, "repeat is decoupled"),
        ("batches", {"batches": (1, 16)}, InvalidInput, "takes at most 8 in a batch, not 16"),
        ("batches", {"input_file": tmp_path / "none"}, InvalidInput, "none cannot be read"),
    ]
    for model, wanted, kind, sentence in refusals:
        with pytest.raises(BaseExceptionGroup) as caught:
            await measured(triton, data, model, **wanted)
        (error,) = caught.value.exceptions
        assert isinstance(error, kind)
        assert sentence in error.message
    request.write_text('{"inputs": [{"name": "x", "shape": [1, 3], "data": [1, 2, 3]}]}')
    with pytest.raises(BaseExceptionGroup) as caught:
        await measured(triton, data, "batches", input_file=request)
    assert "fails on a request with batch 1" in str(caught.value.exceptions[0])


async def test_a_model_that_does_not_load_is_told_with_tritons_reason_and_the_others_are_measured(
    tmp_path: Path, repository: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models, data = repository("batches", "divide"), tmp_path / "data"
    (models / "divide" / "1" / "model.py").write_text("raise RuntimeError('no weights here')\n")
    settings = BackendSettings(model_repository=models, data_dir=data)
    run = Bench(settings, Wanted(hardware=False, step_seconds=0.1, most_concurrency=1, batches=(1,)))
    await run.run(Stop())
    assert run.status == Unavailable.exit_code
    assert "no weights here" in capsys.readouterr().err
    assert [each.subject.model for each in Results(data).models()] == ["batches"]


@pytest.mark.parametrize(
    ("settings", "wanted", "sentence"),
    [
        ({"triton_url": "a:1", "model_repository": Path("m")}, {}, "exclude one another"),
        ({"model": ("m",)}, {}, "no model to measure"),
        ({}, {"hardware": False}, "no model to measure"),
        ({"triton_url": "a:1"}, {"input_file": Path("f")}, "a request for one model"),
    ],
)
async def test_what_makes_no_sense_together_is_refused(
    tmp_path: Path, settings: dict[str, Any], wanted: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        await Bench(BackendSettings(data_dir=tmp_path, **settings), Wanted(**wanted)).run(Stop())


async def test_a_run_with_a_proxy_sends_what_it_measured_and_one_far_below_the_past_says_so(
    tmp_path: Path, triton: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Wanted(hardware=False, step_seconds=0.1, most_concurrency=1, batches=(8,))
    async with mesh() as far:
        settings = BackendSettings(
            triton_url=triton, data_dir=tmp_path, model=("batches",), discovery_lb=(far.address,), node_id="n7"
        )
        first = Bench(settings, wanted)
        await first.run(Stop())
        (report,) = far.store.capacities
        (kept,) = Results(tmp_path).models()
        assert report == message_of("n7", kept)
        assert [(step.batch, step.concurrency) for step in report.steps] == [(8, 1)]
        better = tuple(replace(step, requests_per_second=10 * step.requests_per_second) for step in kept.steps)
        Results(tmp_path).keep(replace(kept, steps=better))
        second = Bench(settings, wanted)
        await second.run(Stop())
    assert (first.status, second.status) == (0, SICK)
    assert "under its own history on this hardware" in capsys.readouterr().err
