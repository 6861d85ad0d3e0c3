"""``inferno up``, from the first check to the last process: the composition root of a mesh on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import inferno_backend
from inferno_backend.settings import BackendSettings
from inferno_backend.triton.repository import scan
from inferno_cli import output
from inferno_cli.cloud import folder, opening, progress, summary
from inferno_cli.cloud.child import Child
from inferno_cli.cloud.components import Governed, Rank, Wanted, components
from inferno_cli.cloud.follow import follow
from inferno_cli.cloud.governed import GovernedNodes, written
from inferno_cli.cloud.supervisor import Supervisor
from inferno_governator.settings import GovernatorSettings
from inferno_proxy.settings import ProxySettings
from inferno_runtime import hangup, process, settings
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InvalidInput, TimedOut, Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.lifecycle import Stop

# One small real model, so that a first run has something to answer.
DEMONSTRATION = Path(inferno_backend.__file__).parent / "examples"


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for; None means: the file, the environment or the default decides."""

    nodes: int
    model_repository: Path | None
    port: int | None
    data_dir: Path | None
    config: Path | None
    output: output.Format
    verbose: bool
    timeout: float
    governator: str | None = None
    provider: str | None = None
    max_nodes: int | None = None


def decide(request: Request, env: Mapping[str, str]) -> Wanted:
    """Settle every choice before anything is started.

    Raises:
        InvalidInput: A key or value in the configuration is wrong, a folder cannot be used, or nodes would be
            refused.
        Unavailable: The public port is taken; the sentence names the holder.
    """
    proxy = settings.load(ProxySettings, file=request.config, env=env, flags={"port": request.port}).value
    backend = settings.load(BackendSettings, file=request.config, env=env).value
    governator = settings.load(GovernatorSettings, file=request.config, env=env)
    repository = request.model_repository or backend.model_repository or DEMONSTRATION
    if not repository.is_dir():
        raise InvalidInput(
            f"The model repository {repository} is not a folder.",
            reason="NO_REPOSITORY",
            fix="Give a folder of Triton models with --model-repository, or leave it out for the demonstration model.",
        )
    if request.nodes and (proxy.authenticates or proxy.tls_certificate is not None):
        raise InvalidInput(
            "The settings close the public port (TLS, or clients by key, token or certificate), and nodes that are "
            "started here come through it in the clear.",
            reason="CLOSED_PORT",
            fix="Leave that out, or start inferno proxy with --mesh-port and nodes that join it with tokens: "
            "docs/identity.md.",
        )
    governed = _governed(request, repository)
    wanted = Wanted(
        folder=folder.prepare(request.data_dir or folder.default(env)),
        host=proxy.host,
        port=proxy.port or process.free_port(),
        nodes=request.nodes,
        model_repository=repository.absolute(),
        config=request.config.absolute() if request.config else None,
        own_database=governator.origins["db"] == "default",
        mode=request.governator,
        governed=governed,
    )
    holder = process.port_holder(wanted.host, wanted.port)
    if holder:
        raise Unavailable(
            f"{wanted.endpoint} is used by {holder}.",
            reason="PORT_IN_USE",
            fix="Stop it, or choose another port with --port (0 picks a free one).",
            metadata={"address": wanted.endpoint},
        )
    return wanted


def _governed(request: Request, repository: Path) -> Governed | None:
    """What the governator is given to start and stop, if anything."""
    if request.provider is None:
        if request.max_nodes is not None:
            raise InvalidInput(
                "--max-nodes has no effect: nothing starts nodes beyond the first ones.",
                reason="BAD_CONFIG",
                fix="Give --provider local too.",
            )
        return None
    most = request.nodes if request.max_nodes is None else request.max_nodes
    if most < request.nodes:
        raise InvalidInput(
            f"--max-nodes is {most}, less than the {request.nodes} nodes of --nodes.",
            reason="BAD_CONFIG",
            fix="Raise it, or start fewer.",
        )
    found = scan(repository.absolute())
    return Governed(most, tuple(name for name in found.models if name not in found.broken))


