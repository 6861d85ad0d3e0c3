"""``inferno backend bench``, put together: the hardware, then each model; what is measured is kept at once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pynvml

from inferno_backend import identity as names
from inferno_backend.benchmark import capacity, cpu, curve, gpu, health, host, progress, report, reporting, subject
from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.load import Effort, Load
from inferno_backend.benchmark.results import Figure, HardwareResult, ModelResult, Results
from inferno_backend.benchmark.subject import Machine, Subject
from inferno_backend.hardware import inventory
from inferno_backend.link import PLAIN, Link
from inferno_backend.node import Hardware
from inferno_backend.settings import BackendSettings
from inferno_backend.triton import installation, repository
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InfernoError, InvalidInput, Unsupported
from inferno_runtime.lifecycle import INTERRUPTED, Stop

SICK = 3
_FIGURE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line; ``batches`` empty are the usual ones."""

    hardware: bool = True
    objective_ms: float | None = None
    batches: tuple[int, ...] = ()
    most_concurrency: int = 256
    step_seconds: float = 2.0
    input_file: Path | None = None
    json: bool = False


def batches_of(text: str) -> tuple[int, ...]:
    """The batches of ``--batch``; none for an empty text.

    Raises:
        InvalidInput: They are no positive whole numbers.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise InvalidInput(
            f"--batch {text!r} is no list of batch sizes.", reason="BAD_BATCH", fix="Write it like --batch 1,8,32."
        )
    return tuple(sorted({int(word) for word in words}))


def effort(step_seconds: float) -> Effort:
    """The effort of steps of at least this length."""
    return Effort(seconds=step_seconds, warm_up=step_seconds / 4)


async def unless_stopped(work: Awaitable[None], stop: Stop) -> bool:
    """Do ``work`` until it is done or the process is asked to end; False when it was.

    Raises:
        Exception: What ``work`` raises.
    """
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_awaited(work))
        stopping = group.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        done = working.done()
        working.cancel()
        stopping.cancel()
    return done


async def _awaited(work: Awaitable[None]) -> None:
    await work


def hardware_here() -> Hardware:
    """What this machine has."""
    with ExitStack() as closing:
        return inventory.hardware(inventory.devices(closing, pynvml), {})


class Bench:
    """One run. ``status`` is its exit code, once it has run."""

    def __init__(self, settings: BackendSettings, wanted: Wanted, clock: Clock | None = None) -> None:
        self._settings = settings
        self._wanted = wanted
        self._clock = clock or SystemClock()
        self._results = Results(settings.data_dir)
        self._kept: list[Path] = []
        self._found: list[ModelResult | HardwareResult] = []
        self.status = 0

    async def run(self, stop: Stop) -> None:
        """Measure, tell and keep.

        Raises:
            InfernoError: Something cannot be measured; what was measured before is kept.
        """
        _check(self._settings, self._wanted)
        try:
            with progress.for_terminal() as shown:
                done = await unless_stopped(self._measure(shown), stop)
        finally:
            self._tell()
        found = [each for each in self._found if isinstance(each, HardwareResult) or each.steps]
        if found and self._settings.discovery_lb:
            await self._send(found)
        if not done:
            kept = f"; what was measured is in {self._results.folder}" if self._kept else ""
            sys.stderr.write(f"Interrupted{kept}.\n")
            self.status = INTERRUPTED

    async def _measure(self, shown: progress.Lines) -> None:
        here = await asyncio.to_thread(hardware_here)
        name = subject.cpu_name()
        machine = subject.machine(here, name)
        if self._wanted.hardware:
            await self._measure_hardware(machine, here, name, shown)
        if self._settings.triton_url or self._settings.model_repository is not None:
            async with triton_of(self._settings, self._clock) as (triton, models):
                await self._measure_models(triton, models, machine, shown)

    async def _measure_hardware(self, machine: Machine, here: Hardware, name: str, shown: progress.Lines) -> None:
        past = self._results.hardware()
        result = HardwareResult(machine, int(self._clock.wall() * 1_000_000), ())
        shown.begin("hardware", None)
        figures: list[Figure] = list(await cpu.measure(name, here.cpu_count, _FIGURE_SECONDS))
        for each in figures:
            shown.step(_figure_text(each))
        if here.gpus:
            figures += await self._measure_gpus(shown)
        shown.end()
        result = replace(result, figures=tuple(figures), complete=True)
        self._keep(result)
        for finding in health.findings(result, past):
            shown.say(f"! {finding.sentence()}")
            self.status = SICK

    async def _measure_gpus(self, shown: progress.Lines) -> tuple[Figure, ...]:
        try:
            found = await asyncio.to_thread(gpu.library)
        except Unsupported as error:
            shown.say(f"! {error.sentence()}")
            return ()

        def tell(figure: Figure) -> None:
            shown.step(_figure_text(figure))

        def leave_out(device: gpu.Device, figure: str, reason: str) -> None:
            shown.say(f"! {figure} of {device.uuid} ({device.name}) is left out: {reason.rstrip('.')}.")

        figures = await asyncio.to_thread(gpu.measure, found, _FIGURE_SECONDS, tell, leave_out)
        for device in gpu.idle(found, figures):
            shown.say(f"! {device.uuid} ({device.name}) does no work at all.")
            self.status = SICK
        return figures

    async def _measure_models(
        self, triton: host.Host, models: repository.Repository | None, machine: Machine, shown: progress.Lines
    ) -> None:
        if self._settings.model:
            for name in self._settings.model:
                await self._measure_model(triton, models, machine, name, shown)
            return
        for name in repository.choose(models, ()) if models else await _ready(triton):
            try:
                await self._measure_model(triton, models, machine, name, shown)
            except InfernoError as error:
                # As one of all it does not keep the others from being measured.
                shown.say(f"! {error.sentence()}")
                if not isinstance(error, Unsupported):
                    self.status = error.exit_code

    async def _measure_model(
        self,
        triton: host.Host,
        models: repository.Repository | None,
        machine: Machine,
        name: str,
        shown: progress.Lines,
    ) -> None:
        await triton.check_ready(name)
        metadata, config = await triton.metadata(name), await triton.config(name)
        capacity.check(config)
        wanted = self._wanted
        plan = capacity.Plan(
            wanted.objective_ms, wanted.batches, wanted.most_concurrency, wanted.input_file, effort(wanted.step_seconds)
        )
        made = capacity.made_requests(metadata, config, plan)
        about = await subject_of(machine, config, models)
        result = ModelResult(
            about,
            int(self._clock.wall() * 1_000_000),
            (),
            wanted.objective_ms,
            triton=await triton.client.server_version(),
        )

        def tell(step: Step) -> None:
            nonlocal result
            result = replace(result, steps=(*result.steps, step))
            self._keep(result)
            shown.step(report.step_text(step))

        load = Load(triton.address, self._clock)
        try:
            await capacity.try_out(load, name, made)
            shown.begin(name, len(made) * len(curve.concurrencies(wanted.most_concurrency)))
            await capacity.measure(load, made, plan, tell)
        finally:
            await load.close()
        shown.end()
        result = replace(result, complete=True)
        for finding in health.slower(result, self._results.models()):
            shown.say(f"! {finding.sentence()}")
            self.status = SICK
        self._keep(result)

    def _keep(self, result: ModelResult | HardwareResult) -> None:
        """On disk, and in the place of what the same run had before."""
        path = self._results.keep(result)
        if path in self._kept:
            self._found[self._kept.index(path)] = result
        else:
            self._kept.append(path)
            self._found.append(result)

    async def _send(self, results: Sequence[ModelResult | HardwareResult]) -> None:
        """To the governator; the results are kept whatever becomes of it.

        Raises:
            InfernoError: It does not take them; with where they are.
        """
        settings = self._settings
        link = Link.read(settings.identity) if settings.identity.exists else PLAIN
        await reporting.send(settings.discovery_lb, link, names.node_id(settings.node_id, settings.data_dir), results)

    def _tell(self) -> None:
        if self._wanted.json:
            sys.stdout.write(json.dumps([each.document() for each in self._found], ensure_ascii=False) + "\n")
            return
        texts = [
            report.model_text(each) if isinstance(each, ModelResult) else report.hardware_text(each)
            for each in self._found
        ]
        if texts:
            sys.stdout.write("\n\n".join(texts) + "\n")


async def subject_of(machine: Machine, config: Any, models: repository.Repository | None) -> Subject:
    """What a result is about; ``models`` None for a Triton whose files are elsewhere."""
    files = await asyncio.to_thread(subject.files_hash, models.path / config.name) if models else ""
    return Subject(machine, config.name, files, subject.configuration_hash(config), subject.settings_of(config))


@asynccontextmanager
async def triton_of(
    settings: BackendSettings, clock: Clock
) -> AsyncIterator[tuple[host.Host, repository.Repository | None]]:
    """The Triton that the settings name: one of our own over their repository (which comes with it), or a running one.

    Raises:
        InfernoError: It cannot be started, or does not answer.
    """
    if settings.model_repository is None:
        async with host.attached(settings.triton_url) as found:
            yield found, None
        return
    binary = installation.find(settings.triton_binary, os.environ.get("PATH", ""))
    models = repository.scan_folder(settings.model_repository)
    chosen = repository.choose(models, settings.model)
    async with host.own(binary, models, chosen, clock, settings.start_timeout) as own:
        yield own, models


async def _ready(triton: host.Host) -> tuple[str, ...]:
    return tuple(sorted({row.name for row in await triton.client.index() if row.state == "READY"}))


def _check(settings: BackendSettings, wanted: Wanted) -> None:
    """Refuse what no single option can judge.

    Raises:
        InvalidInput: There is nothing to measure, or too much.
    """
    served = settings.triton_url or settings.model_repository is not None
    if settings.triton_url and settings.model_repository is not None:
        raise InvalidInput(
            "--triton-url and --model-repository exclude one another: an attached Triton has a repository of its own.",
            reason="BAD_CONFIG",
            fix="Give one of them.",
        )
    if not served and (settings.model or not wanted.hardware):
        raise InvalidInput(
            "There is no model to measure: no model repository and no Triton is given.",
            reason="BAD_CONFIG",
            fix="Give --model-repository DIR, or --triton-url HOST:PORT of a running Triton.",
        )
    if wanted.input_file is not None and len(settings.model) != 1:
        raise InvalidInput(
            "--input is a request for one model.", reason="BAD_CONFIG", fix="Say which with --model NAME."
        )


def _figure_text(figure: Figure) -> str:
    return f"{figure.device} {figure.figure}: {figure.value:.4g} {figure.unit}"
