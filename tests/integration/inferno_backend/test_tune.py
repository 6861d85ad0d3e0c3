"""``inferno backend tune`` against a real Triton: it finds what pays, proves it, goes on, says what it cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferno_backend.benchmark.load import Effort
from inferno_backend.benchmark.requests import generated
from inferno_backend.settings import BackendSettings
from inferno_backend.triton import installation
from inferno_backend.tuning.command import Tune, Wanted
from inferno_backend.tuning.overlay import Overlay
from inferno_backend.tuning.space import Point
from inferno_backend.tuning.stand import Stand
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InfernoError, InvalidInput, NotFound, Unavailable, Unsupported
from inferno_runtime.lifecycle import Stop
from tests.waiting import eventually


async def tune(*arguments: str, until: Callable[[], object] = lambda: False) -> tuple[int | None, str, str]:
    """``inferno-backend tune`` as its users start it, interrupted once ``until`` is true; exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("inferno-backend")), "tune", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        ending = asyncio.create_task(process.communicate())
        await eventually(lambda: until() or ending.done(), 150, "it ends, or is to be interrupted")
        if not ending.done():
            process.send_signal(signal.SIGINT)
        out, said = await ending
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return process.returncode, out.decode(), said.decode()


async def test_what_pays_is_found_proven_and_applied_and_an_interrupted_tuning_goes_on(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    data, models = tmp_path / "data", repository("batches")
    config = models / "batches" / "config.pbtxt"
    before, folder = config.read_text(), data / "tuning" / "batches"
    arguments = ["batches", "--data-dir", str(data), "--model-repository", str(models), "--objective-p99", "400"]
    arguments += ["--step-seconds", "0.1", "--rounds", "6", "--most-concurrency", "8", "--sweep", "batching", "--apply"]

    def measured() -> int:
        with contextlib.suppress(OSError):
            return len(json.loads((folder / "state.json").read_text())["trials"])
        return 0

    status, _, said = await tune(*arguments, until=lambda: measured() >= 1)
    assert (status, config.read_text()) == (130, before), said
    kept = measured()
    status, out, said = await tune(*arguments, "-o", "json")
    assert status == 0, said
    assert "Going on where the last run was." in said
    found = json.loads(out)
    # An execution takes 10 ms whatever it holds: with 8 requests in flight batches must do several times as much.
    assert found["better"]
    assert found["winner"]["dynamic"]
    assert found["verdict"]["least"] > 2
    assert len(found["rounds"]) == 6
    assert len(found["trials"]) == 2 > kept
    assert json.loads((folder / "tuning.json").read_text()) == found
    assert "<svg" in (folder / "tuning.svg").read_text()
    assert not (folder / "state.json").exists()
    assert config.read_text() == (folder / "config.pbtxt").read_text() != before
    assert "dynamic_batching" in config.read_text()
    assert config.with_name("config.pbtxt.before-tuning").read_text() == before


async def refused(
    models: Path, data: Path, model: str, objective: float = 100, input_file: Path | None = None
) -> InfernoError:
    settings = BackendSettings(model_repository=models, data_dir=data)
    brief: dict[str, Any] = {"most_concurrency": 1, "step_seconds": 0.1, "sweep": ("instances",), "instances": 2}
    wanted = Wanted(model, objective, input_file=input_file, apply=True, **brief)
    with pytest.raises((BaseExceptionGroup, InfernoError)) as caught:
        await Tune(settings, wanted).run(Stop())
    error: Any = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, InfernoError)
    return error


async def test_what_cannot_be_tuned_is_said_in_a_sentence_and_nothing_of_the_users_changes(
    tmp_path: Path, repository: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models = repository("batches", "divide", "repeat")
    before = {
        path: path.read_bytes() for path in models.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    }
    broken = models / "broken"
    broken.mkdir()
    (broken / "config.pbtxt").write_text("max_batch_size: many")
    failing = models / "failing" / "1"
    failing.mkdir(parents=True)
    (failing / "model.py").write_text("raise RuntimeError('no weights here')\n")
    (failing.parent / "config.pbtxt").write_text('backend: "python"')
    cases: list[tuple[str, float, type[InfernoError], str]] = [
        ("nothing", 100, NotFound, "There is no model 'nothing'"),
        ("broken", 100, InvalidInput, "broken/config.pbtxt"),
        ("repeat", 100, Unsupported, "repeat is decoupled"),
        ("failing", 100, Unavailable, "no weights here"),
        ("batches", 5, InvalidInput, "No configuration of batches keeps 5 ms at p99: the quickest"),
    ]
    for model, objective, kind, sentence in cases:
        error = await refused(models, tmp_path / "data", model, objective)
        assert isinstance(error, kind), model
        assert sentence in error.message
    pair = tmp_path / "pair.json"
    pair.write_text('{"inputs": [{"name": "x", "shape": [2, 4], "data": [1, 2, 3, 4, 5, 6, 7, 8]}]}')
    assert "holds 2 inferences" in (await refused(models, tmp_path / "data", "batches", input_file=pair)).message
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "data" / "tuning" / "batches" / "config.pbtxt").exists()


async def test_a_model_that_has_nothing_better_stays_as_it_is(
    tmp_path: Path, repository: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models, request = repository("divide"), tmp_path / "request.json"
    request.write_text('{"inputs": [{"name": "x", "shape": [2], "data": [1, 2]}]}')
    before = (models / "divide" / "config.pbtxt").read_text()
    settings = BackendSettings(model_repository=models, data_dir=tmp_path / "data")
    wanted = Wanted("divide", 1000, instances=1, most_concurrency=1, step_seconds=0.1, input_file=request, apply=True)
    await Tune(settings, wanted).run(Stop())
    told = capsys.readouterr()
    assert "divide does not batch (max_batch_size 0): only its instances are tuned." in told.err
    assert "Nothing is applied: nothing better was proven." in told.err
    assert "As it is configured (1 instance) nothing better was found." in told.out
    assert (models / "divide" / "config.pbtxt").read_text() == before
    assert not (tmp_path / "data" / "tuning" / "divide" / "config.pbtxt").exists()
    assert (tmp_path / "data" / "tuning" / "divide" / "tuning.svg").exists()


async def test_a_point_that_triton_refuses_fails_alone(tmp_path: Path, repository: Callable[..., Path]) -> None:
    laid = Overlay(repository("batches"), "batches", tmp_path / "laid")
    async with Stand(installation.find(None, ""), laid, "batches", SystemClock(), 60) as stand:
        host = await stand.host()
        config = await host.config("batches")
        request = generated(await host.metadata("batches"), config, 1)
        effort = Effort(seconds=0.1, warm_up=0.02, stretch=1)
        trials = [
            await stand.trial(config, point, request, 100, (1,), effort)
            for point in (Point(1, 8, dynamic=True, preferred=(16,)), Point(1, 8, dynamic=True, preferred=(4,)))
        ]
    assert "failed to load 'batches'" in trials[0].error
    assert trials[0].steps == ()
    assert (trials[1].error, [step.concurrency for step in trials[1].steps]) == ("", [1])


async def test_a_tuning_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no model repository is given"):
        await Tune(BackendSettings(triton_url="a:1", data_dir=tmp_path), Wanted("m", 10)).run(Stop())