async def up(request: Request, stop: Stop) -> None:
    """Run a mesh until the stop is requested.

    Raises:
        InfernoError: It could not start; nothing of it is left running.
    """
    clock = SystemClock()
    wanted = decide(request, os.environ)
    async with AsyncExitStack() as stack:
        lock = await stack.enter_async_context(folder.locked(wanted.folder))
        told = stack.enter_context(progress.for_terminal(clock))
        governed = None
        if wanted.governed is not None:
            governed = GovernedNodes(wanted, written(wanted, wanted.governed), clock)
            await stack.enter_async_context(governed.open())
        mesh = Supervisor(components(wanted), wanted.folder, told, clock, pass_fds=[lock], governed=governed)
        await stack.enter_async_context(mesh.running())
        if governed is not None:
            await governed.start()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(tasks.create_task(_pass_on(hangup.count(stop), mesh.children)).cancel)
        if request.verbose:
            stack.callback(tasks.create_task(follow(mesh.children, clock)).cancel)
        try:
            async with asyncio.timeout(request.timeout):
                if not await mesh.ready(stop) or not await _open(wanted, mesh.children, governed, stop, clock):
                    output.say(f"{stop.reason} while starting: stopping.")
                    return
        except TimeoutError as error:
            raise _late(request.timeout, mesh.waiting_for(), wanted) from error
        told.finish()
        facts = summary.document(wanted, mesh.children, await _facts(wanted, governed))
        if request.output == "json":
            output.print_line(output.one_line(facts))
        else:
            output.print_line(summary.text(facts, colours=output.coloured()))
        await stop.wait()
        output.say(f"{stop.reason}: stopping; a second Ctrl-C does not wait for it.")


async def _pass_on(hangups: Latest[int], children: Sequence[Child]) -> None:
    """The proxy is the component that can read its settings again."""
    proxy = next(child for child in children if child.component.rank is Rank.PROXY)
    async for count in hangups.watch():
        if count:
            proxy.hang_up()


async def _open(
    wanted: Wanted, children: Sequence[Child], governed: GovernedNodes | None, stop: Stop, clock: Clock
) -> bool:
    """Wait until requests are answered; False when the stop comes first."""
    nodes = [child for child in children if child.component.rank is Rank.NODE]
    models = {model for child in nodes for model in cast("Mapping[str, list[str]]", child.facts.value)["models"]}
    if wanted.governed is not None and wanted.nodes:
        models.update(wanted.governed.models)
    async with asyncio.TaskGroup() as tasks:
        stopped = tasks.create_task(stop.wait())
        watched = tasks.create_task(governed.watch()) if governed is not None else None
        opened = tasks.create_task(opening.wait_until_open(wanted.endpoint, wanted.names, sorted(models), clock))
        await asyncio.wait((stopped, opened), return_when=asyncio.FIRST_COMPLETED)
        for each in (stopped, opened, watched):
            if each is not None:
                each.cancel()
    return not stop.requested


async def _facts(wanted: Wanted, governed: GovernedNodes | None) -> dict[str, dict[str, Any]]:
    """What is known of the nodes that are the governator's."""
    if governed is None or wanted.governed is None:
        return {}
    answer = await opening.addresses(wanted.endpoint)
    found = {}
    for each in await governed.facts():
        grpc, http = answer.get(each["id"], ("", ""))
        found[each["id"]] = {**each, "grpc": grpc, "http": http, "models": wanted.governed.models}
    return found


def _late(seconds: float, names: Sequence[str], wanted: Wanted) -> TimedOut:
    missing = f"{', '.join(names)} did not get ready" if names else f"{wanted.endpoint} did not open"
    return TimedOut(
        f"{missing} within {seconds:g} s.",
        reason="START_TIMED_OUT",
        fix=f"See the logs in {wanted.folder.logs}, or allow more with --timeout.",
    )
